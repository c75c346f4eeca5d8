"""What is CoAP's own in an uplink to the stand-in's nRF Cloud: sessions, logins, certificates, and the forms of state and messages."""

import asyncio
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import forked
import pytest
from certificates import Authority
from conftest import until
from nrf_calls_rig import CoapCaller
from nrf_client_rig import Device, Watch
from nrf_coap_rig import client, logged_in, tokens
from nrf_link_rig import pages
from nrf_mqtt_rig import state
from nrf_rig import Keys, ask, bulk
from standin_rig import Cloud
from udp_proxy import UdpProxy

from agent import cli
from agent.clock import ESTIMATED
from agent.cloud.coap import Coap
from agent.cloud.nrf_calls import MessageTooLargeError
from agent.cloud.nrf_coap import Login, NrfCoap
from agent.cloud.rest import RestError
from agent.errors import Exit
from agent.wire.nrf import FotaStatus

pytestmark = pytest.mark.conformance
WEEK = 604_800.0
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture
async def caller(cloud: Cloud, tmp_path: Path) -> AsyncIterator[CoapCaller]:
    made = CoapCaller(tmp_path, cloud)
    yield made
    await made.stop()
    await made.store.close()


@pytest.fixture(scope="module")
def device(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Device:
    made = Device(tmp_path_factory.mktemp("keys") / "store", "coap-1")
    certificate = Keys(tmp_path_factory.mktemp("certificate"), made.name).certificate
    assert bulk(cloud, "/devices", f'{made.name},,,APP,"{certificate}"\n')["status"] == "SUCCEEDED"
    done = bulk(cloud, "/devices/public-keys", f'{made.name},"{made.public}"\n')
    assert done["status"] == "SUCCEEDED"
    return made


def session(cloud: Cloud, device: Device, ca: str = "") -> Coap:
    return logged_in(device, cloud.told["nrf_coap"], ca or cloud.told["ca"])


@pytest.fixture
async def nrf(cloud: Cloud, device: Device) -> AsyncIterator[NrfCoap]:
    async with session(cloud, device) as coap:
        yield NrfCoap(coap)


async def test_a_session_that_the_network_has_lost_is_made_anew(caller: CoapCaller, cloud: Cloud) -> None:
    """A NAT gives the hub another port: the cloud does not know who speaks there."""
    proxy = UdpProxy(int(caller.url.rpartition(":")[2]))
    await proxy.open()
    try:
        caller.url = f"coaps://127.0.0.1:{proxy.port}"
        caller.open()
        caller.start()
        await until(lambda: caller.calls.connected, what="the first session")
        for number in range(30):
            caller.link.offer_live(caller.state(number))
            await caller.durable(caller.event(number))
            if number == 15:
                await until(lambda: 10 in caller.pressed(), what="messages in the first session")
                ways, proxy._ways = list(proxy._ways.values()), {}
                for way in ways:
                    way.close()
        await until(lambda: set(caller.pressed()) == set(caller.numbers()) == set(range(30)), what="everything")
        await until(lambda: not caller.calls.waiting and not sum(caller.store.stats.backlog.values()))
        assert caller.coap.sessions >= 2  # a loaded machine may lose one more
        wish = {"desired": {"control": {"logLvl": 2, "alertsEn": "no"}}}
        assert ask(cloud, "PATCH", f"/devices/{caller.name}/state", json=wish).status == 202
        await until(lambda: state(cloud, caller.name)["desired"].get("control") == {"logLvl": 2}, what="one taken back")
        await until(lambda: caller.dialect.control.log_level == 2, what="and the other taken on")
        assert await caller.calls.say_last({"status": "offboarded"}, 5.0)
        assert len({one["id"] for one in caller.said("TEMP")}) == 30
        assert {datagram[:1] for datagram in proxy.sent} <= {b"\x14", b"\x15", b"\x16", b"\x17"}, "nothing in clear"
    finally:
        await caller.stop()
        proxy.close()
    reported = state(cloud, caller.name)["reported"]
    assert (reported["pairing"]["state"], reported["hub"]["status"]) == ("paired", "offboarded")
    assert reported["control"] == {"alertsEn": True, "logLvl": 2}
    assert reported["device"]["connectionInfo"] == {"protocol": "CoAP"}


async def test_a_token_that_is_refused_is_signed_anew_and_else_told_with_a_remedy(
    cloud: Cloud, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Watch(skew=-2 * WEEK, quality=ESTIMATED)
    monkeypatch.setattr(device, "watch", past)
    async with session(cloud, device) as coap:
        with pytest.raises(RestError) as told:
            await NrfCoap(coap).state()
        assert (told.value.status, told.value.exit_code) == (403, Exit.NOPERM)
        assert "clock" in told.value.remedy
        past.skew = 0.0
        assert (await NrfCoap(coap).state(whole=True))["pairing"]
    past.skew = -2 * WEEK
    signer = tokens(device)
    kept = signer.token()
    past.skew = 0.0
    assert signer.token() == kept, "by the clock that it was made with it is young"
    async with client(cloud.told["nrf_coap"], ca=cloud.told["ca"], enter=Login(signer)) as coap:
        assert (await NrfCoap(coap).state(whole=True))["pairing"]
    assert signer.token() != kept


async def test_a_service_of_another_authority_is_told_nothing(cloud: Cloud, device: Device, tmp_path: Path) -> None:
    async with session(cloud, device, str(Authority(tmp_path).ca)) as coap:
        with pytest.raises(RestError) as told:
            await NrfCoap(coap).state()
        assert coap.sessions == 0
    assert "certificate is refused" in told.value.advice
    assert "set `ca`" in told.value.advice


async def test_state_comes_in_both_forms_and_changes(nrf: NrfCoap, device: Device, cloud: Cloud) -> None:
    whole = await nrf.state(whole=True)
    assert whole == await nrf.state(cbor=True) == await nrf.state(whole=True, cbor=True)
    await nrf.report(whole)
    assert not await nrf.state()
    assert not await nrf.state(cbor=True)
    await nrf.desire({"config": {"period": 60, "names": ["a", None], "half": 0.5}})
    assert await nrf.state(cbor=True) == {"config": {"period": 60, "names": ["a", None], "half": 0.5}}
    await nrf.report({"large": "x" * 5000})
    assert state(cloud, device.name)["reported"]["large"] == "x" * 5000
    with pytest.raises(RestError) as told:
        await nrf._patch("nowhere", {})
    assert told.value.status == 404


async def test_messages_come_in_every_form(nrf: NrfCoap, device: Device, cloud: Cloud) -> None:
    now = int(time.time() * 1000)
    await nrf.send({"appId": "TEMP", "messageType": "DATA", "data": "21.5", "ts": now})
    await nrf.send({"appId": "GNSS", "messageType": "DATA", "data": {"lat": 63.4, "lng": 10.4, "acc": 5}})
    await nrf.send({"appId": "TEMP", "messageType": "DATA", "data": "22", "device": "d"})
    await nrf.send_bulk([{"appId": "A", "data": "y" * 4000}, {"appId": "B"}], again=True)
    await nrf.send_binary(b"\0\1")
    await nrf.send_raw(b"\x80")
    with pytest.raises(MessageTooLargeError):
        await nrf.send({"appId": "A", "data": "x" * 60_000})
    kept = [(page["topic"].rpartition("d2c")[2], page["message"]) for page in pages(cloud, device.name)]
    assert kept == [
        ("", {"appId": "TEMP", "messageType": "DATA", "data": "21.5", "ts": now}),
        ("", {"appId": "GNSS", "messageType": "DATA", "data": {"lat": 63.4, "lng": 10.4, "acc": 5}}),
        ("", {"appId": "TEMP", "messageType": "DATA", "data": "22", "device": "d"}),
        ("/bulk", [{"appId": "A", "data": "y" * 4000}, {"appId": "B"}]),
        ("/bin", "AAE="),
        ("/raw", "gA=="),
    ]


async def test_a_job_is_polled_and_told_of(nrf: NrfCoap, device: Device, cloud: Cloud) -> None:
    assert await nrf.current_job() is None
    folder = cloud.folder / "s3" / "nrf-bundles"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "APP*0c0a9000*v2").write_bytes(b"image")
    made = ask(cloud, "POST", "/fota-jobs", json={"bundleId": "APP*0c0a9000*v2", "deviceIds": [device.name]})
    job = made.json()["jobId"]
    found = await nrf.current_job("APP")
    assert found is not None
    assert found.job_id == job
    assert await nrf.current_job("MODEM") is None
    assert await nrf.tell_job(job, FotaStatus.IN_PROGRESS, "downloading: 10 %")
    assert await nrf.tell_job(job, FotaStatus.SUCCEEDED)
    assert not await nrf.tell_job(job, FotaStatus.FAILED), "it has ended"
    execution = ask(cloud, "GET", f"/fota-job-executions/{device.name}/{job}").json()
    assert execution["status"] == "SUCCEEDED"


async def test_the_readme_brings_a_daemon_up(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines as they are; only folders and ports are those of the test."""
    _, _, section = README.read_text().partition('`transport = "coap"` is the same')
    toml, lines = (re.findall(f"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("toml", "sh"))
    folders = {"/tmp/cloud/": f"{cloud.folder}/", "/tmp/": f"{tmp_path}/"}
    (tmp_path / "nrf-coap.toml").write_text(re.sub("/tmp/(cloud/)?", lambda found: folders[found[0]], toml))
    (tmp_path / "hub-8.pem").write_text(Keys(tmp_path, "hub-8").certificate)
    monkeypatch.chdir(tmp_path)
    api = f"--url {cloud.told['nrf']} --api-key-file {cloud.folder / 'nrf-api-key'}"
    export, *commands = [
        shlex.split(line.replace("$NRF", api).partition(" > ")[0], comments=True) for line in lines.splitlines()
    ]
    name, _, url = export[1].partition("=")
    monkeypatch.setenv(name, url.rpartition(":")[0] + ":" + cloud.told["nrf_coap"].rpartition(":")[2])
    for command in commands[:-1]:
        assert await asyncio.to_thread(cli.main, command[1:]) == 0, capsys.readouterr().err
    assert commands[-1][:2] == ["agent", "run"]

    def hub() -> str:
        return str(state(cloud, "hub-8").get("reported", {}).get("hub", {}).get("status"))

    with (tmp_path / "agent.log").open("ab") as log:
        process: subprocess.Popen[bytes] = forked.Popen(
            [sys.executable, "-m", "agent.cli", *commands[-1][1:]], stdout=log, stderr=log
        )
    try:
        await until(lambda: hub() == "online", 20.0, "the hub")
    finally:
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 10)
    assert code == 0
    assert hub() == "offline"
