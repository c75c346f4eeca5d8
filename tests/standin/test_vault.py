"""The certificate vault over HTTP with a stock client: upload, bulk, list, and each documented error."""

import json
from typing import Any

import pytest
import urllib3
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

BASE = "/business/certificate-vault"


def ask(cloud: Cloud, method: str, path: str, token: str = "demo", **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
    return urllib3.request(method, f"{cloud.told['vault']}{BASE}{path}", headers=headers, **options)


def upload(
    cloud: Cloud, name: str = "diploma.pdf", content: bytes = b"%PDF-1.4\r\n\x00\xff", mime: str = "application/pdf"
) -> Any:
    return ask(cloud, "POST", "/upload-file", fields={"file": (name, content, mime)})


def bulk(cloud: Cloud, *entries: Any, token: str = "demo") -> Any:
    return ask(cloud, "POST", "/bulk", token, json={"entries": list(entries)})


def entry(file_id: str, **more: Any) -> dict[str, Any]:
    return {
        "certificate_title": "Diploma",
        "full_name": "John Smith",
        "applicant_email": "john@example.com",
        "file_id": file_id,
        **more,
    }


def test_uploaded_files_become_certificates_of_a_batch(cloud: Cloud) -> None:
    files = [upload(cloud) for _ in range(2)]
    assert [file.status for file in files] == [201, 201]
    assert files[0].json()["data"] | {"file_id": ""} == {
        "file_id": "",
        "file_name": "diploma.pdf",
        "mime_type": "application/pdf",
        "size": 12,
    }
    identifiers = [file.json()["data"]["file_id"] for file in files]
    made = bulk(
        cloud, entry(identifiers[0], issue_date="2025-06-01"), entry(identifiers[1], applicant_email="jane@example.com")
    )
    assert made.status == 202
    assert (made.json()["data"]["total"], made.json()["data"]["status"]) == (2, "processing")
    listed = ask(cloud, "GET", "?applicant_email=jane@example.com&per_page=1").json()
    (found,) = listed["data"]
    assert listed["meta"]["total"] == 1
    assert ask(cloud, "GET", f"/{found['uuid']}").json()["data"]["full_name"] == "John Smith"


def test_entries_that_are_wrong_are_refused_together_and_nothing_is_made(cloud: Cloud) -> None:
    good = upload(cloud).json()["data"]["file_id"]
    before = ask(cloud, "GET", "").json()["meta"]["total"]
    refused = bulk(cloud, entry(good), entry("9e3b101f"), entry(good, full_name=""), "nonsense")
    assert refused.status == 422
    assert "Entry 1: file_id 9e3b101f not found" in refused.json()["errors"]
    assert {error.split(":")[0] for error in refused.json()["errors"]} == {"Entry 1", "Entry 2", "Entry 3"}
    assert ask(cloud, "GET", "").json()["meta"]["total"] == before


@pytest.mark.parametrize(
    "wrong", [{"issue_date": "2025-13-45"}, {"issue_date": 20250601}, {"details": 5}, {"details": "x" * 1001}]
)
def test_an_entry_with_a_date_that_is_none_or_details_that_are_no_short_text_is_refused(
    cloud: Cloud, wrong: dict[str, Any]
) -> None:
    refused = bulk(cloud, entry(upload(cloud).json()["data"]["file_id"], **wrong))
    assert (refused.status, [error.split()[:3] for error in refused.json()["errors"]]) == (
        422,
        [["Entry", "0:", next(iter(wrong))]],
    )


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'{"entries": []}', b'{"entries": 3}', b"\xff"])
def test_a_bulk_that_is_no_list_of_entries_is_refused(cloud: Cloud, body: bytes) -> None:
    assert ask(cloud, "POST", "/bulk", body=body).status == 422


def test_who_may_not_is_told_what_is_missing(cloud: Cloud) -> None:
    unknown = urllib3.request("GET", f"{cloud.told['vault']}{BASE}")
    assert (unknown.status, unknown.json()["message"]) == (401, "Unauthorized - Invalid API token")
    refused = bulk(cloud, entry("x"), token="demo-certificate-vault:create")
    assert (refused.status, refused.json()["required_permission"]) == (403, "certificate-vault:create")


@pytest.mark.parametrize(
    "file", [("a.txt", b"text", "text/plain"), ("a.pdf", b"x" * (20 * 1024 * 1024 + 1), "application/pdf")]
)
def test_a_file_that_the_vault_does_not_take_is_refused(cloud: Cloud, file: tuple[str, bytes, str]) -> None:
    refused = upload(cloud, *file)
    assert (refused.status, list(json.loads(refused.data)["errors"])) == (422, ["file"])


@pytest.mark.parametrize("query", ["?status=nonsense", "?per_page=0", "?per_page=101", "?page=x"])
def test_a_list_that_cannot_be_is_refused(cloud: Cloud, query: str) -> None:
    assert ask(cloud, "GET", query).status == 422
