"""AWS Connected Device Framework, bulk certificates: tasks that make batches of RSA keys and certificates, fetched as zip files.

Both the paths of the published API description and those of the product are answered (protocol notes, section 7.1). What the
product does against its description is done here too: media types are compared exactly, errors may have no useful body, and the
redirect of an unfinished task does not know where the API is mounted.
"""

import asyncio
import base64
import io
import json
import logging
import re
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.files import write_atomic
from agent.sim.authority import Authority
from agent.sim.exchange import Answer, Ask
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

log = logging.getLogger(__name__)

JSON, ZIP = "application/vnd.aws-cdf-v1.0+json", "application/zip"
CHUNK = 100  # certificates
MOST = 10_000  # of one task: more would take this machine an hour
DAYS = 365
LONGEST_NAME = 64  # characters of a name in base64, which a subject's CN can hold
DEFAULT_CA = "default"
BUCKET = "bulk-certificates"

_NAME = re.compile(r"(?:`(?P<prefix>[^`]*)`)?(?P<start>[^$]*)(?:\$\{(?P<generator>[^}]*)\})?")
_NUMBERED = re.compile(r"increment\((\d{1,6})\)")


class CertInfo(BaseModel):
    """What goes into the subjects. `common_name` is in the product's small language: `prefix`START${increment(n)|list|static}."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    common_name: str = Field(alias="commonName", min_length=1, max_length=256)
    common_name_list: list[str] = Field(default_factory=list, alias="commonNameList", max_length=MOST)
    organization: str = Field(default="", max_length=64)
    organizational_unit: str = Field(default="", alias="organizationalUnit", max_length=64)
    state_name: str = Field(default="", alias="stateName", max_length=128)
    country: str = Field(default="", pattern=r"^(|[A-Za-z]{2})$")
    include_ca: bool = Field(default=False, alias="includeCA")
    days_expiry: int = Field(default=DAYS, alias="daysExpiry", ge=1, le=825)


class TaskRequest(BaseModel):
    """The body of a POST."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    quantity: int = Field(default=1, ge=1, le=MOST)
    register_: bool = Field(default=False, alias="register")
    cert_info: CertInfo | None = Field(default=None, alias="certInfo")


class BulkCertificates:
    """Tasks in the records of kind `bulk`; each chunk is a zip file among the objects."""

    def __init__(self, records: Records, now: Callable[[], float], objects: Objects, authority: Authority) -> None:
        self._records = records
        self._now = now
        self._objects = objects
        self._authority = authority
        self._wake = asyncio.Event()

    def handle(self, ask: Ask) -> Answer:
        """Answer one request."""
        accept = ask.headers.get("accept", "")
        if accept not in (JSON, ZIP):
            return Answer(415)
        try:
            with self._records.transaction():
                return self._answer(ask)
        except Exception:  # a bug costs this request only: told once with its traceback, answered as the service does
            log.exception("%s %s", ask.method, ask.path)
            return Answer(500, b"{}", {"Content-Type": JSON})

    def _answer(self, ask: Ask) -> Answer:
        match ask.method, ask.path.strip("/").split("/"):
            case "POST", ["certificates"]:
                return self._create(ask, DEFAULT_CA)
            case "POST", ["supplier", supplier, "certificates"]:
                return self._create(ask, supplier)
            case "GET", ["certificates", task]:
                return self._fetch(ask, task)
            case "GET", ["certificates", task, "task"]:
                return self._status(task)
        return _json(404, {"error": "Resource does not exist"})

    def _create(self, ask: Ask, supplier: str) -> Answer:
        if ask.headers.get("content-type") != JSON:
            return Answer(400, b"{}", {"Content-Type": JSON})  # the body is not read
        try:
            request = TaskRequest.model_validate_json(ask.body or b"{}")
            names = common_names(request)
        except (ValidationError, ValueError) as error:
            return _json(400, {"error": str(error).splitlines()[0]})
        identifier = str(uuid.uuid1())
        info = request.cert_info.model_dump(by_alias=True) if request.cert_info else {}
        chunks = -(-len(names) // CHUNK)
        task = {
            "taskId": identifier,
            "batchDate": int(self._now() * 1000),
            "chunksTotal": chunks,
            "chunksPending": chunks,
        }
        kept = {**task, "status": "pending", "supplier": supplier, "names": names, "certInfo": info}
        self._records.put("bulk", identifier, kept)
        self._wake.set()
        body = {"quantity": len(names), "register": request.register_, "taskId": identifier, "status": "in_progress"}
        return _json(202, body, {"location": f"/certificates/{identifier}", "x-taskid": identifier})

    def _status(self, identifier: str) -> Answer:
        task = self._records.get("bulk", identifier)
        if task is None:
            return _json(404, {"error": "Resource does not exist"})
        members = ("taskId", "batchDate", "chunksPending", "chunksTotal")
        status = "complete" if task["status"] == "complete" else "pending"
        return _json(200, {**{name: task[name] for name in members}, "status": status})

    def _fetch(self, ask: Ask, identifier: str) -> Answer:
        task = self._records.get("bulk", identifier)
        if task is None:
            return _json(404, {"error": "Resource does not exist"})
        if task["status"] != "complete":
            return Answer(303, b"", {"location": f"/certificates/{identifier}/task"})
        chunks = [self._chunk(identifier, number) for number in range(task["chunksTotal"])]
        if ask.query.get("downloadType", ("zip",))[0] == "signedUrl":
            return _json(200, [self._objects.address(f"s3://{BUCKET}/{chunk.name}") for chunk in chunks])
        return Answer(200, _merged([chunk.read_bytes() for chunk in chunks]), {"Content-Type": ZIP})

    def _chunk(self, identifier: str, number: int) -> Path:
        return self._objects.folder / BUCKET / f"{identifier}-{number}.zip"

    # ---- the worker -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make the chunks of pending tasks, one at a time, beside the loop; a restart goes on with what is missing.

        A task whose chunk cannot be made stays pending for ever, as in the product; the others go on.
        """
        (self._objects.folder / BUCKET).mkdir(parents=True, exist_ok=True, mode=0o700)
        loop = asyncio.get_running_loop()
        while True:
            task = self._records.find("bulk", status="pending")
            if task is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            number = task["chunksTotal"] - task["chunksPending"]
            try:
                await loop.run_in_executor(None, self._make, task, number)
            except Exception:  # whatever it is, the tasks behind it are carried out
                log.exception("task %s", task["taskId"])
                self._records.put("bulk", task["taskId"], {**task, "status": "stuck"})
                continue
            left = task["chunksPending"] - 1
            self._records.put(
                "bulk", task["taskId"], {**task, "chunksPending": left, "status": "pending" if left else "complete"}
            )

    def _make(self, task: Record, number: int) -> None:
        names = task["names"][number * CHUNK : (number + 1) * CHUNK]
        info, manifest = task["certInfo"], {}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                subject = _subject(name, info)
                # The product checks daysExpiry and then forgets it: a certificate lasts a year.
                certificate, key, identifier = self._authority.issue_rsa(task["supplier"], subject, DAYS)
                authority = self._authority.certificate_of(task["supplier"]) if info.get("includeCA") else ""
                archive.writestr(f"certs/{identifier}_cert.pem", certificate + authority)
                archive.writestr(f"certs/{identifier}_key.pem", key)
                manifest[name] = identifier
            archive.writestr("certs/certificate_manifest.json", json.dumps(manifest))
        write_atomic(self._chunk(task["taskId"], number), buffer.getvalue())


def common_names(request: TaskRequest) -> list[str]:
    """The names of a task's certificates. Raises ValueError for a generator that does not exist, no name, or one that is too long."""
    if request.cert_info is None:
        return [uuid.uuid4().hex.upper() for _ in range(request.quantity)]
    names = _generated(request.cert_info, request.quantity)
    if not names or not all(names):
        raise ValueError("commonName makes no name, or an empty one")
    if any(len(_encoded(name)) > LONGEST_NAME for name in names):
        raise ValueError(f"commonName makes a name of more than {LONGEST_NAME} characters in base64")
    return names


def _generated(info: CertInfo, quantity: int) -> list[str]:
    found = _NAME.fullmatch(info.common_name)
    if found is None:
        raise ValueError("commonName is not `prefix`START${generator}")
    prefix, start, generator = found["prefix"] or "", found["start"].upper(), found["generator"]
    if generator in (None, "static"):
        return [prefix + start] * quantity
    if generator == "list":
        return [prefix + name.upper() for name in info.common_name_list]
    numbered = _NUMBERED.fullmatch(generator)
    if numbered is None or not re.fullmatch(r"[0-9A-F]+", start):
        raise ValueError(f"commonName: no generator {generator!r}, or its start is not hexadecimal")
    return [f"{prefix}{int(start, 16) + step:X}" for step in range(min(int(numbered[1]), MOST))]


def _subject(name: str, info: dict[str, Any]) -> dict[str, str]:
    members = {"O": "organization", "OU": "organizationalUnit", "ST": "stateName", "C": "country"}
    subject = {short: str(info[member]) for short, member in members.items() if info.get(member)}
    return {**subject, "CN": _encoded(name)}


def _encoded(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _merged(chunks: list[bytes]) -> bytes:
    """All chunks in one archive; of their manifests only the last one is left, as in the product."""
    entries: dict[str, bytes] = {}
    for chunk in chunks:
        with zipfile.ZipFile(io.BytesIO(chunk)) as archive:
            entries |= {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": JSON, **(headers or {})})
