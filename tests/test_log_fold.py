"""Folding: the first lines of a window are shown, every other one is counted exactly once, and memory stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from agent.log_fold import MAX_KEYS, Fold, Key

KEY: Key = ("agent.x", 30, "frame lost from %s")


def send(fold: Fold, now: float, count: int = 1, key: Key = KEY) -> tuple[int, list[tuple[Key, int, str]]]:
    """(lines shown, repeats that were due) for `count` records at `now`."""
    shown, told = 0, []
    for number in range(count):
        told += [(repeats.key, repeats.count, repeats.message) for repeats in fold.due(now)]
        if fold.admit(key, now):
            shown += 1
        else:
            fold.hold(key, f"record {number}")
    return shown, told


def test_the_first_are_shown_and_the_rest_is_one_line() -> None:
    fold = Fold(after=3, window=60)
    assert send(fold, 0.0, 31_003) == (3, [])
    assert fold.deadline() == 60.0
    assert [(repeats.count, repeats.message) for repeats in fold.due(60.0)] == [(31_000, "record 31002")]
    assert fold.deadline() is None


def test_a_storm_stays_folded_and_a_quiet_window_ends_it() -> None:
    fold = Fold(after=2, window=10)
    send(fold, 0.0, 5)
    assert send(fold, 10.0, 4) == (0, [(KEY, 3, "record 4")])
    assert send(fold, 20.0) == (0, [(KEY, 4, "record 3")])
    assert send(fold, 30.0) == (0, [(KEY, 1, "record 0")])
    assert [repeats.count for repeats in fold.due(40.0)] == [1]
    assert list(fold.due(49.9)) == []
    assert send(fold, 50.0) == (1, [])


def test_other_keys_are_not_touched() -> None:
    fold = Fold(after=1, window=10)
    send(fold, 0.0, 3)
    for other in (("agent.y", 30, KEY[2]), ("agent.x", 40, KEY[2]), ("agent.x", 30, "other")):
        assert send(fold, 0.0, key=other) == (1, [])


def test_flush_tells_what_is_held() -> None:
    fold = Fold(after=1, window=10)
    send(fold, 0.0, 3)
    assert [repeats.count for repeats in fold.flush()] == [2]
    assert list(fold.flush()) == []
    assert send(fold, 1.0) == (1, [])


@given(
    st.lists(st.tuples(st.integers(0, 3 * MAX_KEYS), st.integers(0, 30).map(float)), max_size=400),
    st.integers(1, 4),
)
def test_nothing_is_lost_and_memory_is_bounded(records: list[tuple[int, float]], after: int) -> None:
    fold = Fold(after=after, window=10)
    now, shown, told = 0.0, 0, 0
    for number, pause in records:
        now += pause / 10
        found, repeats = send(fold, now, key=("logger", 20, str(number % (MAX_KEYS + 9))))
        shown += found
        told += sum(count for _, count, _ in repeats)
        assert len(fold._keys) <= MAX_KEYS
        deadline = fold.deadline()
        assert deadline is None or deadline > now - 1e-6  # sums of floats
    told += sum(repeats.count for repeats in fold.flush())
    assert shown + told == len(records)


def test_many_keys_push_out_the_oldest_and_tell_of_it() -> None:
    fold = Fold(after=1, window=1000)
    send(fold, 0.0, 5)
    told = [repeats for number in range(MAX_KEYS) for repeats in send(fold, 1.0, key=("x", 20, str(number)))[1]]
    assert told == [(KEY, 4, "record 4")]
