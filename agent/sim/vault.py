"""The business certificate vault: diplomas and other documents (not X.509), uploaded one by one and entered in bulk.

Uploads, bulk entries, the list and its errors are those of the published API (protocol notes, section 8). Any bearer token is a user;
the scopes that it lacks follow a minus: `Bearer demo-certificate-vault:create` may not create.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from agent.clock import iso
from agent.files import write_atomic
from agent.sim.exchange import Answer, Ask, read_json
from agent.sim.records import Record, Records

log = logging.getLogger(__name__)

PREFIX = "/business/certificate-vault"
TYPES = {"application/pdf": b"%PDF-", "image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG"}  # and how they begin
LARGEST = 20 * 1024 * 1024
TEXTS = {"certificate_title": 255, "full_name": 255, "applicant_email": 255}
DETAILS = 1000
PER_PAGE, MOST_PER_PAGE = 15, 100
STATUSES = ("pending", "processing", "generated", "failed", "revoked")

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class VaultError(Exception):
    """A request that ends with an HTTP error; `body` is the whole answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, **more}


class Vault:
    """Uploads and certificates in the records; files in `folder`."""

    def __init__(self, records: Records, now: Callable[[], float], folder: Path) -> None:
        self._records = records
        self._now = now
        self._folder = folder

    def handle(self, ask: Ask) -> Answer:
        """Answer one request."""
        try:
            with self._records.transaction():
                status, body = self._answer(ask)
        except VaultError as error:
            status, body = error.status, error.body
        except Exception:  # a bug costs this request only: told once with its traceback, answered as the service does
            log.exception("%s %s", ask.method, ask.path)
            status, body = 500, {"message": "Server Error"}
        return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _answer(self, ask: Ask) -> tuple[int, Any]:
        path = ask.path.removeprefix(PREFIX).strip("/") if ask.path.startswith(PREFIX) else None
        match ask.method, path:
            case "POST", "upload-file":
                self._allow(ask, "create")
                return self._upload(ask)
            case "POST", "bulk":
                self._allow(ask, "create")
                return self._bulk(ask)
            case "GET", "":
                self._allow(ask, "list")
                return self._list(ask)
            case "POST", str(action) if action.endswith("/retry"):
                self._allow(ask, "update")
                return self._retry(self._need(action.removesuffix("/retry")))
            case "GET", str(identifier) if identifier:
                self._allow(ask, "view")
                return 200, {"data": self._shown(self._need(identifier))}
        raise VaultError(404, "Not found")

    def _allow(self, ask: Ask, scope: str) -> None:
        kind, _, token = ask.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise VaultError(401, "Unauthorized - Invalid API token")
        if f"certificate-vault:{scope}" in token.split("-", 1)[-1]:
            raise VaultError(
                403, "Forbidden - Insufficient permissions", required_permission=f"certificate-vault:{scope}"
            )

    # ---- uploads and entries ----------------------------------------------------------------------------------------

    def _upload(self, ask: Ask) -> tuple[int, Any]:
        name, mime, content = _file(ask)
        if mime not in TYPES or len(content) > LARGEST:
            errors = {"file": ["The file must be a PDF, JPEG or PNG of at most 20 MB."]}
            raise VaultError(422, "The given data was invalid.", errors=errors)
        identifier = str(uuid.uuid4())
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(self._folder / identifier, content)
        data = {"file_id": identifier, "file_name": name, "mime_type": mime, "size": len(content)}
        self._records.put("vault-file", identifier, data)
        return 201, {"message": "File uploaded successfully", "data": data}

    def _bulk(self, ask: Ask) -> tuple[int, Any]:
        try:
            body = read_json(ask.body)
        except (ValueError, RecursionError):
            raise VaultError(422, "The body is not JSON.", errors=["the body is not JSON"]) from None
        entries = body.get("entries") if isinstance(body, dict) else None
        if not isinstance(entries, list) or not entries:
            raise VaultError(422, "The entries field is required.", errors=["entries: at least one is needed"])
        errors = [
            f"Entry {place}: {problem}" for place, entry in enumerate(entries) for problem in self._problems(entry)
        ]
        errors += _repeated(entries)
        if errors:
            raise VaultError(422, "Some file_ids could not be resolved", errors=errors)
        batch = str(uuid.uuid4())
        for entry in entries:
            self._enter(entry, batch)
        data = {"batch_id": batch, "total": len(entries), "status": "processing"}
        return 202, {"message": "Bulk vault upload queued for processing", "data": data}

    def _problems(self, entry: Any) -> list[str]:
        if not isinstance(entry, dict):
            return ["is not an object"]
        problems = [
            f"{name} must be a text of 1 to {most} characters"
            for name, most in TEXTS.items()
            if not isinstance(entry.get(name), str) or not 1 <= len(entry[name]) <= most
        ]
        if not problems and not _EMAIL.fullmatch(entry["applicant_email"]):
            problems.append("applicant_email is not an email address")
        if "issue_date" in entry and not _DATE.fullmatch(str(entry["issue_date"])):
            problems.append("issue_date is not a date")
        if len(str(entry.get("details", ""))) > DETAILS:
            problems.append(f"details has more than {DETAILS} characters")
        if self._records.get("vault-file", str(entry.get("file_id"))) is None:
            problems.append(f"file_id {str(entry.get('file_id'))[:64]} not found")
        return problems

    def _enter(self, entry: Record, batch: str) -> None:
        identifier, now = str(uuid.uuid4()), self._now()
        kept = {name: entry.get(name) for name in (*TEXTS, "issue_date", "details", "file_id")}
        kept |= {"uuid": identifier, "status": "processing", "batch": batch, "created": now, "updated": now}
        self._records.put("vault", identifier, {**kept, "id": self._records.count("vault") + 1})

    def tick(self) -> None:
        """Finish what is queued: it fails for a file that is not what it was said to be."""
        for entry in list(self._records.all("vault", status="processing")):
            status = "generated" if self._is_whole(entry["file_id"]) else "failed"
            self._records.put("vault", entry["uuid"], {**entry, "status": status, "updated": self._now()})

    def _is_whole(self, identifier: str) -> bool:
        described = self._records.get("vault-file", identifier)
        path = self._folder / identifier
        return described is not None and path.is_file() and path.read_bytes().startswith(TYPES[described["mime_type"]])

    def _retry(self, entry: Record) -> tuple[int, Any]:
        """Only what has failed is made again; the published API names the call and this rule, not its answers."""
        if entry["status"] != "failed":
            raise VaultError(422, "Only failed certificates can be retried", errors={"status": ["It has not failed."]})
        self._records.put("vault", entry["uuid"], {**entry, "status": "processing", "updated": self._now()})
        return 202, {
            "message": "Certificate queued for processing",
            "data": self._shown({**entry, "status": "processing"}),
        }

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _need(self, identifier: str) -> Record:
        found = self._records.get("vault", identifier)
        if found is None:
            raise VaultError(404, "Certificate not found")
        return found

    def _list(self, ask: Ask) -> tuple[int, Any]:
        size, page = _number(ask, "per_page", PER_PAGE, MOST_PER_PAGE), _number(ask, "page", 1, 10**6)
        status, email, search = (ask.query.get(name, ("",))[0] for name in ("status", "applicant_email", "search"))
        if status and status not in STATUSES:
            raise VaultError(
                422, "The selected status is invalid.", errors={"status": ["The selected status is invalid."]}
            )
        where = {name: value for name, value in (("status", status), ("applicant_email", email)) if value}
        found = [entry for entry in self._records.all("vault", **where) if _fits(entry, search)]
        shown = [self._shown(entry) for entry in found[(page - 1) * size : page * size]]
        last = max(1, -(-len(found) // size))
        meta = {"current_page": page, "last_page": last, "per_page": size, "total": len(found)}
        links = {
            "first": "?page=1",
            "last": f"?page={last}",
            "prev": None,
            "next": f"?page={page + 1}" if page < last else None,
        }
        return 200, {"data": shown, "links": links, "meta": meta}

    def _shown(self, entry: Record) -> dict[str, Any]:
        shown = {name: entry.get(name) for name in ("id", "uuid", *TEXTS, "issue_date")}
        return {
            **shown,
            "reference_id": f"VLT-{entry['id']:08}",
            "source": {"value": "bulk", "label": "Bulk upload"},
            "status": {"value": entry["status"], "label": entry["status"].capitalize()},
            "created_at": iso(entry["created"]),
            "updated_at": iso(entry["updated"]),
        }


def _file(ask: Ask) -> tuple[str, str, bytes]:
    """(name, media type, content) of the one field `file` of a form."""
    head = f"Content-Type: {ask.headers.get('content-type', '')}\r\n\r\n".encode()
    form = BytesParser(policy=policy.HTTP).parsebytes(head + ask.body)
    for part in form.iter_parts() if form.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            return (
                part.get_filename() or "file",
                part.get_content_type(),
                content if isinstance(content, bytes) else b"",
            )
    raise VaultError(422, "The given data was invalid.", errors={"file": ["The file field is required."]})


def _repeated(entries: list[Any]) -> list[str]:
    seen: set[Any] = set()
    errors = []
    for place, entry in enumerate(entries):
        identifier = str(entry.get("file_id")) if isinstance(entry, dict) else ""
        if identifier and identifier in seen:
            errors.append(f"Entry {place}: file_id {identifier[:64]} is used twice")
        seen.add(identifier)
    return errors


def _number(ask: Ask, name: str, default: int, most: int) -> int:
    text = ask.query.get(name, (str(default),))[0]
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise VaultError(422, "The given data was invalid.", errors={name: [f"{name} must be 1 to {most}."]})
    return int(text)


def _fits(entry: Record, search: str) -> bool:
    words = (entry["certificate_title"], entry["full_name"], entry["applicant_email"])
    return not search or any(search.lower() in word.lower() for word in words)
