"""`agent vault` against the stand-in, and against a raw server for what it never answers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import urllib3
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from onboarding_rig import CANARY, Agent, holding, secret_file
from raw_http import Asked, RawHttp, Write, answer
from standin_rig import Cloud

from agent.errors import HubError
from agent.identity.vault_entries import Journal, read

pytestmark = pytest.mark.conformance

PDF, JPEG, PNG = b"%PDF-1.4 a", b"\xff\xd8\xff\xe0 b", b"\x89PNG\r\n\x1a\n c"
ROOT = Path(__file__).parent.parent.parent
HEADER = "certificate_title,full_name,applicant_email,file,issue_date,details\n"


def entries(folder: Path, count: int = 3, email: str = "jo@example.com") -> Path:
    """A table with its files."""
    table, lines = folder / "entries.csv", [HEADER]
    for number in range(count):
        suffix, start = ((".pdf", PDF), (".jpg", JPEG), (".png", PNG))[number % 3]
        (folder / f"doc-{number}{suffix}").write_bytes(start + str(number).encode())
        lines.append(f'Commissioning,"Smith, Jo",{email},doc-{number}{suffix},2025-06-01,\n')
    table.write_text("".join(lines))
    return table


def vault(cloud: Cloud | RawHttp, what: str, token: Path, *more: Any) -> tuple[Any, ...]:
    url = cloud.told["vault"] if isinstance(cloud, Cloud) else cloud.url
    return "vault", what, *more, "--url", url, "--token-file", token


def test_a_table_is_uploaded_submitted_and_listed(cloud: Cloud, agent: Agent, token: Path, tmp_path: Path) -> None:
    table = entries(tmp_path, email="all@example.com")
    early = agent(*vault(cloud, "submit", token, table), code=64)
    assert "3 of 3 files are not uploaded" in early.err
    assert agent(*vault(cloud, "upload", token, table), "--json").told == {"files": 3, "uploaded": 3, "before": 0}
    assert agent(*vault(cloud, "upload", token, table), "--json").told == {"files": 3, "uploaded": 0, "before": 3}
    made = agent(*vault(cloud, "submit", token, table), "--json").told
    assert (made["total"], made["status"]) == (3, "processing")
    again = agent(*vault(cloud, "submit", token, table), "--json").told
    assert again == {"batch": made["batch"], "total": 3, "status": "submitted before"}
    listed = agent(*vault(cloud, "list", token, "--email", "all@example.com"), "--json").told
    assert [(one["full_name"], one["issue_date"]) for one in listed] == [("Smith, Jo", "2025-06-01")] * 3
    shown = agent(*vault(cloud, "list", token, "--search", "all@example.com"))
    assert all(one["uuid"] in shown.out for one in listed)
    assert holding(tmp_path, CANARY) == [token]


def test_what_has_failed_is_made_again(cloud: Cloud, agent: Agent, token: Path) -> None:
    url, headers = f"{cloud.told['vault']}/business/certificate-vault", {"Authorization": "Bearer x"}
    fields = {"file": ("a.pdf", b"no pdf", "application/pdf")}
    file = urllib3.request("POST", f"{url}/upload-file", fields=fields, headers=headers).json()["data"]["file_id"]
    told = {"certificate_title": "t", "full_name": "f", "applicant_email": "failed@example.com", "file_id": file}
    assert urllib3.request("POST", f"{url}/bulk", json={"entries": [told]}, headers=headers).status == 202
    command = (*vault(cloud, "list", token, "--email", "failed@example.com", "--status", "failed"), "--json")
    while not (listed := agent(*command).told):
        pass  # the stand-in works on it twice a second
    agent(*vault(cloud, "retry", token, listed[0]["uuid"]))
    assert "404" in agent(*vault(cloud, "retry", token, "none"), code=69).err


def test_who_may_not_is_told_the_permission(cloud: Cloud, agent: Agent, tmp_path: Path) -> None:
    token = secret_file(tmp_path / "t", "demo-certificate-vault:create")
    refused = agent(*vault(cloud, "upload", token, entries(tmp_path)), code=77)
    assert "permission certificate-vault:create" in refused.err
    assert "entries.csv:2" in refused.err


# ---- what is refused before anything is sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("t,n,no-email,a.pdf,,", "no email"),
        (",n,a@b.c,a.pdf,,", "certificate_title has 1 to 255"),
        (f"t,{'n' * 256},a@b.c,a.pdf,,", "full_name has 1 to 255"),
        ("t,n,a@b.c,a.pdf,2025-02-30,", "issue_date"),
        ("t,n,a@b.c,a.pdf,20250101,", "issue_date"),
        (f"t,n,a@b.c,a.pdf,,{'d' * 1001}", "details"),
        ("t,n,a@b.c,none.pdf,,", "no such file"),
        ("t,n,a@b.c,,,", "no such file"),
        ("t,n,a@b.c,wrong.png,,", "not what its name says"),
        ("t,n,a@b.c,text.txt,,", "not what its name says"),
        ("t,n,a@b.c,empty.pdf,,", "empty"),
        ("t,n,a@b.c,large.pdf,,", "more than 20971520 bytes"),
        ("t,n,a@b.c", "3 columns instead of 6"),
        ("t,n,a@b.c,good.pdf,,\nt,n,a@b.c,good.pdf,,", "the same entry"),
        ('t,"n', "not a CSV line"),
    ],
)
def test_every_line_that_the_vault_would_refuse_is_named(tmp_path: Path, line: str, word: str) -> None:
    for name, content in (("a", PDF), ("good", PDF), ("empty", b""), ("large", PDF + bytes(20 * 1024 * 1024))):
        (tmp_path / f"{name}.pdf").write_bytes(content)
    (tmp_path / "wrong.png").write_bytes(PDF)
    (tmp_path / "text.txt").write_bytes(b"text")
    table = tmp_path / "entries.csv"
    table.write_text(f"{HEADER}t,n,a@b.c,a.pdf,,\n{line}\n")
    with pytest.raises(HubError) as caught:
        read(table)
    (problem, *_) = caught.value.problems  # type: ignore[attr-defined]
    assert word in problem.message
    assert problem.place == f"{table}:{4 if 'same' in word else 3}"


@examples(2)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet='a,"\n\r@.', max_size=80).map(lambda text: (HEADER + text).encode())
    )
)
def test_any_table_is_entries_or_a_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    table = tmp_path_factory.getbasetemp() / "fuzz.csv"
    table.write_bytes(data)
    with pytest.raises(HubError):
        read(table)


# ---- what goes wrong on the way ----------------------------------------------------------------------------------------


class Service(RawHttp):
    """A vault whose next answers are given; afterwards uploads succeed, each with a file id that counts."""

    def __init__(self, *first: bytes) -> None:
        async def serve(asked: Asked, writer: Write) -> None:
            if self.first:
                writer.write(self.first.pop(0))
            elif asked.path.endswith("/upload-file"):
                self.uploads += 1
                writer.write(answer(201, json.dumps({"data": {"file_id": f"file-{self.uploads}"}}).encode()))
            else:
                total = len(json.loads(asked.body)["entries"])
                writer.write(answer(202, json.dumps({"data": {"batch_id": "8f7d-z987", "total": total}}).encode()))

        super().__init__(serve)
        self.first, self.uploads = list(first), 0


async def run(agent: Agent, *arguments: Any, code: int = 0) -> Any:
    return await asyncio.to_thread(agent, *arguments, code=code)


async def test_busy_and_broken_answers_are_waited_out(agent: Agent, token: Path, tmp_path: Path) -> None:
    busy = answer(429, b'{"message": "Too many"}', "Retry-After: 0")
    async with Service(busy, answer(500, b'{"message": "m", "error_code": "SERVER_ERROR"}')) as service:
        told = await run(agent, *vault(service, "upload", token, entries(tmp_path, 1)), "--json")
        assert told.told["uploaded"] == 1
        service.first = [busy]
        await run(agent, *vault(service, "submit", token, tmp_path / "entries.csv"))


@pytest.mark.parametrize(
    "body",
    [
        {
            "message": "Some file_ids could not be resolved",
            "errors": ["Entry 1: file_id file-2 not found", "Entry 2: duplicate"],
        },
        {
            "message": "invalid",
            "errors": {"entries.1.file_id": ["file-2 not found"], "entries.2.full_name": ["duplicate"]},
        },
    ],
)
async def test_refused_entries_are_shown_at_their_lines(agent: Agent, token: Path, tmp_path: Path, body: Any) -> None:
    """And a file that the vault has lost is uploaded again, alone."""
    async with Service() as service:
        table = entries(tmp_path)
        await run(agent, *vault(service, "upload", token, table))
        service.first = [answer(422, json.dumps(body).encode())]
        refused = await run(agent, *vault(service, "submit", token, table), code=78)
        assert "refuses 2 entries" in refused.err
        for line, word in ((3, "not found"), (4, "duplicate")):
            assert any(f"entries.csv:{line}" in shown and word in shown for shown in refused.err.splitlines())
        again = await run(agent, *vault(service, "upload", token, table), "--json")
        assert again.told == {"files": 3, "uploaded": 1, "before": 2}
        await run(agent, *vault(service, "submit", token, table))


@pytest.mark.parametrize(
    ("status", "body", "code", "word"),
    [
        (401, {"message": "Unauthorized - Invalid API token"}, 77, "Invalid API token"),
        (403, {"message": "Forbidden", "required_permission": "batches:view"}, 77, "permission batches:view"),
        (413, "", 69, "send less at once"),
        (
            422,
            {"message": "invalid", "errors": {"file": ["The file must be a PDF."]}},
            69,
            "file: The file must be a PDF.",
        ),
        (422, {"message": "invalid", "errors": ["too old"]}, 69, "too old"),
        (201, {"data": {}}, 69, "file_id"),
        (201, "nonsense", 69, "is no Uploaded"),
    ],
)
async def test_every_answer_to_an_upload_is_told_at_its_line(
    agent: Agent, token: Path, tmp_path: Path, status: int, body: Any, code: int, word: str
) -> None:
    async with Service(answer(status, json.dumps(body).encode())) as service:
        told = await run(agent, *vault(service, "upload", token, entries(tmp_path, 1)), code=code)
    assert word in told.err
    assert "entries.csv:2" in told.err
    assert CANARY not in told.err


async def test_all_pages_of_a_list_are_read(agent: Agent, token: Path) -> None:
    def page(number: int) -> bytes:
        one = {"uuid": f"u-{number}", "status": {"value": "generated"}}
        return answer(200, json.dumps({"data": [one], "meta": {"current_page": number, "last_page": 3}}).encode())

    async with Service(*(page(number) for number in (1, 2, 3))) as service:
        told = await run(agent, *vault(service, "list", token), "--json")
    assert [one["uuid"] for one in told.told] == ["u-1", "u-2", "u-3"]
    assert [asked.query for asked in service.asked] == [{"per_page": "100", "page": str(n)} for n in (1, 2, 3)]


async def test_a_submission_with_an_unknown_end_is_not_repeated_by_itself(
    agent: Agent, token: Path, tmp_path: Path
) -> None:
    async with Service() as service:
        table = entries(tmp_path, 1)
        await run(agent, *vault(service, "upload", token, table))
        service.first = [answer(500, b'{"message": "Server Error", "error_code": "SERVER_ERROR"}')]
        told = await run(agent, *vault(service, "submit", token, table), code=75)
        assert "SERVER_ERROR" in told.err
        told = await run(agent, *vault(service, "submit", token, table), code=75)
        assert "the answer is not known" in told.err
        await run(agent, *vault(service, "submit", token, table, "--again"))
    assert len([asked for asked in service.asked if asked.path.endswith("/bulk")]) == 2


async def test_after_a_kill_only_the_file_under_way_is_uploaded_again(
    agent: Agent, token: Path, tmp_path: Path
) -> None:
    table, held = entries(tmp_path, 5), asyncio.Event()
    names: list[bytes] = []

    async def serve(asked: Asked, writer: Write) -> None:
        names.append(asked.body.split(b'filename="')[1].split(b'"')[0])
        if len(names) == 3:
            held.set()
            await service.open.wait()
        writer.write(answer(201, json.dumps({"data": {"file_id": f"file-{len(names)}"}}).encode()))

    async with RawHttp(serve) as service:
        command = [sys.executable, "-m", "agent.cli", *map(str, vault(service, "upload", token, table))]
        process = forked.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
        )
        await asyncio.wait_for(held.wait(), 30)
        busy = await run(agent, *vault(service, "upload", token, table), code=75)
        assert "another run is at work" in busy.err
        process.send_signal(signal.SIGKILL)
        process.communicate()
        told = await run(agent, *vault(service, "upload", token, table), "--json")
    assert told.told == {"files": 5, "uploaded": 3, "before": 2}
    assert names == [b"doc-0.pdf", b"doc-1.jpg", b"doc-2.png", b"doc-2.png", b"doc-3.pdf", b"doc-4.jpg"]


def test_a_torn_line_of_the_journal_costs_one_upload(tmp_path: Path) -> None:
    table = entries(tmp_path)
    journal = Journal(table, "u")
    journal.uploaded("a", "1")
    journal.uploaded("b", "2")
    journal.path.write_bytes(journal.path.read_bytes()[:-5])
    torn = Journal(table, "u")
    assert torn.files == {"a": "1"}
    torn.uploaded("b", "3")
    assert Journal(table, "u").files == {"a": "1", "b": "3"}
    assert Journal(table, "another service").files == {}
