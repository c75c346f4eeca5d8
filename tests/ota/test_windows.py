"""When an update may be installed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ota.windows import Window

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def test_without_a_line_it_is_always_open() -> None:
    assert Window().opens(NOON, "hub-1") == NOON


@pytest.mark.parametrize(
    ("line", "zone", "opens"),
    [
        ("0 2 * * *", "UTC", datetime(2026, 12, 2, 2, tzinfo=UTC)),
        ("0 2 * * *", "Europe/Berlin", datetime(2026, 12, 2, 1, tzinfo=UTC)),
        ("0 2 * * *", "America/New_York", datetime(2026, 12, 2, 7, tzinfo=UTC)),
        ("30 11 * * *", "UTC", datetime(2026, 12, 1, 12, tzinfo=UTC)),  # it is open
        ("0 2 * * SUN", "UTC", datetime(2026, 12, 6, 2, tzinfo=UTC)),
    ],
)
def test_it_opens_by_its_line_and_zone(line: str, zone: str, opens: datetime) -> None:
    assert Window(line, HOUR, zone).opens(NOON, "hub-1") == opens.timestamp()


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)], ids=["an hour is left out", "an hour comes twice"])
def test_a_change_of_the_clock_costs_no_night(month: int, day: int) -> None:
    before = datetime(2026, month, day, 0, tzinfo=UTC).timestamp() - 12 * HOUR
    opens = Window("30 2 * * *", HOUR, "Europe/Berlin").opens(before, "hub-1")
    assert 0 < opens - before < 26 * HOUR


@given(st.integers(0, 10**9), st.text(min_size=1, max_size=20), st.floats(0, 7200))
def test_hubs_begin_each_at_their_own_time_within_the_window(seconds: int, hub: str, jitter: float) -> None:
    window = Window("0 3 * * *", 2 * HOUR, "UTC", jitter)
    wall = NOON + seconds
    opens = window.opens(wall, hub)
    assert opens >= wall
    assert 0 <= window.late(hub) <= min(jitter, HOUR)
    assert window.opens(opens, hub) == opens  # once it is there, it is open
    of_day = (opens % 86400) / HOUR
    assert 3 <= of_day <= 5 or opens == wall


def test_a_fleet_is_spread() -> None:
    window = Window("0 3 * * *", 4 * HOUR, "UTC", HOUR)
    late = sorted(window.late(f"hub-{number}") for number in range(1000))
    assert late[0] < HOUR / 20
    assert late[-1] > HOUR * 19 / 20
    assert abs(late[500] - HOUR / 2) < HOUR / 10
