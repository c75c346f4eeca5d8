"""Firmware bundles: what the account uploads, and what lies in the bucket already. PURE but for the objects behind it.

Zip files and their manifest: the API's description (UploadFirmware, ListFirmware). A bundle of one file is kept as this file, one of
several as the zip file that it came as. Modem firmware is the vendor's and cannot be uploaded: in the stand-in it is what somebody has
put into the bucket under a name of its kind.
"""

import base64
import io
import json
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from agent.clock import iso
from agent.sim.nrf.answers import INVALID, NOT_FOUND, NrfError
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

BUCKET = "nrf-bundles"
BUNDLE = re.compile(r"(APP|MODEM|BOOT|SOFTDEVICE|BOOTLOADER|MDM_FULL|SMP|CUSTOM)\*[0-9a-zA-Z]{8}\*.*")
MODEM = ("MODEM", "MDM_FULL")
MANIFEST = "manifest.json"
UNPACKED = 64 * 1024 * 1024  # bytes
_KINDS = {"application": "APP", "mcuboot": "BOOT", "bootloader": "BOOTLOADER", "softdevice": "SOFTDEVICE"}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NO_ARCHIVE = (  # what zipfile says of a file that is none, or that is damaged
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    KeyError,
    ValueError,
    OverflowError,
    RecursionError,
    RuntimeError,
)
_VERSION = re.compile(r"[a-zA-Z0-9._-]{1,60}")

Body = dict[str, Any]


class Firmwares:
    """What is told of bundles in the records of kind `nrf-firmware`; `write(bucket, key, content)` keeps a file."""

    def __init__(self, records: Records, objects: Objects, write: Callable[[str, str, bytes], str]) -> None:
        self._records, self._objects, self._write = records, objects, write

    def newest_first(self, *, modem: bool = False) -> Iterator[Body]:
        """The account's bundles or, with `modem`, those of modems."""
        for name, size, changed in self._objects.listed(BUCKET):
            if BUNDLE.fullmatch(name) and (name.partition("*")[0] in MODEM) == modem:
                yield self._shown(name, size, changed)

    def _shown(self, name: str, size: int, changed: float) -> Body:
        kind, _, rest = name.partition("*")
        told = {"version": rest.partition("*")[2], "filenames": [name]} | (
            self._records.get("nrf-firmware", name) or {}
        )
        return {"bundleId": name, "type": kind, "size": size, "lastModified": iso(changed), **told}

    def upload(self, body: bytes) -> Body:
        """Take a zip file, binary or in base64: `{"uris"}`. Raises NrfError."""
        content = body if body[:2] == b"PK" else _decoded(body)
        manifest, files = _unpacked(content)
        entries = _entries(manifest, files)
        kind = next(entry["type"] for entry in entries if entry["type"] != "init_packet")
        bundle = f"{_KINDS[kind]}*{secrets.token_hex(4)}*{manifest['fwversion']}"
        record: Record = {name: str(manifest[name]) for name in ("name", "description") if name in manifest}
        record |= {"version": manifest["fwversion"], "filenames": [entry["file"] for entry in entries]}
        self._records.put("nrf-firmware", bundle, record)
        kept = files[entries[0]["file"]] if len(entries) == 1 else content
        return {"uris": [self._objects.address(self._write(BUCKET, bundle, kept))]}

    def read(self, bundle: str) -> bytes:
        """Raises NrfError."""
        if not BUNDLE.fullmatch(bundle):
            raise NrfError(INVALID, "bundleId does not have its pattern")
        content = self._objects.read(f"s3://{BUCKET}/{bundle}")
        if content is None:
            raise NrfError(NOT_FOUND, f"there is no bundle {bundle[:100]}")
        return content

    def version(self, bundle: str) -> str:
        """As its manifest says, or its name when it has come without one."""
        told = self._records.get("nrf-firmware", bundle) or {}
        return str(told.get("version", bundle.split("*", 2)[-1]))

    def delete(self, bundle: str) -> None:
        """Raises NrfError."""
        if bundle.partition("*")[0] in MODEM or not self._objects.delete(BUCKET, bundle):
            raise NrfError(NOT_FOUND, f"there is no bundle {bundle[:100]} of the account")
        self._records.delete("nrf-firmware", bundle)


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(body.strip(), validate=True)
    except ValueError:
        raise NrfError(INVALID, "the body is a zip file, binary or in base64") from None


def _unpacked(content: bytes) -> tuple[Body, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(entry.file_size for entry in members) > UNPACKED or any(
                e.compress_type not in _METHODS for e in members
            ):
                raise NrfError(INVALID, f"a bundle has {UNPACKED} bytes at most, stored or deflated")
            files = {entry.filename: archive.read(entry) for entry in members}
        manifest = json.loads(files[MANIFEST])
    except _NO_ARCHIVE:
        raise NrfError(INVALID, f"the body is a zip file with a {MANIFEST}") from None
    if not isinstance(manifest, dict):
        raise NrfError(INVALID, f"{MANIFEST} is an object")
    return manifest, files


def _entries(manifest: Body, files: dict[str, bytes]) -> list[Body]:
    """The files of a manifest that holds its rules. Raises NrfError."""
    version, entries = manifest.get("fwversion"), manifest.get("files")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise NrfError(INVALID, "fwversion has 1 to 60 letters, digits, dots, underscores and hyphens")
    if manifest.get("format-version") != 1:
        raise NrfError(INVALID, "format-version is 1")
    if not isinstance(entries, list) or not entries:
        raise NrfError(INVALID, "files is a list")
    for entry in entries:
        match entry:
            case {"file": str(name), "type": str(kind), "size": int(size)} if kind in (*_KINDS, "init_packet"):
                if name not in files or len(files[name]) != size:
                    raise NrfError(INVALID, f"{name} is not in the bundle with {size} bytes")
                if kind != "init_packet" and not name.endswith(".bin"):
                    raise NrfError(INVALID, f"{name} does not end in .bin")
            case _:
                raise NrfError(INVALID, f"a file has file, size, and type: one of {', '.join(_KINDS)}, init_packet")
    if len({entry["type"] for entry in entries} - {"init_packet"}) != 1:
        raise NrfError(INVALID, "the files of a bundle are of one type")
    return entries
