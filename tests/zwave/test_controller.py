"""The start of a stick: three generations by their list of functions, and sticks that are not what they should be."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from zwave_peer import HOME, LEGACY, MODERN, STARTED, TINY, Peer, callback, response, stick

from agent.driver import DriverLost
from drivers.zwave import controller as controllers
from drivers.zwave.controller import Controller
from drivers.zwave.function_tables import Region
from drivers.zwave.link import Link


@pytest.fixture
async def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    monkeypatch.setattr("drivers.zwave.session.BACKOFF_STEP", 0.01)
    made = Peer(tmp_path / "stick")
    yield made
    made.unplug()


@pytest.fixture
async def link(peer: Peer) -> AsyncIterator[Link]:
    made = Link(str(peer.link))
    await made.open()
    yield made
    made.close()


async def test_the_smallest_stick_starts(peer: Peer, link: Link) -> None:
    stick(peer, TINY)
    facts = await Controller(link).start()
    assert peer.raw[0] == 0x15
    assert (facts.home_id, facts.node, facts.nodes) == (0xC0FFEE01, 1, (1, 2))
    assert (facts.identity, facts.bridge, facts.long_range) == ("C0FFEE01", False, False)
    asked = {frame.function for frame in peer.frames}
    assert asked == {0x07, 0x15, 0x02, 0x05, 0x20}


async def test_a_500_series_stick_starts_with_timeouts_and_a_reset(peer: Peer, link: Link) -> None:
    stick(peer, LEGACY)
    controller = Controller(link)
    facts = await controller.start()
    assert (facts.suc_node, facts.restart_reason) == (1, 7)
    assert peer.count("SetTimeouts") == 1
    assert await controller.background_rssi() == [-90, None, -100]


async def test_an_800_series_stick_has_wide_node_ids_and_long_range(peer: Peer, link: Link) -> None:
    stick(peer, MODERN)
    facts = await Controller(link, power=12.5).start()
    assert link.context.wide
    assert facts.long_range_nodes == (256, 261)
    assert (facts.bridge, facts.long_range, facts.max_payload, facts.long_range_payload) == (True, True, 46, 148)
    assert (facts.region, facts.power, facts.firmware) == (0, 12.5, (7, 23, 2))
    assert peer.count("SetTimeouts") == 0


async def test_another_region_is_taken_up_by_a_reset(peer: Peer, link: Link) -> None:
    stick(peer, MODERN)
    facts = await Controller(link, region=Region.USA).start()
    assert facts.region == Region.USA
    assert peer.count("SoftReset") == 2
    assert link.context.wide


async def test_a_stick_without_a_sis_becomes_one(peer: Peer, link: Link) -> None:
    stick(peer, LEGACY)
    peer.answers("GetSUCNodeId", node=0)
    peer.answers("SetSUCNodeId", started=1)
    assert (await Controller(link).start()).suc_node == 1


async def test_a_stick_that_says_nothing_after_a_reset_is_taken_for_restarted(
    peer: Peer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controllers, "RESET_TIMEOUT", 0.01)
    stick(peer, LEGACY)
    peer.on("SoftReset")
    assert (await Controller(link).start()).restart_reason is None


async def test_a_stick_that_enumerates_again_is_opened_again(peer: Peer, link: Link) -> None:
    stick(peer, MODERN)
    starting = asyncio.create_task(Controller(link).start())
    peer.on("SoftReset", say=lambda _: [])
    await peer.until(lambda: peer.count("SoftReset"))
    peer.unplug()
    peer.plug()
    assert (await starting).home_id == int.from_bytes(HOME, "big")


async def test_the_boot_loader_is_left(peer: Peer, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.zwave.session.ACK_TIMEOUT", 0.01)
    stick(peer, TINY)
    peer.mute = True
    peer.send(b"\r\nGecko Bootloader v2.04.02\r\n1. upload gbl\r\n2. run\r\n3. ebl info\r\nBL > ")
    starting = asyncio.create_task(Controller(link).start())
    await peer.until(lambda: peer.raw.endswith(b"2"))
    peer.mute = False
    peer.send(callback("Started", **STARTED))
    assert (await starting).node == 1


@pytest.mark.parametrize(
    ("text", "words"), [(b"Gecko Bootloader v2\r\n", "boot loader"), (b"\x15\x15\x15", "end device"), (b"", "nothing")]
)
async def test_what_is_no_controller_is_said(
    peer: Peer, link: Link, monkeypatch: pytest.MonkeyPatch, text: bytes, words: str
) -> None:
    monkeypatch.setattr("drivers.zwave.session.ACK_TIMEOUT", 0.01)
    monkeypatch.setattr("drivers.zwave.session.BACKOFF_STEP", 0.01)
    monkeypatch.setattr(controllers, "BOOT_TIMEOUT", 0.01)
    peer.mute = True
    peer.send(text)
    starting = asyncio.create_task(Controller(link).start())
    if b"Boot" in text:
        await peer.until(lambda: peer.raw.count(b"2"))
        peer.send(text)
    with pytest.raises(DriverLost, match=words) as lost:
        await starting
    assert lost.value.remedy


async def test_a_restart_out_of_the_blue_is_told_and_node_ids_are_short_again(peer: Peer, link: Link) -> None:
    stick(peer, MODERN)
    controller = Controller(link)
    await controller.start()
    told = asyncio.Event()
    controller.restarted = told.set
    peer.context = controllers.NARROW
    peer.send(callback("Started", **STARTED))
    await asyncio.wait_for(told.wait(), 5)
    assert not link.context.wide
    await controller.configure()
    assert link.context.wide


async def test_a_stick_that_starts_late_is_configured_again(peer: Peer, link: Link) -> None:
    stick(peer, MODERN)
    started = [callback("Started", **STARTED)]

    def asked(_: bytes) -> list[bytes]:
        said = [response("GetInitData", api_version=8, nodes=[1, 2], chip_type=8, chip_version=0), *started]
        if started:
            peer.context = controllers.NARROW
            started.clear()
        return said

    peer.on("GetInitData", say=asked)
    await Controller(link).start()
    assert link.context.wide
    assert peer.count("GetInitData") == 2


async def test_a_lost_ack_and_a_damaged_answer_cost_nothing_but_time(peer: Peer, link: Link) -> None:
    stick(peer, LEGACY)
    peer.signals.extend([b"\x15", b"\x06", b"\x18", b"\x86", b"\x06", b"\x15"])
    assert (await Controller(link).start()).node == 1
