"""The line of every key of a TOML document, which tomllib does not tell. PURE.

A scanner, not a parser: it knows strings, comments, brackets and dots, and leaves everything else to tomllib. For a document that
tomllib accepts it finds exactly its keys, down to MAX_DEPTH; for any other text it finds what it can. It never raises and never recurses.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]  # table and key names, and the index of an element of an array

MAX_DEPTH = 64  # keys below are not told apart: a hostile document costs time in proportion to its length

_BLANK = re.compile(r"[ \t\r]*")
_VOID = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*+(?:"""(?:"{1,2}(?!"))?|\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'''(?:'{1,2}(?!'))?|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*"?'
    r"|'[^'\n]*'?"
)
_SCALAR = re.compile(r"[^,\]}#\n]*")
_LINE = re.compile(r"[^\n]*")


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Path of every table, key and array element -> number of the line (from 1) where it first stands."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._pos = 0
        self._newlines = [index for index, char in enumerate(text) if char == "\n"]
        self._lines: dict[KeyPath, int] = {}
        self._sizes: dict[KeyPath, int] = {}  # arrays of tables, and how many tables they have so far

    def scan(self) -> Mapping[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip(_VOID)
            if self._pos >= len(self._text):
                return self._lines
            if self._peek("["):
                table = self._header() or table
            elif (path := self._key(table)) and self._take("="):
                self._value(path)
            self._skip(_LINE)  # what is left of a statement is a comment, or no TOML

    def _header(self) -> KeyPath | None:
        start = self._pos
        array = self._take("[[")
        if not array:
            self._take("[")
        names = self._names()
        if not names:
            return None
        path: KeyPath = ()
        for depth, name in enumerate(names, 1):
            path = _below(path, name)
            self._note(path, start)
            if array and depth == len(names):
                self._sizes[path] = self._sizes.get(path, 0) + 1
            if path in self._sizes:
                path = _below(path, self._sizes[path] - 1)
                self._note(path, start)
        return path

    def _key(self, table: KeyPath) -> KeyPath | None:
        start = self._pos
        path = table
        names = self._names()
        for name in names:
            path = _below(path, name)
            self._note(path, start)
        return path if names else None

    def _names(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip(_BLANK)
            if match := _BARE_KEY.match(self._text, self._pos):
                name = match[0]
            elif match := _QUOTED_KEY.match(self._text, self._pos):
                name = _unquoted(match[0])
            else:
                return names
            names.append(name)
            self._pos = match.end()
            self._skip(_BLANK)
            if not self._take("."):
                return names

    def _value(self, path: KeyPath) -> None:
        """One value with all that it contains. `open_` holds the arrays (path, next index) and inline tables (path, -1) around it."""
        open_: list[tuple[KeyPath, int]] = []
        here: KeyPath | None = path
        while True:
            if here is not None:
                self._skip(_BLANK)
                if self._peek("[", "{"):
                    open_.append((here, 0 if self._peek("[") else -1))
                    self._pos += 1
                elif self._peek('"', "'"):
                    self._skip(_STRING)
                else:
                    self._skip(_SCALAR)
            if not open_:
                return
            here = self._next(open_)
            if self._pos >= len(self._text):
                return

    def _next(self, open_: list[tuple[KeyPath, int]]) -> KeyPath | None:
        """The path of the next value inside the innermost container; None when that was closed or something odd was passed over."""
        self._skip(_VOID)
        self._take(",")
        self._skip(_VOID)
        container, index = open_[-1]
        if self._take("]") or self._take("}"):
            open_.pop()
            return None
        start = self._pos
        if index >= 0:
            if self._peek(",", "="):
                self._pos += 1
                return None
            open_[-1] = (container, index + 1)
            path = _below(container, index)
            self._note(path, start)
            return path
        found = self._key(container)
        if found is None or not self._take("="):
            self._pos += self._pos == start
            return None
        return found

    def _note(self, path: KeyPath, position: int) -> None:
        self._lines.setdefault(path, bisect_left(self._newlines, position) + 1)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._pos)
        if match:
            self._pos = match.end()

    def _peek(self, *tokens: str) -> bool:
        return self._text.startswith(tokens, self._pos)

    def _take(self, token: str) -> bool:
        taken = self._text.startswith(token, self._pos)
        self._pos += len(token) * taken
        return taken


def _below(path: KeyPath, name: str | int) -> KeyPath:
    return (*path, name) if len(path) < MAX_DEPTH else path


def _unquoted(token: str) -> str:
    """A quoted key as tomllib reads it; one with a bad escape stays as it is, since the document is refused anyway."""
    try:
        (name,) = tomllib.loads(f"{token}=0")
    except tomllib.TOMLDecodeError:
        return token[1:-1]
    return name
