"""What one characteristic notifies, one after the other, for a conversation that ends with its connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError
from drivers.ble.link import Link

MOST = 64  # notifications that wait to be read


class Notices:
    """Of one connection. None in the queue stands for its end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def heard(self, data: bytes) -> None:
        if self._queue.qsize() < MOST:
            self._queue.put_nowait(data)

    def ended(self) -> None:
        self._queue.put_nowait(None)

    async def next(self, limit: float, what: str) -> bytes:
        """The next one within `limit` seconds. Raises DeviceUnreachable, also when the connection has ended; DeviceRefused for a flood."""
        if self._queue.qsize() >= MOST:
            raise DeviceRefused(f"{what}: the device says more than can be read")
        try:
            async with asyncio.timeout(limit):
                data = await self._queue.get()
        except TimeoutError:
            raise DeviceUnreachable(f"{what}: no answer") from None
        if data is None:
            raise DeviceUnreachable(f"{what}: the connection was lost")
        return data

    def clear(self) -> None:
        """What was said before is of no interest. The end of the connection stays."""
        over = False
        while not self._queue.empty():
            over = self._queue.get_nowait() is None or over
        if over:
            self.ended()


@asynccontextmanager
async def listening(link: Link, handle: int) -> AsyncIterator[Notices]:
    """Hear a characteristic inside the block; the link keeps its place meanwhile. Raises DriverError."""
    notices = Notices()
    with link.held():
        link.ends.append(notices.ended)
        try:
            await link.subscribe(handle, notices.heard)
            try:
                yield notices
            finally:
                await _quiet(link, handle, notices)
        finally:
            link.ends.remove(notices.ended)


async def _quiet(link: Link, handle: int, notices: Notices) -> None:
    try:
        await link.unsubscribe(handle, notices.heard)
    except DriverError:
        return  # a connection that has ended notifies nothing
