"""What waits for the clouds: messages on disk, and the state that they tell, written together."""

import asyncio
from collections.abc import Callable

from agent import records
from agent.requests import Kind, Message
from agent.store import Statement, Store

ENDLESS = 2**63 - 1
SPOOL_WINDOW = 1.0  # seconds: state is spooled in groups, a commit for each report would wear the card


class Outbox:
    """The store as a link sees it."""

    def __init__(self, store: Store, states: Callable[[list[str]], list[Statement]]) -> None:
        self._store, self._states = store, states

    def next_id(self) -> int:
        return self._store.next_id()

    def message_id(self, identifier: int) -> str:
        return self._store.message_id(identifier)

    def backlog(self, uplink: str, lane: int) -> int:
        return self._store.stats.backlog[(uplink, lane)]

    async def read_outbox(self, uplink: str, lane: int, after: int, until: int, limit: int) -> list[Message]:
        """Up to `limit` messages with ids above `after` (and up to `until`, unless it is 0), oldest first."""
        arguments = (uplink, lane, after, until or ENDLESS, limit)
        rows = await self._store.read(lambda db: db.execute(records.READ_OUTBOX, arguments).fetchall())
        return [records.message(row) for row in rows]

    def spool(self, messages: list[Message]) -> None:
        """Put state messages on disk with the state that they tell, within SPOOL_WINDOW."""
        devices = sorted({message.device for message in messages if message.kind is Kind.STATE})
        statements = [records.put_outbox(messages), *self._states(devices)]
        self._store.submit(statements, window=SPOOL_WINDOW).add_done_callback(_seen)

    def forget(self, uplink: str, keys: list[tuple[int, int]], window: float) -> None:
        """Drop acknowledged messages, (lane, id) each."""
        self._store.submit([records.drop_outbox(uplink, keys)], window=window).add_done_callback(_seen)


def _seen(done: "asyncio.Future[None]") -> None:
    """A failure of the store ends the process by its own future; here it has only been noticed."""
    if not done.cancelled():
        done.exception()
