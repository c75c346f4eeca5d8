"""Bulk certificates over HTTP with a stock client; what is made is judged by OpenSSL."""

import base64
import io
import json
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from standin_rig import Cloud

from agent.sim.bulk_certificates import TaskRequest, common_names

pytestmark = pytest.mark.conformance

JSON, ZIP = "application/vnd.aws-cdf-v1.0+json", "application/zip"


def ask(cloud: Cloud, method: str, path: str, body: Any = None, accept: str = JSON, content_type: str = JSON) -> Any:
    headers = {"Accept": accept, "Content-Type": content_type}
    url = cloud.told["bulk_certificates"] + path
    text = None if body is None else json.dumps(body)
    return urllib3.request(method, url, body=text, headers=headers, redirect=False, retries=False)


def finished(cloud: Cloud, task: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (status := ask(cloud, "GET", f"/certificates/{task}/task").json())["status"] != "complete":
        assert time.monotonic() < end, status
        time.sleep(0.05)
    return dict(status)


def test_a_suppliers_batch_is_certificates_that_openssl_accepts(cloud: Cloud, tmp_path: Path) -> None:
    info = {
        "commonName": "`templateFoo::`AB1CD79EF${increment(3)}",
        "organization": "Acme",
        "country": "DE",
        "includeCA": True,
    }
    made = ask(cloud, "POST", "/supplier/acme/certificates", {"quantity": 1, "certInfo": info})
    assert (made.status, made.json()["status"]) == (202, "in_progress")
    task = made.json()["taskId"]
    assert made.headers["location"] == f"/certificates/{task}"
    early = ask(cloud, "GET", f"/certificates/{task}", accept=ZIP)
    assert early.status == 200 or early.headers["location"] == f"/certificates/{task}/task"
    assert finished(cloud, task)["chunksTotal"] == 1
    archive = zipfile.ZipFile(io.BytesIO(ask(cloud, "GET", f"/certificates/{task}", accept=ZIP).data))
    manifest = json.loads(archive.read("certs/certificate_manifest.json"))
    assert list(manifest) == ["templateFoo::AB1CD79EF", "templateFoo::AB1CD79F0", "templateFoo::AB1CD79F1"]
    for name, identifier in manifest.items():
        chain = archive.read(f"certs/{identifier}_cert.pem").decode()
        leaf, authority = (
            f"{part}-----END CERTIFICATE-----\n" for part in chain.split("-----END CERTIFICATE-----\n")[:2]
        )
        (tmp_path / "leaf.pem").write_text(leaf)
        (tmp_path / "ca.pem").write_text(authority)
        (tmp_path / "key.pem").write_bytes(archive.read(f"certs/{identifier}_key.pem"))
        openssl("verify", "-CAfile", "ca.pem", "leaf.pem", folder=tmp_path)
        subject = openssl("x509", "-in", "leaf.pem", "-noout", "-subject", "-pubkey", folder=tmp_path)
        assert base64.b64encode(name.encode()).decode() in subject
        assert openssl("pkey", "-in", "key.pem", "-pubout", folder=tmp_path) in subject
    (url,) = ask(cloud, "GET", f"/certificates/{task}?downloadType=signedUrl").json()
    assert zipfile.ZipFile(io.BytesIO(urllib3.request("GET", url).data)).namelist() == archive.namelist()


def openssl(*arguments: str, folder: Path) -> str:
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_documented_path_makes_as_many_as_asked_for(cloud: Cloud) -> None:
    made = ask(cloud, "POST", "/certificates", {"quantity": 2, "register": True}).json()
    assert (made["quantity"], made["register"]) == (2, True)
    finished(cloud, made["taskId"])
    archive = zipfile.ZipFile(io.BytesIO(ask(cloud, "GET", f"/certificates/{made['taskId']}", accept=ZIP).data))
    assert len([name for name in archive.namelist() if name.endswith("_key.pem")]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "options", "status"),
    [
        ("GET", "/certificates/none", None, {}, 404),
        ("GET", "/certificates/none/task", None, {}, 404),
        ("POST", "/certificates", {"quantity": 1}, {"accept": "*/*"}, 415),
        ("POST", "/certificates", {"quantity": 1}, {"content_type": "application/json"}, 400),
        ("POST", "/certificates", {"quantity": -1}, {}, 400),
        ("POST", "/supplier/a/certificates", {"certInfo": {"commonName": "AB${incement(3)}"}}, {}, 400),
        ("POST", "/supplier/a/certificates", {"certInfo": {"commonName": "XYZ${increment(3)}"}}, {}, 400),
        ("POST", "/supplier/a/certificates", {"certInfo": {}}, {}, 400),
        ("POST", "/certificates", {"certInfo": {"commonName": "A" * 49}}, {}, 400),
        ("POST", "/certificates", {"certInfo": {"commonName": "${list}"}}, {}, 400),
        ("POST", "/certificates", {"certInfo": {"commonName": "A${increment(0)}"}}, {}, 400),
        ("POST", "/certificates", {"certInfo": {"commonName": "``"}}, {}, 400),
        ("DELETE", "/certificates", None, {}, 404),
    ],
)
def test_what_is_wrong_is_refused(
    cloud: Cloud, method: str, path: str, body: Any, options: dict[str, str], status: int
) -> None:
    assert ask(cloud, method, path, body, **options).status == status


def test_a_task_that_cannot_be_carried_out_holds_up_no_other(cloud: Cloud) -> None:
    made = ask(cloud, "POST", "/supplier/broken/certificates", {"quantity": 1}).json()
    before = {path: path.read_bytes() for path in cloud.folder.glob("supplier-*.key")}
    finished(cloud, made["taskId"])
    keys = [path for path in cloud.folder.glob("supplier-*.key") if path not in before]
    for path in keys:
        path.write_text("no key")
    stuck = ask(cloud, "POST", "/supplier/broken/certificates", {"quantity": 1}).json()
    after = ask(cloud, "POST", "/certificates", {"quantity": 1}).json()
    assert finished(cloud, after["taskId"])["status"] == "complete"
    assert ask(cloud, "GET", f"/certificates/{stuck['taskId']}/task").json()["status"] == "pending"
    assert ask(cloud, "GET", f"/certificates/{stuck['taskId']}", accept=ZIP).status == 303


@given(st.text(max_size=40))
def test_any_common_name_is_a_list_or_a_refusal(text: str) -> None:
    try:
        request = TaskRequest.model_validate({"certInfo": {"commonName": text}})
        assert all(isinstance(name, str) for name in common_names(request))
    except ValueError:
        pass


def test_the_last_of_a_hundred_counts_in_hexadecimal() -> None:
    info = {"commonName": "`templateFoo::`AB1CD79EF${increment(100)}"}
    names = common_names(TaskRequest.model_validate({"certInfo": info}))
    assert base64.b64encode(names[0].encode()) == b"dGVtcGxhdGVGb286OkFCMUNENzlFRg=="
    assert base64.b64encode(names[-1].encode()) == b"dGVtcGxhdGVGb286OkFCMUNEN0E1Mg=="
