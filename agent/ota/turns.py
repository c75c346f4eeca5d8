"""Whose turn it is. PURE.

Tasks are carried out one after the other, but for the updates of devices: those may take days, and go on in a lane for each kind of
devices beside the others. A lane stands still while the hub itself is changed: its radios are judged then, and the process may end.
What is signed as an emergency comes first, in the queue and in a lane; what was begun comes before what was not.
"""

from collections.abc import Collection, Iterable

from agent.ota.plan import HARMLESS, State, Task

S = State
_NOT_BEGUN = frozenset({S.RECEIVED, S.CHECKED, S.WAITING})  # others may go first while one of these has to wait
_CHANGES = frozenset({S.ACTIVATING, S.TRIAL, S.ROLLING_BACK})


def in_queue(tasks: Iterable[Task], resting: Collection[str] = ()) -> Task | None:
    """The task whose step is next, beside the lanes; None when nobody may go. `resting`: keys of those that wait for a time."""
    for task in sorted((task for task in tasks if not task.over and not task.lane), key=_rank):
        if task.key not in resting:
            return task
        if task.state not in _NOT_BEGUN:
            return None
    return None


def _rank(task: Task) -> int:
    """What a new one is, and whether it is urgent, is found out at once: nothing else is at stake there."""
    if task.state not in HARMLESS:
        return 0
    if task.state == S.RECEIVED:
        return 1
    if task.emergency:
        return 2
    return 4 if task.state in _NOT_BEGUN else 3


def lanes(tasks: Iterable[Task]) -> set[str]:
    """Kinds of devices that are to be updated."""
    return {task.lane for task in tasks if task.lane and not task.over}


def in_lane(tasks: Iterable[Task], lane: str, resting: Collection[str] = ()) -> Task | None:
    """The task that may go over the devices of this kind: one that is to end, then an emergency, then the one that came first."""
    waiting = [task for task in tasks if task.lane == lane and not task.over and task.key not in resting]
    return min(waiting, key=lambda task: (task.state != S.ROLLING_BACK, not task.emergency), default=None)


def changes_the_hub(task: Task) -> bool:
    """Whether devices are left alone meanwhile."""
    return task.state in _CHANGES and not task.lane


def held(tasks: Iterable[Task]) -> bool:
    """Whether all lanes stand still."""
    return any(changes_the_hub(task) for task in tasks)
