"""`agent certs bulk` against the stand-in, judged by OpenSSL; what no good service does comes from a raw server."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forked
import pytest
from onboarding_rig import CANARY, Agent, holding, secret_file
from raw_http import Asked, RawHttp, Step, Write, answer
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

JSON = "Content-Type: application/vnd.aws-cdf-v1.0+json"
ROOT = Path(__file__).parent.parent.parent
TASK = "6a5d8a3c-0000-11ee-8000-0242ac120002"


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def fits(folder: Path, entry: Mapping[str, str]) -> bool:
    """The key file is private and is that of the certificate file."""
    certificate, key = folder / entry["certificate"], folder / entry["key"]
    assert key.stat().st_mode & 0o777 == 0o600
    return openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", certificate, "-noout", "-pubkey")


def test_a_suppliers_batch_is_made_fetched_and_installed(cloud: Cloud, agent: Agent, tmp_path: Path) -> None:
    service = ("--url", cloud.told["bulk_certificates"], "--folder", "batch")
    name = "`hub::`A1F${increment(3)}"
    subject = ("--organization", "Acme", "--country", "DE", "--include-ca")
    made = agent(
        "certs", "bulk", "create", *service, "--supplier", "acme", "--common-name", name, *subject, "--json"
    ).told
    again = agent("certs", "bulk", "create", *service, code=64)
    assert "a task in this folder already" in again.err
    found = agent("certs", "bulk", "fetch", "--folder", "batch", "--json").told
    devices = tmp_path / "batch/devices"
    assert [(entry["device"], entry["named"]) for entry in found] == [
        (f"hub::A{n}", "manifest") for n in ("1F", "20", "21")
    ]
    assert all(fits(devices, entry) for entry in found)
    assert sorted(path.name for path in (tmp_path / "batch").iterdir()) == [".lock", "devices", "task.json"]
    assert devices.stat().st_mode & 0o777 == 0o700
    status = agent("certs", "bulk", "status", "--folder", "batch", "--json").told
    assert status == {"task": made["task"], "status": "complete", "chunks": 1, "done": 1}
    assert agent("certs", "bulk", "fetch", "--folder", "batch", "--json").told == found

    told = agent("certs", "bulk", "install", "hub::A20", "--folder", "batch", "--json", HUB_AGENT__HUB__ID="").told
    assert (told["thing"], told["certificate_id"]) == ("hub::a20", found[1]["fingerprint"])
    key = tmp_path / "state/identity/keys/hub-a.key"
    assert openssl("pkey", "-in", key, "-pubout") == told["public_key"]
    assert key.stat().st_mode & 0o777 == 0o600
    agent("certs", "bulk", "install", "hub::A20", "--folder", "batch")  # doing it again changes nothing
    other = agent("certs", "bulk", "install", "hub::A21", "--folder", "batch", "--json").told
    assert (other["certificate_id"], other["certificate"]["rotation"]) == (told["certificate_id"], "candidate")
    assert "no certificate of" in agent("certs", "bulk", "install", "hub::A22", "--folder", "batch", code=64).err


def test_the_default_path_makes_certificates_for_a_list_of_names(cloud: Cloud, agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("unit-1\nUNIT-2\n")
    create = ("certs", "bulk", "create", "--url", cloud.told["bulk_certificates"], "--register", "--days", "30")
    agent(*create, "--common-name", "`x:`${list}", "--common-names", "names")
    found = agent("certs", "bulk", "fetch", "--json").told
    assert [(entry["device"], entry["named"]) for entry in found] == [(f"x:UNIT-{n}", "manifest") for n in (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--common-name", "XYZ${increment(3)}"), 69, "hexadecimal"),
        (("--country", "DE"), 64, "a common name is needed"),
        (("--common-name", "A", "--days", "900"), 64, "825"),
        (("--quantity", "0"), 64, "quantity"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_its_remedy(
    cloud: Cloud, agent: Agent, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    refused = agent("certs", "bulk", "create", "--url", cloud.told["bulk_certificates"], *arguments, code=code)
    assert word in refused.err
    assert not (tmp_path / "task.json").exists()


def test_a_task_that_is_gone_is_told(cloud: Cloud, agent: Agent, tmp_path: Path) -> None:
    task = {"task": TASK, "url": cloud.told["bulk_certificates"], "supplier": "", "quantity": 1}
    (tmp_path / "task.json").write_text(json.dumps(task))
    assert "of another installation" in agent("certs", "bulk", "fetch", code=69).err
    (tmp_path / "task.json").write_text("{")
    assert "cannot be read" in agent("certs", "bulk", "fetch", code=78).err


# ---- services that do not keep their word ------------------------------------------------------------------------------


def status(word: str, pending: int = 0) -> bytes:
    told = {"taskId": TASK, "status": word, "batchDate": 1, "chunksPending": pending, "chunksTotal": 3}
    return answer(200, json.dumps(told).encode(), JSON)


class Service(RawHttp):
    """`answers`: path -> answer."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        async def serve(asked: Asked, writer: Write) -> None:
            writer.write(self.answers.get(asked.path, answer(404)))

        step: Step = serve
        super().__init__(step)
        self.answers = answers


async def fetch(
    agent: Agent, folder: Path, answers: dict[str, bytes], *more: Any, code: int = 69
) -> tuple[str, list[Asked]]:
    """What a fetch of a service with a base path has told on standard error, and what it has asked."""
    async with Service({f"/base{path}": reply for path, reply in answers.items()}) as service:
        task = {"task": TASK, "url": f"{service.url}/base", "supplier": "", "quantity": 1}
        (folder / "task.json").write_text(json.dumps(task))
        secret_file(folder / "token", CANARY)
        done = await asyncio.to_thread(agent, "certs", "bulk", "fetch", "--token-file", "token", *more, code=code)
    assert CANARY not in done.out + done.err
    assert holding(folder, CANARY) == [folder / "token"]
    if code:
        left = {path.name for path in folder.iterdir()}
        assert left == {"task.json", "token", ".lock"}, "something half was left"
    return done.err, service.asked


async def test_a_task_that_never_ends_has_a_deadline(agent: Agent, tmp_path: Path) -> None:
    answers = {f"/certificates/{TASK}/task": status("pending", 2)}
    told, asked = await fetch(agent, tmp_path, answers, "--deadline", "0.3", code=75)
    assert "2 of 3 chunks are pending" in told
    assert asked[0].headers["accept"] == "application/vnd.aws-cdf-v1.0+json"
    assert asked[0].headers["authorization"] == f"Bearer {CANARY}"


async def test_the_redirect_of_a_pending_task_is_not_followed(agent: Agent, tmp_path: Path) -> None:
    """It leads to where the API would be without its base path."""
    path = f"/certificates/{TASK}"
    answers = {f"{path}/task": status("complete"), path: answer(303, b"", f"Location: {path}/task")}
    told, asked = await fetch(agent, tmp_path, answers, code=75)
    assert "still pending" in told
    assert [one.path for one in asked] == [f"/base{path}/task", f"/base{path}"]


async def test_a_status_instead_of_a_zip_file_is_not_unpacked(agent: Agent, tmp_path: Path) -> None:
    path = f"/certificates/{TASK}"
    told, _ = await fetch(agent, tmp_path, {f"{path}/task": status("complete"), path: status("pending")})
    assert "neither addresses nor a zip file" in told


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def pair(folder: Path, common_name: str) -> dict[str, bytes]:
    """The members of a certificate by OpenSSL; its id is the common name."""
    key, certificate = folder / "k", folder / "c"
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}")
    openssl(*make, "-keyout", key, "-out", certificate)
    name = f"certs/{common_name}"
    found = {f"{name}_cert.pem": certificate.read_bytes(), f"{name}_key.pem": key.read_bytes()}
    key.unlink()
    certificate.unlink()
    return found


async def test_a_service_that_gives_the_zip_file_itself_is_understood(agent: Agent, tmp_path: Path) -> None:
    body, path = zipped(**pair(tmp_path, "dW5pdC0x")), f"/certificates/{TASK}"
    answers = {f"{path}/task": status("complete"), path: answer(200, body, "Content-Type: application/zip")}
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch/0.zip").write_bytes(b"of a run that was killed")
    await fetch(agent, tmp_path, answers, code=0)
    (entry,) = json.loads((tmp_path / "devices/devices.json").read_text())
    assert (entry["device"], entry["named"], entry["certificate"]) == ("unit-1", "subject", "unit-1.pem")
    assert fits(tmp_path / "devices", entry)
    assert not (tmp_path / ".fetch").exists()


async def test_a_fetch_that_is_killed_leaves_nothing_to_be_seen(agent: Agent, tmp_path: Path) -> None:
    body, path, held = zipped(**pair(tmp_path, "dW5pdC0x")), f"/certificates/{TASK}", asyncio.Event()
    answers = {f"{path}/task": status("complete")}
    whole = answer(200, body)

    async def serve(asked: Asked, writer: Write) -> None:
        if asked.path == "/0.zip" and not held.is_set():
            writer.write(whole[: len(whole) // 2])
            await writer.drain()
            held.set()
            await service.open.wait()
            return
        writer.write(whole if asked.path == "/0.zip" else answers[asked.path])

    async with RawHttp(serve) as service:
        answers[path] = answer(200, json.dumps([f"{service.url}/0.zip"]).encode(), JSON)
        (tmp_path / "task.json").write_text(
            json.dumps({"task": TASK, "url": service.url, "supplier": "", "quantity": 1})
        )
        command = [sys.executable, "-m", "agent.cli", "certs", "bulk", "fetch"]
        process = forked.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
        )
        await asyncio.wait_for(held.wait(), 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "devices").exists()
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / ".fetch").rglob("*"))
        await asyncio.to_thread(agent, "certs", "bulk", "fetch")
    (entry,) = json.loads((tmp_path / "devices/devices.json").read_text())
    assert fits(tmp_path / "devices", entry)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "devices", "task.json"]


async def test_every_chunk_is_fetched_and_keeps_its_manifest(agent: Agent, tmp_path: Path) -> None:
    """The service's own merged archive has the manifest of the last chunk only. Two of one device are told apart."""
    named = {"certs/certificate_manifest.json": b'{"first": "Zmlyc3Q="}'}
    chunks = [
        {**pair(tmp_path, "Zmlyc3Q="), **named},
        {**pair(tmp_path, "twice"), **{f"{k[:6]}2{k[6:]}": v for k, v in pair(tmp_path, "twice").items()}},
    ]
    path = f"/certificates/{TASK}"
    async with Service({f"/{n}.zip": answer(200, zipped(**chunk)) for n, chunk in enumerate(chunks)}) as store:
        urls = json.dumps([f"{store.url}/{n}.zip?X-Amz-Signature=s" for n in range(2)]).encode()
        await fetch(agent, tmp_path, {f"{path}/task": status("complete"), path: answer(200, urls, JSON)}, code=0)
    found = json.loads((tmp_path / "devices/devices.json").read_text())
    assert [(entry["device"], entry["named"]) for entry in found] == [
        ("first", "manifest"),
        ("twice", "subject"),
        ("twice", "subject"),
    ]
    assert len({entry["key"] for entry in found}) == 3
    assert all(fits(tmp_path / "devices", entry) for entry in found)
    unclear = await asyncio.to_thread(agent, "certs", "bulk", "install", "twice", code=64)
    assert "2 certificates are of 'twice'" in unclear.err
    told = await asyncio.to_thread(agent, "certs", "bulk", "install", found[2]["certificateId"], "--json")
    assert told.told["certificate_id"] == found[2]["fingerprint"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"PK\x03\x04 nonsense", "cannot be read as a zip file"),
        (zipped(**{"../../evil.pem": b"x"}), "leaves its folder"),
        (zipped(**{"certs/a_cert.pem": b"x", "certs/a_key.pem": b"y"}), "no PEM certificate"),
    ],
)
async def test_a_bad_archive_leaves_nothing(agent: Agent, tmp_path: Path, body: bytes, word: str) -> None:
    path = f"/certificates/{TASK}"
    answers = {f"{path}/task": status("complete"), path: answer(200, body, "Content-Type: application/zip")}
    told, _ = await fetch(agent, tmp_path, answers)
    assert word in told
    assert not (tmp_path.parent / "evil.pem").exists()


async def test_a_signed_address_gets_no_token(agent: Agent, tmp_path: Path) -> None:
    path = f"/certificates/{TASK}"
    async with Service({"/0.zip": answer(200, b"no zip")}) as store:
        urls = json.dumps([f"{store.url}/0.zip?X-Amz-Signature=canary-signature"]).encode()
        told, _ = await fetch(agent, tmp_path, {f"{path}/task": status("complete"), path: answer(200, urls, JSON)})
    assert "chunk 0" in told
    assert "canary-signature" not in told
    (asked,) = store.asked
    assert "authorization" not in asked.headers


async def test_an_address_that_is_none_is_told(agent: Agent, tmp_path: Path) -> None:
    path = f"/certificates/{TASK}"
    for url in ("http://[", "ftp://x/y", "http://example.com/plain"):
        answers = {f"{path}/task": status("complete"), path: answer(200, json.dumps([url]).encode(), JSON)}
        async with Service({f"/base{path}": reply for path, reply in answers.items()}) as service:
            task = {"task": TASK, "url": f"{service.url}/base", "supplier": "", "quantity": 1}
            (tmp_path / "task.json").write_text(json.dumps(task))
            done = await asyncio.to_thread(agent, "certs", "bulk", "fetch", code=78)
        assert "URL" in done.err
