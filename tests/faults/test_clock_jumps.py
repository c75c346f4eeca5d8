"""The clock jumps in each state of an update, alone or with a restart, as where it has no battery: nothing is lost, and nothing let in.

`make test` has every seventeenth of them, `make faults` all. A clock that is believed and far ahead may keep an update away.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ota_machine import KEY, Machine, update
from ota_rig import DAY, NOW, at
from power_cut import PowerCut
from slots_rig import tree

from agent.clock import ESTIMATED, TRUSTED, Moment
from agent.ota.journal import Journal
from agent.ota.plan import FINAL, HARMLESS, State, Task

pytestmark = pytest.mark.faults

WAY = [state for state in State if state not in FINAL and state not in {State.ROLLING_BACK, State.ROLLED_BACK}]
JUMPS = {
    "1970": 0.0,
    "2020": datetime(2020, 1, 1, tzinfo=UTC).timestamp(),
    "2038": 2.0**31 + 5,
    "-400 days": NOW - 400 * DAY,
    "+10 years": NOW + 3652 * DAY,
}
ALL = list(product(WAY, JUMPS, (TRUSTED, ESTIMATED), (False, True)))
CASES = ALL if os.environ.get("HUB_AGENT_FAULT_CYCLES") else ALL[::17]  # prime to the numbers of all of them


class Jumping:
    """A clock that stands at the rig's time until it jumps."""

    def __init__(self) -> None:
        self.moment = at()

    def now(self) -> Moment:
        return self.moment


def jumping(state: State, clock: Jumping, to: Moment, *, restart: bool) -> Any:
    """`Journal.put`, after which the clock jumps, once; with `restart` the process ends there."""
    really = Journal.put

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        kept = await really(journal, task, floor=floor)
        if task.state == state and clock.moment != to:
            clock.moment = to
            if restart:
                raise PowerCut
        return kept

    return put


def expected(state: State, wall: float, quality: str, *, restart: bool) -> set[State]:
    """A release is judged when it is taken on, and again after a restart before it was selected."""
    judged = state == State.RECEIVED or (restart and state in {*HARMLESS, State.ACTIVATING})
    return {State.REJECTED, State.FAILED} if judged and quality == TRUSTED and wall > NOW else {State.SUCCEEDED}


@pytest.mark.parametrize(("state", "jump", "quality", "restart"), CASES)
async def test_a_jump_of_the_clock(
    state: State,
    jump: str,
    quality: str,
    restart: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, machine, to = Jumping(), Machine(tmp_path), at(JUMPS[jump], quality)
    machine.clock = clock
    monkeypatch.setattr(Journal, "put", jumping(state, clock, to, restart=restart))
    document = machine.offer_files(**update(("agent.tar.gz", tree("2.0"))))
    with suppress(PowerCut, BaseExceptionGroup):
        await machine.to_the_end(document)
    task = await machine.to_the_end(document)
    assert clock.moment == to
    assert task.state in expected(state, to.wall, quality, restart=restart), task
    assert machine.board.start() == ("2.0 B" if task.state == State.SUCCEEDED else "1.0 A")
    ends: list[str] = []

    async def look(_engine: object) -> None:
        assert machine.journal is not None
        ends.extend(after for _, _, after, _ in await machine.journal.events(KEY) if after in FINAL)

    await machine.life(look)
    assert ends == [task.state]


def test_every_state_and_every_jump_is_tried() -> None:
    assert {state for state, *_ in CASES} == set(WAY)
    assert {jump for _, jump, *_ in CASES} == set(JUMPS)
    print(
        f"jumps of the clock: {len(CASES)} of {len(WAY)} states x {len(JUMPS)} x trusted or not x with a restart or not"
    )
