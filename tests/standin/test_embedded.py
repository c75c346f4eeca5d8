"""The stand-in where there is no mosquitto: the same gate, before a broker in its own process."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
from conftest import until
from standin_mqtt import Mqtt, provisioned
from standin_rig import Cloud

pytestmark = pytest.mark.conformance


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data", "--broker", "embedded")
    yield made
    assert made.stop() == 0


def test_mqtt_5_is_refused_by_its_name(cloud: Cloud, tmp_path: Path) -> None:
    files = tuple(Path(name) for name in cloud.told["operator"])
    with Mqtt(cloud, (files[0], files[1]), "operator") as client:
        assert client.connected() == "Unsupported protocol version"
    with Mqtt(cloud, (files[0], files[1]), "operator", v5=False) as client:
        assert client.connected() == "Success"


async def test_a_hub_is_provisioned_and_the_agent_falls_back_to_it(cloud: Cloud, tmp_path: Path) -> None:
    hub, files = await asyncio.to_thread(provisioned, cloud, tmp_path, "HUB-EMBEDDED-01", v5=False)
    host, _, port = cloud.told["mqtt"].partition(":")
    files[1].chmod(0o600)
    (tmp_path / "agent.toml").write_text(
        f'[hub]\nid = "{hub}"\nonboarding = "cloud"\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        f'[uplinks.main]\nhost = "{host}"\nport = {port}\nca = "{cloud.told["ca"]}"\n'
        f'certificate = "{files[0]}"\nkey = "{files[1]}"\n'
    )
    command = [sys.executable, "-m", "agent.cli", "run", "-c", str(tmp_path / "agent.toml")]
    with (tmp_path / "agent.log").open("ab") as log:
        agent = forked.Popen(command, stderr=log)

    def status() -> str:
        return str(cloud.api.get_managed_thing(Identifier=hub)["ProvisioningStatus"])

    try:
        await until(lambda: status() == "ACTIVATED", 20, "the hub ACTIVATED")
        await asyncio.to_thread(cloud.api.delete_managed_thing, Identifier=hub)
        await until(lambda: agent.poll() is not None, 20, "the end of the offboarded hub")
        assert agent.returncode == 75
    finally:
        agent.kill()
        agent.wait()


def test_reserved_topics_pass_under_another_name(cloud: Cloud, tmp_path: Path) -> None:
    hub, files = provisioned(cloud, tmp_path, "HUB-EMBEDDED-02", v5=False)
    shadow = f"$aws/things/{hub}/shadow"
    with Mqtt(cloud, files, hub, v5=False) as device:
        assert device.subscribe(f"{shadow}/update/+") == [1]
        device.publish(f"{shadow}/update", {"state": {"desired": {"led": 1}}})
        assert device.waits_for(f"{shadow}/update/delta")["state"] == {"led": 1}
        ended = threading.Event()
        device.client.on_unsubscribe = lambda *_: ended.set()
        device.client.unsubscribe(f"{shadow}/update/+")
        assert ended.wait(10)
        device.publish(f"{shadow}/update", {"state": {"desired": {"led": 2}}})
        device.publish(f"$aws/things/{hub}/jobs/get", {})
        device.waits_for(f"$aws/things/{hub}/jobs/get/accepted")
        assert len(device.on(f"{shadow}/update/delta")) == 1
