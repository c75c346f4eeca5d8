"""Whether a new version is well: everything that worked before it works again, for as long as the trial takes.

A check answers "" when it is well, else what is wrong. What was not well before an update cannot speak against it: only those that were are
asked. The trial fails when something is wrong without a break for `patience`, or when it has not been well long enough by `limit`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.ota import programs

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str]]
LOOK = 5.0  # seconds between two looks
CHECK_TIME = 60.0  # seconds for one check


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: how long everything must be well, how long something may be wrong at a stretch, and when it must have been shown."""

    trial: float = 600.0
    patience: float = 120.0
    limit: float = 1800.0
    look: float = LOOK


class Health:
    """The checks, by name; every start of the agent has its own."""

    def __init__(self, checks: Mapping[str, Check], terms: Terms, now: Callable[[], float] = time.monotonic) -> None:
        self._checks, self.terms, self._now = checks, terms, now

    async def look(self, names: Collection[str] | None = None) -> dict[str, str]:
        """What each check says; of those named, or of all. A check that is no more is wrong."""
        wanted = self._checks if names is None else {name: self._checks.get(name) for name in names}
        return {name: await _ask(check) for name, check in wanted.items()}

    async def trial(self, names: Collection[str], spent: float, progress: Callable[[float], Awaitable[None]]) -> str:
        """Watch: "" when all was well for the trial's time, of which `spent` seconds are over, else what was wrong.

        `progress` is told the seconds that are over, every look; they survive a restart.
        """
        begun = last = self._now()
        wrong_since: float | None = None
        while True:
            wrong = {name: text for name, text in (await self.look(names)).items() if text}
            now = self._now()
            if wrong:
                wrong_since = now if wrong_since is None else wrong_since
                told = "; ".join(f"{name}: {text}" for name, text in wrong.items())
                if now - wrong_since >= self.terms.patience or now - begun >= self.terms.limit:
                    return told
                log.info("on trial, and not well: %s", told)
            else:
                spent += now - last if wrong_since is None else 0.0
                wrong_since = None
                if spent >= self.terms.trial:
                    return ""
            last = now
            await progress(spent)
            await asyncio.sleep(min(self.terms.look, max(0.05, self.terms.trial - spent)))


async def _ask(check: Check | None) -> str:
    if check is None:
        return "it is no longer configured"
    try:
        async with asyncio.timeout(CHECK_TIME):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIME:.0f} s"
    except OSError as error:  # the disk that is asked about its room may be the one that is gone
        return f"it cannot be asked: {error.strerror or error}"


def memory(limit: int) -> Check:
    """Resident memory of this process stays below `limit` bytes."""

    async def check() -> str:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: ASYNC230, PTH123  no disk
            pages = int(file.read().split()[1])
        used = pages * os.sysconf("SC_PAGE_SIZE")
        return "" if used <= limit else f"{used >> 20} MiB of memory, {limit >> 20} are allowed"

    return check


def room(folder: Path, least: int) -> Check:
    """At least `least` bytes of the disk are free."""

    async def check() -> str:
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        return "" if free >= least else f"{free >> 20} MiB of disk are free, {least >> 20} are needed"

    return check


def script(path: Path, timeout: float) -> Check:
    """A program of the operator's ends with 0 within `timeout` seconds; its last line of output says what is wrong."""

    async def check() -> str:
        try:
            ended = await programs.run(path, limit=timeout, together=True)
        except TimeoutError:
            return f"it did not end within {timeout:.0f} s"
        except OSError as error:
            return f"it cannot be run: {error.strerror}"
        lines = ended.output.strip().splitlines()
        return "" if ended.code == 0 else (lines[-1][:200] if lines else f"exit code {ended.code}")

    return check
