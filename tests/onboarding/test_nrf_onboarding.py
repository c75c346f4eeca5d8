"""`agent onboard` against the stand-in, with Nordic's own tools as the judge of what we write and the maker of what we read."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from nordic_rig import ONBOARD, credentials, make_authority, run
from nrf_rig import Keys, ask, jitp
from onboarding_rig import CANARY, Agent, holding, secret_file
from raw_http import Asked, RawHttp, Write, answer
from standin_rig import Cloud

from agent.wire.nrf_onboarding import row_errors

pytestmark = pytest.mark.conformance

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return make_authority(tmp_path_factory.mktemp("ca"))


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


def known(cloud: Cloud, device: str) -> bool:
    return bool(ask(cloud, "GET", f"/devices/{device}").status == 200)


def test_files_of_nordics_tools_are_read_and_uploaded(
    cloud: Cloud, agent: Agent, api_key: Path, authority: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("nu-1", "nu-2"):
        credentials(authority, tmp_path, "--cn", name)
    checked = agent("onboard", "nrf-csv", "check", "devices", "onboard.csv", "--json").told
    assert checked == {"ok": True, "files": {"onboard.csv": 2}, "warnings": []}
    (done,) = agent(*upload(cloud, api_key), "devices", "onboard.csv", "--json").told
    assert (done["status"], done["rows"], done["failed"]) == ("SUCCEEDED", 2, [])
    assert known(cloud, "nu-1")
    again = agent(*upload(cloud, api_key), "devices", "onboard.csv", "--json").told
    assert (again[0]["operation"], again[0]["note"]) == (
        done["operation"],
        "it was uploaded before, and has not changed",
    )


def upload(cloud: Cloud, key: Path) -> tuple[str, ...]:
    return "onboard", "nrf-csv", "upload", "--url", cloud.told["nrf"], "--api-key-file", str(key)


def test_nordics_tool_signs_our_request_and_uploads_our_files(
    cloud: Cloud, agent: Agent, authority: tuple[str, ...], tmp_path: Path
) -> None:
    """The whole way of a hub with a CA of one's own: request, certificate, its install, and the onboarding by the tool."""
    (tmp_path / "hub.csr").write_text(agent("identity", "csr").out)
    credentials(authority, tmp_path, "--csr", str(tmp_path / "hub.csr"))
    agent("identity", "install", "hub-1_crt.pem")
    more = ("--sub-type", "my-gateway", "--tag", "east", "--tag", "sensor", "--firmware", "APP")
    agent("onboard", "nrf-csv", "write", "devices", "ours.csv", "--self", *more)
    (row,) = table(tmp_path / "ours.csv")
    assert row == ["hub-1", "my-gateway", "east|sensor", "APP", (tmp_path / "hub-1_crt.pem").read_text()]
    (theirs,) = table(tmp_path / "onboard.csv")
    assert theirs == ["hub-1", "", "", "", row[4]]
    account = ("--api-key", cloud.told["nrf_api_key"])
    run(
        "-c",
        ONBOARD,
        cloud.told["nrf"],
        *account,
        "--csv",
        str(tmp_path / "ours.csv"),
        "--res",
        str(tmp_path / "result"),
    )
    assert "hub-1,OK" in (tmp_path / "result").read_text()
    found = ask(cloud, "GET", "/devices/hub-1").json()
    assert (found["type"], found["tags"]) == ("Gateway", ["east", "sensor"])
    key = (tmp_path / "state/identity/keys/hub-a.key").read_text()  # `agent jwt` needs a clock that is synchronised
    token = jwt.encode({"sub": "hub-1", "exp": int(time.time()) + 600}, key, "ES256")
    assert ask(cloud, "GET", "/devices/hub-1", token).status == 200


def test_nordics_tool_adds_to_our_files_and_its_folders_are_read(
    agent: Agent, authority: tuple[str, ...], tmp_path: Path
) -> None:
    agent("identity", "csr")
    agent("onboard", "nrf-csv", "write", "devices", "onboard.csv", "--self")
    credentials(authority, tmp_path, "--cn", "added-1")
    assert agent("onboard", "nrf-csv", "check", "devices", "onboard.csv", "--json").told["files"] == {"onboard.csv": 2}
    folder = Path(authority[1]).parent  # with the authority itself, which is no device
    credentials(authority, folder, "--cn", "added-2", "-f", "fleet-")
    for kind in ("devices", "certificates", "public-keys"):
        agent("onboard", "nrf-csv", "write", kind, "theirs.csv", folder)
        assert [row[0] for row in table(tmp_path / "theirs.csv")] == ["added-2"]


def test_what_our_files_hold_is_what_openssl_reads(agent: Agent, tmp_path: Path) -> None:
    agent("identity", "csr")
    agent("onboard", "nrf-csv", "write", "public-keys", "keys.csv", "--self")
    ((device, pem),) = table(tmp_path / "keys.csv")
    told = agent("identity", "show", "--json").told
    assert (device, pem) == (told["device_id"], told["public_key"])
    shown = subprocess.run(
        ["openssl", "pkey", "-pubin", "-text"], input=pem, capture_output=True, text=True, check=True
    )
    assert "NIST CURVE: P-256" in shown.stdout


def test_rows_that_failed_come_back_ready_for_upload(
    cloud: Cloud, agent: Agent, api_key: Path, authority: tuple[str, ...], tmp_path: Path
) -> None:
    """The stand-in takes all rows or none: those without an error of their own are not lost either."""
    folder = tmp_path / "pem"
    folder.mkdir()
    for name in ("f-1", "f-2", "f-3"):
        credentials(authority, folder, "--cn", name)
    agent("onboard", "nrf-device", "pem/f-2_crt.pem", "--url", cloud.told["nrf"], "--api-key-file", api_key)
    written = agent("onboard", "nrf-csv", "write", "devices", "batch.csv", "pem", "--json").told
    assert written == {"rows": 3, "files": ["batch.csv"]}  # private keys and public keys of the folder are passed over
    failed = agent(*upload(cloud, api_key), "devices", "batch.csv", code=69)
    assert "3 rows not carried out" in failed.err
    assert "batch.failed.reasons.csv" in failed.err
    reasons = table(tmp_path / "batch.failed.reasons.csv")
    assert reasons[2] == ["2", "f-2", "deviceId is onboarded already"]
    assert [line[2] for line in (reasons[1], reasons[3])] == ["not carried out, since other rows failed"] * 2
    again = tmp_path / "batch.failed.csv"
    assert again.read_bytes() == (tmp_path / "batch.csv").read_bytes()
    agent("onboard", "nrf-csv", "check", "devices", again)
    rows = table(again)
    with (tmp_path / "corrected.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row for row in rows if row[0] != "f-2")
    agent(*upload(cloud, api_key), "devices", "corrected.csv")
    assert known(cloud, "f-1") and known(cloud, "f-3")  # noqa: PT018


def test_many_devices_are_split_and_uploaded_in_one_go(
    cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path
) -> None:
    keys = Keys(tmp_path, "many")
    with (tmp_path / "excel.csv").open("w", newline="", encoding="utf-8-sig") as file:
        rows = ([f"many-{number}", keys.public] for number in range(1001))
        csv.writer(file, lineterminator="\r\n").writerows([["deviceId", "keyPem"], *rows])
    written = agent("onboard", "nrf-csv", "write", "public-keys", "split.csv", "excel.csv", "--json").told
    assert written == {"rows": 1001, "files": ["split-1.csv", "split-2.csv"]}
    done = agent(*upload(cloud, api_key), "public-keys", *written["files"], "--json").told
    assert [(one["status"], one["rows"]) for one in done] == [("SUCCEEDED", 1000), ("SUCCEEDED", 1)]


def test_certificates_are_replaced_by_a_file(cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path) -> None:
    old, new = Keys(tmp_path, "cert-1"), Keys(tmp_path, "new")
    service = ("--url", cloud.told["nrf"], "--api-key-file", str(api_key))
    agent("onboard", "nrf-device", "cert-1.pem", *service)
    agent("onboard", "nrf-csv", "write", "certificates", "new.csv", "cert-1=new.pem")
    checked = agent("onboard", "nrf-csv", "check", "certificates", "new.csv", "--json").told
    assert "common name is 'new'" in checked["warnings"][0]
    agent(*upload(cloud, api_key), "certificates", "new.csv")
    tokens = [keys.token("cert-1") for keys in (old, new)]
    assert [ask(cloud, "GET", "/devices/cert-1", token).status for token in tokens] == [401, 200]


def test_a_device_is_associated_dissociated_and_deleted(
    cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path
) -> None:
    text = {"Content-Type": "text/plain"}
    made = ask(cloud, "POST", "/devices/nrf-1/certificates", body=b"pin-123456", headers=text).json()
    files = tmp_path / "nrf-1.pem", tmp_path / "nrf-1.key"
    files[0].write_text(made["clientCert"])
    files[1].write_text(made["privateKey"])
    jitp(cloud, files)
    service = ("--url", cloud.told["nrf"], "--api-key-file", str(api_key))
    wrong = secret_file(tmp_path / "wrong", "pin-000000")
    refused = agent("onboard", "nrf-associate", "nrf-1", "--code-file", wrong, *service, code=77)
    assert "40102" in refused.err
    assert "on the device's label" in refused.err
    code = secret_file(tmp_path / "code", "pin-123456")
    agent("onboard", "nrf-associate", "nrf-1", "--code-file", code, *service)
    assert known(cloud, "nrf-1")
    agent("onboard", "nrf-dissociate", "nrf-1", *service)
    agent("onboard", "nrf-associate", "nrf-1", "--code-file", code, *service)
    agent("onboard", "nrf-delete", "nrf-1", *service)
    assert not known(cloud, "nrf-1")
    assert "nrf-1" in agent("onboard", "nrf-delete", "nrf-1", *service, code=69).err


async def test_a_deadline_ends_the_wait_and_the_same_command_goes_on(agent: Agent, tmp_path: Path) -> None:
    key = secret_file(tmp_path / "key", CANARY)
    Keys(tmp_path, "slow-1")
    agent("onboard", "nrf-csv", "write", "devices", "slow.csv", "slow-1.pem")
    state = {"status": "IN_PROGRESS"}

    async def service(asked: Asked, writer: Write) -> None:
        body = {"bulkOpsRequestId": ULID} if asked.method == "POST" else {"bulkOpsRequestId": ULID, **state}
        writer.write(answer(202 if asked.method == "POST" else 200, json.dumps(body).encode()))

    async with RawHttp(service) as server:
        command = ("onboard", "nrf-csv", "upload", "devices", "slow.csv", "--api-key-file", key, "--url", server.url)
        late = await asyncio.to_thread(agent, *command, "--deadline", "0.5", code=75)
        assert ULID in late.err
        assert "goes on" in late.err
        state["status"] = "SUCCEEDED"
        await asyncio.to_thread(agent, *command)
    uploads = [asked for asked in server.asked if asked.method == "POST"]
    assert [asked.path for asked in uploads] == ["/devices"]
    assert uploads[0].body == (tmp_path / "slow.csv").read_bytes()
    assert uploads[0].headers["authorization"] == f"Bearer {CANARY}"
    assert holding(tmp_path, CANARY) == [key]


def test_a_device_in_two_files_is_found_before_anything_is_sent(
    cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path
) -> None:
    Keys(tmp_path, "d-1")
    for name in ("one.csv", "two.csv"):
        agent("onboard", "nrf-csv", "write", "devices", name, "d-1.pem")
    refused = agent(*upload(cloud, api_key), "devices", "one.csv", "two.csv", code=78)
    assert "two.csv:1, row 1" in refused.err
    assert "there already, at one.csv:1, row 1" in refused.err
    assert not known(cloud, "d-1")


async def test_only_what_is_not_there_comes_back(agent: Agent, tmp_path: Path) -> None:
    """A cloud that carries out the good rows of a file: they are not sent again. Its error summary is at another host, without the key."""
    key = secret_file(tmp_path / "key", CANARY)
    for number in range(3):
        Keys(tmp_path, f"p-{number}")
    agent("onboard", "nrf-csv", "write", "devices", "part.csv", "p-0.pem", "p-1.pem", "p-2.pem")
    there = {"/devices/p-0"}
    async with RawHttp(answer(200, b'{"errors": ["[1]: certificate is revoked", "[9]: of no row"]}')) as store:

        async def service(asked: Asked, writer: Write) -> None:
            if asked.path.startswith("/devices/"):
                writer.write(answer(200, b"{}") if asked.path in there else answer(404, b'{"code": 40410}'))
                return
            url = f"{store.url}/errors.json?X-Amz-Signature=canary-signature"
            body = {"bulkOpsRequestId": ULID, "status": "FAILED", "errorSummaryUrl": url}
            writer.write(answer(202 if asked.method == "POST" else 200, json.dumps(body).encode()))

        async with RawHttp(service) as server:
            command = (
                "onboard",
                "nrf-csv",
                "upload",
                "devices",
                "part.csv",
                "--api-key-file",
                key,
                "--url",
                server.url,
            )
            failed = await asyncio.to_thread(agent, *command, "--json", code=69)
    assert failed.told[0]["failed"] == [
        {"deviceId": "p-1", "reason": "certificate is revoked"},
        {"deviceId": "p-2", "reason": "not carried out, since other rows failed"},
    ]
    assert [row[0] for row in table(tmp_path / "part.failed.csv")] == ["p-1", "p-2"]
    assert "authorization" not in store.asked[0].headers
    assert "canary-signature" not in failed.out + failed.err
    assert holding(tmp_path, CANARY) == [key]


def test_people_see_a_bar_and_programs_do_not(cloud: Cloud, agent: Agent, api_key: Path, tmp_path: Path) -> None:
    Keys(tmp_path, "bar-1")
    agent("onboard", "nrf-csv", "write", "devices", "bar.csv", "bar-1.pem")
    shell = " ".join([sys.executable, "-m", "agent.cli", *upload(cloud, api_key), "devices", "bar.csv"])
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent), "TERM": "xterm", "COLUMNS": "120"}
    seen = subprocess.run(
        ["script", "-qec", shell, "/dev/null"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert "1/1" in seen
    assert cloud.told["nrf_api_key"] not in seen


def test_a_key_that_opens_nothing_is_told_and_not_shown(cloud: Cloud, agent: Agent, tmp_path: Path) -> None:
    Keys(tmp_path, "x-1")
    agent("onboard", "nrf-csv", "write", "devices", "x.csv", "x-1.pem")
    key = secret_file(tmp_path / "key", CANARY)
    refused = agent(*upload(cloud, key), "devices", "x.csv", code=77)
    assert "401" in refused.err
    assert CANARY not in refused.out + refused.err
    key.chmod(0o644)
    assert "chmod 600" in agent(*upload(cloud, key), "devices", "x.csv", code=78).err
    assert "no key or token" in agent("onboard", "nrf-csv", "upload", "devices", "x.csv", code=78).err
    assert holding(tmp_path, CANARY) == [key]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"errors": ["[0]: bad id", "[7]: bad pem", "[0]: twice"]}', {0: "bad id; twice", 7: "bad pem"}),
        (
            b"Error processing rows [messages to rows (1-based)]: {'bad id': [1, 3], 'bad pem': [8]}.",
            {0: "bad id", 2: "bad id", 7: "bad pem"},
        ),
        (b'{"error":"[rows (1-based)]: {\\"bad\\": [2]}."}', {1: "bad"}),
        (b'{"errors": [3, null, "[x]: y"]}', {}),
        (b"[(1-based)]: {'a': __import__('os')}", {}),
        (b"\xff" * 100, {}),
    ],
)
def test_both_forms_of_an_error_summary_are_read(body: bytes, found: dict[int, str]) -> None:
    assert row_errors(body) == found
