"""Time limits that end with the radio: whoever waits for an answer when it is lost has waited long enough."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limits:
    """`lost` is done when the connection to the radio is gone."""

    def __init__(self, lost: asyncio.Future[str]) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        lost.add_done_callback(self._cut)

    def _cut(self, _lost: object) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError after so long, or when the radio is lost meanwhile."""
        async with asyncio.timeout(seconds) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
