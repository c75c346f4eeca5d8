"""The messages of one uplink by urgency: what is in memory of each lane, and what a lane's disk must offer. PURE."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from agent.clock import ESTIMATED, TRUSTED, Moment
from agent.requests import Message


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """How fast, how much at once, and how durable."""

    publishes_per_second: int = 100  # 0: no pacing
    in_flight: int = 100
    max_payload: int = 131072
    spool_after: float = 1.0
    acknowledge_within: float = 60.0  # a broker that answers pings and no publish is left
    strict: bool = False
    protocol: str = "auto"


class Outbox(Protocol):
    """The part of the store that a link uses."""

    async def read_outbox(self, uplink: str, lane: int, after: int, until: int, limit: int) -> list[Message]: ...

    def spool(self, messages: list[Message]) -> None:
        """Put state messages on disk."""

    def forget(self, uplink: str, keys: list[tuple[int, int]], window: float) -> None:
        """Drop acknowledged messages, (lane, id) each."""

    def backlog(self, uplink: str, lane: int) -> int:
        """How many rows lie on disk or are on their way there."""

    def next_id(self) -> int: ...

    def message_id(self, identifier: int) -> str: ...


class Lane:
    """Messages of one lane that are in memory, and how far the disk has been read."""

    def __init__(self) -> None:
        self.ready: deque[Message] = deque()
        self.after = 0  # ids up to here are in memory, in flight or gone
        self.more = True  # rows beyond `after` lie on disk
        self.late = False  # a row went to disk while the disk was being read

    def on_disk(self) -> None:
        """One more row is to be read in its turn."""
        self.more = self.late = True


def shift(message: Message, now: Moment) -> float:
    """Seconds to add to times that were taken before this boot's clock was set."""
    if message.quality != ESTIMATED or now.quality != TRUSTED or now.boot != message.boot:
        return 0.0
    return (now.wall - (now.mono - message.mono)) - message.wall
