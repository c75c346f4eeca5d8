"""The library of transforms and the rest of the process."""

import sys

from agent.sim.nrf.transform import transform


def test_a_transform_leaves_the_depth_of_the_process_as_it_was() -> None:
    before = sys.getrecursionlimit()
    assert transform("state.desired", {"state": {"desired": {"a": 1}}}, 1792) == {"tf": {"a": 1}}
    assert transform("(", {}, 1792)["err"]
    assert sys.getrecursionlimit() == before
    assert before < 10_000  # what the library sets
