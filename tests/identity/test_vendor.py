"""The certificate vendor's traps, one by one, with a vendor that does what the test says, over a real broker."""

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from certificates import Authority
from conftest import Broker
from paho.mqtt.enums import CallbackAPIVersion
from raw_http import Asked as Asking
from raw_http import RawHttp, Write, answer

from agent.cloud.channel import Channel
from agent.cloud.mqtt import Endpoint
from agent.errors import HubError, TryAgainError
from agent.identity.keys import Subject
from agent.identity.local_ca import LocalAuthority
from agent.identity.provisioning import connected
from agent.identity.slots import Slots
from agent.identity.sources import Asked, fetch
from agent.identity.stores.file import FileKeys
from agent.identity.vendor import CertificateVendor, VendorRefusedError

THING = "thing-1"
GET, ACK = f"cdf/certificates/{THING}/get", f"cdf/certificates/{THING}/ack"


class Vendor:
    """Answers a request with the messages of `script`: functions of its body, (end, body) each."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.script: list[Callable[[dict[str, Any]], tuple[str, Any]]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="vendor")
        self.client.on_message = self._hear
        listens = threading.Event()
        self.client.on_subscribe = lambda *_: listens.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([(GET, 1), (ACK, 1)])
        self.client.loop_start()
        assert listens.wait(10)

    def _hear(self, _client: Any, _userdata: Any, message: Any) -> None:
        body = json.loads(message.payload)
        self.heard.append((message.topic, body))
        for say in self.script:
            end, told = say(body)
            payload = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.client.publish(f"{message.topic}/{end}", payload, 1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Rig:
    """A hub with a certificate, a connection, and a vendor."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.slots = Slots(folder / "identity", FileKeys(folder / "identity" / "keys"))
        self.channel = Channel("the broker")
        self.over = ""
        self.stack = AsyncExitStack()
        self.source = CertificateVendor(self.channel, THING, Subject(THING), lambda: self.over, patience=1.0)

    async def start(self, port: int) -> None:
        local = LocalAuthority(self.authority.ca, self.authority.key_file(), 9, Subject(THING))
        await fetch(self.slots, local, "first")
        self.over = self.slots.record.held["a"].certificate_id
        self.connection = await connected(Endpoint("127.0.0.1", port, THING, 60, None), self.channel)

    async def sign(self) -> str:
        """What the vendor issues for the request of slot b."""
        local = LocalAuthority(self.authority.ca, self.authority.key_file(), 9, Subject(THING))
        return (await local.obtain(Asked(self.slots, "b", None))).pem


@pytest.fixture
async def rig(tmp_path: Path, broker: Broker) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    await made.start(broker.port)
    yield made
    await made.stack.aclose()
    await made.connection.drain_and_close(1.0)


@pytest.fixture
def vendor(broker: Broker) -> Any:
    made = Vendor(broker.port)
    yield made
    made.close()


def accepted(pem: str) -> Callable[[dict[str, Any]], tuple[str, Any]]:
    return lambda _body: ("accepted", {"certificate": pem, "certificateId": "0" * 64})


def rejected(code: str) -> Callable[[dict[str, Any]], tuple[str, Any]]:
    return lambda _body: ("rejected", {"message": code})


async def prepared(rig: Rig) -> str:
    """A certificate for the key that the next request will be for."""
    rig.slots.ask("the test")
    return await rig.sign()


async def test_the_request_names_the_old_certificate_so_that_its_rights_are_kept(rig: Rig, vendor: Vendor) -> None:
    vendor.script = [accepted(await prepared(rig))]
    await fetch(rig.slots, rig.source, "the test")
    topic, body = vendor.heard[0]
    assert (topic, set(body)) == (GET, {"csr", "previousCertificateId"})
    assert body["previousCertificateId"] == rig.slots.record.held["a"].certificate_id


async def test_a_certificate_for_another_key_is_passed_over(rig: Rig, vendor: Vendor) -> None:
    """A retry of somebody else's request, or of our last key's."""
    foreign = rig.slots.chain("a").read_text()
    vendor.script = [
        accepted(foreign),
        accepted("no PEM"),
        lambda _b: ("accepted", b"no JSON"),
        accepted(await prepared(rig)),
    ]
    held = await fetch(rig.slots, rig.source, "the test")
    assert held.certificate_id != rig.slots.record.held["a"].certificate_id


async def test_rejected_twice_and_then_accepted(rig: Rig, vendor: Vendor) -> None:
    code = "UNABLE_TO_ATTACH_POLICY"
    vendor.script = [rejected(code), rejected(code), accepted(await prepared(rig))]
    assert await fetch(rig.slots, rig.source, "the test")


async def test_the_first_good_one_is_kept_and_later_ones_are_ignored(rig: Rig, vendor: Vendor) -> None:
    first = await prepared(rig)
    vendor.script = [accepted(first), accepted(await rig.sign())]
    await fetch(rig.slots, rig.source, "the test")
    assert rig.slots.chain("b").read_text() == first


@pytest.mark.parametrize("code", ["CERTIFICATE_NOT_FOUND", "ResourceNotFound", "ArgumentError"])
async def test_what_the_vendor_does_not_try_again_ends_at_once(rig: Rig, vendor: Vendor, code: str) -> None:
    vendor.script = [rejected(code), accepted(await prepared(rig))]
    with pytest.raises(VendorRefusedError, match=code):
        await fetch(rig.slots, rig.source, "the test")


async def test_silence_is_not_waited_for_for_ever(rig: Rig, vendor: Vendor) -> None:
    """So an empty request, or one that is validated before the service, ends."""
    vendor.script = [rejected("UNABLE_TO_PUBLISH_RESPONSE")]
    with pytest.raises(TryAgainError, match="UNABLE_TO_PUBLISH_RESPONSE within"):
        await fetch(rig.slots, rig.source, "the test")
    assert rig.slots.record.asked == "b", "a late accept is for a key that is still there"


async def test_the_acknowledgement_waits_for_the_new_certificates_connection(rig: Rig, vendor: Vendor) -> None:
    vendor.script = [lambda _body: ("accepted", {"message": "OK"})]
    previous = rig.slots.record.held["a"]
    confirming = asyncio.create_task(rig.source.confirm(previous))
    await asyncio.wait([confirming], timeout=0.3)
    assert not confirming.done()
    assert not vendor.heard, "over the old connection it would delete the new certificate"
    rig.over = "f" * 64
    rig.channel.unbind()
    await rig.channel.bind(rig.connection)
    await asyncio.wait_for(confirming, 5.0)
    assert vendor.heard == [(ACK, {"previousCertificateId": previous.certificate_id})]


async def test_a_refused_acknowledgement_is_said(rig: Rig, vendor: Vendor) -> None:
    rig.over = "f" * 64
    vendor.script = [rejected("DEVICE_NOT_WHITELISTED")]
    with pytest.raises(VendorRefusedError, match="DEVICE_NOT_WHITELISTED"):
        await rig.source.confirm(rig.slots.record.held["a"])


# ---- packages that the operator has made ----------------------------------------------------------------------------


def pair(authority: Authority, name: str) -> tuple[bytes, bytes]:
    certificate, key = authority.issue(name)
    return certificate.read_bytes(), key.read_bytes()


def packed(**files: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return whole.getvalue()


async def offered(rig: Rig, vendor: Vendor, content: bytes) -> CertificateVendor:
    """The vendor points at a package, and the source asks for one."""

    async def serve(_asked: Asking, writer: Write) -> None:
        writer.write(answer(200, content, "Content-Type: application/zip"))

    service = await rig.stack.enter_async_context(RawHttp(serve))
    vendor.script = [lambda _body: ("accepted", {"location": f"{service.url}/T.zip?X-Amz-Signature=canary"})]
    return CertificateVendor(rig.channel, THING, Subject(THING), lambda: rig.over, own_key=False, patience=3.0)


async def test_a_package_brings_its_key_whatever_its_files_are_called(rig: Rig, vendor: Vendor) -> None:
    certificate, key = pair(rig.authority, THING)
    content = packed(readme=b"hello", certs__x=certificate, public=b"-----BEGIN PUBLIC KEY-----", y=key)
    held = await fetch(rig.slots, await offered(rig, vendor, content), "the test")
    assert vendor.heard == [(GET, {})]
    assert (held.thing, held.source) == (THING, "vendor")
    assert rig.slots.check(rig.slots.chain("b").read_text(), "b")
    assert not list(rig.slots.folder.glob(".package*"))


@pytest.mark.parametrize("fault", ["no zip", "another key", "no key", "traversal"])
async def test_a_package_that_is_none_installs_nothing(rig: Rig, vendor: Vendor, fault: str) -> None:
    certificate, key = pair(rig.authority, THING)
    content = {
        "no zip": b"a package",
        "another key": packed(a=certificate, b=pair(rig.authority, "other")[1]),
        "no key": packed(a=certificate),
        "traversal": packed(a=certificate, b=key, **{"..__c": b"x"}),
    }[fault]
    with pytest.raises(HubError) as refused:
        await fetch(rig.slots, await offered(rig, vendor, content), "the test")
    assert "canary" not in refused.value.advice
    assert (rig.slots.record.current, rig.slots.record.candidate) == ("a", None)
