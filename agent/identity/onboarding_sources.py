"""Where the rows of onboarding files come from: PEM files, folders of them, other CSV files, and this hub itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import ConfigError, UsageError
from agent.files import write_atomic
from agent.identity.hub_identity import HubIdentity
from agent.identity.onboarding_csv import (
    CERTIFICATES,
    DEVICES,
    LARGEST,
    LONGEST_ROW,
    PUBLIC_KEYS,
    Row,
    common_name,
    one_block,
    subject_key,
    tidy,
    write,
)
from agent.settings import Settings

_ENDINGS = ("_crt", "_cert", "_pub", ".pub")  # of file names, as Nordic's and AWS's tools write them
_SUFFIXES = (".pem", ".crt", ".pub")


@dataclass(frozen=True, slots=True)
class Described:
    """What rows made of PEM files say about their devices."""

    sub_type: str = ""
    tags: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()


def read_bounded(path: Path, limit: int) -> bytes:
    """A file of at most `limit` bytes. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror}", place=str(path), remedy="check the path") from None
    if len(data) > limit:
        raise ConfigError(f"it has more than {limit} bytes", place=str(path), remedy="is this the file that you mean?")
    return data


def gather(sources: Iterable[str], kind: str, described: Described) -> list[Row]:
    """The rows of all sources: `FILE.csv`, `FILE.pem`, `DEVICE=FILE.pem` or a folder. Raises RowsTroubleError, ConfigError."""
    rows: list[Row] = []
    for source in sources:
        device, _, named = source.partition("=")
        path = Path(source)
        if path.is_dir():
            rows += _of_folder(path, kind, described)
        elif path.suffix.lower() == ".csv":
            rows += tidy(read_bounded(path, LARGEST), kind, source)
        elif named and not path.exists():
            rows.append(_row(Path(named), device, described))
        else:
            rows.append(_row(path, "", described))
    return rows


def of_hub(settings: Settings, kind: str, described: Described) -> Row:
    """This hub's row: its certificate where it has one and the kind takes it, else its public key. Raises ConfigError, KeyTroubleError."""
    identity = HubIdentity(settings)
    current = identity.current()
    device = settings.hub.id or (current.thing if current else "")
    if not device:
        raise ConfigError("the hub has no id yet", place="hub.id", remedy="set it, or provision the hub")
    slots = identity.slots
    slot = slots.record.current or slots.record.asked
    if slot is None or not slots.keys.has(slots.key(slot)):
        raise ConfigError("the hub has no key yet", place="identity", remedy="`agent identity csr` makes one")
    if kind == CERTIFICATES and current is None:
        remedy = "`agent identity install` or `provision`, or upload its public key"
        raise ConfigError("the hub has no certificate yet", place="identity", remedy=remedy)
    if kind == PUBLIC_KEYS or current is None:
        pem = slots.keys.public_key(slots.key(slot))
    else:
        pem = one_block(read_bounded(slots.chain(slot), LONGEST_ROW).decode("ascii", "replace"))
    return _described(Row(device, pem, place="this hub"), described)


def write_files(rows: list[Row], kind: str, out: Path) -> list[Path]:
    """Write the rows: `out`, or `out` with -1, -2, ... before its suffix when they do not fit in one file. Raises RowsTroubleError, OSError."""
    files = write(rows, kind)
    if not files:
        raise UsageError("there are no rows to write", remedy="name PEM files, a folder, a CSV file, or --self")
    names = [out] if len(files) == 1 else [out.with_stem(f"{out.stem}-{n + 1}") for n in range(len(files))]
    for path, data in zip(names, files, strict=True):
        write_atomic(path, data)
    return names


def _row(path: Path, device: str, described: Described) -> Row:
    text = read_bounded(path, LONGEST_ROW).decode("ascii", "replace")
    pem = one_block(text)
    return _described(Row(device or _device(path, pem), pem, place=str(path)), described)


def _described(row: Row, described: Described) -> Row:
    return replace(row, sub_type=described.sub_type, tags=described.tags, firmware=described.firmware)


def _device(path: Path, pem: str) -> str:
    """The device of a PEM file: the certificate's common name, which MQTT needs to be the device id; of a key, the file's name."""
    if "BEGIN CERTIFICATE" not in pem:
        stem = path.stem
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        return stem
    try:
        return common_name(pem)
    except ValueError:
        return path.stem  # the row is refused for its certificate


def _of_folder(folder: Path, kind: str, described: Described) -> list[Row]:
    """The rows of a folder's PEM files. Private keys, files of other kinds and authorities (`ca.pem`, `..._ca.pem`) are passed over.

    A public key that is also in a certificate of the folder has that certificate's device, which is onboarded with its certificate.
    """
    certificates: list[Row] = []
    keys: list[Row] = []
    authorities: set[bytes] = set()
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file()):
        found = _row(path, "", described)
        if _is_authority(path):  # by its name: its certificate cannot be told from a device's self-signed one
            authorities.add(subject_key(found.pem))
        elif "BEGIN CERTIFICATE" in found.pem:
            certificates.append(found)
        elif "BEGIN PUBLIC KEY" in found.pem:
            keys.append(found)
    devices = {subject_key(row.pem): row.device for row in certificates if subject_key(row.pem)}
    alone = [row for row in keys if subject_key(row.pem) not in authorities - {b""}]
    if kind == PUBLIC_KEYS:
        return [replace(row, device=devices.get(subject_key(row.pem), row.device)) for row in alone]
    more = [row for row in alone if subject_key(row.pem) not in devices] if kind == DEVICES else []
    return [*certificates, *more]


def _is_authority(path: Path) -> bool:
    stem = path.stem.lower()
    return stem == "ca" or stem.endswith("_ca")
