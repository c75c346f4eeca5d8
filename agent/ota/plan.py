"""The life of an update: its states, which may follow which, and what a sudden restart means in each. PURE.

    RECEIVED -> CHECKED -> WAITING -> DOWNLOADING -> VERIFIED -> WRITING -> STAGED -> ACTIVATING -> TRIAL -> CONFIRMED -> SUCCEEDED
    ACTIVATING, TRIAL -> ROLLING_BACK -> ROLLED_BACK -> FAILED
    anything before ACTIVATING -> CANCELED, REJECTED, TIMED_OUT, FAILED
    an activation that goes from device to device -> ROLLING_BACK -> CANCELED, TIMED_OUT

A release may have several components; each goes from WAITING (or CHECKED) to CONFIRMED in turn, and the task ends with the last one.
Every move is one row of the journal with its event. A final state is kept with `told` false until the one who asked has heard it: that row
is the outbox of the final status, in the same transaction as the move, so that a status can neither be lost nor invented.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a task stands."""

    RECEIVED = "RECEIVED"
    CHECKED = "CHECKED"
    WAITING = "WAITING"
    DOWNLOADING = "DOWNLOADING"
    VERIFIED = "VERIFIED"
    WRITING = "WRITING"
    STAGED = "STAGED"
    ACTIVATING = "ACTIVATING"
    TRIAL = "TRIAL"
    CONFIRMED = "CONFIRMED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"


class Runs(StrEnum):
    """What an applier finds when it is asked for facts about a component."""

    OLD = "old"  # what ran before runs, and the next start will be of it too
    SELECTED = "selected"  # what ran before runs, and the next start will be of the new version
    ON_TRIAL = "on trial"  # the new version runs and falls back by itself unless it is confirmed
    FELL_BACK = "fell back"  # the new version was on trial; what ran before runs again
    CONFIRMED = "confirmed"  # the new version runs for good
    UNDER_WAY = "under way"  # device after device gets the new version, and the activation goes on where it was


S = State
FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.REJECTED, S.CANCELED, S.TIMED_OUT})
HARMLESS = frozenset({S.RECEIVED, S.CHECKED, S.WAITING, S.DOWNLOADING, S.VERIFIED, S.WRITING, S.STAGED})
_ENDS = frozenset({S.FAILED, S.REJECTED, S.CANCELED, S.TIMED_OUT})

MOVES: Mapping[State, frozenset[State]] = {
    S.RECEIVED: _ENDS | {S.CHECKED},
    S.CHECKED: _ENDS | {S.WAITING, S.CONFIRMED},  # confirmed: it runs already
    S.WAITING: _ENDS | {S.DOWNLOADING},
    S.DOWNLOADING: _ENDS | {S.VERIFIED},
    S.VERIFIED: _ENDS | {S.WRITING},
    S.WRITING: _ENDS | {S.DOWNLOADING, S.STAGED},  # damaged since it was verified: it is fetched again
    S.STAGED: _ENDS | {S.WRITING, S.ACTIVATING},  # the slot was damaged since it was written
    S.ACTIVATING: frozenset({S.STAGED, S.TRIAL, S.CONFIRMED, S.ROLLING_BACK, S.ROLLED_BACK}),
    S.TRIAL: frozenset({S.CONFIRMED, S.ROLLING_BACK, S.ROLLED_BACK}),
    S.CONFIRMED: frozenset({S.CHECKED, S.SUCCEEDED}),  # the next component, or the end
    S.ROLLING_BACK: frozenset({S.ROLLED_BACK, S.FAILED, S.CANCELED, S.TIMED_OUT}),
    S.ROLLED_BACK: frozenset({S.FAILED}),
    **{state: frozenset() for state in FINAL},
}

MANIFEST, PERMISSION = "manifest", "permission"  # the facts of a task that hold what was verified
FILES = "files"  # the hashes of what it fetches
BOOT = "boot"  # of the machine, in which its trial is
TOLD = "told"  # how many devices got what was for them, for people
WITHDRAWN = "withdrawn"  # the end to which somebody has it come: state, word and sentence, in lines

# How often a state may be begun without progress before the task ends. With the pauses between them a release may be away for some 18 hours.
TRIES: Mapping[State, int] = {
    S.RECEIVED: 100,
    S.DOWNLOADING: 20,
    S.WRITING: 3,
    S.ACTIVATING: 3,
    S.TRIAL: 3,
    S.ROLLING_BACK: 5,
}


SETBACKS = 3


class ForbiddenMoveError(Exception):
    """A bug: nothing that comes from outside leads here."""


@dataclass(frozen=True, slots=True)
class Task:
    """One update as it stands in the journal. `key` is source/job/execution; times are seconds since 1970, spans are seconds."""

    key: str
    source: str
    job: str
    execution: int
    document: Mapping[str, Any]  # what was asked for, as it came
    received: float
    state: State = S.RECEIVED
    release: str = ""
    component: str = ""  # the one that is under way
    done: tuple[str, ...] = ()  # the components that are confirmed
    was: str = ""  # what ran before, for people
    tries: int = 0  # of this state, without progress
    setbacks: int = 0  # times that something had to be done again since it was damaged meanwhile
    percent: int = 0  # of the download or the transfer
    trial_spent: float = 0.0
    code: str = ""  # why it ended as it did: one word
    detail: str = ""  # the same for people
    not_before: float = 0.0
    approved: bool = False
    told: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)  # what an applier wants to find again
    emergency: bool = False  # as the signed part says
    lane: str = ""  # kind of the devices that its activation goes over, beside other tasks
    ends_as: State = S.FAILED  # once what was begun is taken back or left

    @property
    def over(self) -> bool:
        return self.state in FINAL


def key_of(source: str, job: str, execution: int) -> str:
    """The identity of a task: a job that is delivered again has the same, one that the cloud tries again has another."""
    return f"{source}/{job}/{execution}"


def device_of(task: Task) -> str:
    """A name of the one device that a task is for, "" for all that its images are for."""
    return str(task.document.get("device") or "")


def moved(task: Task, to: State, **changes: Any) -> Task:
    """The task in its next state. Raises ForbiddenMoveError for a move that the table has not."""
    if to not in MOVES[task.state]:
        raise ForbiddenMoveError(f"{task.key}: {task.state} -> {to}")
    lane = task.lane if to == S.ROLLING_BACK else ""
    detail = task.detail if task.state == S.ROLLING_BACK else ""  # of trouble that is over, anywhere else
    tries = 1 if to == S.ROLLING_BACK else 0
    return replace(task, state=to, **{"tries": tries, "percent": 0, "lane": lane, "detail": detail, **changes})


def ended(task: Task, to: State, code: str, detail: str) -> Task:
    """The task in a final state, with the reason, and with what of the release stays installed all the same."""
    if task.done and to != S.SUCCEEDED:
        detail = f"{detail}; installed before that: {', '.join(task.done)}"
    return moved(task, to, code=code, detail=detail, told=False)


def refused(task: Task, code: str, detail: str) -> Task:
    """What a refusal before the download means: nothing of it is done, unless an earlier component is installed already."""
    return ended(task, S.FAILED if task.done else S.REJECTED, code, detail)


def failed(task: Task, code: str, detail: str) -> Task:
    """What a failure means where the task stands: past activation it is rolled back first."""
    if task.state in HARMLESS:
        return ended(task, S.FAILED, code, detail)
    return moved(task, S.ROLLING_BACK, code=code, detail=detail)


def set_back(task: Task, to: State, detail: str) -> Task:
    """To an earlier state, as what was done since is damaged; so often and no more."""
    if task.setbacks >= SETBACKS:
        return failed(task, "damaged", f"{detail}, {SETBACKS + 1} times")
    return moved(task, to, setbacks=task.setbacks + 1, detail=detail)


def canceled(task: Task, code: str, detail: str, to: State = S.CANCELED) -> Task | None:
    """The task after a cancellation, or None past the point where one can be honoured.

    Devices that were updated stay so; that nobody else is tried is written down at once, and told once the last one is through.
    """
    if task.state in HARMLESS:
        return ended(task, to, code, detail)
    if task.state == S.ACTIVATING and task.lane:
        return moved(task, S.ROLLING_BACK, code=code, detail=detail, ends_as=to)
    return None


def tried(task: Task) -> Task:
    """One more try of the state that it is in, or the end of it when there were too many."""
    limit = TRIES.get(task.state)
    if limit is None or task.tries < limit:
        return replace(task, tries=task.tries + 1)
    if task.state == S.ROLLING_BACK:
        text = f"the old version does not come back after {limit} tries; what runs now stays ({task.detail})"
        return ended(task, S.FAILED, "degraded", text)
    last = f"; the last: {task.detail}" if task.detail else ""
    return failed(task, "tries", f"{task.state.lower()} failed {limit} times{last}")


def at_start(task: Task, runs: Runs) -> Task:
    """What a sudden restart means; `runs` is the fact that the applier finds, not what the journal believes.

    The states before VERIFIED go on as they stand: the engine looks again at window, cancellation, file and slot in each of them.
    """
    match task.state:
        case S.DOWNLOADING | S.WRITING | S.ROLLING_BACK:
            return tried(task)
        case S.ACTIVATING:
            return _activating(task, runs)
        case S.TRIAL:
            return _trial(task, runs)
        case _:
            return task


def _activating(task: Task, runs: Runs) -> Task:
    match runs:
        case Runs.ON_TRIAL:
            return moved(task, S.TRIAL, tries=1)
        case Runs.CONFIRMED:
            return moved(task, S.CONFIRMED)
        case Runs.FELL_BACK:
            return moved(task, S.ROLLED_BACK, code="fell-back", detail="the new version did not start")
        case Runs.OLD | Runs.SELECTED:
            again = tried(task)
            return moved(again, S.STAGED, tries=again.tries) if again.state == S.ACTIVATING else again
        case Runs.UNDER_WAY:
            return task  # it takes days, so that a restart in it is no failure


def _trial(task: Task, runs: Runs) -> Task:
    match runs:
        case Runs.ON_TRIAL:
            return tried(task)
        case Runs.CONFIRMED:
            return moved(task, S.CONFIRMED)
        case _:
            text = task.detail or "the new version did not stay up, and the old one runs again"
            # Selected: the launcher could not write down that it fell back, and would start the new version again.
            after = S.ROLLING_BACK if runs == Runs.SELECTED else S.ROLLED_BACK
            return moved(task, after, code=task.code or "fell-back", detail=text)
