"""Bulk certificates of AWS Connected Device Framework: ask for a batch, follow it, fetch it, and lay it out in a folder.

A task is kept in `task.json` of its folder, so that another run goes on with it. What is fetched becomes visible as a whole, by one rename.
"""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.cloud.rest import Answer, Rest, RestError, UnusableError, segment
from agent.cloud.rest_request import origin_of
from agent.errors import TryAgainError, UsageError
from agent.files import locked, write_atomic
from agent.identity.bulk_archive import LARGEST_TOTAL, ArchiveTroubleError, Pair, members, pairs
from agent.identity.bulk_folder import LOCK, SCRATCH, Task, TaskFolder
from agent.wire.bulk_certificates import JSON, ZIP, TaskCreated, TaskRequest, TaskStatus

LONG = 900.0  # seconds for an archive over a slow line
CHUNKS = 1000  # of one task
LARGEST_TASK = 256 * 1024 * 1024  # bytes of certificates and keys
FIRST, LONGEST = 0.25, 5.0  # seconds between two looks at a task

_SEE_OTHER = 303
_NUMBERED = re.compile(r"\$\{increment\((\d{1,9})\)\}$")
_REMEDIES = {
    400: "check --common-name (its start is hexadecimal with increment), --country (two letters) and --days (1 to 825)",
    404: "name a --supplier: not every installation has a default authority; or the task is of another installation",
    415: "the service refuses the media type: is --url that of bulk certificates?",
}

Tell = Callable[[str, int, int], None]  # what is done, chunks, all chunks


class BulkCertificates:
    """The service's calls. Raises RestError with the remedy for its status."""

    def __init__(self, rest: Rest, ca: str = "") -> None:
        self._rest, self._ca = rest, ca

    async def create(self, request: TaskRequest, supplier: str) -> str:
        """Begin a task; its id. It is not repeated by itself: a second one would make as many certificates again."""
        path = f"/supplier/{segment(supplier)}/certificates" if supplier else "/certificates"
        body = request.model_dump_json(by_alias=True, exclude_none=True).encode()
        answer = await self._call("POST", path, JSON, body=body, retry=False)
        return answer.model(TaskCreated).task_id

    async def status(self, task: str) -> TaskStatus:
        return (await self._call("GET", f"/certificates/{segment(task)}/task", JSON)).model(TaskStatus)

    async def follow(self, task: str, deadline: float, tell: Tell) -> TaskStatus:
        """Wait until it is complete. Raises TryAgainError after `deadline` seconds: a task whose worker has failed is pending for ever."""
        end, pause = time.monotonic() + deadline, FIRST
        while not (status := await self.status(task)).complete:
            tell("made", status.chunks_total - status.chunks_pending, status.chunks_total)
            if time.monotonic() + pause > end:
                left = f"{status.chunks_pending} of {status.chunks_total} chunks are pending after {deadline:.0f} s"
                remedy = (
                    "fetch again later; a task that never ends has lost its worker: create another in another folder"
                )
                raise TryAgainError(left, place=f"task {task}", remedy=remedy)
            await asyncio.sleep(pause)
            pause = min(LONGEST, pause * 1.5)
        return status

    async def archives(self, task: str, folder: Path, tell: Tell) -> dict[str, Path]:
        """The zip files of a complete task in `folder`, one for each chunk, so that each has its manifest. Raises TryAgainError."""
        path, query = f"/certificates/{segment(task)}", {"downloadType": "signedUrl"}
        answer = await self._call("GET", path, JSON, query=query, limit=LARGEST_TOTAL, follow=False, total=LONG)
        if answer.status == _SEE_OTHER:
            raise TryAgainError("the task is still pending", place=f"task {task}", remedy="fetch it again")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == ZIP:  # an older service knows one form only
            return {"archive": _saved(folder / "0.zip", answer.body)}
        urls = _urls(answer)
        if urls is None:  # a status, because something between has followed the redirect
            answer = await self._call("GET", path, ZIP, limit=LARGEST_TOTAL, follow=False, total=LONG)
            if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != ZIP:
                raise UnusableError("neither addresses nor a zip file", place=answer.place, status=answer.status)
            return {"archive": _saved(folder / "0.zip", answer.body)}
        found = {}
        for number, url in enumerate(urls):
            tell("fetched", number, len(urls))
            found[f"chunk {number}"] = await self._download(url, folder / f"{number}.zip")
        tell("fetched", len(urls), len(urls))
        return found

    async def _download(self, url: str, path: Path) -> Path:
        """A signed address: it proves itself, and its host gets no token."""
        async with Rest(origin_of(url), ca=self._ca) as rest:
            await rest.download(url, path, limit=LARGEST_TOTAL)
        return path

    async def _call(self, method: str, path: str, accept: str, **options: Any) -> Answer:
        headers = {"Accept": accept, **({"Content-Type": JSON} if "body" in options else {})}
        try:
            return await self._rest.call(method, path, headers=headers, **options)
        except RestError as error:
            error.remedy = _REMEDIES.get(error.status, error.remedy)
            raise


def _urls(answer: Answer) -> list[str] | None:
    """The addresses of the chunks, None for another answer. Raises UnusableError."""
    told = answer.json()
    if not isinstance(told, list) or not told or not all(isinstance(url, str) for url in told):
        return None
    if len(told) > CHUNKS:
        raise UnusableError(f"{len(told)} chunks, {CHUNKS} are allowed", place=answer.place)
    return told


def _saved(path: Path, data: bytes) -> Path:
    write_atomic(path, data)
    return path


async def fetch(service: BulkCertificates, folder: TaskFolder, deadline: float, tell: Tell) -> list[dict[str, Any]]:
    """Follow the folder's task, fetch its archives, and lay them out. Raises as the calls, ArchiveTroubleError, OSError."""
    task = folder.task()
    with locked(folder.folder / LOCK):
        folder.sweep()
        await service.follow(task.id, deadline, tell)
        scratch = folder.folder / SCRATCH
        scratch.mkdir(mode=0o700)
        try:
            archives = await service.archives(task.id, scratch, tell)
            found = await asyncio.to_thread(_pairs, archives)
        finally:
            folder.sweep()
        return await asyncio.to_thread(_laid_out, folder, task, found)


def _pairs(archives: dict[str, Path]) -> list[Pair]:
    taken, found = 0, {}
    for name, path in archives.items():
        found[name] = members(path, name)
        taken += sum(map(len, found[name].values()))
        if taken > LARGEST_TASK:
            raise ArchiveTroubleError(f"the task unpacks to more than {LARGEST_TASK} bytes", place=name)
    return pairs(found)


def _laid_out(folder: TaskFolder, task: Task, found: list[Pair]) -> list[dict[str, Any]]:
    if len(found) < task.quantity:
        text = f"{len(found)} certificates came, {task.quantity} were asked for"
        raise ArchiveTroubleError(text, place=f"task {task.id}", remedy="fetch it again; nothing was written")
    return folder.lay_out(found)


def task_request(told: dict[str, Any], quantity: int, *, register: bool) -> TaskRequest:
    """The body of a new task; `told` are CertInfo's members, those that are None are left out. Raises UsageError."""
    given = {name: value for name, value in told.items() if value is not None}
    try:
        info = {"cert_info": given} if given else {}
        return TaskRequest.model_validate({"quantity": quantity, "register": register or None, **info})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(word) for word in first["loc"])
        remedy = "a common name is needed with any other part of the subject"
        raise UsageError(f"{where}: {first['msg']}", remedy=remedy) from None


def expected(request: TaskRequest) -> int:
    """How many certificates a task makes: the generator of its common name counts, before the quantity."""
    info = request.cert_info
    if info is None:
        return request.quantity
    if info.common_name.endswith("${list}"):
        return len(info.common_name_list or ())
    numbered = _NUMBERED.search(info.common_name)
    return int(numbered[1]) if numbered else request.quantity
