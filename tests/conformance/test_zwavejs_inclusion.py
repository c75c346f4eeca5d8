"""Joining, with keys and without, on the mock server of zwave-js: its nodes do their end of S2 and S0."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.model import DeviceFound, DeviceJoining, DeviceLost, Discovery, JoinWindow
from drivers.zwave.nodes import NodeBook
from drivers.zwave.security import dsk
from tests.conformance.driver_contract import Watched, command, running
from tests.conformance.zwave_mock import Mock, mock_server
from tests.conformance.zwave_rig import ZwaveRig

pytestmark = pytest.mark.conformance

LOCK = {
    "classes": [["Door Lock", 4, {"secure": True}], ["Supervision", 1, {}], ["Security 2", 1, {}], ["Binary Switch", 2, {"secure": True}]],
    "security": ["S2_AccessControl", "S2_Authenticated", "S2_Unauthenticated"],
    "isListening": False,
    "isFrequentListening": "1000ms",
}  # fmt: skip
OLD = {"classes": [["Security", 1, {}], ["Binary Switch", 1, {"secure": True}]], "security": ["S0_Legacy"]}
PLAIN = {"classes": [["Binary Switch", 1, {}]], "security": None}


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    async with mock_server() as made:
        yield made


async def join(rig: ZwaveRig, watched: Watched, device: dict[str, Any], material: str = "") -> None:
    await watched.driver.discover(Discovery("d1", "ZWAVE", 60, material))
    await rig.join(**device)


def record(rig: ZwaveRig) -> Any:
    book = NodeBook(rig.state_dir / "nodes", 0xC0FFEE01)
    book.load()
    return book.nodes[7]


async def with_label(rig: ZwaveRig, watched: Watched, wrong: int = 0) -> DeviceJoining | DeviceFound:
    """Join the lock with the DSK of its label, which the mock makes up as it is created."""
    await rig.mock("keypair", hex="42" * 32)
    key = bytearray.fromhex(await rig.mock("dsk"))
    key[0] ^= wrong
    await join(rig, watched, LOCK, dsk.to_text(bytes(key)))
    if wrong:
        return await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
    return await watched.wait(DeviceFound, timeout=60)


async def test_a_lock_joins_with_its_label_and_gets_every_class(tmp_path: Path, mock: Mock) -> None:
    rig = ZwaveRig(tmp_path, mock)
    async with running(rig.driver()) as watched:
        found = await with_label(rig, watched)
        assert isinstance(found, DeviceFound)
        assert found.device.secure
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded
    kept = record(rig)
    assert kept.security == ["S2_ACCESS_CONTROL", "S2_AUTHENTICATED", "S2_UNAUTHENTICATED"]
    assert kept.dsk == await mock("label")
    assert 0x62 in kept.root.secure


async def test_a_label_of_another_device_lets_nobody_in(tmp_path: Path, mock: Mock) -> None:
    rig = ZwaveRig(tmp_path, mock)
    async with running(rig.driver()) as watched:
        failed = await with_label(rig, watched, wrong=1)
        assert isinstance(failed, DeviceJoining)
        assert not [e for e in watched.events if isinstance(e, DeviceFound)]
        assert "PIN" in failed.detail or "DSK" in failed.detail
        assert (await watched.wait(DeviceLost)).reason == "taken off the network again"


async def test_without_its_label_a_lock_gets_what_needs_none(tmp_path: Path, mock: Mock) -> None:
    rig = ZwaveRig(tmp_path, mock)
    async with running(rig.driver()) as watched:
        await join(rig, watched, {**LOCK, "security": ["S2_Unauthenticated"]})
        await watched.wait(DeviceFound, timeout=60)
    assert record(rig).security == ["S2_UNAUTHENTICATED"]


async def test_a_lock_that_wants_more_than_it_may_have_is_told_so(tmp_path: Path, mock: Mock) -> None:
    rig = ZwaveRig(tmp_path, mock)
    async with running(rig.driver()) as watched:
        await join(rig, watched, {**LOCK, "security": ["S2_AccessControl"]})
        failed = await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
        assert "PIN" in failed.detail
    async with running(rig.driver()) as watched:
        assert not [e for e in watched.events if isinstance(e, DeviceFound)]


@pytest.mark.parametrize(("policy", "device", "granted"), [("s0", OLD, ["S0"]), ("none", PLAIN, [])])
async def test_policy_lets_less_in(
    tmp_path: Path, mock: Mock, policy: str, device: dict[str, Any], granted: list[str]
) -> None:
    rig = ZwaveRig(tmp_path, mock, security=policy)
    async with running(rig.driver()) as watched:
        await join(rig, watched, device)
        found = await watched.wait(DeviceFound, timeout=60)
        assert not found.device.secure
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded
    assert record(rig).security == granted


@pytest.mark.parametrize(("policy", "device"), [("s2", OLD), ("s2", PLAIN), ("s0", PLAIN)])
async def test_policy_keeps_less_out(tmp_path: Path, mock: Mock, policy: str, device: dict[str, Any]) -> None:
    rig = ZwaveRig(tmp_path, mock, security=policy)
    async with running(rig.driver()) as watched:
        await join(rig, watched, device)
        failed = await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
        assert "policy" in failed.detail
        await watched.wait(DeviceLost)
        assert await mock("nodes") == []


async def test_several_devices_join_in_one_window(tmp_path: Path, mock: Mock) -> None:
    rig = ZwaveRig(tmp_path, mock, security="none")
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
        for number in (7, 8, 9):
            await mock("pending", id=number, classes=[["Binary Switch", 1, {}]], txDelay=1)
            await watched.wait(DeviceFound, lambda e, key=str(number): e.device.id.key == key, timeout=60)
        await watched.driver.stop_discovery()
        assert [e.seconds for e in watched.events if isinstance(e, JoinWindow)] == [0, 60, 0]
