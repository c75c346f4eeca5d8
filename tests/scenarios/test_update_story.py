"""A hub that updates itself: OTA tasks of boto3 against the stand-in, releases signed with `agent ota sign`, real builds of this checkout."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_wheel import ROOT as ROOT_FOLDER
from agent_wheel import Service, wheel
from conftest import until, until_async
from daemon import ask
from standin_rig import UPC, Cloud

from agent import cli
from agent.client import Client
from agent.errors import HubError

pytestmark = pytest.mark.conformance

CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
claim_certificate = "{folder}/claim.pem"
claim_key = "{folder}/claim.key"
serial = "HUB-OTA-1"
product_code = "{upc}"
template = "ota"
[ota]
root = "{folder}/1.root.json"
trial = "1s"
patience = "2s"
trial_limit = "20s"
"""
ROOT = """
type = "root"
product = "hub"
expires = "1095d"
roles.root = { keys = ["root.pub.pem"], threshold = 1 }
roles.release = { keys = ["release.pub.pem"], threshold = 1 }
"""
RELEASE = """
type = "release"
product = "hub"
release = "{version}"
number = {number}
expires = "180d"
[[components]]
name = "agent"
kind = "agent"
version = "{version}"
files = ["{name}"]
hub = {{ boards = ["*"] }}
"""
CRASHES = {"agent/run.py": "raise ImportError('this build is broken')\n"}
LINK = (ROOT_FOLDER / "agent" / "cloud" / "link.py").read_text()
CONNECTS = "connection = self._connect(self._endpoint())"
NO_UPLINK = {"agent/cloud/link.py": LINK.replace(CONNECTS, "raise MqttLost('this build cannot connect')")}


def run(*arguments: str | Path) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


class Hub:
    """A hub of an account, which starts from its slots; `publish` makes and signs a release in the account's bucket."""

    def __init__(self, folder: Path, version: str = "1.0.0") -> None:
        self.folder, self.number = folder, 1
        self.cloud = Cloud(folder / "cloud")
        self.api = self.cloud.api
        self.thing = self.cloud.hub("HUB-OTA-1")
        self.bucket = self.cloud.folder / "s3" / "updates"
        self.bucket.mkdir(parents=True)
        self._configure()
        if not (folder / "1.root.json").exists():
            self._keys()
        site = folder / "installed"
        zipfile.ZipFile(io.BytesIO(wheel(version))).extractall(site)
        run("ota", "slots", "-c", folder / "agent.toml", "--site", site)
        self.service = Service(folder / "state" / "slots" / "launch", folder / "agent.toml", folder / "agent.log")

    def _configure(self) -> None:
        profile = self.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="ota")
        (self.folder / "claim.pem").write_text(profile["ClaimCertificate"])
        (self.folder / "claim.key").write_text(profile["ClaimCertificatePrivateKey"])
        (self.folder / "claim.key").chmod(0o600)
        host, _, port = self.cloud.told["mqtt"].partition(":")
        values = {"folder": self.folder, "host": host, "port": port, "ca": self.cloud.told["ca"], "upc": UPC}
        (self.folder / "agent.toml").write_text(CONFIG.format(**values))

    def _keys(self) -> None:
        for name in ("root", "release"):
            run("ota", "sign", "--new-key", self.folder / f"{name}.pem")
        (self.folder / "root.toml").write_text(ROOT)
        run("ota", "sign", self.folder / "root.toml", "--key", self.folder / "root.pem")

    def publish(self, version: str, replaced: dict[str, str] | None = None) -> str:
        """The address of a signed release."""
        self.number += 1
        folder = self.bucket / version
        folder.mkdir()
        name = f"hub_agent-{version}-py3-none-any.whl"
        (folder / name).write_bytes(wheel(version, replaced))
        (folder / "release.toml").write_text(RELEASE.format(version=version, number=self.number, name=name))
        run("ota", "sign", folder / "release.toml", "--key", self.folder / "release.pem")
        return f"{self.cloud.told['s3']}/updates/{version}/release.json"

    def task(self, document: dict[str, Any]) -> str:
        (self.bucket / "job.json").write_text(json.dumps({"operation": "firmware-update", **document}))
        arn = self.api.get_managed_thing(Identifier=self.thing)["Arn"]
        made = self.api.create_ota_task(S3Url="s3://updates/job.json", OtaType="ONE_TIME", Target=[arn])
        return str(made["TaskId"])

    def execution(self, task: str) -> dict[str, Any]:
        (found,) = self.api.list_ota_task_executions(Identifier=task)["ExecutionSummaries"]
        summary: dict[str, Any] = found["TaskExecutionSummary"]
        return summary

    async def status(self) -> dict[str, Any]:
        try:
            told: dict[str, Any] = await ask(Client(self.folder / "run"), "status")
        except HubError:
            return {"version": "", "uplinks": {"main": {"status": "starting"}}}
        return told

    async def ends(self, task: str) -> str:
        await until(
            lambda: self.execution(task)["Status"] not in ("QUEUED", "IN_PROGRESS"), 60.0, "the end of the task"
        )
        return str(self.execution(task)["Status"])

    async def updates(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await ask(Client(self.folder / "run"), "ota")
        return told


async def _keep(service: Service) -> None:
    while True:
        service.keep()
        await asyncio.sleep(0.1)


@asynccontextmanager
async def running(folder: Path, version: str = "1.0.0", kind: type[Hub] = Hub) -> AsyncIterator[Hub]:
    """A hub that is on line."""
    made = await asyncio.to_thread(kind, folder, version)
    keeping = asyncio.create_task(_keep(made.service))
    await until_async(made.status, lambda told: told["uplinks"]["main"]["status"] == "online", 30.0)
    yield made
    keeping.cancel()
    made.service.stop()
    made.cloud.stop()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running(tmp_path) as made:
        yield made


async def test_a_hub_updates_itself_and_comes_back_from_what_is_broken(hub: Hub) -> None:
    assert CONNECTS in LINK
    assert (await hub.status())["version"] == "1.0.0"
    good = hub.task({"manifestUrl": hub.publish("2.0.0")})
    assert await hub.ends(good) == "SUCCEEDED"
    assert (await hub.status())["version"] == "2.0.0"

    for version, replaced, code in (("3.0.0", CRASHES, "fell-back"), ("3.1.0", NO_UPLINK, "unhealthy")):
        bad = hub.task({"manifestUrl": hub.publish(version, replaced)})
        assert await hub.ends(bad) == "FAILED"
        assert (await hub.status())["version"] == "2.0.0"
        assert [task["code"] for task in await hub.updates()][-1] == code

    forged = hub.publish("4.0.0")
    path = hub.bucket / "4.0.0" / "release.json"
    path.write_text(path.read_text().replace("eyJ", "eyK", 1))
    assert await hub.ends(hub.task({"manifestUrl": forged})) == "REJECTED"
    assert await hub.ends(hub.task({"files": [{"url": forged}]})) == "REJECTED"
    assert (await hub.status())["version"] == "2.0.0"
    told = [(task["state"], task["code"]) for task in await hub.updates()]
    assert told[-2:] == [("REJECTED", "bad-signature"), ("REJECTED", "unsigned")]
    await until_async(hub.updates, lambda tasks: all(task["heard"] for task in tasks), 10.0)
