"""Onboarding at nRF Cloud with the account's key: single devices, and CSV files that are carried out as bulk operations.

A bulk operation is noted beside its file before it is followed: who runs the same command again, after a power cut or a deadline, goes on
with the operation that runs, and uploads nothing twice.
"""

import asyncio
import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.cloud.rest import Rest, RestError, segment
from agent.cloud.rest_request import origin_of
from agent.errors import HubError, TryAgainError
from agent.files import locked, write_atomic
from agent.identity.onboarding_csv import DEVICES, LARGEST, Row, check_apart, read, write
from agent.identity.onboarding_sources import read_bounded
from agent.wire.nrf_onboarding import CSV, PATHS, BulkOperation, DeviceCertificate, OnboardDevice, Queued, row_errors

URL = "https://api.nrfcloud.com/v1"
ERRORS = 4 * 1024 * 1024  # bytes of an error summary
LONG = 300.0  # seconds for a file over a slow line
AT_ONCE = 8  # questions whether a device is there
FIRST, LONGEST = 0.25, 5.0  # seconds between two looks at an operation

_NOT_FOUND = 404
_REMEDIES = {
    "40001": "give the device a certificate: `agent onboard nrf-csv upload certificates`",
    "40101": "its present owner must dissociate it first",
    "40102": "the ownership code is on the device's label, or is its certificate's dnQualifier",
    "40103": "the device is of another account, or was dissociated already",
    "40410": "check the id",
    "40411": "check the device id; `nrf-` ids are of Nordic's own products",
    "40412": "the device connects once before it is associated",
    "40413": "check the device id",
    "40414": "check the device id",
    "42200": "`agent onboard nrf-csv check` shows the rows that the cloud refuses",
}

Tell = Callable[[str, int, int], None]  # status, rows done, rows of all


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that was not carried out."""

    row: Row
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one file. `again` holds the rows that were not carried out, ready for upload; `reasons` says why."""

    file: Path
    operation: str
    status: str
    rows: int
    failed: tuple[Failed, ...] = ()
    again: Path | None = None
    reasons: Path | None = None
    note: str = ""

    def told(self) -> dict[str, object]:
        """As JSON data."""
        failed = [{"deviceId": entry.row.device, "reason": entry.reason} for entry in self.failed]
        paths = {"again": self.again, "reasons": self.reasons}
        return {
            "file": str(self.file),
            "operation": self.operation,
            "status": self.status,
            "rows": self.rows,
            "failed": failed,
            **{name: str(path) if path else "" for name, path in paths.items()},
            "note": self.note,
        }


class NrfAccount:
    """Calls with an account's API key. Raises RestError with nRF Cloud's code and what it means for a person."""

    def __init__(self, rest: Rest, url: str, ca: str = "") -> None:
        self._rest, self.url, self._ca = rest, url.rstrip("/"), ca

    async def onboard(self, row: Row) -> None:
        """One device, at once."""
        body = OnboardDevice(
            certificate=row.pem, sub_type=row.sub_type, tags=row.tags, supported_firmware_types=row.firmware
        )
        told = body.model_dump(by_alias=True, exclude_defaults=True)
        await self._do("POST", f"/devices/{segment(row.device)}", json=told)

    async def associate(self, device: str, code: str, sub_type: str = "") -> None:
        """Take a device into the account with the code that proves it is ours. Idempotent."""
        query = {"subType": sub_type} if sub_type else None
        await self._do("PUT", f"/association/{segment(device)}", text=code, query=query)

    async def certificate(self, device: str, code: str) -> DeviceCertificate:
        """Have a key and a certificate made for a device, which are used for its first connection (JITP)."""
        path, headers = f"/devices/{segment(device)}/certificates", {"Content-Type": "text/plain"}
        try:
            # Made twice, the first one is never used: repeating it does no harm.
            answer = await self._rest.call("POST", path, body=code.encode(), headers=headers, retry=True)
        except RestError as error:
            raise explained(error) from None
        return answer.model(DeviceCertificate)

    async def dissociate(self, device: str) -> None:
        """Take a device out of the account; it stays known to nRF Cloud."""
        await self._do("DELETE", f"/association/{segment(device)}")

    async def delete(self, device: str, code: str = "") -> None:
        """Forget a device. `code`: its ownership code, for one that was never associated."""
        await self._do("DELETE", f"/devices/{segment(device)}", text=code)

    async def exists(self, device: str) -> bool:
        try:
            await self._rest.call("GET", f"/devices/{segment(device)}")
        except RestError as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        return True

    async def upload(self, kind: str, data: bytes) -> str:
        """Queue a file; the id of its operation. A second upload would be a second operation: nothing is repeated by itself."""
        try:
            headers = {"Content-Type": CSV}
            answer = await self._rest.call(
                "POST", f"/{PATHS[kind]}", body=data, headers=headers, retry=False, total=LONG
            )
        except RestError as error:
            raise explained(error) from None
        return answer.model(Queued).bulk_ops_request_id

    async def operation(self, identifier: str) -> BulkOperation:
        return (await self._rest.call("GET", f"/bulk-ops-requests/{segment(identifier)}")).model(BulkOperation)

    async def errors(self, url: str) -> tuple[dict[int, str], str]:
        """(row from 0 -> reason, the beginning of the text) of an error summary. It is fetched without the key: its host is another one."""
        async with Rest(origin_of(url), ca=self._ca) as rest:
            body = (await rest.call("GET", url, headers={"Accept": "*/*"}, limit=ERRORS)).body
        return row_errors(body), body[:200].decode(errors="replace")

    async def _do(self, method: str, path: str, *, text: str = "", **options: object) -> None:
        if text:
            options |= {"body": text.encode(), "headers": {"Content-Type": "text/plain"}}
        try:
            await self._rest.call(method, path, **options)  # type: ignore[arg-type]  # json, query, body or headers
        except RestError as error:
            raise explained(error) from None


def explained(error: RestError) -> RestError:
    """The same error, with the remedy of nRF Cloud's code."""
    error.remedy = _REMEDIES.get(error.code, error.remedy)
    return error


@dataclass(slots=True)
class Upload:
    """Uploads one file after the other and follows each to its end. `deadline`: seconds for each file."""

    account: NrfAccount
    kind: str
    deadline: float
    tell: Tell
    now: Callable[[], float] = time.monotonic
    _done: int = field(default=0, init=False)

    async def run(self, files: Sequence[Path]) -> list[Outcome]:
        """Raises RowsTroubleError before anything is sent when a row is wrong, RestError, and TryAgainError at the deadline."""
        loaded = [(path, data := read_bounded(path, LARGEST), read(data, self.kind, str(path))) for path in files]
        check_apart([row for _, _, rows in loaded for row in rows])
        total = sum(len(rows) for _, _, rows in loaded)
        outcomes = []
        for path, data, rows in loaded:
            with locked(path.with_name(f".{path.name}.lock")):
                outcomes.append(await self._one(path, data, rows, total))
            self._done += len(rows)
            self.tell("", self._done, total)
        return outcomes

    async def _one(self, path: Path, data: bytes, rows: list[Row], total: int) -> Outcome:
        note = _Note(path, {"sha256": hashlib.sha256(data).hexdigest(), "kind": self.kind, "url": self.account.url})
        known = note.operation()
        if known is not None and known.status == "SUCCEEDED":
            text = "it was uploaded before, and has not changed"
            return Outcome(path, known.bulk_ops_request_id, known.status, len(rows), note=text)
        if known is not None and not known.ended:
            identifier = known.bulk_ops_request_id
        else:
            self.tell("uploading", self._done, total)
            identifier = await self.account.upload(self.kind, data)
            note.keep(BulkOperation(bulk_ops_request_id=identifier, status="PENDING"))
        operation = await self._follow(identifier, path, total)
        note.keep(operation)
        if operation.status == "SUCCEEDED":
            return Outcome(path, identifier, operation.status, len(rows))
        return await self._failed(path, rows, operation)

    async def _follow(self, identifier: str, path: Path, total: int) -> BulkOperation:
        end, pause = self.now() + self.deadline, FIRST
        while not (found := await self.account.operation(identifier)).ended:
            self.tell(found.status.lower().replace("_", " "), self._done, total)
            if self.now() + pause > end:
                text = f"operation {identifier} is {found.status} after {self.deadline:.0f} s"
                remedy = "run the same command again: it goes on with this operation"
                raise TryAgainError(text, place=str(path), remedy=remedy)
            await asyncio.sleep(pause)
            pause = min(LONGEST, pause * 1.5)
        return found

    async def _failed(self, path: Path, rows: list[Row], operation: BulkOperation) -> Outcome:
        named: dict[int, str] = {}
        text = "no reason was told"
        if operation.error_summary_url:
            try:
                named, text = await self.account.errors(operation.error_summary_url)
            except HubError as error:  # what has failed is told all the same
                text = f"the reasons cannot be fetched: {error.message}"
        reasons = {row: reason for row, reason in named.items() if row < len(rows)}
        if not reasons:
            reasons = dict.fromkeys(range(len(rows)), f"the file failed: {text}")
        others = [number for number in range(len(rows)) if number not in reasons]
        for start in range(0, len(others), AT_ONCE):
            some = others[start : start + AT_ONCE]
            answers = await asyncio.gather(*(self._left_out(rows[number]) for number in some))
            reasons |= {number: reason for number, reason in zip(some, answers, strict=True) if reason}
        failed = tuple(Failed(rows[number], reasons[number]) for number in sorted(reasons))
        again, why = path.with_suffix(".failed.csv"), path.with_suffix(".failed.reasons.csv")
        write_atomic(why, _table(reasons, rows))
        write_atomic(again, write([entry.row for entry in failed], self.kind)[0])
        return Outcome(path, operation.bulk_ops_request_id, operation.status, len(rows), failed, again, why)

    async def _left_out(self, row: Row) -> str:
        """Why a row that nothing is said about goes into the next file; empty when it was carried out."""
        if self.kind != DEVICES:
            return "not known to be carried out, since other rows failed; repeating it does no harm"
        try:
            return "" if await self.account.exists(row.device) else "not carried out, since other rows failed"
        except RestError as error:
            return f"not known to be carried out: {error.message}"


class _Note:
    """What is known of a file's upload, in `<file>.upload.json`: an operation counts only for the content, kind and account it was made for."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self._path, self._about = path.with_name(f"{path.name}.upload.json"), about

    def operation(self) -> BulkOperation | None:
        try:
            told = json.loads(self._path.read_bytes())
            return BulkOperation.model_validate(told["operation"]) if told["about"] == self._about else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a note that cannot be read is none

    def keep(self, operation: BulkOperation) -> None:
        told = {"about": self._about, "operation": operation.model_dump(by_alias=True)}
        write_atomic(self._path, json.dumps(told).encode())


def _table(reasons: dict[int, str], rows: Sequence[Row]) -> bytes:
    """The reasons as a table with a header, for people."""
    text = io.StringIO(newline="")
    made = csv.writer(text, lineterminator="\n")
    made.writerow(("row", "deviceId", "reason"))
    made.writerows((number + 1, rows[number].device, reasons[number]) for number in sorted(reasons))
    return text.getvalue().encode()
