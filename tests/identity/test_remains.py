"""The proof that no private key is left finds every key that is planted, wherever and in whatever form."""

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption

from agent.identity.keys import KINDS, PrivateKey
from agent.identity.remains import fingerprint, scan
from agent.identity.stores.file import FileKeys

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, OLD = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
OPENSSH, PUBLIC = serialization.PrivateFormat.OpenSSH, serialization.PublicFormat.SubjectPublicKeyInfo
KEYS: dict[str, PrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA-2048": rsa.generate_private_key(65537, 2048),
}


def destroyed(kind: str) -> dict[str, str]:
    pem = KEYS[kind].public_key().public_bytes(PEM, PUBLIC).decode()
    return {fingerprint(pem): kind}


def pem(kind: str, form: serialization.PrivateFormat = PKCS8) -> bytes:
    return KEYS[kind].private_bytes(PEM, form, NoEncryption())


def der(kind: str, form: serialization.PrivateFormat = PKCS8) -> bytes:
    return KEYS[kind].private_bytes(DER, form, NoEncryption())


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "wrap", [lambda c: c, lambda c: b"\x00log line " + c + b"and more" * 50], ids=["bare", "inside"]
)
def test_a_key_is_found_and_named_in_each_form(tmp_path: Path, kind: str, wrap: Callable[[bytes], bytes]) -> None:
    old = kind != "Ed25519"
    forms = {
        "pem": pem(kind),
        "der": der(kind),
        "escaped": json.dumps({"key": pem(kind).decode()}).encode(),
        "base64": b'{"k": "' + base64.b64encode(der(kind)) + b'"}',
        "mime": base64.encodebytes(der(kind)),
        **({"old pem": pem(kind, OLD), "old der": der(kind, OLD)} if old else {}),
    }
    for name, content in forms.items():
        file = tmp_path / "planted"
        file.write_bytes(wrap(content))
        count, left = scan([tmp_path], [], destroyed(kind))
        assert count == 1
        assert kind in [found.matches for found in left], (name, left)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519"])
def test_the_bare_number_of_a_destroyed_key_is_found(tmp_path: Path, kind: str) -> None:
    key = KEYS[kind]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        number = key.private_numbers().private_value.to_bytes(key.key_size // 8)
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        number = key.private_bytes_raw()
    for content in (number, number.hex().encode() + b"\n"):
        (tmp_path / "planted").write_bytes(content)
        assert [found.matches for found in scan([tmp_path], [], destroyed(kind))[1]] == [kind]
    (tmp_path / "planted").write_bytes(bytes(32))
    assert scan([tmp_path], [], destroyed(kind))[1] == []


def test_keys_that_nobody_can_read_or_knows_count_too(tmp_path: Path) -> None:
    key = KEYS["P-256"]
    contents = [
        key.private_bytes(PEM, PKCS8, BestAvailableEncryption(b"secret")),
        key.private_bytes(PEM, OPENSSH, NoEncryption()),
        pem("P-256")[:60],  # torn
        b"-----BEGIN TSS2 PRIVATE KEY-----\nMC4=\n-----END TSS2 PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X\n\nabcd\n-----END RSA PRIVATE KEY-----\n",
    ]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    left = scan([tmp_path], [], {})[1]
    assert {found.where for found in left} == {str(tmp_path / str(number)) for number in range(len(contents))}
    assert not any(found.matches for found in left)


def test_what_is_no_private_key_is_not_taken_for_one(tmp_path: Path) -> None:
    for kind, key in KEYS.items():
        (tmp_path / f"{kind}.pem").write_bytes(key.public_key().public_bytes(PEM, PUBLIC))
        (tmp_path / f"{kind}.der").write_bytes(key.public_key().public_bytes(DER, PUBLIC))
    (tmp_path / "page").write_text("a text about -----BEGIN CERTIFICATE----- and keys " + "abcd" * 1000)
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    assert scan([tmp_path], [], {}) == (10, [])


def test_every_place_that_keys_are_kept_in_is_looked_at(tmp_path: Path) -> None:
    """Stores of each kind of key, what a torn write leaves, notes, the database, radios, logs; but no links, and not what is kept."""
    state = tmp_path / "state"
    store = FileKeys(state / "identity" / "keys")
    for number, kind in enumerate(KINDS):
        store.generate(f"key-{number}", kind)
    names = {fingerprint(store.public_key(name)): name for name in store.names()}
    torn = state / "identity" / "keys" / ".hub-a.key.77.tmp"
    torn.write_bytes((state / "identity" / "keys" / "key-0.key").read_bytes())
    note = state / "identity" / "pending.json"
    note.write_text(json.dumps({"created": {"privateKey": pem("RSA-2048").decode()}}))
    database = state / "hub.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE meta (value TEXT)")
        connection.execute("INSERT INTO meta VALUES (?)", (pem("P-256").decode(),))
    connection.close()
    others = [state / "radios" / "zigbee" / "backup.json", state / "logs" / "hub.log", state / ".hidden"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pem("P-384"))
    kept = state / "claim.key"
    kept.write_bytes(pem("Ed25519"))
    (state / "link").symlink_to(kept)
    count, left = scan([state], [kept], names)
    found = {entry.where: entry.matches for entry in left}
    assert count == len(KINDS) + 6
    assert {str(path) for path in (torn, note, database, *others)} <= set(found)
    assert [found[str(state / "identity" / "keys" / f"{name}.key")] for name in store.names()] == list(store.names())
    assert found[str(torn)] == "key-0"
    assert str(kept) not in found
    shutil.rmtree(state / "identity")
    assert len(scan([state], [kept], names)[1]) == 4
