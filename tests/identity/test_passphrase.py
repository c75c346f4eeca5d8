"""What is sealed with a passphrase opens with it and nothing else, whatever becomes of the file."""

import json
import random
from pathlib import Path

import pytest
from garbage import BYTES, SEED

from agent import cli
from agent.errors import UsageError
from agent.identity.stores import passphrase
from agent.identity.stores.passphrase import seal, unseal
from agent.settings import Secret

GOOD, CONTENT = Secret("correct horse battery"), b'{"key": "f00dfeedf00dfeed"}'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price of a guess is not what is tested."""
    monkeypatch.setattr(passphrase, "_N", 16)


def test_what_is_sealed_opens_with_its_passphrase_only() -> None:
    text = seal(GOOD, "form", 1, CONTENT)
    assert unseal(GOOD, text, "file") == CONTENT
    assert b"f00dfeed" not in text
    with pytest.raises(UsageError, match="another passphrase"):
        unseal(Secret("wrong horse battery"), text, "file")
    assert seal(GOOD, "form", 1, CONTENT) != text, "a salt and a nonce of its own"


def test_no_part_of_the_file_can_be_changed() -> None:
    text = seal(GOOD, "form", 1, CONTENT)
    whole = json.loads(text)
    changes = [{"format": "other"}, {"version": 2}, {"scrypt": {**whole["scrypt"], "n": 32}}, {"more": 1}]
    changes += [
        {"scrypt": {**whole["scrypt"], "n": 1 << 24, "r": 64}},
        {"sealed": whole["sealed"][:-8]},
        {"sealed": ""},
    ]
    for change in changes:
        with pytest.raises(UsageError):
            unseal(GOOD, json.dumps({**whole, **change}).encode(), "file")
    dice = random.Random(SEED)
    for _ in range(500):
        spoilt = bytearray(text)
        spoilt[dice.randrange(len(text) - 2)] ^= 1 << dice.randrange(8)
        try:
            assert unseal(GOOD, bytes(spoilt), "file") == CONTENT, "white space between the parts"
        except UsageError:
            continue
    for garbage in BYTES:
        with pytest.raises(UsageError):
            unseal(GOOD, garbage, "file")


def test_a_guess_costs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    told = json.loads(seal(GOOD, "form", 1, CONTENT))["scrypt"]
    assert 128 * told["n"] * told["r"] == 64 * 1024 * 1024


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(UsageError, match="less than 12"):
        seal(Secret("hunter2"), "form", 1, CONTENT)


def test_a_passphrase_that_others_may_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "secret"
    file.write_text("correct horse battery")
    file.chmod(0o644)
    (tmp_path / "agent.toml").write_text("")
    code = cli.main(["backup", str(tmp_path / "b"), "--passphrase-file", str(file), "-c", str(tmp_path / "agent.toml")])
    assert code == 78
    err = capsys.readouterr().err
    assert "chmod 600" in err
    assert "correct horse" not in err
