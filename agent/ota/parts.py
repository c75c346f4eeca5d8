"""What the steps of an update are given: who says what may be installed, who brings it, and when it may be."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from agent.ota.appliers.contract import Image
from agent.ota.manifest import Component
from agent.ota.offer import Offer
from agent.ota.plan import Task
from agent.ota.windows import Window


class Verifier(Protocol):
    """Turns what was asked for into a release that may be trusted, and keeps what may not be gone below."""

    async def offer(self, task: Task) -> Offer:
        """Raises a HubError with a `code` for what is refused, TryAgainError for what cannot be asked just now.

        A task that has been activated is only read again: that its release expires in its trial is no reason to go back.
        """

    async def confirmed(self, floor: str, component: str, *, last: bool) -> str:
        """A component is confirmed, and with the `last` one the release, whose floor is `floor`; that of the hub now. Raises StorageError."""


class Fetcher(Protocol):
    """Brings the files of a component."""

    async def fetch(self, offer: Offer, component: Component, progress: Callable[[int], None], since: float) -> None:
        """Until all are there and right. Raises HubError, with a `code` where trying again is no use, DeadlineError.

        `since`: when their time began to run, on the monotonic clock.
        """

    async def images(self, component: Component) -> list[Image] | None:
        """The files, verified again and held open; None when one is not as it was."""

    def stop(self) -> None:
        """End what is being fetched: `fetch` raises."""

    async def clean(self, keep: Collection[str] = ()) -> None:
        """Give back the room, but for the files with these hashes."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When, and whether without a person."""

    window: Window = field(default_factory=Window)
    automatic: bool = True
    hub: str = ""
