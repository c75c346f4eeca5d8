"""An update of many devices: one first, then a tenth of them, then the rest, and when to stop. PURE.

A device is a failure when it said no, or broke off again and again once it had begun: that says something of the image. One that sleeps or
cannot be reached says nothing: it waits, and has missed the update when the time is over.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.model import DeviceId

CANARY = 1  # devices that are tried first
SHARE = 0.1  # of all, that are tried next
TOLERATED = 0.05  # of all, that may fail once the canary is well
TRIES = 3  # that may end in the middle
NAMED = 3  # devices that a sentence names


class Standing(StrEnum):
    """Where one device stands."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    MISSED = "missed"
    GONE = "gone"  # from the network, or no longer one that the image is for
    SILENT = "silent"  # it did not say what it runs, so that nobody knows whether the image is for it


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a campaign. `before` is the version that it had, `tries` those that ended in the middle."""

    id: DeviceId
    before: int
    standing: Standing = Standing.WAITING
    tries: int = 0
    detail: str = ""

    def ended(self, standing: Standing, detail: str = "") -> "Member":
        return replace(self, standing=standing, detail=detail)

    def broke_off(self, begun: bool, detail: str) -> "Member":  # noqa: FBT001  whether it had taken anything
        """It was out of reach. Before it has begun that is no news; then it counts, also when it is not heard again at all."""
        tries = self.tries + (1 if begun or self.tries else 0)
        return replace(self, tries=tries, detail=detail, standing=Standing.FAILED if tries >= TRIES else self.standing)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many devices stand where; `total` without those that are gone, and without those that did not say what they run."""

    total: int
    done: int
    failed: int
    missed: int
    silent: int = 0

    @property
    def settled(self) -> int:
        return self.done + self.failed + self.missed

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.total} devices run it"]
        parts += [
            f"{number} {name}"
            for number, name in (
                (self.failed, "failed"),
                (self.missed, "not reached"),
                (self.silent, "did not say what they run"),
            )
            if number
        ]
        return ", ".join(parts)


def counts(members: Iterable[Member]) -> Counts:
    standing = [member.standing for member in members]
    there = [one for one in standing if one not in (Standing.GONE, Standing.SILENT)]
    told = (Standing.DONE, Standing.FAILED, Standing.MISSED, Standing.SILENT)
    return Counts(len(there), *(standing.count(one) for one in told))


def may_begin(now: Counts, under_way: int) -> bool:
    """Whether one more may be tried: each step waits for the end of the one before."""
    judged = now.done + now.failed
    if now.done < CANARY:
        return judged + under_way < CANARY
    first = CANARY + math.ceil(SHARE * now.total)
    return judged >= first or judged + under_way < first


def stopped(now: Counts) -> str:
    """Why nobody else is tried, or ""."""
    if now.failed and now.done < CANARY:
        return "the first device failed"
    if now.failed > TOLERATED * now.total:
        return f"more than {TOLERATED:.0%} failed"
    return ""


def in_turn(members: Iterable[Member], battery: Mapping[DeviceId, bool]) -> list[Member]:
    """Those that wait, on mains first: they answer at once, and a broken image drains nobody's battery."""
    waiting = [member for member in members if member.standing is Standing.WAITING]
    return sorted(waiting, key=lambda member: (battery.get(member.id, False), member.tries, str(member.id)))


def failures(members: Iterable[Member]) -> str:
    """Which did not get it and why, a few of them, for people."""
    wrong = [member for member in members if member.standing in (Standing.FAILED, Standing.MISSED)]
    named = "; ".join(f"{member.id}: {member.detail or member.standing}" for member in wrong[:NAMED])
    return named + (f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
