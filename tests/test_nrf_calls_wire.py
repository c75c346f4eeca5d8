"""Polling for firmware jobs with a cloud that fails at every step: what is offered, and whether a word is heard."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nrf_client_rig import Device
from raw_http import Asked, RawHttp, Step, Write, answer

from agent.cloud.nrf_calls_wire import CallsWire
from agent.cloud.nrf_jobs import RejectedJob
from agent.cloud.nrf_rest import NrfRest
from agent.cloud.nrf_wires import FirmwareJob
from agent.errors import TryAgainError
from agent.wire.nrf import FotaStatus

JOB = "5b9a1f0e-0000-4000-8000-000000000001"
DOCUMENT = {"firmwareType": "APP", "fileSize": 2048, "host": "files.example.com", "path": "image"}


class Cloud:
    """One job at a time, as the REST plane has it."""

    def __init__(self, server: RawHttp) -> None:
        self.job, self.document = JOB, dict(DOCUMENT)
        self.told: list[tuple[str, str]] = []
        self.down = False
        server.script = [self._answer]

    async def _answer(self, asked: Asked, writer: Write) -> None:
        step: Step | Callable[[Asked, Write], Awaitable[None]]
        if self.down:
            step = answer(503)
        elif asked.method == "PATCH":
            step = self._update(asked)
        elif self.job:
            body = {"jobId": self.job, "status": "QUEUED", "jobDocument": self.document}
            step = answer(200, json.dumps(body).encode())
        else:
            step = answer(404, b'{"code":40499}')
        assert isinstance(step, bytes)
        writer.write(step)
        await writer.drain()

    def _update(self, asked: Asked) -> bytes:
        if asked.path.rpartition("/")[2] != self.job:
            return answer(422, b'{"code":42200}')
        body = json.loads(asked.body)
        self.told.append((body["status"], body.get("details", "")))
        return answer(202)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "store", "hub-1")


async def offered(device: Device, **document: Any) -> list[FirmwareJob | RejectedJob]:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, wire = Cloud(server), CallsWire(NrfRest(rest, "hub-1"))
        cloud.document = {**DOCUMENT, **document}
        found: list[FirmwareJob | RejectedJob] = []
        wire.bind(found.append, lambda: None)
        await wire.wait()
        await wire.ask()
        cloud.job = ""
        await wire.ask()  # nothing to do is nothing to hear
    return found


async def test_the_current_job_is_offered(device: Device) -> None:
    assert await offered(device) == [FirmwareJob(JOB, "APP", 2048, "files.example.com", "image")]
    (modem,) = await offered(device, firmwareType="MODEM")
    assert isinstance(modem, FirmwareJob)
    assert modem.kind == "MODEM"


@pytest.mark.parametrize(
    "wrong", [{"firmwareType": None}, {"host": "user@evil.example"}, {"fileSize": -1}, {"path": ""}, {"path": "a b"}]
)
async def test_a_job_that_cannot_be_understood_is_rejected_with_the_place(
    device: Device, wrong: dict[str, Any]
) -> None:
    (found,) = await offered(device, **wrong)
    assert isinstance(found, RejectedJob)
    assert (found.job, str(found)) == (JOB, f"the job cannot be understood: {next(iter(wrong))}")


async def test_a_word_is_heard_or_the_job_is_gone_or_it_is_said_again_later(device: Device) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, wire = Cloud(server), CallsWire(NrfRest(rest, "hub-1"))
        assert await wire.say(JOB, FotaStatus.DOWNLOADING, 40)
        assert await wire.say(JOB, FotaStatus.SUCCEEDED, "")
        assert cloud.told == [("IN_PROGRESS", "downloading: 40 %"), ("SUCCEEDED", "")]
        cloud.job = "another"
        assert not await wire.say(JOB, FotaStatus.IN_PROGRESS, "STAGED")
        cloud.down = True
        for call in (lambda: wire.say(JOB, FotaStatus.FAILED, "no"), wire.ask):
            with pytest.raises(TryAgainError):
                await call()
