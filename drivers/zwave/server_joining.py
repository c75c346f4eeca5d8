"""Who may join and who must leave, through a zwave-js-server: its inclusion with our policy. Windows close by themselves.

zwave-js keeps a node that got no keys: one that our policy does not want is kept out of use, and taken off when its button is pressed again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from agent.driver import DeviceUnreachable, DriverError, DriverLost, InvalidParameters
from agent.model import Exclusion, JoinWindow
from drivers.zwave.adding import PROTOCOL_TIMEOUT
from drivers.zwave.bootstrap import Credentials
from drivers.zwave.inclusion import MAX_SECONDS
from drivers.zwave.provisioning import Entry, material
from drivers.zwave.security import dsk as dsks
from drivers.zwave.server_asking import NUMBERS, Dialogue
from drivers.zwave.server_home import Home
from drivers.zwave.server_json import Json, StickBusy, record, whole

log = logging.getLogger(__name__)

DEFAULT, SECURE = 0, 4  # InclusionStrategy: the best that a device can, S2 and nothing less
FAILED = -1
UNPROVISION = 2  # ExclusionStrategy: the device is no longer expected, else it would be back at once
BOOTSTRAP = 260.0  # seconds for the keys, with those that a person may take for a PIN
IDLE = 0
AT_REST, BUSY = frozenset({IDLE, 4}), frozenset({1, 2, 3})  # InclusionState; 4: waiting for SmartStart
STATE_TIMEOUT = 5.0  # seconds for a change of it
ACTIVE = 0  # ProvisioningEntryStatus
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
_S2 = (0, 1, 2)


class Joining:
    """The join window of one server, and what goes with it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._window: asyncio.Task[None] | None = None
        self.dialogue = Dialogue(home)
        found = home.controller.get("inclusionState")
        self._state = found if isinstance(found, int) else IDLE
        self._changed = asyncio.Event()
        self._including = False  # for us: another client of the server includes by its own policy
        self._found = False  # a device is just joining: the window closes after it
        self._in = asyncio.Event()  # the device that was found is in, or its inclusion failed
        self._closing = asyncio.Event()
        self._stuck: set[int] = set()  # nodes that must leave again
        self._admitted = 0  # the node that was let in last
        self._gone: asyncio.Queue[int] = asyncio.Queue()
        self._network = asyncio.Lock()  # one change of the network at a time
        home.watchers.append(self._heard)
        if home.left_open:
            home.begin.append(lambda: home.soon(self._tidy(home.left_open), "end of a window that was left open"))

    # ---- the window -----------------------------------------------------------------------------------------------------

    async def open(self, duration: int, code: str, *, attended: bool = False, replaces: int | None = None) -> None:
        """Open the window, in place of one that is open; returns once devices may join. Raises InvalidParameters, DriverError.

        `attended`: somebody can be asked for a PIN; `replaces`: a node that has failed, whose place the device that joins takes.
        """
        if duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        found = material(code)
        await self.close()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = min(duration, MAX_SECONDS)
        entry, known = found.entry, found.credentials
        if entry is not None and replaces is None:
            work = self._listen(entry, seconds, opened)
        else:
            known = known if known.of_one_device else replace(known, attended=attended)
            work = self._hold(seconds, known, opened, replaces)
        self._window = self._home.spawn(work, "join window")
        await opened

    async def open_exclusion(self, duration: int) -> None:
        """Open the window in which every device that is asked to leaves its network; returns once devices may leave.

        Raises InvalidParameters, DriverError.
        """
        if duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        await self.close()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._window = self._home.spawn(self._let_go(min(duration, MAX_SECONDS), opened), "exclusion window")
        await opened

    async def close(self) -> None:
        """Close the window now, if one is open; a node that is just joining is let in first."""
        window, self._window = self._window, None
        if window is None or window.done():
            return
        if self._including and self._found:
            self._closing.set()
            self.dialogue.withdraw()
            self._home.moved.set()
        else:
            window.cancel()
        await asyncio.wait({window})

    async def _listen(self, entry: Entry, seconds: int, opened: asyncio.Future[None]) -> None:
        """A SmartStart device joins by itself, now or later; the window only waits for it."""
        try:
            granted = sorted(NUMBERS[one] for one in entry.credentials().allowed if one in NUMBERS)
            expected = {"dsk": entry.dsk, "securityClasses": granted, "status": ACTIVE}
            await self._home.socket.call("controller.provision_smart_start_node", entry=expected)
            self._told(opened, seconds)
            await asyncio.sleep(seconds)
        except DriverError as error:
            _fail(opened, error)
        finally:
            self._ended(opened)

    async def _hold(
        self, seconds: int, credentials: Credentials, opened: asyncio.Future[None], replaces: int | None
    ) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._closing.clear()
        self.dialogue.credentials = credentials
        try:
            while not self._closing.is_set() and (left := end - loop.time()) > 0:
                async with self._network:
                    await self._include(left, opened, seconds, replaces)
                    await self._interviews(end - loop.time())
                    left = end - loop.time()
                    if self._stuck and not self._closing.is_set() and left > 0:
                        await self._exclude(left)
                    if replaces is not None or (credentials.of_one_device and self._admitted):
                        break  # nobody else can use what the window was opened with
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

    async def _include(self, left: float, opened: asyncio.Future[None], seconds: int, replaces: int | None) -> None:
        """Let one device in. Raises StickBusy, DriverError."""
        # zwave-js is not told what takes another one's place: it must know which security that has.
        strategy = SECURE if self._home.settings.security == "s2" or replaces is not None else DEFAULT
        options = {"strategy": strategy, **({} if strategy == SECURE else {"forceSecurity": True})}
        self._including, self._found, self._admitted = True, False, 0
        self._in.clear()
        try:
            async with self._busy("inclusion", options, replaces):
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
    async def _busy(self, what: str, options: Json, replaces: int | None = None) -> AsyncIterator[None]:
        """The server adds or removes a device for us, until it is done or this ends. Raises StickBusy, DriverError."""
        socket, begun, busy = self._home.socket, True, False  # it may begin also where its answer is not waited for
        self._home.opens(what)
        try:
            if replaces is None:
                answer = await socket.call(f"controller.begin_{what}", options=options)
            else:
                answer = await socket.call("controller.replace_failed_node", nodeId=replaces, options=options)
            begun = answer.get("success") is True
            if not begun:
                raise StickBusy("the server is just adding or removing a device", remedy="try again when it is done")
            busy = await self._until(BUSY, STATE_TIMEOUT)
            yield
        finally:
            if begun and not socket.lost.done():
                with suppress(DriverError):
                    await self.dialogue.leave()
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
                number = whole(record(event.get("node"), "node").get("nodeId"), "nodeId")
                self.dialogue.begin(number)
                self.dialogue.say(number, "joined")
            case "node added":
                self._in.set()
                self.dialogue.ended()
                self._added(event)
            case "inclusion failed":
                self._in.set()
            case "node removed":
                number = whole(record(event.get("node"), "node").get("nodeId"), "nodeId")
                self._stuck.discard(number)
                self._gone.put_nowait(number)
            case "grant security classes":
                self.dialogue.grant(record(event.get("requested"), "requested"))
            case "validate dsk and enter pin":
                self.dialogue.pin(str(event.get("dsk", "")))
            case "inclusion aborted":
                self.dialogue.ended()
                log.info("the exchange of keys was aborted")
            case "exclusion failed":
                self._gone.put_nowait(FAILED)

    def _added(self, event: Json) -> None:
        """A node is in, with the keys that it got: use it, where the policy lets it."""
        state = record(event.get("node"), "node")
        number, result = whole(state.get("nodeId"), "nodeId"), event.get("result")
        if not self._including:
            self.dialogue.say(number, "interviewing")
            return
        low = isinstance(result, dict) and result.get("lowSecurity") is True
        failure = result.get("lowSecurityReason") if isinstance(result, dict) else None
        reason = self._unwanted(state, low=low, failure=failure if isinstance(failure, int) else -1)
        if reason is None:
            self._admitted = number
            self.dialogue.say(number, "interviewing")
            return
        advice = "it is not used: press its button once more to take it off, and pair it again"
        self.dialogue.say(number, "failed", f"{reason}; {advice}")
        self._stuck.add(number)
        self._home.keep_out(number, reason)

    def _unwanted(self, state: Json, *, low: bool, failure: int) -> str | None:
        """Why a node must not stay; None where it may."""
        highest, policy = state.get("highestSecurityClass"), self._home.settings.security
        if self.dialogue.credentials.dsk is not None and state.get("dsk") not in (
            None,
            dsks.to_text(self.dialogue.credentials.dsk),
        ):
            return "the device that joined is not the one of the code"
        if low:
            why = self.dialogue.refusal or _FAILURES.get(failure, "its keys could not be given to it")
            return None if policy == "none" and failure < 0 else why
        wanted = {"s2": _S2, "s0": (*_S2, 7)}.get(policy)
        if wanted is not None and highest not in wanted:
            return f"the device has no S2, and this radio's policy is security = {policy!r}"
        return None

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

    async def _let_go(self, seconds: int, opened: asyncio.Future[None]) -> None:
        loop, radio = asyncio.get_running_loop(), self._home.radio
        end = loop.time() + seconds

        def ready() -> None:
            if not opened.done():
                opened.set_result(None)
                self._home.sink(Exclusion(radio, "open", seconds=seconds))

        try:
            while (left := end - loop.time()) > 0:
                async with self._network:
                    gone = await self._exclude(left, ready)
                if gone is None:
                    break
                if gone == FAILED:
                    self._home.sink(
                        Exclusion(radio, "failed", "the server could not remove it: press its button again")
                    )
                else:
                    device = self._home.speaker.id(gone) if gone else None
                    self._home.sink(Exclusion(radio, "left", device=device))
        except DriverError as error:
            if opened.done():
                log.warning("the exclusion window ended early: %s", error)
            _fail(opened, error)
        finally:
            _fail(opened, DriverLost("the exclusion window was closed before it was open"))
            self._home.sink(Exclusion(radio, "closed"))

    async def _exclude(self, left: float, ready: Callable[[], None] = lambda: None) -> int | None:
        """The node that left, 0 for one of another network, FAILED; None where none did. Raises StickBusy, DriverError."""
        self._gone = asyncio.Queue()
        async with self._busy("exclusion", {"strategy": UNPROVISION}):
            ready()
            if not await self._until(AT_REST, left) and self._gone.empty():
                return None
            # zwave-js says who left before it rests, and nothing of a device that it does not know.
            return 0 if self._gone.empty() else self._gone.get_nowait()

    async def remove_failed(self, number: int) -> None:
        """Take a node that does not answer off the network. Raises DriverError where the server keeps it."""
        await self.close()
        async with self._network:
            await self._home.socket.call("controller.remove_failed_node", nodeId=number)


def _fail(opened: asyncio.Future[None], error: DriverError) -> None:
    if not opened.done():
        opened.set_exception(error)
