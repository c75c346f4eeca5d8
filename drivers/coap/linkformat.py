"""CoRE link format (RFC 6690): what `/.well-known/core` and a resource directory (RFC 9176) answer. PURE and strict.

What is not link format is refused whole: half a list would be half a device.
"""

import re
from dataclasses import dataclass, field

BIGGEST = 64 * 1024  # bytes of a document
MOST = 1000  # links in one

_TARGET = re.compile(r"<([^<>\x00-\x20\x7f]*)>")
_NAME = re.compile(r"[0-9A-Za-z!#$&+.^_`|~*-]{1,64}")  # parmname of RFC 5987, and the star of an extended one
_PTOKEN = re.compile(r"[!#$%&'()*+\-./0-9:<=>?@A-Z\[\]^_`a-z{|}~]+")  # RFC 6690, section 2
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*)"')
_ESCAPE = re.compile(r"\\(.)")
_BLANK = re.compile(r"[ \t\r\n]*")
_ONCE = ("rt", "if", "sz", "ct", "obs")  # RFC 6690, section 3: at most once in a link; others may come again


class LinkFormatError(ValueError):
    """This is no link format; the text names the place (character) and the reason."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `attributes` holds every value of a name in order; a flag such as `obs` has the value ""."""

    target: str
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """The value that counts (RFC 6690: of a repeated one the first)."""
        values = self.attributes.get(name)
        return values[0] if values else None

    def words(self, name: str) -> tuple[str, ...]:
        """The words of `rt`, `if` or `ct`: one value holds several, with blanks between."""
        return tuple((self.first(name) or "").split())

    @property
    def observable(self) -> bool:
        """Whether the device offers to be observed (RFC 7641, section 6)."""
        return "obs" in self.attributes

    @property
    def formats(self) -> tuple[int, ...]:
        """The content formats of `ct`; what is no number is left out."""
        return tuple(int(word) for word in self.words("ct") if word.isascii() and word.isdigit() and len(word) <= 5)  # noqa: PLR2004  65535


def parse(document: bytes) -> tuple[Link, ...]:
    """The links of a document. Raises LinkFormatError."""
    if len(document) > BIGGEST:
        raise LinkFormatError(f"{len(document)} bytes, at most {BIGGEST} are read")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LinkFormatError(f"no UTF-8 at byte {error.start}") from None
    return _Reader(text).links()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def links(self) -> tuple[Link, ...]:
        self._skip()
        found: list[Link] = []
        while self._at < len(self._text):
            if found:
                self._expect(",")
            found.append(self._link())
            if len(found) > MOST:
                raise self._wrong(f"more than {MOST} links")
        return tuple(found)

    def _link(self) -> Link:
        target = self._match(_TARGET, "a target in angle brackets")[1]
        attributes: dict[str, tuple[str, ...]] = {}
        self._skip()
        while self._peek() == ";":
            self._expect(";")
            name, value = self._attribute()
            if name not in _ONCE or name not in attributes:
                attributes[name] = (*attributes.get(name, ()), value)
            self._skip()
        return Link(target, attributes)

    def _attribute(self) -> tuple[str, str]:
        name = self._match(_NAME, "the name of an attribute")[0].lower()
        self._skip()
        if self._peek() != "=":
            return name, ""
        self._expect("=")
        if self._peek() == '"':
            return name, _ESCAPE.sub(r"\1", self._match(_QUOTED, "a text that ends with a quotation mark")[1])
        return name, self._match(_PTOKEN, "a value")[0]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise self._wrong(f"{mark!r} is expected")
        self._at += 1
        self._skip()

    def _match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._wrong(f"{what} is expected")
        self._at = found.end()
        return found

    def _wrong(self, reason: str) -> LinkFormatError:
        return LinkFormatError(f"at character {self._at}: {reason}, not {self._text[self._at : self._at + 16]!r}")
