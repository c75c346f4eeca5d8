"""An endpoint of a simulated node, how a command came to it, and values that move. PURE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave.profiles import Part
from drivers.zwave.codec import Command
from drivers.zwave.encapsulation import Layers

if TYPE_CHECKING:
    from drivers.sim.zwave.node import Node
    from drivers.zwave.security.classes import SecurityClass

LAYERS = Layers()

# What a behaviour returns: the answers to a Get, whether a Set was done, the seconds that it will take; None: unknown here.
Result = list[Command] | bool | float | None
Behaviour = Callable[["Place", Command, float], Result]


@dataclass(frozen=True, slots=True)
class Way:
    """How a command came in; its answer goes the same way."""

    security: "SecurityClass | None" = None
    layers: Layers = LAYERS
    multicast: bool = False

    @property
    def supervised(self) -> bool:
        return self.layers.session is not None


PLAIN = Way()


@dataclass(frozen=True, slots=True)
class Move:
    """A value on its way."""

    start: float
    target: int
    since: float
    until: float

    def at(self, now: float) -> int:
        """Where it is."""
        if now >= self.until:
            return self.target
        return round(self.start + (self.target - self.start) * (now - self.since) / (self.until - self.since))


@dataclass(slots=True)
class Place:
    """One endpoint (0: the root device). `values` is its state, in JSON's types."""

    node: "Node"
    number: int
    part: Part
    values: dict[str, Any] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)

    @property
    def classes(self) -> Mapping[int, int]:
        """Command class -> version."""
        return self.part.classes

    def report(self, command: Command, now: float) -> None:
        """Tell the lifeline of a change."""
        self.node.tell(self.number, command, now)

    def value(self, key: str, now: float) -> int:
        """A value as it is now, on its way or not."""
        move = self.moves.get(key)
        return self.values[key] if move is None else move.at(now)

    def target(self, key: str) -> int:
        """Where a value is going."""
        move = self.moves.get(key)
        return self.values[key] if move is None else move.target

    def left(self, key: str, now: float) -> int:
        """Seconds until it is there."""
        move = self.moves.get(key)
        return 0 if move is None else max(0, round(move.until - now))

    def move(self, key: str, target: int, seconds: float, now: float, then: Callable[[float], None]) -> Result:
        """Bring a value to its target, at once or in `seconds`; `then` when it is there."""
        self.stop(key, now)
        if seconds <= 0 or self.values[key] == target:
            self.values[key] = target
            then(now)
            return True
        move = self.moves[key] = Move(self.values[key], target, now, now + seconds)
        self.node.timers.at(move.until, partial(self._arrive, key, move, then))
        return seconds

    def _arrive(self, key: str, move: Move, then: Callable[[float], None], now: float) -> None:
        if self.moves.get(key) is move:
            self.stop(key, now)
            then(now)

    def stop(self, key: str, now: float) -> None:
        """Stay where it is."""
        self.values[key] = self.value(key, now)
        self.moves.pop(key, None)
