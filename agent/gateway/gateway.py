"""The hub as a gateway of BLE devices for one account of nRF Cloud (protocol notes, section 5).

The account says in the shadow which devices are to be connected, and only these can be read and written; a scan tells all that is around.
Each device has a queue of operations of its own, so that one that hangs keeps nobody waiting. Connections are made one at a time, in turn,
and the radio's own policy has the last word on how many there are: adopted devices have their places too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound
from agent.cloud.nrf_gateway import GatewayDialect, RefusedOperation, is_operation, messages_topic
from agent.cloud.nrf_pairing import Pairing
from agent.driver import DeviceUnreachable, DriverError, NotNow
from agent.gateway.connections import Connections, Timing
from agent.gateway.operations import Operations
from agent.gateway.outlet import Outlet
from agent.gateway.peers import Peer
from agent.gateway.scans import Scans, Spawn
from agent.gateway.shadow import Shadow
from agent.gatt import RawGatt
from agent.wire.nrf_gateway import DeleteYourself, GatewayStatus, OfDevice, Operation, PeerStatus, Scan

log = logging.getLogger(__name__)

Radio = Callable[[], Awaitable[RawGatt]]


class Firmware(Protocol):
    """Who gives BLE devices new firmware (`jobs/ble`)."""

    def updates(self, address: str) -> bool:
        """Whether it has the device now: it is neither connected nor asked anything meanwhile."""

    def connected(self, address: str) -> None:
        """A device is connected and discovered: its job may be asked for."""


class Gateway:
    """One uplink's. `radio` waits until the radio is up; `spawn` runs work beside the others (agent.supervise.Supervisor)."""

    def __init__(
        self,
        dialect: GatewayDialect,
        channel: Channel,
        outlet: Outlet,
        radio: Radio,
        spawn: Spawn,
        timing: Timing | None = None,
    ) -> None:
        self._dialect, self._channel, self._outlet = dialect, channel, outlet
        self._radio, self._spawn, self._timing = radio, spawn, timing or Timing()
        self._pairing: Pairing | None = None
        self.shadow = Shadow(dialect, channel, outlet.count)
        self.shadow.on_connections, self.shadow.on_beacons = self.desire, self._watch
        self._scans = Scans(dialect, outlet)
        self._operations = Operations(dialect, outlet)
        self._connections = Connections(dialect, outlet, self._operations, self._changed, self._timing)
        self._connections.scanning = lambda: self._scans.running
        self._connections.updates = lambda address: self.firmware is not None and self.firmware.updates(address)
        self._work: dict[str, asyncio.Task[None]] = {}
        self.firmware: Firmware | None = None

    @property
    def ready(self) -> bool:
        """Whether its radio is up."""
        return self._connections.ready

    async def live(self) -> None:
        """Over all lives of the radio."""
        while True:
            try:
                await self._connections.keep(await self._radio())
            except DriverError as error:
                log.info("the BLE gateway waits for its radio: %s", error)
            await asyncio.sleep(self._timing.look)  # a radio that is going away is still there for a moment

    # ---- what the uplink calls --------------------------------------------------------------------------------------

    def paired(self, pairing: Pairing) -> None:
        """The topics of a connection to the cloud, before it is open."""
        if self._dialect.apart:
            if self._pairing is not None:
                self._channel.unlisten(self._dialect.operations(self._pairing))
            self._channel.listen(self._dialect.operations(pairing), self._operation)
        self._pairing = self._outlet.pairing = pairing
        self.shadow.paired(pairing)

    def up(self) -> None:
        """A connection to the cloud is open."""
        self.shadow.begin(firmware=self.firmware is not None, statuses=self.statuses())

    def hear(self, inbound: Inbound) -> bool:
        """Whether a message on the uplink's own topics was for the gateway alone."""
        if not self._channel.up or self._pairing is None:
            return False
        # also for the JavaScript gateways: the cloud may not know yet which dialect this is
        if inbound.topic == messages_topic(self._pairing) and is_operation(inbound.payload):
            self._operation(inbound)
            return True
        return self.shadow.hear(inbound)

    # ---- operations -------------------------------------------------------------------------------------------------

    def _operation(self, inbound: Inbound) -> None:
        self._outlet.count("gateway_operations")
        try:
            if inbound.retained:
                raise MalformedMessage(f"{inbound.topic}: a retained operation is refused")
            self._take(self._dialect.read(inbound.topic, inbound.payload))
        except MalformedMessage as error:
            self._outlet.count("gateway_malformed")
            log.warning("message of the cloud refused: %s", error)
        except RefusedOperation as error:
            self._outlet.error(str(error), error.code, error.address)

    def _take(self, operation: Operation) -> None:
        """Raises RefusedOperation."""
        match operation:
            case Scan():
                self._scans.start(self._spawn, self._connections, operation)
            case GatewayStatus():
                self.shadow.tell_anew(self.statuses())
            case DeleteYourself():
                self._retire()
            case _:
                self._of_device(operation)

    def _of_device(self, operation: OfDevice) -> None:
        address = operation.device_address
        peer = self._connections.peers.get(address)
        if peer is None:
            raise RefusedOperation("the device is not among desiredConnections", 404, address)
        if not peer.take(operation):
            raise RefusedOperation("too many operations wait for the device", 429, address)

    def _retire(self) -> None:
        """The account has removed this gateway."""
        log.info("nRF Cloud has removed this gateway: its BLE devices are let go")
        self._scans.cancel()
        self._watch(())
        self.desire(())

    # ---- devices ----------------------------------------------------------------------------------------------------

    def statuses(self) -> dict[str, PeerStatus]:
        return {address: peer.status for address, peer in self._connections.peers.items()}

    def _changed(self) -> None:
        self.shadow.tell(self.statuses())

    def _watch(self, beacons: tuple[str, ...]) -> None:
        self._connections.beacons = beacons

    def desire(self, addresses: tuple[str, ...]) -> None:
        """Have these devices connected, and no others."""
        peers = self._connections.peers
        for address in [known for known in peers if known not in addresses]:
            peer = peers.pop(address)
            peer.gone = True
            self._connections.left.append(peer)
            self._work.pop(address).cancel()
        for address in addresses:
            if address not in peers:
                peer = peers[address] = Peer(address)
                self._work[address] = self._spawn(f"BLE device {address}", self._serve(peer))
        self._changed()
        self._connections.attention.set()

    async def _serve(self, peer: Peer) -> None:
        """One after the other what is to be done with a device, until it is let go."""
        while True:
            await peer.attention.wait()
            peer.attention.clear()
            while peer.arrived or peer.queue:
                try:
                    await self._do(peer)
                except DriverError as error:
                    self._outlet.error(str(error), error.code, peer.address)

    async def _do(self, peer: Peer) -> None:
        """Raises DriverError."""
        operation = None if peer.arrived else peer.queue.popleft()
        peer.arrived = False
        gatt = self._connections.gatt
        if not peer.connected:
            raise DeviceUnreachable("the device is not connected")
        if self._connections.updates(peer.address):
            raise NotNow("the device is being given new firmware")
        if operation is not None:
            await self._operations.perform(gatt, peer, operation)
            return
        await self._operations.arrived(gatt, peer)
        if self.firmware is not None:
            self.firmware.connected(peer.address)
