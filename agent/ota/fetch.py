"""Fetches a file of an update, so that what ends up on the disk is what was signed: resumed, bounded in time, space and speed, read back.

The work is done by one thread: http.client, a buffer that is used again, a hash while it is written. `run` ends with a file that was read
back through the very descriptor that `take` gives, so nobody can change it between check and use by giving its name to something else.
Redirects follow the REST client's rules, so this needs the extra `rest`.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from random import Random, SystemRandom
from typing import BinaryIO, Self

from agent.cloud.rest_answer import Answer, RestError, UnavailableError, UnusableError, failure
from agent.cloud.rest_policy import http_date, retry_after
from agent.cloud.rest_request import file_request
from agent.errors import UsageError
from agent.ota.bucket import Bucket
from agent.ota.http_get import Line
from agent.ota.image import DamagedError, Image, discard
from agent.ota.mirrors import Mirror, Mirrors
from agent.ota.ranges import Asked, Head, RangeError, Span, judge
from agent.ota.readback import BLOCK
from agent.ota.source import FetchPolicy, Source
from agent.ota.trouble import (
    CanceledError,
    CorruptError,
    DeadlineError,
    NoSpaceError,
    SourceError,
    StalledError,
)

log = logging.getLogger(__name__)

__all__ = [
    "CanceledError",
    "CorruptError",
    "Counters",
    "DeadlineError",
    "Fetch",
    "FetchPolicy",
    "Limit",
    "NoSpaceError",
    "Source",
    "SourceError",
    "StalledError",
    "discard",
]

DEFAULT = FetchPolicy()
_REFUSED, _UNSATISFIABLE = 400, 416
_SIGNATURE = (401, 403)
_STEPS = 200  # progress is told at most so often


class Limit:
    """Bytes a second that several downloads share."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket, self._clock, self._lock = Bucket(rate, clock()), clock, threading.Lock()
        self.step = self._bucket.step  # bytes to read at once, 0: any number

    def take(self, count: int) -> float:
        """Count bytes that came; the seconds to wait."""
        with self._lock:
            return self._bucket.take(count, self._clock())


@dataclass(slots=True)
class Counters:
    """Of one run. Bytes are those of bodies; `again` are those of them for places that had been reached before."""

    fetched: int = 0
    again: int = 0
    requests: int = 0
    resumes: int = 0
    chunk_retries: int = 0


class Fetch:
    """One download of `source` into `path`, for one `run`. A context manager, which closes the file unless it was taken.

    `progress` is called on the loop with the bytes that are there, at most some 200 times. `shared` limits several downloads together.
    `since`: when the whole time began to run, of a download that goes on; by `clock`.
    `pause` waits so many seconds and is there for tests, as are `clock` (monotonic), `wall` and `random`.
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        policy: FetchPolicy = DEFAULT,
        *,
        progress: Callable[[int], None] | None = None,
        shared: Limit | None = None,
        since: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Random | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._source, self._path, self._policy = source, path, policy
        self._requests = {url: file_request(url, plain=policy.plain_http) for url in source.urls}
        self._progress, self._clock, self._wall, self._since = progress, clock, wall, since
        self._mirrors = Mirrors(source.urls, policy, random or SystemRandom())
        self._line = Line(policy, clock)
        self._pause = pause or self._line.pause
        own = [Limit(policy.bandwidth, clock)] if policy.bandwidth else []
        self._limits = own + ([shared] if shared is not None else [])
        self._block = min([BLOCK, *(limit.step for limit in self._limits if limit.step)])
        self._image = Image(path, source, tries=policy.chunk_tries, unsynced=policy.unsynced, check=self._line.check)
        self._tell: Callable[[int], object] = _nothing
        self._told = -1
        self._started = self._verified = False
        self.counters = Counters()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._image.close()

    # ---- public -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fetch, or go on with what is there, until the whole is verified on the disk. When its task is canceled, the download is, too.

        Raises CanceledError, DeadlineError, StalledError and UnavailableError (all of a kind that may pass), UnusableError (answers that
        cannot be used), RestError (`status` 401 and 403: a presigned URL has expired; get the job's document again and make a new Fetch),
        CorruptError, NoSpaceError, StorageError, TryAgainError (the file is being fetched already). What was verified stays on the disk.
        """
        if self._started:
            raise UsageError("a download runs once", remedy="make a new Fetch")
        self._started = True
        loop = asyncio.get_running_loop()
        if (progress := self._progress) is not None:
            self._tell = lambda done: loop.call_soon_threadsafe(progress, done)
        worker = ThreadPoolExecutor(1, thread_name_prefix="ota-fetch")
        try:
            work = loop.run_in_executor(worker, self._work)
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self.cancel()
                await asyncio.wait([work])
                work.exception()  # seen: the cancellation is what is told
                raise
        finally:
            worker.shutdown(wait=False)

    def cancel(self) -> None:
        """End `run` with CanceledError, soon: a name that is being looked up is waited for. From any thread."""
        self._line.cancel()

    def take(self) -> BinaryIO:
        """The verified file, at its start; the caller closes it, and with it the lock on it. Raises UsageError before `run` has ended well."""
        if not self._verified:
            raise UsageError("there is no verified file yet", place=str(self._path), remedy="await run() first")
        self._verified = False
        return os.fdopen(self._image.detach(), "rb")

    # ---- the worker -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._line.start(self._since)
        image = self._image
        image.open()
        try:
            self._restore()
            self._show()
            while True:
                while image.done < self._source.size:
                    self._step()
                if image.finish():
                    break
                self.counters.chunk_retries += 1
            self._show()
        except BaseException:
            image.close()
            raise
        self._verified = True

    def _restore(self) -> None:
        """Which mirror the bytes came from that a former run has left, and what its file was called then."""
        key, validator = self._image.origin
        for mirror in self._mirrors.all:
            if mirror.key == key:
                mirror.validator = validator

    def _step(self) -> None:
        """One request, and what its failure means for the next."""
        mirror, wait = self._mirrors.pick(self._clock())
        self._line.place = self._requests[mirror.url].place
        left = self._line.check()
        if wait >= left:
            last = self._mirrors.last
            text = f"the next try would be after the deadline; the last: {last.message if last else 'none'}"
            raise DeadlineError(
                text, place=self._line.place, remedy="what came is kept: start it again, with more time"
            )
        if wait:
            self._pause(wait)
            self._line.check()
        trouble: RestError
        try:
            self._attempt(mirror)
        except DeadlineError:
            raise
        except DamagedError as error:
            self.counters.chunk_retries += 1
            trouble = UnusableError(error.message, place=self._line.place, remedy=error.remedy)
            self._mirrors.failed(mirror, trouble, self._clock())
        except RangeError as error:
            trouble, mirror.ranged = error, False
            self._mirrors.struck(mirror, error, self._clock())
        except UnusableError as error:
            trouble = error
            self._mirrors.struck(mirror, error, self._clock())
        except UnavailableError as error:
            trouble = error
            self._mirrors.failed(mirror, error, self._clock())
        except RestError as error:
            trouble = error
            self._mirrors.dropped(mirror, error)
        else:
            return
        log.info("%s; %d of %d bytes are there", trouble, self._image.done, self._source.size)

    def _attempt(self, mirror: Mirror) -> None:
        image, counters = self._image, self.counters
        asked = Asked(image.done, self._source.size, ranged=mirror.ranged and image.done > 0)
        headers = {"Range": f"bytes={asked.offset}-"} if asked.ranged else {}
        if asked.ranged and mirror.validator:
            headers["If-Range"] = mirror.validator
        counters.requests += 1
        counters.resumes += asked.offset > 0
        with self._line.get(self._requests[mirror.url], headers) as (head, response):
            if head.status >= _REFUSED and head.status != _UNSATISFIABLE:
                raise self._refusal(head)
            span = judge(head, asked)
            self._recognize(mirror, span)
            self._receive(mirror, span, response)

    def _recognize(self, mirror: Mirror, span: Span) -> None:
        """Whether the answer goes on with the file that is there; where no chunk map tells, another validator means another file."""
        image = self._image
        other = bool(mirror.validator) and span.validator != mirror.validator
        mirror.validator = span.validator
        if other and image.done and not self._source.chunks:
            image.anew()
            if span.start:
                raise UnavailableError(
                    "the file was changed at its server", place=self._line.place, remedy="see what was uploaded"
                )
        image.mixed()
        image.origin = (mirror.key, span.validator)

    def _receive(self, mirror: Mirror, span: Span, response: HTTPResponse) -> None:
        image = self._image
        position = span.start
        while position < image.done:  # a server without ranges: what is there already is read and left
            position += self._read(response, image.done - position, position)
        while image.done < span.end:
            best = image.best
            count = self._read(response, min(image.room, span.end - image.done), image.done)
            try:
                image.write(count)
            finally:
                if image.best > best:
                    self._mirrors.progressed(mirror)
            self._show()

    def _read(self, response: HTTPResponse, most: int, position: int) -> int:
        count = self._line.read(response, self._image.space(min(most, self._block)))
        self.counters.fetched += count
        self.counters.again += max(0, min(count, self._image.best - position))
        wait = max((limit.take(count) for limit in self._limits), default=0.0)
        if wait:
            self._pause(wait)
        return count

    def _refusal(self, head: Head) -> RestError:
        """The body of a refusal is not read: a storage service repeats there what it was asked, signature and all."""
        date = http_date(head.headers.get("date", "")) if "age" not in head.headers else None
        wait = retry_after(head.headers.get("retry-after", ""), self._wall() if date is None else date)
        found = failure(Answer(head.status, head.headers, b"", head.place), wait=wait)
        if head.status in _SIGNATURE:
            found.remedy = (
                "a presigned URL may have expired: get a new one with the job's document; else check its rights"
            )
        return found

    def _show(self) -> None:
        step = self._image.done * _STEPS // self._source.size
        if step != self._told:
            self._told = step
            self._tell(self._image.done)


def _nothing(_done: int) -> None:
    """Nobody wants to know."""
