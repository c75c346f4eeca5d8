"""The life of commands. PURE: a command comes in, waits, starts, and ends in exactly one Outcome.

    request -> refused (retained, expired, unknown, invalid, too many)            -> Outcome
            -> waiting (radio away, device asleep, an earlier command runs)       -> started | expired
            -> started (on disk before the radio hears of it)                     -> Outcome

- The trace id is the idempotency key: a second request with it does nothing, also after a restart.
- A command found `started` after a crash may have been carried out: it ends as interrupted and is never run again. One found
  `waiting` never reached the device: it goes on within its deadline.
- Commands of one device run in the order of their arrival, one at a time.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from agent.capabilities import READ_STATE
from agent.clock import TRUSTED, Moment
from agent.model import Command, DeviceId, Outcome
from agent.requests import (
    LOCAL,
    CommandRequest,
    Effect,
    Execute,
    ExecuteTogether,
    FinishCommand,
    Kind,
    Progress,
    Publish,
    SaveCommand,
)

WAITING, STARTED = "waiting", "started"

MAX_OPEN = 1000  # open commands; a cloud that sends more is flooding, and each one holds memory until its deadline
MAX_REMEMBERED = 10_000  # finished trace ids kept against redelivery: days of a busy home, about 1 MB


@dataclass(slots=True)
class _Open:
    request: CommandRequest
    command: Command
    received: Moment
    started: bool = False
    heard: bool = False  # the device was heard since it started


class CommandBook:
    """Every open command, and the trace ids of those that ended."""

    def __init__(self, *, default_ttl: float) -> None:
        self._default_ttl = default_ttl
        self._open: dict[str, _Open] = {}
        self._queues: dict[DeviceId, deque[str]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.duplicates = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._open)

    def remember(self, ended: Iterable[str]) -> None:
        """Trace ids that ended in an earlier run, oldest first."""
        for trace_id in ended:
            self._remember(trace_id)

    def restore(self, saved: SaveCommand, now: Moment) -> list[Effect]:
        """Take up a command of an earlier run: waiting ones go on, started ones end as interrupted."""
        request = CommandRequest(saved.trace_id, saved.ref, saved.actions, saved.source)
        deadline = now.mono + min(saved.deadline - now.wall, self._default_ttl)
        command = Command(saved.trace_id, saved.device, saved.actions, deadline)
        received = Moment(saved.received_at, 0.0, "", now.quality)
        self._open[saved.trace_id] = _Open(request, command, received)
        self._queues.setdefault(saved.device, deque()).append(saved.trace_id)
        if saved.status == STARTED:
            text = "the hub restarted while the command ran; whether the device carried it out is not known"
            return self._end(saved.trace_id, Outcome(saved.trace_id, (), text, 500), now)
        if deadline <= now.mono:
            return self._expire(saved.trace_id, now)
        return []

    def known(self, trace_id: str) -> bool:
        return trace_id in self._open or trace_id in self._ended

    def refuse(self, request: CommandRequest, code: int, reason: str, now: Moment) -> list[Effect]:
        """End a command that was never taken on. Its trace id is remembered, so that a redelivery is not answered twice."""
        self.refused += 1
        outcome = Outcome(request.trace_id, (), reason, code)
        return [*self._tell(request, outcome, now, now), *self._remembered(request.trace_id, now, succeeded=False)]

    def request(self, request: CommandRequest, device: DeviceId, now: Moment, *, ready: bool) -> list[Effect]:
        """Take a valid command on; `ready` when its radio is up. The caller has checked `known` before."""
        refusal = self._refusal(request, now)
        if refusal:
            return self.refuse(request, *refusal, now)
        ttl = self._default_ttl
        if request.expires_at is not None:
            left = request.expires_at - now.wall
            # A clock that was never set lags, and would give a command years: then our own time to live holds.
            ttl = left if now.quality == TRUSTED else min(left, ttl)
        command = Command(request.trace_id, device, request.actions, now.mono + ttl)
        self._open[request.trace_id] = _Open(request, command, now)
        queue = self._queues.setdefault(device, deque())
        queue.append(request.trace_id)
        if ready and len(queue) == 1:
            return self._start(request.trace_id, now)
        return [self._saved(request.trace_id, WAITING, now)]

    def waits(self, device: DeviceId) -> bool:
        """Whether a command for this device is open."""
        return device in self._queues

    def parked(self, trace_id: str, now: Moment) -> list[Effect]:
        """The driver could not reach the device at all: the command waits again, first in its queue."""
        entry = self._open.get(trace_id)
        if entry is None:
            return []
        entry.started = False
        if entry.heard:  # it woke up while the attempt was under way, and may be asleep again before it is heard anew
            return self._start(trace_id, now)
        return [self._saved(trace_id, WAITING, now)]

    def ready(self, device: DeviceId, now: Moment) -> list[Effect]:
        """The device was heard, or its radio came up: its first waiting command starts."""
        queue = self._queues.get(device)
        if not queue:
            return []
        first = self._open[queue[0]]
        if first.started:
            first.heard = True
            return []
        return self._start(queue[0], now)

    def ended(self, outcome: Outcome, now: Moment) -> list[Effect]:
        """The driver's word on a command; the next one of that device follows."""
        entry = self._open.get(outcome.trace_id)
        if entry is None:
            return []
        return [*self._end(outcome.trace_id, outcome, now), *self.ready(entry.command.device, now)]

    def gone(self, device: DeviceId, reason: str, now: Moment) -> list[Effect]:
        """The device left: what still waited for it ends."""
        effects: list[Effect] = []
        for trace_id in list(self._queues.get(device, ())):
            if not self._open[trace_id].started:
                effects += self._end(trace_id, Outcome(trace_id, (), reason, 410), now)
        return effects

    def tick(self, now: Moment) -> list[Effect]:
        """End what waited past its deadline. A running command is ended by its driver, which has the same deadline."""
        effects: list[Effect] = []
        for trace_id in [t for t, e in self._open.items() if not e.started and e.command.deadline <= now.mono]:
            effects += self._expire(trace_id, now)
        return effects

    def next_deadline(self) -> float | None:
        """Monotonic seconds of the next deadline of a waiting command."""
        return min((e.command.deadline for e in self._open.values() if not e.started), default=None)

    def _refusal(self, request: CommandRequest, now: Moment) -> tuple[int, str] | None:
        if request.expires_at is not None and request.expires_at <= now.wall:
            return 408, "the command had expired before it arrived"
        if len(self._open) >= MAX_OPEN:
            return 429, f"{MAX_OPEN} commands are open already"
        return None

    def _start(self, trace_id: str, now: Moment) -> list[Effect]:
        entry = self._open[trace_id]
        entry.started, entry.heard = True, False
        return [self._saved(trace_id, STARTED, now), Execute(entry.command)]

    def _expire(self, trace_id: str, now: Moment) -> list[Effect]:
        text = "the device could not be reached within the command's deadline"
        return self._end(trace_id, Outcome(trace_id, (), text, 408), now)

    def _end(self, trace_id: str, outcome: Outcome, now: Moment) -> list[Effect]:
        entry = self._open.pop(trace_id)
        queue = self._queues[entry.command.device]
        queue.remove(trace_id)
        if not queue:
            del self._queues[entry.command.device]
        told = self._tell(entry.request, outcome, entry.received, now)
        return [*told, *self._remembered(trace_id, now, succeeded=outcome.succeeded)]

    def _remembered(self, trace_id: str, now: Moment, *, succeeded: bool) -> list[Effect]:
        self._remember(trace_id)
        return [FinishCommand(trace_id, now.wall, succeeded)]

    def _remember(self, trace_id: str) -> None:
        self._ended[trace_id] = None
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)

    def _saved(self, trace_id: str, status: str, now: Moment) -> SaveCommand:
        entry = self._open[trace_id]
        return SaveCommand(
            trace_id,
            entry.command.device,
            entry.request.device,
            entry.command.actions,
            status,
            entry.request.source,
            entry.received.wall,
            now.wall + entry.command.deadline - now.mono,
        )

    def _tell(self, request: CommandRequest, outcome: Outcome, received: Moment, now: Moment) -> list[Effect]:
        body = outcome_body(request, outcome, received, now)
        progress = Progress("outcome", {"traceId": request.trace_id, **body})
        if request.source == LOCAL:
            return [progress]
        return [Publish(Kind.OUTCOME, request.device, body, request.trace_id, request.source), progress]


def together(effects: list[Effect]) -> list[Effect]:
    """The effects of a group: commands that start now on the same radio start as one. What reads is asked of each device."""
    starting: dict[str, list[Command]] = {}
    for effect in effects:
        if isinstance(effect, Execute) and _tells(effect.command):
            starting.setdefault(effect.command.device.radio, []).append(effect.command)
    groups = [tuple(commands) for commands in starting.values() if len(commands) > 1]
    joined = {command.trace_id for group in groups for command in group}
    alone = [one for one in effects if not (isinstance(one, Execute) and one.command.trace_id in joined)]
    return [*alone, *(ExecuteTogether(group) for group in groups)]


def _tells(command: Command) -> bool:
    return len(command.actions) == 1 and command.actions[0].name != READ_STATE


def outcome_body(request: CommandRequest, outcome: Outcome, received: Moment, now: Moment) -> dict[str, object]:
    """The neutral body of an Outcome: times in wall seconds, one entry for each action that was asked for."""
    results = [
        {
            "endpoint": result.action.endpoint,
            "capability": result.action.capability,
            "action": result.action.name,
            "code": result.code,
            "error": result.error,
            "values": dict(result.values),
        }
        for result in outcome.results
    ]
    return {
        "succeeded": outcome.succeeded,
        "code": outcome.code,
        "error": outcome.error,
        "device": request.device,
        "received": received.wall,
        "ended": now.wall,
        "results": results,
    }
