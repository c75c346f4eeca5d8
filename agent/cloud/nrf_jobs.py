"""FOTA over nRF Cloud's MQTT: the rows in which jobs come and their progress is told. PURE.

Protocol notes, sections 3.1 to 3.3. Numbers of other firmware types than these are not published: they are rejected by whoever gets them.
"""

import json
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent.cloud.dialect import MalformedMessage
from agent.wire.nrf import FotaStatus
from agent.wire.nrf_mqtt import FotaJob

TYPES = {0: "APP", 1: "MODEM", 2: "BOOT"}
NUMBERS = {
    FotaStatus.QUEUED: 0,
    FotaStatus.IN_PROGRESS: 1,
    FotaStatus.FAILED: 2,
    FotaStatus.SUCCEEDED: 3,
    FotaStatus.TIMED_OUT: 4,
    FotaStatus.CANCELLED: 5,
    FotaStatus.REJECTED: 6,
    FotaStatus.DOWNLOADING: 7,
}
DETAILS = 1024  # characters, as REST has it
_ROW = TypeAdapter[JsonValue](JsonValue)
_NAMES = ("job_id", "firmware_type", "file_size", "host", "path")


class RejectedJob(Exception):  # noqa: N818  an answer, not a fault of ours
    """A job whose id can be read and nothing else: it is told REJECTED, with this reason."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(reason)
        self.job = job


def read_job(topic: str, payload: bytes) -> FotaJob:
    """`["<jobId>", type, size, "<host>", "<path>"]`. Raises RejectedJob, and MalformedMessage where not even the id can be read."""
    try:
        row = _ROW.validate_json(payload)
    except ValidationError:
        raise MalformedMessage(f"{topic}: no JSON") from None
    if not isinstance(row, list) or not row:
        raise MalformedMessage(f"{topic}: no job")
    named: dict[str, Any] = dict(zip(_NAMES, row, strict=False))
    try:
        return FotaJob.model_validate(named, strict=True)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(one["loc"][0]) for one in error.errors(include_input=False, include_url=False)}))
    if "job_id" in wrong:
        raise MalformedMessage(f"{topic}: the job's id cannot be read")
    raise RejectedJob(str(row[0]), f"the job cannot be understood: {wrong}")


def job_request(job: str = "") -> bytes:
    """For the newest job that waits, or a certain one."""
    return json.dumps([job]).encode()


def job_update(job: str, status: FotaStatus, details: str | int) -> bytes:
    """`[jobId, status, details]`; of a download the details are the percentage."""
    told = details if isinstance(details, int) else details[:DETAILS]
    return json.dumps([job, NUMBERS[status], told], separators=(",", ":"), ensure_ascii=False).encode()
