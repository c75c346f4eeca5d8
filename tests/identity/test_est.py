"""Enrolment over Secure Transport, against a server whose certificates and CMS OpenSSL makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority

from agent.cloud.rest import RestError
from agent.errors import ConfigError, HubError, TryAgainError
from agent.identity import est
from agent.identity.est import Est, EstServer, EstTroubleError
from agent.identity.keys import Subject
from agent.identity.record import Held
from agent.identity.slots import Slots
from agent.identity.sources import fetch
from agent.identity.stores.file import FileKeys
from agent.settings.secret import Secret
from tests.identity.est_server import EstAuthority, openssl

pytestmark = pytest.mark.conformance


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EstAuthority]:
    made = EstAuthority(tmp_path, Authority(tmp_path))
    yield made
    made.close()


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path / "identity", FileKeys(tmp_path / "identity" / "keys"))


def source(server: EstAuthority, password: str = "enrol-me") -> Est:
    told = EstServer(server.url, str(server.authority.ca), "hub", Secret(password))
    return Est(told, Subject("hub-1", {"O": "Home"}))


async def enrolled(server: EstAuthority, slots: Slots) -> Held:
    held = await fetch(slots, source(server), "first")
    slots.change(lambda record: record.connected("a", 1.0))
    return held


async def test_a_hub_enrols_by_password_and_later_by_its_certificate(server: EstAuthority, slots: Slots) -> None:
    first = await enrolled(server, slots)
    second = await fetch(slots, source(server, "no longer known"), "age")
    assert [operation for operation, _, _ in server.asked] == ["simpleenroll", "simplereenroll"]
    assert server.asked[1][1:] == ("", "organizationName=Home/commonName=hub-1"), "by certificate, without a password"
    assert server.subjects == ["subject=CN=hub-1,O=Home"] * 2, "a request for renewal repeats the subject"
    assert (first.source, second.source) == ("est", "est")
    assert first.certificate_id != second.certificate_id
    assert slots.chain("b").read_text().count("BEGIN CERTIFICATE") == 1, "the root is not sent along"
    openssl("verify", "-CAfile", str(server.authority.ca), str(slots.chain("b")))


async def test_after_the_end_of_its_certificate_a_hub_enrols_anew(server: EstAuthority, slots: Slots) -> None:
    await enrolled(server, slots)
    old = slots.record.held["a"].model_copy(update={"expires": 5.0})
    slots.change(lambda record: record.model_copy(update={"held": {"a": old}}))
    await fetch(slots, source(server), "age")
    assert server.asked[-1][0] == "simpleenroll"


async def test_a_request_waits_for_its_approval(server: EstAuthority, slots: Slots) -> None:
    server.pending = 3
    assert await enrolled(server, slots)
    assert len(server.asked) == 4


async def test_nobody_waits_for_ever(server: EstAuthority, slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pending = 10_000
    monkeypatch.setattr(est, "PATIENCE", 0.2)
    with pytest.raises(TryAgainError, match="approved"):
        await enrolled(server, slots)
    assert slots.record.asked == "a", "the key waits for the next attempt"


@pytest.mark.parametrize(
    "answer", [b"\xff\xff", b"", b"AAAA", b"MIIB", b"not base64 at all \x00", b"-----BEGIN CERTIFICATE-----"]
)
async def test_an_answer_that_is_no_certificate_is_a_typed_error(
    server: EstAuthority, slots: Slots, answer: bytes
) -> None:
    server.garbage = answer or b" "
    with pytest.raises(EstTroubleError):
        await enrolled(server, slots)


async def test_a_certificate_for_another_key_is_refused(server: EstAuthority, slots: Slots) -> None:
    await enrolled(server, slots)
    both = ["-certfile", str(server.authority.ca), "-certfile", str(slots.chain("a"))]
    server.garbage = __import__("base64").encodebytes(openssl("crl2pkcs7", "-nocrl", "-outform", "DER", *both))
    with pytest.raises(EstTroubleError, match="for this hub's key"):
        await fetch(slots, source(server), "age")
    assert slots.record.current == "a"


@pytest.mark.parametrize("status", [400, 403, 404, 501])
async def test_a_refusal_has_its_status_and_no_secret(server: EstAuthority, slots: Slots, status: int) -> None:
    server.status = status
    with pytest.raises(RestError) as refused:
        await enrolled(server, slots)
    assert refused.value.status == status
    assert "enrol-me" not in refused.value.advice


async def test_a_wrong_password_is_said(server: EstAuthority, slots: Slots) -> None:
    with pytest.raises(RestError) as refused:
        await fetch(slots, source(server, "wrong"), "first")
    assert refused.value.status == 401


async def test_a_server_of_a_strange_authority_is_not_spoken_to(
    server: EstAuthority, slots: Slots, tmp_path: Path
) -> None:
    strange = Authority(tmp_path, "strange")
    told = EstServer(server.url, str(strange.ca), "hub", Secret("enrol-me"))
    with pytest.raises(HubError):
        await fetch(slots, Est(told, Subject("hub-1")), "first")
    assert not server.asked


async def test_est_is_spoken_over_tls_only(slots: Slots) -> None:
    with pytest.raises(ConfigError, match="TLS"):
        await fetch(slots, Est(EstServer("http://localhost"), Subject("hub-1")), "first")
