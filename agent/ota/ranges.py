"""Whether an answer to a (range) request can be used, and where its bytes belong. PURE. RFC 9110, 8.8 (validators), 13.1.5 and 14.

The head decides before a byte of the body is read: a wrong length, a part that nobody asked for and packed content never reach the disk.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.cloud.rest_answer import UnusableError, clean
from agent.cloud.rest_policy import http_date

_RANGE = re.compile(r"bytes +(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes +\*/(\d{1,18})", re.ASCII | re.IGNORECASE)
_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,200}"', re.ASCII)
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_LONGEST_DATE = 40  # characters
_SHOWN = 60
_SERVED = "see how the file is served at this URL"


class RangeError(UnusableError):
    """The server's ranges cannot be used; the whole file may be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for the bytes from `offset` on of a file of `size` bytes, of which a part is expected when `ranged`."""

    offset: int
    size: int
    ranged: bool


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers (small names; the first of each, and all of Content-Length). `place` is for people."""

    status: int
    headers: Mapping[str, str]
    lengths: tuple[str, ...]
    chunked: bool
    place: str


@dataclass(frozen=True, slots=True)
class Span:
    """The answer's body holds the bytes `start` to `end` (not included) of the file. `validator` is for If-Range, "" without one."""

    start: int
    end: int
    validator: str


def content_range(text: str) -> tuple[int, int, int | None] | None:
    """(first, behind the last, total or None) of a Content-Range; None for what is none."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return None
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    return None if last < first or (total is not None and total <= last) else (first, last + 1, total)


def validator(headers: Mapping[str, str]) -> str:
    """What If-Range may carry: a strong ETag, or a date of change that is older than the answer by a second; else "".

    A weak ETag says that two files mean the same, not that their bytes are the same.
    """
    tag = headers.get("etag", "").strip()
    if _STRONG.fullmatch(tag):
        return tag
    changed, sent = headers.get("last-modified", "").strip(), http_date(headers.get("date", ""))
    date = http_date(changed) if changed.isascii() and changed.isprintable() and len(changed) < _LONGEST_DATE else None
    return changed if date is not None and sent is not None and sent - date >= 1 else ""


def judge(head: Head, asked: Asked) -> Span:
    """Where the body belongs. Raises RangeError where a request without a range may do, UnusableError for all else but 200 and 206."""
    packed = head.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity"):
        text = f"the file comes packed ({clean(packed)[:_SHOWN]}), which was not asked for"
        raise UnusableError(text, place=head.place, status=head.status, remedy="have the server send files as they are")
    if head.status == _PARTIAL:
        start, end = _part(head, asked)
    elif head.status == _OK:
        start, end = 0, asked.size
    elif head.status == _UNSATISFIABLE:
        raise _unsatisfiable(head, asked)
    else:
        raise UnusableError(
            f"the answer is no file (status {head.status})", place=head.place, status=head.status, remedy=_SERVED
        )
    _check_length(head, end - start)
    return Span(start, end, validator(head.headers))


def _part(head: Head, asked: Asked) -> tuple[int, int]:
    if not asked.ranged:
        raise RangeError("a part is sent that nobody asked for", place=head.place, status=head.status, remedy=_SERVED)
    told = head.headers.get("content-range", "")
    found = content_range(told)
    if found is None:
        kind = head.headers.get("content-type", "")
        shown = clean(told or kind)[:_SHOWN]
        raise RangeError(
            f"the part does not say which it is ({shown})", place=head.place, status=head.status, remedy=_SERVED
        )
    start, end, total = found
    if start != asked.offset or end > asked.size or total not in (None, asked.size):
        text = f"bytes {start}-{end - 1} of {total} are sent, where those from {asked.offset} of {asked.size} were asked for"
        raise RangeError(text, place=head.place, status=head.status, remedy=_SERVED)
    return start, end


def _unsatisfiable(head: Head, asked: Asked) -> UnusableError:
    found = _UNSATISFIED.fullmatch(head.headers.get("content-range", "").strip())
    if found is not None and int(found[1]) != asked.size:
        text = f"the server's file has {int(found[1])} bytes, the right one {asked.size}"
        return UnusableError(text, place=head.place, status=head.status, remedy="see what was uploaded")
    return RangeError("the server does not give this range", place=head.place, status=head.status, remedy=_SERVED)


def _check_length(head: Head, expected: int) -> None:
    """Chunked bodies and those that end with the connection tell no length: what is read of them has an end all the same."""
    if head.chunked or not head.lengths:
        return
    told = {text.strip() for text in head.lengths}
    if told != {str(expected)}:
        shown = clean(", ".join(sorted(told)))[:_SHOWN]
        text = f"the body has {shown} bytes, the right one {expected}"
        raise UnusableError(text, place=head.place, status=head.status, remedy="see what was uploaded")
