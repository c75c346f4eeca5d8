"""The zip file of a legacy DFU: an application with its init packet. PURE, strict and bounded, whatever a member says of its own size.

Source: nrfutil's distribution packet, `{"manifest": {"application": {"bin_file", "dat_file"}}}`; nRF5 SDK 11, "Init packet".
"""

import binascii
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LARGEST = 4 << 20  # octets of the zip file
LARGEST_IMAGE, LARGEST_INIT, LARGEST_MANIFEST = 2 << 20, 4096, 16_384
MOST_MEMBERS = 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_ZIP = b"PK"
_INIT = struct.Struct("<HHIH")
_CRC = 2
_SEED = 0xFFFF


class PackageError(ValueError):
    """This is no package that can be sent; the text says why."""


@dataclass(frozen=True, slots=True)
class Package:
    """`init` is sent before `image`, as it is."""

    image: bytes
    init: bytes


class _Files(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    bin_file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,127}$")
    dat_file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,127}$")


class _Parts(BaseModel):
    """Only applications are sent: a SoftDevice or boot loader that does not start leaves a device that nobody reaches."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    application: _Files
    bootloader: None = None
    softdevice: None = None
    softdevice_bootloader: None = None


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    manifest: _Parts


def is_zip(data: bytes) -> bool:
    """Whether a file is meant to be a package."""
    return data.startswith(_ZIP)


def parse(data: bytes) -> Package:
    """Raises PackageError."""
    if len(data) > LARGEST:
        raise PackageError(f"{len(data)} octets are more than {LARGEST}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
            files = _manifest(_member(archive, members, "manifest.json", LARGEST_MANIFEST)).manifest.application
            image = _member(archive, members, files.bin_file, LARGEST_IMAGE)
            package = Package(image, _member(archive, members, files.dat_file, LARGEST_INIT))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, OSError, ValueError) as error:
        if isinstance(error, PackageError):
            raise
        raise PackageError(f"the zip file is damaged: {error}") from error
    _check(package)
    return package


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    found = {info.filename: info for info in infos}
    if len(infos) > MOST_MEMBERS or len(found) != len(infos):
        raise PackageError(f"it has more than {MOST_MEMBERS} members, or one twice")
    return found


def _member(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, most: int) -> bytes:
    info = members.get(name)
    if info is None:
        raise PackageError(f"it has no {name}")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise PackageError(f"{name} is packed in a way that is not read here")
    with archive.open(info) as file:
        content = file.read(most + 1)  # no more, whatever it would unpack to
    if not 0 < len(content) <= most:
        raise PackageError(f"{name} is empty, or has more than {most} octets")
    return content


def _manifest(content: bytes) -> _Manifest:
    try:
        return _Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the document"
        raise PackageError(f"manifest.json: {place}: {first['msg']}") from None


def _check(package: Package) -> None:
    """The checksum of the image, where the init packet ends with one; later forms of it are judged by the device alone."""
    init = package.init
    end = 0
    if len(init) >= _INIT.size:
        end = _INIT.size + 2 * _INIT.unpack_from(init)[3]
    if len(init) == end + _CRC and int.from_bytes(init[end:], "little") != binascii.crc_hqx(package.image, _SEED):
        raise PackageError("the image is not the one that its init packet is for")
