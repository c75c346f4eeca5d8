"""A bug or a broken disk behind an API: the caller gets that API's own 500, the log one traceback, and the records nothing."""

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
import urllib3
from botocore.exceptions import ClientError
from standin_account import Account
from standin_rig import Cloud

from agent.sim.authority import Authority
from agent.sim.bulk_certificates import JSON, BulkCertificates
from agent.sim.exchange import Answer, Ask
from agent.sim.iot.shadows import Shadows
from agent.sim.managed_integrations.world import INDEXED
from agent.sim.nrf.rest import NrfCloud
from agent.sim.objects import Objects
from agent.sim.records import Records
from agent.sim.vault import Vault

MARK = "the disk is full"
ENTRY = '{"entries": [{"certificate_title": "a", "full_name": "b", "applicant_email": "c@d.e", "file_id": "f"}]}'


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    yield made
    made.close()


def broken(*_: Any, **__: Any) -> NoReturn:
    raise sqlite3.OperationalError(MARK)


def break_put(monkeypatch: pytest.MonkeyPatch, records: Records, kind: str) -> None:
    """Records of one kind cannot be written any more."""
    put = records.put
    monkeypatch.setattr(records, "put", lambda what, *more: broken() if what == kind else put(what, *more))


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors that were logged, each with its traceback."""
    assert all(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)
    return [str(record.exc_info[1]) for record in caplog.records if record.exc_info]


def failure(call: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return dict(caught.value.response)


@pytest.mark.conformance
def test_an_action_that_fails_is_the_models_internal_error_and_leaves_no_trace(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        break_put(patch, account.records, "token")  # the last thing that is written
        response = failure(account.things, count=1)
    assert response["Error"]["Code"] == "InternalServerException"
    assert MARK not in str(response)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == "InternalServerException"
    assert tracebacks(caplog) == [MARK]
    assert account.service.take_leaving() == []
    assert account.api.list_managed_things()["Items"] == []
    assert len(account.things(1)) == 1


@pytest.mark.conformance
def test_an_action_whose_model_calls_it_otherwise_fails_by_that_name(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account.records, "get", broken)
    response = failure(account.api.get_managed_thing_state, ManagedThingId="a1")
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (
        "InternalFailureException",
        500,
    )
    assert tracebacks(caplog) == [MARK]


@pytest.fixture
def records() -> Iterator[Records]:
    with closing(Records(None, INDEXED)) as made:
        yield made


def answered(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.body


def test_the_vault_fails_with_a_message_and_enters_none_of_a_bulk(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vault = Vault(records, lambda: 1.0, tmp_path)
    records.put("vault-file", "f", {})
    monkeypatch.setattr(records, "count", broken)
    ask = Ask("POST", "/business/certificate-vault/bulk", headers={"authorization": "Bearer t"}, body=ENTRY.encode())
    status, body = answered(vault.handle(ask))
    assert (status, json.loads(body)["error_code"]) == (500, "SERVER_ERROR")
    assert tracebacks(caplog) == [MARK]
    assert records.find("vault") is None


def test_nrf_cloud_fails_with_a_code_that_begins_with_500(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shadows = Shadows(records, lambda: 1.0, lambda _topic, _body: None)
    cloud = NrfCloud(
        records, lambda: 1.0, Objects(tmp_path, ""), Authority(tmp_path), shadows, "key", lambda _topic, _body: None
    )
    break_put(monkeypatch, records, "nrf-bulk")
    ask = Ask("POST", "/v1/devices", headers={"authorization": "Bearer key"}, body=b"a,,,,b\n")
    assert answered(cloud.handle(ask)) == (500, b'{"code": 50000, "message": "Internal server error"}')
    assert tracebacks(caplog) == [MARK]


def test_bulk_certificates_fail_without_a_useful_body(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bulk = BulkCertificates(records, lambda: 1.0, Objects(tmp_path, ""), Authority(tmp_path))
    break_put(monkeypatch, records, "bulk")
    ask = Ask("POST", "/supplier/default/certificates", headers={"accept": JSON, "content-type": JSON})
    assert answered(bulk.handle(ask)) == (500, b"{}")
    assert tracebacks(caplog) == [MARK]


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_half_of_a_surrogate_pair_is_no_text_and_no_failure(
    account: Account, records: Records, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    code = text.encode("unicode_escape")
    body = b'{"Role": "CONTROLLER", "AuthenticationMaterial": "%s", "Owner": "%s"}' % (code, code)
    assert account.service.handle(Ask("POST", "/managed-things", body=body)).status == 400
    vault = Vault(records, lambda: 1.0, tmp_path)
    entry = ENTRY.encode().replace(b'"f"', b'"%s"' % code)
    ask = Ask("POST", "/business/certificate-vault/bulk", headers={"authorization": "Bearer t"}, body=entry)
    assert vault.handle(ask).status == 422
    assert tracebacks(caplog) == []


@pytest.mark.conformance
def test_time_goes_on_for_everything_else_when_one_thing_that_is_due_fails(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "data")
    try:
        (cloud.folder / "s3").mkdir(exist_ok=True)
        (cloud.folder / "s3" / "nrf-bulk-errors").write_text("where a folder should be")
        key = {"Authorization": f"Bearer {cloud.told['nrf_api_key']}"}
        batch = urllib3.request("POST", f"{cloud.told['nrf']}/devices", body=b"a,,,,b\n", headers=key)
        assert batch.status == 202
        log = tmp_path / "data.log"
        until(lambda: "NotADirectoryError" in log.read_text() or "FileExistsError" in log.read_text())
        url, token = f"{cloud.told['vault']}/business/certificate-vault", {"Authorization": "Bearer t"}
        file = {"file": ("a.pdf", b"%PDF-1.4", "application/pdf")}
        made = urllib3.request("POST", f"{url}/upload-file", fields=file, headers=token).json()["data"]["file_id"]
        entry = {"certificate_title": "a", "full_name": "b", "applicant_email": "c@d.ef", "file_id": made}
        assert urllib3.request("POST", f"{url}/bulk", json={"entries": [entry]}, headers=token).status == 202
        until(lambda: urllib3.request("GET", f"{url}?status=generated", headers=token).json()["meta"]["total"] == 1)
    finally:
        cloud.stop(kill=True)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
