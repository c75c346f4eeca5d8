"""How nRF Cloud's firmware jobs come to a hub and are told of: here as lists over MQTT; by REST and CoAP: agent.cloud.nrf_calls_wire.

Protocol notes, sections 3.1 to 3.3. Who carries jobs out (agent.ota.sources.nrf_fota) does not see which way it is.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound, MqttLost
from agent.cloud.nrf_jobs import TYPES, RejectedJob, job_request, job_update, read_job
from agent.cloud.nrf_pairing import Pairing
from agent.wire.nrf import FotaStatus

log = logging.getLogger(__name__)

AGAIN = 30.0  # seconds for an acknowledgement


@dataclass(frozen=True, slots=True)
class FirmwareJob:
    """What a job asks for: `kind` is one of nRF Cloud's firmware types; the file is at https://{host}/{path}."""

    id: str
    kind: str
    size: int
    host: str
    path: str


Offered = Callable[[FirmwareJob | RejectedJob], None]


class Wire(Protocol):
    """`every`: seconds between two questions for a job; `quiet`: seconds after an end before the next question."""

    every: float
    quiet: float

    def bind(self, offered: Offered, up: Callable[[], None]) -> None:
        """`offered` hears of jobs, `up` of each connection, where there are such."""

    async def wait(self) -> None:
        """Until the cloud can be asked."""

    async def ask(self) -> None:
        """Have the next job offered. Raises MqttLost, TryAgainError."""

    async def say(self, job: str, status: FotaStatus, details: str | int, timeout: float = AGAIN) -> bool:
        """Until it is heard; False when the job is no longer there, as far as the cloud says so. Raises MqttLost, TryAgainError."""


class MqttWire:
    """Jobs come by themselves, and after a question. `paired` is told of the topics of each connection, before it is open."""

    every, quiet = inf, 0.0

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pairing: Pairing | None = None
        self._offered: Offered = _nobody

    def bind(self, offered: Offered, up: Callable[[], None]) -> None:
        """See Wire."""
        self._offered = offered
        self._channel.on_up.append(up)

    def paired(self, pairing: Pairing) -> None:
        if self._pairing is not None:
            self._channel.unlisten(self._pairing.jobs("rcv"))
        self._pairing = pairing
        self._channel.listen(pairing.jobs("rcv"), self._heard)

    async def wait(self) -> None:
        """See Wire."""
        await self._channel.wait()

    async def ask(self) -> None:
        """See Wire."""
        await self._channel.tell(self._topic("req"), job_request())

    async def say(self, job: str, status: FotaStatus, details: str | int, timeout: float = AGAIN) -> bool:
        """Until the broker has it: nobody says over MQTT whether the job is still there. Raises as Wire's."""
        await self._channel.tell(self._topic("update"), job_update(job, status, details), timeout)
        return True

    def _heard(self, inbound: Inbound) -> None:
        try:
            job = read_job(inbound.topic, inbound.payload)
        except MalformedMessage as error:
            log.warning("a firmware job is refused: %s", error)
        except RejectedJob as error:
            self._offered(error)
        else:
            kind = TYPES.get(job.firmware_type, str(job.firmware_type))
            self._offered(FirmwareJob(job.job_id, kind, job.file_size, job.host, job.path))

    def _topic(self, name: str) -> str:
        if self._pairing is None:
            raise MqttLost("nRF Cloud has not said yet which topics this device has", place=self._channel.place)
        return self._pairing.jobs(name)


def _nobody(_job: FirmwareJob | RejectedJob) -> None:
    """Before anyone listens."""
