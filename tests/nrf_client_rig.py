"""nRF Cloud's client with a key of its own, and its clock."""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rest_rig import FAST, Pauses

from agent.clock import TRUSTED, Moment
from agent.cloud.rest import Rest
from agent.identity.stores.file import FileKeys
from agent.identity.tokens import DeviceAuthorization, Stored, Tokens

KEY = "hub"


@dataclass
class Watch:
    """The time of this machine, off by `skew` seconds."""

    skew: float = 0.0
    quality: str = TRUSTED

    def now(self) -> Moment:
        return Moment(time.time() + self.skew, time.monotonic(), "boot", self.quality)


class Device:
    """A key store with one key, and a REST client that signs with it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.keys, self.watch = name, FileKeys(folder), Watch()
        self.keys.generate(KEY)
        self.public = self.keys.public_key(KEY)

    def rest(self, url: str, pauses: Pauses | None = None, **more: Any) -> Rest:
        tokens = Tokens(Stored(self.keys, KEY), self.name, self.watch)
        more = {"policy": FAST, "random": Random(1), "sleep": pauses or Pauses(), **more}
        return Rest(url, authorize=DeviceAuthorization(tokens), **more)
