import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Availability
from drivers.zigbee.availability import PING_PAUSE, Watch

MAINS, BATTERY = 600.0, 90_000.0


@pytest.fixture
def watch() -> Watch:
    watch = Watch(mains_timeout=MAINS, battery_timeout=BATTERY)
    watch.add("lamp", 0.0, sleepy=False)
    watch.add("sensor", 0.0, sleepy=True)
    return watch


def test_nothing_is_known_before_a_device_is_heard(watch: Watch) -> None:
    assert {entry.state for entry in watch.devices.values()} == {Availability.UNKNOWN}
    assert watch.heard("lamp", 1.0)
    assert not watch.heard("lamp", 2.0)
    assert watch.devices["lamp"].state is Availability.ONLINE


def test_a_silent_mains_device_is_asked_once_then_again_then_offline(watch: Watch) -> None:
    watch.heard("lamp", 0.0)
    assert watch.due(MAINS - 1).ping == []
    assert watch.due(MAINS).ping == ["lamp"]
    assert watch.due(MAINS + 1).ping == []
    assert not watch.unanswered("lamp", MAINS + 5)
    assert watch.due(MAINS + 5 + PING_PAUSE - 1).ping == []
    assert watch.due(MAINS + 5 + PING_PAUSE).ping == ["lamp"]
    assert watch.unanswered("lamp", MAINS + 25)
    assert watch.devices["lamp"].state is Availability.OFFLINE


def test_an_offline_mains_device_is_still_asked_now_and_then(watch: Watch) -> None:
    watch.unanswered("lamp", 10.0)
    assert watch.unanswered("lamp", 20.0)
    assert not watch.unanswered("lamp", 30.0)
    assert watch.due(30.0 + MAINS - 1).ping == []
    assert watch.due(30.0 + MAINS).ping == ["lamp"]


def test_one_answer_between_two_lost_pings_keeps_it_online(watch: Watch) -> None:
    watch.heard("lamp", 0.0)
    assert not watch.unanswered("lamp", 700.0)
    watch.heard("lamp", 701.0)
    assert not watch.unanswered("lamp", 1400.0)
    assert watch.devices["lamp"].state is Availability.ONLINE


def test_a_battery_device_is_never_asked_and_offline_after_a_day(watch: Watch) -> None:
    watch.forget("lamp")
    watch.heard("sensor", 100.0)
    assert watch.next_deadline() == 100.0 + BATTERY
    assert watch.due(100.0 + BATTERY - 1).offline == []
    due = watch.due(100.0 + BATTERY)
    assert (due.offline, due.ping) == (["sensor"], [])
    assert watch.due(200_000.0).offline == []
    assert watch.next_deadline() is None
    assert watch.heard("sensor", 200_001.0)


def test_unknown_devices_are_ignored(watch: Watch) -> None:
    assert not watch.heard("stranger", 1.0)
    assert not watch.unanswered("stranger", 1.0)
    watch.forget("stranger")


@given(st.lists(st.tuples(st.sampled_from(["heard", "unanswered", "due"]), st.floats(0.1, 2000)), max_size=60))
def test_deadlines_are_never_passed_over(steps: list[tuple[str, float]]) -> None:
    """Whatever happens, `due` has nothing to say before `next_deadline`, and something at it."""
    watch = Watch(mains_timeout=MAINS, battery_timeout=BATTERY)
    watch.add("lamp", 0.0, sleepy=False)
    watch.add("sensor", 0.0, sleepy=True)
    now = 0.0
    for step, pause in steps:
        now += pause
        if step == "due":
            deadline = watch.next_deadline()
            due = watch.due(now)
            assert deadline is not None
            assert bool(due.ping or due.offline) == (now >= deadline)
        else:
            getattr(watch, step)("lamp", now)
