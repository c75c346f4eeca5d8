"""nRF Cloud's onboarding files: devices, device certificates and public keys as CSV, read strictly, tidied, and written.

Columns and patterns are those of the API's description: `deviceId,[subType],[tags],[fwTypes],"pem"` for devices, `deviceId,"pem"` for the
others; at most 1,000 rows, no header, no blank line; the PEM is one block that ends with a line break. Rows end with a line feed, as
Nordic's own tools write them.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import ConfigError

DEVICES, CERTIFICATES, PUBLIC_KEYS = "devices", "certificates", "public-keys"
KINDS = (DEVICES, CERTIFICATES, PUBLIC_KEYS)
FIRMWARE = ("APP", "MODEM", "BOOT", "SOFTDEVICE", "BOOTLOADER", "MDM_FULL")
ROWS = 1000
LARGEST = 64 * 1024 * 1024  # bytes of a file that is read: some 50,000 devices
LONGEST_ROW = 128 * 1024  # characters
SHOWN = 100  # problems of one file; who has more has one cause for them

_BLOCKS = {
    DEVICES: ("CERTIFICATE", "PUBLIC KEY"),
    CERTIFICATES: ("CERTIFICATE",),
    PUBLIC_KEYS: ("PUBLIC KEY",),
}
_DEVICE = re.compile(r"[a-z0-9:_-]{1,128}", re.IGNORECASE | re.ASCII)
_SUB_TYPE = re.compile(r"[a-zA-Z0-9_.,@/:#-]{0,799}")
_TAG = re.compile(r"[a-zA-Z0-9_.@:#-]+")
_PEM = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----(\r\n|\r|\n)[^-]+(\r\n|\r|\n)-----END \1-----(\r\n|\r|\n)")
_TIDY = "`agent onboard nrf-csv write` makes a file of it that can be uploaded"


class RowsTroubleError(ConfigError):
    """A file of rows cannot be used; `problems` has one error for each row that is wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """A device, or the certificate or key of one. `place`: where it was read."""

    device: str
    pem: str
    sub_type: str = ""
    tags: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    place: str = field(default="", compare=False)

    def cells(self, kind: str) -> tuple[str, ...]:
        if kind == DEVICES:
            return self.device, self.sub_type, "|".join(self.tags), "|".join(self.firmware), self.pem
        return self.device, self.pem


def read(data: bytes, kind: str, name: str) -> list[Row]:
    """The rows of a file as it can be uploaded. Raises RowsTroubleError with every row that the cloud would refuse."""
    reader = _Reader(data, kind, name, tidy=False)
    rows = list(reader.rows())
    if not reader.problems and not 1 <= len(rows) <= ROWS:
        reader.trouble(f"{len(rows)} rows: a file has 1 to {ROWS}", name, _TIDY if rows else "")
    return _good(rows, kind, name, reader.problems)


def tidy(data: bytes, kind: str, name: str) -> list[Row]:
    """The rows of any file, without byte order mark, header, blank lines and other line ends; a PEM gets its last line break.

    Raises RowsTroubleError for rows that are wrong all the same.
    """
    reader = _Reader(data, kind, name, tidy=True)
    return _good(list(reader.rows()), kind, name, reader.problems)


def write(rows: Sequence[Row], kind: str) -> list[bytes]:
    """The files for these rows, 1,000 in each. Raises RowsTroubleError when a row is wrong or a device is there twice."""
    _good(rows, kind, "", [])
    return [_encoded(rows[start : start + ROWS], kind) for start in range(0, len(rows), ROWS)]


def common_name(pem: str) -> str:
    """The common name of a certificate, empty when it has none. MQTT needs the device id there. Raises ValueError."""
    names = _certificate(pem).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def subject_key(pem: str) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate or public key, empty for what is none."""
    try:
        key = (
            _certificate(pem).public_key()
            if "BEGIN CERTIFICATE" in pem
            else serialization.load_pem_public_key(pem.encode())
        )
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return b""


def mismatches(rows: Iterable[Row]) -> list[str]:
    """What the cloud takes, and will yet not work over MQTT: certificates whose common name is not the device id."""
    named = ((row, common_name(row.pem)) for row in rows if "BEGIN CERTIFICATE" in row.pem)
    text = "the certificate's common name is {!r}, not the device id: its MQTT connection will be refused"
    return [f"{row.place}: {text.format(name[:64])}" for row, name in named if name != row.device][:SHOWN]


def one_block(pem: str) -> str:
    """The first block of a PEM text, with its last line break: the leaf of a chain."""
    begin = pem.find("-----BEGIN ")
    end = pem.find("-----END ", begin)
    stop = pem.find("\n", end)
    return (pem[begin:] if stop < 0 else pem[begin:stop]).replace("\r", "").strip() + "\n" if begin >= 0 else pem


def check_apart(rows: Iterable[Row]) -> None:
    """Raises RowsTroubleError when a device is in two files."""
    seen: dict[str, str] = {}
    for row in rows:
        if text := _twice(row, seen):
            raise RowsTroubleError(text, place=row.place, remedy="take one of the rows away")
        seen[row.device] = row.place


def _twice(row: Row, seen: Mapping[str, str]) -> str:
    return f"the device {row.device} is there already, at {seen[row.device]}" if row.device in seen else ""


def problem(row: Row, kind: str) -> str:
    """Why the cloud would refuse this row, empty when it is good."""
    if not _DEVICE.fullmatch(row.device):
        return "the device id has 1 to 128 of a-z A-Z 0-9 : _ -"
    if not _SUB_TYPE.fullmatch(row.sub_type):
        return "the sub-type has at most 799 of a-z A-Z 0-9 _ . , @ / : # -"
    if not all(_TAG.fullmatch(tag) for tag in row.tags):
        return "a tag has letters, digits and _ . @ : # -, and | stands between two"
    if not all(word in FIRMWARE for word in row.firmware):
        return f"firmware types are {', '.join(FIRMWARE)}, and | stands between two"
    return _pem_problem(row.pem, kind)


def _pem_problem(pem: str, kind: str) -> str:
    if "PRIVATE KEY" in pem:
        return "this is a private key, which never leaves its device"
    wanted = " or ".join(_BLOCKS[kind])
    found = _PEM.fullmatch(pem)
    if found is None:
        text = "it is one PEM block with a line break at its end"
        return f"{text}, and this is a chain" if pem.count("-----BEGIN") > 1 else text
    if found[1] not in _BLOCKS[kind]:
        return f"a {found[1]} stands where a {wanted} belongs"
    try:
        key = _certificate(pem).public_key() if found[1] == "CERTIFICATE" else _public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return f"this is no {found[1]}"
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "its key is not of the curve P-256, which ES256 needs"
    return ""


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _public_key(pem: str) -> object:
    return serialization.load_pem_public_key(pem.encode())


def _encoded(rows: Iterable[Row], kind: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(row.cells(kind) for row in rows)
    return text.getvalue().encode()


def _good(rows: Sequence[Row], kind: str, name: str, problems: list[ConfigError]) -> list[Row]:
    seen: dict[str, str] = {}
    for row in rows:
        if len(problems) >= SHOWN:
            break
        if text := problem(row, kind) or _twice(row, seen):
            problems.append(ConfigError(text, place=row.place or row.device[:64], remedy="correct this row"))
        seen.setdefault(row.device, row.place)
    if problems:
        more = " and perhaps more" if len(problems) >= SHOWN else ""
        raise RowsTroubleError(
            f"{len(problems)}{more} of its rows cannot be used", place=name, problems=tuple(problems)
        )
    return list(rows)


class _Reader:
    """The rows of one file; what is wrong with its form is gathered in `problems`. Memory is bounded by the file's size."""

    def __init__(self, data: bytes, kind: str, name: str, *, tidy: bool) -> None:
        self._data, self._kind, self._name, self._tidy = data, kind, name, tidy
        self.problems: list[ConfigError] = []
        self._last = ""  # line that was read
        self._size = 0  # characters of the row that is being read

    def trouble(self, text: str, place: str, remedy: str) -> None:
        self.problems.append(ConfigError(text, place=place, remedy=remedy))

    def rows(self) -> Iterator[Row]:
        text = self._text()
        made = csv.reader(self._lines(io.StringIO(text, newline="")), strict=True)
        number, line = 0, 1
        while len(self.problems) < SHOWN:
            self._size = 0
            place = f"{self._name}:{line}, row {number + 1}"
            try:
                cells = next(made)
            except StopIteration:
                return
            except csv.Error as error:
                self.trouble(
                    f"not a CSV row: {error}", place, 'quote a cell that has line breaks with one " on each side'
                )
                return
            line = made.line_num + 1
            if cells or not self._tidy:
                number += 1
            if row := self._row(cells, place, first=number == 1):
                yield row

    def _text(self) -> str:
        if len(self._data) > LARGEST:
            self.trouble(f"the file has more than {LARGEST} bytes", self._name, "split it")
            return ""
        try:
            text = self._data.decode("utf-8")
        except UnicodeDecodeError as error:
            self.trouble(f"byte {error.start} is not UTF-8", self._name, "save it as UTF-8 without a byte order mark")
            return ""
        if text.startswith("\ufeff"):
            text = text[1:]
            if not self._tidy:
                self.trouble("it begins with a byte order mark", f"{self._name}:1, row 1", _TIDY)
        return text

    def _lines(self, text: io.StringIO) -> Iterator[str]:
        while line := text.readline(LONGEST_ROW + 1):
            self._last = line
            self._size += len(line)
            if self._size > LONGEST_ROW:
                raise csv.Error(f"it has more than {LONGEST_ROW} characters")
            yield line

    def _row(self, cells: list[str], place: str, *, first: bool) -> Row | None:
        if not cells:
            if not self._tidy:
                self.trouble("a blank line", place, _TIDY)
            return None
        if first and cells[0].strip().lower().replace(" ", "") in ("deviceid", "device_id"):
            if not self._tidy:
                self.trouble("a header", place, _TIDY)
            return None
        if self._last.endswith("\r\n") and not self._tidy:
            self.trouble("the row ends with CR LF, it must be LF", place, _TIDY)
            return None
        if len(cells) != (columns := 5 if self._kind == DEVICES else 2):
            form = 'deviceId,[subType],[tags],[fwTypes],"pem"' if columns == 5 else 'deviceId,"pem"'  # noqa: PLR2004
            self.trouble(f"{len(cells)} columns instead of {columns}", place, f"a row is {form}")
            return None
        pem = _with_break(cells[-1]) if self._tidy else cells[-1]
        described = cells[1:-1] or ["", "", ""]
        tags, firmware = (tuple(cell.split("|")) if cell else () for cell in described[1:])
        return Row(cells[0], pem, described[0], tags, firmware, place)


def _with_break(pem: str) -> str:
    return pem.replace("\r\n", "\n").strip() + "\n"
