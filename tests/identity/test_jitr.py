"""Just-in-time registration as the hub sees it: the first connection is refused, which is no error, and the next one stands."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from certificates import Authority
from conftest import until_async
from standin_rig import Cloud

from agent.client import Client

CONFIG = """
[hub]
id = "{thing}"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
serial = "{serial}"
ca_certificate = "{folder}/maker.pem"
ca_key = "{folder}/maker.key"
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data")
    yield made
    assert made.stop() == 0


@pytest.mark.parametrize("serial", ["HUB-JITR-0001", "HUB-JITR-STRANGER"])
async def test_a_certificate_that_is_registered_at_its_first_connection(
    cloud: Cloud, tmp_path: Path, serial: str
) -> None:
    maker = Authority(tmp_path, "maker")
    maker.key_file()
    cloud.api.create_provisioning_profile(
        ProvisioningType="JITR", Name="jitr", CaCertificate=maker.ca.read_text(encoding="ascii")
    )
    thing = cloud.hub("HUB-JITR-0001")
    host, _, port = cloud.told["mqtt"].partition(":")
    text = CONFIG.format(thing=thing, folder=tmp_path, host=host, port=port, ca=cloud.told["ca"], serial=serial)
    (tmp_path / "agent.toml").write_text(text)
    command = [sys.executable, "-m", "agent.cli", "run", "-c", str(tmp_path / "agent.toml")]
    client = Client(tmp_path / "run")

    async def uplink() -> dict[str, Any]:
        try:
            status = await asyncio.to_thread(client.get, "status")
        except Exception:  # noqa: BLE001  it starts
            return {}
        return dict(status["uplinks"].get("main", {}))

    log = tmp_path / "agent.log"
    with log.open("wb") as file, forked.Popen(command, stdout=file, stderr=file) as agent:
        try:
            if serial == "HUB-JITR-0001":
                await until_async(uplink, lambda told: told.get("status") == "online", 30.0)
            else:
                await until_async(uplink, lambda told: "pending" in told.get("reason", ""), 30.0)
                assert (await uplink())["status"] == "away"
        finally:
            agent.send_signal(signal.SIGTERM)
    assert "pending: the cloud may register this new certificate" in log.read_text()
    assert '"level": "error"' not in log.read_text()
