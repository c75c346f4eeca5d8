"""So many publishes a second, in bursts of a tenth of that. PURE: time is an argument, in monotonic seconds."""


class Pace:
    """A token bucket of `rate` a second; 0 sends without pause."""

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate / 10)
        self._tokens, self._at = self._burst, now

    def take(self, now: float) -> float:
        """0 when a publish may go now (and counts), else the seconds until one may."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return max(0.002, (1.0 - self._tokens) / self._rate)
