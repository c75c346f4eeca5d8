"""Freshness of notifications, reachability and the schedule: plain calls with times."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Availability
from drivers.coap.availability import LONGEST_PAUSE, STALE, Reachability, Schedule, fresher, renewal


def test_the_order_of_rfc_7641() -> None:
    assert fresher(1, 0, 2, 0)
    assert not fresher(2, 0, 1, 0)
    assert not fresher(2, 0, 2, 0)
    assert fresher(2**24 - 1, 0, 0, 0)  # it goes round
    assert not fresher(0, 0, 2**24 - 1, 0)
    assert fresher(2, 0, 1, STALE + 1)  # after so long the numbers mean nothing
    assert not fresher(2, 0, 1, STALE + 1, counted=True)  # but OSCORE's do


@given(st.integers(0, 2**24 - 1), st.integers(1, 2**23 - 1))
def test_of_two_numbers_exactly_one_is_newer(number: int, step: int) -> None:
    later = (number + step) % 2**24
    assert fresher(number, 0, later, 1)
    assert not fresher(later, 0, number, 1)


def test_two_misses_make_it_offline_and_pauses_grow() -> None:
    reach = Reachability()
    assert reach.heard()
    assert not reach.heard()
    assert not reach.unanswered()
    assert reach.unanswered()
    assert not reach.unanswered()
    assert reach.state is Availability.OFFLINE
    pauses = []
    for _ in range(12):
        pauses.append(reach.pause(lambda _, most: most))
        reach.unanswered()
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert reach.heard()


def test_the_schedule() -> None:
    schedule = Schedule()
    schedule.set("/a", 1.0)
    schedule.set("/b", 2.0)
    schedule.set("/a", 3.0)
    assert schedule.next() == 2.0
    assert schedule.due(1.5) is None
    assert schedule.due(5.0) == "/b"
    assert schedule.due(5.0) == "/a"
    assert schedule.next() is None
    schedule.set("/a", 9.0)
    schedule.all_at(4.0)
    assert schedule.due(4.0) == "/a"
    assert renewal(10.0, 60.0, 600.0, lambda least, _: least) == 72.0
    assert renewal(10.0, 1e9, 600.0, lambda least, _: least) == 612.0
