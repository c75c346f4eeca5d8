"""Keys of a TPM: swtpm judges, and each way in which a TPM is away, another one, locked or full is told with what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from key_rig import Place, SoftTpm

from agent.errors import ConfigError, HubError
from agent.identity.keys import KeyStore, KeyStoreAwayError, KeyTroubleError, make
from agent.identity.stores import open_keys, open_secrets
from agent.identity.stores.file import private_pem


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[SoftTpm]:
    """One without a resource manager, which may be spoilt."""
    made = SoftTpm(tmp_path / "tpm")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def place(tpm: SoftTpm, tmp_path: Path) -> Place:
    return Place("tpm", tmp_path / "state", {"tpm_tcti": tpm.direct})


@pytest.fixture
def keys(place: Place) -> KeyStore:
    made = open_keys(place.settings())
    made.generate("hub")
    return made


def refused(keys: KeyStore, kind: type[HubError], words: str) -> str:
    with pytest.raises(kind, match=words) as caught:
        keys.sign("hub", b"x")
    return caught.value.remedy


def test_a_tpm_that_is_away_comes_back_with_its_keys(tpm: SoftTpm, keys: KeyStore) -> None:
    tpm.stop()
    assert "tpm_tcti" in refused(keys, KeyStoreAwayError, "there is no TPM")
    tpm.start()
    assert keys.sign("hub", b"x")


def test_a_key_of_another_tpm_is_refused(keys: KeyStore, place: Place, tmp_path: Path) -> None:
    other = SoftTpm(tmp_path / "other")
    other.start()
    try:
        assert "new key" in refused(open_keys(place.settings(tpm_tcti=other.direct)), KeyTroubleError, "another TPM")
    finally:
        other.stop()
    assert keys.sign("hub", b"x")


def test_secrets_of_another_tpm_do_not_open(place: Place, tmp_path: Path) -> None:
    open_secrets(place.settings()).put("network", b"x")
    other = SoftTpm(tmp_path / "other")
    other.start()
    try:
        with pytest.raises(KeyTroubleError, match="another TPM"):
            open_secrets(place.settings(tpm_tcti=other.direct)).get("network")
    finally:
        other.stop()


def test_a_cleared_tpm_is_another_tpm(tpm: SoftTpm, keys: KeyStore) -> None:
    tpm.tool("tpm2_clear", "-c", "p")
    assert "until that is cleared" in refused(keys, KeyTroubleError, "another TPM")


def test_a_locked_tpm_is_waited_for(tpm: SoftTpm, keys: KeyStore) -> None:
    tpm.lock()
    assert "wait" in refused(keys, KeyStoreAwayError, "locked")
    tpm.tool("tpm2_dictionarylockout", "-c")
    assert keys.sign("hub", b"x")


def test_an_owner_with_a_password_is_told(tpm: SoftTpm, keys: KeyStore) -> None:
    tpm.tool("tpm2_changeauth", "-c", "o", "password")
    with pytest.raises(KeyTroubleError, match="owner hierarchy has a password") as caught:
        keys.generate("other")
    assert "tpm2_changeauth" in caught.value.remedy
    assert not keys.has("other")


def test_a_software_key_in_its_place_is_not_used(keys: KeyStore, place: Place) -> None:
    """OpenSSL would take it, and all would seem well."""
    (path,) = place.files()
    own = path.read_bytes()
    for content in (private_pem(make("P-256")), own + private_pem(make("P-256"))):
        path.write_bytes(content)
        refused(keys, KeyTroubleError, "no key of a TPM")


@pytest.mark.parametrize("tcti", ["device:/dev/no-such-tpm", "nonsense", "swtpm:path=/no/such/socket"])
def test_a_wrong_address_of_the_tpm_is_told(keys: KeyStore, place: Place, tcti: str) -> None:
    assert keys.has("hub")
    refused(open_keys(place.settings(tpm_tcti=tcti)), KeyStoreAwayError, "there is no TPM")


def test_without_the_provider_the_package_is_named(
    keys: KeyStore, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert keys.has("hub")
    with monkeypatch.context() as patch:
        patch.setenv("OPENSSL_MODULES", str(tmp_path))
        assert refused(open_keys(place.settings()), ConfigError, "no provider tpm2") == "apt-get install tpm2-openssl"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert "openssl" in refused(open_keys(place.settings()), ConfigError, "no command openssl")


def test_a_tpm_without_room_asks_for_a_resource_manager(tpm: SoftTpm, keys: KeyStore) -> None:
    for slot in range(3):  # what other programs leave in a TPM without a resource manager
        tpm.tool("tpm2_createprimary", "-Q", "-C", "o", "-c", f"left-{slot}", flush=False)
    assert "/dev/tpmrm0" in refused(keys, KeyTroubleError, "no room")
