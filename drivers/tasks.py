"""The tasks of one connection to a radio: they live as long as the connection does, and end together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

from agent.driver import DriverError, DriverLost

log = logging.getLogger(__name__)


class Tasks:
    """The background work of one radio. `lost` is done with the reason when its connection is gone; `place` is where that was."""

    def __init__(self, radio: str, lost: asyncio.Future[str], place: str = "") -> None:
        self._radio, self._lost, self._place = radio, lost, place
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, begin: Callable[[], Awaitable[None]]) -> NoReturn:
        """Do `begin`, then wait until the connection is lost (raises DriverLost), a task fails (raises its bug), or this is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await begin()
                ends: set[asyncio.Future[Any]] = {self._lost, self._failed}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if self._failed.done():
                    self._failed.result()
                for task in self._running:
                    task.cancel()
        except BaseExceptionGroup as error:
            raise _single(error) from None
        finally:
            self._group = None
        raise DriverLost(self._lost.result(), place=self._place)

    @property
    def alive(self) -> bool:
        return self._group is not None and not self._lost.done()

    def check(self) -> None:
        """Raises DriverLost when the connection is gone."""
        if self._lost.done():
            raise DriverLost(self._lost.result(), place=self._place)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` beside the others until the end. Expected trouble is logged; a bug ends the session. Raises DriverLost."""
        job = _logged(work, name)
        try:
            if self._group is None or self._lost.done():
                raise DriverLost("the radio is gone")
            task = self._group.create_task(job, name=f"{self._radio}: {name}")
        except (DriverLost, RuntimeError) as error:  # RuntimeError: the group is shutting down
            job.close()
            work.close()
            raise DriverLost("the radio is gone") from error
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # one that is cancelled before it begins would never end
        return task

    def soon(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """As `spawn`, for callbacks: after the end nothing is to be done."""
        try:
            self.spawn(work, name)
        except DriverLost:
            log.debug("%s after the end", name)

    def bug(self, error: BaseException) -> None:
        """A callback failed, whose library would only log it: the session ends with it."""
        if not self._failed.done():
            self._failed.set_exception(error)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also when it is cancelled meanwhile: what stays open keeps the process from ending, or the other side from letting go."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except DriverLost:
        return
    except DriverError as error:
        log.info("%s: %s", name, error.advice)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure inside a group, however deep; the group itself when there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
