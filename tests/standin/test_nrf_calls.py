"""Uplinks to nRF Cloud without a connection, against the stand-in: the link by itself, and a daemon with the hub's own key."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import until
from nrf_calls_rig import Caller
from nrf_mqtt_rig import state
from nrf_rig import Keys, ask, bulk
from standin_rig import Cloud

from agent import cli
from agent.errors import Exit
from agent.requests import Kind

pytestmark = pytest.mark.conformance
CONFIG = """
[hub]
id = "caller"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.nrf]
dialect = "nrf-cloud"
transport = "rest"
url = "{url}"
interval = 1
"""


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture
async def caller(cloud: Cloud, tmp_path: Path) -> AsyncIterator[Caller]:
    made = Caller(tmp_path, cloud)
    yield made
    await made.stop()
    await made.store.close()


async def test_what_the_hub_is_and_every_value_is_called_in_order(caller: Caller, cloud: Cloud) -> None:
    caller.open()
    for number in range(10):
        caller.link.offer_live(caller.state(number))
    caller.start()
    await until(lambda: caller.calls.connected, what="the first calls")
    for number in range(10, 60):
        caller.link.offer_live(caller.state(number))
        await caller.durable(caller.event(number))
    await until(lambda: caller.numbers() == list(range(60)), what="every value, in order and once")
    await until(lambda: caller.pressed() == list(range(10, 60)), what="every event")
    await until(lambda: not caller.calls.waiting and not sum(caller.store.stats.backlog.values()))
    reported = state(cloud, caller.name)["reported"]
    assert reported["device"]["connectionInfo"] == {"protocol": "REST"}
    assert reported["device"]["serviceInfo"]["fota_v2"] == ["APP"]
    assert reported["hub"]["status"] == "online"
    assert await caller.calls.say_last({"status": "offboarded"}, 5.0)
    assert state(cloud, caller.name)["reported"]["hub"]["status"] == "offboarded"


async def test_a_cloud_killed_in_the_middle_loses_nothing(caller: Caller, cloud: Cloud) -> None:
    caller.open()
    caller.start()
    await until(lambda: caller.calls.connected, what="the first calls")
    loop = asyncio.get_running_loop()
    port = caller.url.split(":")[2].partition("/")[0]
    for number in range(60):
        caller.link.offer_live(caller.state(number))
        await caller.durable(caller.event(number))
        if number == 20:
            await loop.run_in_executor(None, lambda: cloud.stop(kill=True))
            await until(lambda: not caller.calls.connected, what="the loss")
            assert caller.calls.last_error
        if number == 40:
            cloud._arguments = ("--port", port)  # argparse takes the last one
            await loop.run_in_executor(None, cloud.start)
    await until(lambda: set(caller.numbers()) == set(range(60)) == set(caller.pressed()), 20.0, "everything")
    await until(lambda: not sum(caller.store.stats.backlog.values()), what="an empty outbox")
    assert len({one["id"] for one in caller.said("TEMP")}) == 60


async def test_wishes_are_taken_on_or_taken_back(caller: Caller, cloud: Cloud) -> None:
    def desire(**control: Any) -> None:
        body = {"desired": {"control": control}}
        assert ask(cloud, "PATCH", f"/devices/{caller.name}/state", json=body).status == 202

    caller.open()
    caller.start()
    desire(logLvl=2, alertsEn="no")
    await until(lambda: caller.dialect.control.log_level == 2, what="the wish")
    await until(
        lambda: state(cloud, caller.name)["desired"].get("control") == {"logLvl": 2}, what="the other, taken back"
    )
    assert state(cloud, caller.name)["reported"]["control"] == {"alertsEn": True, "logLvl": 2}
    lines = [
        {"time": "2026-11-27T10:00:00.000Z", "level": level, "logger": "a", "message": level}
        for level in ("info", "error")
    ]
    await caller.durable(caller.message(Kind.LOG, {"lines": lines}))
    body = {"status": "ACTIVATED", "nodeId": "n", "eventType": "disconnected", "at": 9.0}
    await caller.durable(caller.message(Kind.LIFECYCLE, body))
    await until(lambda: [one["msg"] for one in caller.said("LOG")] == ["error"], what="the line that is wanted")
    await until(lambda: [one["type"] for one in caller.said("ALERT")] == [100], what="the alert")


async def test_a_daemon_calls_with_its_own_key(cloud: Cloud, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG.format(folder=tmp_path, url=cloud.told["nrf"]))
    where = ("-c", str(config))
    command = [sys.executable, "-m", "agent.cli", "run", *where]
    loop = asyncio.get_running_loop()
    bare = await loop.run_in_executor(
        None, lambda: subprocess.run(command, capture_output=True, text=True, check=False)
    )
    assert bare.returncode == Exit.CONFIG
    assert "agent identity csr" in bare.stderr, "without a key there are no tokens"
    assert cli.main(["identity", "csr", *where]) == 0
    keys = tmp_path / "keys.csv"
    assert cli.main(["onboard", "nrf-csv", "write", "public-keys", str(keys), "--self", *where]) == 0
    certificate = Keys(tmp_path, "caller").certificate
    assert bulk(cloud, "/devices", f'caller,,,APP,"{certificate}"\n')["status"] == "SUCCEEDED"
    assert bulk(cloud, "/devices/public-keys", keys.read_text())["status"] == "SUCCEEDED"

    def hub() -> str:
        return str(state(cloud, "caller").get("reported", {}).get("hub", {}).get("status"))

    with (tmp_path / "agent.log").open("ab") as log:
        process: subprocess.Popen[bytes] = forked.Popen(command, stdout=log, stderr=log)
    try:
        await until(lambda: hub() == "online", 20.0, "the hub")
    finally:
        process.send_signal(signal.SIGTERM)
        code = await loop.run_in_executor(None, process.wait, 10)
    assert code == 0
    assert hub() == "offline"
