"""Who may join and who must leave: inclusion, SmartStart, exclusion, failed nodes. Windows close by themselves.

A node that gets none of the keys that the policy wants is taken off the network again; where the stick cannot do that, it is quarantined:
known, said, and not used.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotSupported
from agent.model import DeviceId, DeviceJoining, JoinWindow
from drivers.zwave.bootstrap import BootstrapError, Credentials
from drivers.zwave.function_tables import AddMode, AddStatus, Region, UpdateStatus
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.interview import supported
from drivers.zwave.layout import Values
from drivers.zwave.life import Life, NetworkBusy
from drivers.zwave.link import Answer, CallAborted, StickRefused, StickSilent
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.provisioning import Entry
from drivers.zwave.securing import Securing
from drivers.zwave.security import dsk as dsks

log = logging.getLogger(__name__)

MAX_SECONDS = 900
PROTOCOL_TIMEOUT = 60.0  # seconds that a node which was found has to get its id; large networks take long
STOP_TIMEOUT = 10.0
REMOVED, NODE_ANSWERS = 1, 0  # status of RemoveFailedNode
REPLACED, WAITS_FOR_NODE = 4, 3  # status of ReplaceFailedNode
NO_OPERATION = b"\x00"
FAILED_TRIES = 2
LONG_RANGE_REGIONS = (Region.USA_LONG_RANGE, Region.EUROPE_LONG_RANGE)


@dataclass(slots=True)
class _Found:
    """What the stick said of a node that joins or leaves."""

    node: int = 0
    info: Values = field(default_factory=dict)


class Inclusion:
    """The join window of one stick, and what goes with it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._controller = life.messages.secured.radio.controller
        self._link = self._controller.link
        self.securing = Securing(life.messages, life.security, self._say)
        self._window: asyncio.Task[None] | None = None
        self._joining = False  # a device was found: the window closes after it
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

    async def open(self, duration: int, credentials: Credentials, entry: Entry | None = None) -> None:
        """Open the window, in place of one that is open; returns once devices may join. Raises DriverError.

        A SmartStart `entry` goes to the provisioning list and joins by itself, now or later; the window then only waits for it.
        """
        await self.close()
        async with self._network:
            await self._life.before_change()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = min(duration, MAX_SECONDS)
        if entry is not None:
            self._life.provisioning.put(entry)
            self._window = self._life.spawn(self._listen(seconds, opened, entry), "SmartStart window")
        else:
            self._window = self._life.spawn(self._hold(seconds, credentials, opened), "join window")
        await opened

    async def close(self) -> None:
        """Close the window now, if one is open; a node that is just joining is let in first, unless its PIN is still asked for."""
        window, self._window = self._window, None
        if window is None or window.done():
            return
        if self._joining and not self._awaited:  # a SmartStart device joins by itself, whoever waits for it
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

    async def _hold(self, seconds: int, credentials: Credentials, opened: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._closing = self._joining = False
        try:
            while not self._closing and (left := end - loop.time()) > 0:
                async with self._network:
                    try:
                        found = await self._add(left, lambda: self._told(opened, seconds), mode=AddMode.ANY)
                    except DeviceRefused as error:
                        if not self._joining:
                            raise
                        log.warning("a device came and did not get in: %s", error)
                        self._joining = False
                        continue
                    if found is None:
                        break
                    stuck = await self._admit(found, credentials)
                    self._joining = False
                    if not stuck and credentials.of_one_device and found.node in self._life.book.nodes:
                        break  # it is in: nobody else can use what the window was opened with
                    if stuck and not self._closing:
                        await self._take_off(end - loop.time())
        except DriverError as error:
            if opened.done():
                log.warning("the join window ended early: %s", error)
            _fail(opened, error)
        finally:
            self._joining = False
            _fail(opened, DriverLost("the join window was closed before it was open"))
            self._life.sink(JoinWindow(self._life.radio, 0))
            with suppress(DriverError):
                await self.arm()

    def _told(self, opened: asyncio.Future[None], seconds: int) -> None:
        if not opened.done():
            opened.set_result(None)
            self._life.sink(JoinWindow(self._life.radio, seconds))

    # ---- inclusion --------------------------------------------------------------------------------------------------

    async def _add(self, limit: float, ready: Callable[[], None], **mode: Any) -> _Found | None:
        """Add one node; None where none came within `limit` seconds. Raises DriverError."""
        found = _Found()
        try:
            async with asyncio.timeout(limit) as scope:
                answer = await self._link.call(
                    "AddNode",
                    progress=lambda values: self._progress(values, found, ready, scope),
                    high_power=1,
                    network_wide=1,
                    **mode,
                )
        except TimeoutError:
            await self._stop("AddNode")
            return None
        except BaseException:
            await self._stop("AddNode")
            raise
        status = answer.callback["status"]
        done = await self._stop("AddNode")
        found.node = found.node or answer.callback.get("node", 0) or done.callback.get("node", 0)
        if status not in (AddStatus.PROTOCOL_DONE, AddStatus.DONE) or not found.node:
            raise DeviceRefused("the stick could not add the device: put it into its pairing mode again")
        return found

    def _progress(self, values: Values, found: _Found, ready: Callable[[], None], scope: asyncio.Timeout) -> None:
        status = values["status"]
        if status == AddStatus.READY:
            ready()
        elif status == AddStatus.NODE_FOUND:
            self._joining = True  # closing the window waits for it
            scope.reschedule(asyncio.get_running_loop().time() + PROTOCOL_TIMEOUT)
        elif status in (AddStatus.END_NODE, AddStatus.CONTROLLER):
            found.node, found.info = values.get("node", 0), values

    async def _stop(self, name: str) -> Answer:
        """End adding or removing: once with a callback, and once without, which is what sets every stick idle."""
        answer = Answer()
        try:
            with suppress(StickRefused, StickSilent, CallAborted, TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    answer = await self._link.call(name, mode=AddMode.STOP, high_power=1, network_wide=1)
            with suppress(StickRefused, StickSilent):
                await self._link.call(name, called_back=False, mode=AddMode.STOP)
        except DriverLost:
            log.debug("the stick is gone while it was adding or removing")
        return answer

    async def _take_off(self, left: float) -> None:
        """The stick keeps a node that answers; it leaves when its button is pressed once more while the window is open."""
        gone = await self._remove(left) if left > 0 else None
        if gone:
            self._forget(gone, "taken off the network again")

    async def _admit(self, found: _Found, credentials: Credentials, entry: Entry | None = None) -> bool:
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
                found = await self._add(
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
                self._joining = False
                with suppress(DriverError):
                    await self.arm()

    # ---- leaving ----------------------------------------------------------------------------------------------------

    async def exclude(self, node: int, limit: float) -> None:
        """Wait for `node` to leave by its own button; others that leave meanwhile are told as well. Raises DeviceUnreachable, DriverError."""
        await self.close()
        loop = asyncio.get_running_loop()
        async with self._network:
            await self._life.before_change()
            end = loop.time() + limit
            try:
                while (left := end - loop.time()) > 0:
                    gone = await self._remove(left)
                    if gone is None:
                        break
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

    async def _remove(self, limit: float) -> int | None:
        """The id that left, 0 for a device of another network, None where none came."""
        found = _Found()
        try:
            async with asyncio.timeout(limit) as scope:
                answer = await self._link.call(
                    "RemoveNode",
                    progress=lambda values: self._progress(values, found, lambda: None, scope),
                    mode=AddMode.ANY,
                    high_power=1,
                    network_wide=1,
                )
        except TimeoutError:
            await self._stop("RemoveNode")
            return None
        except BaseException:
            await self._stop("RemoveNode")
            raise
        finally:
            self._joining = False
        await self._stop("RemoveNode")
        if answer.callback["status"] != AddStatus.DONE:
            return None
        return found.node or int(answer.callback.get("node", 0))

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

    async def replace_failed(self, node: int, credentials: Credentials, limit: float) -> None:
        """Let a new device take the id of one that has failed. Raises DeviceRefused, DeviceUnreachable, NotSupported, DriverError."""
        if not self._controller.facts.has("ReplaceFailedNode"):
            raise NotSupported("the stick cannot replace nodes that have failed")
        await self.close()
        async with self._network:
            await self._life.before_change()
            with suppress(DeviceUnreachable):
                await self._life.messages.secured.radio.send(node, NO_OPERATION)
            try:
                async with asyncio.timeout(limit):
                    answer = await self._link.call("ReplaceFailedNode", node=node)
            except StickRefused as error:
                raise DeviceRefused("the device answers, so the stick does not take it for failed") from error
            except TimeoutError:
                await self._stop("AddNode")
                raise DeviceUnreachable("no new device came") from None
            if answer.callback["status"] != REPLACED:
                raise DeviceRefused("the stick could not replace the device")
            self._life.messages.forget(node)
            info = await self._life.messages.secured.radio.node_info(node)
            await self._admit(_Found(node, info), credentials)


def _fail(opened: asyncio.Future[None], error: DriverError) -> None:
    if not opened.done():
        opened.set_exception(error)
