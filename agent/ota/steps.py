"""The steps of an update: what is done in each state. Each returns the task in its next state, or raises.

HubError with a `code`: refused for good. HubError without: tried again. CanceledError: withdrawn. WaitError: it is not the time.
SuspendedError: others go first.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn, TypeVar

from agent.clock import TRUSTED, Clock
from agent.cloud.rest_answer import RestError
from agent.errors import HubError, TryAgainError
from agent.ota import plan, turns
from agent.ota.appliers.contract import Applier, ApplierError, Effect, Errand, FleetApplier
from agent.ota.desk import CanceledError, Desk, Source, WaitError
from agent.ota.health import Health
from agent.ota.manifest import Component
from agent.ota.offer import Offer
from agent.ota.parts import Fetcher, Policy, Verifier
from agent.ota.plan import BOOT, FILES, MANIFEST, PERMISSION, TOLD, Runs, State, Task, moved
from agent.ota.refusals import NotYetError

log = logging.getLogger(__name__)

Found = TypeVar("Found")

EXPIRED = (401, 403)  # what a server says to a presigned address that has expired
RENEWALS = 3  # in a row that bring nothing
STILL_WANTED = 10.0  # seconds for the one who asked to say so, before the point of no return
PERCENT = 100
KEPT = ("digest", MANIFEST, PERMISSION, FILES, "floor")  # of what is known of a task, for its next component
TRIAL_NOTES = 20  # times that a trial writes down how far it is
WRITTEN = 10.0  # seconds for what a trial writes down: a version that has filled the disk must not keep itself by that
LOOK = 60.0  # seconds at most between two looks at the clock while a window is waited for
SETTLED = 600.0  # seconds after a boot in which a clock that nobody has set yet is not asked whether a window is open
UNAPPROVED = 3600.0  # seconds between two looks at what a person has to approve, who is heard at once
FRESH = 3600.0  # seconds after which a release is judged anew before it goes on: it may have expired while it waited


def _untold(_done: int) -> None:
    """A write is quick beside its download, and appliers say how far it is from threads of theirs."""


class Steps:
    """`restart` ends this process so that what is selected starts."""

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        verifier: Verifier,
        fetcher: Fetcher,
        appliers: Mapping[str, Applier],
        health: Health,
        policy: Policy,
        restart: Callable[[Effect, str], None],
    ) -> None:
        self._desk, self._clock = desk, clock
        self._verifier, self._fetcher, self._appliers = verifier, fetcher, appliers
        self._health, self._policy, self._restart = health, policy, restart
        self._offers: dict[str, Offer] = {}
        self._since: dict[str, float] = {}  # key -> when the download of the component that is under way was begun
        self._judged: dict[str, float] = {}  # when, monotonic seconds
        self._tried: set[tuple[str, str]] = set()  # key and component of the trials that this process has seen
        self._steps: Mapping[State, Callable[[Task], Awaitable[Task]]] = {
            State.RECEIVED: self._received,
            State.CHECKED: self._checked,
            State.WAITING: self._waiting,
            State.DOWNLOADING: self._downloading,
            State.VERIFIED: self._verified,
            State.WRITING: self._writing,
            State.STAGED: self._staged,
            State.ACTIVATING: self._activating,
            State.TRIAL: self._trial,
            State.CONFIRMED: self._confirmed,
            State.ROLLING_BACK: self._rolling_back,
            State.ROLLED_BACK: self._rolled_back,
        }

    async def take(self, task: Task) -> Task:
        """The step of the state that a task is in."""
        return await self._steps[task.state](task)

    async def runs(self, task: Task) -> Runs:
        """The fact: what runs of the component that is under way."""
        component = await self._component(task)
        if task.lane:
            return Runs.UNDER_WAY  # the activation itself asks the devices, once their radios are there
        try:
            return (await (await self._entrusted(task, component)).describe(component)).runs
        except ApplierError as error:
            log.warning("update %s: %s", task.key, error.advice)
            return Runs.FELL_BACK  # whatever runs, it was not started as the new version would be
        except TryAgainError as error:
            if component.for_hub:
                raise
            log.info("update %s is activated anew: %s", task.key, error.advice)
            return Runs.OLD  # a radio that is away holds nobody else up

    def renew(self, task: Task) -> None:
        """What was asked for is to be read again."""
        self._offers.pop(task.key, None)

    def forget(self, task: Task) -> None:
        """It is over."""
        self.renew(task)
        self._since.pop(task.key, None)
        self._judged.pop(task.key, None)

    async def clean(self, task: Task) -> None:
        """It has ended without an activation: nothing of it may be selected, nor fill the disk where nobody tries it again. Raises HubError."""
        applier = self._applier(await self._component(task)) if task.component else None
        if applier is not None and not isinstance(applier, FleetApplier):  # devices get nothing before it
            await applier.clean()
        if task.state in (State.CANCELED, State.REJECTED):
            await self._clean(task)

    async def _received(self, task: Task) -> Task:
        try:
            offer = await self._renewing(task, self._offer)
        except NotYetError as error:
            if error.until is None:
                raise
            raise WaitError(min(UNAPPROVED, max(1.0, error.until - self._clock.now().wall))) from error
        facts = {"digest": offer.verified.digest, MANIFEST: offer.envelope.decode(), "floor": offer.floor}
        facts[FILES] = " ".join(file.sha256 for component in offer.components for file in component.files)
        if offer.verified.permission is not None and offer.permission is not None:
            facts[PERMISSION] = offer.permission.decode()
        await self._judge(task, offer)
        told = offer.release
        return moved(task, State.CHECKED, release=told.release, facts=facts, emergency=told.emergency)

    async def _judge(self, task: Task, offer: Offer) -> None:
        """Every component, before the first is installed: half a release that can never be whole is on nobody's list of what may run."""
        for component in offer.components:
            try:
                await self._applier(component).judge(component)
            except HubError as error:
                if getattr(error, "code", ""):
                    raise
                log.info("update %s: %s is judged when its turn comes: %s", task.key, component.name, error.advice)

    async def _checked(self, task: Task) -> Task:
        """Choose the next component that is not what runs already."""
        for component in (await self._offer(task)).components:
            if component.name in task.done:
                continue
            found = await (await self._entrusted(task, component)).describe(component)
            if found.runs == Runs.UNDER_WAY and turns.in_lane(self._desk.tasks.values(), component.kind):
                raise WaitError(LOOK)  # an earlier task brings the same to the devices
            task = replace(task, component=component.name, was=found.version)
            if found.runs == Runs.CONFIRMED:
                log.info("update %s: %s %s runs already", task.key, component.name, found.version)
                return moved(task, State.CONFIRMED)
            return moved(task, State.WAITING)
        raise ApplierError("nothing", "the release has nothing for this hub")

    async def _waiting(self, task: Task) -> Task:
        await self._permitted(task)
        await self._judge_anew(task)
        return moved(task, State.DOWNLOADING)

    async def _downloading(self, task: Task) -> Task:
        total = sum(file.size for file in (await self._component(task)).files) or 1
        told, reached = task.percent, 0

        def progress(done: int) -> None:
            nonlocal told, reached
            reached = max(reached, done)
            self._desk.check(task)
            percent = min(PERCENT, done * PERCENT // total)
            if percent > told:
                told = percent
                self._desk.further(task, percent)

        since = self._since.setdefault(task.key, time.monotonic())

        async def fetch(now: Task) -> None:
            with self._desk.interrupting(self._fetcher.stop):
                await self._fetcher.fetch(await self._offer(now), await self._component(now), progress, since)

        await self._renewing(task, fetch, lambda: reached)
        self._since.pop(task.key, None)
        return moved(task, State.VERIFIED)

    async def _renewing(
        self, task: Task, work: Callable[[Task], Awaitable[Found]], reached: Callable[[], int] = lambda: 0
    ) -> Found:
        """Do `work`; where an address has expired meanwhile, ask for the job's document at once and go on with that one.

        So often without anything new, and no more: an address that is refused from the start is no presigned one.
        """
        idle, before = 0, reached()
        while True:
            try:
                return await work(self._desk.tasks[task.key])
            except RestError as error:
                idle = 0 if reached() > before else idle + 1
                before, source = reached(), self._desk.sources.get(task.source)
                if error.status not in EXPIRED or idle > RENEWALS or source is None:
                    raise
                if not await source.renewed(self._desk.tasks[task.key]):
                    raise
                log.info("update %s: an address has expired, and goes on with a new one", task.key)

    async def _verified(self, task: Task) -> Task:
        return moved(task, State.WRITING, tries=1)

    async def _writing(self, task: Task) -> Task:
        component = await self._component(task)
        images = await self._fetcher.images(component)
        if images is None:
            return plan.set_back(task, State.DOWNLOADING, "what was fetched is not what was signed")
        try:
            await (await self._entrusted(task, component)).write(component, images, _untold)
        finally:
            for image in images:
                image.file.close()
        return moved(task, State.STAGED)

    async def _staged(self, task: Task) -> Task:
        component = await self._component(task)
        await self._permitted(task)
        await self._judge_anew(task)
        if not await (await self._entrusted(task, component)).check(component):
            return plan.set_back(task, State.WRITING, "what was written does not read back")
        source = self._desk.sources.get(task.source)
        if source is not None:
            await self._ask_once_more(task, source)
        well = [name for name, wrong in (await self._health.look()).items() if not wrong]
        lane = component.kind if isinstance(self._applier(component), FleetApplier) else ""
        return moved(task, State.ACTIVATING, tries=1, lane=lane, facts={**task.facts, "well": "\n".join(well)})

    async def _ask_once_more(self, task: Task, source: Source) -> None:
        try:
            async with asyncio.timeout(STILL_WANTED):
                wanted = await source.still_wanted(task)
        except TimeoutError:
            wanted = True
        if not wanted and self._desk.withdrawn(task) is None:
            self._desk.withdraw(task, State.CANCELED, "canceled", "it was withdrawn")
        self._desk.check(task)

    async def _activating(self, task: Task) -> Task:
        component = await self._component(task)
        effect = await (await self._entrusted(task, component)).activate(component)
        if effect == Effect.PROVED:
            return moved(task, State.CONFIRMED)
        if effect != Effect.DONE:
            await self._await_restart(effect, f"update {task.key} is activated")
        return moved(task, State.TRIAL, tries=1)

    async def _trial(self, task: Task) -> Task:
        component, task = await self._component(task), await self._stable(task)
        names = [name for name in task.facts.get("well", "").split("\n") if name]

        async def progress(spent: float) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITTEN), self._desk.moving:
                    now = self._desk.tasks[task.key]
                    if now.state != State.TRIAL:
                        raise CanceledError
                    if spent - now.trial_spent >= self._health.terms.trial / TRIAL_NOTES:
                        await self._desk.keep(replace(now, trial_spent=spent))

        try:
            wrong = await self._health.trial(names, task.trial_spent, progress)
        except CanceledError:
            return task
        if wrong:
            return await self._unwell(task, wrong)
        await (await self._entrusted(task, component)).confirm(component)
        return moved(task, State.CONFIRMED)

    async def _stable(self, task: Task) -> Task:
        """The task, its trial begun anew where the process before this one has ended in it while the machine ran on: it was not stable.

        After a power cut or a reboot the trial goes on with the time that is left.
        """
        if (task.key, task.component) in self._tried:
            return task
        self._tried.add((task.key, task.component))
        boot = self._clock.now().boot
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN), self._desk.moving:
                now = self._desk.tasks[task.key]
                if now.state != State.TRIAL:
                    return now
                spent = 0.0 if now.facts.get(BOOT) == boot else now.trial_spent
                return await self._desk.keep(replace(now, trial_spent=spent, facts={**now.facts, BOOT: boot}))
        return task

    async def _unwell(self, task: Task, wrong: str) -> Task:
        """To be rolled back; at once where the journal takes nothing, and what is found at the next start is told then."""
        after = moved(task, State.ROLLING_BACK, code="unhealthy", detail=wrong)
        try:
            async with asyncio.timeout(WRITTEN), self._desk.moving:
                now = self._desk.tasks[task.key]
                return await self._desk.keep(after) if now.state == State.TRIAL else now
        except TimeoutError:
            await self.take_back(task, wrong)
        return after

    async def take_back(self, task: Task, wrong: str) -> None:
        """Have what ran before run again, though nothing can be written down of it."""
        log.error("update %s: rolled back, and nothing can be written down of it: %s", task.key, wrong)
        component = await self._component(task)
        effect = await (await self._entrusted(task, component)).roll_back(component)
        if effect not in (Effect.DONE, Effect.STAYS):
            await self._await_restart(effect, f"update {task.key} is rolled back")

    async def _confirmed(self, task: Task) -> Task:
        """The next component, or the end: the floor rises with that move, and not before it."""
        offer, component = await self._offer(task), await self._component(task)
        applier = await self._entrusted(task, component)
        told = task.facts.get(TOLD, "")
        if isinstance(applier, FleetApplier) and (stands := await applier.standing(component)):
            told += f"; {component.name}: {stands}"
        await applier.confirm(component)
        await self._clean(task)
        done = (*task.done, component.name)
        last = all(one.name in done for one in offer.components)
        floor = await self._verifier.confirmed(task.facts["floor"], component.name, last=last)
        self._offers.clear()  # of other tasks too: what was newer than the floor may be so no more
        if last:
            after = plan.ended(replace(task, done=done), State.SUCCEEDED, "", f"{task.release} is installed{told}")
        else:
            kept = {name: task.facts[name] for name in KEPT if name in task.facts} | {TOLD: told}
            after = moved(task, State.CHECKED, done=done, trial_spent=0.0, facts=kept, detail="")
        async with self._desk.moving:
            return await self._desk.keep(after, floor=floor)

    async def _rolling_back(self, task: Task) -> Task:
        component = await self._component(task)
        applier = await self._entrusted(task, component)
        effect = await applier.roll_back(component)
        if effect == Effect.STAYS:
            await self._clean(task)
            stands = await applier.standing(component) if isinstance(applier, FleetApplier) else ""
            text = f"{task.detail}; {stands}" if stands and stands not in task.detail else task.detail
            return plan.ended(task, task.ends_as, task.code or "failed", text)
        if effect != Effect.DONE:
            await self._await_restart(effect, f"update {task.key} is rolled back")
        return moved(task, State.ROLLED_BACK)

    async def _rolled_back(self, task: Task) -> Task:
        await self._clean(task)
        return plan.ended(task, State.FAILED, task.code or "rolled-back", f"{task.detail}; the old version runs")

    # ---- what steps share -------------------------------------------------------------------------------------------

    async def _clean(self, task: Task) -> None:
        """Give back the room of what this task has fetched, and of what nobody wants any more."""
        others = [other for other in self._desk.tasks.values() if other.key != task.key and not other.over]
        await self._fetcher.clean({sha256 for other in others for sha256 in other.facts.get(FILES, "").split()})

    async def _offer(self, task: Task) -> Offer:
        if task.key not in self._offers:
            self._offers[task.key] = await self._verifier.offer(task)
            self._judged[task.key] = self._clock.now().mono
        return self._offers[task.key]

    async def _judge_anew(self, task: Task) -> None:
        """What was judged long ago may have expired since, and its keys may be revoked. Raises as Verifier.offer."""
        if self._clock.now().mono - self._judged.get(task.key, 0.0) > FRESH:
            self.renew(task)
            await self._offer(task)

    async def _component(self, task: Task) -> Component:
        for component in (await self._offer(task)).components:
            if component.name == task.component:
                return component
        raise ApplierError("nothing", f"the release has no component {task.component}")

    def _applier(self, component: Component) -> Applier:
        if component.kind not in self._appliers:
            raise ApplierError("no-applier", f"nothing here installs components of kind {component.kind}")
        return self._appliers[component.kind]

    async def _entrusted(self, task: Task, component: Component) -> Applier:
        """The applier, told what it needs to know where it updates devices."""
        applier = self._applier(component)
        if not isinstance(applier, FleetApplier):
            return applier
        permission = (await self._offer(task)).verified.permission
        further = functools.partial(self._desk.further, task)
        return applier.entrusted(Errand(permission, further, self._desk.pause(task), plan.device_of(task)))

    async def _permitted(self, task: Task) -> None:
        """Raises WaitError outside of the window, and until a person approves it.

        An emergency, which only a signature can say, waits for neither.
        """
        if (await self._offer(task)).release.emergency:
            return
        self._desk.check(task)
        task, now = self._desk.tasks[task.key], self._clock.now()
        wall = now.wall
        if self._policy.window.cron and not task.approved and now.quality != TRUSTED and now.mono < SETTLED:
            raise WaitError(LOOK)  # without a battery it may be any time of the day
        opens = max(self._policy.window.opens(wall, self._policy.hub), task.not_before)
        approved = self._policy.automatic or task.approved
        if not approved or (opens > wall and not task.approved):
            raise WaitError(min(LOOK, max(0.1, opens - wall)) if approved else UNAPPROVED)

    async def _await_restart(self, effect: Effect, reason: str) -> NoReturn:
        """The process ends; nothing goes on here in the meantime."""
        self._restart(effect, reason)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")
