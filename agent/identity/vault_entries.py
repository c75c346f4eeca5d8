"""What goes into the vault: a table of entries with their files, checked before anything is sent, and a journal of what was.

The table is CSV with a header: certificate_title, full_name, applicant_email, file, and if wished issue_date and details. Files are named
from the table's own folder. Bounds: the vault's API description (protocol notes, section 8).
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from agent.errors import ConfigError
from agent.files import sync_folder
from agent.identity.onboarding_sources import read_bounded
from agent.wire.vault import Entry

NEEDED = ("certificate_title", "full_name", "applicant_email", "file")
COLUMNS = (*NEEDED, "issue_date", "details")
LARGEST_TABLE = 8 * 1024 * 1024
LARGEST_FILE = 20 * 1024 * 1024
MOST = 10_000  # entries
TEXT, DETAILS = 255, 1000  # characters
SHOWN = 100  # problems

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_KINDS = {  # beginning of the content -> media type and the endings of its name
    b"%PDF-": ("application/pdf", (".pdf",)),
    b"\xff\xd8\xff": ("image/jpeg", (".jpg", ".jpeg")),
    b"\x89PNG\r\n\x1a\n": ("image/png", (".png",)),
}


class EntriesTroubleError(ConfigError):
    """A table of entries cannot be used; `problems` has one error for each line that is wrong."""


@dataclass(frozen=True, slots=True)
class Document:
    """One line of the table. `key`: of its file's content, and a number where several lines have the same."""

    place: str
    title: str
    name: str
    email: str
    issued: str
    details: str
    file: Path
    kind: str
    key: str

    def entry(self, file_id: str) -> Entry:
        return Entry(
            certificate_title=self.title,
            full_name=self.name,
            applicant_email=self.email,
            file_id=file_id,
            issue_date=self.issued or None,
            details=self.details or None,
        )


def read(table: Path) -> list[Document]:
    """The entries of a table with their files. Raises EntriesTroubleError with every line that the vault would refuse."""
    data = read_bounded(table, LARGEST_TABLE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EntriesTroubleError(
            f"byte {error.start} is not UTF-8", place=str(table), remedy="save it as UTF-8"
        ) from None
    return _Table(table, text).read()


@dataclass(slots=True)
class _Table:
    path: Path
    text: str
    problems: list[ConfigError] = field(default_factory=list)
    lines: dict[tuple[str, ...], str] = field(default_factory=dict)
    contents: dict[str, int] = field(default_factory=dict)

    def read(self) -> list[Document]:
        found = [document for place, cells in self._rows() if (document := self._document(place, cells))]
        if not found and not self.problems:
            self._trouble("there are no entries", str(self.path), f"a header {','.join(COLUMNS)}, and a line for each")
        if self.problems:
            text = f"{len(self.problems)} of its lines cannot be used"
            raise EntriesTroubleError(text, place=str(self.path), problems=tuple(self.problems))
        return found

    def _trouble(self, text: str, place: str, remedy: str) -> None:
        self.problems.append(ConfigError(text, place=place, remedy=remedy))

    def _rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        reader = csv.reader(io.StringIO(self.text, newline=""), strict=True)
        header: list[str] = []
        try:
            for number, cells in enumerate(reader):
                place = f"{self.path}:{reader.line_num}"
                if len(self.problems) >= SHOWN or number > MOST:
                    self._trouble("the lines from here on were not looked at", place, f"at most {MOST} entries at once")
                    return
                if not header:
                    header = [cell.strip().lower() for cell in cells]
                    if not self._good_header(header, place):
                        return
                elif cells and len(cells) != len(header):
                    self._trouble(
                        f"{len(cells)} columns instead of {len(header)}", place, "quote a cell that has a comma"
                    )
                elif cells:
                    yield place, dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except csv.Error as error:
            self._trouble(f"not a CSV line: {error}", f"{self.path}:{reader.line_num}", "quote cells with line breaks")

    def _good_header(self, header: list[str], place: str) -> bool:
        missing = [name for name in NEEDED if name not in header]
        unknown = [name[:32] for name in header if name not in COLUMNS]
        if missing or unknown or len(set(header)) != len(header):
            words = f"missing {', '.join(missing) or 'nothing'}, unknown {', '.join(unknown[:5]) or 'nothing'}"
            self._trouble(f"the header is not that of entries: {words}", place, f"columns are {', '.join(COLUMNS)}")
            return False
        return True

    def _document(self, place: str, cells: dict[str, str]) -> Document | None:
        before = len(self.problems)
        for text in _wrong_texts(cells):
            self._trouble(text, place, "correct this line")
        same = self.lines.setdefault(tuple(cells.values()), place)
        if same != place:
            self._trouble(f"the same entry stands at {same}", place, "take one away")
        path = self.path.parent / cells["file"]
        content, trouble = _content(path, cells["file"])
        kind = "" if trouble else _kind(path, content)
        if trouble or not kind:
            text = trouble or "it is not what its name says, or none of PDF, JPEG and PNG"
            self._trouble(f"{cells['file'][:200]!r}: {text}", place, "PDF, JPEG or PNG of 1 byte to 20 MB")
        if len(self.problems) > before:
            return None
        digest = hashlib.sha256(content).hexdigest()
        number = self.contents.get(digest, 0)
        self.contents[digest] = number + 1
        title, name, email = (cells[column] for column in NEEDED[:3])
        issued, details = cells.get("issue_date", ""), cells.get("details", "")
        return Document(place, title, name, email, issued, details, path, kind, f"{digest}-{number}")


def _wrong_texts(cells: dict[str, str]) -> Iterator[str]:
    for name in NEEDED[:3]:
        if not 1 <= len(cells[name]) <= TEXT:
            yield f"{name} has 1 to {TEXT} characters, not {len(cells[name])}"
    if cells["applicant_email"] and not _EMAIL.fullmatch(cells["applicant_email"]):
        yield "applicant_email is no email address"
    if len(cells.get("details", "")) > DETAILS:
        yield f"details has at most {DETAILS} characters, not {len(cells['details'])}"
    issued = cells.get("issue_date", "")
    if issued and not _is_date(issued):
        yield "issue_date is no date like 2025-06-01"


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text)) and date.fromisoformat(text).year > 0
    except ValueError:
        return False


def _content(path: Path, named: str) -> tuple[bytes, str]:
    """(content, why it is not taken)."""
    try:
        if not named or not path.is_file():
            return b"", "there is no such file"
        content = read_bounded(path, LARGEST_FILE)
    except (ConfigError, ValueError) as error:
        return b"", error.message if isinstance(error, ConfigError) else str(error)
    return content, "" if content else "it is empty"


def _kind(path: Path, content: bytes) -> str:
    """The media type, empty when the content is not what the name's ending says."""
    for start, (kind, endings) in _KINDS.items():
        if content.startswith(start) and path.suffix.lower() in endings:
            return kind
    return ""


# ---- the journal ------------------------------------------------------------------------------------------------------


class Journal:
    """`<table>.journal`: a line for each step that was done at one service, on disk before the next one begins."""

    def __init__(self, table: Path, url: str) -> None:
        self.path = table.with_name(f"{table.name}.journal")
        self._url = url
        self.files: dict[str, str] = {}  # document key -> file id
        self.batches: dict[str, str] = {}  # digest of a submission -> batch id, empty while its answer is not known
        self._load()

    def uploaded(self, key: str, file_id: str) -> None:
        self._add({"key": key, "file_id": file_id})

    def submitting(self, digest: str, batch: str = "") -> None:
        """A submission begins, or with its batch id has been taken."""
        self._add({"submission": digest, "batch": batch})

    def refused(self, digest: str) -> None:
        """A submission was refused as a whole: nothing came of it."""
        self._add({"submission": digest, "batch": None})

    def lost(self, key: str) -> None:
        """The service does not know a file any more."""
        self._add({"key": key, "file_id": None})

    def _add(self, step: dict[str, str | None]) -> None:
        line = json.dumps({"url": self._url, **step}) + "\n"
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self.path.parent)
        self._take(step)

    def _take(self, step: dict[str, str | None]) -> None:
        for name, value, where in (("key", "file_id", self.files), ("submission", "batch", self.batches)):
            key = step.get(name)
            if key is not None:
                told = step.get(value)
                where.pop(key, None)
                if told is not None:
                    where[key] = told

    def _load(self) -> None:
        """A line that a power cut has torn ends the file, and is ended, so that the next one stands by itself."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        if data and not data.endswith(b"\n"):
            os.truncate(self.path, data.rfind(b"\n") + 1)
        for line in data.split(b"\n")[:-1]:
            try:
                step = json.loads(line)
            except ValueError:
                continue
            if isinstance(step, dict) and step.get("url") == self._url:
                self._take(step)
