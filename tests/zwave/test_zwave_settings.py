import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.driver import InvalidParameters
from agent.secret_store import FileSecrets
from drivers.zwave.keys import CLASSES, forget_keys, network_keys
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.provisioning import Entry, ProvisioningList, material
from drivers.zwave.security import dsk, qr
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.settings import ZwaveSettings, is_server

DSK = bytes(range(100, 116))


def test_nothing_needs_to_be_said() -> None:
    settings = ZwaveSettings.model_validate({})
    assert (settings.port, settings.security, settings.region) == ("auto", "s2", "")


def test_the_shipped_file_shows_every_key() -> None:
    text = (Path(__file__).parent.parent.parent / "config" / "agent.toml").read_text()
    section = text.partition("#[radios.zwave]\n")[2].partition("\n\n")[0]
    shown = tomllib.loads("\n".join(line.lstrip("# ") for line in section.splitlines()))
    assert shown.pop("kind") == "zwave"
    assert set(shown) == set(ZwaveSettings.model_fields)
    ZwaveSettings.model_validate(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"identity": "stick"},
        {"region": "MARS"},
        {"security": "maybe"},
        {"s0_key": "short"},
        {"tx_power": 99.0},
        {"no": 1},
        {"port": "ws://192.0.2.1:3000"},
        {"port": "ws://hub.example:3000", "plaintext": False},
        {"port": "ws://:3000"},
        {"port": "ws://me:secret@localhost:3000"},
        {"port": "wss://[::1"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ZwaveSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"port": "ws://127.0.0.1:3000"},
        {"port": "ws://[::1]:3000"},
        {"port": "ws://localhost"},
        {"port": "wss://hub.example:3000", "ca": "ca.pem"},
        {"port": "ws://192.0.2.1:3000", "plaintext": True},
    ],
)
def test_where_a_server_may_be(right: dict[str, Any]) -> None:
    assert is_server(ZwaveSettings.model_validate(right).port)
    assert not is_server("/dev/ttyUSB0")


def test_keys_are_made_once_and_forgotten_with_the_network(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path)
    settings = ZwaveSettings.model_validate({"s0_key": "09" * 16})
    keys = network_keys(secrets, settings, os.urandom)
    assert set(keys) == set(CLASSES)
    assert len(set(keys.values())) == len(CLASSES)
    assert keys[SecurityClass.S0] == bytes([9] * 16)
    other = ZwaveSettings.model_validate({"s0_key": "0a" * 16})
    plain, locked = (
        NodeRecord(2, "zw.1+2", security=[], done=["protocol", "security"]),
        NodeRecord(3, "zw.1+3", security=["S0"]),
    )
    assert network_keys(secrets, other, os.urandom, [plain, locked]) == keys
    assert plain.security == [], "nothing has changed"
    assert network_keys(secrets, other, os.urandom, [plain])[SecurityClass.S0] == bytes([10] * 16)
    assert (plain.security, plain.done) == (None, ["protocol"]), "it may have this key"
    forget_keys(secrets)
    assert network_keys(secrets, other, os.urandom)[SecurityClass.S0] == bytes([10] * 16)


def test_what_is_known_of_a_device_before_it_joins() -> None:
    assert not material("").credentials.authentic
    assert material("00042").credentials.pin == b"\x00\x2a"
    assert material(dsk.to_text(DSK)).credentials.dsk == DSK
    found = material(qr.compose(0x83, DSK, [], smart_start=True) + ".9999")
    assert found.entry is not None
    assert found.credentials.dsk == DSK
    granted = found.credentials.grant(reversed(SecurityClass))
    assert granted == (
        SecurityClass.S2_AUTHENTICATED_LR,
        SecurityClass.S2_AUTHENTICATED,
        SecurityClass.S2_UNAUTHENTICATED,
    )
    assert material(qr.compose(0x01, DSK, [], smart_start=False)).entry is None
    for wrong in ("this is no code", "1234", "99999", "90" + "0" * 60):
        with pytest.raises(InvalidParameters):
            material(wrong)


def test_without_its_dsk_a_device_gets_no_class_that_needs_one() -> None:
    assert (
        material("").credentials.grant(SecurityClass) == (SecurityClass.TEMPORARY, SecurityClass.S2_UNAUTHENTICATED)[1:]
    )


def test_the_provisioning_list_outlives_a_restart(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path)
    expected = ProvisioningList(secrets)
    entry = Entry(dsk.to_text(DSK), 1)
    expected.put(entry)
    again = ProvisioningList(secrets)
    assert again.find(dsk.nwi_home_id(DSK)) == entry
    assert again.find(bytes(4)) is None
    again.joined(entry, 9)
    assert ProvisioningList(secrets).expected == []
    again.left(9)
    again.left(9)
    again.put(entry)
    again.clear()
    assert ProvisioningList(secrets).expected == []
