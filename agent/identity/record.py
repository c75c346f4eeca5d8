"""Which certificate is used, which is tried, and which is kept for a while: the state of the two slots. PURE.

A slot holds a key and its certificate. The arrows, each of them one write of the record:

    asked -> candidate -> current, with the old one as fallback -> current alone
              candidate given up                  fallback is current again

A candidate becomes current by a real connection. A fallback goes once the new certificate has been connected for long enough, and
comes back when the new one is refused and the old one is not.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Slot = Literal["a", "b"]
DAY = 86400.0
KEEP = 24 * 3600.0  # seconds of health before an old certificate goes
TRIES = 3  # connections that a certificate may fail before the other one has its turn
BY_HAND = "by hand"  # the reason of a request that a person takes to an authority
ROUNDS = 3  # turns of a candidate before it is given up
_LAST = 253402300799.0  # 9999-12-31, the last day of X.509 and of our calendar
Moment = Annotated[float, Field(ge=-_LAST, le=_LAST, allow_inf_nan=False)]
Span = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Held(_Part):
    """A certificate in its slot. Times are seconds since 1970; `proved` is the last connection with it, 0 for none."""

    thing: str
    certificate_id: str = Field(pattern="^[0-9a-f]{64}$")
    configuration: dict[str, str] = {}
    source: str
    begins: Moment
    expires: Moment
    installed: Moment
    proved: Moment = 0.0


class Record(_Part):
    """What is in the slots. `healthy`: seconds of connection since the last swap; `offline`: the longest spell seen, in seconds."""

    version: Literal[1] = 1
    held: dict[Slot, Held] = {}
    current: Slot | None = None
    candidate: Slot | None = None
    fallback: Slot | None = None
    asked: Slot | None = None  # its key is made, and its certificate is on the way
    reason: str = ""  # what the certificate is asked for: a job's id, a person, its age
    unconfirmed: str = ""  # the source that has yet to hear that its certificate works
    rounds: int = Field(0, ge=0)
    healthy: Span = 0.0
    offline: Span = 0.0
    trouble: str = ""  # why the last candidate or new certificate was given up

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """A record that was read: each part is in a slot of its own, and what is used is held."""
        in_use = [slot for slot in (self.current, self.candidate, self.fallback) if slot]
        if not set(in_use) <= set(self.held):
            raise ValueError("a slot that is named is empty")
        parts = [*in_use, *([self.asked] if self.asked else [])]
        if len(parts) != len(set(parts)):
            raise ValueError("a slot has two parts")
        if self.current is None and in_use:
            raise ValueError("nothing is current")
        return self

    @property
    def identity(self) -> Held | None:
        """What the hub is now."""
        return self.held[self.current] if self.current else None

    @property
    def free(self) -> Slot:
        """The slot for a new certificate."""
        return "b" if self.current == "a" else "a"

    @property
    def used(self) -> frozenset[Slot]:
        return frozenset(slot for slot in (self.current, self.candidate, self.fallback, self.asked) if slot)

    # ---- arrows -----------------------------------------------------------------------------------------------------

    def cleared(self) -> "Record":
        """The free slot is emptied: what was tried or kept in it goes."""
        held = {slot: value for slot, value in self.held.items() if slot == self.current}
        return self._with(held=held, candidate=None, fallback=None, asked=None, rounds=0, reason="")

    def ask(self, reason: str) -> "Record":
        """A key may now be made in the free slot, which is empty."""
        return self._with(asked=self.free, reason=reason)

    def arrived(self, held: Held) -> "Record":
        """The certificate that was asked for; the first one has nothing to be tried against."""
        slot = self.asked or self.free
        changes = {"current": slot} if self.current is None else {"candidate": slot, "rounds": 0}
        return self._with(held={**self.held, slot: held}, asked=None, **changes)

    def connected(self, slot: Slot, now: float, confirm: str = "") -> "Record":
        """A connection stands. The candidate's makes it current; `confirm` names the source that waits to hear of it."""
        if slot not in self.held:
            return self
        held = {**self.held, slot: self.held[slot].model_copy(update={"proved": now})}
        if slot != self.candidate:
            return self._with(held=held)
        changes = {"fallback": self.current, "candidate": None, "rounds": 0, "healthy": 0.0, "trouble": ""}
        return self._with(held=held, current=slot, unconfirmed=confirm, **changes)

    def turn_over(self, why: str) -> "Record":
        """The candidate was refused where the current one was not: its turn is over, and after the last turn it is given up."""
        if self.candidate is None:
            return self
        if self.rounds + 1 < ROUNDS:
            return self._with(rounds=self.rounds + 1, trouble=why)
        return self.given_up(why)

    def given_up(self, why: str) -> "Record":
        """The candidate goes."""
        return self.cleared()._with(trouble=why)  # noqa: SLF001  its own

    def rolled_back(self, why: str) -> "Record":
        """The new certificate is refused where the old one is not: the old one is current again."""
        if self.fallback is None:
            return self
        held = {self.fallback: self.held[self.fallback]}
        return self._with(held=held, current=self.fallback, fallback=None, unconfirmed="", trouble=why, reason="")

    def lived(self, seconds: float) -> "Record":
        """So many more seconds of connection. After KEEP of them, and once its source has heard of it, the new certificate stands alone."""
        record = self._with(healthy=self.healthy + seconds)
        if record.fallback is None or record.healthy < KEEP or record.unconfirmed:
            return record
        held = {slot: value for slot, value in record.held.items() if slot != record.fallback}
        return record._with(held=held, fallback=None)  # noqa: SLF001  its own

    def confirmed(self) -> "Record":
        return self._with(unconfirmed="")

    def away(self, seconds: float) -> "Record":
        """An offline spell has ended."""
        return self if seconds <= self.offline else self._with(offline=seconds)

    def _with(self, **changes: object) -> "Record":
        return self.model_copy(update=changes)
