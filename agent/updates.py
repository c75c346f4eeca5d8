"""Updates in the daemon: the engine with its journal, its appliers and its sources, and what may be asked about it.

The engine is loaded where there is something for it: a pinned root, a slot that this process runs from, a task that is not over. Elsewhere
a job is rejected with the reason.
"""

import asyncio
import logging
import os
import platform
import shlex
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import records
from agent.clock import iso
from agent.cloud.jobs import Ended, Handler, Job, Jobs
from agent.errors import HubError, TryAgainError
from agent.ota.place import FETCHED, slots_folder
from agent.runtime import Runtime
from agent.settings import OtaSettings, Settings, TufSettings
from agent.store import BALLAST, Store
from agent.supervise import Supervisor, Unit

if TYPE_CHECKING:
    from agent.cloud.nrf_ble_wire import BleWire
    from agent.cloud.nrf_wires import Wire
    from agent.ota.appliers.contract import Applier
    from agent.ota.engine import Engine
    from agent.ota.health import Check, Health
    from agent.ota.plan import Task
    from agent.ota.sources.nrf_ble_fota import NrfBleFota
    from agent.ota.tuf_offer import TufOffers

log = logging.getLogger(__name__)

OPERATION = "firmware-update"
DEVICE_TREE = Path("/proc/device-tree")
DMI = Path("/sys/class/dmi/id/product_name")
SLOT = "HUB_AGENT_SLOT"  # set by the launcher
REBOOT_AGAIN = 300.0  # seconds
SCRIPT_TIME = 30.0  # seconds for one program of the operator's
STORE_TIME = 15.0  # seconds for one write: a worn card may take some


class RestartError(HubError):
    """The process ends so that the launcher starts what is selected now."""

    exit_code = TryAgainError.exit_code


class Updates:
    """Made before the uplinks; `start` once the store is restored, `live` once they are there: an activation asks them first."""

    def __init__(self, settings: Settings, runtime: Runtime, store: Store, supervisor: Supervisor) -> None:
        self._settings, self._runtime, self._store, self._supervisor = settings, runtime, store, supervisor
        self._slot = os.environ.get(SLOT, "")
        self.engine: Engine | None = None

    async def start(self) -> None:
        """Load the engine where it is needed. Raises StorageError."""
        told = self._settings.ota
        if told.root or told.tuf.root or self._slot or await self._store.read(_open_tasks):
            await self._load()

    async def _load(self) -> None:
        from agent.ota.desk import Desk  # noqa: PLC0415  a hub without updates loads none of this
        from agent.ota.engine import Engine  # noqa: PLC0415
        from agent.ota.floors import Floors, grow  # noqa: PLC0415
        from agent.ota.journal import Journal  # noqa: PLC0415

        told, clock = self._settings.ota, self._runtime.clock
        journal = Journal(self._store, clock)
        floors = Floors(slots_folder(self._settings), await journal.load())
        desk = Desk(journal)
        self.engine = Engine(desk, self._steps(desk, floors, told), clock)
        self._supervisor.add(Unit("time of updates", lambda: grow(floors)))

    def live(self) -> None:
        """Go on with what was cut off, and carry out what comes."""
        if self.engine is not None:
            self._supervisor.add(Unit("updates", self.engine.live))

    def _steps(self, desk: Any, floors: Any, told: OtaSettings) -> Any:
        from agent.ota.appliers.slots import Slots  # noqa: PLC0415
        from agent.ota.downloads import Downloads  # noqa: PLC0415
        from agent.ota.fetch import FetchPolicy  # noqa: PLC0415
        from agent.ota.parts import Policy  # noqa: PLC0415
        from agent.ota.steps import Steps  # noqa: PLC0415
        from agent.ota.trust import Hub  # noqa: PLC0415
        from agent.ota.verifier import Trust, Verifier  # noqa: PLC0415
        from agent.ota.windows import Window  # noqa: PLC0415

        folder, hub = self._settings.hub.state_dir / "ota", self._runtime.hub.hub_id
        fetch = FetchPolicy(bandwidth=told.bandwidth, total=told.download_time, ca=told.ca, plain_http=told.plain_http)
        trust = Trust(Path(told.root) if told.root else None, folder / "roots")
        about = Hub(hub, told.boards or boards())
        clock, mine = self._runtime.clock, version("hub-agent")
        tuf = self._tuf(told.tuf, about, floors, fetch) if told.tuf.root else None
        verifier = Verifier(
            trust, about, mine, floors, clock, told.unsigned, fetch, tuf, self._settings.hub.state_dir / FETCHED
        )
        window = Window(told.window, told.window_length, told.time_zone, told.jitter)
        appliers: dict[str, Applier] = {"agent": Slots(slots_folder(self._settings), self._slot)}
        if told.rauc:
            from agent.ota.appliers.rauc import Rauc  # noqa: PLC0415

            appliers["rauc"] = Rauc(folder, self._runtime.clock.now().boot)
        if told.command:
            from agent.ota.appliers.command import Command  # noqa: PLC0415

            appliers["command"] = Command(Path(told.command))
        appliers |= self._device_appliers(told)
        return Steps(
            desk,
            self._runtime.clock,
            verifier,
            Downloads(self._settings.hub.state_dir / FETCHED, fetch),
            appliers,
            self._health(told),
            Policy(window, told.automatic, hub),
            self._restart,
        )

    def _tuf(self, told: TufSettings, about: Any, floors: Any, fetch: Any) -> "TufOffers":
        from agent.ota.tuf_offer import Repository, TufOffers  # noqa: PLC0415  as the engine

        repository = Repository(Path(told.root), told.metadata, told.targets, told.product)
        folder = self._settings.hub.state_dir / "ota" / "tuf"
        return TufOffers(repository, folder, about, floors, self._runtime.clock, fetch)

    def _device_appliers(self, told: OtaSettings) -> "dict[str, Applier]":
        from agent.ota.appliers import radio  # noqa: PLC0415  as the engine
        from agent.ota.appliers.devices import KINDS, Devices  # noqa: PLC0415
        from agent.ota.appliers.radio import Sticks  # noqa: PLC0415
        from agent.ota.appliers.rollout import Terms  # noqa: PLC0415
        from agent.ota.campaign_book import CampaignBook  # noqa: PLC0415
        from agent.updates_home import RuntimeHome  # noqa: PLC0415

        folder, home = self._settings.hub.state_dir / "ota" / "devices", RuntimeHome(self._runtime)
        terms = Terms(deadline=told.device_time, battery=told.device_battery)
        sticks: Applier = Sticks(self._settings.hub.state_dir / "ota" / "radio", home, radio.Terms())
        books = {kind: CampaignBook(self._store, self._runtime.clock, kind) for kind in KINDS}
        devices: dict[str, Applier] = {k: Devices(k, folder, book, home, terms) for k, book in books.items()}
        return {sticks.kind: sticks, **devices}

    def _restart(self, effect: str, reason: str) -> None:
        if effect == "reboot":
            self._supervisor.spawn("reboot", self._reboot(reason))
            return
        self._supervisor.end(RestartError(f"{reason} ({effect})", place="ota", remedy="the service starts it again"))

    async def _reboot(self, reason: str) -> None:
        """Until the system goes down; one that does not is asked again, since what is selected is to be tried."""
        log.warning("%s: the system is booted", reason)
        while True:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self._settings.ota.reboot), stdin=asyncio.subprocess.DEVNULL
            )
            code = await process.wait()
            if code:
                log.error("%s has ended with %d: ota.reboot, or the rights to boot", self._settings.ota.reboot, code)
            await asyncio.sleep(REBOOT_AGAIN)

    # ---- health -----------------------------------------------------------------------------------------------------

    def _health(self, told: OtaSettings) -> "Health":
        from agent.ota import health  # noqa: PLC0415

        runtime, settings = self._runtime, self._settings
        checks: dict[str, Check] = {f"uplink {name}": _uplink(runtime, name) for name in settings.uplinks}
        checks |= {f"radio {name}": _radio(runtime, name) for name in settings.radios}
        checks["store"] = self._written
        checks["memory"] = health.memory(told.memory)
        checks["disk"] = self._room
        checks |= {f"program {path}": health.script(Path(path), SCRIPT_TIME) for path in told.health}
        return health.Health(checks, health.Terms(told.trial, told.patience, told.trial_limit))

    async def _room(self) -> str:
        """A version that has filled the disk must not take for room what the store has given back for it."""
        from agent.ota import health  # noqa: PLC0415

        folder, told = self._settings.hub.state_dir, self._settings
        given = 0 if (folder / BALLAST).exists() else told.store.ballast
        return await health.room(folder, told.ota.room + given)()

    async def _written(self) -> str:
        try:
            async with asyncio.timeout(STORE_TIME):  # on a full disk it waits for room, for ever
                await self._store.submit([records.put_meta("ota_health", self._runtime.clock.now().iso)])
        except HubError as error:
            return error.message
        except TimeoutError:
            return f"nothing was written within {STORE_TIME:.0f} s"
        return ""

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def take_jobs(self, name: str, jobs: Jobs) -> None:
        """Have an uplink's jobs of this operation done."""
        if self.engine is not None:
            from agent.ota.sources.aws_jobs import AwsJobs  # noqa: PLC0415  as the engine

            source = AwsJobs(name, jobs, self.engine, time.monotonic)
            jobs.standing[OPERATION] = source
            self._supervisor.add(Unit(f"updates of {name}", source.live))

    def take_nrf_jobs(self, name: str, wire: "Wire") -> None:
        """Have nRF Cloud's firmware jobs for this hub done."""
        if self.engine is not None:
            from agent.ota.sources.nrf_fota import NrfFota  # noqa: PLC0415  as the engine

            source = NrfFota(name, wire, self.engine, time.monotonic)
            self._supervisor.add(Unit(f"updates of {name}", source.live))

    def take_nrf_ble_jobs(self, name: str, wire: "BleWire") -> "NrfBleFota | None":
        """Have nRF Cloud's firmware jobs for the BLE devices behind this hub done; None where the hub takes no updates."""
        if self.engine is None:
            return None
        from agent.ota.sources.nrf_ble_fota import NrfBleFota  # noqa: PLC0415  as the engine

        radios = self._runtime.hub.radios
        source = NrfBleFota(name, wire, self.engine, time.monotonic, lambda radio: radios[radio].kind == "ble")
        self._runtime.listeners.add(source.heard)
        self._supervisor.add(Unit(f"updates of {source.name}", source.live))
        return source

    def refusing(self) -> dict[str, Handler]:
        """What is done with such jobs where the hub takes no updates."""
        return {} if self.engine is not None else {OPERATION: _refuse}


async def _refuse(_job: Job) -> Ended:
    reason = "this hub takes no updates: no root is pinned as ota.root, so nobody's signature counts"
    return Ended("REJECTED", {"code": "unsigned", "reason": reason})


def _open_tasks(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM ota_tasks WHERE over = 0 OR told = 0 LIMIT 1").fetchone() is not None


def _uplink(runtime: Runtime, name: str) -> Callable[[], Awaitable[str]]:
    async def check() -> str:
        link = runtime.links.get(name)
        if link is not None and link.connected:
            return "" if link.proved else "it is connected, and nothing that it sends is taken"
        return (link.last_error if link is not None else "") or "it is not connected"

    return check


def _radio(runtime: Runtime, name: str) -> Callable[[], Awaitable[str]]:
    async def check() -> str:
        radio = runtime.hub.radios[name]
        return "" if radio.up else radio.reason or "it is away"

    return check


def boards() -> tuple[str, ...]:
    """The names that this board goes by: those of its device tree (model, compatible), of its firmware, and its machine."""
    found: list[str] = []
    for path in (DEVICE_TREE / "model", DEVICE_TREE / "compatible", DMI):
        try:
            found += [name for name in path.read_text(encoding="utf-8", errors="replace").strip().split("\0") if name]
        except OSError:
            continue
    return (*found, platform.machine())


def summary(tasks: Iterable["Task"]) -> list[dict[str, Any]]:
    """Tasks for people, in their order."""
    return [
        {
            "key": task.key,
            "source": task.source,
            "job": task.job,
            "release": task.release,
            "component": task.component,
            "state": str(task.state),
            "percent": task.percent,
            "from": task.was,
            "components": list(task.done),
            "code": task.code,
            "detail": task.detail,
            "heard": task.told,
            "trialSpent": round(task.trial_spent),
            "received": iso(task.received),
        }
        for task in tasks
    ]
