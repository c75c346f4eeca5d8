"""Polling for firmware with a cloud that fails at every step, and a hub that loses its power at every step."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nrf_client_rig import Applier, Device
from raw_http import Asked, RawHttp, Step, Write, answer
from rest_rig import Pauses, cut, silent

from agent.cloud.nrf_fota import IMAGE, NOTE, FotaPoll, Polled
from agent.cloud.nrf_rest import NrfRest
from agent.cloud.rest import Policy, Rest, RestError, UnavailableError

CONTENT = bytes(range(256)) * 2048
JOB = "5b9a1f0e-0000-4000-8000-000000000001"


class Cloud:
    """One job at a time, as the REST plane has it, and the file host beside it."""

    def __init__(self, server: RawHttp) -> None:
        self.server, self.job = server, ""
        self.document: Any = None
        self.told: list[tuple[str, str]] = []
        self.file: Step = answer(200, CONTENT)
        self.down: Callable[[Asked], bool] = lambda _asked: False
        server.script = [self._answer]

    def offer(self, job: str = JOB, **more: Any) -> None:
        host = self.server.url.removeprefix("http://")
        self.job = job
        self.document = {"firmwareType": "APP", "fileSize": len(CONTENT), "host": host, "path": "image", **more}

    async def _answer(self, asked: Asked, writer: Write) -> None:
        step: Step | Callable[[Asked, Write], Awaitable[None]]
        if self.down(asked):
            step = answer(503)
        elif asked.path == "/image":
            step = self.file
        elif asked.method == "PATCH":
            step = self._update(asked)
        elif self.job:
            step = answer(
                200, json.dumps({"jobId": self.job, "status": "QUEUED", "jobDocument": self.document}).encode()
            )
        else:
            step = answer(404, b'{"code":40499}')
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        else:
            await step(asked, writer)

    def _update(self, asked: Asked) -> bytes:
        job, status = asked.path.rpartition("/")[2], json.loads(asked.body)["status"]
        if job != self.job:
            return answer(422, b'{"code":42200}')
        self.told.append((status, json.loads(asked.body).get("details", "")))
        if status != "IN_PROGRESS":
            self.job = ""
        return answer(202)


class Hub:
    """Polls; `restart` is a new process on the same disk."""

    def __init__(self, folder: Path, rest: Rest, **more: Any) -> None:
        self.folder, self.applier, self.pauses = folder / "fota", Applier(), Pauses()
        self._rest, self._more = rest, more
        self.restart()

    def restart(self) -> None:
        policy = Policy(stall=self._more.get("stall", 5.0), attempts=1)
        more = {"deadline": self._more.get("deadline", 60.0), "sleep": self.pauses, "now": lambda: 0.0}
        files = lambda host: Rest(f"http://{host}", policy=policy)  # noqa: E731
        self._poll = FotaPoll(NrfRest(self._rest, "hub-1"), self.applier, files, self.folder, **more)

    async def poll(self) -> Polled:
        return await self._poll.poll()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "store", "hub-1")


# ---- jobs that end badly --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"firmwareType": "MODEM"}, "REJECTED", "firmware type MODEM"),
        ({"firmwareType": None}, "REJECTED", "cannot be understood: firmwareType"),
        ({"host": "user@evil.example"}, "REJECTED", "cannot be understood: host"),
        ({"fileSize": -1}, "REJECTED", "cannot be understood: fileSize"),
        ({"path": ""}, "REJECTED", "cannot be understood: path"),
        ({"fileSize": len(CONTENT) + 1}, "FAILED", "524288 bytes, and the job says 524289"),
        ({"fileSize": len(CONTENT) - 1}, "FAILED", "larger than 524287 bytes"),
    ],
)
async def test_a_job_that_cannot_be_done_is_told_with_the_reason(
    device: Device, tmp_path: Path, document: Any, status: str, words: str
) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer(**document)
        assert await hub.poll() is Polled.ENDED
        assert await hub.poll() is Polled.IDLE
    assert cloud.told[-1][0] == status
    assert words in cloud.told[-1][1]
    assert not hub.applier.installed


@pytest.mark.parametrize("document", [None, "text", [], 7])
async def test_a_job_without_a_document_is_rejected(device: Device, tmp_path: Path, document: Any) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        cloud.document = document
        assert await hub.poll() is Polled.ENDED
    assert [status for status, _ in cloud.told] == ["REJECTED"]


@pytest.mark.parametrize(
    ("file", "words"), [(answer(404), "404"), (answer(403, b"<Error>expired</Error>"), "expired"), (cut, "lost")]
)
async def test_a_download_that_fails_is_told(device: Device, tmp_path: Path, file: Any, words: str) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        cloud.file = file
        assert await hub.poll() is Polled.ENDED
    assert cloud.told[-1][0] == "FAILED"
    assert words in cloud.told[-1][1]
    assert sorted(path.name for path in hub.folder.iterdir()) == [NOTE]


async def test_a_download_that_takes_too_long_is_told(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest, deadline=0.1)
        cloud.offer()
        cloud.file = silent(server, b"HTTP/1.1 200 X\r\nContent-Length: 524288\r\n\r\nx")
        assert await hub.poll() is Polled.ENDED
    assert cloud.told[-1][0] == "TIMED_OUT"


async def test_a_job_that_goes_while_it_is_downloaded_is_left(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()

        async def gone(_asked: Asked, writer: Write) -> None:
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 524288\r\n\r\n" + CONTENT[:100_000])
            await writer.drain()
            cloud.job = ""
            writer.write(CONTENT[100_000:-1])  # the end never comes: the look in the middle ends it
            await writer.drain()
            await server.open.wait()

        cloud.file = gone
        assert await hub.poll() is Polled.ENDED
        assert await hub.poll() is Polled.IDLE
    assert not hub.applier.installed


async def test_a_cloud_that_cannot_be_asked_for_a_while_ends_no_download(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        cloud.down = lambda asked: bool(cloud.told) and asked.method == "GET" and asked.path != "/image"
        assert await hub.poll() is Polled.ENDED
    assert cloud.told[-1][0] == "SUCCEEDED"


# ---- power cuts and outages -----------------------------------------------------------------------------------------


async def test_an_end_that_could_not_be_told_is_told_before_anything_else(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        cloud.down = lambda asked: bool(hub.applier.installed) and asked.method == "PATCH"
        with pytest.raises(UnavailableError):
            await hub.poll()
        hub.restart()
        with pytest.raises(UnavailableError):
            await hub.poll()
        cloud.down = lambda _asked: False
        hub.restart()
        assert await hub.poll() is Polled.IDLE
    assert [status for status, _ in cloud.told] == ["IN_PROGRESS", "SUCCEEDED"]
    assert len(hub.applier.installed) == 1


async def test_a_cut_before_the_image_was_installed_does_the_job_again(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        hub.applier.restart = True
        assert await hub.poll() is Polled.RESTART
        hub.applier.good, hub.applier.restart = None, False  # the power went before the bootloader was told
        hub.restart()
        assert await hub.poll() is Polled.ENDED
    assert hub.applier.checked == [JOB]
    assert len(hub.applier.installed) == 2
    assert cloud.told[-1] == ("SUCCEEDED", "installed")


async def test_a_job_that_has_ended_and_is_offered_again_is_not_done_again(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        assert await hub.poll() is Polled.ENDED
        cloud.offer()  # the cloud has lost it
        hub.restart()
        assert await hub.poll() is Polled.ENDED
        cloud.offer("another-job")
        assert await hub.poll() is Polled.ENDED
    assert [status for status, _ in cloud.told] == ["IN_PROGRESS", "SUCCEEDED", "SUCCEEDED", "IN_PROGRESS", "SUCCEEDED"]
    assert len(hub.applier.installed) == 2


@pytest.mark.parametrize(
    "note", [b"", b"{}", b"[]", b'{"job":"x","status":"DANCING"}', b"\xff", b'{"job":1,"other":2}']
)
async def test_a_note_that_is_damaged_stops_nothing(device: Device, tmp_path: Path, note: bytes) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        hub.folder.mkdir()
        (hub.folder / NOTE).write_bytes(note)
        cloud.offer()
        assert await hub.poll() is Polled.ENDED
    assert cloud.told[-1][0] == "SUCCEEDED"


async def test_a_failure_of_the_installer_leaves_no_image(device: Device, tmp_path: Path) -> None:
    class Broken(Applier):
        async def install(self, image: Path, job: Any) -> bool:
            raise RestError(f"{image.name} {job.version}: the installer's own trouble")

    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        hub.applier = Broken(good=False)
        hub.restart()
        cloud.offer()
        with pytest.raises(RestError, match="own trouble"):
            await hub.poll()
        assert not (hub.folder / IMAGE).exists()
        hub.restart()
        assert await hub.poll() is Polled.IDLE
    assert cloud.told[-1] == ("FAILED", "checked")


async def test_after_an_end_the_cloud_is_left_alone_for_a_while(device: Device, tmp_path: Path) -> None:
    async with RawHttp() as server, device.rest(server.url) as rest:
        cloud, hub = Cloud(server), Hub(tmp_path, rest)
        cloud.offer()
        await hub.poll()
        await hub.poll()
    assert hub.pauses.waited == [30.0]
