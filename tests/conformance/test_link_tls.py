"""The uplink over mutual TLS against a real mosquitto, and every way in which TLS fails."""

import asyncio
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from certificates import Authority
from conftest import Broker, free_port, until
from link_rig import MakeRig, Watcher, live_through_a_kill, rows

from agent.cloud.tls import remedy_of, tls_context
from agent.errors import ConfigError
from tests.conformance.test_link_protocol import BareDaemon

pytestmark = pytest.mark.conformance


class SecureBroker(Broker):
    """mosquitto with a second listener that wants client certificates of `authority`."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.tls_port = free_port()
        self.certificate = folder / "broker.pem"
        user = "user root" if Path("/proc/self").owner() == "root" else ""
        super().__init__(
            folder,
            f"{user}\nlistener {self.tls_port} 127.0.0.1\ncafile {authority.ca}\ncertfile {self.certificate}\n"
            f"keyfile {folder / 'broker.key'}\nrequire_certificate true\nuse_identity_as_username true",
        )


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
async def secure(broker_folder: Path, authority: Authority) -> AsyncIterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made.start()
    yield made
    made.stop()


def context_of(authority: Authority, name: str = "hub-1", days: int = 30) -> ssl.SSLContext:
    certificate, key = authority.issue(name, days=days)
    return tls_context(ca=str(authority.ca), certificate=str(certificate), key=str(key))


async def test_a_broker_killed_under_tls_loses_nothing(
    make_rig: MakeRig, secure: SecureBroker, authority: Authority
) -> None:
    watcher = Watcher(secure.port)
    rig = make_rig(secure.tls_port, tls=context_of(authority))
    await live_through_a_kill(rig, secure, watcher)
    watcher.client.publish("south/hub-1/setup", b'{"version": "1.0.0"}', 1)
    await until(lambda: rig.link.counters["malformed"] == 1, what="a message of the cloud")
    watcher.close()


async def test_small_messages_do_not_wait_for_each_other(
    make_rig: MakeRig, secure: SecureBroker, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets: list[ssl.SSLSocket] = []
    really = ssl.SSLSocket.setsockopt

    def spy(self: ssl.SSLSocket, *arguments: int) -> None:
        really(self, *arguments)
        sockets.append(self)

    monkeypatch.setattr(ssl.SSLSocket, "setsockopt", spy)
    rig = make_rig(secure.tls_port, tls=context_of(authority))
    rig.start()
    await until(lambda: rig.link.connected)
    assert sockets[-1].getpeername() == ("127.0.0.1", secure.tls_port)
    assert sockets[-1].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        ("another authority signed the broker", "set `ca`"),
        ("the broker's name is another", "host"),
        ("the broker's certificate has expired", "clock is wrong"),
        ("no client certificate", "set `certificate` and `key`|another client certificate"),
        (
            "client certificate of another authority",
            "does not know the authority|does not accept|another client certificate",
        ),
        ("client certificate expired", "has expired|does not accept|another client certificate"),
        ("no TLS on this port", "may not speak TLS|does not speak TLS"),
    ],
)
async def test_each_trouble_says_its_remedy(
    tmp_path: Path, make_rig: MakeRig, secure: SecureBroker, authority: Authority, trouble: str, remedy: str
) -> None:
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = Authority(other_folder, "other-ca")
    certificate, key = authority.issue("hub-1")
    port, context = secure.tls_port, context_of(authority)
    match trouble:
        case "another authority signed the broker":
            context = tls_context(ca=str(other.ca), certificate=str(certificate), key=str(key))
        case "the broker's name is another":
            authority.issue("broker", hosts=("elsewhere.example",))
        case "the broker's certificate has expired":
            authority.issue("broker", days=-1)
        case "no client certificate":
            context = tls_context(ca=str(authority.ca), certificate="", key="")
        case "client certificate of another authority":
            foreign, foreign_key = other.issue("hub-1")
            context = tls_context(ca=str(authority.ca), certificate=str(foreign), key=str(foreign_key))
        case "client certificate expired":
            context = context_of(authority, days=-1)
        case _:
            port = secure.port
    secure.stop()
    secure.start()
    rig = make_rig(port, tls=context)
    rig.start()
    await until(lambda: rig.link.last_error, what=f"the error of: {trouble}")
    assert pytest.raises(AssertionError, match=remedy).matches(AssertionError(rig.link.last_error)), rig.link.last_error
    assert not rig.link.connected
    assert rig.link.protocol_level == 5, "trouble with TLS says nothing about MQTT"


async def test_the_hub_is_back_by_itself_when_the_broker_is_mended(
    make_rig: MakeRig, secure: SecureBroker, authority: Authority
) -> None:
    authority.issue("broker", hosts=("elsewhere.example",))
    secure.stop()
    secure.start()
    rig = make_rig(secure.tls_port, tls=context_of(authority))
    await rig.durable(rig.event(1))
    rig.start()
    await until(lambda: "mismatch" in rig.link.last_error, what="the wrong name noticed")
    authority.issue("broker")
    secure.stop()
    secure.start()
    await until(lambda: rows(rig) == 0, what="the event delivered")


async def test_tls_older_than_1_2_is_refused(make_rig: MakeRig, authority: Authority) -> None:
    certificate, key = authority.issue("broker")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.load_cert_chain(certificate, key)

    async def nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=old)
    rig = make_rig(server.sockets[0].getsockname()[1], tls=context_of(authority))
    rig.start()
    await until(lambda: rig.link.last_error, what="an error")
    assert "may not speak TLS 1.2" in rig.link.last_error
    assert not rig.link.connected
    assert "older than 1.2" in remedy_of("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version")
    server.close()
    await server.wait_closed()


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("hub-1")
    _, other_key = authority.issue("hub-2")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n")
    ca = str(authority.ca)
    with pytest.raises(ConfigError, match="is not the certificate's"):
        tls_context(ca=ca, certificate=str(certificate), key=str(other_key))
    for wrong in (broken, tmp_path / "absent.pem"):
        with pytest.raises(ConfigError) as caught:
            tls_context(ca=str(wrong), certificate=str(certificate), key=str(key))
        assert caught.value.place == str(wrong)
        with pytest.raises(ConfigError) as caught:
            tls_context(ca=ca, certificate=str(wrong), key=str(key))
        assert caught.value.place == str(wrong)


# ---- the daemon -------------------------------------------------------------------------------------------------------


def uplink_of(port: int, ca: Path, certificate: Path, key: Path) -> str:
    return f'host = "127.0.0.1"\nport = {port}\nca = "{ca}"\ncertificate = "{certificate}"\nkey = "{key}"'


async def test_the_daemon_says_what_is_wrong_with_tls_and_comes_by_itself_once_it_is_mended(
    tmp_path: Path, broker_folder: Path, secure: SecureBroker, authority: Authority
) -> None:
    authority.issue("broker", hosts=("elsewhere.example",))
    secure.stop()
    secure.start()
    uplink = uplink_of(secure.tls_port, authority.ca, *authority.issue("hub-1"))
    with BareDaemon(tmp_path, uplink) as daemon:
        await daemon.away("use a name or address that the broker's certificate holds as `host`")
        authority.issue("broker")
        secure.stop()
        secure.start()
        await daemon.online()
        assert daemon.stop() == 0
    assert "as hub-1 (p5, c0, k60, u'hub-1')" in (broker_folder / "mosquitto.log").read_text(), "the certificate's name"
    told = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    assert [line["message"] for line in told if line["level"] in ("error", "critical")] == []
    assert any("certificate holds as `host`" in line["message"] for line in told if line["level"] == "warning")


async def test_a_key_of_another_certificate_ends_the_daemon_with_the_remedy(
    tmp_path: Path, authority: Authority
) -> None:
    certificate, _ = authority.issue("hub-1")
    _, other_key = authority.issue("hub-2")
    with BareDaemon(tmp_path, uplink_of(free_port(), authority.ca, certificate, other_key)) as daemon:
        assert daemon.process.wait(20) == 78
    log = daemon.log.read_text()
    assert "is not the certificate's" in log.replace("\n", " ")
    assert "remedy" in log
