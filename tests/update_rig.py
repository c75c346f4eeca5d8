"""A hub that starts from its slots, its account at the stand-in cloud, and releases that `agent ota sign` has signed; boto3 makes the tasks."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from agent_wheel import ROOT as ROOT_FOLDER
from agent_wheel import Service, wheel
from conftest import until, until_async
from daemon import ask
from standin_rig import UPC, Cloud

from agent import cli
from agent.client import Client
from agent.errors import HubError

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
{more}
"""
QUICK = """
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
RUN, LINK = "agent/run.py", "agent/cloud/link.py"
CONNECTS = "connection = self._connect(self._endpoint())"
CRASHES = {RUN: "raise ImportError('this build is broken')\n"}


def patched(path: str, *changes: tuple[str, str]) -> Mapping[str, str]:
    """A module of this checkout with other lines."""
    text = (ROOT_FOLDER / path).read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{path} has changed: {old!r}"
        text = text.replace(old, new)
    return {path: text}


def no_uplink() -> Mapping[str, str]:
    """A build that never connects."""
    return patched(LINK, (CONNECTS, "raise MqttLost('this build cannot connect')"))


def run(*arguments: str | Path) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


class Hub:
    """A hub of an account, which starts from its slots; `publish` makes and signs a release in the account's bucket."""

    more: ClassVar[str] = QUICK  # of its configuration: the rest of [ota], and what follows it
    cloud_kind: ClassVar[type[Cloud]] = Cloud
    watchdog: ClassVar[float] = 0.0  # seconds; 0: nobody kills what hangs

    def __init__(self, folder: Path, version: str = "1.0.0") -> None:
        self.folder, self.number = folder, 1
        self.cloud = self.cloud_kind(folder / "cloud")
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
        launch, log = folder / "state" / "slots" / "launch", folder / "agent.log"
        self.service = Service(launch, folder / "agent.toml", log, self.watchdog)

    def _configure(self) -> None:
        profile = self.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="ota")
        (self.folder / "claim.pem").write_text(profile["ClaimCertificate"])
        (self.folder / "claim.key").write_text(profile["ClaimCertificatePrivateKey"])
        (self.folder / "claim.key").chmod(0o600)
        host, _, port = self.cloud.told["mqtt"].partition(":")
        values = {"folder": self.folder, "host": host, "port": port, "ca": self.cloud.told["ca"], "upc": UPC}
        values["more"] = self.more.format(folder=self.folder)
        (self.folder / "agent.toml").write_text(CONFIG.format(**values))

    def _keys(self) -> None:
        for name in ("root", "release"):
            run("ota", "sign", "--new-key", self.folder / f"{name}.pem")
        (self.folder / "root.toml").write_text(ROOT)
        run("ota", "sign", self.folder / "root.toml", "--key", self.folder / "root.pem")

    def publish(self, version: str, replaced: Mapping[str, str] | None = None) -> str:
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
    try:
        await until_async(made.status, lambda told: told["uplinks"]["main"]["status"] == "online", 30.0)
        yield made
    finally:
        keeping.cancel()
        try:
            made.service.stop()
        finally:
            made.cloud.stop()
