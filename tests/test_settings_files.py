"""config/agent.toml shows every key with its default, the examples can be used; both ways, so that neither falls behind."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent.settings import RadioSettings, Settings, UplinkSettings, load
from drivers.ble.settings import BleSettings
from drivers.zigbee.settings import ZigbeeSettings

CONFIG = Path(__file__).parent.parent / "config"
DOCUMENT = CONFIG.joinpath("agent.toml").read_text(encoding="utf-8")
TEMPLATE = re.compile(r"^#(?=[a-z\[])", re.MULTILINE)  # "#key = 1" is a line to switch on, "# text" is a comment
UNSET = re.compile(r"^# ([a-z_]+) = ", re.MULTILINE)  # "# key = 1": a key that has no default
COMPLETE = TEMPLATE.sub("", DOCUMENT)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Keys with a default that TOML can write, nested tables as dicts."""
    return {name: value for name, value in model().model_dump(mode="json").items() if value is not None}


def shown() -> dict[str, Any]:
    return tomllib.loads(COMPLETE)


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (shown()["uplinks"]["main"], defaults(UplinkSettings)),
        (shown()["radios"]["zigbee"], {**defaults(RadioSettings), **defaults(ZigbeeSettings)}),
        (shown()["radios"]["ble"], {"kind": "ble", **defaults(BleSettings)}),
        ({key: value for key, value in shown().items() if key not in {"uplinks", "radios"}},
         {key: value for key, value in defaults(Settings).items() if key not in {"uplinks", "radios"}}),
    ],
    ids=["uplinks", "radios", "ble", "rest"],
)  # fmt: skip
def test_no_key_is_missing_and_none_is_too_many(table: Mapping[str, Any], keys: Mapping[str, Any]) -> None:
    def names(tree: Mapping[str, Any]) -> set[str]:
        below = {f"{name}.{inner}" for name, value in tree.items() if isinstance(value, dict) for inner in names(value)}
        return set(tree) | below

    assert names(table) == names(keys)


def test_the_values_are_the_defaults() -> None:
    tables = shown()
    assert UplinkSettings.model_validate(tables["uplinks"]["main"]) == UplinkSettings()
    radio = tables["radios"]["zigbee"]
    assert radio.pop("kind") == "zigbee"
    assert radio["port"] == RadioSettings().port
    assert ZigbeeSettings.model_validate(radio) == ZigbeeSettings()
    bluetooth = tables["radios"]["ble"]
    assert bluetooth.pop("kind") == "ble"
    assert BleSettings.model_validate(bluetooth) == BleSettings()
    assert Settings.model_validate({**tables, "uplinks": {}, "radios": {}}) == Settings()


def test_keys_without_a_default_are_shown_as_examples() -> None:
    without = {name for name, value in ZigbeeSettings().model_dump().items() if value is None}
    assert set(UNSET.findall(DOCUMENT)) == without
    example = tomllib.loads(UNSET.sub(r"\1 = ", COMPLETE))["radios"]["zigbee"]
    settings = ZigbeeSettings.model_validate({key: value for key, value in example.items() if key != "kind"})
    assert all(getattr(settings, name) is not None for name in without)


def test_every_key_has_one_comment() -> None:
    keys = [row for row in COMPLETE.splitlines() if re.match(r"[a-z_]+ = ", row)]
    assert keys
    assert [row for row in keys if len(re.findall(r"  # \S", row)) != 1] == []


def test_as_it_is_it_has_neither_uplink_nor_radio(tmp_path: Path) -> None:
    settings = load(CONFIG / "agent.toml", {"STATE_DIRECTORY": str(tmp_path)})
    assert (settings.uplinks, settings.radios) == ({}, {})
    assert settings.hub.state_dir == tmp_path  # systemd's folder is not overruled


def test_the_mosquitto_example(tmp_path: Path) -> None:
    settings = load(CONFIG / "examples" / "mosquitto.toml", {"STATE_DIRECTORY": str(tmp_path)}, deep=False)
    (uplink,) = settings.uplinks.values()
    assert (uplink.host, uplink.port, uplink.tls) == ("127.0.0.1", 1884, False)
    assert [(name, radio.kind, radio.port) for name, radio in settings.radios.items()] == [("zigbee", "zigbee", "auto")]


def test_the_aws_example_with_its_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca.pem", "hub.crt", "hub.key"):
        tmp_path.joinpath(name).write_text("PEM", encoding="ascii")
    env = {"STATE_DIRECTORY": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    info = type("Info", (), {"settings": ZigbeeSettings, "raw_gatt": False})
    monkeypatch.setattr("agent.settings.loader.load_driver", lambda _kind: info)
    uplink = load(CONFIG / "examples" / "aws-iot.toml", env).uplinks["aws"]
    assert (uplink.tls, uplink.ca, uplink.key) == (True, str(tmp_path / "ca.pem"), str(tmp_path / "hub.key"))
