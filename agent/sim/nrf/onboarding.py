"""Onboarding: single devices, CSV batches of devices, certificates and public keys, and the bulk operations that carry them out.

Patterns and rows: the API's own description (OnboardDevices, RegisterCertificates, RegisterPublicKeys).
"""

import csv
import io
import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from agent.clock import iso
from agent.sim.authority import fingerprint, p256_public_key
from agent.sim.nrf.answers import BAD_REQUEST, INVALID, NOT_FOUND, NrfError
from agent.sim.records import Record, Records

ROWS = 1000
PREFIX = "prod/7b6a5f4e-3d2c-4b1a-8f9e-0d1c2b3a4f5e/"  # stage and tenant of the account's MQTT topics
DEVICE_ID = re.compile(r"[a-z0-9:_-]{1,128}", re.IGNORECASE)
SUB_TYPE = re.compile(r"[a-zA-Z0-9_.,@/:#-]{0,799}")
TAG = re.compile(r"[a-zA-Z0-9_.@:#-]+")
FIRMWARE = ("APP", "MODEM", "BOOT", "SOFTDEVICE", "BOOTLOADER", "MDM_FULL")
_PEM = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----(\r\n|\r|\n)[^-]+(\r\n|\r|\n)-----END \1-----(\r\n|\r|\n)")
_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_OPERATIONS: dict[str, tuple[str, int]] = {
    "devices": ("ONBOARD_DEVICES", 5),
    "certificates": ("REGISTER_CERTIFICATES", 2),
    "public-keys": ("REGISTER_PUBLIC_KEYS", 2),
}

ERRORS, UPLOADS = "nrf-bulk-errors", "nrf-bulk-uploads"

Write = Callable[[str, str, bytes], str]


class Onboarding:
    """Devices in the records of kind `nrf-device`, bulk operations in `nrf-bulk`. `write(bucket, name, content)` gives its URL.

    `pair` is told of a new device that is associated.
    """

    def __init__(
        self, records: Records, now: Callable[[], float], write: Write, pair: Callable[[Record], None]
    ) -> None:
        self._records = records
        self._now = now
        self._write = write
        self._pair = pair

    def one(self, device: str, body: dict[str, Any], code: str | None = None) -> None:
        """OnboardDevice. With an ownership code, the device waits for who knows it. Raises NrfError."""
        tags, types = body.get("tags", []), body.get("supportedFirmwareTypes", [])
        if not isinstance(tags, list) or not isinstance(types, list):
            raise NrfError(INVALID, "tags and supportedFirmwareTypes are lists")
        row = [device, str(body.get("subType", "")), "|".join(map(str, tags)), "|".join(map(str, types))]
        problem = self._problem([*row, str(body.get("certificate", ""))], "devices")
        if problem:
            raise NrfError(INVALID, problem)
        self._onboard(row, str(body["certificate"]), code)

    def many(self, kind: str, text: bytes) -> str:
        """Queue a CSV batch; returns the bulkOpsRequestId. Raises NrfError when it is no CSV of this kind at all."""
        endpoint, columns = _OPERATIONS[kind]
        rows = _rows(text, columns)
        identifier = "".join(secrets.choice(_ULID) for _ in range(26))
        operation = {
            "bulkOpsRequestId": identifier,
            "endpoint": endpoint,
            "status": "PENDING",
            "requestedAt": iso(self._now()),
            "uploadedDataUrl": self._write(UPLOADS, f"{identifier}.csv", text),
            "kind": kind,
            "rows": rows,
        }
        self._records.put("nrf-bulk", identifier, operation)
        return identifier

    def bulk(self, identifier: str) -> dict[str, Any]:
        """Details of a bulk operation. Raises NrfError."""
        found = self._records.get("nrf-bulk", identifier)
        if found is None:
            raise NrfError(NOT_FOUND, "no such bulk operation")
        hidden = ("kind", "rows")
        return {name: value for name, value in found.items() if name not in hidden}

    def tick(self) -> None:
        """Carry out what is queued: all rows or, when one is wrong, none."""
        for operation in list(self._records.all("nrf-bulk", status="PENDING")):
            rows, kind = operation["rows"], operation["kind"]
            problems = [(place, self._problem(row, kind)) for place, row in enumerate(rows)]
            problems += [(place, "deviceId is given twice") for place in _repeated(rows)]
            errors = [f"[{place}]: {problem}" for place, problem in problems if problem]
            if not errors:
                for row in rows:
                    self._apply(row, kind)
            done = {
                **operation,
                "status": "FAILED" if errors else "SUCCEEDED",
                "completedAt": iso(self._now()),
                "rows": [],
            }
            if errors:
                summary = json.dumps({"errors": errors}).encode()
                done["errorSummaryUrl"] = self._write(ERRORS, f"{operation['bulkOpsRequestId']}.json", summary)
            self._records.put("nrf-bulk", operation["bulkOpsRequestId"], done)

    def _apply(self, row: Sequence[str], kind: str) -> None:
        if kind == "devices":
            self._onboard(row[:4], row[4])
            return
        key = p256_public_key(row[1])
        if kind == "certificates":
            device = self._records.get("nrf-device", row[0]) or {}
            self._records.put("nrf-device", row[0], {**device, **_certificate(row[1]), "key": key})
        else:  # a key may come before its device, and goes before the certificate's
            self._records.put("nrf-key", row[0], {"key": key})

    def _onboard(self, row: Sequence[str], pem: str, code: str | None = None) -> None:
        device, sub_type, tags, types = row
        now = self._now()
        made: Record = {
            "id": device,
            "subType": sub_type,
            "type": "Gateway" if "gateway" in sub_type else "Generic",
            "tags": tags.split("|") if tags else [],
            "supports": types.split("|") if types else [],
            **_certificate(pem),
            "prefix": PREFIX,
            "key": p256_public_key(pem),
            "ownership": secrets.token_hex(4) if code is None else code,
            "associated": code is None,
            "version": 1,
            "createdAt": iso(now),
            "updatedAt": iso(now),
        }
        self._records.put("nrf-device", device, made)
        if made["associated"]:
            self._pair(made)

    def _problem(self, row: Sequence[str], kind: str) -> str:
        """What is wrong with a row, empty when it is good."""
        device, pem = row[0], row[-1]
        if not DEVICE_ID.fullmatch(device):
            return "deviceId does not have its pattern"
        known = self._records.get("nrf-device", device)
        if kind == "devices" and known is not None:
            return "deviceId is onboarded already"
        if kind == "certificates" and known is None:
            return "deviceId is not onboarded"
        if kind == "devices":
            problem = _described(row[1], row[2], row[3])
            if problem:
                return problem
        return _pem_problem(pem, kind)


def _certificate(pem: str) -> dict[str, str]:
    return {"certificate": pem, "certificateId": fingerprint(pem)} if "CERTIFICATE" in pem else {"certificate": ""}


def _described(sub_type: str, tags: str, types: str) -> str:
    if not SUB_TYPE.fullmatch(sub_type):
        return "subType does not have its pattern"
    if tags and not all(TAG.fullmatch(tag) for tag in tags.split("|")):
        return "a tag does not have its pattern"
    if types and not all(kind in FIRMWARE for kind in types.split("|")):
        return f"a firmware type is none of {', '.join(FIRMWARE)}"
    return ""


def _pem_problem(pem: str, kind: str) -> str:
    found = _PEM.fullmatch(pem)
    if found is None:
        return "the PEM text does not have its pattern: one block, and a line break at its end"
    wanted = {"certificates": ("CERTIFICATE",), "public-keys": ("PUBLIC KEY",)}.get(kind, ("CERTIFICATE", "PUBLIC KEY"))
    if found[1] not in wanted:
        return f"the PEM text is no {wanted[0]}"
    try:
        p256_public_key(pem)
    except ValueError as error:
        return str(error)
    return ""


def _rows(text: bytes, columns: int) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise NrfError(INVALID, f"not a CSV file: {error}") from None
    if not rows or len(rows) > ROWS:
        raise NrfError(INVALID, f"a CSV file has 1 to {ROWS} rows")
    for place, row in enumerate(rows):
        if len(row) != columns:
            raise NrfError(INVALID, f"[{place}]: {len(row)} columns instead of {columns}")
    return rows


def _repeated(rows: Sequence[Sequence[str]]) -> list[int]:
    seen: set[str] = set()
    places = []
    for place, row in enumerate(rows):
        if row[0] in seen:
            places.append(place)
        seen.add(row[0])
    return places


def ownership(body: bytes) -> str:
    """The ownership code that a request carries as its text. Raises NrfError."""
    try:
        return body.decode().strip()
    except UnicodeDecodeError:
        raise NrfError(BAD_REQUEST, "the ownership code is no text") from None
