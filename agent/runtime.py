"""Joins the pure hub to the world: one event in, its effects made durable together, then carried out.

Order of one event: effects -> one transaction (devices, commands, outbox) -> acknowledgement to the broker, publishes, radio work.
Deliver-first state skips the transaction (agent.cloud.link).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from agent import records
from agent.clock import Clock, Moment
from agent.cloud.uplink import Uplink
from agent.driver import ActsTogether, Driver, DriverError, Excluding, Expecting, NotSupported
from agent.execution import execute, execute_together
from agent.home import kind_of
from agent.hub import Hub, HubEvent
from agent.model import Command, DriverEvent, RadioDown, RadioUp
from agent.requests import (
    CloseWindow,
    CommandParked,
    Effect,
    Execute,
    ExecuteTogether,
    ExpectNoMore,
    FinishCommand,
    ForgetDevice,
    Interview,
    Kind,
    Message,
    OpenExclusion,
    OpenWindow,
    Progress,
    Publish,
    PublishState,
    RadioWork,
    RadioWorkEnded,
    Refresh,
    Remove,
    SaveCommand,
    SaveDevice,
    SaveMeta,
    StatusChanged,
    Tick,
)
from agent.store import Statement, Store
from agent.supervise import Pulse, Supervisor

log = logging.getLogger(__name__)

ACQUAINTED = "acquainted"  # meta: names of uplinks, separated by spaces
RADIO_STALLED = 300.0  # seconds with work on a radio and no event of it; forming a network takes up to 90
REFRESHES_AT_ONCE = 4  # reads of a whole home must leave the air to commands
Watcher = Callable[[Progress], None]


@dataclass(slots=True)
class _Plan:
    """What one event costs: statements of one transaction, and what follows the commit."""

    statements: list[Statement] = field(default_factory=list)
    offers: list[tuple[Uplink, Message]] = field(default_factory=list)
    work: list[Any] = field(default_factory=list)
    status: bool = False
    progress: list[Progress] = field(default_factory=list)


class Runtime:
    """One per process. Drivers register while they are up; watchers hear every Progress."""

    def __init__(self, hub: Hub, store: Store, clock: Clock, supervisor: Supervisor) -> None:
        self.hub, self.store, self.clock, self.supervisor = hub, store, clock, supervisor
        self.links: dict[str, Uplink] = {}
        self.drivers: dict[str, Driver] = {}
        self.watchers: set[Watcher] = set()
        self.pulses: dict[str, Pulse] = {}  # of radios
        self.listeners: set[Callable[[DriverEvent], None]] = set()  # hear what drivers say, after the hub
        self.own_work: dict[type[Any], Callable[[Any], None]] = {}  # effects on the process itself
        self.barred: dict[str, str] = {}  # uplinks that are not started, and why
        self.certificate: Callable[[], dict[str, Any]] = dict  # the hub's own, for `agent status`
        self.rotate: Callable[[], Awaitable[None]] | None = None  # there once the hub has one
        self.factory_reset: Callable[[], str] | None = None  # orders it; when, ISO-8601
        self.acquainted: set[str] = set()  # uplinks that have been told of the home
        self.waiting: dict[str, str] = {}  # uplinks that start once something has come
        self._drivers_changed = asyncio.Event()
        self._refreshing: set[Any] = set()
        self._refresh_slots = asyncio.Semaphore(REFRESHES_AT_ONCE)
        self._tick: asyncio.TimerHandle | None = None
        self._plans: dict[type[Any], Callable[[Any, _Plan, Moment], None]] = {
            PublishState: self._plan_state,
            Publish: self._plan_publish,
            SaveDevice: self._plan_device,
            ForgetDevice: lambda e, plan, _now: plan.statements.extend(records.forget_device(e.id)),
            SaveCommand: lambda e, plan, _now: plan.statements.append(records.put_command(e)),
            FinishCommand: lambda e, plan, _now: plan.statements.append(records.end_command(e)),
            SaveMeta: lambda e, plan, _now: plan.statements.append(records.put_meta(e.key, e.value)),
            Progress: lambda e, plan, _now: plan.progress.append(e),
            StatusChanged: self._plan_status,
        }

    # ---- events -----------------------------------------------------------------------------------------------------

    def sink(self, event: DriverEvent) -> None:
        """What drivers call."""
        self.dispatch(event)

    def dispatch(self, event: HubEvent, committed: Callable[[], None] | None = None) -> None:
        """Handle one event; `committed` is called once everything of it is on disk."""
        now = self.clock.now()
        self.apply(self.hub.handle(event, now), now, committed)
        self._schedule_tick(now)

    def apply(self, effects: Iterable[Effect], now: Moment, committed: Callable[[], None] | None = None) -> None:
        plan = _Plan()
        for effect in effects:
            step = self._plans.get(type(effect))
            if step is None:
                plan.work.append(effect)
            else:
                step(effect, plan, now)
        if not plan.statements:
            self._carry_out(plan, committed)
            return

        def done(future: "asyncio.Future[None]") -> None:
            # A failed store rejects everything; the process ends by `store.failed`, and the broker sends again what was not acknowledged.
            if not future.cancelled() and future.exception() is None:
                self._carry_out(plan, committed)

        self.store.submit(plan.statements).add_done_callback(done)

    def _carry_out(self, plan: _Plan, committed: Callable[[], None] | None) -> None:
        if committed is not None:
            committed()
        for link, message in plan.offers:
            link.offer(message)
        for effect in plan.work:
            self._start(effect)
        if plan.status:
            self.tell_status()
        for progress in plan.progress:
            _log(progress)
            for watcher in list(self.watchers):
                watcher(progress)

    def _schedule_tick(self, now: Moment) -> None:
        due = self.hub.next_deadline()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if due is not None:
            delay = max(0.01, due - now.mono)
            self._tick = asyncio.get_running_loop().call_later(delay, self.dispatch, Tick())

    # ---- effects to plans -------------------------------------------------------------------------------------------

    def _plan_state(self, effect: PublishState, plan: _Plan, now: Moment) -> None:
        strict = False
        for link in self.links.values():
            identifier = self.store.next_id()
            message = records.stamp(identifier, link.name, Kind.STATE, effect.device, "", effect.values, now)
            if not link.policy.strict:
                link.offer_live(message)
                continue
            plan.statements.append(records.put_outbox([message]))
            plan.offers.append((link, message))
            strict = True
        if strict:
            plan.statements.append(records.put_state([self.hub.devices[effect.id]]))

    def _plan_publish(self, effect: Publish, plan: _Plan, now: Moment) -> None:
        for link in self.links.values():
            if effect.uplink not in ("", link.name):
                continue
            identifier = self.store.next_id()
            body = dict(effect.body)
            message = records.stamp(identifier, link.name, effect.kind, effect.device, effect.trace_id, body, now)
            plan.statements.append(records.put_outbox([message]))
            plan.offers.append((link, message))

    def _plan_device(self, effect: SaveDevice, plan: _Plan, _now: Moment) -> None:
        record = self.hub.devices.get(effect.id)
        if record is not None:
            plan.statements += [records.put_device(record), records.put_state([record])]

    def _plan_status(self, _effect: StatusChanged, plan: _Plan, _now: Moment) -> None:
        plan.status = True

    # ---- work on radios ---------------------------------------------------------------------------------------------

    def _start(self, effect: Any) -> None:
        if isinstance(effect, Execute):
            self.supervisor.spawn(f"command {effect.command.trace_id}", self._execute(effect.command))
        elif isinstance(effect, ExecuteTogether):
            self._start_together(effect.commands)
        elif isinstance(effect, Refresh):
            if effect.id not in self._refreshing:
                self._refreshing.add(effect.id)
                self.supervisor.spawn(f"refresh {effect.id}", self._refresh(effect))
        elif isinstance(effect, ExpectNoMore):
            self.supervisor.spawn("devices that are expected", self._expect_no_more(effect))
        elif type(effect) in self.own_work:
            self.own_work[type(effect)](effect)
        else:
            self.supervisor.spawn(type(effect).__name__, self._radio_work(effect))

    def _start_together(self, commands: tuple[Command, ...]) -> None:
        driver: object = self.drivers.get(commands[0].device.radio)
        if isinstance(driver, ActsTogether):
            self.supervisor.spawn(f"command {commands[0].trace_id} and more", self._execute_together(driver, commands))
            return
        for command in commands:
            self._start(Execute(command))

    async def _execute(self, command: Command) -> None:
        driver = self.drivers.get(command.device.radio)
        if driver is None:
            self.dispatch(CommandParked(command.trace_id, "the radio is away"))
            return
        end = self._end(command)
        with self.pulses[command.device.radio].until(end):
            ended = await execute(driver, command, end)
        self.dispatch(ended)

    async def _execute_together(self, driver: ActsTogether, commands: tuple[Command, ...]) -> None:
        end = max(map(self._end, commands))
        with self.pulses[commands[0].device.radio].until(end):
            await execute_together(driver, commands, end, self.dispatch)

    def _end(self, command: Command) -> float:
        """A command's deadline on the loop's clock."""
        return asyncio.get_running_loop().time() + command.deadline - self.clock.now().mono

    async def _expect_no_more(self, effect: ExpectNoMore) -> None:
        """On every radio that keeps such a list; one that is away would let it in later."""
        kind = kind_of(effect.address)
        for name in [radio.name for radio in self.hub.radios.values() if radio.expects and kind in radio.kinds]:
            driver: object = self.drivers.get(name)
            if not isinstance(driver, Expecting):
                self.dispatch(RadioWorkEnded(effect, f"the radio {name} is away", 503))
                return
            try:
                await driver.expect_no_more(effect.address)
            except DriverError as error:
                self.dispatch(RadioWorkEnded(effect, str(error), error.code))
                return
        self.dispatch(RadioWorkEnded(effect))

    async def _refresh(self, effect: Refresh) -> None:
        async with self._refresh_slots:
            try:
                await self._radio_work(effect)
            finally:
                self._refreshing.discard(effect.id)

    async def _radio_work(self, effect: RadioWork) -> None:
        """Do it, and tell the hub how it ended."""
        radio = effect.radio if isinstance(effect, OpenWindow | CloseWindow | OpenExclusion) else effect.id.radio
        driver = self.drivers.get(radio)
        if driver is None:
            self.dispatch(RadioWorkEnded(effect, "the radio is away", 503))
            return
        try:
            with self.pulses[radio].work():
                await _do(driver, effect)
        except DriverError as error:
            self.dispatch(RadioWorkEnded(effect, str(error), error.code))
            return
        self.dispatch(RadioWorkEnded(effect))

    # ---- units ------------------------------------------------------------------------------------------------------

    async def radio_life(self, name: str, build: Callable[[], Driver]) -> None:
        """One life of a radio: the driver registers itself here once its network is up."""
        driver = build()
        pulse = self.pulses[name]
        starting = ExitStack()
        starting.enter_context(pulse.work())

        def sink(event: DriverEvent) -> None:
            pulse.beat()
            if isinstance(event, RadioUp):
                starting.close()
                self.drivers[name] = driver
                self._drivers_changed.set()
            self.dispatch(event)
            for listener in list(self.listeners):
                listener(event)

        try:
            await driver.run(sink)
        finally:
            starting.close()
            self.drivers.pop(name, None)

    async def driver_up(self, name: str) -> Driver:
        """The driver of a radio, once its network is up."""
        while name not in self.drivers:
            self._drivers_changed.clear()
            await self._drivers_changed.wait()
        return self.drivers[name]

    def radio_lost(self, name: str, reason: str) -> None:
        self.dispatch(RadioDown(name, reason))

    def tell_status(self) -> None:
        """Give every uplink the hub's status as it is now."""
        radios = {
            radio.name: {"kind": radio.kind, "status": "online" if radio.up else "away", "identity": radio.identity}
            for radio in self.hub.radios.values()
        }
        status: dict[str, Any] = {"status": "online", "radios": radios, "networkMode": self.hub.exclusions.mode}
        certificate = self.certificate()
        if certificate:
            status["certificate"] = {name: certificate[name] for name in ("daysLeft", "state", "rotation")}
        if self.hub.exclusions.excluded:
            status["excluded"] = dict(self.hub.exclusions.excluded)
        if self.hub.exclusions.mode_error:
            status["error"] = dict(self.hub.exclusions.mode_error)
        for link in self.links.values():
            link.set_status(status)

    def flush_state(self) -> "asyncio.Future[None] | None":
        """Write the state of every device that changed since it was last written."""
        dirty = [record for record in self.hub.devices.values() if record.dirty]
        if not dirty:
            return None
        for record in dirty:
            record.dirty = False
        return self.store.submit([records.put_state(dirty)])


def _log(progress: Progress) -> None:
    """What the owner of the house will ask the log about; everything else is for who looks for a bug."""
    data = progress.data
    match progress.what:
        case "radio" if data["status"] == "online":
            log.info("radio %s is online", data["radio"])
        case "found" if not data.get("known"):
            log.info("new device %s: %s", data["nodeId"], data["model"])
        case "quarantined":
            log.info("new device %s: %s; nobody asked for it, so it is quarantined", data["nodeId"], data["model"])
        case "exclusion" if data["stage"] == "left":
            log.info("a device was excluded: %s", data["device"] or "one of another network")
        case "removed":
            log.info("device %s is gone: %s", data["nodeId"], data["reason"])
        case _:
            log.debug("%s %s", progress.what, dict(data))


async def _do(driver: Driver, effect: RadioWork) -> None:
    match effect:
        case OpenExclusion():
            await _excluding(driver).exclude(effect.seconds)
        case OpenWindow():
            await driver.discover(effect.discovery)
        case CloseWindow():
            await driver.stop_discovery()
        case Interview():
            await driver.interview(effect.id.key)
        case Refresh():
            await driver.refresh(effect.id.key)
        case Remove():
            await driver.remove(effect.id.key, force=effect.force)


def _excluding(driver: object) -> Excluding:
    if not isinstance(driver, Excluding):
        raise NotSupported("this radio cannot exclude devices of other networks")
    return driver
