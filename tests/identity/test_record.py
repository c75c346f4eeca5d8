"""The two slots as a state machine: whatever happens, there is a certificate that works, and the record says which."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.identity.record import DAY, KEEP, ROUNDS, TRIES, Held, Record, Slot
from agent.identity.renewal import DUE, EXPIRED, FINE, LATE, URGENT, age, dice_of, renew_at
from agent.identity.trial import Trial, Verdict


def held(number: int = 1, begins: float = 0.0, days: float = 365.0) -> Held:
    return Held(
        thing="hub",
        certificate_id=f"{number:064x}",
        source="claim",
        begins=begins,
        expires=begins + days * DAY,
        installed=begins,
    )


def in_trial() -> Record:
    return Record().ask("first").arrived(held(1)).ask("age").arrived(held(2))


def test_the_first_certificate_is_current_at_once_and_the_next_one_is_tried() -> None:
    record = in_trial()
    assert (record.current, record.candidate, record.fallback) == ("a", "b", None)
    after = record.connected("b", 10.0)
    assert (after.current, after.candidate, after.fallback) == ("b", None, "a")
    assert after.held["b"].proved == 10.0


def test_the_old_one_goes_after_a_day_of_health_and_not_before_its_source_has_heard() -> None:
    record = in_trial().connected("b", 10.0, confirm="vendor")
    assert record.lived(KEEP + 1).fallback == "a"
    assert record.confirmed().lived(KEEP - 1).fallback == "a"
    settled = record.confirmed().lived(KEEP)
    assert (settled.current, settled.fallback, set(settled.held)) == ("b", None, {"b"})


def fail(trial: Trial, record: Record, times: int, *, leads: bool = True, at: float = 0.0) -> list[Slot | None]:
    tried = []
    for _ in range(times):
        slot = trial.choose(record, at, leads=leads)
        tried.append(slot)
        if slot is not None:
            trial.failed(record, slot, "refused")
    return tried


def test_a_candidate_has_three_tries_then_the_current_one_has_its_turn() -> None:
    trial, record = Trial(), in_trial()
    assert fail(trial, record, TRIES) == ["b"] * TRIES
    assert trial.choose(record, 0.0, leads=True) == "a"
    verdict = trial.connected(record, "a", 5.0, 5.0, confirm="")
    assert (verdict.swapped, verdict.record.candidate, verdict.record.rounds) == (False, "b", 1)
    assert trial.choose(verdict.record, 6.0, leads=True) == "a", "the one that works, for a while"
    assert trial.choose(verdict.record, 5.0 + 60.0, leads=True) == "b"


def test_a_candidate_that_is_refused_in_every_turn_is_given_up() -> None:
    trial, record, now = Trial(), in_trial(), 0.0
    for _ in range(ROUNDS):
        fail(trial, record, TRIES, at=now)
        record = trial.connected(record, "a", now, now, confirm="").record
        now += 4000.0
    assert (record.current, record.candidate, set(record.held)) == ("a", None, {"a"})
    assert record.trouble == "refused"


def test_without_a_network_nothing_is_judged() -> None:
    trial, record = Trial(), in_trial()
    assert fail(trial, record, 8) == ["b", "b", "b", "a", "b", "b", "b", "a"]
    assert trial.connected(record, "b", 1.0, 1.0, confirm="").swapped


def test_a_new_certificate_that_is_refused_later_is_rolled_back() -> None:
    trial = Trial()
    record = trial.connected(in_trial(), "b", 1.0, 1.0, confirm="vendor").record
    assert fail(trial, record, TRIES) == ["b"] * TRIES
    assert trial.choose(record, 0.0, leads=True) == "a"
    verdict = trial.connected(record, "a", 9.0, 9.0, confirm="")
    assert verdict == Verdict(verdict.record, swapped=True)
    assert (verdict.record.current, verdict.record.fallback, verdict.record.unconfirmed) == ("a", None, "")


def test_connections_that_are_thrown_out_are_failures_while_the_old_one_is_there() -> None:
    trial = Trial()
    record = trial.connected(in_trial(), "b", 1.0, 1.0, confirm="").record
    for _ in range(TRIES):
        assert trial.choose(record, 0.0, leads=True) == "b"
        trial.connected(record, "b", 2.0, 2.0, confirm="")
        trial.failed(record, "b", "thrown out", thrown_out=True)
    assert trial.choose(record, 0.0, leads=True) == "a"
    assert trial.doubts(record, "a"), "to connect is not enough"
    trial.failed(record, "a", "thrown out", thrown_out=True)
    assert trial.choose(record, 0.0, leads=True) == "b", "it was the broker"
    assert not trial.doubts(record, "a")


def test_a_connection_that_lasts_makes_earlier_failures_good() -> None:
    trial = Trial()
    record = trial.connected(in_trial(), "b", 1.0, 1.0, confirm="").record
    for _ in range(3 * TRIES):
        trial.failed(record, "b", "thrown out", thrown_out=True)
        trial.held()
    assert trial.choose(record, 0.0, leads=True) == "b"


def test_what_one_candidate_has_failed_is_not_held_against_the_next() -> None:
    trial, record = Trial(), in_trial()
    fail(trial, record, TRIES)
    record = trial.connected(record, "a", 5.0, 5.0, confirm="").record.given_up("refused")
    record = record.ask("age").arrived(held(3))
    assert trial.next_turn(record) == 0.0
    assert trial.choose(record, 6.0, leads=True) == "b"


def test_only_one_uplink_tries_a_candidate() -> None:
    assert Trial().choose(in_trial(), 0.0, leads=False) == "a"


class Life(RuleBasedStateMachine):
    """Certificates of which some are refused for ever, connections that fail, restarts, a record that is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.record, self.trial, self.now, self.number = Record(), Trial(), 0.0, 0
        self.bad: set[str] = set()
        self.works: str = ""

    @rule(bad=st.booleans())
    def rotate(self, *, bad: bool) -> None:
        self.number += 1
        first = self.record.current is None
        new = held(self.number)
        self.record = self.record.cleared().ask("a test").arrived(new)
        if bad and not first:
            self.bad.add(new.certificate_id)

    @precondition(lambda self: self.record.current is not None)
    @rule(network=st.booleans(), wait=st.floats(0, 5000))
    def connect(self, *, network: bool, wait: float) -> None:
        self.now += wait
        slot = self.trial.choose(self.record, self.now, leads=True)
        assert slot is not None
        if not network or self.record.held[slot].certificate_id in self.bad:
            self.trial.failed(self.record, slot, "refused")
            return
        self.works = self.record.held[slot].certificate_id
        self.record = self.trial.connected(self.record, slot, self.now, self.now, confirm="").record

    @rule(seconds=st.floats(0, 2 * KEEP))
    def live(self, *, seconds: float) -> None:
        self.record = self.record.lived(seconds)

    @rule()
    def restart(self) -> None:
        self.trial = Trial()
        self.record = Record.model_validate_json(self.record.model_dump_json())

    @invariant()
    def what_worked_last_is_kept(self) -> None:
        if self.works:
            assert self.works in {one.certificate_id for one in self.record.held.values()}

    @invariant()
    def every_slot_that_is_named_is_held(self) -> None:
        for slot in (self.record.current, self.record.candidate, self.record.fallback):
            assert slot is None or slot in self.record.held
        named = [slot for slot in (self.record.current, self.record.candidate, self.record.fallback) if slot]
        assert len(named) == len(set(named))


TestLife = Life.TestCase


@pytest.mark.parametrize("end", ["a", "b"])
def test_every_trial_ends(end: str) -> None:
    """With a network, a candidate is current or given up within a bounded number of connections."""
    bad = end == "a"
    trial, record, now = Trial(), in_trial(), 0.0
    for _ in range((TRIES + 1) * ROUNDS):
        now += 4000.0
        slot = trial.choose(record, now, leads=True)
        assert slot is not None
        if bad and slot == "b":
            trial.failed(record, slot, "refused")
        else:
            record = trial.connected(record, slot, now, now, confirm="").record
    assert record.candidate is None
    assert record.current == end


# ---- age ------------------------------------------------------------------------------------------------------------


def test_a_fleet_made_in_one_day_does_not_come_back_on_one_day() -> None:
    one = held(days=365)
    latest, earliest = renew_at(one, 0.0, 0.0), renew_at(one, 0.0, 1.0)
    assert latest == pytest.approx(365 * DAY * 2 / 3)
    assert latest - earliest == pytest.approx(0.05 * 365 * DAY)
    assert 0 <= dice_of(one) <= 1


def test_a_hub_that_is_offline_for_long_renews_earlier() -> None:
    assert renew_at(held(days=90), 40 * DAY, 0.0) == pytest.approx(10 * DAY)
    assert renew_at(held(days=90), 400 * DAY, 0.0) == 0.0, "at once, and never before it begins"


@pytest.mark.parametrize(
    ("day", "state"),
    [(1, FINE), (242, FINE), (250, DUE), (320, LATE), (359, URGENT), (364.9, URGENT), (365.1, EXPIRED)],
)
def test_the_alarm_comes_long_before_the_end(day: float, state: str) -> None:
    stand = age(held(0), 0.0, day * DAY)
    assert (stand.state, stand.days_left) == (state, pytest.approx(365 - day))


def test_a_short_life_is_no_alarm_by_itself() -> None:
    assert age(held(0, days=1), 0.0, 0.1 * DAY).state == FINE
