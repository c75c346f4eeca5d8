"""The stick itself: how it is started, what it is, and how it is brought back when it hangs.

What is asked follows the stick's own list of functions (GetCapabilities), so that sticks of the 500 to 800 series need no table of models.
Order and time-outs: Host Application Programming Guide, "Initialization".
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agent.driver import DriverError, DriverLost
from drivers.zwave import functions
from drivers.zwave.frame import Signal
from drivers.zwave.function_tables import Region, Setup
from drivers.zwave.layout import NARROW, Context, Values
from drivers.zwave.link import CallAborted, Link, Listener, StickRefused, StickSilent
from drivers.zwave.own import OWN_CLASSES
from drivers.zwave.session import Outcome

log = logging.getLogger(__name__)

STARTED, SOFT_RESET = functions.BY_NAME["Started"].id, functions.BY_NAME["SoftReset"].id
RESET_TIMEOUT = 1.5  # seconds until a stick that says nothing after a reset is taken for restarted
REOPEN_TIMEOUT = 10.0  # seconds for USB to enumerate again
BOOT_TIMEOUT = 5.0  # seconds from the boot loader to the application
BRIDGE_LIBRARY = 7
ACK_TIMEOUT, BYTE_TIMEOUT = 160, 15  # of the stick, in 10 ms: how long it waits for our ACK, and between our bytes
STATIC_CONTROLLER, PC_CONTROLLER = 0x02, 0x01  # device classes (SDS13740)
LISTENING = 1
BOOT_LOADER, RUN_APPLICATION = b"Bootloader", b"2"
END_DEVICE = (b"\x15", b">")  # a command line answers a NAK with a NAK or a prompt
STARTS = 3  # of a stick that restarts while it is configured
SEGMENTS = 4  # of 1,024 Long Range node ids; 4,000 is the last id


@dataclass(frozen=True, slots=True)
class Facts:
    """What the stick said of itself. Node lists hold the stick's own id too; powers are dBm, sizes bytes."""

    functions: frozenset[int]
    manufacturer: int
    product_type: int
    product: int
    version: str = ""
    library: int = 0
    firmware: tuple[int, int, int] = (0, 0, 0)  # of the protocol
    setup: frozenset[int] = frozenset()
    home_id: int = 0
    node: int = 0
    nodes: tuple[int, ...] = ()
    long_range_nodes: tuple[int, ...] = ()
    long_range: bool = False
    primary: bool = True
    sis: bool = False  # a SIS is in the network, so every controller with its rights may include
    suc_node: int = 0
    region: int | None = None
    power: float | None = None
    max_payload: int = 46
    long_range_payload: int = 0
    restart_reason: int | None = None  # of the last Started

    @property
    def bridge(self) -> bool:
        """Its library sends for virtual nodes too, and has its own SendData."""
        return self.library == BRIDGE_LIBRARY

    @property
    def identity(self) -> str:
        """The home id, eight hex digits: what a stick is recognised by when it is plugged in again."""
        return f"{self.home_id:08X}"

    def has(self, name: str) -> bool:
        """The stick has this function of the Serial API."""
        return functions.BY_NAME[name].id in self.functions


class Controller:
    """One stick on one link. `facts` is valid after `start`; what the stick sends goes to `listener`."""

    def __init__(
        self, link: Link, *, region: Region | None = None, power: float | None = None, soft_reset: bool = True
    ) -> None:
        self.link = link
        self.listener: Listener = lambda _function, _payload: None
        self.restarted: Callable[[], None] = lambda: None  # the stick restarted by itself; `configure` must follow
        self._region = region
        self._power = power
        self._may_reset = soft_reset
        self._facts: Facts | None = None
        self._started: asyncio.Future[Values] | None = None
        self._restarts = 0
        self._ready = False  # a stick that was just plugged in says that it started, and answers all the same
        link.listen(self._on_request)

    @property
    def restarts(self) -> bool:
        """A soft reset is there, and allowed."""
        return self._may_reset and self.facts.has("SoftReset")

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            raise DriverLost("the stick is not started")
        return self._facts

    # ---- start ------------------------------------------------------------------------------------------------------

    async def start(self) -> Facts:
        """From an open port to a stick that is ready. Raises DriverLost, with the remedy, when none answers."""
        self.link.signal(Signal.NAK)
        capabilities = await self._recognise()
        self._facts = Facts(
            frozenset(capabilities["functions"]),
            capabilities["manufacturer"],
            capabilities["product_type"],
            capabilities["product_id"],
        )
        try:
            await self._identify()
            if self.facts.has("SetApplicationNodeInformation"):
                await self._optional(
                    "SetApplicationNodeInformation",
                    listening=LISTENING,
                    generic=STATIC_CONTROLLER,
                    specific=PC_CONTROLLER,
                    command_classes=bytes(OWN_CLASSES),
                )
            if self.restarts:
                await self.soft_reset()
            await self._configure_to_the_end()
        except (StickSilent, StickRefused, CallAborted) as error:
            raise DriverLost(f"the stick on {self.link.name} does not start: {error}") from error
        self._ready = True
        return self.facts

    async def _configure_to_the_end(self) -> None:
        """A stick that was just plugged in may say that it started only now, and forgets what it was told before."""
        for _ in range(STARTS):
            restarts = self._restarts
            try:
                await self.configure()
            except CallAborted:
                continue
            if self._restarts == restarts:
                return
        raise StickSilent("it restarts again and again", Outcome.LOST)

    async def _recognise(self) -> Values:
        for attempt in range(2):
            try:
                return (await self.link.call("GetCapabilities")).response
            except (StickSilent, StickRefused) as error:
                heard = bytes(self.link.heard)
                if BOOT_LOADER in heard and attempt == 0:
                    log.warning("the stick on %s is in its boot loader; its application is started", self.link.name)
                    self.link.heard.clear()
                    await self._leave_boot_loader()
                    continue
                raise _unrecognised(self.link.name, heard, error) from error
        raise AssertionError("unreachable")

    async def _leave_boot_loader(self) -> None:
        self._await_start()
        gone = self.link.expect_reset()
        self.link.write(RUN_APPLICATION)
        await self._started_within(BOOT_TIMEOUT, gone)
        self._started = None
        await self.link.reopen(REOPEN_TIMEOUT)

    async def _identify(self) -> None:
        """What does not depend on how wide node ids are."""
        version = (await self.link.call("GetVersion")).response
        self._learn(version=version["version"], library=version["library"])
        if self.facts.has("GetProtocolVersion"):
            protocol = await self._optional("GetProtocolVersion")
            if protocol:
                self._learn(firmware=(protocol["major"], protocol["minor"], protocol["patch"]))
        if self.facts.has("SerialAPISetup"):
            found = await self._optional("SerialAPISetup", command=Setup.GET_SUPPORTED)
            if found and found["command"] == Setup.GET_SUPPORTED:
                self._learn(setup=functions.setup_commands(found, self.facts.firmware))

    async def configure(self) -> None:
        """Set and read what a restart of the stick loses: the width of node ids first, since everything after it depends on it."""
        self.link.context = NARROW
        if await self._setup(Setup.SET_NODE_ID_TYPE, bytes=2) is not None:
            self.link.context = Context(wide=True)
        await self._radio()
        await self._network()
        if self.facts.has("SetTimeouts") and not self.facts.bridge:
            await self._optional("SetTimeouts", ack=ACK_TIMEOUT, byte=BYTE_TIMEOUT)

    async def _network(self) -> None:
        init = (await self.link.call("GetInitData")).response
        capabilities = (await self.link.call("GetControllerCapabilities")).response
        own = (await self.link.call("GetId")).response
        if init["end_device"]:
            raise DriverLost(
                f"the stick on {self.link.name} is an end device, no controller", remedy="install controller firmware"
            )
        self._learn(
            home_id=int.from_bytes(own["home_id"], "big"),
            node=own["node"],
            nodes=tuple(init["nodes"]),
            primary=not capabilities["secondary"],
            sis=bool(capabilities["sis_present"]),
            long_range_nodes=tuple(await self._long_range_nodes()),
        )
        if self.facts.has("GetSUCNodeId"):
            self._learn(suc_node=(await self.link.call("GetSUCNodeId")).response["node"])
        if not self.facts.suc_node and self.facts.primary and self.facts.has("SetSUCNodeId"):
            # Without a SIS no second controller could ever include, and nodes know no way home.
            done = await self._optional(
                "SetSUCNodeId", called_back=False, node=self.facts.node, enable=1, options=0, sis=1
            )
            if done:
                self._learn(suc_node=self.facts.node, sis=True)

    async def _long_range_nodes(self) -> list[int]:
        found: list[int] = []
        if self.link.context.wide and self.facts.has("GetLongRangeNodes"):
            for segment in range(SEGMENTS):
                values = await self._optional("GetLongRangeNodes", segment=segment)
                if values is None:
                    break
                found += functions.long_range_nodes(values)
                if not values["more"]:
                    break
        return found

    async def _radio(self) -> None:
        await self._setup(Setup.SET_TX_STATUS_REPORT, enable=0xFF)
        region = await self._setup(Setup.GET_REGION)
        if region is not None:
            self._learn(region=int(region["region"]))
            await self._move_to_region()
        sixteen = Setup.GET_POWERLEVEL_16 in self.facts.setup
        get, put = (
            (Setup.GET_POWERLEVEL_16, Setup.SET_POWERLEVEL_16)
            if sixteen
            else (Setup.GET_POWERLEVEL, Setup.SET_POWERLEVEL)
        )
        power = await self._setup(get)
        if power is not None:
            if self._power is not None and power["power"] != round(self._power * 10):
                wanted = {**power, "power": round(self._power * 10)}
                wanted.pop("command")
                if await self._setup(put, **wanted) is not None:
                    power = {**power, **wanted}
            self._learn(power=power["power"] / 10)
        payload = await self._setup(Setup.GET_MAX_PAYLOAD)
        if payload is not None:
            self._learn(max_payload=payload["size"])
        payload = await self._setup(Setup.GET_LR_MAX_PAYLOAD)
        if payload is not None:
            self._learn(long_range_payload=payload["size"])
        self._learn(long_range=self.facts.has("GetLongRangeNodes") and payload is not None)

    async def _move_to_region(self) -> None:
        if self._region is None or self._region == self.facts.region:
            return
        if await self._setup(Setup.SET_REGION, region=self._region) is None:
            log.warning("the stick cannot change its region to %s", self._region.name)
            return
        self._learn(region=int(self._region))
        # A region is taken up at the next start only, and with it node ids are short again.
        await self.soft_reset()
        if await self._setup(Setup.SET_NODE_ID_TYPE, bytes=2) is not None:
            self.link.context = Context(wide=True)
        await self._setup(Setup.SET_TX_STATUS_REPORT, enable=0xFF)

    async def _setup(self, command: Setup, **values: Any) -> Values | None:
        """One setup command; None where the stick does not have it or refuses."""
        if command not in self.facts.setup:
            return None
        answer = await self._optional("SerialAPISetup", command=command, **values)
        if not answer or answer["command"] != command or answer.get("success") == 0:
            return None
        return answer

    async def _optional(self, name: str, *, called_back: bool = True, **values: Any) -> Values | None:
        """A call that the stick may refuse or leave unanswered: it works without. {} where the function answers nothing."""
        try:
            return (await self.link.call(name, called_back=called_back, **values)).response
        except (StickRefused, StickSilent) as error:
            log.info("%s: %s", self.link.name, error)
            return None

    def _learn(self, **facts: Any) -> None:
        self._facts = replace(self.facts, **facts)

    # ---- while it runs ----------------------------------------------------------------------------------------------

    async def nodes(self) -> tuple[int, ...]:
        """The node list, read anew. Raises StickSilent, DriverLost."""
        init = (await self.link.call("GetInitData")).response
        self._learn(nodes=tuple(init["nodes"]), long_range_nodes=tuple(await self._long_range_nodes()))
        return (*self.facts.nodes, *self.facts.long_range_nodes)

    async def background_rssi(self) -> list[int | None]:
        """Noise on each channel in dBm; None where the stick has no figure. Empty for sticks that cannot tell."""
        if not self.facts.has("GetBackgroundRSSI"):
            return []
        values = await self._optional("GetBackgroundRSSI")
        return [] if values is None else [functions.rssi(value) for value in values["rssi"]]

    async def soft_reset(self) -> None:
        """Restart the chip, and take the port again where it went away. Node ids are short afterwards. Raises DriverLost, StickSilent."""
        self._await_start()
        gone = self.link.expect_reset()
        try:
            await self.link.call("SoftReset")
            await self._started_within(RESET_TIMEOUT, gone)
        except CallAborted:
            log.debug("the stick went away before it acknowledged its reset")
        finally:
            self._started = None
            self.link.context = NARROW
            await self.link.reopen(REOPEN_TIMEOUT)
        await self.link.call("GetVersion")  # it answers again, also where it never says Started

    def _await_start(self) -> None:
        self._started = asyncio.get_running_loop().create_future()

    async def _started_within(self, limit: float, gone: asyncio.Future[None]) -> None:
        """The stick says Started, its port goes, or time is over: old sticks say nothing."""
        if self._started is not None:
            ends: set[asyncio.Future[Any]] = {self._started, gone}
            await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)

    def _on_request(self, function: int, payload: bytes) -> None:
        if function != STARTED:
            self.listener(function, payload)
            return
        values = functions.decode_callback(function, payload, self.link.context)
        self.link.context = NARROW
        if self._facts is not None:
            self._learn(restart_reason=values["reason"])
        if self._started is None:
            log.info("the stick on %s restarted by itself (reason %d)", self.link.name, values["reason"])
            self._restarts += 1
            if self._ready:
                self.link.drop_calls()
                self.restarted()
        elif not self._started.done():
            self._started.set_result(values)


def _unrecognised(port: str, heard: bytes, error: DriverError) -> DriverLost:
    if BOOT_LOADER in heard:
        return DriverLost(
            f"the stick on {port} is in its boot loader and does not leave it",
            remedy="plug it out and in; if that does not help, install its firmware again",
        )
    if heard.strip() and any(heard.strip().endswith(mark) for mark in END_DEVICE) and len(set(heard.strip())) == 1:
        return DriverLost(f"the stick on {port} is an end device, no controller", remedy="install controller firmware")
    return DriverLost(
        f"nothing answers on {port} as a Z-Wave controller ({error})",
        remedy="check `port`, and plug the stick out and in",
    )
