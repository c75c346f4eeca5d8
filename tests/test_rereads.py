"""A device that did not answer when it was to be read, and that nothing else would bring back to mind."""

from test_hub import BULB_ID, World, of

from agent.model import Availability, AvailabilityChanged
from agent.requests import RadioWorkEnded, Refresh, Tick


def test_a_device_that_is_there_and_did_not_answer_is_read_again_after_growing_pauses() -> None:
    """Heard meanwhile, and so no news to the hub: without another reading an old value would stay with the cloud."""
    world = World()
    pauses = []
    for _ in range(9):
        world(RadioWorkEnded(Refresh(BULB_ID), "no answer", 504))
        due = world.hub.rereads.next_deadline()
        assert due is not None
        pauses.append(due - world.now.mono)
        assert not of(world(Tick()), Refresh), "not yet"
        world.mono = due
        assert of(world(Tick()), Refresh) == [Refresh(BULB_ID)]
        assert not of(world(Tick()), Refresh), "once"
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    world(RadioWorkEnded(Refresh(BULB_ID)))
    assert world.hub.rereads.next_deadline() is None
    world(RadioWorkEnded(Refresh(BULB_ID), "no answer", 504))
    assert world.hub.rereads.next_deadline() == world.now.mono + 5
    world(AvailabilityChanged(BULB_ID, Availability.OFFLINE))
    world(RadioWorkEnded(Refresh(BULB_ID), "no answer", 504))
    assert world.hub.rereads.next_deadline() is None, "it is read when it is heard again"
