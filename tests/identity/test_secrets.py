"""Secrets that are no keys: one suite for every store, and the part that a driver sees."""

import stat
from pathlib import Path

import pytest
from conftest import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from key_rig import Place

from agent.errors import HubError, PermissionDeniedError
from agent.identity.stores import open_secrets
from agent.secret_store import FileSecrets, ScopedSecrets, Secrets, SecretTroubleError

CANARY = bytes.fromhex("c0ffee00c0ffee11c0ffee22c0ffee33")


@pytest.fixture
def secrets(place: Place) -> Secrets:
    return open_secrets(place.settings())


def test_what_is_put_is_there_after_a_restart(place: Place, secrets: Secrets) -> None:
    assert secrets.get("zigbee.network") is None
    assert secrets.names() == ()
    secrets.put("zigbee.network", CANARY)
    secrets.put("zigbee.network", CANARY * 2)
    secrets.put("zigbee.empty", b"")
    again = open_secrets(place.settings())
    assert again.get("zigbee.network") == CANARY * 2
    assert again.get("zigbee.empty") == b""
    assert again.names() == ("zigbee.empty", "zigbee.network")
    again.delete("zigbee.network")
    again.delete("zigbee.network")
    assert secrets.get("zigbee.network") is None
    assert secrets.names() == ("zigbee.empty",)


def test_secrets_are_private_and_in_clear_only_where_the_store_is_files(place: Place, secrets: Secrets) -> None:
    secrets.put("network", CANARY)
    held = b"".join(path.read_bytes() for path in place.files())
    assert (CANARY in held) == (place.store == "file")
    for path in place.files():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_that_others_may_read_is_refused(place: Place, secrets: Secrets) -> None:
    secrets.put("network", CANARY)
    (place.state / "secrets" / "network.secret").chmod(0o644)
    with pytest.raises(PermissionDeniedError):
        secrets.get("network")


def test_a_large_secret_is_kept_too(secrets: Secrets) -> None:
    """A network's backup has a hundred bytes for each device."""
    large = bytes(range(256)) * 1000
    secrets.put("backup", large)
    assert secrets.get("backup") == large


@given(st.binary(max_size=200) | st.integers(0, 199))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_there_is_never_a_wrong_secret(place: Place, secrets: Secrets, damage: bytes | int) -> None:
    if place.store == "file":
        return  # a file is what it says
    secrets.put("network", CANARY)
    path = place.state / "secrets" / "network.secret"
    path.write_bytes(damage if isinstance(damage, bytes) else path.read_bytes()[: min(damage, 50)])
    with pytest.raises(SecretTroubleError):
        secrets.get("network")


@given(st.binary(max_size=200))
@examples(0.4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_key_of_the_secrets_is_a_clear_error(place: Place, damage: bytes) -> None:
    if place.store in ("file", "sealed"):
        return  # they have none beside the secrets
    open_secrets(place.settings()).put("network", CANARY)
    path = place.state / "secrets" / "master.key"
    whole = path.read_bytes()
    path.write_bytes(damage)
    with pytest.raises(HubError):
        open_secrets(place.settings()).get("network")
    path.write_bytes(whole)
    assert open_secrets(place.settings()).get("network") == CANARY


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\n", "x" * 129, "ä"])
def test_a_name_never_leaves_the_folder(secrets: Secrets, name: str) -> None:
    for use in (secrets.get, secrets.delete, lambda n: secrets.put(n, b"x")):
        with pytest.raises(SecretTroubleError, match="no name"):
            use(name)


def test_each_radio_sees_its_own(tmp_path: Path) -> None:
    store = FileSecrets(tmp_path)
    one, other = ScopedSecrets(store, "zigbee"), ScopedSecrets(store, "zigbee-2")
    one.put("network", b"1")
    other.put("network", b"2")
    assert (one.get("network"), other.get("network")) == (b"1", b"2")
    assert one.names() == other.names() == ("network",)
    one.delete("network")
    assert store.names() == ("zigbee-2.network",)
