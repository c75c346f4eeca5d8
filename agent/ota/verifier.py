"""From what was asked for to a release that may be installed: where its manifest is, whose signatures count, what may not be gone below.

What a job's document may be: {"operation": "firmware-update", and one of
    "manifest": the envelope itself, with "base": the address that its files lie beside
    "manifestUrl": the address of the envelope, which its files lie beside
    "path": the same on this machine, from a person at the control socket only
    "host" and "path": a file at https://host/path, beside which its manifest lies (agent.ota.trust.beside): nRF Cloud's jobs, which can
        carry no more than that. Where the release has one file, it is this one
    "url": the same, for a job that names a file by its address
    "tuf": a release of a TUF repository (agent/ota/tuf_offer.py)
and where files have addresses of their own, "urls": {name: address}, which presigned ones need; and where it is for one device alone,
"device": a name of it: then what the release has for the hub itself is left out}
"""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agent.clock import Clock
from agent.cloud.rest_answer import RestError
from agent.cloud.rest_request import file_request, is_loopback
from agent.errors import ConfigError, StorageError, UsageError
from agent.files import disk_trouble, write_atomic
from agent.ota.fetch import FetchPolicy
from agent.ota.floor import Floor, decoded, encoded, taken
from agent.ota.floors import Floors
from agent.ota.manifest import LARGEST, Release
from agent.ota.manifest_get import TooMuchError, get
from agent.ota.offer import Offer
from agent.ota.plan import HARMLESS, MANIFEST, PERMISSION, Task, device_of
from agent.ota.refusals import MalformedError, RefusedError, RootChainError, TooLargeError, UnsignedError
from agent.ota.roots import LARGEST_ROOT, LONGEST_CHAIN, Root, pinned, rotated
from agent.ota.signatures import ROOM, open_envelope
from agent.ota.trust import REFUSE, Hub, Policy, Verified, beside, next_root, raised, reread, unsigned, verify
from agent.ota.tuf_offer import TUF, TufOffers, no_repository
from agent.ota.tuf_source import PART_TIME
from agent.ota.unsigned import made

log = logging.getLogger(__name__)
Found = TypeVar("Found")

LOCAL = "local"  # the source of what a person asks for
AGENT = "agent"  # the name of the component that is this program
_MOST_ROOT = (LARGEST_ROOT + ROOM) * 2
_NOT_THERE = (403, 404, 410)  # a bucket says 403 to who may not list it
_GONE = (404, 410)
_MOST = (LARGEST + ROOM) * 2  # bytes of an envelope, whose payload is in base64


class Trust:
    """The roots on this hub: the pinned one, and those that follow it in `folder` as 2.root.json, 3.root.json, ..."""

    def __init__(self, pinned_root: Path | None, folder: Path) -> None:
        self._pinned, self._folder = pinned_root, folder

    def root(self) -> Root:
        """The last one that is whole. Raises UnsignedError without a pinned one, RefusedError, StorageError."""
        if self._pinned is None:
            remedy = "make one with `agent ota sign`, put it on the hub, and name it as ota.root in agent.toml"
            raise UnsignedError("this hub trusts nobody's updates: no root is pinned", remedy=remedy)
        try:
            return self._followed(pinned(self._pinned.read_bytes(), str(self._pinned)))
        except OSError as error:
            raise StorageError(f"a root cannot be read: {error.strerror}", place=str(error.filename)) from error

    def _followed(self, root: Root) -> Root:
        while (path := self._path(root.version + 1)).exists():
            try:
                root = rotated(root, path.read_bytes(), str(path))
            except RefusedError as error:
                log.warning("root %d is damaged on this hub: %s", root.version + 1, error.advice)
                break
        return root

    def follow(self, root: Root, data: bytes, place: str) -> Root:
        """Take the next root on, for good. Raises RefusedError, StorageError."""
        following = rotated(root, data, place)
        with disk_trouble():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._path(following.version), data, mode=0o644)
        return following

    def reached(self, root: Root) -> int:
        """Version of the last root that was taken on, whole or not, by the one that is."""
        version = root.version
        while self._path(version + 1).exists():
            version += 1
        return version

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}.root.json"


class Verifier:
    """`version` is the agent's own; `policy` is what the owner has said of what nobody has signed; `folder`: where files are fetched to."""

    def __init__(
        self,
        trust: Trust,
        hub: Hub,
        version: str,
        floors: Floors,
        clock: Clock,
        policy: Policy,
        fetch: FetchPolicy,
        tuf: TufOffers | None = None,
        folder: Path | None = None,
    ) -> None:
        self._trust, self._hub, self._version, self._floors, self._clock = trust, hub, version, floors, clock
        self._policy, self._fetch, self._tuf, self._folder = policy, fetch, tuf, folder
        self._asks = replace(fetch, total=min(fetch.total, PART_TIME))  # of what is small, while others wait

    async def offer(self, task: Task) -> Offer:
        """See agent.ota.parts.Verifier. Raises RefusedError, RestError, StorageError."""
        if task.state in HARMLESS:
            _judge(task, self._fetch)
        if TUF in task.document and task.state in HARMLESS:
            if self._tuf is None:
                raise no_repository(task)
            return await self._tuf.offer(task, {AGENT: self._version})
        data, base = await self._envelope(task)
        if data is None or (task.state in HARMLESS and _is_bare(task)):
            return await self._bare(task)
        if task.state not in HARMLESS:
            digest, granted = task.facts.get("digest", ""), task.facts.get(PERMISSION)
            found = _narrowed(task, reread(data, digest, self._hub, granted.encode() if granted else None, task.key))
            return Offer(found, base, data, _addresses(task, found.release))
        root, now = await self._newest_root(base), self._clock.now()
        floor, permission = self._floor(root), _inline(task.document, PERMISSION)
        verified = _narrowed(task, verify(data, root, self._hub, floor, now, permission=permission, place=task.key))
        after = encoded(raised(floor, verified, root)).decode()
        return Offer(verified, base, data, _addresses(task, verified.release), permission, after)

    async def _bare(self, task: Task) -> Offer:
        """What nobody has signed, where the owner wants it all the same. Raises UnsignedError, and as agent.ota.unsigned."""
        folder, mine = self._folder or Path(), self._folder is not None and not device_of(task)
        unsigned(self._policy if mine else REFUSE, task.key)
        log.warning("update %s: nobody has signed it, and ota.unsigned lets anyone replace the firmware", task.key)
        if MANIFEST in task.facts:
            data = task.facts[MANIFEST].encode()
        else:
            data = await _in_thread(lambda: made(file_of(task), task.document, folder, self._fetch))
        digest = hashlib.sha256(open_envelope(data, LARGEST, task.key).payload).hexdigest()
        found = reread(data, task.facts.get("digest", digest), self._hub, place=task.key)
        return Offer(found, "", data, _addresses(task, found.release), floor=encoded(Floor()).decode())

    async def _newest_root(self, location: str) -> Root:
        """The root in force, after those that lie beside the manifest and follow it have been taken on. Raises RefusedError, StorageError."""
        root = self._trust.root()
        for _ in range(LONGEST_CHAIN if location else 0):
            place = next_root(location, root)
            try:
                data = await _in_thread(partial(self._look, place))
                if data is None:
                    break
                root = self._trust.follow(root, data, place)
            except (RefusedError, RestError) as error:
                log.warning("no newer root is taken: %s", error.advice)
                break
            log.info("root %d is in force, from %s", root.version, place)
        if root.version < self._trust.reached(root):
            text = f"root {root.version + 1} is damaged on this hub, and no good one lies beside the release"
            raise RootChainError(text, place=location, remedy=f"put {root.version + 1}.root.json beside the release")
        return root

    def _look(self, place: str) -> bytes | None:
        """What lies there; None for nothing. Raises RestError, StorageError."""
        if "://" not in place:
            return _beside(Path(place))
        try:
            return get(place, self._asks, _MOST_ROOT)
        except RestError as error:
            if error.status in _NOT_THERE:
                return None
            raise

    async def confirmed(self, floor: str, component: str, *, last: bool) -> str:
        """See agent.ota.parts.Verifier."""
        try:
            root = self._trust.root()
        except RefusedError:  # no longer pinned, or no longer whole: what was confirmed is so all the same
            root = None
        told = taken(self._floors.under(root), decoded(floor.encode(), "the journal"), component, last=last)
        text = encoded(told).decode()
        self._floors.raise_to(text)
        return text

    def _floor(self, root: Root) -> Floor:
        """With what runs now, where no update has said so yet."""
        floor = self._floors.under(root)
        return replace(floor, installed={AGENT: self._version, **floor.installed})

    async def _envelope(self, task: Task) -> tuple[bytes | None, str]:
        """The bytes that are signed, and where they lie; None where nobody has signed a file, and the owner does not mind."""
        if task.state not in HARMLESS:  # what is under way fetches nothing more, and its document may be another by now
            return task.facts[MANIFEST].encode(), ""
        document, file = task.document, file_of(task)
        location = str(document.get("manifestUrl", "") or document.get("base", "")) or (file and beside(file))
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
        return await self._fetched(location, task), location

    async def _fetched(self, location: str, task: Task) -> bytes | None:
        """What lies at an address; None as `_envelope`. Raises as `offer`."""
        try:
            return await _in_thread(lambda: get(location, self._asks, _MOST))
        except TooMuchError as error:
            remedy = "ask who made it: such a document is smaller"
            raise TooLargeError(error.message, place=error.place, remedy=remedy) from error
        except RestError as error:
            if file_of(task) and error.status in _NOT_THERE:
                unsigned(self._policy, task.key)
                return None
            if error.status in _GONE:
                remedy = "put it there, as agent ota sign has made it, and create the job anew"
                raise UnsignedError("there is no signed release", place=error.place, remedy=remedy) from error
            raise


def _judge(task: Task, policy: FetchPolicy) -> None:
    """Whether a document can be used at all. Nobody has signed it: what no library takes is refused here, once. Raises MalformedError."""
    try:
        json.dumps(task.document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = "the job's document holds half a character"
        raise MalformedError(text, place=task.key, remedy="create the job anew, with text in UTF-8") from None
    if task.source == LOCAL:
        return
    document, urls, paths = task.document, task.document.get("urls"), task.document.get("paths")
    given = [url for url in (urls.values() if isinstance(urls, dict) else ()) if isinstance(url, str) and "://" in url]
    given += [url for url in (str(document.get("base", "")),) if "://" in url]
    given += [str(document["manifestUrl"])] if document.get("manifestUrl") else []
    given += [file_of(task), *(_at_host(task, path) for path in (paths if isinstance(paths, list) else ()))]
    for url in filter(None, given):
        try:
            file_request(url, plain=policy.plain_http)
        except (ConfigError, UsageError) as error:
            text = f"the job names an address that cannot be used: {error.message}"
            raise MalformedError(text, place=task.key, remedy="create the job anew, with https://host/path") from None


def _is_bare(task: Task) -> bool:
    """Whether it was taken on without a signature; of a TUF repository, which has its own, it is not asked."""
    return MANIFEST in task.facts and not open_envelope(task.facts[MANIFEST].encode(), LARGEST, task.key).signatures


def _narrowed(task: Task, verified: Verified) -> Verified:
    """For one device, the hub installs nothing itself."""
    return replace(verified, hub=()) if device_of(task) else verified


def _inline(document: Mapping[str, Any], name: str) -> bytes | None:
    """An envelope that is part of the document, as an object or as a text."""
    given = document.get(name)
    if isinstance(given, str) and given:
        return given.encode()
    return json.dumps(given).encode() if isinstance(given, dict) else None


def file_of(task: Task) -> str:
    """The address of the file that a job names by itself or by host and path, "" for others. Plain HTTP is for this machine, as everywhere."""
    if task.source != LOCAL and isinstance(url := task.document.get("url"), str) and url:
        return url
    return _at_host(task, task.document.get("path"))


def _at_host(task: Task, path: Any) -> str:
    host = task.document.get("host")
    if task.source == LOCAL or not isinstance(host, str) or not isinstance(path, str):
        return ""
    scheme = "http" if is_loopback(host.partition(":")[0]) else "https"
    return f"{scheme}://{host}/{path.removeprefix('/')}"


def _addresses(task: Task, release: Release) -> dict[str, str]:
    given, file = task.document.get("urls"), file_of(task)
    names = {one.name for component in release.components for one in component.files}
    if file and len(names) == 1:
        return dict.fromkeys(names, file)
    if isinstance(paths := task.document.get("paths"), list):
        return {str(path).rpartition("/")[2]: at for path in paths if (at := _at_host(task, path))}
    if task.source == LOCAL or not isinstance(given, dict):
        return {}
    return {str(name): url for name, url in given.items() if isinstance(url, str) and "://" in url}


def _start_of(path: Path, most: int) -> bytes:
    """A pipe that nobody writes to is empty, and holds nobody up. Raises OSError, and ValueError for what is no path."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        return file.read(most) or b""


def _beside(path: Path) -> bytes | None:
    """A root on this machine, None for none that can be read: the folder is one that a job has named."""
    try:
        return _start_of(path, _MOST_ROOT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("no newer root is taken: %s", error)
        return None


def _read(path: Path) -> bytes:
    try:
        return _start_of(path, _MOST)
    except ValueError:
        raise MalformedError("it is no path", place=ascii(str(path)), remedy="name the file that was signed") from None
    except OSError as error:
        remedy = "the agent's own user must be able to read it"
        raise StorageError(f"the manifest cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error


async def _in_thread(work: Callable[[], Found]) -> Found:
    return await asyncio.get_running_loop().run_in_executor(None, work)
