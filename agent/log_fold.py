"""Folding of repeated log lines: the first few are shown, the rest of a window is one line with a count. PURE, bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

Key = tuple[str, int, str]  # logger, level, template

MAX_KEYS = 256


@dataclass(slots=True)
class Repeats:
    """What was held back of one key since `start`; `message` is the last one of them."""

    key: Key
    start: float
    shown: int = 0
    count: int = 0
    message: str = ""


class Fold:
    """`after` records of a key are shown in `window` seconds, then they are counted until it ends.

    A storm that goes on stays folded: one line for each window. A window without a record ends it.
    """

    def __init__(self, *, after: int, window: float) -> None:
        self._after = after
        self._window = window
        self._keys: dict[Key, Repeats] = {}  # in the order of `start`

    def admit(self, key: Key, now: float) -> bool:
        """Whether a record is to be shown; if not, call `hold` with its text. Take what is `due` first."""
        entry = self._keys.get(key)
        if entry is None or now - entry.start >= self._window:
            self._keys.pop(key, None)
            entry = self._keys[key] = Repeats(key, now)
        entry.shown += 1
        return entry.shown <= self._after

    def hold(self, key: Key, message: str) -> None:
        entry = self._keys[key]
        entry.count += 1
        entry.message = message

    def due(self, now: float) -> Iterator[Repeats]:
        """What was held back in windows that have ended, and what must leave because there are too many keys."""
        while self._keys:
            first = next(iter(self._keys.values()))
            ended = now - first.start >= self._window
            if not ended and len(self._keys) < MAX_KEYS:
                return
            del self._keys[first.key]
            if first.count:
                if ended:
                    self._keys[first.key] = Repeats(first.key, now, shown=self._after)
                yield first

    def flush(self) -> Iterator[Repeats]:
        """Everything that was held back; nothing is remembered."""
        pending = [entry for entry in self._keys.values() if entry.count]
        self._keys.clear()
        yield from pending

    def deadline(self) -> float | None:
        """When the next window with something held back ends; None while nothing waits."""
        return next((entry.start + self._window for entry in self._keys.values() if entry.count), None)
