"""What every applier can do. All of it may be repeated: after a power cut the engine calls the same again.

`tests/ota/applier_contract.py` is the meaning of this contract; tests/ota/test_applier_contract.py and test_device_contract.py call it for each
applier, test_recipes.py for the recipes of `command`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, Protocol, Self, runtime_checkable

from agent.errors import HubError
from agent.ota.manifest import Component, Downgrade
from agent.ota.plan import Runs

Progress = Callable[[int], None]  # bytes, or devices, that are done


class ApplierError(HubError):
    """A component cannot be installed, and trying again does not help. `code` is one word for the cloud."""

    def __init__(self, code: str, message: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.code = code


class SuspendedError(Exception):
    """An activation has come to a safe point, as it was told to, and goes on at the next call. Never seen outside of the engine."""


class Effect(StrEnum):
    """What an activation needs to take effect."""

    PROVED = "proved"  # none, and what runs has been read back: no trial
    DONE = "done"
    RESTART = "restart"  # of this process: the launcher starts what is selected
    REBOOT = "reboot"
    STAYS = "stays"  # of a roll-back: there is no way back, and what runs now stays


@dataclass(frozen=True, slots=True)
class Image:
    """One verified file of a component: the descriptor that was checked is the one that is read."""

    name: str
    file: BinaryIO
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Found:
    """The facts of a component on this hub."""

    runs: Runs
    version: str  # what runs now
    facts: Mapping[str, str] = field(default_factory=dict)


class Applier(Protocol):
    """Installs components of one kind."""

    kind: str

    async def judge(self, component: Component) -> None:
        """Raises ApplierError when this hub cannot have such a component, as far as that is known before anything of it is here.

        All components of a release are judged before the first one is installed. Any other HubError: that cannot be found out just now.
        """

    async def describe(self, component: Component) -> Found:
        """The facts, asked from what really boots or answers. Raises ApplierError when this hub cannot have such a component."""

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:
        """Put it where nothing runs from, read it back, and compare. Raises ApplierError, StorageError."""

    async def check(self, component: Component) -> bool:
        """Whether what was written is still as it was written."""

    async def activate(self, component: Component) -> Effect:
        """Have the next start be of it, on trial. Raises ApplierError."""

    async def confirm(self, component: Component) -> None:
        """It stays."""

    async def roll_back(self, component: Component) -> Effect:
        """Have what ran before run again."""

    async def clean(self) -> None:
        """Give back what no task needs."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Of whose devices may go back, whom to tell percent and counts, and what is set when the activation is to come to a safe point.

    `only`: a name of the one device that gets it, "" for all that the image is for.
    """

    permission: Downgrade | None = None
    further: Callable[[int, str], None] = lambda _percent, _text: None
    pause: asyncio.Event = field(default_factory=asyncio.Event)
    only: str = ""


@runtime_checkable
class FleetApplier(Applier, Protocol):
    """An applier that updates devices one by one, in an activation that may take days. It raises SuspendedError when it gives way."""

    def entrusted(self, errand: Errand) -> Self:
        """The same for one task."""

    async def standing(self, component: Component) -> str:
        """What became of the devices, for people; "" where there was no such activation. Raises StorageError."""
