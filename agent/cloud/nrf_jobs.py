"""FOTA over nRF Cloud's MQTT: the rows in which jobs come and their progress is told, for a hub and for the BLE devices behind it. PURE.

Protocol notes, sections 3.1 to 3.3 and 5.6. A row of a BLE device has its address before the others. Numbers of other firmware types than these
are not published: they are rejected by whoever gets them.
"""

import json
from typing import Any, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent.cloud.dialect import MalformedMessage
from agent.wire.nrf import FotaStatus
from agent.wire.nrf_mqtt import BleFotaJob, FotaJob

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
Job = TypeVar("Job", bound=FotaJob)
_NAMES = ("job_id", "firmware_type", "file_size", "host", "path")


class RejectedJob(Exception):  # noqa: N818  an answer, not a fault of ours
    """A job whose id can be read and nothing else: it is told REJECTED, with this reason."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(reason)
        self.job = job


def read_job(topic: str, payload: bytes) -> FotaJob:
    """`["<jobId>", type, size, "<host>", "<path>"]`. Raises RejectedJob, and MalformedMessage where not even the id can be read."""
    return _read(FotaJob, _NAMES, topic, payload)


def read_ble_job(topic: str, payload: bytes) -> BleFotaJob:
    """`["<address>", "<jobId>", type, size, "<host>", "<path> <path>..."]`. Raises as read_job; the id of a RejectedJob is that of `ble_id`."""
    return _read(BleFotaJob, ("device", *_NAMES), topic, payload)


def _read(model: type[Job], names: tuple[str, ...], topic: str, payload: bytes) -> Job:
    try:
        row = _ROW.validate_json(payload)
    except ValidationError:
        raise MalformedMessage(f"{topic}: no JSON") from None
    if not isinstance(row, list) or not row:
        raise MalformedMessage(f"{topic}: no job")
    named: dict[str, Any] = dict(zip(names, row, strict=False))
    try:
        return model.model_validate(named, strict=True)
    except ValidationError as error:
        wrong = sorted({str(one["loc"][0]) for one in error.errors(include_input=False, include_url=False)})
    if {"job_id", "jobId", "device"} & set(wrong):  # the alias is the place of one that is missing
        raise MalformedMessage(f"{topic}: the job's id cannot be read")
    told = ble_id(named["device"], named["job_id"]) if "device" in named else named["job_id"]
    raise RejectedJob(told, f"the job cannot be understood: {', '.join(wrong)}")


def ble_id(device: str, job: str) -> str:
    """What a job of a BLE device goes by on this hub: the same job may be for several of them."""
    return f"{device}/{job}"


def job_request(job: str = "") -> bytes:
    """For the newest job that waits, or a certain one."""
    return json.dumps([job]).encode()


def job_update(job: str, status: FotaStatus, details: str | int) -> bytes:
    """`[jobId, status, details]`; of a download the details are the percentage."""
    return _row(job, NUMBERS[status], details)


def _row(*members: str | int) -> bytes:
    told = [one if isinstance(one, int) else one[:DETAILS] for one in members]
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def ble_request(device: str) -> bytes:
    """For the newest job that waits for a BLE device."""
    return json.dumps([device]).encode()


def ble_update(told: str, status: FotaStatus, details: str | int) -> bytes:
    """`[address, jobId, status, details]` for what `ble_id` has made."""
    device, _, job = told.partition("/")
    return _row(device, job, NUMBERS[status], details)
