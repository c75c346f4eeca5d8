"""Just-in-time provisioning at nRF Cloud: through the command line against the stand-in, and each answer and each power cut."""

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from nrf_rig import ask
from onboarding_rig import Agent, holding, secret_file
from power_cut import PowerCut, cutting
from raw_http import RawHttp, answer
from standin_rig import Cloud

from agent.cloud.rest import RestError, UnavailableError, UnusableError
from agent.errors import TryAgainError, UsageError
from agent.identity.hub_identity import HubIdentity
from agent.identity.nrf_jitp import Jitp
from agent.settings import Settings
from agent.settings.model import HubSettings
from agent.wire.nrf_onboarding import DeviceCertificate

CODE = "canary-pin-8643"
NOTHING = answer(403, b'{"message":null,"traceId":"6f2c3b1a-0000-0000-0000-000000000000"}')


def test_a_hub_is_provisioned_and_the_same_again_changes_nothing(
    cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path
) -> None:
    code = secret_file(tmp_path / "code", CODE)
    command: tuple[Any, ...] = ("onboard", "nrf-jitp", "--code-file", code, "--jitp-url", cloud.told["nrf_jitp"])
    command += ("--ca", cloud.told["ca"], "--url", cloud.told["nrf"], "--api-key-file", api_key, "--json")
    wrong = secret_file(tmp_path / "wrong", "pin-0000")
    first = agent(*command, "--sub-type", "my-gateway").told
    assert first == {"associated": "hub-1", "provisioned_now": True}
    assert ask(cloud, "GET", "/devices/hub-1").status == 200
    held = agent("identity", "show", "--json").told
    assert (held["thing"], held["device_id"]) == ("hub-1", "hub-1")
    assert agent(*command).told == {"associated": "hub-1", "provisioned_now": False}
    assert agent("identity", "show", "--json").told["certificate_id"] == held["certificate_id"]
    refused = agent(*command, "--code-file", wrong, code=77)
    assert "40102" in refused.err
    other = agent(*command, code=64, HUB_AGENT__HUB__ID="hub-2")
    assert "the hub has a certificate already, as hub-1" in other.err
    assert not holding(tmp_path / "state", CODE)
    assert CODE not in refused.out + refused.err + other.err


class Account:
    """nRF Cloud's REST plane: makes certificates, and has the device after `after` questions."""

    def __init__(self, authority: Authority, after: int = 0) -> None:
        self._authority, self.after, self.made, self.codes = authority, after, 0, ["40412", "40413"]

    async def certificate(self, device: str, _code: str) -> DeviceCertificate:
        self.made += 1
        certificate, key = self._authority.issue(device)
        return DeviceCertificate(client_cert=certificate.read_text(), private_key=key.read_text())

    async def associate(self, _device: str, _code: str, _sub_type: str = "") -> None:
        if self.after:
            self.after -= 1
            raise RestError("not there", status=404, code=self.codes[self.after % 2])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("broker"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    return context


def jitp(folder: Path, account: Account, url: str, authority: Authority, **more: Any) -> Jitp:
    identity = HubIdentity(Settings(hub=HubSettings(id="hub-1", state_dir=folder)))
    return Jitp(identity, account, url, lambda *_: None, ca=str(authority.ca), **more)  # type: ignore[arg-type]


async def test_a_connection_that_is_closed_is_the_beginning_and_403_without_words_the_end(
    tls: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    account = Account(authority, after=2)
    async with RawHttp(b"", NOTHING, tls=tls) as server:
        assert await jitp(tmp_path / "state", account, server.url, authority).run("hub-1", CODE)
        assert not await jitp(tmp_path / "state", account, server.url, authority).run("hub-1", CODE)
    assert [(asked.method, asked.path, asked.query) for asked in server.asked] == [
        ("POST", "/topics/jitp", {"qos": "1"})
    ] * 2
    assert "authorization" not in server.asked[0].headers
    assert account.made == 1


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer(403, b'{"message":"Forbidden"}'), RestError),
        (answer(403, b"null"), RestError),
        (answer(403, b"<html>"), RestError),
        (answer(404), RestError),
        (answer(503), UnavailableError),
        (answer(200, b"{}"), UnusableError),
        (b"SSH-2.0 -\r\n\r\n", UnusableError),
    ],
)
async def test_any_other_answer_is_an_error(
    tls: ssl.SSLContext, authority: Authority, tmp_path: Path, step: bytes, error: type[RestError]
) -> None:
    async with RawHttp(step, tls=tls) as server:
        with pytest.raises(error) as raised:
            await jitp(tmp_path / "state", Account(authority), server.url, authority).run("hub-1", CODE)
    assert raised.type is error
    assert CODE not in raised.value.advice


async def test_a_broker_that_refuses_the_certificate_has_not_begun(
    tls: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    """TLS 1.3 tells it by an alert after the handshake, when the request is sent already. asyncio's own servers send no alert."""
    folder = tmp_path / "other"
    folder.mkdir()

    def refuse(listening: socket.socket) -> None:
        client, _ = listening.accept()
        with tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as wrapped:
            with pytest.raises(ssl.SSLError):
                wrapped.do_handshake()
            while socket.socket.recv(wrapped, 65536):  # unread, it would be a reset, which may overtake the alert
                continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        refusing = asyncio.ensure_future(asyncio.to_thread(refuse, listening))
        with pytest.raises(UnavailableError, match="the connection was lost"):
            await jitp(tmp_path / "state", Account(Authority(folder)), url, authority).run("hub-1", CODE)
        await refusing


async def test_the_wait_has_an_end_and_the_same_command_goes_on(
    tls: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    account = Account(authority, after=10**6)
    async with RawHttp(b"", tls=tls) as server:
        with pytest.raises(TryAgainError, match="hub-1 is not there"):
            await jitp(tmp_path / "state", account, server.url, authority, deadline=0.1).run("hub-1", CODE)
        account.after = 0
        await jitp(tmp_path / "state", account, server.url, authority, deadline=0.1).run("hub-1", CODE)
        with pytest.raises(UsageError, match="as hub-1"):
            await jitp(tmp_path / "state", account, server.url, authority).run("hub-2", CODE)
    assert account.made == 1


async def test_a_power_cut_anywhere_is_mended_by_the_same_command(
    tls: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    async with RawHttp(b"", tls=tls) as server:

        async def run(folder: Path, at: int) -> int:
            with cutting(at) as cuts:
                await jitp(folder, Account(authority), server.url, authority).run("hub-1", CODE)
            return cuts.seen

        points = await run(tmp_path / "whole", 0)
        assert points > 8
        for at in range(1, points + 1):
            folder = tmp_path / f"cut-{at}"
            with pytest.raises(PowerCut):
                await run(folder, at)
            await run(folder, 0)
            slots = HubIdentity(Settings(hub=HubSettings(id="hub-1", state_dir=folder))).slots
            assert slots.record.current is not None
            assert slots.sound(slots.record.current)
            assert [path.name for path in (folder / "identity" / "keys").iterdir()] == ["hub-a.key"]
            assert CODE not in json.dumps(slots.record.model_dump())
