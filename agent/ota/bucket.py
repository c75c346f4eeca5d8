"""Bytes a second as a token bucket. PURE: time is an argument, in monotonic seconds.

Unlike agent/cloud/pace.py, which asks before one message, this is told how much has come: TCP holds back what is not read meanwhile.
"""

_SHARE = 8  # a burst is an eighth of a second
_SMALLEST = 1024  # bytes: less would be all system calls


class Bucket:
    """`rate` bytes a second, 0 without a limit. What was taken above the burst is a debt that waiting pays."""

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self.step = max(_SMALLEST, rate // _SHARE) if rate else 0
        self._tokens, self._at = float(self.step), now

    def take(self, count: int, now: float) -> float:
        """Count `count` bytes that came; the seconds to wait before more are read. A clock that stands or goes back earns nothing."""
        if not self._rate:
            return 0.0
        self._tokens = min(self.step, self._tokens + max(0.0, now - self._at) * self._rate) - count
        self._at = max(self._at, now)
        return max(0.0, -self._tokens / self._rate)
