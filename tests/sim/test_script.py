"""Devices that change by themselves, by the script of the home file."""

from functools import partial
from typing import Any

import pytest

from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.requests import ControlError
from drivers.sim.script import Script
from drivers.sim.zigbee import control
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.profiles import PROFILES
from drivers.sim.zigbee.server import start

TEMPERATURE = (1, 0x0402, 0)


class Stage:
    """One device, its script, and a clock."""

    def __init__(self, profile: str, *steps: dict[str, Any], repeat: bool = False) -> None:
        self.network = Network(0x1234, seed=1)
        self.node = Node(0x5678, "actor", profile)
        self.network.add(self.node)
        self.now = 0.0
        self.script = Script(
            self.network.at, partial(control.prepare, self.network), self.node.name, steps, repeat=repeat
        )
        self.script.start(self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.network.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.network.poll(self.now)
        self.now = end


def test_steps_are_done_one_after_the_other_and_once() -> None:
    set_to = {"op": "set", "name": "temperature"}
    stage = Stage("climate", {"after": 5, **set_to, "value": 2250}, {"after": 10, **set_to, "value": 1900})
    stage.run(4.9)
    before = stage.node.get(*TEMPERATURE)
    stage.run(0.2)
    assert before != 2250
    assert stage.node.get(*TEMPERATURE) == 2250
    stage.run(10)
    assert stage.node.get(*TEMPERATURE) == 1900
    assert stage.network.next_deadline() is None, "the script has ended"


def test_a_repeated_drift_moves_within_the_sensors_range_and_is_the_same_for_a_seed() -> None:
    def play() -> list[int]:
        stage = Stage("climate", {"after": 1, "op": "drift", "name": "temperature", "by": 3000}, repeat=True)
        values = []
        for _ in range(50):
            stage.run(1.0)
            values.append(stage.node.get(*TEMPERATURE))
        return values

    values = play()
    assert len(set(values)) > 20
    assert all(-4000 <= value <= 8500 for value in values)
    assert values == play()


def test_a_script_of_zero_waits_does_not_stop_the_house() -> None:
    stage = Stage("climate", {"after": 0, "op": "drift", "name": "temperature", "by": 5}, repeat=True)
    stage.run(1.0)
    assert len(stage.network._heap) + 100 >= 50


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"after": 1, "op": "explode"}, "no operation 'explode'"),
        ({"after": 1, "op": "set", "name": "colour", "value": 1}, "no attribute 'colour'"),
        ({"after": 1, "op": "set", "name": "co2", "value": 1}, "has no attribute"),
    ],
)
def test_a_step_that_can_never_be_done_is_refused_at_the_start(step: dict[str, Any], words: str) -> None:
    with pytest.raises(ControlError, match=words):
        Stage("climate", step)


async def test_mistakes_of_the_home_file_are_told_with_their_place() -> None:
    def spec(script: Any) -> dict[str, Any]:
        return {"devices": [{"profile": "climate", "script": script}]}

    for wrong in ([{"op": "set"}], [{"after": -1}], [{"after": "soon"}], [3], 7):
        with pytest.raises(ConfigError) as caught:
            list(home.devices("stick", spec(wrong), PROFILES))
        assert caught.value.place.startswith("radios.stick.devices[0].script[0]")
    with pytest.raises(ConfigError, match="no operation") as caught:
        await start("stick", spec([{"after": 1, "op": "fly"}]), link=None, state=None, faults="", seed=1)
    assert caught.value.place == "radios.stick.devices[0]"
