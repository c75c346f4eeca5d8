"""A machine that ran AWS's hub SDK: its files, the hub-agent that takes over, and the account that it belongs to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import forked
from conftest import until_async
from daemon import ask
from standin_rig import UPC, Cloud

from agent.client import Client
from agent.errors import HubError
from tests.identity.test_provisioning import Hub, claim

CONFIG = """
[hub]
onboarding = "cloud"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
port = {port}
ca = "{ca}"
"""


class Machine:
    """`folder/aws` is the SDK's, `folder/etc` the agent's configuration. `claims`: the folder of the claim certificate."""

    def __init__(self, cloud: Cloud, claims: Path, folder: Path, serial: str) -> None:
        self.cloud, self.claims, self.folder, self.serial = cloud, claims, folder, serial
        self.aws, self.state, self.config = folder / "aws", folder / "state", folder / "etc" / "agent.toml"
        self.file, self.drop_in = self.aws / "iotmi_config.json", folder / "etc" / "conf.d" / "50-iotmi.toml"
        self.host, _, self.port = cloud.told["mqtt"].partition(":")
        self.thing = cloud.hub(serial)
        self.process: subprocess.Popen[bytes] | None = None
        self.aws.mkdir(parents=True)
        self.config.parent.mkdir()
        self.config.write_text(CONFIG.format(folder=folder, port=self.port, ca=cloud.told["ca"]))
        self.write({"iot_provisioning_state": "NOT_PROVISIONED"})

    @property
    def ro(self) -> dict[str, Any]:
        return {
            "iot_provisioning_method": "FLEET_PROVISIONING",
            "iot_claim_cert_path": str(self.claims / "claim.pem"),
            "iot_claim_pk_path": str(self.claims / "claim.key"),
            "fp_template_name": "claims",
            "iot_endpoint_url": self.host,
            "SN": self.serial,
            "UPC": UPC,
            "mqtt_keep_alive_interval": 120,
        }

    def write(self, rw: dict[str, Any]) -> None:
        self.file.write_text(json.dumps({"ro": self.ro, "rw": rw, "vendor": {"x": [1, 2.50]}}, indent=4))

    @property
    def rw(self) -> dict[str, Any]:
        told: dict[str, Any] = self.whole["rw"]
        return told

    @property
    def whole(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.file.read_bytes())
        return told

    async def as_the_sdk_does(self) -> None:
        """Provision the hub, and keep what came as AWS's SDK does."""
        hub = Hub(self.folder / "sdk")
        held = await hub.provision(claim(self.cloud, self.claims, self.serial))
        (self.aws / "iot_cert.pem").write_bytes(hub.slots.chain("a").read_bytes())
        (self.aws / "iot_pk.pem").write_bytes((self.folder / "sdk" / "keys" / "hub-a.key").read_bytes())
        paths = {
            "iot_permanent_cert_path": f"{self.aws}/iot_cert.pem",
            "iot_permanent_pk_path": f"{self.aws}/iot_pk.pem",
        }
        ids = {"managed_thing_id": held.thing, "client_id": held.configuration["clientId"]}
        self.write({"iot_provisioning_state": "PROVISIONED", **ids, **paths, "event_manager_upper_bound": 500})

    def give_to(self, uid: int) -> None:
        """Another user is the hub's: the state folder is theirs, and they reach it and the SDK's."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        for path in (self.state, *self.state.rglob("*")):
            os.chown(path, uid, uid)
        for folder in (self.folder, self.aws):
            folder.chmod(0o755)

    def agent(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent.cli", *words, "-c", str(self.config)]
        return forked.run(command, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL)

    def told(self, *words: str) -> dict[str, Any]:
        """What a command that must go well prints."""
        done = self.agent(*words, "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def run(self) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def online(self, seconds: float = 40.0) -> dict[str, Any]:
        """Until the hub is connected; its status."""
        client = Client(self.folder / "run")

        async def status() -> dict[str, Any]:
            with suppress(HubError):
                told: dict[str, Any] = await ask(client, "status")
                return told
            return {"uplinks": {}}

        def good(told: dict[str, Any]) -> bool:
            return bool(told["uplinks"].get("main", {}).get("status") == "online")

        await until_async(status, good, seconds)
        return await status()

    async def ended(self, seconds: float = 40.0) -> int:
        """The exit code of the agent, which ends by itself."""
        assert self.process is not None
        process, self.process = self.process, None
        return await asyncio.to_thread(process.wait, seconds)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None
