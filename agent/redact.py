"""What must not be read by others, and its removal from text: the values that were registered, and what looks like a key. PURE.

Every log record and every configuration error passes here. A value shorter than MIN_LENGTH is not searched for, since it would blank
ordinary words; its name (`password=...`) gives it away to the patterns all the same.
"""

import json
import re
from collections.abc import Iterable

STARS = "**********"
MIN_LENGTH = 6

# No pattern can match one text in two ways, so that hostile input costs time in proportion to its length.
_BYTE = r"(?:0x)?[0-9A-Fa-f]{1,3}"
_PATTERNS = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)"
    r"|(?<![\w-])eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*"  # JWT: base64 of '{"'
    r"|(?<=\$I:)[0-9A-Fa-f]{12,}"  # Zigbee install code in QR material
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user:password of a URL
    r"|(?P<name>\b\w*(?i:password|passwd|passphrase|secret|token|psk)[\"']?\s*[=:]\s*)"
    r"(?:b?\"[^\"]*\"?|b?'[^']*'?|[^\s,;&)\]}]+)"
    r"|(?P<key>\b\w*(?i:key)[\"']?\s*[=:]\s*)(?:"  # 16 bytes and more: an EUI64 stays readable
    r"b'[^']*'?|b\"[^\"]*\"?"
    rf"|[\[(]\s*{_BYTE}(?:\s*,\s*{_BYTE}){{15,}}\s*,?\s*[\])]?"
    r"|[\"']?(?:0x)?(?:[0-9A-Fa-f]{2}[:\- ]?){16,}[\"']?)",
    re.DOTALL | re.ASCII,
)
_HINT = re.compile(r"PRIVATE KEY|eyJ|\$I:|://|(?i:key|password|passwd|passphrase|secret|token|psk)")


class Redactor:
    """Registered values and patterns. `redact` never raises."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._search: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        """Blank `value`, and each line of it when it has several, from now on."""
        parts = {value.strip(), *(line.strip() for line in value.splitlines())}
        fresh = {part for part in parts if len(part) >= MIN_LENGTH and not part.startswith("-----")} - self._values
        if fresh:
            self._values |= fresh
            self._search = _any_of(self._values)

    def redact(self, text: str) -> str:
        if self._search is not None:
            text = self._search.sub(STARS, text)
        return _PATTERNS.sub(_blank, text) if _HINT.search(text) else text


def _any_of(values: Iterable[str]) -> re.Pattern[str]:
    """Longest first, so that a value that contains another leaves no rest. A value may stand in a text as repr or JSON write it."""
    spellings = {spelling for value in values for spelling in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    return re.compile("|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True)))


def _blank(match: re.Match[str]) -> str:
    return f"{match['name'] or match['key'] or ''}{STARS}"


_REDACTOR = Redactor()
register = _REDACTOR.register
redact = _REDACTOR.redact
