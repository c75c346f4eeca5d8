"""libcoap, which we did not write, at both ends: its server as a device of our driver, its client against our simulated devices."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.model import Action, DeviceFound, DeviceJoining, Discovery, Report
from tests.conformance.coap_rig import ON_OFF, PSK, TEMPERATURE, CoapRig
from tests.conformance.driver_contract import Watched, command, running, shows

CLIENT, SERVER = "coap-client-openssl", "coap-server-openssl"
KEY = bytes.fromhex(PSK).decode()
pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(shutil.which(CLIENT) is None, reason="apt-get install libcoap3-bin"),
]


async def client(*arguments: str) -> str:
    """What libcoap's client prints."""
    process = await asyncio.create_subprocess_exec(
        CLIENT, "-B", "5", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    return (await process.communicate())[0].decode(errors="replace").strip()


async def printed(
    arguments: tuple[str, ...], until: Callable[[str], bool], then: Callable[[], None] = lambda: None
) -> str:
    """What libcoap's client prints until `until` holds; `then` is called at its first line."""
    process = await asyncio.create_subprocess_exec(
        CLIENT, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    text = ""
    try:
        async with asyncio.timeout(10):
            while not until(text):
                part = await process.stdout.read(1000)
                assert part, text
                if not text:
                    then()
                text += part.decode(errors="replace")
    finally:
        process.kill()
        await process.wait()
    return text


# ---- their server, our driver ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def device() -> AsyncIterator[int]:
    """libcoap's server with a light and a thermometer; its port. DTLS is at the next one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        port = int(made.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        SERVER, "-A", "127.0.0.1", "-p", str(port), "-d", "10", "-k", KEY, "-u", "hub", "-v", "1"
    )
    async with asyncio.timeout(10):
        while "/time" not in await client(f"coap://127.0.0.1:{port}/.well-known/core"):
            assert process.returncode is None
    for path, value in (("3303/0/5700", "21.5"), ("3311/0/5850", "0"), ("3311/0/5851", "100")):
        await client("-m", "put", "-e", value, f"coap://127.0.0.1:{port}/{path}")
    yield port
    process.kill()
    await process.wait()


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CoapRig]:
    """A driver, and simulated devices of each protection."""
    devices = [
        {"name": "lamp", "profile": "light"},
        {"name": "hall", "profile": "climate"},
        {"name": "safe", "profile": "light", "psk": PSK},
        {"name": "big", "profile": "big"},
    ]
    rig = CoapRig(tmp_path, monkeypatch, devices)
    # libcoap is a process of its own, and may have to wait for a processor.
    rig.settings |= {"ack_timeout": 0.2, "retransmissions": 1}
    await rig.start()
    yield rig
    await rig.close()


async def lives_with(rig: CoapRig, watched: Watched, text: str, port: int) -> None:
    """Join, report, obey, observe."""
    await watched.driver.discover(Discovery("d1", "COAP", 30, text))
    found = (await watched.wait(DeviceFound)).device
    assert {"/time ticks", "/async"} <= set(found.unmapped)
    key = found.id.key
    await watched.wait(Report, shows(("3303x0", TEMPERATURE, "MeasuredValue", 2150)))
    assert (await watched.driver.execute(command(rig, Action("3311x0", ON_OFF, "On"), key=key))).succeeded
    await watched.wait(Report, shows(("3311x0", ON_OFF, "OnOff", True)))
    assert await client(f"coap://127.0.0.1:{port}/3311/0/5850") == "1"
    await client("-m", "put", "-e", "22.25", f"coap://127.0.0.1:{port}/3303/0/5700")
    await watched.wait(Report, shows(("3303x0", TEMPERATURE, "MeasuredValue", 2225)))
    assert (await watched.driver.execute(command(rig, Action("3311x0", ON_OFF, "Toggle"), key=key))).succeeded
    assert await client(f"coap://127.0.0.1:{port}/3311/0/5850") == "0"
    await watched.driver.remove(key, force=False)


async def test_libcoap_is_a_device(rig: CoapRig, device: int) -> None:
    async with running(rig.driver()) as watched:
        await lives_with(rig, watched, f"coap://127.0.0.1:{device}", device)


async def test_libcoap_is_a_device_behind_dtls(rig: CoapRig, device: int) -> None:
    async with running(rig.driver()) as watched:
        await lives_with(rig, watched, f"coaps://127.0.0.1:{device + 1}?identity=hub&psk={PSK}", device)


async def test_libcoap_does_not_take_a_wrong_key(rig: CoapRig, device: int) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(
            Discovery("d1", "COAP", 30, f"coaps://127.0.0.1:{device + 1}?identity=hub&psk=00112233")
        )
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "does not take the key of identity 'hub'" in failed.detail
        assert "compare identity and key" in failed.detail


# ---- their client, our simulated devices -----------------------------------------------------------------------------------------


async def test_libcoap_reads_and_writes_our_devices(rig: CoapRig) -> None:
    lamp, hall = (f"coap://{rig.address(name)}" for name in ("lamp", "hall"))
    assert "</3311/0/5850>" in await client(f"{lamp}/.well-known/core")
    assert await client("-m", "put", "-e", "1", f"{lamp}/3311/0/5850") == ""
    assert await client(f"{lamp}/3311/0/5850") == "1"
    assert "4.00" in await client("-m", "put", "-e", "warm", f"{lamp}/3311/0/5850")
    assert "4.04" in await client(f"{lamp}/nothing")
    assert "4.05" in await client("-m", "put", "-e", "1", f"{hall}/3303/0/5700")
    assert await client("-A", "110", f"{hall}/3303/0/5700") == '[{"n": "/3303/0/5700", "v": 21.5, "u": "Cel"}]'
    assert await client("-A", "0", f"{hall}/3303/0/5700") == "21.5"


async def test_libcoap_fetches_a_list_in_blocks(rig: CoapRig) -> None:
    links = await client(f"coap://{rig.address('big')}/.well-known/core")
    assert len(re.findall(r"</3303/\d+/5700>", links)) == 100
    assert (
        len(re.findall(r"</3303/\d+/5700>", await client("-b", "64", f"coap://{rig.address('big')}/.well-known/core")))
        == 100
    )


async def test_libcoap_observes_our_devices(rig: CoapRig) -> None:
    hall = rig.simulation.devices["hall"]

    def warmer() -> None:
        hall.change("/3303/0/5700", 23.75)

    arguments = ("-s", "5", "-A", "0", f"coap://{rig.address('hall')}/3303/0/5700")
    text = await printed(arguments, lambda t: "23.75" in t, warmer)
    assert text.startswith("21.5")


async def test_libcoap_shakes_hands_with_our_devices(rig: CoapRig) -> None:
    safe = f"coaps://{rig.address('safe')}"
    assert await client("-k", KEY, "-u", "hub", f"{safe}/3311/0/5851") == "100"
    strangers = (("wrong", "hub"), (KEY, "stranger"))
    asked = (client("-B", "1", "-k", key, "-u", name, f"{safe}/3311/0/5851") for key, name in strangers)
    assert all("100" not in told for told in await asyncio.gather(*asked))
