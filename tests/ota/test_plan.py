"""The states of an update: the table of moves, and what a sudden restart means in each, row by row (design: OTA, states)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ota import plan
from agent.ota.plan import FINAL, HARMLESS, MOVES, TRIES, ForbiddenMoveError, Runs, State, Task, at_start, moved

S = State


def task(state: State, **changes: object) -> Task:
    return Task("main/job-1/1", "main", "job-1", 1, {}, 1.0, state, **changes)  # type: ignore[arg-type]


def test_every_state_is_in_the_table_and_only_ends_lead_nowhere() -> None:
    assert set(MOVES) == set(State)
    assert {state for state, to in MOVES.items() if not to} == FINAL


def test_every_state_is_reached_and_every_one_reaches_an_end() -> None:
    reached, edge = {S.RECEIVED}, [S.RECEIVED]
    while edge:
        found = MOVES[edge.pop()] - reached
        reached |= found
        edge += found
    assert reached == set(State)
    ends = {state: bool(to & FINAL) for state, to in MOVES.items()}
    for _ in State:
        ends = {state: ends[state] or any(ends[one] for one in to) for state, to in MOVES.items()}
    assert all(ends[state] or state in FINAL for state in State)


def test_nothing_is_canceled_once_it_is_activated() -> None:
    for state in State:
        found = plan.canceled(task(state), "canceled", "no longer wanted")
        assert (found is not None) == (state in HARMLESS)
        if found is not None:
            assert (found.state, found.told) == (S.CANCELED, False)


def test_a_move_that_the_table_has_not_is_a_bug() -> None:
    with pytest.raises(ForbiddenMoveError, match="main/job-1/1: RECEIVED -> CONFIRMED"):
        moved(task(S.RECEIVED), S.CONFIRMED)


@pytest.mark.parametrize("state", [S.RECEIVED, S.CHECKED, S.WAITING, S.VERIFIED, S.STAGED, S.CONFIRMED, S.ROLLED_BACK])
def test_what_was_not_cut_off_in_the_middle_goes_on(state: State) -> None:
    assert at_start(task(state), Runs.OLD) == task(state)


@pytest.mark.parametrize("state", [S.DOWNLOADING, S.WRITING])
def test_a_download_and_a_write_are_begun_again_so_often_and_no_more(state: State) -> None:
    now = task(state)
    for count in range(1, TRIES[state] + 1):
        now = at_start(now, Runs.OLD)
        assert (now.state, now.tries) == (state, count)
    now = at_start(now, Runs.OLD)
    assert (now.state, now.code) == (S.FAILED, "tries")


@pytest.mark.parametrize(
    ("runs", "after"),
    [
        (Runs.OLD, S.STAGED),
        (Runs.SELECTED, S.STAGED),
        (Runs.ON_TRIAL, S.TRIAL),
        (Runs.CONFIRMED, S.CONFIRMED),
        (Runs.FELL_BACK, S.ROLLED_BACK),
        (Runs.UNDER_WAY, S.ACTIVATING),
    ],
)
def test_an_activation_that_was_cut_off_is_decided_by_what_runs(runs: Runs, after: State) -> None:
    assert at_start(task(S.ACTIVATING, tries=1), runs).state == after


def test_an_activation_that_never_takes_effect_is_rolled_back() -> None:
    now = task(S.ACTIVATING, tries=TRIES[S.ACTIVATING])
    assert at_start(now, Runs.SELECTED).state == S.ROLLING_BACK


def test_a_trial_of_what_would_be_started_again_is_rolled_back() -> None:
    found = at_start(task(S.TRIAL), Runs.SELECTED)  # the launcher could not write down that it fell back
    assert (found.state, found.code) == (S.ROLLING_BACK, "fell-back")


@pytest.mark.parametrize("runs", [Runs.OLD, Runs.FELL_BACK])
def test_a_trial_after_which_the_old_version_runs_is_over(runs: Runs) -> None:
    found = at_start(task(S.TRIAL), runs)
    assert (found.state, found.code) == (S.ROLLED_BACK, "fell-back")


def test_a_trial_goes_on_with_the_time_that_is_left_for_three_starts() -> None:
    now = task(S.TRIAL, tries=1, trial_spent=40.0)
    for count in (2, 3):
        now = at_start(now, Runs.ON_TRIAL)
        assert (now.state, now.tries, now.trial_spent) == (S.TRIAL, count, 40.0)
    assert at_start(now, Runs.ON_TRIAL).state == S.ROLLING_BACK


def test_a_version_that_was_confirmed_before_the_cut_stays() -> None:
    assert at_start(task(S.TRIAL), Runs.CONFIRMED).state == S.CONFIRMED


def test_rolling_back_is_tried_five_times_and_then_said_to_be_degraded() -> None:
    now = task(S.ROLLING_BACK, code="unhealthy", detail="no uplink")
    for count in range(1, 6):
        now = at_start(now, Runs.ON_TRIAL)
        assert (now.state, now.tries) == (S.ROLLING_BACK, count)
    now = at_start(now, Runs.ON_TRIAL)
    assert (now.state, now.code) == (S.FAILED, "degraded")
    assert "no uplink" in now.detail


@pytest.mark.parametrize("state", sorted(FINAL))
def test_an_end_stays_an_end(state: State) -> None:
    for runs in Runs:
        assert at_start(task(state), runs) == task(state)


@given(st.sampled_from(State), st.sampled_from(Runs), st.integers(0, 30))
def test_a_restart_never_leads_to_an_end_that_is_not_true(state: State, runs: Runs, tries: int) -> None:
    found = at_start(task(state, tries=tries), runs)
    assert found.state == state or found.state in MOVES[state] or found.state in MOVES[S.ROLLING_BACK]
    if found.state == S.SUCCEEDED:
        assert state == S.SUCCEEDED
    if found.state == S.CONFIRMED and state != S.CONFIRMED:
        assert runs == Runs.CONFIRMED


def test_a_hiccup_of_the_download_is_not_the_reason_why_a_trial_ended() -> None:
    now = task(S.DOWNLOADING, detail="no connection: timed out")
    for state in (S.VERIFIED, S.WRITING, S.STAGED, S.ACTIVATING, S.TRIAL):
        now = moved(now, state)
    assert "old one runs again" in at_start(now, Runs.OLD).detail


@pytest.mark.parametrize("state", [S.DOWNLOADING, S.WRITING])
def test_what_was_tried_too_often_says_what_went_wrong(state: State) -> None:
    found = plan.tried(task(state, tries=TRIES[state], detail="the server answers 503"))
    assert (found.state, found.code) == (S.FAILED, "tries")
    assert found.detail == f"{state.lower()} failed {TRIES[state]} times; the last: the server answers 503"


def test_why_it_is_taken_back_is_told_at_the_end() -> None:
    now = plan.failed(task(S.TRIAL), "unhealthy", "no uplink")
    assert moved(now, S.ROLLED_BACK).detail == "no uplink"
