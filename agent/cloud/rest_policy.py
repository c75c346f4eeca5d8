"""How long a REST call waits, and when it is made again. PURE: chance and time are arguments.

Full jitter (Brooker, "Exponential backoff and jitter", AWS): hubs that lost a service at the same moment do not come back at the same moment.
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110, 9.2.2
_TIMEOUT, _TOO_EARLY, _TOO_MANY = 408, 425, 429
_NEVER_BETTER = (501, 505)  # not implemented, version not supported


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one call; all times in seconds. `total` is that of one attempt with its redirects, `patience` of all pauses together."""

    total: float = 30.0
    connect: float = 10.0
    stall: float = 15.0  # without a byte from the service
    attempts: int = 4
    first: float = 0.5  # the first pause, at most
    longest: float = 60.0  # one pause, at most, also where the service asks for more
    patience: float = 120.0

    def pause(self, attempt: int, waited: float, told: float | None, random: Random) -> float | None:
        """Seconds before the next attempt, or None to give up. `attempt` is the number of failed ones, `told` what Retry-After says."""
        if attempt >= self.attempts:
            return None
        pause = random.uniform(0, min(self.longest, self.first * 2 ** (attempt - 1)))
        if told is not None:
            if told > self.longest:
                return None
            pause = told + random.uniform(0, self.first)  # others were told the same
        return pause if waited + pause <= self.patience else None


def may_pass(status: int) -> bool:
    """Whether the same call may succeed later."""
    return status in (_TIMEOUT, _TOO_EARLY, _TOO_MANY) or (500 <= status < 600 and status not in _NEVER_BETTER)  # noqa: PLR2004


def http_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP date, None for what is none."""
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(text: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date on the clock of which `now` is the time."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    date = http_date(text) if text else None
    return None if date is None else max(0.0, date - now)
