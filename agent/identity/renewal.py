"""When a certificate is renewed, and how near its end is. PURE: times are seconds since 1970, spans are seconds."""

from dataclasses import dataclass

from agent.identity.record import DAY, Held

SHARE = 2 / 3  # of the lifetime
JITTER = 0.05  # of the lifetime: a fleet made in one day does not come back on one day
SPELLS = 2.0  # of the longest offline spell are left for the renewal
FINE, DUE, LATE, URGENT, EXPIRED = "fine", "due", "late", "urgent", "expired"


@dataclass(frozen=True, slots=True)
class Age:
    """`state`: fine, due (to be renewed), late (half of what was left is over), urgent (a tenth of the lifetime or a week left), expired."""

    days_left: float
    state: str


def renew_at(held: Held, offline: float, dice: float) -> float:
    """The moment to ask for the next certificate. `offline`: the longest spell seen; `dice`: 0 to 1, the same for one certificate."""
    life = held.expires - held.begins
    wished = held.begins + SHARE * life
    needed = held.expires - SPELLS * offline
    return max(held.begins, min(wished, needed) - dice * JITTER * life)


def dice_of(held: Held) -> float:
    """0 to 1, from the certificate itself: a restart does not throw again."""
    return int(held.certificate_id[:8], 16) / 0xFFFFFFFF


def age(held: Held, offline: float, now: float) -> Age:
    """How a certificate stands at `now`."""
    left, life = held.expires - now, held.expires - held.begins
    due = renew_at(held, offline, dice_of(held))
    if left <= 0:
        state = EXPIRED
    elif left < min(0.1 * life, 7 * DAY) and now >= due:
        state = URGENT
    elif now > (due + held.expires) / 2:
        state = LATE
    else:
        state = DUE if now >= due else FINE
    return Age(left / DAY, state)
