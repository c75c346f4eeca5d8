"""TLS of the file server: verified, whatever the hash says, and never left for plain HTTP."""

import ssl
from pathlib import Path

import pytest
from certificates import Authority
from hostile_files import LIMITS, Server, Talk, content, cut, download, good, source, tls_server
from hostile_manners import silent, status

from agent.cloud.rest_answer import RestError, UnavailableError, UnusableError
from agent.errors import ConfigError
from agent.ota.fetch import Fetch, FetchPolicy, StalledError

DATA = content(70_001)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def tls(authority: Authority, name: str, **how: object) -> ssl.SSLContext:
    return tls_server(*authority.issue(name, **how))  # type: ignore[arg-type]


async def refused(path: Path, url: str, ca: Path, kind: type[Exception], words: str = "", resumes: int = 1) -> str:
    limits = FetchPolicy(**{**LIMITS, "ca": str(ca), "resumes": resumes})
    made = source(DATA, url + "/f?sig=CANARY")
    with Fetch(made, path, limits, pause=lambda _: None) as fetch, pytest.raises(kind, match=words) as raised:
        await fetch.run()
    assert type(raised.value) is kind, raised.value
    text = str(getattr(raised.value, "advice", ""))
    assert "CANARY" not in text
    return text


async def test_a_file_comes_through_tls_also_when_it_is_cut(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA, cut(good, 20_000), tls=tls(authority, "good")) as server:
        made, _ = await download(tmp_path / "f", DATA, server.url, ca=str(authority.ca))
    assert made.counters.again == 0


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"hosts": ("other.example",)}, "not valid for"),
        ({"days": -3}, "expired"),
        ({"hosts": ()}, "mismatch|not valid"),
    ],
    ids=["wrong-name", "expired", "no-name"],
)
async def test_a_wrong_certificate_is_refused_at_once(
    tmp_path: Path, authority: Authority, how: dict[str, object], words: str
) -> None:
    with Server(DATA, tls=tls(authority, "wrong", **how)) as server:
        await refused(tmp_path / "f", server.url, authority.ca, RestError, words)
    assert not server.asked


async def test_an_unknown_authority_is_refused(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA, tls=tls(authority, "foreign")) as server:
        other = Authority(tmp_path, "other-ca")
        text = await refused(tmp_path / "f", server.url, other.ca, RestError, "TLS fails")
    assert "authority" in text
    assert "broker" not in text


async def test_a_port_without_tls_is_told(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA) as server:
        server.raw = lambda _server, talk: talk.head(400)
        text = await refused(tmp_path / "f", server.url.replace("http", "https"), authority.ca, RestError, "TLS fails")
    assert "does not speak TLS" in text


async def test_old_tls_is_refused(tmp_path: Path, authority: Authority) -> None:
    context = tls(authority, "old")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with Server(DATA, tls=context) as server:
        await refused(tmp_path / "f", server.url, authority.ca, RestError, "TLS fails")


async def test_a_handshake_that_hangs_ends(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA, tls=tls(authority, "unused")) as server:
        server.tls = None
        server.raw = silent
        limits = FetchPolicy(**{**LIMITS, "ca": str(authority.ca), "resumes": 1, "connect": 0.2})
        made = source(DATA, f"https://127.0.0.1:{server.port}/f")
        with Fetch(made, tmp_path / "f", limits, pause=lambda _: None) as fetch, pytest.raises(StalledError):
            await fetch.run()


async def test_a_handshake_that_is_reset_may_pass(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA) as server:
        server.raw = lambda _server, talk: talk.reset()
        url = server.url.replace("http", "https")
        await refused(tmp_path / "f", url, authority.ca, UnavailableError, "brought nothing new")


async def test_no_redirect_leaves_encryption(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA) as plain, Server(DATA, tls=tls(authority, "down")) as server:
        server.manner = status(302, f"Location: {plain.url}/f")
        await refused(tmp_path / "f", server.url, authority.ca, UnusableError, "without encryption")
        assert not plain.asked


async def test_a_redirect_may_lead_to_another_host_with_a_good_certificate_only(
    tmp_path: Path, authority: Authority
) -> None:
    def led(server: Server, talk: Talk) -> None:
        talk.head(307, f"Location: {server.other}/there", "Content-Length: 0")

    with Server(DATA, led, tls=tls(authority, "first")) as server:
        with Server(DATA, tls=tls(authority, "second")) as other:
            server.other = other.url
            await download(tmp_path / "f", DATA, server.url, ca=str(authority.ca))
        with Server(DATA, tls=tls(authority, "third", days=-3)) as other:
            server.other = other.url
            await refused(tmp_path / "g", server.url, authority.ca, RestError, "expired")


async def test_a_missing_authority_is_a_matter_of_the_configuration(tmp_path: Path, authority: Authority) -> None:
    with Server(DATA, tls=tls(authority, "config")) as server:
        await refused(tmp_path / "f", server.url, tmp_path / "none.pem", ConfigError, "CA cannot be used")
