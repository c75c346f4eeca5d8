"""nRF Cloud's firmware jobs by calls, for a hub that keeps no connection (protocol notes, sections 3.4 to 3.6).

Nordic's SDK asks for the job again in the middle of a download, to see whether it was cancelled: here each word on a job finds that out.
"""

from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from agent.cloud.nrf_calls import NrfCalls
from agent.cloud.nrf_jobs import RejectedJob
from agent.cloud.nrf_wires import AGAIN, FirmwareJob, Offered
from agent.cloud.rest_answer import RestError
from agent.errors import TryAgainError
from agent.wire.nrf import FotaStatus, JobDocument

QUIET = 30.0  # seconds after an end in which the cloud may still hand the ended job out
POLL = 3600.0  # seconds between two questions


class CallsWire:
    """The oldest job that has not ended is asked for from time to time, `every` seconds."""

    def __init__(
        self,
        nrf: NrfCalls,
        every: float = POLL,
        quiet: float = QUIET,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._nrf, self.every, self.quiet, self._ready = nrf, every, quiet, ready
        self._offered: Offered = lambda _job: None

    def bind(self, offered: Offered, up: Callable[[], None]) -> None:  # noqa: ARG002  there is no connection
        """See Wire."""
        self._offered = offered

    async def wait(self) -> None:
        """Until there is a client; whether the cloud is there is found out by asking."""
        if self._ready is not None:
            await self._ready()

    async def ask(self) -> None:
        """Raises TryAgainError, and what signing a token raises."""
        try:
            found = await self._nrf.current_job()
        except RestError as error:
            raise TryAgainError(error.message, place=error.place, remedy=error.remedy) from None
        if found is None:
            return
        try:
            document = JobDocument.model_validate(found.job_document)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, one["loc"])) or "all" for one in error.errors(include_input=False))
            self._offered(RejectedJob(found.job_id, f"the job cannot be understood: {wrong}"))
            return
        job = FirmwareJob(found.job_id, document.firmware_type[:40], document.file_size, document.host, document.path)
        self._offered(job)

    async def say(self, job: str, status: FotaStatus, details: str | int, timeout: float = AGAIN) -> bool:  # noqa: ARG002  the client has its own
        """False when the job is no longer there. Calls have no percentage: it is a word of what is in progress. Raises as `ask`."""
        if status is FotaStatus.DOWNLOADING:
            status, details = FotaStatus.IN_PROGRESS, f"downloading: {details} %"
        try:
            return await self._nrf.tell_job(job, status, str(details))
        except RestError as error:
            raise TryAgainError(error.message, place=error.place, remedy=error.remedy) from None
