"""Units: a factory and a restart policy. The only file that creates tasks.

A unit's coroutine is one life (of a radio connection, of an uplink). When it ends with expected trouble (HubError), the unit is away for
a jittered backoff and then lives again; the others run on. Anything else that it raises is a bug and ends the process.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.errors import Anew, ConfigError, HubError

log = logging.getLogger(__name__)

HEALTHY_AFTER = 30.0  # seconds of life after which the next loss is a first one again


def _unheard(error: BaseException) -> None:
    """Before anyone listens, an exception ends the group itself."""
    raise error


@dataclass(slots=True)
class Pulse:
    """Whether something that has work to do still moves. `limit` is in seconds."""

    limit: float
    open: int = 0
    moved: float = field(default_factory=time.monotonic)
    ends: list[float] = field(default_factory=list)

    def beat(self) -> None:
        self.moved = time.monotonic()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Work is open inside this block."""
        if not self.open:
            self.beat()
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
            self.beat()

    @contextmanager
    def until(self, end: float) -> Iterator[None]:
        """Work that ends by itself at `end` (monotonic seconds): it hangs when it is still open `limit` seconds later."""
        self.ends.append(end)
        try:
            yield
        finally:
            self.ends.remove(end)

    def stalled(self) -> bool:
        late = time.monotonic() - self.limit
        return (self.open > 0 and self.moved < late) or any(end < late for end in self.ends)


@dataclass(slots=True)
class Unit:
    """`live` runs one life; `lost(reason)` is told at its end; `stalled()` says that it hangs although it should move."""

    name: str
    live: Callable[[], Awaitable[None]]
    lost: Callable[[str], None] = lambda _reason: None
    stalled: Callable[[], bool] = lambda: False
    first: float = 0.5
    longest: float = 60.0
    attempts: int = 0
    last_error: str = ""
    started: float = field(default=0.0)


class Supervisor:
    """Runs units and short pieces of work inside one TaskGroup."""

    def __init__(self, group: asyncio.TaskGroup, seed: int | None = None) -> None:
        self._group = group
        self.on_end: Callable[[BaseException], None] = _unheard
        self._rng = random.Random(seed)  # noqa: S311  spreads retries, guards nothing
        self._tasks: set[asyncio.Task[Any]] = set()
        self.units: list[Unit] = []
        self._watched: dict[str, Callable[[], bool]] = {}
        self.stopping = False

    def add(self, unit: Unit) -> None:
        self.units.append(unit)
        self.spawn(unit.name, self._keep(unit))

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` until it ends; an exception of it ends the process, in order (`on_end`)."""
        task = self._group.create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step, it was never awaited
        return task

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Hand the first exception to whoever stops the process: a TaskGroup would cancel everything before it could be told."""
        try:
            await work
        except Exception as error:
            log.critical("%s failed", name, exc_info=error)
            self.on_end(error)

    def end(self, error: HubError) -> None:
        """End the process in order, with the error's exit code: what is wrong goes by a start."""
        log.error("the agent ends, to be started anew: %s", error.advice)
        self.on_end(error)

    def cancel_all(self) -> None:
        """Ask everything to stop."""
        for task in list(self._tasks):
            task.cancel()

    def watch(self, name: str, stalled: Callable[[], bool]) -> None:
        """Something that is no unit and may hang as well."""
        self._watched[name] = stalled

    @property
    def stalled(self) -> list[str]:
        """What hangs; the watchdog is not fed while there is anything."""
        parts = {**self._watched, **{unit.name: unit.stalled for unit in self.units}}
        return [name for name, stalled in parts.items() if stalled()]

    async def _keep(self, unit: Unit) -> None:
        while True:
            unit.started, anew = time.monotonic(), False
            try:
                await unit.live()
                reason = "ended"
            except ConfigError:
                raise
            except HubError as error:
                reason, anew = error.advice, isinstance(error, Anew)
            if anew:
                unit.attempts, unit.last_error = 0, ""
                log.info("%s begins anew: %s", unit.name, reason)
                unit.lost(reason)
                await asyncio.sleep(unit.first)
                continue
            if time.monotonic() - unit.started > HEALTHY_AFTER:
                unit.attempts = 0
            unit.attempts += 1
            if not self.stopping and (reason != unit.last_error or unit.attempts == 1):
                log.warning("%s is away: %s", unit.name, reason)
            unit.last_error = reason
            unit.lost(reason)
            if self.stopping:
                return  # what ends now does not begin again
            await asyncio.sleep(self._delay(unit))

    def _delay(self, unit: Unit) -> float:
        """Full jitter above `first`: nobody comes back in step, and nobody sooner than allowed."""
        ceiling = min(unit.longest, unit.first * 2 ** min(unit.attempts, 10))
        return unit.first + self._rng.uniform(0.0, max(0.0, ceiling - unit.first))
