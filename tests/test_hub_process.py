"""The whole daemon as users run it: real broker, simulated stick on a pty, unplugging and hostile messages."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import forked
import pytest
from conftest import Broker, until, until_async
from house import HOME, House

from drivers.sim.zigbee.server import start


@pytest.fixture
def durability() -> str:
    """Tests that end a process say both; faults/test_storm.py goes through all else in both."""
    return "default"


@pytest.fixture
async def house(durability: str, tmp_path: Path, broker: Broker) -> AsyncIterator[House]:
    made = House(tmp_path, broker, durability)
    made.sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    made.run()
    await made.online()
    await made.join()
    yield made
    assert made.process is not None
    if made.process.poll() is None:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(10)
    made.mqtt.disconnect()
    made.mqtt.loop_stop()
    await made.sim.close()


async def test_a_stick_unplugged_and_plugged_comes_back_without_a_restart(house: House) -> None:
    assert house.sim is not None
    bulb = await house.device("SIM-BULB-RGB")
    for number in range(3):
        await house.sim.control({"op": "unplug", "seconds": 0.7})

        async def away() -> bool:
            return (await house.device("SIM-BULB-RGB"))["availability"] == "radio_away"

        await until_async(away, bool)
        house.send(bulb["managedThingId"], f"parked-{number}", "Toggle")
        await until(lambda number=number: house.outcomes(f"parked-{number}"), 20.0, "the parked command")
        assert house.outcomes(f"parked-{number}") == ["succeeded"]
        await house.online()
    assert house.process is not None
    assert house.process.poll() is None


async def test_expired_retained_and_hostile_messages_do_nothing_but_are_answered(house: House) -> None:
    bulb = (await house.device("SIM-BULB-RGB"))["managedThingId"]
    house.send(bulb, "late", "On", expiresAt="2020-01-01T00:00:00Z")
    house.send("no-such-thing", "stranger", "On")
    house.send(bulb, "nonsense", "Explode")
    for payload in (b"\xff", b"{}", b"[" * 100_000, b'{"version":1}'):
        house.mqtt.publish("south/hub-1/control", payload, 1)
        house.mqtt.publish("south/hub-1/setup", payload, 1)
    for trace in ("late", "stranger", "nonsense"):
        await until(lambda trace=trace: house.outcomes(trace) == ["failed"], what=f"the refusal of {trace}")

    async def counted() -> int:
        return (await house.ask("status"))["uplinks"]["main"]["counters"].get("malformed", 0)

    await until_async(counted, lambda count: count >= 8)
    house.send(bulb, "fine", "On")
    await until(lambda: house.outcomes("fine") == ["succeeded"])


@pytest.mark.parametrize("durability", ["default", "strict"])
async def test_an_orderly_stop_is_quick_and_says_offline(house: House) -> None:
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(5) == 0
    await until(lambda: house.told("HUB_STATUS")[-1]["payload"]["status"] == "offline")
    assert house.told("HUB_STATUS")[-1]["payload"]["reason"] == "stopped"


@pytest.mark.parametrize("durability", ["default", "strict"])
async def test_a_cloud_that_is_added_later_is_told_of_the_home(house: House) -> None:
    """Once: capabilities, lifecycle and state of every device, in its own topics."""
    assert house.process is not None
    devices = len(await house.ask("devices"))
    house.kill()
    text = house.config.read_text()
    main = text[text.index("[uplinks.main]") : text.index("[radios.zigbee]")]
    second = main.replace("uplinks.main", "uplinks.second") + 'client_id = "second"\ntopics.north = "north/second"\n'
    house.config.write_text(text + second)

    def told(kind: str) -> set[str]:
        found = [m for topic, m in house.topics if topic.startswith("north/second/") and m["messageType"] == kind]
        return {message["managedThingId"] for message in found}

    house.run()
    await house.online()
    for kind in ("CAPABILITY_REPORT", "DEVICE_LIFE_CYCLE", "DEVICE_STATE"):
        await until(lambda kind=kind: len(told(kind)) == devices, what=f"{kind} of every device")
    house.process.send_signal(signal.SIGTERM)
    house.process.wait(10)
    house.topics.clear()
    house.run()
    await house.online()
    await until(lambda: told("DEVICE_STATE"), what="state, as at every start")
    assert not told("CAPABILITY_REPORT")


async def test_a_backup_of_the_radio_is_for_its_owner_and_can_be_restored(house: House, tmp_path: Path) -> None:
    def agent(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent.cli", *words, "-c", str(house.config)]
        return forked.run(command, capture_output=True, text=True, timeout=60, check=False)

    loop, file = asyncio.get_running_loop(), tmp_path / "hub.backup"
    neither = await loop.run_in_executor(None, agent, "backup", str(file))
    assert (neither.returncode, file.exists()) == (64, False), "in clear only where somebody says so"
    taken = await loop.run_in_executor(None, agent, "backup", "--plain", str(file))
    assert taken.returncode == 0, taken.stderr
    assert "IN CLEAR" in taken.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    key = json.loads(file.read_text())["radios"]["zigbee"]["network"]["network_key"]["key"]
    assert key not in taken.stdout + taken.stderr + (tmp_path / "agent.log").read_text()
    whole_hub = await loop.run_in_executor(None, agent, "restore", str(file))
    assert (whole_hub.returncode, "the agent runs" in whole_hub.stderr) == (75, True), "what it holds is not replaced"
    restored = await loop.run_in_executor(None, agent, "restore", str(file), "--radios", "--json")
    assert (restored.returncode, json.loads(restored.stdout)) == (0, {"radios": ["zigbee"]}), restored.stderr
    await house.online()
    bulb = await house.device("SIM-BULB-RGB")
    house.send(bulb["managedThingId"], "after", "On")
    await until(lambda: house.outcomes("after") == ["succeeded"], 20.0, "a command after the restore")
    whole = json.loads(file.read_text())
    secret, other, sealed = tmp_path / "secret", tmp_path / "other", tmp_path / "hub.sealed"
    for path, text in ((secret, "correct horse battery"), (other, "wrong horse battery")):
        path.touch(mode=0o600)
        path.write_text(text + "\n")
    taken = await loop.run_in_executor(None, agent, "backup", str(sealed), "--passphrase-file", str(secret))
    assert taken.returncode == 0, taken.stderr
    assert key not in sealed.read_text()
    assert sealed.stat().st_mode & 0o777 == 0o600
    for words, more in (
        ("--passphrase-file", ()),
        ("another passphrase", ("--passphrase-file", str(other))),
    ):
        refused = await loop.run_in_executor(None, agent, "restore", "--radios", str(sealed), *more)
        assert refused.returncode == 64
        assert words in refused.stderr
    restored = await loop.run_in_executor(
        None, agent, "restore", "--radios", str(sealed), "--passphrase-file", str(secret)
    )
    assert restored.returncode == 0, restored.stderr
    for wrong, words in (
        ("{}", "is no backup of a hub"),
        ("[", "is no JSON"),
        (json.dumps({**whole, "version": 9}), "has version 9"),
        (json.dumps({**whole, "radios": {}, "kept": None}), "holds no networks"),
        (json.dumps({**whole, "radios": {"zigbee": {"network": {"a": 1}}}}), "not a network backup"),
        (json.dumps({**whole, "radios": {"other": {"network": {}}}}), "is away"),
    ):
        file.write_text(wrong)

        async def refused_again() -> str:
            refused = await loop.run_in_executor(None, agent, "restore", "--radios", str(file))
            assert refused.returncode in (64, 69), refused.stderr
            return " ".join(refused.stderr.split())

        await until_async(refused_again, lambda told, words=words: words in told)  # the radio comes back meanwhile
