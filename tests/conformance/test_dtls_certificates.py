"""DTLS with a server's certificate against servers that we did not write: OpenSSL's, and libcoap's with OpenSSL and with GnuTLS."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from conftest import free_port
from nrf_coap_rig import PATIENT, QUICK, client
from udp_proxy import UdpProxy

from agent.cloud.rest import RestError, UnavailableError
from agent.coap.channel import Channel, NotOpenedError
from agent.coap.dtls import verified, verifying
from agent.coap.exchange import OCTETS, TEXT, Ask
from agent.errors import ConfigError

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(shutil.which("coap-server-openssl") is None, reason="apt-get install libcoap3-bin"),
]
Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def libcoap(server: str, files: Files) -> AsyncIterator[int]:
    """libcoap's server with a certificate; its DTLS port."""
    port = free_port()
    arguments = [
        "-A",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        "10",
        "-c",
        str(files[0]),
        "-j",
        str(files[1]),
        "-n",
        "-v",
        "1",
    ]
    process = await asyncio.create_subprocess_exec(server, *arguments)
    try:
        async with asyncio.timeout(10), client(f"coap://127.0.0.1:{port}", limits=QUICK) as plain:
            while True:
                assert process.returncode is None
                try:
                    await plain.call(Ask("GET", "/time"))
                except UnavailableError:
                    continue
                break
        yield port + 1
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("server", ["coap-server-openssl", "coap-server-gnutls"])
async def test_libcoap_is_asked_and_told_in_blocks(authority: Authority, server: str) -> None:
    body = bytes(range(250)) * 20
    async with (
        libcoap(server, authority.issue(server)) as port,
        client(f"coaps://127.0.0.1:{port}", ca=str(authority.ca)) as coap,
    ):
        for _ in range(2):
            assert (await coap.call(Ask("GET", "/time"))).status == 205
        made = await coap.call(Ask("PUT", "/large", body=body, content_format=OCTETS))
        found = await coap.call(Ask("GET", "/large"))
        assert (made.status, found.body, found.headers["content-format"]) == (201, body, str(OCTETS))
        with pytest.raises(RestError) as told:
            await coap.call(Ask("GET", "/nothing"))
        assert told.value.status == 404
        with pytest.raises(RestError):
            await coap.call(Ask("POST", "/time", body=b"x", content_format=TEXT))
        assert coap.sessions == 1


# ---- OpenSSL's server -----------------------------------------------------------------------------------------------


class Stranger:
    """`openssl s_server`, with what it has heard on its standard output."""

    def __init__(self, files: Files, *options: str) -> None:
        self.port = free_port()
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", files[0], "-key", files[1]]
        self.process = subprocess.Popen([*command, *(options or ("-dtls1_2",))], stdin=-1, stdout=-1, stderr=-3)
        while self.line() != b"ACCEPT\n":
            assert self.process.poll() is None

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


Make = Callable[..., Stranger]


@pytest.fixture
def stranger(authority: Authority) -> Iterator[Make]:
    made: list[Stranger] = []

    def make(name: str, *options: str, **issue: Any) -> Stranger:
        made.append(Stranger(authority.issue(name, **issue), *options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def channel(port: int, host: str, ca: Path, heard: Callable[[Channel, bytes], None] = lambda *_: None) -> Channel:
    """To who should be `host`."""
    return Channel("127.0.0.1", port, lambda: verified(host, verifying(str(ca))), heard, lambda *_: None)


async def test_openssl_carries_what_is_said(authority: Authority, stranger: Make) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    server = stranger("named", hosts=("cloud.example.com", "127.0.0.1"))
    for host in ("cloud.example.com", "127.0.0.1"):
        way = channel(server.port, host, authority.ca, lambda _, data: heard.put_nowait(data))
        await way.open(5.0)
        assert way._session is not None
        way._session.send(b"abc\n")
        while await asyncio.to_thread(server.line) != b"abc\n":
            assert server.process.poll() is None
        assert server.process.stdin is not None
        server.process.stdin.write(b"hello\n")
        server.process.stdin.flush()
        async with asyncio.timeout(5):
            assert await heard.get() == b"hello\n"
        way.close()


@pytest.mark.parametrize(
    ("host", "issue", "reason"),
    [
        ("other.example.com", {"hosts": ("cloud.example.com",)}, "hostname mismatch"),
        ("example.com", {"hosts": ("*.example.com",)}, "hostname mismatch"),
        ("127.0.0.2", {"hosts": ("127.0.0.1",)}, "IP address mismatch"),
        ("127.0.0.1", {"hosts": ("127.0.0.1",), "days": -1}, "certificate has expired"),
    ],
)
async def test_a_certificate_of_another_name_or_time_opens_nothing(
    authority: Authority, stranger: Make, host: str, issue: dict[str, Any], reason: str
) -> None:
    server = stranger("wrong", **issue)
    with pytest.raises(NotOpenedError) as told:
        await channel(server.port, host, authority.ca).open(5.0)
    assert told.value.distrust == reason


async def test_a_foreign_authority_is_refused_with_a_remedy(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    async with libcoap("coap-server-openssl", authority.issue("libcoap")) as port:
        for ca, host, words in (
            (other.ca, "127.0.0.1", "set `ca`"),
            (authority.ca, "127.0.0.1", ""),
            (authority.ca, "localhost", ""),
        ):
            async with client(f"coaps://{host}:{port}", ca=str(ca)) as coap:
                if not words:
                    assert (await coap.call(Ask("GET", "/time"))).status == 205
                    continue
                with pytest.raises(RestError, match="certificate is refused") as told:
                    await coap.call(Ask("GET", "/time"))
                assert words in told.value.remedy
                assert not isinstance(told.value, UnavailableError)
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigError) as wrong:
        client("coaps://127.0.0.1", ca=str(tmp_path / "empty.pem"))
    assert (wrong.value.place, "PEM" in wrong.value.remedy) == (str(tmp_path / "empty.pem"), True)


async def test_an_older_dtls_is_not_spoken(authority: Authority, stranger: Make) -> None:
    server = stranger("old", "-dtls1", "-cipher", "ALL:@SECLEVEL=0")
    with pytest.raises(NotOpenedError, match="handshake fails") as told:
        await channel(server.port, "127.0.0.1", authority.ca).open(5.0)
    assert not told.value.distrust


async def test_a_handshake_survives_lost_and_foreign_datagrams(authority: Authority) -> None:
    """A proxy answers the first flight in the server's place, with what is no DTLS."""
    async with libcoap("coap-server-openssl", authority.issue("lossy")) as port:
        proxy = UdpProxy(port)
        await proxy.open()
        try:
            answers = [b"\x16\xfe\xfd" + bytes(40)]
            proxy.reply = lambda _: answers.pop(0) if answers else None
            async with client(f"coaps://127.0.0.1:{proxy.port}", ca=str(authority.ca)) as coap:
                assert (await coap.call(Ask("GET", "/time"))).status == 205
        finally:
            proxy.close()
    assert not answers


async def test_each_address_of_a_name_has_its_turn(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_host: str, port: int, **_: object) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]

    async with libcoap("coap-server-openssl", authority.issue("resolved")) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        limits = replace(QUICK, handshake=0.2)
        async with client(f"coaps://localhost:{port}", ca=str(authority.ca), limits=limits) as coap:
            with pytest.raises(UnavailableError, match="does not answer"):
                await coap.call(Ask("GET", "/time"))
            coap._limits = PATIENT
            for _ in range(2):
                assert (await coap.call(Ask("GET", "/time"))).status == 205


SERVICE = """
import asyncio, ctypes, sys
from agent.coap.channel import Channel
from agent.coap.dtls import verified, verifying
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, of Linux 6.3
    sys.exit("no such kernel")
channel = Channel("127.0.0.1", int(sys.argv[1]), lambda: verified("127.0.0.1", verifying(sys.argv[2])), print, print)
asyncio.run(channel.open(5.0))
print("open")
"""


async def test_a_certificate_needs_no_memory_that_is_writable_and_executable(
    authority: Authority, stranger: Make
) -> None:
    """The service runs with MemoryDenyWriteExecute."""
    server = stranger("service")
    arguments = [sys.executable, "-c", SERVICE, str(server.port), str(authority.ca)]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=-1, stderr=-1)
    told, error = await process.communicate()
    if b"no such kernel" in error:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert told == b"open\n", error
