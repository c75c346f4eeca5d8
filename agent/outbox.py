"""What waits for the clouds on disk.

Spooled state is not written into the state table as well: that would double what an outage costs the card. The table follows every
`store.state_flush` and at an orderly stop; after an unclean one the values are read anew, and what the table holds is not told as news.
"""

import asyncio
from collections import Counter

from agent import records
from agent.requests import LANE_STATE, Message
from agent.store import Store

ENDLESS = 2**63 - 1
SPOOL_WINDOW = 1.0  # seconds: state is spooled in groups, a commit for each report would wear the card


class Outbox:
    """The store as a link sees it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spooling: Counter[str] = Counter()  # rows on their way to the disk, by uplink

    def next_id(self) -> int:
        return self._store.next_id()

    def message_id(self, identifier: int) -> str:
        return self._store.message_id(identifier)

    def backlog(self, uplink: str, lane: int) -> int:
        """How many rows lie on disk or are on their way there: never fewer than there are."""
        return self._store.stats.backlog[(uplink, lane)] + (self._spooling[uplink] if lane == LANE_STATE else 0)

    async def read_outbox(self, uplink: str, lane: int, after: int, until: int, limit: int) -> list[Message]:
        """Up to `limit` messages with ids above `after` (and up to `until`, unless it is 0), oldest first."""
        arguments = (uplink, lane, after, until or ENDLESS, limit)
        rows = await self._store.read(lambda db: db.execute(records.READ_OUTBOX, arguments).fetchall())
        return [records.message(row) for row in rows]

    def spool(self, messages: list[Message]) -> None:
        """Put state messages on disk, within SPOOL_WINDOW."""
        uplinks = Counter(message.uplink for message in messages)
        self._spooling += uplinks

        def done(written: "asyncio.Future[None]") -> None:
            self._spooling -= uplinks
            _seen(written)

        self._store.submit([records.put_outbox(messages)], window=SPOOL_WINDOW).add_done_callback(done)

    def forget(self, uplink: str, keys: list[tuple[int, int]], window: float) -> None:
        """Drop acknowledged messages, (lane, id) each."""
        self._store.submit([records.drop_outbox(uplink, keys)], window=window).add_done_callback(_seen)


def _seen(done: "asyncio.Future[None]") -> None:
    """A failure of the store ends the process by its own future; here it has only been noticed."""
    if not done.cancelled():
        done.exception()
