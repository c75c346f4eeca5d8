"""Faults at the wire, from a seed: bytes and frames that are lost, doubled, corrupted, late, or as slow as a serial line. PURE.

    lost=0.01,corrupt=0.005,dup=0.01,late=0.02:0.5,baud=115200

Each number is a probability for one frame (or one read of the hub's bytes); late has a delay in seconds behind the colon.
"""

import random
from dataclasses import dataclass, field

from agent.errors import ConfigError

BITS_PER_BYTE = 10  # 8N1
KNOWN = ("lost", "corrupt", "dup", "late", "baud")


@dataclass(slots=True)
class Faults:
    """What goes wrong, and how often it has."""

    lost: float = 0.0
    corrupt: float = 0.0
    dup: float = 0.0
    late: float = 0.0
    late_by: float = 0.0
    baud: int = 0
    seed: int = 1
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KNOWN, 0))
    _rng: random.Random = field(default_factory=random.Random)
    _line_free: float = 0.0

    @classmethod
    def parse(cls, spec: str, seed: int) -> "Faults":
        """Faults of a text. Raises ConfigError naming the part that is wrong."""
        made = cls(seed=seed, _rng=random.Random(seed))  # noqa: S311  replays a run
        for part in filter(None, spec.split(",")):
            name, _, value = part.partition("=")
            try:
                made._take(name.strip(), value)
            except ValueError as error:
                remedy = "for example lost=0.01,corrupt=0.005,dup=0.01,late=0.02:0.5,baud=115200"
                raise ConfigError(f"cannot read {part!r}: {error}", place="faults", remedy=remedy) from error
        return made

    def _take(self, name: str, value: str) -> None:
        if name == "baud":
            self.baud = int(value)
            return
        if name not in KNOWN:
            raise ValueError(f"no such fault; there are {', '.join(KNOWN)}")
        probability, _, delay = value.partition(":")
        if not 0.0 <= float(probability) <= 1.0:
            raise ValueError("a probability is between 0 and 1")
        setattr(self, name, float(probability))
        if name == "late":
            self.late_by = float(delay or 0.5)

    def spoil(self, frame: bytes) -> list[bytes]:
        """The frame as it arrives: not at all, once, twice, or with a byte changed."""
        if self._happens("lost"):
            return []
        if frame and self._happens("corrupt"):
            place = self._rng.randrange(len(frame))
            frame = frame[:place] + bytes([frame[place] ^ (1 << self._rng.randrange(8))]) + frame[place + 1 :]
        return [frame, frame] if self._happens("dup") else [frame]

    def delay(self, size: int, now: float) -> float:
        """Seconds until the last of `size` bytes has passed the line."""
        wait = self.late_by if self._happens("late") else 0.0
        if self.baud:
            self._line_free = max(now, self._line_free) + size * BITS_PER_BYTE / self.baud
            wait += self._line_free - now
        return wait

    def _happens(self, name: str) -> bool:
        probability: float = getattr(self, name)
        if not probability or self._rng.random() >= probability:
            return False
        self.count[name] += 1
        return True
