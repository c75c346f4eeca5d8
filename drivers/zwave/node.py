"""One node while the driver runs: whether it is there, whether it is awake, and what waits for it. Time is an argument."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field

from agent.driver import DriverError
from agent.model import Availability
from drivers.zwave.catalog import Poll, ZWaveGet, supersedes
from drivers.zwave.figures import LinkFigures
from drivers.zwave.nodes import NodeRecord

# Transmissions in a row that were not acknowledged, on a stick that is not jammed, until a node is offline.
FAILURES = 2
SILENCES = 3  # wake-up intervals without a sign of a sleeping node until it is offline
DEFAULT_INTERVAL = 86_400  # seconds; for sleeping nodes that did not tell theirs
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 900.0  # seconds between two looks at a node that is away: each costs the air seconds
WAITING = 64  # jobs that may wait for one node


class Superseded(DriverError):  # noqa: N818
    """A later job of the same kind took this one's place before it was done."""

    code = 409


class Expired(DriverError):  # noqa: N818
    """The node did not wake up in time."""

    code = 408


class MailboxFull(DriverError):  # noqa: N818
    """Too much waits for this node already."""

    code = 503


@dataclass(slots=True)
class Job:
    """Something to do once the node is awake."""

    work: Callable[[], Awaitable[None]]
    deadline: float
    done: asyncio.Future[None]


@dataclass(slots=True)
class Mailbox:
    """What waits for a sleeping node, in order. A job with the key of one that still waits takes its place: only the last one counts."""

    _jobs: dict[Hashable, Job] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, key: Hashable, work: Callable[[], Awaitable[None]], deadline: float) -> asyncio.Future[None]:
        """The future ends with the job, Superseded, Expired or MailboxFull. Its exception is retrieved here: nobody need wait."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        old = self._jobs.pop(key, None)
        if old is not None and not old.done.done():
            old.done.set_exception(Superseded("a later one took its place"))
        if len(self._jobs) >= WAITING:
            done.set_exception(MailboxFull("too much waits for this device"))
            return done
        self._jobs[key] = Job(work, deadline, done)
        return done

    def take(self, now: float) -> Job | None:
        """The oldest job whose time is not over; it is no longer in here."""
        self.expire(now)
        for key in list(self._jobs):
            job = self._jobs.pop(key)
            if not job.done.done():
                return job
        return None

    def expire(self, now: float) -> None:
        """End what waited too long."""
        for key, job in list(self._jobs.items()):
            if job.deadline <= now or job.done.done():
                del self._jobs[key]
                if not job.done.done():
                    job.done.set_exception(Expired("the device did not wake up in time"))

    def clear(self, error: DriverError) -> None:
        """The node is gone."""
        for job in self._jobs.values():
            if not job.done.done():
                job.done.set_exception(error)
        self._jobs.clear()


@dataclass(slots=True)
class Polls:
    """When what a node does not report by itself was asked for; at first sight it is fresh from its interview or its refresh."""

    _asked: dict[Hashable, float] = field(default_factory=dict)

    def due(self, polls: Iterable[Poll], now: float) -> list[ZWaveGet]:
        """What is to be asked for now, and counts as asked with it."""
        found = []
        for poll in polls:
            key = supersedes(poll.get)
            if now - self._asked.setdefault(key, now) >= poll.every:
                self._asked[key] = now
                found.append(poll.get)
        return found


@dataclass(slots=True)
class Node:
    """The live half of a NodeRecord. Methods that say whether something changed return True where the hub must be told."""

    record: NodeRecord
    state: Availability = Availability.UNKNOWN
    heard_at: float = 0.0
    awake_until: float = 0.0  # of a sleeping node
    sent_at: float = 0.0  # when the last transmission to it began
    failures: int = 0
    mailbox: Mailbox = field(default_factory=Mailbox)
    polls: Polls = field(default_factory=Polls)
    busy: int = 0  # what is just done with it
    look_at: float = 0.0  # when a node that is away is looked for again
    pause: float = FIRST_PAUSE
    link: LinkFigures = field(default_factory=LinkFigures)

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def ready(self) -> bool:
        """Its interview is complete enough to use it."""
        return "abilities" in self.record.done

    def awake(self, now: float) -> bool:
        """It would hear a frame now."""
        return not self.record.sleepy or now < self.awake_until

    def heard(self, now: float) -> bool:
        """A frame or an acknowledgement of it came."""
        self.heard_at, self.failures, self.pause = now, 0, FIRST_PAUSE
        return self._become(Availability.ONLINE)

    def unacknowledged(self, *, jammed: bool) -> bool:
        """A transmission to it failed. A jammed stick proves nothing, and a sleeping node need not hear."""
        if jammed or self.record.sleepy:
            if self.heard_at <= self.sent_at:  # else it woke up while it was tried
                self.awake_until = 0.0
            return False
        self.failures += 1
        return self.failures >= FAILURES and self._become(Availability.OFFLINE)

    def look(self, now: float) -> bool:
        """It is time to look for a node that is away; the next time is later, and later each time."""
        if now < self.look_at:
            return False
        self.look_at = now + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        return True

    def silent(self, now: float) -> bool:
        """A sleeping node whose signs of life are overdue is offline."""
        if not self.record.sleepy or self.state is Availability.OFFLINE or now < self.overdue:
            return False
        return self._become(Availability.OFFLINE)

    @property
    def overdue(self) -> float:
        """When `silent` will have something to say."""
        return self.heard_at + SILENCES * (self.record.wake_up_interval or DEFAULT_INTERVAL)

    def _become(self, state: Availability) -> bool:
        changed = state is not self.state
        self.state = state
        return changed
