"""Faults that a cloud has on bad days, by option and with a seed. PURE."""

import random
from dataclasses import dataclass, field, fields
from typing import Any

from agent.errors import UsageError

_SECONDS = ("slow_seconds", "certificate_life", "token_life", "vendor_retry")


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares are 0 to 1 of the messages, requests or subscriptions that they name; 0 is never."""

    seed: int = 0
    throttle: float = 0.0  # of REST and job requests: 429, RequestThrottled
    publishes_per_second: int = 0  # what a client publishes above is discarded; AWS IoT Core: 100; 0: no limit
    duplicate: float = 0.0  # of messages to devices: delivered twice
    reorder: float = 0.0  # of messages to devices: delivered after the next one
    refuse_subscription: float = 0.0
    slow_reply: float = 0.0  # of answers to devices
    slow_seconds: float = 2.0
    drop_reply: float = 0.0
    drop_connection: float = 0.0  # of packets of a client
    certificate_life: float = 0.0  # seconds that a new device certificate is accepted; 0: its own validity
    token_life: float = 3600.0  # seconds of an ownership token
    vendor_failures: int = 0  # tries of each certificate rotation that fail after the certificate was registered
    vendor_retry: float = 60.0  # seconds to the next try
    vendor_deletes: int = 0  # 1: the certificate vendor deletes the other certificates when the device acknowledges
    _random: random.Random = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_random", random.Random(self.seed))  # noqa: S311  faults are repeatable, not secret

    def happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """From `name=number,name=number`. Raises UsageError with the word that is wrong."""
        known: dict[str, Any] = {item.name: item.default for item in fields(cls) if item.init}
        values: dict[str, Any] = {}
        for word in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = word.partition("=")
            if name not in known:
                raise UsageError(f"--faults: there is no fault {name!r}", remedy=f"one of {', '.join(known)}")
            try:
                value = type(known[name])(number)
            except ValueError:
                raise UsageError(f"--faults: {word!r} is not NAME=NUMBER", remedy="for example duplicate=0.1") from None
            share = isinstance(value, float) and name not in _SECONDS
            if not value >= 0 or (share and value > 1):
                raise UsageError(
                    f"--faults: {word!r} is out of range", remedy="a share is 0 to 1, others are at least 0"
                )
            values[name] = value
        return cls(**values)
