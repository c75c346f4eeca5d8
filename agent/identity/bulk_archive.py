"""Zip files of bulk certificates: taken apart without trust, then matched: certificate, key, and the device that they are for.

A service makes these files, but a download can be anything. Nothing of a member's name reaches the disk; a name that would leave its folder
is refused all the same, because an archive that holds one is not what it seems to be.
"""

import base64
import binascii
import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agent.errors import HubError

MEMBERS = 25_000  # a task has at most some 10,000 pairs
LARGEST_MEMBER = 2 * 1024 * 1024  # a manifest of 10,000 names; a chain has some kilobytes
LARGEST_TOTAL = 64 * 1024 * 1024
RATIO = 200  # PEM text shrinks to a half, a manifest to a tenth
RATIO_FROM = 64 * 1024  # small members may shrink as they like
CERTIFICATE, KEY, MANIFEST = "_cert.pem", "_key.pem", "certificate_manifest.json"

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_REMEDY = "fetch it again; if it stays so, this is no archive of the service"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


class ArchiveTroubleError(HubError):
    """An archive cannot be used; the text says why, the place names the member."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain (PEM, leaf first) and its private key. `id`: the service's name for it. `source`: manifest or subject."""

    id: str
    device: str
    source: str
    certificate: bytes
    key: bytes
    fingerprint: str
    expires: float


def members(path: Path, name: str) -> dict[str, bytes]:
    """The files of an archive below its folder `certs/`. Raises ArchiveTroubleError; what it takes of memory is LARGEST_TOTAL at most."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_all(entries, path.stat().st_size, name)
            return {_short(entry.filename): _content(archive, entry, name) for entry in entries if not entry.is_dir()}
    except ArchiveTroubleError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        RuntimeError,
        OverflowError,
        IndexError,
    ) as error:
        raise ArchiveTroubleError(f"it cannot be read as a zip file: {error}", place=name, remedy=_REMEDY) from None


def _check_all(entries: list[zipfile.ZipInfo], size: int, name: str) -> None:
    if len(entries) > MEMBERS:
        raise ArchiveTroubleError(f"{len(entries)} members, {MEMBERS} are allowed", place=name, remedy=_REMEDY)
    seen: set[str] = set()
    for entry in entries:
        trouble = _trouble(entry)
        if not trouble and _short(entry.filename).casefold() in seen:
            trouble = "there are two members of this name"
        if trouble:
            raise ArchiveTroubleError(trouble, place=f"{name}: {entry.filename[:200]!r}", remedy=_REMEDY)
        seen.add(_short(entry.filename).casefold())
    if sum(entry.file_size for entry in entries) > LARGEST_TOTAL:
        raise ArchiveTroubleError(f"it unpacks to more than {LARGEST_TOTAL} bytes", place=name, remedy=_REMEDY)
    if sum(entry.compress_size for entry in entries) > size:
        raise ArchiveTroubleError("its members overlap", place=name, remedy=_REMEDY)


def _trouble(entry: zipfile.ZipInfo) -> str:
    """Why a member is refused, from its description alone; empty when it is not."""
    words = entry.filename.removesuffix("/").split("/")
    mode = entry.external_attr >> 16
    if entry.filename.startswith(("/", "\\")) or _DRIVE.match(entry.filename):
        return "an absolute name"
    if "\\" in entry.filename or any(word in ("", ".", "..") for word in words):
        return "a name that leaves its folder or is not plain"
    if any(ord(letter) < ord(" ") for letter in entry.orig_filename):
        return "a name with control characters"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device, not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted, which the service never does"
    if entry.compress_type not in _METHODS:
        return "it is compressed in a way that the service does not use"
    if entry.file_size > LARGEST_MEMBER:
        return f"it has {entry.file_size} bytes, {LARGEST_MEMBER} are allowed"
    if entry.file_size > RATIO_FROM and entry.file_size > RATIO * max(entry.compress_size, 1):
        return f"it grows more than {RATIO} times, which no certificate does"
    return ""


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    """A member, read to its declared size and no further."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        place = f"{name}: {entry.filename[:200]!r}"
        raise ArchiveTroubleError("its size is not the declared one", place=place, remedy=_REMEDY)
    return content


def _short(filename: str) -> str:
    return filename.removeprefix("certs/")


# ---- what the members are ---------------------------------------------------------------------------------------------


def manifest(content: bytes, name: str) -> dict[str, str]:
    """Certificate id -> device, of a manifest `{device: certificate id}`. Raises ArchiveTroubleError."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveTroubleError(f"the manifest is not JSON: {error}", place=name, remedy=_REMEDY) from None
    if not isinstance(told, dict) or not all(isinstance(identifier, str) for identifier in told.values()):
        raise ArchiveTroubleError("the manifest is not names with ids", place=name, remedy=_REMEDY)
    made = {identifier: device for device, identifier in told.items() if _is_text(device)}
    if len(made) != len(told):
        raise ArchiveTroubleError(
            "the manifest gives a certificate to two devices, or a name that is no text", place=name, remedy=_REMEDY
        )
    return made


def _is_text(device: str) -> bool:
    """JSON can name half of a surrogate pair, which no text has."""
    try:
        device.encode()
    except UnicodeEncodeError:
        return False
    return True


def pairs(archives: Mapping[str, Mapping[str, bytes]]) -> list[Pair]:
    """The pairs of all archives (by name) of a task, each with its device: of a manifest where one names it, else of its subject.

    Every key is held against its certificate. Raises ArchiveTroubleError.
    """
    named: dict[str, str] = {}
    files: dict[str, tuple[str, bytes]] = {}
    for name, found in archives.items():
        for member, content in found.items():
            if member == MANIFEST:
                named |= manifest(content, name)
            elif member in files and files[member][1] != content:
                raise ArchiveTroubleError("it is in two archives, and not the same", place=member, remedy=_REMEDY)
            else:
                files[member] = name, content
    made = [_pair(member, files, named) for member in files if member.endswith(CERTIFICATE)]
    alone = {m for m in files if m.endswith(KEY)} - {pair.id + KEY for pair in made}
    if alone:
        raise ArchiveTroubleError(f"{len(alone)} keys have no certificate", place=min(alone), remedy=_REMEDY)
    if not made:
        raise ArchiveTroubleError("there is no certificate in it", place=", ".join(archives), remedy=_REMEDY)
    return made


def _pair(member: str, files: Mapping[str, tuple[str, bytes]], named: Mapping[str, str]) -> Pair:
    identifier = member.removesuffix(CERTIFICATE)
    archive, certificate = files[member]
    place = f"{archive}: {member[:200]}"
    if identifier + KEY not in files:
        raise ArchiveTroubleError("the certificate has no key", place=place, remedy=_REMEDY)
    key = files[identifier + KEY][1]
    leaf = check_pair(certificate, key, place)
    fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
    if _FINGERPRINT.fullmatch(identifier) and identifier != fingerprint:
        raise ArchiveTroubleError("the certificate is not the one of its name", place=place, remedy=_REMEDY)
    subject = _subject(leaf)
    device, source = named.get(identifier, ""), "manifest"
    if not device:
        device, source = decoded(subject), "subject"
    elif subject not in (device, base64.b64encode(device.encode()).decode()):
        text = f"the manifest says that it is of {device[:64]!r}, its subject is {subject[:64]!r}"
        raise ArchiveTroubleError(text, place=place, remedy=_REMEDY)
    return Pair(identifier, device, source, certificate, key, fingerprint, leaf.not_valid_after_utc.timestamp())


def check_pair(certificate: bytes, key: bytes, place: str) -> x509.Certificate:
    """The leaf of a chain whose private key is `key` (PKCS #1 or #8, PEM). Raises ArchiveTroubleError."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        public = leaf.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ArchiveTroubleError(f"no PEM certificate: {error}", place=place, remedy=_REMEDY) from None
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the key
        raise ArchiveTroubleError("no PEM private key without a password", place=place, remedy=_REMEDY) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise ArchiveTroubleError("a key of a kind that is not used here", place=place, remedy=_REMEDY)
    if _spki(private.public_key()) != _spki(public):
        raise ArchiveTroubleError("the key is not that of the certificate", place=place, remedy=_REMEDY)
    return leaf


def _spki(key: object) -> bytes:
    encode = key.public_bytes  # type: ignore[attr-defined]  # every public key of the library has it
    return bytes(encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _subject(leaf: x509.Certificate) -> str:
    names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def decoded(subject: str) -> str:
    """The device of a common name, which the service writes in base64, but not always."""
    try:
        text = base64.b64decode(subject, validate=True).decode()
    except (binascii.Error, ValueError):
        return subject
    again = base64.b64encode(text.encode()).decode() == subject
    return text if text and again and text.isprintable() else subject


def file_names(found: Iterable[Pair]) -> dict[str, str]:
    """Certificate id -> a file name without suffix: the device, and its fingerprint where several are of one device.

    The service has defects that make such batches. No name is hidden, leaves its folder or is longer than a file's may be.
    """
    listed = list(found)
    names = [_file_name(pair.device or pair.id) for pair in listed]
    count: dict[str, int] = {}
    for name in names:
        count[name.casefold()] = count.get(name.casefold(), 0) + 1
    return {
        pair.id: name if count[name.casefold()] == 1 else f"{name}.{pair.fingerprint[:16]}"
        for name, pair in zip(names, listed, strict=True)
    }


def _file_name(device: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_:-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), device)
    return safe if len(safe) <= 150 else f"{safe[:80]}.{hashlib.sha256(device.encode()).hexdigest()}"  # noqa: PLR2004
