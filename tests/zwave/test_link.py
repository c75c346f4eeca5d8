"""The link on a pty: what a chip that misbehaves does to a call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from zwave_peer import Peer, callback, response

from agent.driver import DriverLost
from drivers.zwave import link as links
from drivers.zwave.frame import Signal, encode
from drivers.zwave.link import CallAborted, Link, StickRefused, StickSilent
from drivers.zwave.session import Outcome

NAK, CAN = encode(Signal.NAK), encode(Signal.CAN)


@pytest.fixture
async def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    monkeypatch.setattr("drivers.zwave.session.BACKOFF_STEP", 0.01)
    made = Peer(tmp_path / "stick")
    made.answers("GetVersion", version="Z-Wave 7.23", library=1)
    yield made
    made.unplug()


@pytest.fixture
async def link(peer: Peer) -> AsyncIterator[Link]:
    made = Link(str(peer.link))
    await made.open()
    yield made
    made.close()


def sends(peer: Peer, *statuses: int) -> None:
    """SendData ends with these callbacks' statuses."""

    def say(payload: bytes) -> list[bytes]:
        return [
            response("SendData", started=1),
            *(callback("SendData", callback_id=payload[-1], status=status) for status in statuses),
        ]

    peer.on("SendData", say=say)


async def test_a_call_returns_response_and_callback(peer: Peer, link: Link) -> None:
    assert (await link.call("GetVersion")).response == {"version": "Z-Wave 7.23", "library": 1}
    sends(peer, 0)
    answer = await link.call("SendData", node=2, payload=b"\x20\x02", options=1)
    assert (answer.response, answer.callback["status"]) == ({"started": 1}, 0)


async def test_calls_wait_for_each_other(peer: Peer, link: Link) -> None:
    sends(peer, 0)
    answers = await asyncio.gather(*(link.call("SendData", node=n, payload=b"\0", options=1) for n in range(2, 22)))
    assert len(answers) == peer.count("SendData") == 20
    assert len({frame.payload[-1] for frame in peer.frames}) == 20


async def test_progress_is_told_before_the_end(peer: Peer, link: Link) -> None:
    told: list[Any] = []
    add = [
        lambda p: callback("AddNode", callback_id=p[1], status=1),
        lambda p: callback("AddNode", callback_id=p[1], status=5),
    ]
    peer.on("AddNode", say=lambda p: [step(p) for step in add])
    answer = await link.call("AddNode", mode=1, network_wide=1, progress=lambda values: told.append(values["status"]))
    assert (told, answer.callback["status"]) == ([1], 5)


@pytest.mark.parametrize("storm", [[NAK], [CAN, CAN], [NAK, CAN], [b"\x99"], [NAK + NAK + CAN + CAN]])
async def test_a_storm_costs_retransmissions_not_the_call(peer: Peer, link: Link, storm: list[bytes]) -> None:
    peer.signals.extend(storm)
    assert (await link.call("GetVersion")).response["library"] == 1
    assert len(peer.frames) == len(storm) + 1


async def test_a_damaged_answer_is_asked_for_again(peer: Peer, link: Link) -> None:
    whole = response("GetVersion", version="Z-Wave 7.23", library=1)
    damaged = whole[:-1] + bytes((whole[-1] ^ 1,))
    peer.on("GetVersion", damaged)
    call = asyncio.create_task(link.call("GetVersion"))
    await peer.until(lambda: NAK in peer.raw)
    peer.send(whole)
    assert (await call).response["library"] == 1
    assert link.figures()["bad_checksum"] == 1


async def test_a_refusal_is_said(peer: Peer, link: Link) -> None:
    peer.on("SendData", response("SendData", started=0))
    with pytest.raises(StickRefused) as refused:
        await link.call("SendData", node=2, payload=b"\0", options=1)
    assert refused.value.response == b"\0"


async def test_endless_naks_end_the_call_as_silence(peer: Peer, link: Link) -> None:
    peer.signals.extend([NAK] * 4)
    with pytest.raises(StickSilent) as silent:
        await link.call("GetVersion")
    assert silent.value.outcome is Outcome.NO_ACK
    assert link.figures()["naks"] == 4
    assert (await link.call("GetVersion")).response["library"] == 1


async def test_a_cancelled_transmission_is_aborted_on_the_stick(peer: Peer, link: Link) -> None:
    sends(peer)
    call = asyncio.create_task(link.call("SendData", node=2, payload=b"\0", options=1))
    await peer.until(lambda: peer.frames)
    await asyncio.sleep(0)  # the response is on its way
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await peer.until(lambda: peer.count("SendDataAbort"))


async def test_an_unplugged_stick_ends_every_call_at_once(peer: Peer, link: Link) -> None:
    peer.mute = True
    calls = [asyncio.create_task(link.call("GetVersion")) for _ in range(3)]
    await peer.until(lambda: peer.frames)
    peer.unplug()
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(ended, DriverLost)
    assert str(peer.link) in await link.lost
    with pytest.raises(DriverLost):
        await link.call("GetVersion")


async def test_a_stick_may_go_away_with_a_reset_and_come_back(peer: Peer, link: Link) -> None:
    link.expect_reset()
    peer.mute = True
    call = asyncio.create_task(link.call("GetVersion"))
    await peer.until(lambda: peer.frames)
    peer.unplug()
    with pytest.raises(CallAborted):
        await call
    assert link.went_away
    peer.plug()
    peer.mute = False
    await link.reopen(5)
    assert (await link.call("GetVersion")).response["library"] == 1


async def test_a_stick_that_stays_away_after_a_reset_is_lost(
    peer: Peer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "REOPEN_PAUSE", 0.01)
    link.expect_reset()
    peer.unplug()
    while not link.went_away:
        with suppress(CallAborted, StickSilent):
            await link.call("GetVersion")
    with pytest.raises(DriverLost):
        await link.reopen(0.05)
    assert link.lost.done()


async def test_what_nobody_waits_for_goes_to_the_listener(peer: Peer, link: Link) -> None:
    heard: list[tuple[int, bytes]] = []
    link.listen(lambda function, payload: heard.append((function, payload)))
    peer.send(b"garbage", callback("ApplicationCommand", source=2, payload=b"\x25\x03\xff"))
    await link.call("GetVersion")
    assert heard == [(4, b"\0\x02\x03\x25\x03\xff")]
    assert link.figures()["bad_garbage"] == 7
    assert link.heard.startswith(b"garbage")


async def test_a_bug_in_a_listener_is_the_end(peer: Peer, link: Link) -> None:
    def broken(_function: int, _payload: bytes) -> None:
        raise ZeroDivisionError

    link.listen(broken)
    peer.send(callback("ApplicationCommand", source=2, payload=b"\x25\x03\xff"))
    with pytest.raises(ZeroDivisionError):
        await link.lost
    with pytest.raises(DriverLost):
        await link.call("GetVersion")


async def test_calls_that_a_restart_of_the_stick_overtakes_end_at_once(peer: Peer, link: Link) -> None:
    sends(peer)
    call = asyncio.create_task(link.call("SendData", node=2, payload=b"\0", options=1))
    await peer.until(lambda: peer.frames)
    link.drop_calls()
    with pytest.raises(CallAborted):
        await call
    assert (await link.call("GetVersion")).response["library"] == 1
