"""The files of a component: fetched, or copied from where they lie, and held open from the check to the last use.

Whoever owns a file on this machine may change it in place at any time, also behind an open descriptor: what is checked is a copy of our own.
"""

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from agent.errors import StorageError
from agent.files import disk_trouble, make_folder, sync_folder
from agent.ota.appliers.contract import ApplierError, Image
from agent.ota.desk import CanceledError
from agent.ota.fetch import Fetch, FetchPolicy, Limit, Source
from agent.ota.manifest import Component, File
from agent.ota.offer import Offer
from agent.ota.readback import BLOCK
from agent.ota.refusals import ContentError

log = logging.getLogger(__name__)

DIGITS = 64  # of the hash that a file is named by; what is noted of it has its own ending


class Downloads:
    """`folder` holds what is fetched, by its hash."""

    def __init__(self, folder: Path, policy: FetchPolicy, limit: Limit | None = None) -> None:
        self._folder, self._policy, self._limit = folder, policy, limit
        self._running: Fetch | None = None

    async def fetch(self, offer: Offer, component: Component, progress: Callable[[int], None], since: float) -> None:
        """Until all files are there and right; `progress` has the bytes of the component. Raises what Fetch does, CanceledError."""
        with disk_trouble():
            make_folder(self._folder)
        before = 0
        for file in component.files:
            address = offer.address(file)
            if "://" in address:
                await self._one(address, file, partial(_shifted, progress, before), since)
            else:
                copy = partial(_copy, Path(address), self._folder / file.sha256, file.size)
                await asyncio.get_running_loop().run_in_executor(None, copy)
            before += file.size
            progress(before)

    async def _one(self, address: str, file: File, progress: Callable[[int], None], since: float) -> None:
        def tell(done: int) -> None:
            try:
                progress(done)
            except CanceledError:
                self.stop()

        source = Source((address,), file.size, file.sha256, file.chunk_size, file.chunks)
        path = self._folder / file.sha256
        with Fetch(source, path, self._policy, progress=tell, shared=self._limit, since=since) as fetch:
            self._running = fetch
            try:
                await fetch.run()
            finally:
                self._running = None
        log.info("%s is fetched: %d bytes, %d of them twice", file.name, fetch.counters.fetched, fetch.counters.again)

    def stop(self) -> None:
        """End what is being fetched."""
        if self._running is not None:
            self._running.cancel()

    async def images(self, component: Component) -> list[Image] | None:
        """The files, verified again and open; None when one is not as it was signed. Raises StorageError."""
        loop = asyncio.get_running_loop()
        with ExitStack() as opened:
            images = []
            for file in component.files:
                found = await loop.run_in_executor(None, _verified, self._folder / file.sha256, file)
                if found is None:
                    return None
                images.append(Image(file.name, opened.enter_context(found), file.size, file.sha256))
            opened.pop_all()
            return images

    async def clean(self, keep: Collection[str] = ()) -> None:
        """Give back the room of everything that was fetched, but for the files with these hashes. Raises StorageError."""
        with disk_trouble():
            if not keep and self._folder.exists():
                shutil.rmtree(self._folder)
            elif self._folder.exists():
                for path in [path for path in self._folder.iterdir() if path.name[:DIGITS] not in keep]:
                    path.unlink()


def _shifted(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _copy(path: Path, to: Path, size: int) -> None:
    """What lies at `path`, up to `size` bytes and one more: that is seen when it is checked. Raises ApplierError, StorageError."""
    if path == to:
        return
    try:  # a pipe that nobody writes to is empty, and holds nobody up
        source = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    except OSError as error:
        remedy = "the files of a release lie beside it, where the agent's own user can read them"
        raise ApplierError("no-file", f"it cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error
    with source, disk_trouble():
        to.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(to, flags, 0o600), "wb") as file:
            left = size + 1
            while block := source.read(min(BLOCK, left)):
                file.write(block)
                left -= len(block)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(to.parent)


def _verified(path: Path, file: File) -> BinaryIO | None:
    """The file, at its start, if it is what was signed. Raises StorageError, and ApplierError where the manifest contradicts itself."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        opened = os.fdopen(os.open(path, flags), "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"an image cannot be read: {error.strerror}", place=str(path)) from error
    try:
        right = _right(opened, file)
    except OSError as error:  # of one part: what can be fetched is fetched again, and that part written again
        log.warning("%s cannot be read: %s", path, error.strerror)
        right = False
    except BaseException:
        opened.close()
        raise
    if not right:
        opened.close()
        return None
    opened.seek(0)
    return opened


def _right(opened: BinaryIO, file: File) -> bool:
    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # as the disk has it, not as it was written
    hashed, left = hashlib.sha256(), file.size
    while block := opened.read(min(BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            break
        hashed.update(block)
    if left == 0 and hashed.hexdigest() == file.sha256:
        return True
    if left == 0 and _each_chunk_is_right(opened, file):
        text = "each chunk is what was signed, but the whole is not: the manifest contradicts itself"
        raise ApplierError("bad-manifest", text, place=file.name, remedy="have it signed again")
    return False


def _each_chunk_is_right(opened: BinaryIO, file: File) -> bool:
    opened.seek(0)
    try:
        for index in range(len(file.chunks)):
            file.check(index, opened.read(file.span(index)[1]))
    except ContentError:
        return False
    return True
