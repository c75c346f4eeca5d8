"""Deliver-first messages that are sent and not on disk: each goes there when its acknowledgement is late."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from agent.clock import Clock
from agent.requests import Message

SHORTEST = 0.05  # seconds between two looks: what is late together goes to disk together


class Unsaved:
    """`after`: seconds without acknowledgement until `spool` gets a message."""

    def __init__(self, clock: Clock, after: float, spool: Callable[[list[Message]], None]) -> None:
        self._clock, self._after, self._spool = clock, after, spool
        self._held: OrderedDict[int, tuple[float, Message]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, message: Message) -> None:
        """Hold a message until it is acknowledged or late."""
        self._held[message.id] = (self._clock.now().mono + self._after, message)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after, self._due)

    def forget(self, identifier: int) -> bool:
        """A message is acknowledged or dropped; False when it is not here, but on disk."""
        return self._held.pop(identifier, None) is not None

    def spool_all(self) -> None:
        """Everything goes to disk now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            messages = [message for _, message in self._held.values()]
            self._held.clear()
            self._spool(messages)

    def _due(self) -> None:
        self._timer = None
        now = self._clock.now().mono
        late = []
        while self._held:
            identifier, (due, message) = next(iter(self._held.items()))
            if due > now:
                delay = max(SHORTEST, due - now)
                self._timer = asyncio.get_running_loop().call_later(delay, self._due)
                break
            late.append(message)
            del self._held[identifier]
        if late:
            self._spool(late)
