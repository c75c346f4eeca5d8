"""The air: order, reports, and a jammed stick that is not the nodes' fault."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from zwave_peer import LEGACY, MODERN, Peer, callback, response, stick

from agent.driver import DriverLost
from drivers.zwave import functions
from drivers.zwave import transmit as transmits
from drivers.zwave.controller import Controller
from drivers.zwave.function_tables import TransmitStatus
from drivers.zwave.link import Link
from drivers.zwave.transmit import Air, StickJammed, Transmitter, Undelivered, Urgency

REPORT = {
    "ticks": 3, "repeater_count": 1, "ack_rssi": -71, "repeater_rssi": [-60, 127, 127, 127], "ack_channel": 0,
    "tx_channel": 0, "route_scheme": 1, "repeaters": b"\x07\0\0\0", "speed": 3, "attempts": 1,
}  # fmt: skip


@pytest.fixture
async def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    monkeypatch.setattr(transmits, "JAM_PAUSES", (0.0, 0.0))
    made = Peer(tmp_path / "stick")
    stick(made, LEGACY)
    yield made
    made.unplug()


@pytest.fixture
async def radio(peer: Peer) -> AsyncIterator[Transmitter]:
    link = Link(str(peer.link))
    await link.open()
    controller = Controller(link)
    radio = Transmitter(controller)

    def told(function: int, payload: bytes) -> None:
        radio.application_update(functions.decode_callback(function, payload, link.context))

    controller.listener = told
    await controller.start()
    yield radio
    link.close()


def sends(peer: Peer, *statuses: int, name: str = "SendData") -> None:
    """One status for each transmission, the last one for all others."""
    left = list(statuses)

    def say(payload: bytes) -> list[bytes]:
        status = left.pop(0) if len(left) > 1 else left[0]
        number = payload[-1]
        done = callback(name, peer.context, callback_id=number, status=status, tx_report=REPORT)
        return [response(name, peer.context, started=1), done]

    peer.on(name, say=say)


async def test_the_most_urgent_is_next() -> None:
    air, order = Air(), []

    async def use(urgency: Urgency) -> None:
        async with air.hold(urgency):
            order.append(urgency)

    async with air.hold(Urgency.NORMAL):
        users = [asyncio.create_task(use(u)) for u in (Urgency.BACKGROUND, Urgency.NONCE, Urgency.USER, Urgency.USER)]
        cancelled = asyncio.create_task(use(Urgency.NONCE))
        await asyncio.sleep(0)
        cancelled.cancel()
    await asyncio.gather(*users)
    assert order == [Urgency.NONCE, Urgency.USER, Urgency.USER, Urgency.BACKGROUND]
    async with asyncio.timeout(1), air.hold(Urgency.BACKGROUND):
        pass


async def test_who_is_cancelled_on_its_turn_hands_it_on() -> None:
    air = Air()
    holder = air.hold(Urgency.USER)
    await holder.__aenter__()
    first = asyncio.create_task(air._take(Urgency.USER))
    second = asyncio.create_task(air._take(Urgency.USER))
    await asyncio.sleep(0)
    await holder.__aexit__(None, None, None)
    first.cancel()
    async with asyncio.timeout(1):
        await second


async def test_a_transmission_returns_its_report(peer: Peer, radio: Transmitter) -> None:
    sends(peer, TransmitStatus.OK)
    sent = await radio.send(2, b"\x25\x02")
    assert (sent.seconds, sent.rssi, sent.repeaters, sent.attempts) == (0.03, -71, (7,), 1)


async def test_a_bridge_stick_sends_with_its_own_function(peer: Peer, radio: Transmitter) -> None:
    stick(peer, MODERN)
    await radio.controller.start()
    sends(peer, TransmitStatus.OK, name="BridgeSendData")
    await radio.send(261, b"\x25\x02")
    frame = next(frame for frame in peer.frames if frame.function == 0xA9)
    values = functions.decode_request(0xA9, frame.payload, peer.context)
    assert (values["source"], values["node"], values["options"]) == (1, 261, 1)


@pytest.mark.parametrize("status", [TransmitStatus.NO_ACK, TransmitStatus.NO_ROUTE])
async def test_a_node_that_is_away_is_the_nodes_affair(peer: Peer, radio: Transmitter, status: TransmitStatus) -> None:
    sends(peer, status)
    with pytest.raises(Undelivered) as away:
        await radio.send(2, b"\x25\x02")
    assert away.value.status == status
    assert not radio.jammed
    assert peer.count("SendData") == 1


async def test_a_jam_that_passes_costs_time_only(peer: Peer, radio: Transmitter) -> None:
    told: list[bool] = []
    radio.told = told.append
    sends(peer, TransmitStatus.FAIL, TransmitStatus.FAIL, TransmitStatus.OK)
    await radio.send(2, b"\x25\x02")
    assert told == [True, False]
    assert radio.recoveries == 0


async def test_a_jam_that_stays_restarts_the_stick(peer: Peer, radio: Transmitter) -> None:
    sends(peer, *[TransmitStatus.FAIL] * 3, TransmitStatus.OK)
    await radio.send(2, b"\x25\x02")
    assert (radio.recoveries, peer.count("SendDataAbort"), peer.count("SoftReset")) == (1, 1, 2)
    assert not radio.jammed


async def test_a_stick_that_must_not_be_restarted_is_not_and_the_jam_is_said(peer: Peer, radio: Transmitter) -> None:
    radio.controller._may_reset = False
    before = peer.count("SoftReset")
    sends(peer, TransmitStatus.FAIL)
    with pytest.raises(StickJammed):
        await radio.send(2, b"\x25\x02")
    assert (peer.count("SendDataAbort"), peer.count("SoftReset")) == (1, before)


async def test_a_jam_that_outlives_a_restart_is_no_nodes_fault(peer: Peer, radio: Transmitter) -> None:
    sends(peer, TransmitStatus.FAIL)
    with pytest.raises(StickJammed):
        await radio.send(2, b"\x25\x02")
    assert radio.jammed


async def test_a_stick_that_hangs_for_good_is_lost(
    peer: Peer, radio: Transmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.zwave.session.ACK_TIMEOUT", 0.01)
    monkeypatch.setattr("drivers.zwave.session.BACKOFF_STEP", 0.01)
    peer.mute = True
    with pytest.raises(DriverLost):
        await radio.send(2, b"\x25\x02")
    assert radio.controller.link.lost.done()


async def test_node_information_is_awaited_or_refused(peer: Peer, radio: Transmitter) -> None:
    info = {"node": 2, "basic": 4, "generic": 16, "specific": 1, "command_classes": b"\x25"}
    asked = response("RequestNodeInfo", started=1)
    peer.on("RequestNodeInfo", asked, callback("ApplicationUpdate", status=0x84, **info))
    assert (await radio.node_info(2))["command_classes"] == b"\x25"
    peer.on("RequestNodeInfo", asked, callback("ApplicationUpdate", status=0x81))
    with pytest.raises(Undelivered):
        await radio.node_info(2)
    peer.on("RequestNodeInfo", response("RequestNodeInfo", started=0))
    with pytest.raises(Undelivered):
        await radio.node_info(2)
    sends(peer, TransmitStatus.OK)
    await radio.send(2, b"\x25\x02")
