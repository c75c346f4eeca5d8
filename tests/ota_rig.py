"""A maker of updates with fixed keys: roots, releases and permissions, right ones and wrong ones."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agent.clock import ESTIMATED, TRUSTED, Moment
from agent.ota.documents import instant
from agent.ota.floor import Floor
from agent.ota.roots import Root, pinned
from agent.ota.signatures import Key, PrivateKey, jwk, seal
from agent.ota.trust import Hub, Verified, verify

NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
DAY = 86_400
HUB = Hub("hub-1", ("raspberrypi,4-model-b", "aarch64"))
IMAGE = bytes(range(256)) * 20


def key(label: str) -> PrivateKey:
    """The same key for the same label: Ed25519 if it begins with "ed", else P-256."""
    secret = hashlib.sha256(f"test key {label}, guards nothing".encode()).digest()
    if label.startswith("ed"):
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    return ec.derive_private_key(int.from_bytes(secret) >> 1, ec.SECP256R1())


def public(label: str) -> Key:
    return jwk(key(label).public_key())


def kid(label: str) -> str:
    return public(label).thumbprint


def signed(document: dict[str, Any] | bytes, labels: Sequence[str], kind: str = "") -> bytes:
    """An envelope of anything, whether it fits a schema or not."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    name = kind or (document["type"] if isinstance(document, dict) else "release")
    return seal(data, name, [key(label) for label in labels]).encoded()


def role(labels: Sequence[str], threshold: int) -> dict[str, Any]:
    return {"keys": [kid(label) for label in labels], "threshold": threshold}


def root_document(version: int = 1, **changes: Any) -> dict[str, Any]:
    """Roots: 2 of ed-a, ed-b, p-c. Releases: 2 of p-r, ed-s, p-t. Downgrades: ed-d. `labels` adds keys."""
    roots = changes.pop("roots", ("ed-a", "ed-b", "p-c"))
    releases = changes.pop("releases", ("p-r", "ed-s", "p-t"))
    threshold = changes.pop("threshold", 2)
    roles = {"root": role(roots, 2), "release": role(releases, threshold), "downgrade": role(["ed-d"], 1)}
    return {
        "type": "root",
        "schema_version": 1,
        "product": "hub",
        "version": version,
        "expires": instant(int(NOW) + 3650 * DAY),
        "keys": {kid(label): public(label).model_dump(exclude_none=True) for label in (*roots, *releases, "ed-d")},
        "roles": roles,
        **changes,
    }


def root(version: int = 1, labels: Sequence[str] = ("ed-a", "ed-b"), **changes: Any) -> bytes:
    return signed(root_document(version, **changes), labels)


def trusted(**changes: Any) -> Root:
    return pinned(root(**changes))


def file(name: str = "agent.whl", content: bytes = IMAGE, chunk: int = 4096) -> dict[str, Any]:
    return {
        "name": name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "chunk_size": chunk,
        "chunks": [hashlib.sha256(content[at : at + chunk]).hexdigest() for at in range(0, len(content), chunk)],
    }


def agent(version: str = "2.1.0", **changes: Any) -> dict[str, Any]:
    found = {"name": "agent", "kind": "agent", "version": version, "files": [file()]}
    return {**found, "hub": {"boards": ["raspberrypi,4-*"]}, "security_epoch": 2, **changes}


def bulb(**changes: Any) -> dict[str, Any]:
    device = {"manufacturer": 4476, "products": [8454], "hardware": {"min": 1, "max": 3}, "current": {"min": 10}}
    found = {"name": "bulb", "kind": "zigbee", "version": "1.4", "file_version": 20, "files": [file("bulb.ota")]}
    return {**found, "device": device, "requires": [{"component": "agent", "minimum": "2.0"}], **changes}


def release_document(number: int = 7, **changes: Any) -> dict[str, Any]:
    return {
        "type": "release",
        "schema_version": 1,
        "product": "hub",
        "release": "2.1.0",
        "number": number,
        "created": instant(int(NOW) - DAY),
        "expires": instant(int(NOW) + 90 * DAY),
        "components": [agent(), bulb()],
        **changes,
    }


def release(number: int = 7, labels: Sequence[str] = ("p-r", "ed-s"), **changes: Any) -> bytes:
    return signed(release_document(number, **changes), labels)


def permission(labels: Sequence[str] = ("ed-d",), **changes: Any) -> bytes:
    document = {
        "type": "downgrade",
        "schema_version": 1,
        "product": "hub",
        "expires": instant(int(NOW) + DAY),
        "hubs": ["hub-1"],
        "from": 7,
        "to": 5,
    }
    return signed({**document, **changes}, labels)


def at(wall: float = NOW, quality: str = TRUSTED) -> Moment:
    return Moment(wall, 0.0, "boot", quality)


UNKNOWN = at(0.0, ESTIMATED)
FLOOR = Floor(number=6, epochs={"agent": 2}, installed={"agent": "2.0.5"}, time=NOW - 30 * DAY)


def check(data: bytes, **changes: Any) -> Verified:
    """`verify` for this hub, with what is to be different."""
    told = {"root": trusted(), "hub": HUB, "floor": FLOOR, "now": at(), **changes}
    return verify(data, told.pop("root"), told.pop("hub"), told.pop("floor"), told.pop("now"), **told)
