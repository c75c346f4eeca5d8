"""nRF Cloud's firmware jobs by polling over REST, as Nordic's SDK does it (protocol notes, section 3.5), and safe against power cuts.

What must be told is noted in a file before it is told, and what is about to be installed before it is: after any interruption the next
`poll` goes on from the note. Who installs is behind `Applier`.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from agent.cloud.nrf_rest import NrfRest
from agent.cloud.rest import Rest, RestError
from agent.cloud.rest_body import NotWrittenError
from agent.errors import HubError
from agent.files import make_folder, sync_folder, write_atomic
from agent.wire.nrf import Execution, FotaStatus, JobDocument

log = logging.getLogger(__name__)

NOTE, IMAGE = "nrf-job.json", "nrf-image"
QUIET = 30.0  # seconds after a final report in which the cloud may still hand the ended job out
DEADLINE = 3600.0  # seconds for one download
LOOKS = 10  # times that a download looks whether its job is still there


class ImageRefusedError(HubError):
    """An image cannot be installed: damaged, not signed, too old, or of another kind than the job says."""


class Applier(Protocol):
    """What installs firmware."""

    types: Collection[str]  # of FIRMWARE_TYPES

    async def install(self, image: Path, job: JobDocument) -> bool:
        """True: it takes effect with a restart, which the caller brings about. Raises ImageRefusedError; the file is gone afterwards."""

    async def check(self, job: str) -> tuple[bool | None, str]:
        """After the restart: whether the image of this job runs and is good (None: it was never installed), and words for people."""


class Polled(StrEnum):
    """What a poll has come to."""

    IDLE = "idle"
    ENDED = "ended"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class _Note:
    """A job that is being installed (`status` empty), or its end, which the cloud knows once it is `told`."""

    job: str
    status: str = ""
    details: str = ""
    told: bool = False


class _GoneError(HubError):
    """The job is no longer there."""


class FotaPoll:
    """Polls for one device. `files(host)` makes the client of a file host, without a token; `folder` holds note and image."""

    def __init__(
        self,
        nrf: NrfRest,
        applier: Applier,
        files: Callable[[str], Rest],
        folder: Path,
        *,
        deadline: float = DEADLINE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nrf, self._applier, self._files, self._folder = nrf, applier, files, folder
        self._deadline, self._sleep, self._now = deadline, sleep, now
        self._quiet = 0.0  # until this moment

    async def poll(self) -> Polled:
        """Finish what was begun, and carry out the oldest job. Raises RestError where the cloud cannot be asked: poll again later."""
        note = await self._finish(self._read())
        pause = self._quiet - self._now()
        if pause > 0:
            await self._sleep(pause)
        found = await self._nrf.current_job()
        if found is None:
            return Polled.IDLE
        if note is not None and note.job == found.job_id:  # ended here: the cloud has lost it, or has not got to it
            await self._end(note.job, FotaStatus(note.status), note.details)
            return Polled.ENDED
        return await self._carry_out(found)

    async def _finish(self, note: _Note | None) -> _Note | None:
        """Check what was installed before the restart, and tell what was not told; the note of a job that has ended."""
        if note is None or note.told:
            return note
        if note.status:
            return await self._end(note.job, FotaStatus(note.status), note.details)
        good, details = await self._applier.check(note.job)
        if good is None:
            log.warning("job %s was interrupted before its image was installed: it is done again", note.job)
            self._forget()
            return None
        return await self._end(note.job, FotaStatus.SUCCEEDED if good else FotaStatus.FAILED, details)

    async def _carry_out(self, found: Execution) -> Polled:
        job = found.job_id
        try:
            document = JobDocument.model_validate(found.job_document)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, one["loc"])) or "all" for one in error.errors(include_input=False))
            await self._end(job, FotaStatus.REJECTED, f"the job cannot be understood: {wrong}")
            return Polled.ENDED
        if document.firmware_type not in self._applier.types:
            await self._end(job, FotaStatus.REJECTED, f"firmware type {document.firmware_type[:40]} is not supported")
            return Polled.ENDED
        if not await self._nrf.tell_job(job, FotaStatus.IN_PROGRESS):
            return Polled.IDLE
        try:
            status, details = await self._install(job, document)
        finally:
            (self._folder / IMAGE).unlink(missing_ok=True)
        if status is None:
            return Polled.RESTART
        await self._end(job, status, details)
        return Polled.ENDED

    async def _install(self, job: str, document: JobDocument) -> tuple[FotaStatus | None, str]:
        """How it ended, or None when the end comes after the restart."""
        image = self._folder / IMAGE
        make_folder(self._folder)
        try:
            async with asyncio.timeout(self._deadline):
                await self._fetch(job, document, image)
        except TimeoutError:
            return FotaStatus.TIMED_OUT, f"the download took longer than {self._deadline:.0f} s"
        except _GoneError:
            return FotaStatus.CANCELLED, "the job is no longer there"
        except (RestError, NotWrittenError) as error:
            return FotaStatus.FAILED, f"download: {error.message}"
        size = image.stat().st_size
        if size != document.file_size:
            return FotaStatus.FAILED, f"download: {size} bytes, and the job says {document.file_size}"
        self._write(_Note(job))
        try:
            restart = await self._applier.install(image, document)
        except ImageRefusedError as error:
            return FotaStatus.REJECTED, error.message
        return (None, "") if restart else (FotaStatus.SUCCEEDED, "installed")

    async def _fetch(self, job: str, document: JobDocument, image: Path) -> None:
        step = max(1, document.file_size // LOOKS)
        looked = 0

        async def watch(done: int) -> None:
            nonlocal looked
            if done - looked >= step and done < document.file_size:
                looked = done
                await self._look(job)

        async with self._files(document.host) as rest:
            path = "/" + document.path.lstrip("/")
            await rest.download(path, image, limit=document.file_size, total=self._deadline, watch=watch)

    async def _look(self, job: str) -> None:
        """Raises _GoneError when the job was cancelled meanwhile. That the cloud cannot be asked just now ends no download."""
        try:
            current = await self._nrf.current_job()
        except RestError as error:
            log.debug("the job cannot be looked at: %s", error)
            return
        if current is None or current.job_id != job:
            raise _GoneError("the job is no longer there")

    # ---- the note ---------------------------------------------------------------------------------------------------

    async def _end(self, job: str, status: FotaStatus, details: str) -> _Note:
        self._write(_Note(job, status, details))
        await self._nrf.tell_job(job, status, details)
        note = _Note(job, status, details, told=True)
        self._write(note)
        self._quiet = self._now() + QUIET
        return note

    def _read(self) -> _Note | None:
        try:
            note = _Note(**json.loads((self._folder / NOTE).read_bytes()))
            return note if not note.status or FotaStatus(note.status) else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            log.warning("the note of a firmware job cannot be read, and is dropped: %s", error)
            self._forget()
            return None

    def _write(self, note: _Note) -> None:
        make_folder(self._folder)
        write_atomic(self._folder / NOTE, json.dumps(asdict(note)).encode())

    def _forget(self) -> None:
        (self._folder / NOTE).unlink(missing_ok=True)
        sync_folder(self._folder)
