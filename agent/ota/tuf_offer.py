"""Updates from a TUF repository: what a job or a person names, and the offer that comes of it. See tuf_source.py.

A job's document is {"operation": "firmware-update", "tuf": {"target": "release.json", "metadata": "https://...", "targets": "https://..."}};
what is left out of it the configuration has. Whose word counts is said by the root that is pinned here, wherever the repository lies.
"""

import asyncio
import base64
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.clock import Clock
from agent.errors import StorageError
from agent.ota.floor import encoded
from agent.ota.floors import Floors
from agent.ota.offer import Offer
from agent.ota.plan import Task
from agent.ota.refusals import MalformedError, MixAndMatchError, UnsignedError
from agent.ota.signatures import Envelope
from agent.ota.source import FetchPolicy
from agent.ota.trust import Hub, raised
from agent.ota.tuf_source import MANIFEST, Offered, TufSource

TUF = "tuf"  # member of a job's document


class Wanted(BaseModel):
    """Which release of which repository."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: str = Field(MANIFEST, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=256)
    metadata: str = Field("", pattern=r"^[!-~]{0,2048}$")
    targets: str = Field("", pattern=r"^[!-~]{0,2048}$")


@dataclass(frozen=True, slots=True)
class Repository:
    """What is configured: the file of the pinned root, the addresses of its folders, and the product that this hub is."""

    root: Path
    metadata: str
    targets: str
    product: str


class TufOffers:
    """`folder`: what python-tuf keeps."""

    def __init__(
        self, repository: Repository, folder: Path, hub: Hub, floors: Floors, clock: Clock, policy: FetchPolicy
    ) -> None:
        self._repository, self._folder, self._hub = repository, folder, hub
        self._floors, self._clock, self._policy = floors, clock, policy

    async def offer(self, task: Task, installed: dict[str, str]) -> Offer:
        """What the repository offers now. `installed`: what runs, where no update has said so. Raises as TufSource.release."""
        wanted, floor = self._wanted(task), self._floors.under(None)
        floor = replace(floor, installed={**installed, **floor.installed})
        source = self._source(wanted)
        found: Offered = await asyncio.get_running_loop().run_in_executor(
            None, source.release, self._hub, floor, self._clock.now(), wanted.target
        )
        told = task.facts.get("digest", found.verified.digest)
        if told != found.verified.digest:
            text = f"the repository has release {found.verified.release.release} now, and another one was begun"
            raise MixAndMatchError(text, place=task.key, remedy="offer it again")
        envelope = Envelope(payload=base64.b64encode(found.payload).decode(), signatures=()).encoded()
        after = encoded(raised(floor, found.verified, None)).decode()
        beside = f"{(wanted.targets or self._repository.targets).rstrip('/')}/"
        return Offer(found.verified, beside, envelope, found.addresses, floor=after)

    def _wanted(self, task: Task) -> Wanted:
        try:
            return Wanted.model_validate(task.document.get(TUF))
        except ValidationError as error:
            text = error.errors(include_url=False, include_input=False)[0]["msg"]
            remedy = 'write {"tuf": {"target": "release.json"}}'
            raise MalformedError(f"the job names no target: {text}", place=task.key, remedy=remedy) from None

    def _source(self, wanted: Wanted) -> TufSource:
        told = self._repository
        try:
            root = told.root.read_bytes()
        except OSError as error:
            raise StorageError(f"TUF's root cannot be read: {error.strerror}", place=str(told.root)) from error
        metadata, targets = wanted.metadata or told.metadata, wanted.targets or told.targets
        if not metadata or not targets:
            remedy = "name metadata and targets in the job, or in the table [ota.tuf] of agent.toml"
            raise MalformedError("nobody says where the TUF repository lies", place="ota.tuf", remedy=remedy)
        return TufSource(metadata, targets, root, self._folder, told.product, self._policy)


def no_repository(task: Task) -> UnsignedError:
    """For a hub that has no TUF root pinned."""
    remedy = "put the repository's root.json on the hub, and name it as ota.tuf.root in agent.toml"
    return UnsignedError(
        "this hub takes nothing from TUF repositories: no root is pinned", place=task.key, remedy=remedy
    )
