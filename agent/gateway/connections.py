"""Which of the devices that the account wants are connected: one attempt at a time, in turn, as many as the protocol and the radio allow.

Protocol notes, section 5.5: each second, whoever comes next; each minute, a short scan for the beacons that are watched, and how strongly
the connected devices were heard. Only who was heard lately is tried, so that one that is away costs the others nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_gateway_values import scan_result
from agent.driver import DeviceUnreachable, DriverError, DriverLost
from agent.gateway.operations import Operations
from agent.gateway.outlet import Outlet
from agent.gateway.peers import Peer
from agent.gatt import Advert, RawGatt
from agent.wire.nrf_gateway import ConnectionChanged, PeerAddress, ScanResult, ScanResults

log = logging.getLogger(__name__)

MOST_CONNECTED = 8
RECENT = 30.0  # seconds; BlueZ keeps no device longer that it neither hears nor knows


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds: between two looks, until an attempt gives its place to the next one, between two watches, and how long one listens."""

    look: float = 1.0
    attempt: float = 30.0
    watch: float = 60.0
    listen: float = 2.0


class Connections:
    """`peers`: whom the account wants; `left`: whom it wants no more; `changed` is called when `statusConnections` has."""

    def __init__(
        self,
        dialect: GatewayDialect,
        outlet: Outlet,
        operations: Operations,
        changed: Callable[[], None],
        timing: Timing,
    ) -> None:
        self._dialect, self._outlet, self._operations, self._changed = dialect, outlet, operations, changed
        self._timing = timing
        self.peers: dict[str, Peer] = {}
        self.left: list[Peer] = []
        self.beacons: tuple[str, ...] = ()
        self.updates: Callable[[str], bool] = lambda _address: False  # whether it is being given new firmware
        self.scanning: Callable[[], bool] = lambda: False
        self.attention = asyncio.Event()
        self._trying: Peer | None = None
        self._until = 0.0
        self._last = ""  # who was tried last
        self._gatt: RawGatt | None = None

    @property
    def ready(self) -> bool:
        return self._gatt is not None

    @property
    def gatt(self) -> RawGatt:
        """Of the radio that is up. Raises DriverLost."""
        if self._gatt is None:
            raise DriverLost("the radio is away")
        return self._gatt

    async def keep(self, gatt: RawGatt) -> None:
        """Until the radio is lost. Raises DriverLost."""
        now = asyncio.get_running_loop().time
        watched = now()
        unwatch = gatt.watch(self._linked)
        self._gatt = gatt
        try:
            while True:
                gatt.check()
                await self._let_go(gatt)
                await self._attempt(gatt, now())
                if now() - watched >= self._timing.watch:
                    watched = now()
                    await self._watched(gatt)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.look):
                        await self.attention.wait()
                self.attention.clear()
        finally:
            unwatch()
            self._gatt = None
            self._lost()

    def _linked(self, address: str, up: bool) -> None:  # noqa: FBT001  as RawGatt.watch has it
        """The radio's word."""
        peer = self.peers.get(address)
        if peer is None or peer.connected is up:
            return
        if up:
            peer.kind = self.gatt.address_type(address)
            peer.up()
        else:
            peer.down()
        self._changed()
        device = self._dialect.peer(address, peer.kind, connected=up)
        kind = "device_connect_result" if up else "device_disconnect"
        self._outlet.say(ConnectionChanged.model_validate({"type": kind, "device": device}), address)
        self.attention.set()

    def _lost(self) -> None:
        """The radio is gone, and with it all connections."""
        self._trying = None
        for peer in self.peers.values():
            peer.connecting = False
            self._linked(peer.address, False)
        self._changed()

    async def _let_go(self, gatt: RawGatt) -> None:
        """Who is wanted no more, and who was lost: the next attempt is that of whose turn it is."""
        gone, self.left = self.left, []
        for peer in gone:
            with suppress(DriverError):
                gatt.check()
                await self._operations.left(gatt, peer)
        for peer in list(self.peers.values()):
            if peer.dropped and not peer.connected and peer is not self._trying:
                await gatt.disconnect(peer.address)
            peer.dropped = False

    # ---- attempts ---------------------------------------------------------------------------------------------------

    async def _attempt(self, gatt: RawGatt, now: float) -> None:
        for address in gatt.connected():  # an adopted device may be so already
            self._linked(address, True)
        trying = self._trying
        if trying is not None and not (trying.connected or trying.gone):
            if now < self._until and not self.updates(trying.address):
                return
            await self._give_up(gatt, trying)
        self._trying = None
        places = min(MOST_CONNECTED, gatt.places)
        if sum(peer.connected for peer in self.peers.values()) >= places:
            return
        chosen = self._next(gatt)
        if chosen is not None:
            self._trying, self._until, self._last = chosen, now + self._timing.attempt, chosen.address
            chosen.connecting = True
            self._changed()
            gatt.want(chosen.address)

    async def _give_up(self, gatt: RawGatt, trying: Peer) -> None:
        """Its place is another's now. The account hears of it once, until it was connected."""
        await gatt.disconnect(trying.address)
        trying.connecting = False
        self._changed()
        if not (trying.failed or self.updates(trying.address)):
            trying.failed = True
            text = f"the device is heard, and was not connected within {self._timing.attempt:.0f} s; it is tried again"
            self._outlet.error(text, DeviceUnreachable.code, trying.address)

    def _next(self, gatt: RawGatt) -> Peer | None:
        """The one after who was tried last, of those that can be."""
        order = list(self.peers)
        start = order.index(self._last) + 1 if self._last in self.peers else 0
        for address in order[start:] + order[:start]:
            away = gatt.silent_for(address) > RECENT
            if not (self.peers[address].connected or away or self.updates(address)):
                return self.peers[address]
        return None

    # ---- watches ----------------------------------------------------------------------------------------------------

    async def _watched(self, gatt: RawGatt) -> None:
        """Raises DriverLost."""
        try:
            await self._watch(gatt)
        except DriverLost:
            raise
        except DriverError as error:
            log.info("BLE gateway: no watch in this minute: %s", error)

    async def _watch(self, gatt: RawGatt) -> None:
        """Only the JavaScript gateways tell what comes of it; for both it is how a device that only answers an active scan is found."""
        missing = [one for one in self.peers.values() if not one.connected and gatt.silent_for(one.address) > RECENT]
        if (self.beacons or missing) and not self.scanning():
            found: dict[str, Advert] = {}
            await gatt.scan(self._timing.listen, lambda advert: found.update({advert.address: advert}), active=True)
            for address in self.beacons if self._dialect.apart else ():
                if address in found:
                    self._hint(scan_result(found[address], self._dialect))
        for peer in list(self.peers.values()) if self._dialect.apart else ():
            if peer.connected and gatt.silent_for(peer.address) < float("inf"):
                heard = self._outlet.ago(gatt.silent_for(peer.address))
                place = PeerAddress(address=peer.address, type="")
                self._hint(ScanResult(rssi=gatt.rssi(peer.address), address=place, time=heard))

    def _hint(self, result: ScanResult) -> None:
        self._outlet.hint(ScanResults(devices=[result], timeout=False))
