"""The air between one controller and its nodes: who hears a frame, who acknowledges it, and when. PURE.

Time is monotonic seconds. Frames are the payloads of singlecast and multicast frames: command classes, encapsulated or not.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from drivers.sim.zwave.node import Node
from drivers.sim.zwave.timers import Timers
from drivers.zwave.function_tables import Cast
from drivers.zwave.functions import FIRST_LONG_RANGE

FLIGHT = 0.003  # seconds of one frame on the air
UNACKNOWLEDGED = 0.6  # seconds until all retries and routes have failed
BEAM = 0.3  # seconds of the beam that wakes a frequently listening node
OWN = 1
LAST_NODE = 232
BROADCAST = 0xFF
RSSI = -62  # dBm


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame that the controller hears."""

    source: int
    payload: bytes
    cast: Cast = Cast.SINGLE
    rssi: int = RSSI


class Network:
    """One network. `nodes` holds every device of the house by its name, joined or not."""

    def __init__(self, home_id: bytes, *, seed: int = 0) -> None:
        self.home_id = home_id
        self.own = OWN
        self.sis = OWN  # node id of the SUC and SIS; 0: none
        self.last_id = OWN
        self.nodes: dict[str, Node] = {}
        self.timers = Timers()
        self.rng = random.Random(seed)  # noqa: S311  replays a run
        self.jammed = False
        self.radio_on = True
        self.hear: Callable[[Heard, float], None] = lambda *_: None
        self.failed: set[int] = set()  # listening nodes that did not acknowledge
        self.routes: dict[int, set[int]] = {}  # to whom the controller gave a node routes
        self.lossy = 0.0  # probability that a frame on the air is lost in spite of retries
        self.polled_at = 0.0
        self.sent: list[float] = []  # when each frame of a load left

    def add(self, node: Node) -> None:
        """Put a device into the house."""
        self.nodes[node.name] = node
        node.attach(self.say, self.timers, self.rng)

    def members(self) -> list[Node]:
        """The nodes that are in this network, by id."""
        return sorted((node for node in self.nodes.values() if node.home_id == self.home_id), key=lambda node: node.id)

    def member(self, number: int) -> Node | None:
        return next((node for node in self.members() if node.id == number), None)

    def free_id(self, *, long_range: bool = False) -> int:
        """The node id of the next node. Raises StopIteration when the network is full."""
        taken = {node.id for node in self.members()} | {self.own}
        if long_range:
            return next(number for number in range(FIRST_LONG_RANGE, FIRST_LONG_RANGE + 4000) if number not in taken)
        order = [*range(self.last_id + 1, LAST_NODE + 1), *range(2, self.last_id + 1)]
        self.last_id = next(number for number in order if number not in taken)
        return self.last_id

    # ---- from the controller ----------------------------------------------------------------------------------------

    def send(self, number: int, payload: bytes, now: float, ended: Callable[[bool, float], None]) -> None:
        """One singlecast frame: `ended` is told whether it was acknowledged, and when."""
        node = self.member(number)
        reached = node is not None and node.reachable(now) and not self._lost()
        if node is None or not reached:
            if node is None or node.listening:
                self.failed.add(number)
            self.timers.at(now + UNACKNOWLEDGED, lambda then: ended(False, then))
            return
        self.failed.discard(number)
        arrives = now + FLIGHT + (0.0 if node.awake(now) else BEAM)

        def arrive(then: float) -> None:
            ended(True, then)
            node.hear(payload, then)

        self.timers.at(arrives, arrive)

    def spread(self, numbers: Iterable[int] | None, payload: bytes, now: float) -> None:
        """A multicast frame, or a broadcast (None): nobody acknowledges it."""
        wanted = None if numbers is None else set(numbers)
        for node in self.members():
            if node.awake(now) and node.powered and (wanted is None or node.id in wanted):
                self.timers.at(now + FLIGHT, lambda then, node=node: node.hear(payload, then, multicast=True))  # type: ignore[misc]

    def _lost(self) -> bool:
        return bool(self.lossy) and self.rng.random() < self.lossy

    # ---- from the nodes ---------------------------------------------------------------------------------------------

    def say(self, node: Node, payload: bytes, now: float) -> None:
        """A node's frame for the controller."""
        if not node.powered or node.home_id != self.home_id or self._lost():
            return
        heard = Heard(node.id, payload)

        def arrive(then: float) -> None:
            if self.radio_on:
                self.hear(heard, then)

        self.timers.at(now + FLIGHT, arrive)

    # ---- who is where -----------------------------------------------------------------------------------------------

    def join(self, node: Node, number: int, now: float) -> None:
        """The protocol part of inclusion is over."""
        self.failed.discard(number)
        node.join(self.home_id, number, now)

    def leave(self, node: Node, now: float) -> None:
        self.failed.discard(node.id)
        node.leave(now)

    def reset(self) -> None:
        """The controller forgets its network and makes a new one; its nodes do not know."""
        self.home_id = bytes((0xC0 | self.rng.randrange(0x40), *self.rng.randbytes(3)))
        self.last_id = self.own
        self.failed.clear()

    def neighbors(self, number: int) -> list[int]:
        """Everybody who listens all the time hears everybody."""
        ids = [self.own] + [node.id for node in self.members() if node.listening and node.id < FIRST_LONG_RANGE]
        return [other for other in ids if other != number]
