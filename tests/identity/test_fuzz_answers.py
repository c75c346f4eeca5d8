"""Clouds that answer anything: fleet provisioning, certificate vendor, EST, jobs. A typed error, nothing installed, and the next one counts."""

import asyncio
import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from certificates import Authority
from conftest import Broker, until
from garbage import BYTES, ODD, SEED, payloads
from paho.mqtt.enums import CallbackAPIVersion
from raw_http import RawHttp, answer

from agent.cloud import jobs as jobs_module
from agent.cloud.channel import Channel
from agent.cloud.jobs import Ended, Job, Jobs
from agent.cloud.mqtt import Endpoint
from agent.errors import HubError
from agent.identity import est as est_module
from agent.identity.est import Est, EstServer
from agent.identity.keys import Subject
from agent.identity.local_ca import LocalAuthority
from agent.identity.provisioning import Claim, FleetProvisioning, connected
from agent.identity.slots import Slots
from agent.identity.sources import Asked, Source, fetch
from agent.identity.stores.file import FileKeys
from agent.identity.vendor import CertificateVendor
from agent.wire.fleet_provisioning import CREATE_FROM_CSR, CREATE_KEYS, PROVISION
from tests.identity.est_server import EstAuthority
from tests.identity.test_est import source as est_source
from tests.identity.test_vendor import Vendor, accepted

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
THING = "thing-1"
JOBS = f"$aws/things/{THING}/jobs"


class Answers:
    """A cloud: what it answers on each topic, as (`accepted` or `rejected`, payload)."""

    def __init__(self, port: int, *topics: str) -> None:
        self.say: dict[str, tuple[str, bytes]] = {}
        self.heard: list[str] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud")
        self.client.on_message = self._hear
        listens = threading.Event()
        self.client.on_subscribe = lambda *_: listens.set()
        self.client.connect("127.0.0.1", port)
        self.client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[union-attr]  it is connected
        self.client.subscribe([(topic, 1) for topic in topics])
        self.client.loop_start()
        assert listens.wait(10)

    def _hear(self, _client: Any, _userdata: Any, message: Any) -> None:
        self.heard.append(message.topic)
        if message.topic in self.say:
            end, payload = self.say[message.topic]
            self.client.publish(f"{message.topic}/{end}", payload, 1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Hub:
    """Slots, and an authority that a good answer comes from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder / "identity", Authority(folder)
        self.slots = Slots(self.folder, FileKeys(self.folder / "keys"))

    async def signed(self) -> str:
        slot = self.slots.ask("the test")
        local = LocalAuthority(self.authority.ca, self.authority.key_file(), 9, Subject(THING))
        return (await local.obtain(Asked(self.slots, slot, None))).pem

    async def refuses(self, source: Source, what: bytes) -> None:
        try:
            held = await fetch(self.slots, source, "the test")
        except HubError as error:
            assert error.message, what  # noqa: PT017  any kind of it, and with words
        else:
            pytest.fail(f"{held} from {what!r} (seed {SEED})")
        assert self.slots.record.current is None, what
        assert not self.slots.chain("a").exists(), what
        assert "PRIVATE" not in "".join(path.read_text() for path in self.folder.glob("*.json"))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def harmless(text: bytes) -> bool:
    """An answer that is good in spite of its change: more than is needed, or nothing where nothing is needed."""
    with suppress(ValueError, RecursionError, AttributeError):
        told = json.loads(text)
        name, configuration = told.get("thingName"), told.get("deviceConfiguration", {})
        good = isinstance(configuration, dict) and all(
            isinstance(v, str) and len(v) <= 1024 for v in configuration.values()
        )
        return name == THING and good
    return False


@pytest.mark.parametrize("own_key", [True, False], ids=["own", "cloud"])
@pytest.mark.parametrize("step", ["create", "provision"])
async def test_fleet_provisioning_takes_no_bad_answer(broker: Broker, hub: Hub, step: str, own_key: bool) -> None:  # noqa: FBT001  who makes the key
    create, provision = CREATE_FROM_CSR if own_key else CREATE_KEYS, PROVISION.format(template="t")
    cloud = Answers(broker.port, create, provision)
    endpoint = Endpoint("127.0.0.1", broker.port, "claim", 60, None)
    source = FleetProvisioning(hub.folder, Claim(endpoint, "t", Subject(THING), {"serial": "1"}, own_key=own_key))
    created: dict[str, Any] = {
        "certificateId": "0" * 64,
        "certificatePem": await hub.signed(),
        "certificateOwnershipToken": "token",
    }
    if not own_key:
        created["privateKey"] = (hub.folder / "keys" / "hub-a.key").read_text()
    made = {"thingName": THING, "deviceConfiguration": {"clientId": THING}}
    good = {create: ("accepted", json.dumps(created).encode()), provision: ("accepted", json.dumps(made).encode())}
    topic, body = (create, created) if step == "create" else (provision, made)
    tried = 0
    for what in payloads(body, 25):
        for end in ("accepted", "rejected") if what in BYTES else ("accepted",):
            cloud.say = {**good, topic: (end, what)}
            if step == "provision" and end == "accepted" and harmless(what):
                continue
            if step == "create" and _is_as_good(what, created):
                continue
            tried += 1
            await hub.refuses(source, what)
            if not own_key:  # where the cloud makes the key, a failed attempt may have left another
                hub.slots.keys.destroy("hub-a")
    assert tried > 60
    cloud.say = good
    assert (await fetch(hub.slots, source, "the test")).thing == THING
    cloud.close()


def _is_as_good(what: bytes, created: dict[str, Any]) -> bool:
    """Only the token or the id differs: the cloud judges those, and this one takes them."""
    with suppress(ValueError, RecursionError, AttributeError):
        told = json.loads(what)
        same = [told.get(name) == created[name] for name in ("certificatePem", "privateKey") if name in created]
        texts = isinstance(told.get("certificateOwnershipToken"), str) and told.get("certificateId") == "0" * 64
        return all(same) and texts
    return False


async def test_the_vendors_garbage_is_passed_over_until_the_good_one(broker: Broker, tmp_path: Path) -> None:
    hub, vendor, channel = Hub(tmp_path), Vendor(broker.port), Channel("the broker")
    vendor.client.unsubscribe("#")
    connection = await connected(Endpoint("127.0.0.1", broker.port, THING, 60, None), channel)
    source = CertificateVendor(channel, THING, Subject(THING), lambda: "", patience=20.0)
    good = await hub.signed()
    answers = payloads({"certificate": good, "certificateId": "0" * 64})
    bad = [what for what in answers if not _names(what, good)]
    vendor.script = [lambda _body, what=what: ("accepted", what) for what in bad]  # type: ignore[misc]
    vendor.script += [lambda _body, what=what: ("rejected", what) for what in bad if b"ound" not in what]  # type: ignore[misc]
    vendor.script.append(accepted(good))
    assert len(vendor.script) > 100
    held = await fetch(hub.slots, source, "the test")
    assert hub.slots.chain("a").read_text() == good
    assert held.source == "vendor"
    await connection.drain_and_close(1.0)
    vendor.close()


def _names(what: bytes, good: str) -> bool:
    with suppress(ValueError, RecursionError, AttributeError):
        return bool(json.loads(what).get("certificate") == good)
    return False


@pytest.fixture
def est(tmp_path: Path) -> Iterator[EstAuthority]:
    made = EstAuthority(tmp_path, Authority(tmp_path, "est-ca"))
    yield made
    made.close()


async def test_est_takes_no_bad_cms(est: EstAuthority, hub: Hub) -> None:
    """A real one with single bytes changed: what it says is ours is checked like any other certificate."""
    await hub.signed()
    whole: list[bytes] = []
    really = est.sign

    def keep(der: bytes) -> bytes:
        whole.append(really(der))
        return b"AAAA"

    est.sign = keep  # type: ignore[method-assign]
    await hub.refuses(est_source(est), b"AAAA")
    der = base64.b64decode(whole[0])
    taken = 0
    for place in range(0, len(der), 11):
        changed = bytearray(der)
        changed[place] ^= 0xFF
        est.garbage = base64.encodebytes(bytes(changed))
        try:
            await fetch(hub.slots, est_source(est), "the test")
        except HubError:
            assert hub.slots.record.current is None
            continue
        taken += 1  # beside what is signed, or without its authority: it is for our key, and fits
        assert hub.slots.sound("a")
        hub.slots.change(lambda record: record.model_copy(update={"held": {}, "current": None, "asked": "a"}))
    assert taken < 40
    est.garbage, est.sign = b"", really  # type: ignore[method-assign]
    assert await fetch(hub.slots, est_source(est), "the test")


@pytest.mark.parametrize("after", ["²", "-1", "1e9", "", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 400, "0x1", "\u0661"])
async def test_est_waits_as_told_or_as_long_as_it_likes(hub: Hub, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    for name in ("FIRST_WAIT", "LONGEST_WAIT"):
        monkeypatch.setattr(est_module, name, 0.01)
    tls = _server_context(hub.authority)
    waits, ends = answer(202, b"", f"Retry-After: {after}"), answer(404, b"")
    async with RawHttp(waits, waits, ends, tls=tls) as server:
        told = EstServer(server.url, str(hub.authority.ca))
        await hub.refuses(Est(told, Subject(THING)), after.encode())
        assert len(server.asked) == 3


def _server_context(authority: Authority) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    return context


class Forgetful(set[str]):
    """A document that asks for nothing is noted once; here the same job has the next document."""

    def add(self, _element: str) -> None:
        """Not noted."""


async def test_jobs_live_through_any_answer_and_do_a_good_job_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "AGAIN", 0.001)
    monkeypatch.setattr("agent.cloud.channel.ANSWER", 0.2)  # of a job whose name was changed
    cloud = Answers(broker.port, f"{JOBS}/get", f"{JOBS}/+/get", f"{JOBS}/+/update")
    channel, done = Channel("the broker"), []

    async def handle(job: Job) -> Ended:
        await job.progress({})
        done.append(job.key)
        return Ended("SUCCEEDED")

    jobs = Jobs(channel, THING, {"test": handle})
    jobs._foreign = Forgetful()
    connection = await connected(Endpoint("127.0.0.1", broker.port, THING, 60, None), channel)
    living = asyncio.create_task(jobs.live())
    summary = {"jobId": "job-1", "executionNumber": 1}
    execution = {"jobId": "job-1", "executionNumber": 1, "jobDocument": {"operation": "test"}}
    listed, described = {"inProgressJobs": [], "queuedJobs": [summary]}, {"execution": execution}
    good = {
        f"{JOBS}/get": ("accepted", json.dumps(listed).encode()),
        f"{JOBS}/job-1/get": ("accepted", json.dumps(described).encode()),
    }
    nothing = {"inProgressJobs": [], "queuedJobs": []}

    async def answered(topic: str, say: dict[str, tuple[str, bytes]]) -> None:
        before = cloud.heard.count(topic)
        cloud.say = say
        cloud.client.publish(f"{JOBS}/notify", b"{}", 1)
        await until(lambda: cloud.heard.count(topic) > before or living.done(), what=topic)
        assert not living.done(), living.exception()

    for topic, body in ((f"{JOBS}/get", listed), (f"{JOBS}/job-1/get", described)):
        for what in payloads(body, 10)[::2]:
            for end in ("accepted", "rejected") if what in BYTES else ("accepted",):
                await answered(topic, {**good, f"{JOBS}/job-1/update": ("rejected", b"no"), topic: (end, what)})
    for end in ("rejected", "accepted"):
        for what in (*BYTES, *(json.dumps({"code": odd}).encode() for odd in ODD)):
            await answered(f"{JOBS}/job-1/update", {**good, f"{JOBS}/job-1/update": (end, what)})
    done.clear()
    finished = jobs.done
    cloud.say = {**good, f"{JOBS}/job-1/update": ("accepted", b"{}")}
    cloud.client.publish(f"{JOBS}/notify", b"{}", 1)
    await until(lambda: done and jobs.done > finished, what="the good job")
    assert set(done) == {"job-1/1"}
    cloud.say = {f"{JOBS}/get": ("accepted", json.dumps(nothing).encode())}
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living
    await connection.drain_and_close(1.0)
    cloud.close()
