"""zigpy's controller, as a hub wants it: no Internet, no scans, no wear, and an end that says why.

The raw dict goes to zigpy (its schema is not idempotent). The radio is opened and recognised before the database is touched, so that
a wrong stick changes nothing. zigpy schedules nothing by itself here but its watchdog.
"""

import asyncio
import importlib
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zigpy.appdb
import zigpy.backups
import zigpy.exceptions

from agent.driver import DriverLost
from agent.errors import ConfigError, HubError
from agent.secret_store import Secrets
from drivers.serial import candidates, is_url, unusable
from drivers.zigbee import networks
from drivers.zigbee.nodes import Stick
from drivers.zigbee.settings import ZigbeeSettings

log = logging.getLogger(__name__)

RADIOS = {"znp": "zigpy_znp.zigbee.application", "ezsp": "bellows.zigbee.application"}
# Seconds until a port is given up; zigpy-znp ends by itself after 10 s and cleans up better then.
CONNECT_TIMEOUT = 12.0
START_TIMEOUT = 90.0  # forming a network on a slow stick takes most of a minute
CLOSE_TIMEOUT = 5.0
WATCHDOG_PERIOD = 10  # seconds between signs of life; a hung stick is known after this and the time-out of one request
REQUEST_TIMEOUT = 5  # seconds that a healthy ZNP stick needs at most for a synchronous answer


class QuietDatabase(zigpy.appdb.PersistingListener):  # type: ignore[misc]  # zigpy is not typed
    """zigpy's database, which keeps what cannot be asked again: devices, and what is read at an interview; the network is with the secrets.

    Reports and signs of life are not written: the hub keeps state itself, and a page per report wears a memory card out.
    What is written is synced fully, since it is rare and dear.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._learning: Counter[str] = Counter()  # EUI64 -> configurations under way: one may be cut off by the next

    async def initialize_tables(self) -> None:
        await super().initialize_tables()
        await self._db.commit()
        await self.execute("PRAGMA synchronous = full")

    def network_backup_created(self, backup: Any) -> None:
        self._application.networks.created(backup)

    def network_backup_removed(self, backup: Any) -> None:
        self._application.networks.removed(backup)

    async def _load_network_backups(self) -> None:
        """From the secrets; what an older version has left in the database goes there, and is erased here."""
        kept = self._application.networks.load()
        old = await networks.tables(self._db)
        if old:
            kept = self._application.networks.adopt(await networks.documents(self._db, old))
            await networks.erase(self._db, old)
        manager = self._application.backups
        manager.backups.clear()
        for backup in kept:
            manager.add_backup(backup, suppress_event=True)

    @asynccontextmanager
    async def learns(self, key: str) -> AsyncIterator[None]:
        """What a device answers inside this block is kept, and is written when it ends."""
        self._learning[key] += 1
        try:
            yield
        finally:
            await self.settled()
            self._learning[key] -= 1

    async def settled(self) -> None:
        """Wait until all that was told to the database is written."""
        await self._callback_handlers.join()

    def device_last_seen_updated(self, *_args: Any) -> None:
        """Not kept."""

    def on_attribute_reported(self, _event: Any) -> None:
        """Not kept."""

    def on_attribute_read(self, event: Any) -> None:
        if self._learning[str(event.device_ieee)]:
            super().on_attribute_read(event)


@dataclass(slots=True)
class Link:
    """An open controller. `lost` is done when the radio is gone; `own_reset` while we reset it ourselves."""

    app: Any
    port: str
    radio: str
    lost: asyncio.Future[str]
    own_reset: bool = False

    @property
    def identity(self) -> str:
        return str(self.app.state.node_info.ieee)

    @property
    def database(self) -> QuietDatabase:
        database = self.app._dblistener  # noqa: SLF001  zigpy has no public name for it
        assert isinstance(database, QuietDatabase)  # noqa: S101  we made it
        return database

    def connection_lost(self, error: BaseException | None) -> None:
        """Listener of zigpy's controller."""
        self.lose(f"the stick on {self.port} is gone ({_words(error)})")

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            if self.radio == "ezsp":
                _see_to_orphans()
            self.lost.set_result(reason)


def _see_to_orphans() -> None:
    """A request that is cut leaves its frame behind: bellows shields the sending, which then fails with the link, unasked for."""
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "AshProtocol._send_data_frame":
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _end_with_the_port(link: Link) -> None:
    """Of frames read in one piece each is acknowledged: where the port breaks at one, bellows fails at the next, in the loop's reader."""
    if link.radio != "ezsp":
        return
    failure = importlib.import_module("bellows.ash").NcpFailure
    ash = link.app._ezsp._gw._obj._transport  # noqa: SLF001  bellows has no public name for it
    received = ash.data_received

    def data_received(data: bytes) -> None:
        with suppress(failure):
            received(data)

    ash.data_received = data_received


def raw_config(settings: ZigbeeSettings, port: str, database: Path) -> dict[str, Any]:
    """Zigpy's configuration. Everything that it would do on its own account is off."""
    network: dict[str, Any] = {"channel": settings.channel or None}
    if settings.pan_id:
        network["pan_id"] = int(settings.pan_id, 16)
    if settings.extended_pan_id:
        network["extended_pan_id"] = ":".join(settings.extended_pan_id[i : i + 2] for i in range(0, 16, 2))
    if settings.network_key:
        network["key"] = list(bytes.fromhex(settings.network_key.reveal()))
    if settings.tx_power is not None:
        network["tx_power"] = settings.tx_power
    flow = None if settings.flow_control == "none" else settings.flow_control
    return {
        "device": {"path": port, "baudrate": settings.baudrate, "flow_control": flow},
        "database_path": str(database),
        "database_commit_interval": settings.commit_interval,
        "network": network,
        "ota": {"enabled": False, "broadcast_enabled": False, "providers": [], "extra_providers": []},
        "backup_enabled": False,
        "topology_scan_enabled": False,
        "watchdog_enabled": True,
    }


def _new_app(radio: str, config: dict[str, Any], resolver: Callable[[Any], Any] | None) -> Any:
    base = importlib.import_module(RADIOS[radio]).ControllerApplication
    extras: dict[str, dict[str, Any]] = {
        "znp": {"znp_config": {"sync_request_timeout": REQUEST_TIMEOUT}},
        "ezsp": {"use_thread": False},
    }

    async def permit(self: Any, time_s: int = 60, node: Any = None) -> None:
        if radio == "ezsp":
            await importlib.import_module("drivers.zigbee.trust_center").permit(self, time_s, node)
        else:
            await base.permit(self, time_s, node)
        if self.permitted is not None:
            self.permitted()

    async def permit_with_link_key(self: Any, node: Any, link_key: Any, time_s: int = 60) -> None:
        if radio == "ezsp":
            await importlib.import_module("drivers.zigbee.trust_center").shut(self)
        await base.permit_with_link_key(self, node, link_key, time_s)

    async def load_db(self: Any) -> None:
        self._dblistener = await QuietDatabase.new(self.config["database_path"], self)
        await self._dblistener.load()
        self._add_db_listeners()

    def get_device(self: Any, ieee: Any = None, nwk: Any = None) -> Any:
        """As zigpy's, which walks through all devices for every frame."""
        known = self.by_nwk.get(nwk)
        if ieee is None and known is not None and known.nwk == nwk and self.devices.get(known.ieee) is known:
            return known
        device = base.get_device(self, ieee, nwk)
        self.by_nwk[device.nwk] = device
        return device

    # The class of the radio is known only at run time; these are the hooks for another database and for join windows.
    methods = {
        "_load_db": load_db,
        "get_device": get_device,
        "by_nwk": {},
        "permit": permit,
        "permit_with_link_key": permit_with_link_key,
        "opening": None,
        "permitted": None,
        "networks": None,
        "_watchdog_period": WATCHDOG_PERIOD,
    }
    app = type("HubApplication", (base,), methods)({**config, **extras[radio]})
    if resolver is not None:
        app.register_device_resolver(resolver)
    return app


async def find(settings: ZigbeeSettings, known: Stick, database: Path, resolver: Callable[[Any], Any] | None) -> Link:
    """Open the stick. Raises DriverLost, with the remedy, when there is none that is ours."""
    ports = [settings.port] if settings.port != "auto" else _likely_first(candidates(settings.candidates), known.port)
    if not ports:
        text = f"no stick is plugged in (looked at {', '.join(settings.candidates)})"
        raise DriverLost(text, remedy="plug the stick in, or name its path in `port`")
    radios = [settings.radio] if settings.radio != "auto" else _likely_first(list(RADIOS), known.radio)
    refusals: list[DriverLost] = []
    for radio in radios:
        for port in ports:
            try:
                link = await _open(settings, radio, port, database, resolver)
            except DriverLost as refusal:
                refusals.append(refusal)
                continue
            try:
                await _recognise(link, settings, known)
            except BaseException as error:
                await close(link)
                if not isinstance(error, DriverLost):
                    raise
                refusals.append(error)
                continue
            return link
    raise _worst(refusals)


def _likely_first(names: list[str], likely: str) -> list[str]:
    return sorted(names, key=lambda name: name != likely)


def _worst(refusals: list[DriverLost]) -> DriverLost:
    """One refusal for all ports: the one with a remedy says most."""
    telling = [r for r in refusals if r.remedy] or refusals
    others = "".join(f"; {r}" for r in refusals if r is not telling[0] and str(r) != str(telling[0]))
    return DriverLost(telling[0].message + others, remedy=telling[0].remedy)


async def _open(
    settings: ZigbeeSettings, radio: str, port: str, database: Path, resolver: Callable[[Any], Any] | None
) -> Link:
    if not is_url(port) and not Path(port).exists():  # noqa: ASYNC240  one look at a device node
        raise unusable(port, FileNotFoundError(2, "no such port"))
    app = _new_app(radio, raw_config(settings, port, database), resolver)
    link = Link(app, port, radio, asyncio.get_running_loop().create_future())
    app.add_listener(link)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await app.connect()
    except BaseException as error:
        await close(link)
        if not isinstance(error, Exception):
            raise
        # Whatever a wrong device on the port answers: zigpy raises anything at all here.
        log.debug("%s on %s: %r", radio, port, error, exc_info=True)
        raise unusable(port, error) from error
    _end_with_the_port(link)
    return link


async def _recognise(link: Link, settings: ZigbeeSettings, known: Stick) -> None:
    """Raise DriverLost unless the stick is the one that is wanted. A blank stick is taken only by name or when none is known."""
    wanted = {settings.identity, known.identity.replace(":", "")} - {""}
    if not wanted:
        return
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await link.app.load_network_info(load_devices=False)
    except zigpy.exceptions.NetworkNotFormed:
        if settings.port != "auto" or settings.identity:
            return
        raise DriverLost(
            f"the stick on {link.port} is blank; the network of {known.identity} is not written to it unasked",
            remedy="name its path in `port` to move the network to it",
        ) from None
    except Exception as error:
        raise unusable(link.port, error) from error
    if link.identity.replace(":", "") not in wanted:
        text = f"the stick on {link.port} is {link.identity}, not {known.identity or settings.identity}"
        raise DriverLost(text, remedy=f'set identity = "{link.identity}" to use it')


async def start(link: Link, secrets: Secrets) -> None:
    """Load the database and bring the network up; `secrets` keeps its keys. Raises DriverLost, ConfigError."""
    link.app.networks = networks.Networks(secrets)
    try:
        await link.app._load_db()  # noqa: SLF001  zigpy opens it before it connects; we know the stick first
    except (sqlite3.Error, zigpy.exceptions.CorruptDatabase, OSError) as error:
        raise DriverLost(
            f"zigpy's database cannot be used: {error}", remedy="restore a backup of the state folder"
        ) from error
    except ConfigError:
        raise
    except HubError as error:
        raise DriverLost(error.message, place=error.place, remedy=error.remedy) from error
    hold_updates(link, held=True)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            await link.app.initialize(auto_form=True)
    except Exception as error:  # zigpy and its radios raise anything at all when a stick misbehaves at the start
        log.debug("start on %s: %r", link.port, error, exc_info=True)
        raise DriverLost(f"the network cannot be started: {_words(error)}") from error
    if link.lost.done():
        raise DriverLost(link.lost.result())
    _watch_resets(link)


def hold_updates(link: Link, *, held: bool) -> None:
    """Have zigpy leave requests for firmware unanswered: it would end a transfer that a restart has cut, before ota.py is there to go on."""
    for device in link.app.devices.values():
        device.ota_in_progress = held


def _watch_resets(link: Link) -> None:
    """A ZNP stick that resets itself forgets its endpoints and goes deaf; zigpy-znp does not notice, bellows does."""
    if link.radio != "znp":
        return
    commands = importlib.import_module("zigpy_znp.commands")

    def was_reset(_indication: Any) -> None:
        if not link.own_reset:
            link.lose(f"the stick on {link.port} has reset itself")

    # zigpy-znp has no public way to listen.
    link.app._znp.callback_for_response(commands.SYS.ResetInd.Callback(partial=True), was_reset)  # noqa: SLF001


async def close(link: Link) -> None:
    """Give everything back: tasks, port, database. Never raises but CancelledError."""
    link.lose("the driver was stopped")  # ends what is still under way
    app = link.app
    app.remove_listener(link)
    devices = list(app.devices.values())
    tasks = {task for owner in (app, *devices) for task in owner._tasks}  # noqa: SLF001  zigpy cancels and does not wait
    tasks |= {task for task in (app._watchdog_task,) if task is not None}  # noqa: SLF001
    for timer in getattr(app, "_join_announce_tasks", {}).values():
        timer.cancel()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await app.shutdown()
    except Exception as error:  # noqa: BLE001  zigpy raises anything at all on a link that is gone
        log.debug("closing %s: %r", link.port, error)
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)


def _words(error: BaseException | None) -> str:
    if error is None:
        return "closed"
    return str(error) or type(error).__name__
