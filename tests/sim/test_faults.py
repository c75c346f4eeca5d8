"""Faults at the wire: what a seed does once it does again, and a slow line is slow."""

import pytest

from agent.errors import ConfigError
from drivers.sim.faults import Faults

FRAME = bytes(range(40))


def test_without_a_text_nothing_happens() -> None:
    faults = Faults.parse("", 1)
    assert faults.spoil(FRAME) == [FRAME]
    assert faults.delay(1000, 5.0) == 0.0


def test_the_same_seed_spoils_the_same_frames() -> None:
    spec = "lost=0.1,corrupt=0.1,dup=0.1,late=0.1:0.5"
    one, two, other = (Faults.parse(spec, seed) for seed in (7, 7, 8))
    runs = [[(faults.spoil(FRAME), faults.delay(40, 0.0)) for _ in range(300)] for faults in (one, two, other)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_each_fault_does_what_its_name_says() -> None:
    assert Faults.parse("lost=1", 1).spoil(FRAME) == []
    assert Faults.parse("dup=1", 1).spoil(FRAME) == [FRAME, FRAME]
    (spoiled,) = Faults.parse("corrupt=1", 1).spoil(FRAME)
    assert sum((a ^ b).bit_count() for a, b in zip(spoiled, FRAME, strict=True)) == 1
    assert Faults.parse("late=1:0.25", 1).delay(1, 0.0) == 0.25


def test_probabilities_are_met() -> None:
    faults = Faults.parse("lost=0.2", 3)
    lost = sum(not faults.spoil(FRAME) for _ in range(2000))
    assert 300 < lost < 500
    assert faults.count["lost"] == lost


def test_a_serial_line_carries_its_baud_rate() -> None:
    faults = Faults.parse("baud=115200", 1)
    assert faults.delay(1152, 0.0) == pytest.approx(0.1)
    assert faults.delay(1152, 0.0) == pytest.approx(0.2), "the second waits for the first"
    assert faults.delay(1152, 10.0) == pytest.approx(0.1), "an idle line is free at once"


@pytest.mark.parametrize("text", ["lose=1", "lost=2", "lost=-0.1", "lost=often", "baud=fast", "lost"])
def test_a_text_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Faults.parse(text, 1)
