"""One home on two clouds at once, as users run it: both get every value, and a command is answered where it was asked."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import Broker, free_port, until
from daemon import configure
from house import House
from nrf_link_rig import flat, onboarded
from nrf_mqtt_rig import execution, job, state
from nrf_rig import ask
from ota_rig import root
from standin_rig import Cloud

from drivers.sim.ble.server import start as start_ble
from drivers.sim.zigbee.server import start

pytestmark = pytest.mark.conformance
NRF = """
[uplinks.nrf]
dialect = "nrf-cloud"
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"
client_id = "{device}"
gateway = "gateway"
[radios.ble]
bus = "{bus}"
[ota]
root = "{root}"
"""
_numbers = count(1)


HOME = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [{"name": "plug", "profile": "plug"}, {"name": "climate", "profile": "climate"}],
}


LAMP = "A4:C1:38:00:00:10"
BLE = {"kind": "ble", "devices": [{"name": "lamp", "profile": "smp-lamp", "address": LAMP, "interval": 0.05}]}


class Relay:
    """A port that stays where the stand-in's moves with each start; bytes go through as they are."""

    def __init__(self, cloud: Cloud) -> None:
        self.port, self._cloud = free_port(), cloud
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._cloud.told["mqtt"].partition(":")
        try:
            inner, outer = await asyncio.open_connection(host, int(port))
            await asyncio.wait(
                [asyncio.ensure_future(_pump(reader, outer)), asyncio.ensure_future(_pump(inner, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            outer.close()
        except OSError:
            pass  # the stand-in is down: who has come here is told by the end
        finally:
            writer.close()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


class Home(House):
    """A house with a second uplink, to nRF Cloud."""

    def __init__(self, folder: Path, broker: Broker, cloud: Cloud, relay: Relay, bus: str) -> None:
        super().__init__(folder, broker, "default", HOME)
        self.cloud, self.id = cloud, f"two-clouds-{next(_numbers)}"
        files = onboarded(cloud, folder, self.id, "gateway")
        told = {"ca": cloud.told["ca"], "certificate": files[0], "key": files[1], "device": self.id, "bus": bus}
        (folder / "1.root.json").write_bytes(root())
        told["root"] = folder / "1.root.json"
        text = NRF.format(host="127.0.0.1", port=relay.port, **told)
        self.config = configure(folder, broker.port, "default", text)

    def nrf(self, app: str) -> list[dict[str, Any]]:
        """What nRF Cloud's account has got of the home."""
        return [one for one in flat(self.cloud, self.id) if one["appId"] == app]

    async def join(self, kind: str = "ZIGBEE", devices: int = 2) -> None:
        """Until the devices are found: the window need not pass."""

        def run() -> None:
            found = 0
            for line in self.client.stream("discover", {"kind": kind, "duration": 60}):
                found += line["what"] == "found"
                if found == devices:
                    return

        await asyncio.get_running_loop().run_in_executor(None, run)

    async def set(self, value: int) -> None:
        assert self.sim is not None
        told = {"op": "set", "device": "climate", "cluster": 0x0402, "value": value, "report": True}
        assert "error" not in await self.sim.control(told)


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture
async def home(tmp_path: Path, broker: Broker, cloud: Cloud) -> AsyncIterator[Home]:
    relay = Relay(cloud)
    await relay.start()
    ble = await start_ble("ble", BLE, link=tmp_path / "bus", state=None, faults="", seed=1)
    made = Home(tmp_path, broker, cloud, relay, ble.port)
    made.sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    made.run()
    await made.online()
    await made.join()
    yield made
    assert made.process is not None
    made.process.send_signal(signal.SIGTERM)
    await asyncio.get_running_loop().run_in_executor(None, made.process.wait, 10)
    made.mqtt.disconnect()
    made.mqtt.loop_stop()
    await made.sim.close()
    await ble.close()
    await relay.stop()


async def test_both_clouds_get_every_value_also_when_both_are_killed(home: Home, broker: Broker, cloud: Cloud) -> None:
    loop = asyncio.get_running_loop()
    climate = (await home.device("SIM-CLIMATE"))["managedThingId"]
    wanted = [2000 + number for number in range(60)]
    for number, value in enumerate(wanted):
        await home.set(value)
        if number == 15:
            broker.stop(kill=True)
            await loop.run_in_executor(None, lambda: cloud.stop(kill=True))
        if number == 40:
            broker.start()
            await loop.run_in_executor(None, cloud.start)

    def told() -> set[int]:
        return {round(float(one["data"]) * 100) for one in home.nrf("TEMP") if one["device"] == climate}

    await until(lambda: set(wanted) <= set(home.values(climate, "MeasuredValue")), 30.0, "every value on the one")
    await until(lambda: set(wanted) <= told(), 30.0, "every value on the other")
    await home.online()
    hub = state(cloud, home.id)["reported"]["hub"]
    assert (hub["status"], hub["radios"]["zigbee"]["status"]) == ("online", "online")
    assert {one["device"] for one in home.nrf("CAPABILITIES")} >= {climate}


async def test_a_command_is_answered_once_and_where_it_was_asked(home: Home, cloud: Cloud) -> None:
    plug = (await home.device("SIM-PLUG"))["managedThingId"]

    def send(trace: str, action: str = "Toggle", **more: Any) -> None:
        data = {"traceId": trace, "device": plug, "endpoint": "1", "capability": "matter.OnOff@1.4", "action": action}
        message = {"appId": "DEVICE", "messageType": "CMD", "data": {**data, **more}}
        sent = {"topic": f"d/{home.id}/c2d", "message": message}
        assert ask(cloud, "POST", f"/devices/{home.id}/messages", json=sent).status == 202

    def results(trace: str) -> list[str]:
        answers = [one["data"] for one in home.nrf("DEVICE") if one["data"]["traceId"] == trace]
        return [answer["result"] for answer in answers]

    def states() -> list[Any]:
        return [one["data"] for one in home.nrf("STATE") if (one["device"], one["property"]) == (plug, "OnOff")]

    before = len(states())
    for _ in range(3):
        send("on-nrf")
    home.send(plug, "on-main", "Toggle")
    send("late", expiresAt=1000)
    send("strange", "Explode")
    send("no-such", device="nobody")
    send("wrong", endpoint=1)
    await until(lambda: results("on-nrf") == ["succeeded"] and home.outcomes("on-main") == ["succeeded"], 20.0, "both")
    for trace in ("late", "strange", "no-such", "wrong"):
        await until(lambda trace=trace: results(trace) == ["failed"], what=f"the refusal of {trace}")
    assert home.outcomes("on-nrf") == []
    assert results("on-main") == []
    await until(
        lambda: states()[before:][:2] == [True, False] or states()[before:][:2] == [False, True], 10.0, "two turns"
    )
    assert results("on-nrf") == ["succeeded"]


async def test_the_account_has_log_lines_and_gives_firmware_jobs(home: Home, cloud: Cloud) -> None:
    device = ask(cloud, "GET", f"/devices/{home.id}").json()
    assert (device["firmware"]["supports"], device["firmware"]["app"]["name"]) == (["APP"], "hub-agent")

    def wish(level: int) -> None:
        desired = {"desired": {"control": {"logLvl": level}}}
        assert ask(cloud, "PATCH", f"/devices/{home.id}/state", json=desired).status == 202

    wish(3)
    await until(lambda: state(cloud, home.id)["reported"]["control"]["logLvl"] == 3, what="the wish, reported")
    made = job(cloud, home.id)  # of a file beside which nothing lies
    await until(lambda: execution(cloud, home.id, made)[0] == "REJECTED", what="the rejection")
    assert "nobody has signed it" in (execution(cloud, home.id, made)[1] or "")
    await home.join("BLE", 1)
    assert ask(cloud, "PUT", f"/devices/{home.id}/{LAMP}").status == 204
    child = job(cloud, LAMP)  # the same for the lamp behind the hub
    await until(lambda: execution(cloud, LAMP, child)[0] == "REJECTED", what="the rejection for the lamp")
    assert "nobody has signed it" in (execution(cloud, LAMP, child)[1] or "")
    wish(4)  # what was kept is uploaded at once
    await until(
        lambda: any("is taken on" in one["msg"] and one["lvl"] == 3 for one in home.nrf("LOG")), what="the line"
    )
    assert not home.told("RUNTIME_LOG"), "the other cloud has not asked for them"
