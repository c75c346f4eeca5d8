"""Who may join and who must leave: inclusion, SmartStart, exclusion, failed nodes. Windows close by themselves.

A node that gets none of the keys that the policy wants is taken off the network again; where the stick cannot do that, it is quarantined:
known, said, and not used.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotSupported
from agent.model import DeviceId, DeviceJoining, Exclusion, JoinWindow
from drivers.zwave.adding import PROTOCOL_TIMEOUT, Adding, Found
from drivers.zwave.bootstrap import BootstrapError, Credentials
from drivers.zwave.function_tables import AddMode, Region, UpdateStatus
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.interview import supported
from drivers.zwave.layout import Values
from drivers.zwave.life import Life, NetworkBusy
from drivers.zwave.link import StickRefused
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.provisioning import Entry
from drivers.zwave.securing import Securing
from drivers.zwave.security import dsk as dsks

log = logging.getLogger(__name__)

MAX_SECONDS = 900
REMOVED, NODE_ANSWERS = 1, 0  # status of RemoveFailedNode
NO_OPERATION = b"\x00"
FAILED_TRIES = 2
INFORMATION_TRIES = 3  # of asking a node that took another's place what it is: nothing else tells it
LONG_RANGE_REGIONS = (Region.USA_LONG_RANGE, Region.EUROPE_LONG_RANGE)


class Inclusion:
    """The join window of one stick, and what goes with it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._controller = life.messages.secured.radio.controller
        self._link = self._controller.link
        self.securing = Securing(life.messages, life.security, self._say)
        self._window: asyncio.Task[None] | None = None
        self._adding = Adding(self._link)
        self._closing = False
        self._awaited: dict[str, asyncio.Future[None]] = {}  # DSK of the SmartStart device that a window waits for
        self._network = asyncio.Lock()  # one change of the network at a time

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing joins or leaves meanwhile. Raises NetworkBusy."""
        if self._network.locked():
            raise NetworkBusy("a device is joining or leaving, or may", remedy="close the join window, and try again")
        async with self._network:
            yield

    # ---- the window -------------------------------------------------------------------------------------------------

    async def open(
        self, duration: int, credentials: Credentials, entry: Entry | None = None, replaces: int | None = None
    ) -> None:
        """Open the window, in place of one that is open; returns once devices may join. Raises DriverError.

        A SmartStart `entry` goes to the provisioning list and joins by itself, now or later; the window then only waits for it. The one
        device that comes takes the place of `replaces`, a node that has failed.
        """
        if replaces is not None and not self._controller.facts.has("ReplaceFailedNode"):
            raise NotSupported("the stick cannot replace nodes that have failed")
        opened, seconds = await self._prepared(), min(duration, MAX_SECONDS)
        if entry is not None:
            self._life.provisioning.put(entry)
            self._window = self._life.spawn(self._listen(seconds, opened, entry), "SmartStart window")
        else:
            self._window = self._life.spawn(self._hold(seconds, credentials, opened, replaces), "join window")
        await opened

    async def open_exclusion(self, duration: int) -> None:
        """Open the window in which every device that is asked to leaves its network, whichever that is; in place of one that is open.

        Returns once devices may leave. Raises DriverError.
        """
        opened = await self._prepared()
        work = self._let_go(min(duration, MAX_SECONDS), opened)
        self._window = self._life.spawn(work, "exclusion window")
        await opened

    async def _prepared(self) -> asyncio.Future[None]:
        await self.close()
        async with self._network:
            await self._life.before_change()
        return asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Close the window now, if one is open; a node that is just joining is let in first, unless its PIN is still asked for."""
        window, self._window = self._window, None
        if window is None or window.done():
            return
        if self._adding.busy and not self._awaited:  # a SmartStart device joins by itself, whoever waits for it
            self._closing = True
            self.securing.withdraw()
        else:
            window.cancel()
        await asyncio.wait({window})

    async def _listen(self, seconds: int, opened: asyncio.Future[None], entry: Entry) -> None:
        joined = self._awaited[entry.dsk] = asyncio.get_running_loop().create_future()
        try:
            await self.arm()
            self._told(opened, seconds)
            await asyncio.wait({joined}, timeout=seconds)
        except DriverError as error:
            _fail(opened, error)
        finally:
            del self._awaited[entry.dsk]
            _fail(opened, DriverLost("the join window was closed before it was open"))
            self._life.sink(JoinWindow(self._life.radio, 0))

    async def _hold(
        self, seconds: int, credentials: Credentials, opened: asyncio.Future[None], replaces: int | None
    ) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with self._open(opened, "join"):
            while not self._closing and (left := end - loop.time()) > 0:
                async with self._network:
                    try:
                        found = await self._come(left, lambda: self._told(opened, seconds), replaces)
                    except DeviceRefused as error:
                        if not self._adding.busy:
                            if replaces is not None and opened.done():
                                self._say(self._life.book.node(replaces), "failed", str(error))
                            raise
                        log.warning("a device came and did not get in: %s", error)
                        self._adding.busy = False
                        continue
                    if found is None:
                        break
                    stuck = await self._admit(found, credentials)
                    self._adding.busy = False
                    if stuck and not self._closing:
                        await self._take_off(end)
                    used = not stuck and credentials.of_one_device and found.node in self._life.book.nodes
                    if used or replaces is not None:
                        break  # nobody else can use what the window was opened with

    @asynccontextmanager
    async def _open(self, opened: asyncio.Future[None], what: str) -> AsyncIterator[None]:
        """The life of a window: it is said that it is closed, whatever ends it, and SmartStart goes on."""
        self._closing = self._adding.busy = False
        try:
            yield
        except DriverError as error:
            if opened.done():
                log.warning("the %s window ended early: %s", what, error)
            _fail(opened, error)
        finally:
            self._adding.busy = False
            _fail(opened, DriverLost(f"the {what} window was closed before it was open"))
            radio = self._life.radio
            self._life.sink(JoinWindow(radio, 0) if what == "join" else Exclusion(radio, "closed"))
            with suppress(DriverError):
                await self.arm()

    def _told(self, opened: asyncio.Future[None], seconds: int) -> None:
        if not opened.done():
            opened.set_result(None)
            self._life.sink(JoinWindow(self._life.radio, seconds))

    # ---- inclusion --------------------------------------------------------------------------------------------------

    async def _come(self, left: float, ready: Callable[[], None], replaces: int | None) -> Found | None:
        """The next node, or the one that takes the place of another; None where none comes. Raises DeviceRefused, DriverError."""
        if replaces is None:
            return await self._adding.add(left, ready, mode=AddMode.ANY)
        radio = self._life.messages.secured.radio
        with suppress(DeviceUnreachable):  # the stick replaces only nodes that did not acknowledge its last frame
            await radio.send(replaces, NO_OPERATION)
        if not await self._adding.replace(replaces, left, ready):
            return None
        self._forget(replaces, "another device took its place")
        for _ in range(INFORMATION_TRIES):
            with suppress(DeviceUnreachable):
                return Found(replaces, await radio.node_info(replaces))
        return Found(replaces)

    async def _take_off(self, end: float) -> None:
        """The stick keeps a node that answers; it leaves when its button is pressed once more while the window is open."""
        gone = await self._leave(end)
        if gone:
            self._forget(gone, "taken off the network again")

    async def _admit(self, found: Found, credentials: Credentials, entry: Entry | None = None) -> bool:
        """A node got its id: give it keys, or take it off again. True where it must not stay, and does. Raises DriverLost, StickJammed."""
        life, book = self._life, self._life.book
        book.forget(found.node)
        record = book.node(found.node)
        self._say(record, "joined", f"node {found.node}")
        for number in supported(found.info.get("command_classes", b"")):
            record.root.classes[number] = 0
        record.basic = found.info.get("basic", 0)
        record.root.generic, record.root.specific = found.info.get("generic", 0), found.info.get("specific", 0)
        try:
            await self.securing.secure(record, credentials)
        except BootstrapError as error:
            gone = await self._expel(record, str(error))
            advice = "" if gone else "; it is not used: press its button once more to take it off, and pair it again"
            self._say(record, "failed", f"{error}{advice}")
            return not gone
        record.quarantine = ""
        record.done.append("information")
        book.save(record.id)
        if entry is not None:
            life.provisioning.joined(entry, record.id)
            awaited = self._awaited.get(entry.dsk)
            if awaited is not None and not awaited.done():
                awaited.set_result(None)
        if record.id < FIRST_LONG_RANGE and self._controller.facts.has("AssignSUCReturnRoute"):
            with suppress(DeviceUnreachable):  # its way home is found by exploring then
                await life.messages.secured.radio.run("AssignSUCReturnRoute", node=record.id)
        life.joined(record)
        return False

    def _say(self, record: NodeRecord, stage: str, detail: str = "", seconds: int = 0) -> None:
        device = DeviceId(self._life.radio, str(record.id))
        self._life.sink(DeviceJoining(device, stage, detail, record.node_id, seconds))

    async def _expel(self, record: NodeRecord, reason: str) -> bool:
        """True where the stick forgot the node; else it is kept as one that is not used."""
        with suppress(DeviceRefused, NotSupported):
            await self._remove_failed(record.id)
            self._life.messages.forget(record.id)
            self._life.book.forget(record.id)
            return True
        record.quarantine = reason
        record.security = None
        self._life.book.save(record.id)
        return False

    async def begin(self) -> None:
        """A stick that did not restart may still let devices in or out, as a run asked it that was cut off. Raises DriverError."""
        if not self._controller.restarts and self._controller.facts.has("AddNode"):
            async with self._network:
                await self._adding.end()
        await self.arm()

    # ---- SmartStart -------------------------------------------------------------------------------------------------

    async def arm(self) -> None:
        """Listen for devices of the provisioning list; needed again after everything else that adds or removes. Raises DriverError."""
        if self._life.provisioning.expected:
            await self._link.call("AddNode", called_back=False, mode=AddMode.SMART_START_LISTEN, network_wide=1)

    def announced(self, values: Values) -> None:
        """An ApplicationUpdate says that a device wants to join. One that is not expected is not answered."""
        if values["status"] not in (UpdateStatus.SMART_START_HOME_ID, UpdateStatus.SMART_START_HOME_ID_LR):
            return
        entry = self._life.provisioning.find(values["nwi_home_id"])
        long_range = values["status"] == UpdateStatus.SMART_START_HOME_ID_LR
        # A device that can do both announces itself both ways, and is let in one of them.
        if entry is not None and not self._network.locked() and long_range is entry.long_range(preferred=self._far()):
            self._life.spawn(self._smart_start(entry, long_range=long_range), "SmartStart inclusion")

    def _far(self) -> bool:
        facts = self._controller.facts
        return self._life.long_range and facts.long_range and facts.region in LONG_RANGE_REGIONS

    async def _smart_start(self, entry: Entry, *, long_range: bool) -> None:
        async with self._network:
            try:
                await self._life.before_change()
                found = await self._adding.add(
                    PROTOCOL_TIMEOUT,
                    lambda: None,
                    mode=AddMode.SMART_START,
                    long_range=int(long_range),
                    nwi_home_id=dsks.nwi_home_id(entry.key),
                    auth_home_id=dsks.auth_home_id(entry.key),
                )
                if found is not None:
                    await self._admit(found, entry.credentials(), entry)
            finally:
                self._adding.busy = False
                with suppress(DriverError):
                    await self.arm()

    # ---- leaving ----------------------------------------------------------------------------------------------------

    async def exclude(self, node: int, limit: float) -> None:
        """Wait for `node` to leave by its own button; others that leave meanwhile are told as well. Raises DeviceUnreachable, DriverError."""
        await self._prepared()
        self._closing = False
        end = asyncio.get_running_loop().time() + limit
        async with self._network:
            try:
                while (gone := await self._leave(end)) is not None:
                    if gone:
                        self._forget(gone, "removed" if gone == node else "excluded together with another removal")
                    if gone == node:
                        return
            finally:
                with suppress(DriverError):
                    await self.arm()
        raise DeviceUnreachable(
            "nothing left the network: press the device's pairing button while it is being removed, or use force"
        )

    async def _let_go(self, seconds: int, opened: asyncio.Future[None]) -> None:
        end = asyncio.get_running_loop().time() + seconds

        def ready() -> None:
            if not opened.done():
                opened.set_result(None)
                self._life.sink(Exclusion(self._life.radio, "open", seconds=seconds))

        async with self._open(opened, "exclusion"):
            while not self._closing:
                async with self._network:
                    gone = await self._leave(
                        end, ready, lambda *told: self._life.sink(Exclusion(self._life.radio, *told))
                    )
                if gone is None:
                    break
                device = DeviceId(self._life.radio, str(gone)) if gone else None
                if gone:
                    self._forget(gone, "its button was pressed while devices were excluded")
                self._life.sink(Exclusion(self._life.radio, "left", device=device))

    async def _leave(
        self, end: float, ready: Callable[[], None] = lambda: None, tell: Callable[..., None] = lambda *_: None
    ) -> int | None:
        """The id of a node that left, 0 for one of another network or of none; None where none did until `end`. Raises DriverError."""
        loop = asyncio.get_running_loop()
        while not self._closing and (left := end - loop.time()) > 0:
            try:
                found = await self._adding.remove(left, ready, lambda: tell("found"))
            except DeviceRefused as error:
                if not self._adding.busy:
                    raise
                log.warning("a device came and did not leave: %s", error)
                tell("failed", str(error))
                continue
            finally:
                self._adding.busy = False
            return None if found is None else found.node
        return None

    async def remove_failed(self, node: int) -> None:
        """Take a node that does not answer off the network. Raises DeviceRefused where it does, NotSupported, DriverError."""
        await self.close()
        async with self._network:
            await self._life.before_change()
            await self._remove_failed(node)
        self._forget(node, "removed")

    def give_up(self, node: int, reason: str) -> None:
        """A node is to be forgotten that the stick still has: from now on it is not used."""
        record = self._life.book.node(node)
        record.quarantine = reason
        self._life.book.save(node)
        self._life.provisioning.left(node)
        self._life.messages.forget(node)
        self._life.left(node, reason)

    def _forget(self, node: int, reason: str) -> None:
        self._life.provisioning.left(node)
        self._life.messages.forget(node)
        self._life.book.forget(node)
        self._life.left(node, reason)

    async def _remove_failed(self, node: int) -> None:
        if not self._controller.facts.has("RemoveFailedNode"):
            raise NotSupported("the stick cannot remove nodes that have failed")
        for _ in range(FAILED_TRIES):
            # The stick removes only nodes that did not acknowledge its last frame.
            with suppress(DeviceUnreachable):
                await self._life.messages.secured.radio.send(node, NO_OPERATION)
            try:
                answer = await self._link.call("RemoveFailedNode", node=node)
            except StickRefused:
                continue
            if answer.callback["status"] == REMOVED:
                return
        raise DeviceRefused("the device answers, so the stick does not take it for failed")


def _fail(opened: asyncio.Future[None], error: DriverError) -> None:
    if not opened.done():
        opened.set_exception(error)
