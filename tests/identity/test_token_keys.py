"""Keys in a token: never out of it, and what is said and not done when the token or its PIN is not right. SoftHSM and OpenSC judge."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from key_rig import PIN, SOFTHSM, TOKEN, Place, make_token, soft_token

from agent import offboard, offboard_mark
from agent.errors import ConfigError, Exit, install_extra
from agent.identity.keys import RSA2048, KeyStoreAwayError, KeyTroubleError
from agent.identity.stores import forget, open_keys, open_secrets
from agent.identity.stores.pkcs11 import PREFIX, uri_pem
from agent.secret_store import SecretTroubleError
from agent.settings import Secret

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so")  # OpenSC's: writes down each call to the library behind it
LOCKED, FINAL_TRY = 0x40000, 0x20000  # CKF_USER_PIN_LOCKED, CKF_USER_PIN_FINAL_TRY
FLAGS = bytes.fromhex("000000008000534b0000000000000002")  # SoftHSM's mark of the token's flags in its file
OPEN = """
import sys
from pathlib import Path
from key_rig import Place
from agent.errors import HubError
from agent.identity.stores import open_keys, open_secrets
from agent.settings import Secret

def store(state, module, token, pin):
    told = {"pkcs11_module": module, "pkcs11_token": token, "pin": Secret(pin)}
    return Place("pkcs11", Path(state), told).settings()

def fails(use):
    try:
        use()
    except HubError as error:
        print(type(error).__name__, int(error.exit_code), error.advice, flush=True)
    else:
        print("nothing failed", flush=True)

settings = store(*sys.argv[1:5])
"""


@pytest.fixture
def place(devices: dict[str, dict[str, Any]], tmp_path: Path) -> Iterator[Place]:
    made = Place("pkcs11", tmp_path / "state", **devices["pkcs11"])
    yield made
    forget(made.settings())


@pytest.fixture
def alone(tmp_path: Path) -> Place:
    """A token for processes of their own: it may be spoilt."""
    environment = soft_token(tmp_path / "softhsm", TOKEN)
    return Place("pkcs11", tmp_path / "state", environment=environment)


def told(
    place: Place, code: str, *, module: Path = SOFTHSM, token: str = TOKEN, pin: str = PIN, **environment: str
) -> list[str]:
    """What a process prints that opens the store and runs `code`."""
    done = place.run(OPEN + code, str(place.state), str(module), token, pin, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def set_flags(place: Place, flags: int) -> None:
    (file,) = Path(place.environment["SOFTHSM2_CONF"]).parent.glob("tokens/*/token.object")
    content = file.read_bytes()
    at = content.index(FLAGS) + len(FLAGS)
    value = int.from_bytes(content[at : at + 8]) | flags
    file.write_bytes(content[:at] + value.to_bytes(8) + content[at + 8 :])


@pytest.mark.conformance
def test_opensc_finds_a_key_that_never_leaves_the_token(place: Place) -> None:
    keys = open_keys(place.settings())
    keys.generate("hub")
    keys.generate("rsa", RSA2048)
    command = ["pkcs11-tool", "--module", str(SOFTHSM), "--login", "--pin", PIN, "--token-label", TOKEN, "-O"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert listed.count("sensitive, always sensitive, never extractable, local") == 2
    for found in keys._token._session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}):  # type: ignore[attr-defined]
        with pytest.raises((pkcs11.AttributeSensitive, pkcs11.AttributeTypeInvalid)):
            print(found[pkcs11.Attribute.VALUE])


def test_one_half_of_a_key_is_no_key(place: Place) -> None:
    """A power cut between the two objects of a pair."""
    keys = open_keys(place.settings())
    for half in (pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.ObjectClass.PRIVATE_KEY):
        keys.generate("hub")
        session = open_keys(place.settings())._token._session  # type: ignore[attr-defined]  # to spoil what it made
        wanted = {pkcs11.Attribute.CLASS: half, pkcs11.Attribute.LABEL: f"{PREFIX}hub"}
        for found in [*session.get_objects(wanted)]:
            found.destroy()
        fresh = open_keys(place.settings())
        assert not fresh.has("hub")
        with pytest.raises(KeyTroubleError, match="no key 'hub'"):
            fresh.public_key("hub")
        fresh.generate("hub")
        assert fresh.sign("hub", b"x")
        fresh.destroy("hub")


@pytest.mark.conformance
def test_a_wrong_pin_is_tried_once_and_never_again(alone: Place, tmp_path: Path) -> None:
    log = tmp_path / "spy.log"
    code = """
secrets = open_secrets(settings)
for use in (open_keys(settings).has, open_keys(settings).public_key, lambda name: secrets.put(name, b"x")):
    fails(lambda: use("hub"))
"""
    spied = {"PKCS11SPY": str(SOFTHSM), "PKCS11SPY_OUTPUT": str(log)}
    lines = told(alone, code, module=SPY, pin="999999", **spied)
    assert len(lines) == 3
    for line in lines:
        assert line.startswith(f"PinRefusedError {int(Exit.CONFIG)} token 'hub': the token refuses the PIN")
        assert "999999" not in line
    assert log.read_text().count("C_Login") == 1


@pytest.mark.parametrize(
    ("flags", "words"), [(LOCKED, "PIN is locked"), (FINAL_TRY, "one try is left"), (LOCKED | FINAL_TRY, "locked")]
)
def test_a_token_that_is_or_soon_will_be_locked_is_not_tried(
    alone: Place, tmp_path: Path, flags: int, words: str
) -> None:
    set_flags(alone, flags)
    log = tmp_path / "spy.log"
    spied = {"PKCS11SPY": str(SOFTHSM), "PKCS11SPY_OUTPUT": str(log)}
    lines = told(alone, 'keys = open_keys(settings)\nfails(lambda: keys.has("hub"))', module=SPY, **spied)
    assert lines[0].startswith(f"PinRefusedError {int(Exit.CONFIG)}")
    assert words in lines[0]
    assert "pkcs11-tool" in lines[0]
    assert "C_Login" not in log.read_text()


def test_a_token_that_is_not_there_is_waited_for(alone: Place) -> None:
    code = """
keys = open_keys(settings)
fails(lambda: keys.has("hub"))
import os
from key_rig import make_token
make_token("late", os.environ)
__import__("pkcs11").lib(sys.argv[2]).reinitialize()  # SoftHSM sees a new token no sooner; a reader does by itself
keys.generate("hub")
print(keys.has("hub"))
"""
    lines = told(alone, code, token="late")
    assert lines[0].startswith(f"KeyStoreAwayError {int(Exit.UNAVAILABLE)} token 'late': the token is not there")
    assert lines[1] == "True"


def test_two_tokens_of_one_label_are_not_guessed_between(alone: Place) -> None:
    make_token(TOKEN, alone.environment)
    (line,) = told(alone, 'fails(lambda: open_keys(settings).has("hub"))')
    assert line.startswith("ConfigError 78")
    assert "2 tokens" in line


def test_a_token_that_is_taken_out_is_lost_and_comes_back(alone: Place) -> None:
    code = """
import pkcs11, os
keys = open_keys(settings)
keys.generate("hub")
library, tokens = pkcs11.lib(sys.argv[2]), Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
library.reinitialize()  # all sessions are gone, as after a reset
fails(lambda: keys.sign("hub", b"x"))
print(len(keys.sign("hub", b"x")) > 60)
tokens.rename(tokens.with_name("drawer"))
tokens.mkdir()
library.reinitialize()
fails(lambda: keys.sign("hub", b"x"))
fails(lambda: keys.sign("hub", b"x"))
tokens.rmdir()
tokens.with_name("drawer").rename(tokens)
library.reinitialize()
print(len(keys.sign("hub", b"x")) > 60)
"""
    lines = told(alone, code)
    assert lines[0].startswith("KeyStoreAwayError 69 token 'hub': the token was taken out or reset")
    assert lines[1] == "True"
    assert lines[2].startswith("KeyStoreAwayError 69")
    assert lines[3].startswith("KeyStoreAwayError 69 token 'hub': the token is not there")
    assert lines[4] == "True"


def test_a_file_that_is_no_library_is_a_configuration_error(place: Place, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"not a library")
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        open_keys(place.settings(pkcs11_module=str(module))).has("hub")
    assert "pkcs11_module" in caught.value.remedy


@pytest.mark.parametrize("missing", ["pkcs11_module", "pkcs11_token", "pin"])
def test_what_is_missing_is_named(place: Place, missing: str) -> None:
    empty = Secret() if missing == "pin" else ""
    with pytest.raises(ConfigError, match=f"pkcs11 needs {missing}"):
        open_keys(place.settings(**{missing: empty}))


def test_without_the_library_the_extra_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    monkeypatch.delitem(sys.modules, "agent.identity.stores.token")
    with pytest.raises(ConfigError) as caught:
        open_keys(place.settings())
    assert caught.value.remedy == install_extra("pkcs11")


def test_the_library_is_loaded_by_this_store_alone(tmp_path: Path) -> None:
    code = """
import sys
from agent.identity.stores import open_keys, open_secrets
from key_rig import Place
from pathlib import Path
settings = Place("file", Path(sys.argv[1])).settings()
open_secrets(settings).put("a", b"x")
print("cryptography" in sys.modules)
open_keys(settings).generate("hub")
print("pkcs11" in sys.modules)
"""
    done = Place("file", tmp_path).run(code, str(tmp_path))
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_the_secrets_of_another_token_are_refused(place: Place) -> None:
    open_secrets(place.settings()).put("network", b"x")
    other = place.settings(pkcs11_token="other")
    with pytest.raises(SecretTroubleError, match="has not the key"):
        open_secrets(other).get("network")
    (place.state / "secrets" / "master.key").rename(place.state / "drawer")
    open_secrets(other).put("mine", b"x")
    (place.state / "drawer").rename(place.state / "secrets" / "master.key")
    with pytest.raises(SecretTroubleError):
        open_secrets(other).get("network")
    forget(other)


def test_offboarding_empties_the_token_of_what_is_ours(place: Place) -> None:
    keys = open_keys(place.settings())
    keys.generate("hub")
    open_secrets(place.settings()).put("network", b"x")
    session = keys._token._session  # type: ignore[attr-defined]  # somebody else's object
    others = session.generate_key(pkcs11.KeyType.AES, 256, store=True, label="of another program")
    forget(place.settings())
    assert not keys.has("hub")
    assert [found[pkcs11.Attribute.LABEL] for found in session.get_objects()] == ["of another program"]
    others.destroy()


@pytest.mark.parametrize("token", [TOKEN, "not plugged in"])
def test_a_hub_that_is_offboarded_forgets_its_key_or_says_that_it_could_not(
    place: Place, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    keys, told = open_keys(place.settings()), place.settings(pkcs11_token=token)
    keys.generate("hub")
    place.state.mkdir(exist_ok=True)
    offboard_mark.write(place.state, offboard.mark(told, "2026-01-01T00:00:00.000Z"))
    offboard.finish(told)
    assert keys.has("hub") is (token != TOKEN)
    assert ("stays in its token" in caplog.text) is (token != TOKEN)
    assert [path.name for path in place.state.iterdir()] == [offboard.MARK]


@pytest.mark.conformance
def test_openssl_reads_the_file_that_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(uri_pem("a token", f"{PREFIX}hub"))
    done = subprocess.run(["openssl", "asn1parse", "-in", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "VISIBLESTRING     :PKCS#11 Provider URI v1.0" in done.stdout
    assert "UTF8STRING        :pkcs11:token=a%20token;object=hub-agent%3Ahub;type=private" in done.stdout


def test_a_token_that_is_pulled_out_is_not_an_empty_one(alone: Place, tmp_path: Path) -> None:
    """SoftHSM says so of it. A key must not be made anew, nor be taken for destroyed, because its token is in a drawer."""
    code = f"""{OPEN}
tokens = Path(sys.argv[5])
keys, secrets = open_keys(settings), open_secrets(settings)
keys.generate("hub-a")
secrets.put("network", b"x")
before = keys.public_key("hub-a")
for empty in (True, False):
    tokens.rename(tokens.with_name("drawer"))
    if empty:
        tokens.mkdir()
    for use in (keys.names, lambda: keys.has("hub-a"), lambda: keys.sign("hub-a", b""), lambda: keys.generate("hub-b"),
                lambda: open_keys(settings).public_key("hub-a"), lambda: open_secrets(settings).get("network")):
        fails(use)
    if empty:
        tokens.rmdir()
    tokens.with_name("drawer").rename(tokens)
    assert keys.sign("hub-a", b"") and keys.names() == ("hub-a",) and keys.public_key("hub-a") == before
    assert open_secrets(settings).get("network") == b"x"
"""
    done = alone.run(code, str(alone.state), str(SOFTHSM), TOKEN, PIN, str(tmp_path / "softhsm" / "tokens"))
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["KeyStoreAwayError"] * 12, done.stdout


def test_a_password_of_the_wrong_kind_reaches_no_command_line(alone: Place, tmp_path: Path) -> None:
    """The command line ends with 78, which systemd does not start again, and shows no PIN."""
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text("999999")
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[hub]\nstate_dir = "{alone.state}"\n[identity]\nstore = "pkcs11"\npkcs11_module = "{SOFTHSM}"\n'
        f'pkcs11_token = "{TOKEN}"\npin = "file:{pin}"\n'
    )
    code = "import sys; from agent import cli; sys.exit(cli.main(sys.argv[1:]))"
    done = alone.run(code, "identity", "csr", "-c", str(config))
    assert done.returncode == int(Exit.CONFIG), done.stderr
    assert "refuses the PIN" in done.stderr
    assert "999999" not in done.stdout + done.stderr


def test_the_error_of_a_lost_token_is_no_configuration_error() -> None:
    """The supervisor tries again after one, and ends the process after the other."""
    assert not issubclass(KeyStoreAwayError, ConfigError)
