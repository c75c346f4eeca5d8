"""The tasks of one connection: they live as long as its link does, and end together."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from agent.driver import DriverError, DriverLost

log = logging.getLogger(__name__)


class Losable(Protocol):
    """What the tasks hang on: a stick's link, or a server's socket."""

    lost: asyncio.Future[str]


class Tasks:
    """The background work of one radio."""

    def __init__(self, name: str, link: Losable) -> None:
        self._name = name
        self._link = link
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self, begin: Callable[[], None]) -> None:
        """Call `begin`, then wait until the link is lost (raises DriverLost), a task fails (raises its bug), or this is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                begin()
                await asyncio.wait({self._link.lost})
                for task in self._running:
                    task.cancel()
        except BaseExceptionGroup as error:
            raise _single(error) from None
        finally:
            self._group = None
        raise DriverLost(self._link.lost.result())

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` beside the others until the end. Expected trouble is logged; a bug ends the session. Raises DriverLost."""
        job = _logged(work, name)
        try:
            if self._group is None or self._link.lost.done():
                raise DriverLost("the stick is gone")
            task = self._group.create_task(job, name=f"{self._name}: {name}")
        except (DriverLost, RuntimeError) as error:  # RuntimeError: the group is shutting down
            job.close()
            work.close()
            raise DriverLost("the stick is gone") from error
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def soon(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """As `spawn`, for callbacks: after the end nothing is to be done."""
        try:
            self.spawn(work, name)
        except DriverLost:
            log.debug("%s after the end", name)


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except DriverError as error:
        log.info("%s: %s", name, error)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure inside a group, however deep; the group itself when there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
