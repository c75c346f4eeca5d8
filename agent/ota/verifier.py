"""From what was asked for to a release that may be installed: where its manifest is, whose signatures count, what may not be gone below.

What a job's document may be: {"operation": "firmware-update", and one of
    "manifest": the envelope itself, with "base": the address that its files lie beside
    "manifestUrl": the address of the envelope, which its files lie beside
    "path": the same on this machine, from a person at the control socket only
and where files have addresses of their own, "urls": {name: address}, which presigned ones need}
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.clock import Clock
from agent.errors import StorageError
from agent.ota.fetch import FetchPolicy
from agent.ota.floor import Floor, encoded
from agent.ota.floors import Floors
from agent.ota.manifest import LARGEST
from agent.ota.manifest_get import get
from agent.ota.offer import Offer
from agent.ota.plan import HARMLESS, MANIFEST, Task
from agent.ota.refusals import MalformedError, UnsignedError
from agent.ota.roots import Root, chained, pinned
from agent.ota.signatures import ROOM
from agent.ota.trust import Hub, Policy, raised, reread, unsigned, verify

LOCAL = "local"  # the source of what a person asks for
PERMISSION = "permission"
AGENT = "agent"  # the name of the component that is this program
_MOST = (LARGEST + ROOM) * 2  # bytes of an envelope, whose payload is in base64


class Trust:
    """The roots on this hub: the pinned one, and those that follow it in `folder` as 2.root.json, 3.root.json, ..."""

    def __init__(self, pinned_root: Path | None, folder: Path) -> None:
        self._pinned, self._folder = pinned_root, folder

    def root(self) -> Root:
        """Raises UnsignedError without a pinned one, RefusedError, StorageError."""
        if self._pinned is None:
            remedy = "make one with `agent ota sign`, put it on the hub, and name it as ota.root in agent.toml"
            raise UnsignedError("this hub trusts nobody's updates: no root is pinned", remedy=remedy)
        try:
            first = pinned(self._pinned.read_bytes(), str(self._pinned))
            return chained(first, self._following(first.version + 1), place=str(self._folder))
        except OSError as error:
            raise StorageError(f"a root cannot be read: {error.strerror}", place=str(error.filename)) from error

    def _following(self, version: int) -> Iterable[bytes]:
        while (path := self._folder / f"{version}.root.json").exists():
            yield path.read_bytes()
            version += 1


class Verifier:
    """`version` is the agent's own; `policy` is what the owner has said of releases that nobody has signed."""

    def __init__(
        self, trust: Trust, hub: Hub, version: str, floors: Floors, clock: Clock, policy: Policy, fetch: FetchPolicy
    ) -> None:
        self._trust, self._hub, self._version, self._floors, self._clock = trust, hub, version, floors, clock
        self._policy, self._fetch = policy, fetch

    async def offer(self, task: Task) -> Offer:
        """See agent.ota.steps.Verifier. Raises RefusedError, RestError, StorageError."""
        data, base = await self._envelope(task)
        if task.state not in HARMLESS:
            return Offer(reread(data, task.facts.get("digest", ""), self._hub, task.key), base, data, _addresses(task))
        root, now = self._trust.root(), self._clock.now()
        floor, permission = self._floor(root), _inline(task.document, PERMISSION)
        verified = verify(data, root, self._hub, floor, now, permission=permission, place=task.key)
        return Offer(verified, base, data, _addresses(task), encoded(raised(floor, verified, root)).decode())

    async def confirmed(self, floor: str) -> None:
        """See agent.ota.steps.Verifier."""
        self._floors.raise_to(floor)

    def _floor(self, root: Root) -> Floor:
        """With what runs now, where no update has said so yet."""
        floor = self._floors.under(root)
        return replace(floor, installed={AGENT: self._version, **floor.installed})

    async def _envelope(self, task: Task) -> tuple[bytes, str]:
        """The bytes that are signed, and where they lie."""
        document = task.document
        location = str(document.get("manifestUrl", "") or document.get("base", ""))
        if task.source == LOCAL:
            location = str(document.get("path", ""))
        if MANIFEST in task.facts:
            return task.facts[MANIFEST].encode(), location
        inline = _inline(document, MANIFEST)
        if inline is not None:
            return inline, location
        if task.source == LOCAL:
            return await _in_thread(lambda: _read(Path(location))), location
        if not location:
            unsigned(self._policy, task.key)
            remedy = "name the manifest as manifestUrl, or put it into the document as manifest"
            raise MalformedError("the job names no manifest", place=task.key, remedy=remedy)
        return await _in_thread(lambda: get(location, self._fetch, _MOST)), location


def _inline(document: Mapping[str, Any], name: str) -> bytes | None:
    """An envelope that is part of the document, as an object or as a text."""
    given = document.get(name)
    if isinstance(given, str) and given:
        return given.encode()
    return json.dumps(given).encode() if isinstance(given, dict) else None


def _addresses(task: Task) -> dict[str, str]:
    given = task.document.get("urls")
    if task.source == LOCAL or not isinstance(given, dict):
        return {}
    return {str(name): url for name, url in given.items() if isinstance(url, str) and "://" in url}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError as error:
        remedy = "the agent's own user must be able to read it"
        raise StorageError(f"the manifest cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error


async def _in_thread(work: Callable[[], bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(None, work)
