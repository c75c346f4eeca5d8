"""Which mirror is asked next, and when. PURE: chance and time (monotonic seconds) are arguments."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

from agent.cloud.rest_answer import RestError
from agent.cloud.rest_policy import Policy
from agent.ota.source import FetchPolicy


@dataclass(slots=True, eq=False)
class Mirror:
    """One URL and what is known of its server."""

    url: str = field(repr=False)
    validator: str = ""  # of the file that this server has, for If-Range
    ranged: bool = True  # its ranges can be used
    strikes: int = 0  # answers that cannot be used
    failures: int = 0  # since something new came from here
    ready: float = -inf
    gone: bool = False

    @property
    def key(self) -> str:
        """Names the mirror on the disk: a presigned URL has another query each time."""
        return hashlib.sha256(self.url.partition("?")[0].encode()).hexdigest()


class Mirrors:
    """All mirrors of one file. `last` is the latest trouble."""

    def __init__(self, urls: Iterable[str], policy: FetchPolicy, random: Random) -> None:
        self.all = [Mirror(url) for url in urls]
        self._policy, self._random = policy, random
        # The deadline bounds all pauses together.
        self._pauses = Policy(attempts=policy.resumes + 1, first=policy.first, longest=policy.longest, patience=inf)
        self._idle = 0
        self.last: RestError | None = None

    def pick(self, now: float) -> tuple[Mirror, float]:
        """The mirror that can be asked first, and the seconds until then. Raises the latest trouble when none is left."""
        left = [mirror for mirror in self.all if not mirror.gone]
        if self.last is not None and self._idle > self._policy.resumes:
            text = f"{self._policy.resumes} resumes brought nothing new; the last: {self.last.message}"
            # Of the same kind: who stalls is told apart from who is away.
            raise type(self.last)(text, place=self.last.place, remedy=self.last.remedy, status=self.last.status)
        if self.last is not None and not left:
            raise self.last
        best = min(left, key=lambda mirror: mirror.ready)
        return best, max(0.0, best.ready - now)

    def progressed(self, mirror: Mirror) -> None:
        """Something new came: all counting of failures begins anew."""
        mirror.failures = mirror.strikes = self._idle = 0

    def failed(self, mirror: Mirror, trouble: RestError, now: float) -> None:
        """The same may succeed later."""
        self.last = trouble
        self._idle += 1
        mirror.failures += 1
        pause = self._pauses.pause(mirror.failures, 0.0, trouble.retry_after, self._random)
        if pause is None:
            mirror.gone = True
        else:
            mirror.ready = now + pause

    def struck(self, mirror: Mirror, trouble: RestError, now: float) -> None:
        """An answer that cannot be used: a proxy on the way may be ill for a moment, a server that lies does not get better."""
        mirror.strikes += 1
        self.failed(mirror, trouble, now)
        mirror.gone = mirror.gone or mirror.strikes >= self._policy.strikes

    def dropped(self, mirror: Mirror, trouble: RestError) -> None:
        """It refuses for good."""
        self.last = trouble
        mirror.gone = True
