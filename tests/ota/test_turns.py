"""Whose turn it is: emergencies, what was begun, lanes for devices, and when those stand still."""

import pytest

from agent.ota import turns
from agent.ota.plan import FINAL, State, Task

S = State


def task(job: str, state: State = S.WAITING, *, emergency: bool = False, lane: str = "") -> Task:
    return Task(f"main/{job}/1", "main", job, 1, {}, 1.0, state, emergency=emergency, lane=lane)


def queue(*tasks: Task, resting: tuple[str, ...] = ()) -> str:
    found = turns.in_queue(tasks, {f"main/{job}/1" for job in resting})
    return "" if found is None else found.job


def test_tasks_are_done_in_the_order_of_their_arrival() -> None:
    assert queue() == ""
    assert queue(task("0", S.SUCCEEDED), task("1"), task("2", S.CHECKED)) == "1"


def test_what_was_begun_comes_before_what_was_not() -> None:
    for state in (S.DOWNLOADING, S.VERIFIED, S.WRITING, S.STAGED):
        assert queue(task("1"), task("2", state)) == "2"
        assert queue(task("1"), task("2", state), resting=("2",)) == "", "its slot and its files are its own"


def test_what_is_new_is_looked_at_at_once_and_an_emergency_goes_before_what_can_still_wait() -> None:
    urgent = task("3", emergency=True)
    assert queue(task("1", S.DOWNLOADING), task("2", S.RECEIVED), urgent) == "2"
    for state in (S.WAITING, S.DOWNLOADING, S.STAGED):
        assert queue(task("1", state), urgent) == "3"
    for state in (S.ACTIVATING, S.TRIAL, S.CONFIRMED, S.ROLLING_BACK, S.ROLLED_BACK):
        assert queue(task("1", state), urgent) == "1"


@pytest.mark.parametrize("state", [S.RECEIVED, S.CHECKED, S.WAITING])
def test_one_that_waits_and_has_begun_nothing_holds_nobody_up(state: State) -> None:
    assert queue(task("1", state), task("2"), resting=("1",)) == "2"


def test_devices_have_lanes_of_their_own_where_an_emergency_comes_first_and_an_end_before_it() -> None:
    tasks = [task(name, S.ACTIVATING, lane="zigbee", emergency=name == "2") for name in "12"]
    other = task("3", S.ACTIVATING, lane="zwave")
    assert queue(*tasks, other, task("4")) == "4"
    assert turns.lanes([*tasks, other]) == {"zigbee", "zwave"}
    assert turns.in_lane([*tasks, other], "zigbee") == tasks[1]
    assert turns.in_lane(tasks, "zigbee", {tasks[1].key}) == tasks[0]
    ends = task("0", S.ROLLING_BACK, lane="zigbee")
    assert turns.in_lane([*tasks, ends], "zigbee") == ends
    assert turns.in_lane(tasks, "zwave") is None


def test_lanes_stand_still_while_the_hub_itself_changes() -> None:
    campaign = task("1", S.ACTIVATING, lane="zigbee")
    still = {state for state in State if turns.held([campaign, task("2", state)])}
    assert still == {S.ACTIVATING, S.TRIAL, S.ROLLING_BACK}
    assert not still & FINAL
    assert not turns.held([campaign])
