"""Who may join and who must leave, through a zwave-js-server: its inclusion with our policy. Windows close by themselves.

zwave-js keeps a node that got no keys: one that our policy does not want is kept out of use, and taken off when its button is pressed again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from agent.driver import DeviceUnreachable, DriverError, DriverLost, InvalidParameters
from agent.model import DeviceJoining, JoinWindow
from drivers.zwave.adding import PROTOCOL_TIMEOUT
from drivers.zwave.bootstrap import Credentials
from drivers.zwave.inclusion import MAX_SECONDS
from drivers.zwave.provisioning import Entry, material
from drivers.zwave.security import dsk as dsks
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.server_home import Home
from drivers.zwave.server_json import Json, StickBusy, numbers, record, whole

log = logging.getLogger(__name__)

DEFAULT, SECURE = 0, 4  # InclusionStrategy: the best that a device can, S2 and nothing less
UNPROVISION = 2  # ExclusionStrategy: the device is no longer expected, else it would be back at once
BOOTSTRAP = 260.0  # seconds for the keys, with those that a person may take for a PIN
IDLE = 0
AT_REST, BUSY = frozenset({IDLE, 4}), frozenset({1, 2, 3})  # InclusionState; 4: waiting for SmartStart
STATE_TIMEOUT = 5.0  # seconds for a change of it
ACTIVE = 0  # ProvisioningEntryStatus
CLASSES = {  # SecurityClass of zwave-js -> ours
    0: SecurityClass.S2_UNAUTHENTICATED,
    1: SecurityClass.S2_AUTHENTICATED,
    2: SecurityClass.S2_ACCESS_CONTROL,
    7: SecurityClass.S0,
}
_NUMBERS = {one: number for number, one in CLASSES.items()}
_FAILURES = {  # SecurityBootstrapFailure
    0: "no key was granted",
    1: "the server has no network keys: set them in its settings",
    2: "the server asked nobody for the PIN",
    3: "the exchange of keys took too long",
    4: "the device and the controller have no key exchange in common",
    5: "the device gave up",
    6: "the PIN is not this device's",
    7: "the device took no key",
    8: "the device tried to get less security than it has",
}
PIN_BYTES = 2
_S2 = (0, 1, 2)


class Joining:
    """The join window of one server, and what goes with it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._window: asyncio.Task[None] | None = None
        self._credentials = Credentials()
        found = home.controller.get("inclusionState")
        self._state = found if isinstance(found, int) else IDLE
        self._changed = asyncio.Event()
        self._including = False  # for us: another client of the server includes by its own policy
        self._found = False  # a device is just joining: the window closes after it
        self._in = asyncio.Event()  # the device that was found is in, or its inclusion failed
        self._closing = asyncio.Event()
        self._stuck: set[int] = set()  # nodes that must leave again
        self._refusal = ""  # why a device was granted nothing
        self._gone: asyncio.Queue[int] = asyncio.Queue()
        self._network = asyncio.Lock()  # one change of the network at a time
        home.watchers.append(self._heard)
        if home.left_open:
            home.begin.append(lambda: home.soon(self._tidy(home.left_open), "end of a window that was left open"))

    # ---- the window -----------------------------------------------------------------------------------------------------

    async def open(self, duration: int, code: str) -> None:
        """Open the window, in place of one that is open; returns once devices may join. Raises InvalidParameters, DriverError."""
        if duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        found = material(code)
        await self.close()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = min(duration, MAX_SECONDS)
        entry, known = found.entry, found.credentials
        work = self._hold(seconds, known, opened) if entry is None else self._listen(entry, seconds, opened)
        self._window = self._home.spawn(work, "join window")
        await opened

    async def close(self) -> None:
        """Close the window now, if one is open; a node that is just joining is let in first."""
        window, self._window = self._window, None
        if window is None or window.done():
            return
        if self._including and self._found:
            self._closing.set()
            self._home.moved.set()
        else:
            window.cancel()
        await asyncio.wait({window})

    async def _listen(self, entry: Entry, seconds: int, opened: asyncio.Future[None]) -> None:
        """A SmartStart device joins by itself, now or later; the window only waits for it."""
        try:
            granted = sorted(_NUMBERS[one] for one in entry.credentials().allowed if one in _NUMBERS)
            expected = {"dsk": entry.dsk, "securityClasses": granted, "status": ACTIVE}
            await self._home.socket.call("controller.provision_smart_start_node", entry=expected)
            self._told(opened, seconds)
            await asyncio.sleep(seconds)
        except DriverError as error:
            _fail(opened, error)
        finally:
            self._ended(opened)

    async def _hold(self, seconds: int, credentials: Credentials, opened: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._closing.clear()
        self._credentials = credentials
        try:
            while not self._closing.is_set() and (left := end - loop.time()) > 0:
                async with self._network:
                    await self._include(left, opened, seconds)
                    left = end - loop.time()
                    await self._interviews(left)
                    left = end - loop.time()
                    if self._stuck and not self._closing.is_set() and left > 0:
                        await self._exclude(left)
        except DriverError as error:
            if opened.done():
                log.warning("the join window ended early: %s", error)
            _fail(opened, error)
        finally:
            self._ended(opened)

    def _told(self, opened: asyncio.Future[None], seconds: int) -> None:
        if not opened.done():
            opened.set_result(None)
            self._home.sink(JoinWindow(self._home.radio, seconds))

    def _ended(self, opened: asyncio.Future[None]) -> None:
        _fail(opened, DriverLost("the join window was closed before it was open"))
        self._home.sink(JoinWindow(self._home.radio, 0))

    async def _include(self, left: float, opened: asyncio.Future[None], seconds: int) -> None:
        """Let one device in. Raises StickBusy, DriverError."""
        strategy = SECURE if self._home.settings.security == "s2" else DEFAULT
        options = {"strategy": strategy, **({} if strategy == SECURE else {"forceSecurity": True})}
        self._including, self._found = True, False
        self._in.clear()
        try:
            async with self._busy("inclusion", options):
                self._told(opened, seconds)
                if not await self._until(AT_REST, left) and self._found:
                    await self._until(AT_REST, PROTOCOL_TIMEOUT + BOOTSTRAP)
                if self._found:  # the server says who is in after it said that it is done
                    with suppress(TimeoutError):
                        async with asyncio.timeout(STATE_TIMEOUT):
                            await self._in.wait()
        finally:
            self._including = self._found = False

    @asynccontextmanager
    async def _busy(self, what: str, options: Json) -> AsyncIterator[None]:
        """The server adds or removes a device for us, until it is done or this ends. Raises StickBusy, DriverError."""
        socket, begun, busy = self._home.socket, True, False  # it may begin also where its answer is not waited for
        self._home.opens(what)
        try:
            answer = await socket.call(f"controller.begin_{what}", options=options)
            begun = answer.get("success") is True
            if not begun:
                raise StickBusy("the server is just adding or removing a device", remedy="try again when it is done")
            busy = await self._until(BUSY, STATE_TIMEOUT)
            yield
        finally:
            if begun and not socket.lost.done():
                with suppress(DriverError):
                    if not busy:  # it ignores a stop before it says so
                        await self._until(BUSY, STATE_TIMEOUT)
                    await self._end(what)

    async def _end(self, what: str) -> None:
        if self._state in BUSY:
            await self._home.socket.call(f"controller.stop_{what}", limit=STATE_TIMEOUT)
            await self._until(AT_REST, STATE_TIMEOUT)
        self._home.opens("")

    async def _tidy(self, what: str) -> None:
        """The connection was lost while the server let devices join or leave for us: that is over."""
        async with self._network:
            await self._end(what)

    async def _interviews(self, left: float) -> None:
        """zwave-js interviews nobody while it includes: what just joined is heard out before the next may come."""
        home = self._home
        with suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                while not self._closing.is_set() and not all(node.interviewed for node in home.nodes.values()):
                    home.moved.clear()
                    await home.moved.wait()

    async def _until(self, states: frozenset[int], limit: float) -> bool:
        """Wait for a state of the server's controller, at most `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                while self._state not in states:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # ---- what the server says -----------------------------------------------------------------------------------------

    def _heard(self, name: str, event: Json) -> None:
        """An event of the controller. Raises Malformed."""
        match name:
            case "inclusion state changed":
                self._state = whole(event.get("state"), "state")
                self._changed.set()
            case "node found":
                self._found = self._including
                self._say(whole(record(event.get("node"), "node").get("nodeId"), "nodeId"), "joined")
            case "node added":
                self._in.set()
                self._added(event)
            case "inclusion failed":
                self._in.set()
            case "node removed":
                number = whole(record(event.get("node"), "node").get("nodeId"), "nodeId")
                self._stuck.discard(number)
                self._gone.put_nowait(number)
            case "grant security classes":
                self._grant(record(event.get("requested"), "requested"))
            case "validate dsk and enter pin":
                self._pin(str(event.get("dsk", "")))
            case "inclusion aborted":
                log.info("the exchange of keys was aborted")

    def _say(self, number: int, stage: str, detail: str = "") -> None:
        speaker = self._home.speaker
        detail = detail or f"node {number}"
        self._home.sink(DeviceJoining(speaker.id(number), stage, detail, node_id=speaker.node_id(number)))

    def _added(self, event: Json) -> None:
        """A node is in, with the keys that it got: use it, where the policy lets it."""
        state = record(event.get("node"), "node")
        number, result = whole(state.get("nodeId"), "nodeId"), event.get("result")
        if not self._including:
            self._say(number, "interviewing")
            return
        low = isinstance(result, dict) and result.get("lowSecurity") is True
        failure = result.get("lowSecurityReason") if isinstance(result, dict) else None
        reason = self._unwanted(state, low=low, failure=failure if isinstance(failure, int) else -1)
        self._refusal = ""
        if reason is None:
            self._say(number, "interviewing")
            return
        advice = "it is not used: press its button once more to take it off, and pair it again"
        self._say(number, "failed", f"{reason}; {advice}")
        self._stuck.add(number)
        self._home.keep_out(number, reason)

    def _unwanted(self, state: Json, *, low: bool, failure: int) -> str | None:
        """Why a node must not stay; None where it may."""
        highest, policy = state.get("highestSecurityClass"), self._home.settings.security
        if self._credentials.dsk is not None and state.get("dsk") not in (None, dsks.to_text(self._credentials.dsk)):
            return "the device that joined is not the one of the code"
        if low:
            why = self._refusal or _FAILURES.get(failure, "its keys could not be given to it")
            return None if policy == "none" and failure < 0 else why
        wanted = {"s2": _S2, "s0": (*_S2, 7)}.get(policy)
        if wanted is not None and highest not in wanted:
            return f"the device has no S2, and this radio's policy is security = {policy!r}"
        return None

    def _grant(self, requested: Json) -> None:
        asked = numbers(requested.get("securityClasses")) or frozenset()
        classes = [CLASSES[number] for number in sorted(asked) if number in CLASSES]
        granted = self._credentials.grant(classes)
        if not granted:
            names = ", ".join(one.name for one in classes)
            self._refusal = f"the device wants {names}: give its PIN, DSK or QR code"
        answer = {"securityClasses": [_NUMBERS[one] for one in granted], "clientSideAuth": False} if granted else False
        self._answer("controller.grant_security_classes", inclusionGrant=answer)

    def _pin(self, shown: str) -> None:
        """The server shows the DSK without what its owner must type: with a code, the rest must be the code's."""
        known, pin = self._credentials.dsk, self._credentials.pin
        if known is not None:
            fits = dsks.to_text(known).endswith(shown[-dsks.DIGITS * (dsks.GROUPS - 1) :].lstrip("-"))
            if not fits:
                self._refusal = "the device that joined is not the one of the code"
            pin = known[:PIN_BYTES] if fits else None
        answer = f"{int.from_bytes(pin, 'big'):05d}" if pin is not None else False
        self._answer("controller.validate_dsk_and_enter_pin", pin=answer)

    def _answer(self, command: str, **arguments: Any) -> None:
        async def answer() -> None:
            await self._home.socket.call(command, **arguments)

        self._home.soon(answer(), command)

    # ---- leaving --------------------------------------------------------------------------------------------------------

    async def exclude(self, number: int, limit: float) -> None:
        """Wait for a node to leave by its own button. Raises DeviceUnreachable, DriverError."""
        await self.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        async with self._network:
            while (left := end - loop.time()) > 0:
                gone = await self._exclude(left)
                if gone is None:
                    break
                if gone == number:
                    return
        raise DeviceUnreachable(
            "nothing left the network: press the device's pairing button while it is being removed, or use force"
        )

    async def _exclude(self, left: float) -> int | None:
        """The node that left; None where none did. Raises StickBusy, DriverError."""
        self._gone = asyncio.Queue()
        async with self._busy("exclusion", {"strategy": UNPROVISION}):
            try:
                async with asyncio.timeout(left):
                    gone = await self._gone.get()
            except TimeoutError:
                return None
            await self._until(AT_REST, PROTOCOL_TIMEOUT)
            return gone

    async def remove_failed(self, number: int) -> None:
        """Take a node that does not answer off the network. Raises DriverError where the server keeps it."""
        await self.close()
        async with self._network:
            await self._home.socket.call("controller.remove_failed_node", nodeId=number)


def _fail(opened: asyncio.Future[None], error: DriverError) -> None:
    if not opened.done():
        opened.set_exception(error)
