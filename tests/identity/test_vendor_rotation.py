"""A cloud's rotation job in the real daemon: the certificate vendor's answers, retries and traps, and a kill in the middle of it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
import urllib3
from conftest import until_async
from standin_rig import UPC, Cloud

from agent.client import Client
from agent.wire.certificate_vendor import Get, correlation_of
from tests.identity.claims import CONFIG, claim_files


class Hub:
    """`agent run`, provisioned by its claim at a stand-in cloud."""

    def __init__(self, cloud: Cloud, folder: Path, serial: str) -> None:
        self.cloud, self.folder = cloud, folder
        self.thing = cloud.hub(serial)
        (folder / "claim").mkdir()
        host, _, port = cloud.told["mqtt"].partition(":")
        where = {"folder": folder, "host": host, "port": port, "ca": cloud.told["ca"]}
        text = CONFIG.format(**where, claim=claim_files(cloud, folder / "claim"), serial=serial, code=UPC)
        (folder / "agent.toml").write_text(text)
        self.client = Client(folder / "run")
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.folder / "agent.toml")]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def status(self) -> dict[str, Any]:
        try:
            return dict(await asyncio.to_thread(self.client.get, "status"))
        except Exception as error:  # noqa: BLE001  it starts
            return {"uplinks": {}, "certificate": {}, "error": str(error)}

    async def online(self, slot: str) -> dict[str, Any]:
        def good(told: dict[str, Any]) -> bool:
            up = told["uplinks"].get("main", {}).get("status") == "online"
            return up and told["certificate"].get("slot") == slot

        await until_async(self.status, good, 30.0)
        return await self.status()

    async def logged(self, words: str) -> None:
        async def log() -> str:
            return self.log

        await until_async(log, lambda text: words in text, 30.0)

    def rotate(self, **more: str) -> str:
        """The operator's word; the job's id."""
        body = json.dumps({"do": "rotate", "hub": self.thing, **more}).encode()
        headers = {"Content-Type": "application/json"}
        answer = urllib3.request("POST", f"{self.cloud.told['console']}console", body=body, headers=headers)
        assert answer.status == 200, answer.data
        return str(answer.json()["job"])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """A stand-in with faults, and a hub at it."""
    made: list[tuple[Cloud, Hub]] = []

    def build(faults: str = "", serial: str = "HUB-VENDED-001") -> Hub:
        cloud = Cloud(tmp_path / "data", *(["--faults", faults] if faults else []))
        hub = Hub(cloud, tmp_path, serial)
        made.append((cloud, hub))
        return hub

    yield build
    for cloud, hub in made:
        hub.stop(signal.SIGKILL)
        assert cloud.stop() == 0


@pytest.mark.parametrize("form", ["command-and-control", "readme", "installer"])
async def test_a_job_replaces_the_certificate(make: Any, form: str) -> None:
    """With a vendor that fails twice first, and deletes what the acknowledging connection does not use."""
    hub = make("vendor_deletes=1,vendor_failures=2,vendor_retry=0.3")
    hub.run()
    first = (await hub.online("a"))["certificate"]
    job = hub.rotate(form=form)
    told = (await hub.online("b"))["certificate"]
    assert told["source"] == "vendor"
    assert told["certificateId"] != first["certificateId"]
    await hub.logged(f"job {job} is over")  # the acknowledgement took the hub out of the job's group: REMOVED
    assert "UNABLE_TO_ATTACH_POLICY" in hub.log
    hub.stop()
    hub.run()
    assert (await hub.online("b"))["certificate"]["certificateId"] == told["certificateId"], (
        "the new one is not deleted"
    )


@pytest.mark.parametrize(
    "moment",
    ["asking vendor for a certificate", "begins anew: ", "the new certificate works"],
    ids=["asked", "arrived", "connected"],
)
async def test_a_kill_in_the_middle_ends_in_one_rotation(make: Any, moment: str) -> None:
    hub = make("vendor_deletes=1,vendor_failures=1,vendor_retry=1.5")
    hub.run()
    await hub.online("a")
    job = hub.rotate()
    await hub.logged(moment)
    hub.stop(signal.SIGKILL)
    hub.run()
    await hub.online("b")
    await hub.logged(f"job {job}")
    await until_async(hub.status, lambda told: told["certificate"].get("rotation") == "kept", 30.0)
    record = json.loads((hub.folder / "state" / "identity" / "identity.json").read_text())

    async def unconfirmed() -> str:
        return str(json.loads((hub.folder / "state" / "identity" / "identity.json").read_text())["unconfirmed"])

    await until_async(unconfirmed, lambda told: not told, 30.0)
    assert record["reason"].startswith(f"job {job}")


def test_a_request_never_names_what_the_rule_fills_in() -> None:
    assert Get(csr="PEM").model_dump(by_alias=True, exclude_none=True) == {"csr": "PEM"}


@pytest.mark.parametrize("document", [{}, {"correlationId": 5}, {"correlationId": None}])
def test_a_job_without_a_correlation_has_none(document: dict[str, Any]) -> None:
    assert correlation_of(document) == ""
