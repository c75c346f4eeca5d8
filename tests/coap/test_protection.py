"""A protected device is never spoken to in clear: a proxy on the way sees every datagram. And keys that do not fit are told with a remedy."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import EMPTY, FETCH, GET, POST
from udp_proxy import UdpProxy

from agent.driver import DeviceUnreachable, DriverError, InvalidParameters
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    Discovery,
    JoinWindow,
    Report,
)
from drivers.coap.keys import Address, OscoreKey
from drivers.coap.wire import Channel, InTheClearError
from tests.conformance.coap_rig import OSCORE, PSK, SECRET, CoapRig, Made
from tests.conformance.driver_contract import Watched, command, running, shows

KEYS = {"oscore": f"secret={SECRET}&sender=01&recipient=02", "dtls": f"identity=hub&psk={PSK}"}


@pytest.fixture(params=["oscore", "dtls"])
async def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def rig(make: Made, kind: str) -> CoapRig:
    """The OSCORE device would answer in clear too: a fall back would succeed, and nobody but the proxy would notice."""
    protection = {**OSCORE, "lenient": True} if kind == "oscore" else {"psk": PSK}
    return await make({"name": "lamp", "profile": "light", **protection})


@pytest.fixture
async def proxy(rig: CoapRig) -> AsyncIterator[UdpProxy]:
    proxy = UdpProxy(rig.port("lamp"))
    await proxy.open()
    yield proxy
    proxy.close()


def material(kind: str, port: int, **other: str) -> str:
    keys = "&".join(f"{name}={other.get(name, value)}" for name, value in (k.split("=") for k in KEYS[kind].split("&")))
    return f"{'coaps' if kind == 'dtls' else 'coap'}://127.0.0.1:{port}?{keys}"


def assert_protected(kind: str, datagrams: list[bytes]) -> None:
    assert datagrams
    for datagram in datagrams:
        assert not any(word in datagram for word in (b"well-known", b"3311", b"5850")), datagram
        if kind == "dtls":  # RFC 6347, 4.1: a record's content type and version
            assert datagram[0] in (20, 21, 22, 23)
            assert datagram[1:3] in (b"\xfe\xfd", b"\xfe\xff")
            continue
        message = Message.decode(datagram)
        if message.code is not EMPTY:
            assert message.opt.oscore is not None
            assert message.code in (POST, FETCH)  # RFC 8613, 4.1.3.5: the code in front says nothing


async def joins(watched: Watched, key: str, text: str) -> DeviceFound:
    await watched.driver.discover(Discovery("d1", "COAP", 30, text))
    return await watched.wait(DeviceFound, lambda f: f.device.id.key == key)


async def test_nothing_leaves_in_clear_whatever_happens(
    rig: CoapRig, kind: str, proxy: UdpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap of aiocoap's own order of transports is set as well: with it, a request for an OSCORE device leaves as it is."""
    monkeypatch.setenv("AIOCOAP_CLIENT_TRANSPORT", "simple6:oscore")
    rig.settings["addresses"] = [f"127.0.0.1:{proxy.port}"]  # a join window without a key asks there
    key = f"127.0.0.1-{proxy.port}"
    async with running(rig.driver()) as watched:
        found = await joins(watched, key, material(kind, proxy.port))
        assert found.device.secure
        assert (await watched.driver.execute(command(rig, rig.good, key=key))).succeeded
        await watched.wait(Report, shows(rig.proof))
        await watched.driver.refresh(key)
        before = len(watched.events)
        await rig.control("restart")
        await watched.driver.discover(Discovery("d2", "COAP", 1))
        await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=before)
        await rig.control("power", on=False)
        await watched.driver.execute(command(rig, rig.good, key=key, ttl=0.5))
        await rig.control("power", on=True)
        await watched.driver.interview(key)
        with pytest.raises(InvalidParameters):
            await watched.driver.discover(Discovery("d3", "COAP", 5, "coap://"))
        await watched.driver.discover(
            Discovery("d4", "COAP", 5, f"coap://127.0.0.1:{proxy.port}")
        )  # no key, though it has one
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "not spoken to in clear" in failed.detail
    async with running(rig.driver()) as watched:
        assert (await watched.wait(DeviceFound)).known
        assert (await watched.driver.execute(command(rig, rig.good, key=key))).succeeded
        await watched.driver.remove(key, force=False)
    assert_protected(kind, proxy.sent)
    assert rig.simulation.devices["lamp"].clear == 0


async def test_a_key_that_is_lost_leaves_the_device_alone(rig: CoapRig, kind: str, proxy: UdpProxy) -> None:
    key = f"127.0.0.1-{proxy.port}"
    async with running(rig.driver()) as watched:
        await joins(watched, key, material(kind, proxy.port))
    for secret in (rig.state_dir / "secrets").glob("*.secret"):
        secret.unlink()
    proxy.sent.clear()
    async with running(rig.driver()) as watched:
        outcome = await watched.driver.execute(command(rig, rig.good, key=key))
        assert [r.code for r in outcome.results] == [504]
        assert "not among the secrets" in outcome.results[0].error
        with pytest.raises(DeviceUnreachable) as caught:
            await watched.driver.refresh(key)
        assert "--auth" in caught.value.remedy
    assert [d for d in proxy.sent if d[0] != 21] == []  # the alert that ends the session of the run before


async def test_a_wrong_key_is_told_with_its_remedy(rig: CoapRig, kind: str, proxy: UdpProxy) -> None:
    wrong = {"secret": "ff" * 16, "psk": "77726f6e67"}
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 30, material(kind, proxy.port, **wrong)))
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "compare" in failed.detail
        assert "--auth" in failed.detail
        assert not any(value in failed.detail for value in wrong.values())
        await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=1)
        assert not any(isinstance(event, DeviceFound) for event in watched.events)
    assert_protected(kind, proxy.sent)


async def test_an_answer_in_clear_is_not_believed(rig: CoapRig, kind: str, proxy: UdpProxy) -> None:
    """Who is on the way answers in the device's place, in clear, with the right token."""
    key = f"127.0.0.1-{proxy.port}"

    def forged(datagram: bytes) -> bytes | None:
        if kind == "dtls":
            return b"\x60\x45" + datagram[:2] + b"\xff1"
        request = Message.decode(datagram)
        if request.code is EMPTY:
            return None
        answer = Message(code=69, _mtype=2, _mid=request.mid, _token=request.token, payload=b"1")  # 2.05, piggybacked
        return bytes(answer.encode())

    async with running(rig.driver()) as watched:
        await joins(watched, key, material(kind, proxy.port))
        await watched.wait(Report, lambda r: r.capability == "matter.OnOff@1.4")
        before = len(watched.events)
        proxy.reply = forged
        outcome = await watched.driver.execute(
            command(rig, Action("3311x0", "matter.OnOff@1.4", "ReadState"), key=key, ttl=1.0)
        )
        assert not outcome.succeeded
        assert not any(isinstance(e, Report) and e.properties.get("OnOff") for e in watched.events[before:])
    assert_protected(kind, proxy.sent)


async def test_a_message_without_protection_does_not_pass_the_channel() -> None:
    """Whatever the code above does, the channel of an OSCORE device refuses."""
    channel = Channel(
        Address("127.0.0.1", 9), OscoreKey(SECRET, sender="01", recipient="02"), lambda *_: None, lambda *_: None
    )
    with pytest.raises(InTheClearError):
        channel.send(Message(code=GET, _mtype=0, _mid=1, _token=b"1"))


SERVICE = """
import asyncio, ctypes, sys
from drivers.coap.keys import Address, DtlsKey
from drivers.coap.wire import Channel
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, of Linux 6.3
    sys.exit("no such kernel")
channel = Channel(Address("127.0.0.1", int(sys.argv[1])), DtlsKey("hub", sys.argv[2]), print, print)
asyncio.run(channel.open(5.0))
print("open")
"""


async def test_dtls_needs_no_memory_that_is_writable_and_executable(make: Made) -> None:
    """The service runs with MemoryDenyWriteExecute."""
    rig = await make({"name": "lamp", "profile": "light", "psk": PSK})
    arguments = [sys.executable, "-c", SERVICE, str(rig.port("lamp")), PSK]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=-1, stderr=-1)
    told, error = await process.communicate()
    if b"no such kernel" in error:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert told == b"open\n", error


async def test_the_policy_that_wants_protection(make: Made) -> None:
    rig = await make({"name": "lamp", "profile": "light"})
    rig.settings["require_security"] = True
    async with running(rig.driver()) as watched:
        for text in ("", rig.material("lamp")):
            with pytest.raises(InvalidParameters) as caught:
                await watched.driver.discover(Discovery("d1", "COAP", 30, text))
            assert "require_security" in caught.value.remedy


async def test_a_name_said_in_clear_does_not_become_the_device_that_proved_it(make: Made) -> None:
    rig = await make({"name": "real", "profile": "light", **OSCORE}, {"name": "false", "profile": "light"})
    for name in ("real", "false"):
        rig.simulation.devices[name].resources["/3/0/2"] = type(rig.simulation.devices[name].resources["/3/0/0"])(
            "SN-1"
        )
    async with running(rig.driver()) as watched:
        found = await joins(watched, "SN-1", rig.material("real"))
        assert found.device.secure
        other = await joins(watched, f"127.0.0.1-{rig.port('false')}", rig.material("false"))
        assert not other.device.secure
        assert (await watched.driver.execute(command(rig, rig.good, key="SN-1"))).succeeded
    assert rig.simulation.devices["real"].resources["/3311/0/5850"].value is True
    assert rig.simulation.devices["false"].resources["/3311/0/5850"].value is False


async def test_a_backup_brings_devices_and_keys_back_and_no_number_twice(make: Made, tmp_path: Path) -> None:
    rig = await make({"name": "lamp", "profile": "light", **OSCORE})
    async with running(rig.driver()) as watched:
        await joins(watched, rig.key, rig.material("lamp"))
        document = await watched.driver.backup()
        for bad in (b"", b"{}", b"[]", document.replace(b"oscore", b"dtls"), document.replace(b'"keys"', b'"clefs"')):
            with pytest.raises(InvalidParameters):
                await watched.driver.restore(bad)
    rig.state_dir = tmp_path / "another hub"
    async with running(rig.driver()) as watched:
        await watched.driver.restore(document)
        with pytest.raises(DriverError):
            await watched.task
    async with running(rig.driver()) as watched:
        assert (await watched.wait(DeviceFound)).device.id == DeviceId("coap", rig.key)
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def test_a_device_that_forgot_its_replay_window_is_answered_its_echo(make: Made) -> None:
    rig = await make({"name": "lamp", "profile": "light", **OSCORE})
    async with running(rig.driver()) as watched:
        await joins(watched, rig.key, rig.material("lamp"))
        await rig.control("restart")
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded
        changes = [e.availability for e in watched.events if isinstance(e, AvailabilityChanged)]
        assert Availability.OFFLINE not in changes
