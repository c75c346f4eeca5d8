"""The files of a component: fetched, or read where they lie, and held open from the check to the last use."""

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from agent.errors import StorageError
from agent.files import disk_trouble, make_folder
from agent.ota.appliers.contract import ApplierError, Image
from agent.ota.desk import CanceledError
from agent.ota.fetch import Fetch, FetchPolicy, Limit, Source
from agent.ota.manifest import Component, File
from agent.ota.offer import Offer
from agent.ota.readback import BLOCK
from agent.ota.refusals import ContentError

log = logging.getLogger(__name__)

JUDGED = (
    "rauc",
    "command",
)  # kinds whose installers verify a signature of their own, on images that are too large for a copy
DIGITS = 64  # of the hash that a file is named by; what is noted of it has its own ending


class Downloads:
    """`folder` holds what is fetched, by its hash."""

    def __init__(self, folder: Path, policy: FetchPolicy, limit: Limit | None = None) -> None:
        self._folder, self._policy, self._limit = folder, policy, limit
        self._running: Fetch | None = None

    async def fetch(self, offer: Offer, component: Component, progress: Callable[[int], None]) -> None:
        """Until all files are there and right; `progress` has the bytes of the component. Raises what Fetch does, CanceledError."""
        with disk_trouble():
            make_folder(self._folder)
        before = 0
        for file in component.files:
            address = offer.address(file)
            if "://" in address:
                await self._one(address, file, partial(_shifted, progress, before))
            before += file.size
            progress(before)

    async def _one(self, address: str, file: File, progress: Callable[[int], None]) -> None:
        def tell(done: int) -> None:
            try:
                progress(done)
            except CanceledError:
                self.stop()

        source = Source((address,), file.size, file.sha256, file.chunk_size, file.chunks)
        with Fetch(source, self._folder / file.sha256, self._policy, progress=tell, shared=self._limit) as fetch:
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

    async def images(self, offer: Offer, component: Component) -> list[Image] | None:
        """The files, verified again and open; None when one is not as it was signed. Raises StorageError."""
        loop = asyncio.get_running_loop()
        with ExitStack() as opened:
            images = []
            for file in component.files:
                address = offer.address(file)
                ours = "://" in address
                path = self._folder / file.sha256 if ours else Path(address)
                copied = not ours and component.kind not in JUDGED
                found = await loop.run_in_executor(None, self._copied if copied else _verified, path, file)
                if found is None:
                    return None
                images.append(Image(file.name, opened.enter_context(found), file.size, file.sha256))
            opened.pop_all()
            return images

    def _copied(self, path: Path, file: File) -> BinaryIO | None:
        """A file of somebody else, as `_verified`: its owner could write to it after the check, and to a copy without a name nobody can."""
        theirs = _opened(path)
        if theirs is None:
            return None
        with theirs, disk_trouble():
            make_folder(self._folder)
            name = self._folder / f"{file.sha256}.copy"
            copy = os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b")
            try:
                name.unlink()
                for block in _blocks(theirs, path, file.size + 1):
                    copy.write(block)
                copy.seek(0)
            except BaseException:
                copy.close()
                raise
        return _checked(copy, path, file)

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


def _opened(path: Path) -> BinaryIO | None:
    """None where there is nothing. Raises StorageError."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe holds nobody up
        return os.fdopen(os.open(path, flags), "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"an image cannot be read: {error.strerror}", place=str(path)) from error


def _blocks(file: BinaryIO, path: Path, most: int) -> Iterator[bytes]:
    """What can be read of it."""
    try:
        while most > 0 and (block := file.read(min(BLOCK, most))):
            most -= len(block)
            yield block
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)


def _verified(path: Path, file: File) -> BinaryIO | None:
    """The file, at its start, if it is what was signed. Raises StorageError, and ApplierError where the manifest contradicts itself."""
    opened = _opened(path)
    return None if opened is None else _checked(opened, path, file)


def _checked(opened: BinaryIO, path: Path, file: File) -> BinaryIO | None:
    """The same, for one that is open."""
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
