"""nRF Cloud's client with a key of its own, its clock, and an applier that remembers."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from rest_rig import FAST, Pauses

from agent.clock import TRUSTED, Moment
from agent.cloud.nrf_fota import ImageRefusedError
from agent.cloud.rest import Rest
from agent.identity.stores.file import FileKeys
from agent.identity.tokens import DeviceAuthorization, Stored, Tokens
from agent.wire.nrf import JobDocument

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


@dataclass
class Applier:
    """Installs nothing. `restart`, `good` and `refuse` are what it says."""

    types: tuple[str, ...] = ("APP",)
    restart: bool = False
    good: bool | None = True
    refuse: str = ""
    installed: list[bytes] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    async def install(self, image: Path, job: JobDocument) -> bool:
        if self.refuse:
            raise ImageRefusedError(self.refuse)
        assert image.stat().st_size == job.file_size
        self.installed.append(image.read_bytes())
        return self.restart

    async def check(self, job: str) -> tuple[bool | None, str]:
        self.checked.append(job)
        return self.good, "checked"
