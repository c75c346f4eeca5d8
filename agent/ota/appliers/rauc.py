"""The whole system by RAUC, over D-Bus (rauc: D-Bus API "de.pengutronix.rauc.Installer"): it writes the other slot, the boot loader tries it.

RAUC verifies its bundle once more, with its own key ring. What boots, what is selected and what is bad is asked from RAUC; only what RAUC
does not know lies in a note: which release was put into which slot, in which boot it was activated, and whether it was confirmed.
Methods differ between versions of RAUC: what there is is found by introspection.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import TryAgainError, install_extra
from agent.files import disk_trouble, make_folder, write_atomic
from agent.ota.appliers.contract import ApplierError, Effect, Found, Image, Progress
from agent.ota.appliers.kept import one_file
from agent.ota.manifest import Component
from agent.ota.plan import Runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dbus_fast.aio import MessageBus, ProxyInterface, ProxyObject

log = logging.getLogger(__name__)

SERVICE, OBJECT, INSTALLER = "de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer"
PROPERTIES, BUS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus"
INSTALL_TIME = 3600.0  # seconds for one bundle
ASK_TIME = 30.0
NOTE = "rauc.json"
IDLE = "idle"
GONE = -1  # no code of RAUC's
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Note:
    """Of one slot. `identity`: of the release's component; `boot`: the one in which it was activated.

    `sha256`: of what RAUC wrote, "" before it has ended: that it is to be there is kept first, since RAUC may go on alone, and be booted.
    """

    identity: str
    sha256: str
    boot: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Slots:
    """What RAUC says now: slot names, and its status of each."""

    booted: str
    primary: str
    status: dict[str, dict[str, Any]]


class Rauc:
    """The applier of components of kind `rauc`. `boot`: id of this boot; `address`: of the bus, "" for the system's."""

    kind = "rauc"

    def __init__(self, folder: Path, boot: str, address: str = "") -> None:
        self._note_path, self._boot, self._address = folder / NOTE, boot, address

    async def judge(self, component: Component) -> None:
        one_file(component)
        await self.describe(component)

    async def describe(self, component: Component) -> Found:
        async with self._installer() as rauc:
            slots = await rauc.slots()
        version = str(slots.status[slots.booted].get("bundle.version", ""))
        return Found(self._runs(component, slots), version)

    def _runs(self, component: Component, slots: Slots) -> Runs:
        slot, note = self._find(component)
        if note is None:
            return Runs.OLD
        if slots.booted == slot:
            return Runs.CONFIRMED if note.confirmed else Runs.ON_TRIAL
        if not note.sha256:
            return Runs.OLD
        if slots.status[slot].get("boot-status") == "bad" or (note.boot and note.boot != self._boot):
            return Runs.FELL_BACK
        return Runs.SELECTED if slots.primary == slot and note.boot else Runs.OLD

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:
        _warn_of_mounts()
        (image,) = images
        async with self._installer() as rauc:
            await rauc.idle()
            slots = await rauc.slots()
            slot, note = self._find(component)
            if note is not None and slots.booted == slot:  # RAUC selects what it has installed, and then the power went
                self._keep(slot, replace(note, sha256=str(slots.status[slot].get("sha256", ""))))
                return
            target = _other(slots)
            if slots.primary == target:
                await rauc.mark("active", slots.booted)
            self._keep(target, Note(image.sha256, ""))
            # RAUC opens the descriptor that was verified, not a name that could mean another file by now.
            await rauc.install(f"/proc/{os.getpid()}/fd/{image.file.fileno()}", image, progress)
            await rauc.mark("active", slots.booted)  # what RAUC has selected is neither due nor on trial
            slots = await rauc.slots()
        self._keep(target, Note(image.sha256, str(slots.status[target].get("sha256", ""))))

    async def check(self, component: Component) -> bool:
        slot, note = self._find(component)
        if note is None:
            return False
        async with self._installer() as rauc:
            slots = await rauc.slots()
        return bool(note.sha256) and slots.status[slot].get("sha256") == note.sha256

    async def activate(self, component: Component) -> Effect:
        slot, note = self._find(component)
        if note is None or not note.sha256:
            raise ApplierError("not-written", "the other slot does not hold it", place="rauc")
        async with self._installer() as rauc:
            slots = await rauc.slots()
            if slots.booted == slot:
                return Effect.DONE
            self._keep(slot, replace(note, boot=self._boot))
            await rauc.mark("active", slot)
        return Effect.REBOOT

    async def confirm(self, component: Component) -> None:
        slot, note = self._find(component)
        async with self._installer() as rauc:
            if note is None or (await rauc.slots()).booted != slot:
                raise ApplierError("not-running", "another version runs than the one that is to stay", place="rauc")
            await rauc.mark("good", "booted")
        self._keep(slot, replace(note, confirmed=True))

    async def roll_back(self, component: Component) -> Effect:
        slot, note = self._find(component)
        async with self._installer() as rauc:
            slots = await rauc.slots()
            if note is not None:
                await rauc.mark("bad", slot)
            if note is None or slots.booted != slot:
                await rauc.mark("active", slots.booted)
                return Effect.DONE
            await rauc.mark("active", _other(slots))
        return Effect.REBOOT

    async def clean(self) -> None:
        """What was installed and not activated is not selected either, whoever was killed before it could say so."""
        waiting = [slot for slot, note in self._notes().items() if not note.boot and not note.confirmed]
        if not waiting:
            return
        async with self._installer() as rauc:
            await rauc.idle()
            slots = await rauc.slots()
            if slots.primary in waiting and slots.primary != slots.booted:
                await rauc.mark("active", slots.booted)

    @asynccontextmanager
    async def _installer(self) -> "AsyncIterator[_Installer]":
        """A connection for one piece of work. Raises TryAgainError while RAUC is away."""
        try:
            from dbus_fast import BusType, DBusError  # noqa: PLC0415  only hubs with RAUC need it
            from dbus_fast.aio import MessageBus  # noqa: PLC0415
        except ImportError as error:
            raise ApplierError(
                "no-applier", f"RAUC is asked over D-Bus: {error}", remedy=install_extra("rauc")
            ) from error
        bus = MessageBus(self._address or None, BusType.SYSTEM)
        try:
            async with asyncio.timeout(ASK_TIME):
                await bus.connect()
                made = _Installer(bus)
                await made.open()
            yield made
        except (DBusError, OSError, TimeoutError, EOFError) as error:
            remedy = "systemctl status rauc; the D-Bus policy must let the agent's user talk to it"
            raise TryAgainError(f"RAUC does not answer: {error}", place=SERVICE, remedy=remedy) from error
        finally:
            bus.disconnect()

    def _find(self, component: Component) -> tuple[str, Note | None]:
        """The slot that holds it, and its note."""
        wanted = component.files[0].sha256
        return next(((slot, note) for slot, note in self._notes().items() if note.identity == wanted), ("", None))

    def _notes(self) -> dict[str, Note]:
        try:
            return {slot: Note(**told) for slot, told in json.loads(self._note_path.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read: %s; the slots are what RAUC says", self._note_path, error)
            return {}

    def _keep(self, slot: str, note: Note | None) -> None:
        notes = {**self._notes(), slot: note}
        text = json.dumps({name: asdict(one) for name, one in notes.items() if one is not None})
        with disk_trouble():
            make_folder(self._note_path.parent)
            write_atomic(self._note_path, text.encode())


class _Installer:
    """RAUC's interface on one connection; its methods are made from what RAUC tells of itself."""

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._object: ProxyObject
        self._api: ProxyInterface
        self._methods: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Find out what this version of RAUC has."""
        found = await self._bus.introspect(SERVICE, OBJECT)
        self._object = self._bus.get_proxy_object(SERVICE, OBJECT, found)
        self._api = self._object.get_interface(INSTALLER)
        self._methods = frozenset(method.name for method in self._api.introspection.methods)

    async def slots(self) -> Slots:
        """Raises ApplierError where RAUC does not know what it has booted."""
        async with asyncio.timeout(ASK_TIME):
            found = await self._api.call_get_slot_status()  # type: ignore[attr-defined]
            primary = str(await self._api.call_get_primary()) if "GetPrimary" in self._methods else ""  # type: ignore[attr-defined]
        status = {name: {key: value.value for key, value in told.items()} for name, told in found}
        booted = next((name for name, told in status.items() if told.get("state") == "booted"), "")
        if not booted:
            raise ApplierError("no-slots", "RAUC does not know which slot was booted", place=SERVICE)
        return Slots(booted, primary, status)

    async def idle(self) -> None:
        """Wait for what it has begun for somebody else, or for this agent before it was killed: it does one thing at a time."""
        free = asyncio.Event()

        def changed(_interface: str, values: dict[str, Any], _gone: list[str]) -> None:
            if "Operation" in values and values["Operation"].value == IDLE:
                free.set()

        properties = self._object.get_interface(PROPERTIES)
        properties.on_properties_changed(changed)  # type: ignore[attr-defined]
        await self._watch_owner(lambda _code: free.set())
        if str(await self._api.get_operation()) != IDLE:  # type: ignore[attr-defined]
            async with asyncio.timeout(INSTALL_TIME):
                await free.wait()
        properties.off_properties_changed(changed)  # type: ignore[attr-defined]

    async def mark(self, what: str, slot: str) -> None:
        async with asyncio.timeout(ASK_TIME):
            await self._api.call_mark(what, slot)  # type: ignore[attr-defined]

    async def install(self, path: str, image: Image, progress: Progress) -> None:
        """Raises ApplierError with RAUC's own words, TryAgainError when it is restarted in the middle."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        settle = _once(ended)
        self._api.on_completed(settle)  # type: ignore[attr-defined]
        properties = self._object.get_interface(PROPERTIES)

        def changed(_interface: str, values: dict[str, Any], _gone: list[str]) -> None:
            if "Progress" in values:
                progress(image.size * values["Progress"].value[0] // PERCENT)

        properties.on_properties_changed(changed)  # type: ignore[attr-defined]
        await self._watch_owner(settle)
        if "InstallBundle" in self._methods:
            await self._api.call_install_bundle(path, {})  # type: ignore[attr-defined]
        else:
            await self._api.call_install(path)  # type: ignore[attr-defined]
        async with asyncio.timeout(INSTALL_TIME):
            code = await ended
        if code == GONE:
            raise TryAgainError("RAUC was restarted while it installed", place=SERVICE)
        if code:
            words = str(await self._api.get_last_error())  # type: ignore[attr-defined]
            raise ApplierError("rauc", f"RAUC refuses the bundle: {words}", place=SERVICE)

    async def _watch_owner(self, settle: Callable[[int], None]) -> None:
        """Notice that the service ends: it never says Completed then."""
        found = await self._bus.introspect(BUS, "/org/freedesktop/DBus")
        daemon = self._bus.get_proxy_object(BUS, "/org/freedesktop/DBus", found).get_interface(BUS)

        def changed(name: str, _old: str, new: str) -> None:
            if name == SERVICE and not new:
                settle(GONE)

        daemon.on_name_owner_changed(changed)  # type: ignore[attr-defined]


def _once(ended: "asyncio.Future[int]") -> Callable[[int], None]:
    def settle(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    return settle


def _other(slots: Slots) -> str:
    """The slot of the booted one's class that is not booted."""
    kind = slots.booted.partition(".")[0]
    return next(name for name in slots.status if name.partition(".")[0] == kind and name != slots.booted)


def _warn_of_mounts() -> None:
    """RAUC that was killed while it installed leaves its mounts (rauc issues 1676, 1678): said, since only root can take them away."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    left = [line.split()[1] for line in mounts if "/rauc/" in line.split()[1]]
    if left:
        log.warning("RAUC has left %d mounts from an installation that was cut off: %s", len(left), ", ".join(left[:4]))
