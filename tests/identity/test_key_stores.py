"""One suite for every key store: what the protocol says, judged by OpenSSL, and that no key is anywhere but in its store."""

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import examples
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from key_rig import Place

from agent.clock import Moment
from agent.errors import HubError, PermissionDeniedError
from agent.identity.keys import ED25519, KINDS, P256, P384, KeyStore, KeyTroubleError, Subject
from agent.identity.stores import open_keys
from agent.identity.tokens import Stored, Tokens, verify

IN_A_DEVICE = ("pkcs11", "tpm")
NO_KIND_OF_A_DEVICE = (ED25519,)
CRASHES = """
import os, sys
from pathlib import Path
from key_rig import Place
from agent.identity.keys import KeyTroubleError
from agent.identity.stores import open_keys
from agent.settings import Secret

store, state, told = sys.argv[1], Path(sys.argv[2]), eval(sys.argv[3])
place = Place(store, state, {name: Secret(v) if name in ("seal", "pin") else v for name, v in told.items()})
point, ended = 0, False
while not ended:
    point += 1
    child = os.fork()
    if child == 0:
        keys, seen = open_keys(place.settings()), 0
        keys.has("hub")
        def step(event, arguments):
            global seen
            seen += 1
            if seen == point:
                os.kill(os.getpid(), 9)
        seen = 0
        sys.addaudithook(step)
        keys.generate("hub")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = status == 0
    check = os.fork()
    if check == 0:
        keys = open_keys(place.settings())
        if not keys.has("hub"):
            keys.generate("hub")
        keys.sign("hub", b"x")
        keys.destroy("hub")
        assert not keys.has("hub")
        os._exit(0)
    assert os.waitpid(check, 0)[1] == 0, point
print(point - 1)
"""


def openssl(*arguments: str, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)


class At:
    """A clock that stands."""

    def now(self) -> Moment:
        return Moment(1_700_000_000.0, 0.0, "")


def kinds_of(place: Place) -> list[str]:
    return [kind for kind in KINDS if place.store not in IN_A_DEVICE or kind not in NO_KIND_OF_A_DEVICE]


@pytest.mark.conformance
def test_openssl_takes_the_signatures_and_requests_of_every_kind(place: Place, keys: KeyStore, tmp_path: Path) -> None:
    for kind in kinds_of(place):
        keys.generate("hub", kind)
        public, data, signature = tmp_path / "public.pem", tmp_path / "data", tmp_path / "signature"
        public.write_text(keys.public_key("hub"))
        data.write_bytes(b"what is signed")
        signature.write_bytes(keys.sign("hub", b"what is signed"))
        raw = [] if kind == ED25519 else ["-digest", "sha384" if kind == P384 else "sha256"]
        files = ["-inkey", str(public), "-sigfile", str(signature), "-in", str(data)]
        verified = openssl("pkeyutl", "-verify", "-pubin", *files, "-rawin", *raw)
        assert verified.returncode == 0, (kind, verified.stderr)
        request = keys.csr("hub", Subject("HUB-1", {"O": "Home & Co", "C": "NO"}, ("hub-1.local",)))
        judged = openssl("req", "-verify", "-noout", "-text", data=request.encode())
        assert judged.returncode == 0, (kind, judged.stderr)
        for part in (b"O = Home & Co, C = NO, CN = HUB-1", b"TLS Web Client Authentication", b"DNS:hub-1.local"):
            assert part in judged.stdout
        assert x509.load_pem_x509_csr(request.encode()).is_signature_valid
        keys.destroy("hub")


def test_a_kind_that_the_store_has_not_is_refused(place: Place, keys: KeyStore) -> None:
    for kind in {"P-521", "", "RSA-1024", *KINDS} - set(kinds_of(place)):
        with pytest.raises(KeyTroubleError, match="kind"):
            keys.generate("hub", kind)
    assert not keys.has("hub")


def test_keys_have_names_and_are_made_once(keys: KeyStore) -> None:
    keys.generate("hub")
    first = keys.public_key("hub")
    keys.generate("hub-next")
    assert keys.public_key("hub-next") != first
    with pytest.raises(KeyTroubleError, match="already"):
        keys.generate("hub")
    assert keys.public_key("hub") == first
    keys.destroy("hub")
    keys.destroy("hub")
    assert not keys.has("hub")
    for use in (keys.public_key, lambda name: keys.sign(name, b"x"), lambda name: keys.csr(name, Subject("x"))):
        with pytest.raises(KeyTroubleError, match="no key 'hub'"):
            use("hub")
    keys.generate("hub", P256)
    assert keys.public_key("hub") != first


@pytest.mark.parametrize("name", ["", "../hub", "a/b", "A", "-a", "a" * 65, ".", "a\n", "hub-agent:a"])
def test_a_name_never_leaves_the_store(keys: KeyStore, name: str) -> None:
    for use in (keys.generate, keys.has, keys.public_key, keys.destroy, lambda n: keys.sign(n, b"x")):
        with pytest.raises(KeyTroubleError, match="no name"):
            use(name)


def test_keys_stay_over_a_restart(place: Place, keys: KeyStore) -> None:
    keys.generate("hub")
    assert open_keys(place.settings()).public_key("hub") == keys.public_key("hub")


@pytest.mark.conformance
def test_a_destroyed_key_leaves_no_trace(place: Place, keys: KeyStore) -> None:
    before = objects(place)
    keys.generate("hub")
    assert place.files() or objects(place) != before
    keys.destroy("hub")
    assert not place.files()
    assert objects(place) == before


def objects(place: Place) -> str:
    """What OpenSC finds in the token."""
    if place.store != "pkcs11":
        return ""
    told = place.told
    login = ["--login", "--pin", told["pin"].reveal(), "--token-label", told["pkcs11_token"]]
    command = ["pkcs11-tool", "--module", told["pkcs11_module"], *login, "--list-objects"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_are_private_from_their_first_moment(place: Place, keys: KeyStore) -> None:
    before = os.umask(0)
    try:
        keys.generate("hub")
    finally:
        os.umask(before)
    for path in place.files():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_may_touch_is_refused(place: Place, keys: KeyStore, mode: int) -> None:
    keys.generate("hub")
    for path in place.files():
        path.chmod(mode)
        for use in (keys.public_key, lambda name: keys.tls_files(name, Path("x")), lambda name: keys.sign(name, b"x")):
            with pytest.raises(PermissionDeniedError, match=f"{mode:04o}"):
                use("hub")


def test_the_private_key_is_nowhere_below_the_state_folder(place: Place, keys: KeyStore) -> None:
    """In clear, that is: a file store is what it is."""
    keys.generate("hub")
    held = b"".join(path.read_bytes() for path in place.files())
    if place.store == "file":
        assert b"PRIVATE KEY" in held
    if place.store == "sealed":
        pem = Path(keys.tls_files("hub", Path("x"))[1]).read_bytes()
        number = load_pem_private_key(pem, None).private_numbers().private_value.to_bytes(32)  # type: ignore[union-attr]
        assert number not in held
        assert number.hex().encode() not in held
    if place.store != "file":
        for block in held.split(b"-----BEGIN "):
            with pytest.raises((ValueError, TypeError)):
                load_pem_private_key(b"-----BEGIN " + block, None)


def test_a_power_cut_in_the_middle_leaves_a_whole_key_or_none(place: Place) -> None:
    """Killed before each single thing that Python does to the system in `generate`; then it goes on, and nothing is left over."""
    told = {name: value if isinstance(value, str) else value.reveal() for name, value in place.told.items()}
    done = place.run(CRASHES, place.store, str(place.state), repr(told))
    assert done.returncode == 0, done.stderr
    print("killed at", done.stdout.strip(), "points")
    assert int(done.stdout) >= (0 if place.store == "pkcs11" else 5)
    assert not [path for path in place.state.rglob("*") if path.is_file()]


@given(st.binary(max_size=400) | st.tuples(st.integers(0, 400), st.integers(1, 255)) | st.integers(0, 399))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_there_is_a_key_or_a_clear_error(
    place: Place, keys: KeyStore, damage: "bytes | tuple[int, int] | int"
) -> None:
    """Random bytes, one changed byte, or the beginning only."""
    if place.store == "pkcs11":
        return  # there is no file that it reads
    if not keys.has("hub"):
        keys.generate("hub")
    (path,) = place.files()
    whole = path.read_bytes()
    if isinstance(damage, bytes):
        content = damage
    elif isinstance(damage, int):
        content = whole[:damage]
    else:
        at = damage[0] % len(whole)
        content = whole[:at] + bytes([whole[at] ^ damage[1]]) + whole[at + 1 :]
    path.write_bytes(content)
    with suppress(HubError):  # what is changed where nothing is kept, such as a PEM file's end, is still a key
        keys.sign("hub", b"x")
    path.write_bytes(whole)


def test_tokens_are_signed_by_every_store(keys: KeyStore) -> None:
    keys.generate("hub")
    token = Tokens(Stored(keys, "hub"), "hub-1", At()).token()
    assert verify(token, keys.public_key("hub"), now=1_700_000_000.0)["sub"] == "hub-1"
