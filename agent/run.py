"""The composition root: builds every part from the settings, runs them in one TaskGroup, and ends them in order.

Start: store -> hub restored -> control socket -> uplinks and radios as units -> READY. A missing broker or stick delays nothing.
Stop (SIGTERM, SIGINT): windows closed, offline said, what is in flight awaited, state written, all within STOP_LIMIT.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent import offboard, records, restore
from agent.clock import TRUSTED, Clock, SystemClock
from agent.console_api import ConsoleApi
from agent.console_ota import ConsoleOta
from agent.control import ControlServer
from agent.discovery_book import META_KEY
from agent.driver import Driver, DriverContext, DriverInfo, load_driver
from agent.errors import Exit, HubError, PermissionDeniedError, StorageError
from agent.files import make_folder
from agent.home import STARTING, RadioRecord
from agent.hub import Hub
from agent.identity.stores import open_secrets
from agent.notify import Notifier
from agent.ota.place import give_room
from agent.requests import ApplyLogs, Effect, Kind, Offboard, Publish, SaveCommand, StopDiscovery, StopExclusion
from agent.runtime import ACQUAINTED, RADIO_STALLED, Runtime
from agent.runtime_logs import UploadedLogs
from agent.secret_store import ScopedSecrets
from agent.settings import RadioSettings, Settings
from agent.store import Limits, Store
from agent.supervise import Pulse, Supervisor, Unit
from agent.updates import Updates
from agent.uplinks import Uplinks, hub_id, in_step

log = logging.getLogger(__name__)

STOP_LIMIT = 5.0
LINK_STOP = 2.0
HOUSEKEEPING = 600.0  # seconds between looks at ages and unwritten state
Attach = Callable[[logging.Handler], Callable[[], None]]  # gives our log lines to a handler; the answer ends that
UNCLEAN = "running"  # meta: set while the hub runs, cleared by an orderly stop


async def run(settings: Settings, env: dict[str, str], attach: Attach) -> int:
    """Run the daemon until it is told to stop; returns the exit code. Raises HubError when it cannot start."""
    notifier = Notifier.from_env(env)
    _folders(settings)
    offboard.finish(settings)
    restore.finish(settings)
    in_step(settings)
    store = _store(settings)
    code = Exit.OK
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as group:
            daemon = Daemon(settings, store, Supervisor(group), notifier, attach)
            await daemon.start()
            code = await daemon.wait()
            await daemon.stop()
    except* HubError as errors:
        failures += errors.exceptions  # raised here it would be a group again, on Python 3.11.2 at least
    finally:
        if not store.stats.failed:
            await store.close()
    offboard.finish(settings)
    if failures:
        raise failures[0]
    return int(code)


class Daemon:
    """Everything that runs, from start to stop."""

    def __init__(
        self, settings: Settings, store: Store, supervisor: Supervisor, notifier: Notifier, attach: Attach
    ) -> None:
        self._settings, self._store, self._supervisor, self._notifier = settings, store, supervisor, notifier
        self._clock: Clock = SystemClock()
        commands = settings.commands
        hub = Hub(hub_id(settings), onboarding=settings.hub.onboarding, default_ttl=commands.default_ttl)
        self.runtime = Runtime(hub, store, self._clock, supervisor)
        self._updates = Updates(settings, self.runtime, store, supervisor)
        self._uplinks = Uplinks(settings, self.runtime, store, supervisor, self._updates, attach)
        ota = ConsoleOta(lambda: self._updates.engine, lambda: self._clock.now().wall)
        self._control = ControlServer(settings.hub.runtime_dir, ConsoleApi(self.runtime, version("hub-agent"), ota))
        self.runtime.factory_reset = self._factory_reset
        self._resetting = ""  # since when, ISO-8601
        self._stopping: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._logs = UploadedLogs(settings.hub.state_dir / "logs", attach, self._publish_logs, supervisor)
        self.runtime.own_work = {ApplyLogs: self._logs.apply, Offboard: lambda _effect: self._offboard()}
        self._earlier_own: list[Effect] = []
        self._earlier_discoveries = "[]"
        self._earlier_commands: list[SaveCommand] = []

    async def start(self) -> None:
        infos = {name: load_driver(radio.kind) for name, radio in self._settings.radios.items()}
        for name, info in infos.items():
            self.runtime.hub.radios[name] = RadioRecord(
                name,
                info.kind,
                info.discovery_kinds,
                reason=STARTING,
                excludes_network_wide=info.excludes_network_wide,
                expects=info.expects,
                replaces=info.replaces,
            )
        await self._restore()
        await self._updates.start()
        await self._control.start()
        self.runtime.barred = offboard.barred(self._settings)
        self._resetting = offboard.radios_to_reset(self._settings)
        if self._resetting:  # without uplinks: what they would get in this life is deleted at its end
            self._reset_radios()
        for name, uplink in self._settings.uplinks.items() if not self._resetting else ():
            if name in self.runtime.barred:
                log.warning("uplink %s is not started: %s", name, self.runtime.barred[name])
                continue
            self._uplinks.add(name, uplink)
        self._updates.live()
        for name, radio in self._settings.radios.items():
            self._add_radio(name, radio, infos[name])
        self._supervisor.spawn("housekeeping", self._housekeeping())
        if self._notifier.watchdog_interval:
            self._supervisor.spawn("watchdog", self._watchdog(self._notifier.watchdog_interval / 2))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked, Exit.OK)
        self._store.failed.add_done_callback(self._store_failed)
        self._supervisor.on_end = self._part_failed
        self._notifier.ready(f"{len(self._settings.radios)} radios, {len(self._settings.uplinks)} uplinks")
        log.info("hub %s is running", self.runtime.hub.hub_id)

    def _stop_asked(self, code: Exit) -> None:
        if not self._stopping.done():
            self._stopping.set_result(code)

    def _store_failed(self, failed: "asyncio.Future[str]") -> None:
        log.critical("%s; the agent restarts from what the disk holds", failed.result())
        self._stop_asked(Exit.TEMPFAIL)

    def _part_failed(self, error: BaseException) -> None:
        """Expected trouble ends the process with its own code; anything else is a bug."""
        self._stop_asked(error.exit_code if isinstance(error, HubError) else Exit.SOFTWARE)

    async def wait(self) -> Exit:
        """Until something asks for the end; returns the exit code."""
        return await self._stopping

    async def stop(self) -> None:
        """End everything in order, within STOP_LIMIT."""
        self._notifier.stopping("stopping")
        self._supervisor.stopping = True
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._control.stop()
                self.runtime.dispatch(StopDiscovery(""))
                self.runtime.dispatch(StopExclusion(""))
                for link in self.runtime.links.values():
                    await link.stop(LINK_STOP)
                if not self._store.stats.failed:
                    self.runtime.flush_state()
                    await self._store.submit([records.put_meta(UNCLEAN, "")])
        except TimeoutError:
            log.warning("the stop took longer than %s s; what was not sent is sent after the next start", STOP_LIMIT)
        self._supervisor.cancel_all()
        log.info("hub %s has stopped", self.runtime.hub.hub_id)

    # ---- start ------------------------------------------------------------------------------------------------------

    async def _restore(self) -> None:
        """Devices, state, commands and settings of the earlier run."""
        hub, store = self.runtime.hub, self._store
        meta = dict(await store.read(lambda db: db.execute("SELECT key, value FROM meta").fetchall()))
        unclean = bool(meta.get(UNCLEAN))
        join = "SELECT d.record, s.record FROM devices d LEFT JOIN state s ON s.id = d.id"
        for text, state in await store.read(lambda db: db.execute(join).fetchall()):
            record = records.device_record(text, state)
            # Deliver-first state that was in memory at the crash is gone: it is read and told anew.
            record.stale = unclean
            if record.device.id.radio in hub.radios:
                hub.restore(record)
        self._earlier_own = hub.own.restore(meta)
        self.runtime.acquainted = set(meta.get(ACQUAINTED, "").split()) & set(self._settings.uplinks)
        hub.expected = dict(line.split(" ", 1) for line in meta.get("expected", "").splitlines())
        ended = "SELECT trace_id FROM commands WHERE status = 'ended' ORDER BY at DESC LIMIT 10000"
        hub.commands.remember(row[0] for row in reversed(await store.read(lambda db: db.execute(ended).fetchall())))
        await store.submit([records.put_meta(UNCLEAN, "yes")])
        self._earlier_discoveries = meta.get(META_KEY, "[]")
        opened = "SELECT trace_id, status, record, at FROM commands WHERE status != 'ended' ORDER BY at"
        rows = await store.read(lambda db: db.execute(opened).fetchall())
        self._earlier_commands = [records.command(*row) for row in rows]

    def _resume(self) -> None:
        """Commands and discoveries of the earlier run end or go on; their Outcomes need the uplinks to exist."""
        hub, now = self.runtime.hub, self._clock.now()
        effects = [*self._earlier_own, *hub.discoveries.restore(self._earlier_discoveries)]
        for saved in self._earlier_commands:
            effects += hub.commands.restore(saved, now)
        self.runtime.apply(effects, now)

    def _publish_logs(self, lines: list[Any], done: Callable[[], None]) -> None:
        """To the clouds that have asked for them; nRF Cloud has wishes of its own (agent.nrf_uplink)."""
        asked = [name for name in self.runtime.links if self._settings.uplinks[name].dialect == "managed-integrations"]
        told = [Publish(Kind.LOG, "", {"lines": lines}, uplink=name) for name in asked]
        self.runtime.apply(told, self._clock.now(), done)

    def _offboard(self) -> None:
        self._supervisor.spawn("offboard", offboard.begin(self.runtime, self._settings, self._ended))

    def _factory_reset(self) -> str:
        """From now on it is done, whatever happens; when it was ordered, ISO-8601. Raises OSError."""
        if not self._resetting:
            self._resetting = offboard.order_reset(self._settings, self._clock.now().iso).at
            self._reset_radios()
        return self._resetting

    def _reset_radios(self) -> None:
        self._supervisor.spawn("factory reset", offboard.reset(self.runtime, self._settings, self._ended))

    def _ended(self) -> None:
        self._stop_asked(Exit.TEMPFAIL)  # systemd starts it again, with nothing of what it was

    def _add_radio(self, name: str, radio: RadioSettings, info: DriverInfo) -> None:
        folder = self._settings.hub.state_dir / "radios" / name
        make_folder(folder)
        secrets = ScopedSecrets(open_secrets(self._settings), name)
        context = DriverContext(name, radio.driver, folder, self._clock, secrets, self.runtime.hub.commands.waits)

        def build() -> Driver:
            return info.open(context)

        live = partial(self.runtime.radio_life, name, build)
        lost = partial(self.runtime.radio_lost, name)
        pulse = self.runtime.pulses[name] = Pulse(RADIO_STALLED)
        self._supervisor.add(Unit(f"radio {name}", live, lost, pulse.stalled, first=0.3, longest=10.0))

    # ---- while it runs ----------------------------------------------------------------------------------------------

    async def _housekeeping(self) -> None:
        self._resume()
        self.runtime.tell_status()
        written, pause = self._clock.now().mono, min(HOUSEKEEPING, self._settings.store.state_flush)
        await asyncio.sleep(pause)
        gc.collect()
        gc.freeze()  # what is there now stays: to go through it for garbage again and again holds up everything for 0.05 s and more
        while True:
            now = self._clock.now()
            if now.mono - written >= self._settings.store.state_flush:
                self.runtime.flush_state()
                written = now.mono
            if now.quality == TRUSTED:
                await self._store.shed_older_than(now.wall - self._settings.store.max_age)
                old = now.wall - self._settings.commands.retention
                await self._store.submit([records.forget_commands(old)])
            await asyncio.sleep(pause)

    async def _watchdog(self, interval: float) -> None:
        """Feed systemd's watchdog while every part makes progress: the loop turns, the writer writes, no unit hangs."""
        self._supervisor.watch("store", self._store.stalled)
        while True:
            stalled = self._supervisor.stalled
            if stalled:
                log.error("no progress in %s: the watchdog is not fed", ", ".join(stalled))
            else:
                self._notifier.watchdog()
            await asyncio.sleep(interval)


def _store(settings: Settings) -> Store:
    """Raises StorageError. A full disk keeps the hub down no longer than there is something on it that can be had again."""
    while True:
        try:
            return Store.open(settings.hub.state_dir, _limits(settings))
        except StorageError as error:
            given = give_room(settings.hub.state_dir)
            if not given:
                raise
            log.warning("the disk is full, %s is given back: %s", given, error.message)


def _limits(settings: Settings) -> Limits:
    store = settings.store
    return Limits(max_bytes=store.max_bytes, max_age=store.max_age, ballast=store.ballast)


def _folders(settings: Settings) -> None:
    for folder in (settings.hub.state_dir, settings.hub.runtime_dir):
        try:
            make_folder(folder)
        except OSError as error:
            raise PermissionDeniedError(
                f"cannot make the folder: {error.strerror}",
                place=str(folder),
                remedy="run as the service's user, or set hub.state_dir and hub.runtime_dir to folders of yours",
            ) from error
        if not os.access(folder, os.W_OK):
            raise PermissionDeniedError("the folder cannot be written", place=str(folder), remedy=_owner(folder))


def _owner(folder: Path) -> str:
    return f"it belongs to {folder.owner()}: run as that user"
