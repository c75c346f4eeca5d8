"""Offboarding by the cloud and `agent factory-reset`, with the stand-in cloud, a simulated stick, and a real `agent run`."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import forked
import pytest
from botocore.exceptions import ClientError
from conftest import until, until_async
from iotmi_rig import Machine
from standin_rig import Cloud

from agent.client import Client
from agent.errors import HubError
from agent.identity.remains import fingerprint
from drivers.sim.zigbee.server import Simulation, start

NOT_PROVISIONED = "NOT_PROVISIONED"
HOME: dict[str, Any] = {"kind": "zigbee", "stick": "ezsp", "ieee": "00:12:4b:00:00:00:ff:01", "devices": []}
RADIO = '[radios.zigbee]\nkind = "zigbee"\nport = "{folder}/stick"\nradio = "ezsp"\n'


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where a test is about root, a folder that other users reach: every start of pytest closes its own to them."""
    if not request.node.name.startswith("test_root"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
async def machine(cloud: Cloud, claims: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    made = Machine(cloud, claims, tmp_path, f"HUB-{abs(hash(request.node.name)) % 10**9:09}")
    made.told("identity", "import", str(made.file))
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
async def stick(machine: Machine) -> AsyncIterator[Simulation]:
    """A simulated stick, which the hub is configured for."""
    with machine.config.open("a") as config:
        config.write(RADIO.format(folder=machine.folder))
    made = await start("zigbee", HOME, link=machine.folder / "stick", state=None, faults="", seed=1)
    yield made
    await made.close()


async def network(stick: Simulation) -> dict[str, Any]:
    told: dict[str, Any] = (await stick.control({"op": "network"}))["network"]
    return told


async def radio_is_up(machine: Machine) -> None:
    async def status() -> str:
        try:
            told = await asyncio.to_thread(Client(machine.folder / "run").get, "status")
        except HubError as error:
            return str(error)
        return str(told["radios"]["zigbee"]["status"])

    await until_async(status, lambda told: told == "online", 40.0)


def kept(machine: Machine, ro: dict[str, Any]) -> None:
    """The operator's files are as they were, and rw says that there is no hub."""
    assert {**machine.whole, "rw": 0} == {**ro, "rw": 0}
    rw = machine.rw
    assert rw.pop("metadata")["last_updated_epoch_time"] > 1.7e9
    assert rw == {"iot_provisioning_state": NOT_PROVISIONED}
    for path in (machine.config, machine.drop_in, machine.claims / "claim.pem", machine.claims / "claim.key"):
        assert path.exists()
    assert sorted(path.name for path in machine.state.iterdir()) == ["offboarded.json"]


async def test_a_hub_that_its_cloud_deletes_can_be_provisioned_again(machine: Machine) -> None:
    before = machine.whole
    machine.run()
    await machine.online()
    assert machine.rw["managed_thing_id"] == machine.thing

    def activated() -> bool:
        return bool(machine.cloud.api.get_managed_thing(Identifier=machine.thing)["ProvisioningStatus"] == "ACTIVATED")

    await until(activated, 20.0)
    machine.cloud.api.delete_managed_thing(Identifier=machine.thing)
    assert await machine.ended() == 75
    kept(machine, before)
    with pytest.raises(ClientError, match="not found"):
        machine.cloud.api.get_managed_thing(Identifier=machine.thing)
    thing = machine.cloud.hub(machine.serial)
    machine.run()
    status = await machine.online()
    assert status["hub"] == machine.rw["managed_thing_id"] == thing != machine.thing


async def test_a_reset_by_the_daemon_leaves_the_network_and_proves_that_no_key_is_left(
    machine: Machine, stick: Simulation
) -> None:
    before = machine.whole
    machine.run()
    await machine.online()
    await radio_is_up(machine)
    shown, old = machine.told("identity", "show"), await network(stick)
    told = await asyncio.to_thread(machine.told, "factory-reset", "--yes")
    key = {"name": "hub-a", "public_key_sha256": fingerprint(shown["public_key"])}
    assert told["keys_destroyed"] == [key]
    assert (told["private_keys_left"], told["left"], told["kept"]) == (0, [], [])
    assert (told["radios_at_next_start"], told["radios_kept"]) == ([], [])
    assert await machine.ended() == 75
    kept(machine, before)
    assert "offboarded" not in machine.log, "the cloud is told nothing"
    machine.run()
    await radio_is_up(machine)
    new = await network(stick)
    assert new["extendedPanId"] != old["extendedPanId"]
    assert new["key"] != old["key"]


async def test_a_reset_without_the_daemon_has_the_radios_left_at_the_next_start(
    machine: Machine, stick: Simulation
) -> None:
    before = machine.whole
    machine.run()
    await machine.online()
    await radio_is_up(machine)
    old = await network(stick)
    machine.stop(signal.SIGKILL)
    done = await asyncio.to_thread(machine.agent, "factory-reset", "--yes")
    assert done.returncode == 0, done.stderr
    assert "0 private keys left" in done.stdout
    assert "radio zigbee keeps its network until the agent starts" in done.stdout
    kept(machine, before)
    assert await network(stick) == old
    machine.run()
    assert await machine.ended() == 75, "the radio has left its network"
    kept(machine, before)
    assert "provisioned" not in machine.log.split("factory reset")[1], "nothing begins before the end of the reset"
    machine.run()
    await radio_is_up(machine)
    assert (await network(stick))["key"] != old["key"]
    proof = json.loads((machine.state / "offboarded.json").read_bytes())["proof"]
    assert [key["name"] for key in proof["keys_destroyed"]] == ["hub-a"], "it is known still what was destroyed"


async def test_a_daemon_that_is_killed_right_after_its_word_keeps_it(machine: Machine, stick: Simulation) -> None:
    before = machine.whole
    machine.run()
    await machine.online()
    await radio_is_up(machine)
    old = await network(stick)

    def order_and_kill() -> dict[str, Any]:
        with closing(Client(machine.folder / "run").stream("factory-reset", {})) as lines:
            line = next(lines)
        machine.stop(signal.SIGKILL)
        return line

    assert (await asyncio.to_thread(order_and_kill))["what"] == "resetting"
    machine.run()
    assert await machine.ended() == 75
    kept(machine, before)
    machine.run()
    await radio_is_up(machine)
    assert (await network(stick))["key"] != old["key"]


async def test_a_daemon_that_is_killed_in_a_reset_finishes_it_when_it_starts(machine: Machine) -> None:
    before = machine.whole
    machine.run()
    await machine.online()
    machine.stop(signal.SIGKILL)
    mark = {"at": "2026-11-27T10:00:00.000Z", "credentials": [], "wiped": False, "radios": ["zigbee"]}
    (machine.state / "offboarded.json").write_text(json.dumps(mark))  # what a daemon writes first
    machine.cloud.api.delete_managed_thing(Identifier=machine.thing, Force=True)
    thing = machine.cloud.hub(machine.serial)
    machine.run()
    status = await machine.online()
    assert status["hub"] == thing, "a radio that is configured no more is not waited for"
    assert machine.rw["managed_thing_id"] == thing
    assert machine.whole["ro"] == before["ro"]


# ---- who may, and how it is asked -----------------------------------------------------------------------------------


def test_without_a_terminal_and_without_yes_nothing_happens(machine: Machine) -> None:
    machine.state.mkdir()
    (machine.state / "hub.db").write_text("a home")
    done = machine.agent("factory-reset")
    assert done.returncode == 64
    assert "--yes" in done.stderr
    assert [path.name for path in machine.state.iterdir()] == ["hub.db"]


@pytest.mark.parametrize(("answer", "code"), [("no", 64), ("", 64), ("yes", 0), ("Yes", 0)])
def test_on_a_terminal_a_person_is_asked(machine: Machine, answer: str, code: int) -> None:
    machine.state.mkdir()
    (machine.state / "hub.db").write_text("a home")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "agent.cli", "factory-reset", "--json", "-c", str(machine.config)]
    with forked.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert str(machine.state) in err, "what is deleted is said before"
    assert (machine.state / "hub.db").exists() is (code != 0)
    assert (json.loads(out)["keys_destroyed"] == []) if code == 0 else not out


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
def test_root_resets_for_the_user_of_the_hub(machine: Machine) -> None:
    machine.state.mkdir(mode=0o700)
    (machine.state / "hub.db").write_text("a home")
    machine.give_to(12345)
    machine.told("factory-reset", "--yes")
    assert [(path.name, path.stat().st_uid) for path in machine.state.iterdir()] == [("offboarded.json", 12345)]


async def test_the_copy_that_another_program_had_goes_too_or_is_told(machine: Machine) -> None:
    await machine.as_the_sdk_does()
    machine.told("identity", "import", str(machine.file))
    copy = machine.aws / "iot_pk.pem"
    public = machine.told("identity", "show")["public_key"]
    copy.rename(machine.aws / "moved")
    copy.mkdir()  # what cannot be read cannot be deleted
    (copy / "x").touch()
    done = machine.agent("factory-reset", "--yes", "--json")
    assert done.returncode == 69
    assert [left["where"] for left in json.loads(done.stdout)["left"]] == [str(copy)]
    (copy / "x").unlink()
    copy.rmdir()
    (machine.aws / "moved").rename(copy)
    told = machine.told("factory-reset", "--yes")
    assert (told["copies_gone"], told["private_keys_left"]) == ([str(copy)], 0)
    assert told["keys_destroyed"] == [{"name": "hub-a", "public_key_sha256": fingerprint(public)}]
    assert not copy.exists()
    assert (machine.aws / "iot_cert.pem").exists(), "it is no secret"
    assert (machine.claims / "claim.key").exists()


async def test_another_key_in_the_place_of_the_copy_is_left_alone(machine: Machine) -> None:
    await machine.as_the_sdk_does()
    machine.told("identity", "import", str(machine.file))
    (machine.aws / "iot_pk.pem").write_bytes((machine.claims / "claim.key").read_bytes())
    told = machine.told("factory-reset", "--yes")
    assert (told["copies_gone"], told["private_keys_left"]) == ([], 0)
    assert (machine.aws / "iot_pk.pem").exists()


def test_a_canary_that_cannot_be_deleted_is_told_and_ends_with_an_error(machine: Machine) -> None:
    """In the runtime folder, which a reset does not delete."""
    runtime = machine.folder / "run"
    runtime.mkdir()
    (runtime / "canary").write_bytes((machine.claims / "claim.key").read_bytes())
    done = machine.agent("factory-reset", "--yes", "--json")
    assert done.returncode == 69
    told = json.loads(done.stdout)
    assert told["private_keys_left"] == 1
    assert told["left"][0]["where"] == str(runtime / "canary")
    assert "private keys are left" in done.stderr
