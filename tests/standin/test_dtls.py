"""The DTLS door with OpenSSL's client."""

import asyncio
import socket
from pathlib import Path

import pytest
from nrf_rig import CoapDevice

from agent.coap.dtls import datagrams
from agent.sim.authority import Authority
from agent.sim.dtls import DtlsDoor, Session


def record(size: int) -> bytes:
    return bytes([22, 254, 253]) + bytes(8) + size.to_bytes(2, "big") + bytes(size)


def test_records_are_put_into_datagrams_that_networks_carry() -> None:
    stream = record(700) + record(500) + record(100) + record(1219)
    assert list(datagrams(stream)) == [record(700) + record(500), record(100), record(1219)]
    assert list(datagrams(b"")) == []


@pytest.mark.parametrize(("limit", "idle", "left"), [(2, 60.0, 2), (10, 0.3, 0)])
async def test_sessions_are_bounded_in_number_and_in_idleness(
    tmp_path: Path, limit: int, idle: float, left: int
) -> None:
    authority, over, enough = Authority(tmp_path), [], asyncio.Event()

    def ended(session: Session) -> None:
        over.append(session.peer)
        if len(over) == 3 - left:
            enough.set()

    pem = authority.issue_with_key("localhost", hosts=("localhost",))
    door = DtlsDoor(*pem, lambda session, datagram: session.send(datagram), ended, limit=limit, idle=idle)
    url = f"coaps://127.0.0.1:{await door.start()}"
    made = [await asyncio.to_thread(CoapDevice, url, str(authority.certificate_path)) for _ in range(3)]
    async with asyncio.timeout(10):
        await enough.wait()
    addresses = [device.socket.getsockname() for device in made]
    assert sorted(over) == sorted(addresses[: 3 - left])
    if left:
        made[-1].send(b"still here")
        assert await asyncio.to_thread(made[-1].receive) == b"still here"
    door.stop()
    for device in made:
        device.socket.close()


async def test_what_belongs_to_no_session_is_counted_and_costs_no_other_session(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem = authority.issue_with_key("localhost", hosts=("localhost",))
    door = DtlsDoor(*pem, lambda session, datagram: session.send(datagram), lambda _session: None)
    port = await door.start()
    ca = str(authority.certificate_path)
    with await asyncio.to_thread(CoapDevice, f"coaps://127.0.0.1:{port}", ca) as device:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for garbage in (b"", b"x", record(60)[:40], record(60), bytes(20000)):
                stranger.sendto(garbage, ("127.0.0.1", port))
        device.send(b"still here")
        assert await asyncio.to_thread(device.receive) == b"still here"
        assert door.refused == 5
    door.stop()
