"""The whole driver on a bad line, on bad air, and under 10,000 frames that mean nothing."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from zwave_peer import LEGACY, Peer, callback, response, stick

from agent.clock import SystemClock
from agent.driver import DriverContext, DriverLost
from agent.model import DeviceFound
from agent.secret_store import FileSecrets
from drivers.zwave import functions
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.frame import Data, Type, encode
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.driver_contract import command, joined, running
from tests.conformance.zwave_sim_rig import SimRig, hasten

TIMES = {  # what a fault costs is waiting
    "drivers.zwave.session.ACK_TIMEOUT": 0.3,
    "drivers.zwave.session.BACKOFF_STEP": 0.05,
    "drivers.zwave.messages.ANSWER_TIMEOUT": 0.5,
    "drivers.zwave.messages.SUPERVISION_TIMEOUT": 0.5,
}


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    for name, seconds in TIMES.items():
        monkeypatch.setattr(name, seconds)
    sending = replace(functions.BY_NAME["BridgeSendData"], response_timeout=0.5)
    monkeypatch.setitem(functions.BY_ID, sending.id, sending)
    monkeypatch.setitem(functions.BY_NAME, sending.name, sending)
    rig = SimRig(tmp_path, "800")
    await rig.start()
    yield rig
    await rig.close()


@pytest.mark.parametrize("kind", ["nak", "can", "deaf", "silent", "busy"])
async def test_a_storm_costs_no_command(rig: SimRig, kind: str) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        rig.simulation.fault(kind, 1 if kind in ("deaf", "silent") else 3, 0.0)
        assert (await watched.driver.execute(command(rig, rig.good, ttl=40))).succeeded


@pytest.mark.parametrize("kind", ["nak", "can", "deaf", "no_ack", "busy"])
async def test_a_storm_costs_no_interview(rig: SimRig, kind: str) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        rig.simulation.fault(kind, 2, 0.0)
        before = len(watched.events)
        await watched.driver.interview(rig.key)
        assert await watched.wait(DeviceFound, after=before)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_bad_air_costs_no_interview(rig: SimRig, seed: int) -> None:
    print(f"seed {seed}")
    rig.simulation.stick.network.rng.seed(seed)
    async with running(rig.driver()) as watched:
        clean = await joined(rig, watched)
        await rig.control("air", lost=0.05)
        before = len(watched.events)
        await watched.driver.interview(rig.key)
        again = await watched.wait(DeviceFound, after=before)
        assert again.device == clean.device


async def test_frames_that_mean_nothing_cost_nothing_but_counters(tmp_path: Path) -> None:
    peer = Peer(tmp_path / "stick")
    stick(peer, (*LEGACY, "GetNodeProtocolInfo"), nodes=(1, 2))
    peer.answers("GetNodeProtocolInfo", listening=1, protocol_version=3, basic=4, generic=16, specific=1)
    peer.on("RequestNodeInfo", response("RequestNodeInfo", started=0))
    peer.on("SendData", say=unacknowledged)
    settings = ZwaveSettings.model_validate({"port": str(peer.link)})
    context = DriverContext("zwave", settings, tmp_path / "state", SystemClock(), FileSecrets(tmp_path / "secrets"))
    rng = random.Random(5)
    async with running(ZwaveDriver(context)) as watched:
        for _ in range(200):
            wanted = peer.raw.count(6) + 50
            peer.send(*(nonsense(rng) for _ in range(50)))
            await peer.until(lambda wanted=wanted: peer.raw.count(6) >= wanted)
        peer.unplug()
        with pytest.raises(DriverLost):
            await watched.task


def unacknowledged(payload: bytes) -> list[bytes]:
    return [response("SendData", started=1), callback("SendData", callback_id=payload[-1], status=1)]


def nonsense(rng: random.Random) -> bytes:
    """A whole frame: anything, or a command of the stick, of a node, or of one that nobody knows."""
    body = rng.randbytes(rng.randrange(30))
    if rng.random() < 0.5:
        classes = (0x98, 0x9F, 0x55, 0x56, 0x60, 0x6C, 0x8F, 0x84, 0x5A, 0x25)
        inner = bytes((rng.choice(classes),)) + body
        return encode(Data(Type.REQUEST, 0x04, bytes((rng.randrange(256), rng.randrange(1, 4), len(inner))) + inner))
    return encode(Data(Type.REQUEST, rng.choice((0x04, 0x49, 0x13, 0x4A, 0xA8, 0x0B, rng.randrange(256))), body))
