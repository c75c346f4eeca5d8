"""Home files: the example holds one of everything, and mistakes are told with their place."""

from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.zigbee.profiles import PROFILES

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "home.toml"


def devices(*entries: dict[str, Any]) -> list[home.DeviceSpec]:
    return list(home.devices("zigbee", {"devices": entries}, PROFILES))


def test_the_example_has_a_device_of_every_profile() -> None:
    found = list(home.devices("zigbee", home.load(EXAMPLE)["zigbee"], PROFILES))
    assert {device.profile for device in found} == set(PROFILES)
    assert len({device.name for device in found}) == len(found)


def test_copies_have_names_and_addresses_of_their_own() -> None:
    made = devices({"name": "lamp", "profile": "plug", "ieee": "00:12:4b:00:00:00:00:01", "count": 3})
    assert [(d.name, d.ieee & 0xFF) for d in made] == [("lamp 1", 1), ("lamp 2", 2), ("lamp 3", 3)]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"profile": "toaster"}], "unknown profile 'toaster'"),
        ([{"profile": "plug", "colour": "red"}], "unknown key 'colour'"),
        ([{"profile": "plug", "ieee": "here"}], "no EUI-64"),
        ([{"profile": "plug", "ieee": "01"}, {"profile": "plug", "ieee": "01"}], "address is taken"),
    ],
)
def test_mistakes_are_named(entries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        devices(*entries)


@pytest.mark.parametrize("text", ["", "radios = 3", "[radios", "\xff"])
def test_a_file_that_is_no_home_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "home.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError):
        home.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        home.load(tmp_path / "none.toml")
