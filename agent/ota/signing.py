"""Makes what agent/ota/trust.py verifies: keys, roots, releases, permissions. For makers and their CI; the daemon never imports it.

A description is TOML or JSON. What a machine can find out is left out of it: sizes, hashes, key ids, today's date. An envelope that is
given instead of a description gets further signatures, so that the keys of a threshold may lie on different machines.
"""

import hashlib
import json
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from agent.errors import ConfigError, HubError, UsageError
from agent.files import write_atomic
from agent.ota.documents import Document, instant, read, strict_json
from agent.ota.manifest import CHUNK, LARGEST, Downgrade, Release
from agent.ota.refusals import MalformedError, RefusedError, TooLargeError, WrongProductError
from agent.ota.roots import LARGEST_ROOT, ROOT, Root, RootDocument, trust
from agent.ota.signatures import (
    Key,
    Signed,
    header_of,
    jwk,
    new_key,
    open_envelope,
    private_pem,
    public_pem,
    read_public,
    seal,
)
from agent.ota.signing_keys import Passphrase, new_token_key, private_key
from agent.settings import values

KINDS: Mapping[str, tuple[type[Document], int]] = {
    "release": (Release, LARGEST),
    "root": (RootDocument, LARGEST_ROOT),
    "downgrade": (Downgrade, LARGEST),
}


@dataclass(frozen=True, slots=True)
class Made:
    """What was written. `wanted`: role -> signatures that are still missing, as far as the roots are known."""

    file: Path
    kind: str
    digest: str
    signers: tuple[str, ...]
    wanted: Mapping[str, int]

    def told(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "type": self.kind,
            "sha256": self.digest,
            "signed_by": list(self.signers),
            "missing": dict(self.wanted),
        }


def make_key(path: Path, algorithm: str, sealed: Passphrase | None = None) -> dict[str, str]:
    """A new key: PATH (mode 0600) and PATH with .pub.pem for its public half, neither of which may be there. Raises HubError.

    `sealed`: where the passphrase comes from that it is to be sealed with.
    """
    public = path.with_suffix(".pub.pem")
    _free(path, public)
    passphrase = b"" if sealed is None else sealed.chosen(f"new passphrase of {path}").reveal().encode()
    key = new_key(algorithm)
    _write(path, private_pem(key, passphrase), 0o600)
    _write(public, public_pem(key), 0o644)
    return {"key": str(path), "public_key": str(public), "kid": jwk(key.public_key()).thumbprint}


def make_token_key(uri: str, public: Path, passphrase: Passphrase) -> dict[str, str]:
    """A new P-256 key in a token, and its public half in a file. Raises HubError."""
    _free(public)
    key = new_token_key(uri, passphrase)
    _write(public, public_pem(key), 0o644)
    return {"key": uri.partition("?")[0], "public_key": str(public), "kid": jwk(key.public_key()).thumbprint}


def _free(*paths: Path) -> None:
    for one in paths:
        if one.exists():
            raise UsageError("it is there already", place=str(one), remedy="take another name, or move it away")


def sign(
    source: Path,
    keys: Sequence[Path | str],
    out: Path | None,
    root: Path | None = None,
    passphrase: Passphrase | None = None,
) -> Made:
    """Sign a description, or an envelope once more; see the module. Writes `out`, by default the envelope itself or a file beside it.

    `keys`: files, and `pkcs11:` URIs; `root`: the root that will judge it; for a root the one before it. Raises HubError.
    """
    content = _content(source)
    judge = _root(root) if root else None
    already: tuple[str, ...] = ()
    if (description := _description(source, content)) is not None:
        document, before = _described(source, description)
        judge = judge or before
        payload, kind, target = document.encoded(), document.type, out or _beside(source, document)
    else:
        signed = _opened(content, str(source))
        payload, already, target = signed.payload, signed.signatures, out or source
        kind = str(strict_json(payload, LARGEST_ROOT, str(source)).get("type"))
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is no type", place=str(source), remedy=f"one of {', '.join(KINDS)}")
    model, most = KINDS[kind]
    if len(payload) > most:
        text = f"the document has {len(payload)} bytes, and hubs take {most}"
        raise TooLargeError(text, place=str(source), remedy="give large files a larger `chunk_size`, such as 16777216")
    document = read(model, payload, most, str(source))
    if judge is not None and judge.document.product != document.product:
        text = f"it is for {document.product}, and the root of {judge.document.product}"
        raise WrongProductError(text, place=str(source), remedy="take the root of this product")
    asks = passphrase or Passphrase()
    envelope = seal(payload, kind, [private_key(str(name), asks) for name in keys], already)
    made = Signed(payload, envelope.signatures)
    wanted = _wanted(document, made, kind, judge)
    _write(target, envelope.encoded(), 0o644)
    signers = tuple(header_of(text, kind, "") for text in envelope.signatures)
    return Made(target, kind, hashlib.sha256(payload).hexdigest(), signers, wanted)


def _wanted(document: Document, made: Signed, kind: str, judge: Root | None) -> dict[str, int]:
    """How many keys of which role have still to sign."""
    roots = {f"{kind} of root {judge.version}": judge} if judge else {}
    if isinstance(document, RootDocument):
        roots[f"{kind} of root {document.version}"] = trust(document)
    wanted: dict[str, int] = {}
    for name, one in roots.items():
        if (verifier := one.verifiers.get(kind)) is None:
            raise MalformedError(
                f"root {one.version} names no keys for the type {kind}", remedy="have one signed that does"
            )
        if (missing := verifier.threshold - len(verifier.signers(made, kind, ""))) > 0:
            wanted[name] = missing
    return wanted


def _description(source: Path, content: bytes) -> dict[str, Any] | None:
    """What a description says; None for an envelope."""
    if source.suffix != ".toml":
        told = strict_json(content, 2 * LARGEST_ROOT, str(source))
        return None if "payload" in told else told
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise ConfigError(f"no TOML: {error}", place=str(source), remedy="see `agent ota sign --help`") from None


def _described(source: Path, told: dict[str, Any]) -> tuple[Document, Root | None]:
    """The document that a description describes, and the root before it, for a root that names one."""
    kind = told.setdefault("type", "release")
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is no type", place=str(source), remedy=f"one of {', '.join(KINDS)}")
    now = int(time.time())
    told.setdefault("schema_version", 1)
    for name in ("created", "expires", "not_before"):
        if name in told or (name == "created" and kind == "release"):
            told[name] = _moment(told.get(name, 0), now, f"{source}: {name}")
    before = None
    if kind == ROOT:
        before = _root(_path(source, told.pop("previous"))) if "previous" in told else None
        told = _with_keys(told, source, before)
    elif kind == "release":
        for component in filter(_is_table, _list(told, "components")):
            component["files"] = [_file(source, one) for one in _list(component, "files")]
    data = json.dumps(told, default=_no_json).encode()
    return read(KINDS[kind][0], data, 2 * LARGEST_ROOT, str(source)), before


def _is_table(found: object) -> bool:
    return isinstance(found, dict)


def _list(table: Mapping[str, Any], name: str) -> list[Any]:
    found = table.get(name, [])
    return found if isinstance(found, list) else []


def _no_json(found: object) -> str:
    """TOML has times; where one is not expected, the schema says so."""
    return str(found)


def _moment(given: Any, now: int, place: str) -> str:
    """A time of TOML, a text of the schema, or a duration from now ("90d", 0)."""
    if isinstance(given, datetime):
        return instant(int(given.replace(tzinfo=given.tzinfo or UTC).timestamp()))
    if isinstance(given, date):
        return instant(int(datetime(given.year, given.month, given.day, tzinfo=UTC).timestamp()))
    try:
        return instant(now + int(values.seconds(given)))
    except (PydanticCustomError, TypeError, ValueError, OverflowError):
        if isinstance(given, str) and "T" in given:
            return given
        raise ConfigError("no time", place=place, remedy='write 2027-01-31, 2027-01-31T12:00:00Z or "90d"') from None


def _with_keys(told: dict[str, Any], source: Path, before: Root | None) -> dict[str, Any]:
    """Files of public keys become key ids, and the keys themselves."""
    keys: dict[str, Any] = {}
    roles = told.get("roles")
    for role in filter(_is_table, roles.values() if isinstance(roles, dict) else ()):
        named = [_public(_path(source, name)) for name in _list(role, "keys")]
        keys |= {key.thumbprint: key.model_dump(exclude_none=True) for key in named}
        role["keys"] = [key.thumbprint for key in named]
    found = {**told, "keys": keys}
    found.setdefault("version", before.version + 1 if before else 1)
    if before is not None and before.document.recovery is not None and "recovery" not in found:
        found["recovery"] = (
            before.document.recovery.model_dump()
        )  # a hub that was switched off for a year needs it still
    return found


def _file(source: Path, given: Any) -> dict[str, Any]:
    """The facts of a file: a path, or a table with `path` and what is to be said of it (`name`, `url`, `chunk_size`)."""
    told = {"path": given} if isinstance(given, str) else dict(given) if isinstance(given, dict) else {}
    path = _path(source, told.pop("path", None))
    chunk = told.get("chunk_size", CHUNK)
    if type(chunk) is not int or chunk <= 0:
        raise ConfigError("chunk_size is a number of bytes", place=str(source), remedy="write 1048576 or more")
    whole, chunks, size = hashlib.sha256(), [], 0
    try:
        with path.open("rb") as file:
            while data := file.read(chunk):
                whole.update(data)
                chunks.append(hashlib.sha256(data).hexdigest())
                size += len(data)
    except OSError as error:
        raise _unreadable(path, error) from None
    return {"name": path.name, "size": size, "sha256": whole.hexdigest(), "chunks": chunks, **told}


def _path(source: Path, name: Any) -> Path:
    """A path of a description is relative to its folder."""
    if not isinstance(name, str) or not name:
        raise ConfigError("a file is named by its path", place=str(source), remedy='write files = ["dist/agent.whl"]')
    return source.parent / name


def _beside(source: Path, document: Document) -> Path:
    """`1.root.json`, as TUF names them; `release.json` for release.toml."""
    if isinstance(document, RootDocument):
        return source.with_name(f"{document.version}.root.json")
    return source.with_suffix(".signed.json" if source.suffix == ".json" else ".json")


def _root(path: Path) -> Root:
    """A root as it is: whoever signs has it from a place of his own."""
    signed = _opened(_content(path), str(path))
    return trust(read(RootDocument, signed.payload, LARGEST_ROOT, str(path)))


def _opened(content: bytes, place: str) -> Signed:
    try:
        return open_envelope(content, LARGEST_ROOT, place)
    except RefusedError as error:
        remedy = "give a description (NAME.toml), or an envelope that `agent ota sign` made"
        raise ConfigError(error.message, place=place, remedy=remedy) from None


def _public(path: Path) -> Key:
    try:
        return read_public(_content(path))
    except ValueError as error:
        text = f"no public key that signs: {error}"
        raise ConfigError(text, place=str(path), remedy="name the .pub.pem beside the private key") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> HubError:
    return ConfigError(f"cannot be read: {error.strerror}", place=str(path), remedy="check the path")


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        write_atomic(path, data, mode=mode)
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        raise HubError(text, place=str(path), remedy="name a place that you may write to") from None
