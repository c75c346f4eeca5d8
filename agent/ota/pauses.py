"""How long is waited after trouble that may pass. PURE: chance is an argument.

Each time twice as long, up to thirty times the first; and half of it is chance, since a fleet has lost the same server at the same moment.
"""

from random import Random

DOUBLINGS, MOST = 5, 30  # of the first pause


def after_trouble(times: int, first: float, random: Random) -> float:
    """Seconds, after trouble that came so many `times` on end; `first` is the longest that the first pause may be."""
    return first * min(MOST, 1 << min(max(0, times - 1), DOUBLINGS)) * random.uniform(0.5, 1.0)
