"""Discovery material, settings, and the sequence numbers of OSCORE that no crash may bring back."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.driver import DriverError
from drivers.coap.keys import Address, DtlsKey, MaterialError, OscoreKey, material, pack, unpack
from drivers.coap.oscore import CHUNK, Numbers, SecurityContext
from drivers.coap.settings import CoapSettings

KEY = OscoreKey("000102030405060708090a0b0c0d0e0f", sender="01", recipient="02")


def test_material() -> None:
    assert material("coap://192.0.2.7") == (Address("192.0.2.7", 5683), None)
    assert material("coap://192%2E0%2E2%2E7") == (Address("192.0.2.7", 5683), None)
    assert material("coaps://[fd00::1]?identity=hub&psk=736563726574") == (
        Address("fd00::1", 5684),
        DtlsKey("hub", "736563726574"),
    )
    where, key = material(f"coap://lamp.local:9000?secret={KEY.secret}&sender=01&recipient=02")
    assert (where, key) == (Address("lamp.local", 9000), KEY)
    assert unpack(pack(KEY)) == KEY
    assert unpack(pack(DtlsKey("a", "0011"))) == DtlsKey("a", "0011")


@pytest.mark.parametrize(
    "text",
    [
        "", "this is no code", "http://192.0.2.7", "coap://", "coap://192.0.2.7/path", "coap://192.0.2.7:99999", "coap://a b",
        "coap://a%00b", "coap://a%2Fb",
        "coaps://192.0.2.7", "coaps://192.0.2.7?identity=hub", "coaps://192.0.2.7?identity=hub&psk=xy", "coap://192.0.2.7?psk=001122334455",
        "coaps://192.0.2.7?identity=hub&psk=0011&psk=22", "coap://192.0.2.7?secret=0011", "coap://192.0.2.7?what=1",
        f"coap://192.0.2.7?secret={KEY.secret}&sender=01&recipient=01", f"coap://192.0.2.7?secret={KEY.secret}&sender=0102030405060708",
        f"coaps://192.0.2.7?secret={KEY.secret}&sender=01",
    ],
)  # fmt: skip
def test_material_that_is_none_is_refused_and_no_key_is_repeated(text: str) -> None:
    with pytest.raises(MaterialError) as caught:
        material(text)
    assert KEY.secret not in str(caught.value)
    assert "001122334455" not in str(caught.value)


@given(
    st.text(max_size=80), st.sampled_from(["", "coap://", "coaps://", "coap://h?secret=", "coaps://h?identity=a&psk="])
)
@settings(max_examples=100, deadline=None)
def test_any_text_is_material_or_refused(text: str, start: str) -> None:
    with suppress(MaterialError):
        assert material(start + text)[0].host


def test_settings() -> None:
    made = CoapSettings.model_validate(
        {"addresses": ["192.0.2.7", "[fd00::1]:5683"], "mains_timeout": "5m", "interfaces": ["eth0"]}
    )
    assert (made.mains_timeout, made.require_security) == (300.0, False)
    for bad in (
        {"addresses": ["coaps://192.0.2.7"]},
        {"directory": "a b"},
        {"interfaces": ["eth 0"]},
        {"port": "auto"},
    ):
        with pytest.raises(ValidationError):
            CoapSettings.model_validate(bad)


def test_a_number_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    numbers = Numbers.of(tmp_path, KEY)
    numbers.begin(0.0)
    used = []
    for _ in range(3):  # three lives that all end without a word
        context = SecurityContext(KEY, Numbers.of(tmp_path, KEY))
        for _ in range(CHUNK + 5):
            number = context.new_sequence_number()
            (file,) = tmp_path.glob("*.seq")
            assert number < int(file.read_text())
            used.append(number)
    assert len(set(used)) == len(used)
    assert used == sorted(used)


LIFE = """
import sys
from pathlib import Path
from drivers.coap.oscore import Numbers, SecurityContext
from drivers.coap.keys import OscoreKey
key = OscoreKey("000102030405060708090a0b0c0d0e0f", sender="01", recipient="02")
context = SecurityContext(key, Numbers.of(Path(sys.argv[1]), key))
while True:
    print(context.new_sequence_number(), flush=True)
"""


def test_kill_9_brings_no_number_back(tmp_path: Path) -> None:
    Numbers.of(tmp_path, KEY).begin(0.0)
    used: list[int] = []
    for life in range(2):
        process = subprocess.Popen([sys.executable, "-c", LIFE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        used += [int(process.stdout.readline()) for _ in range(100 + 211 * life)]
        os.kill(process.pid, signal.SIGKILL)
        used += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
        process.stdout.close()
    assert len(set(used)) == len(used)


def test_a_key_that_is_given_again_goes_on_and_a_lost_file_is_refused(tmp_path: Path) -> None:
    first = Numbers.of(tmp_path, KEY)
    first.begin(1_800_000_000.0)
    used = SecurityContext(KEY, Numbers.of(tmp_path, KEY)).new_sequence_number()
    assert used == 1_800_000_000 << 8
    Numbers.of(tmp_path, KEY).begin(0.0)  # again, by a hub that has lost the time
    assert SecurityContext(KEY, Numbers.of(tmp_path, KEY)).new_sequence_number() > used
    (file,) = tmp_path.glob("*.seq")
    assert KEY.secret[:8] not in file.name
    file.write_text("many")
    with pytest.raises(DriverError, match="damaged"):
        Numbers.of(tmp_path, KEY).first()
    file.unlink()
    with pytest.raises(DriverError, match="used twice") as caught:
        Numbers.of(tmp_path, KEY).first()
    assert "new key" in caught.value.remedy


def test_a_disk_that_does_not_take_the_number_stops_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Numbers.of(tmp_path, KEY).begin(0.0)
    context = SecurityContext(KEY, Numbers.of(tmp_path, KEY))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr("drivers.coap.oscore.write_atomic", full)
    with pytest.raises(DriverError, match="No space left"):
        context.new_sequence_number()
