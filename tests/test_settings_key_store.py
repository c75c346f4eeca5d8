"""[identity] store and what each store needs: every error has its line and a remedy, and no PIN stands in the file or in an error."""

from pathlib import Path

import pytest
from key_rig import SEAL, SOFTHSM
from settings_home import Home

from agent.errors import install_extra

PIN = "7418529630"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def secret(home: Home, text: str) -> str:
    path = home.write(text, "secret")
    path.chmod(0o600)
    return f'"file:{path}"'


def token(home: Home, **other: str) -> str:
    keys = {"pkcs11_module": f'"{SOFTHSM}"', "pkcs11_token": '"hub"', "pin": secret(home, PIN), **other}
    return '[identity]\nstore = "pkcs11"\n' + "".join(f"{name} = {value}\n" for name, value in keys.items() if value)


def test_files_need_nothing(home: Home) -> None:
    home.write("")
    assert home.load().identity.store == "file"


def test_a_store_that_is_complete_is_taken(home: Home) -> None:
    home.write(token(home))
    assert home.load().identity.pin.reveal() == PIN
    home.write(f'[identity]\nstore = "sealed"\nseal = {secret(home, SEAL)}\n')
    assert home.load().identity.seal.reveal() == SEAL
    home.write('[identity]\nstore = "tpm"\ntpm_tcti = "swtpm:path=/run/tpm"\n')
    assert home.load().identity.tpm_tcti == "swtpm:path=/run/tpm"


def test_a_credential_is_taken(home: Home, tmp_path: Path) -> None:
    secret(home, PIN)
    home.env["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    home.write(token(home, pin='"credential:secret"'))
    assert home.load().identity.pin.reveal() == PIN


@pytest.mark.parametrize("value", [f'"{PIN}"', PIN])
@pytest.mark.parametrize("name", ["pin", "seal"])
def test_a_pin_in_the_configuration_itself_is_refused_and_not_shown(home: Home, name: str, value: str) -> None:
    place, message, remedy = home.problem(f"[identity]\n{name} = {value}\n")
    assert place == "agent.toml:2"
    assert message == f"identity.{name}: does not stand in the configuration itself"
    assert "credential:NAME" in remedy
    assert PIN not in message + remedy


def test_nor_in_the_environment(home: Home) -> None:
    home.write(token(home, pin=""))
    home.env["HUB_AGENT__IDENTITY__PIN"] = PIN
    (problem,) = home.problems()
    assert problem[0] == "environment HUB_AGENT__IDENTITY__PIN"
    assert "does not stand" in problem[1]
    assert PIN not in "".join(problem)


@pytest.mark.parametrize("missing", ["pkcs11_module", "pkcs11_token", "pin"])
def test_what_a_token_needs_is_named(home: Home, missing: str) -> None:
    _, message, remedy = home.problem(token(home, **{missing: ""}))
    assert message == f"identity.store: pkcs11 needs `{missing}`"
    assert f"`{missing}`" in remedy


def test_a_library_that_is_not_there_is_named(home: Home) -> None:
    place, message, _ = home.problem(token(home, pkcs11_module='"/no/such/library.so"'))
    assert place == "agent.toml:3"
    assert message == "identity.pkcs11_module: /no/such/library.so is not there"


def test_the_extra_is_named_where_it_is_missing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.checks.find_spec", lambda _name: None)
    _, message, remedy = home.problem(token(home))
    assert message == "identity.store: python-pkcs11 is not installed"
    assert remedy == install_extra("pkcs11")


def test_a_seal_is_needed_and_not_short(home: Home) -> None:
    assert home.problem('[identity]\nstore = "sealed"\n')[1] == "identity.store: sealed needs `seal`"
    text = f'[identity]\nstore = "sealed"\nseal = {secret(home, "guess-me")}\n'
    _, message, remedy = home.problem(text)
    assert message == "identity.seal: shorter than 32 characters: it can be guessed"
    assert "urandom" in remedy


def test_a_machine_without_a_tpm_or_openssl_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/tpmrm0").exists():
        assert "/dev/tpmrm0 is not there" in home.problem('[identity]\nstore = "tpm"\n')[1]
    monkeypatch.setattr("agent.settings.checks.shutil.which", lambda _name: None)
    text = '[identity]\nstore = "tpm"\ntpm_tcti = "device:/dev/tpm0"\n'
    assert "no command openssl" in home.problem(text)[1]


def test_a_store_that_there_is_not_names_those_that_there_are(home: Home) -> None:
    _, message, remedy = home.problem('[identity]\nstore = "vault"\n')
    assert "vault" in message + remedy
    assert "pkcs11" in message + remedy
