"""nRF Cloud's onboarding bodies (its API description: OnboardDevice, OnboardDevices, RegisterCertificates, FetchBulkOpsRequest)."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PATHS: Mapping[str, str] = {
    "devices": "devices",
    "certificates": "devices/certificates",
    "public-keys": "devices/public-keys",
}
CSV = "application/octet-stream"  # as the description's own examples send it: no layer touches the line breaks

_INDEXED = re.compile(r"\[(\d{1,9})\]:\s*(.*)", re.DOTALL)
_OLDER = "(1-based)]: "


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class OnboardDevice(_Body):
    """`certificate`: one X.509 certificate or one public key, PEM."""

    certificate: str
    sub_type: str = ""
    tags: tuple[str, ...] = ()
    supported_firmware_types: tuple[str, ...] = ()


class DeviceCertificate(_Body):
    """CreateDeviceCertificate. `client_cert`: the device's certificate and the intermediate authority's, PEM."""

    client_cert: str
    private_key: str = Field(repr=False)


class Queued(_Body):
    bulk_ops_request_id: str = Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")


class BulkOperation(Queued):
    """The state of a bulk operation. `error_summary_url` is fetched without the API key."""

    status: Literal["PENDING", "IN_PROGRESS", "FAILED", "SUCCEEDED"]
    error_summary_url: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("FAILED", "SUCCEEDED")


def row_errors(body: bytes) -> dict[int, str]:
    """Row (from 0) -> reason, of an error summary; empty when no row is named. Source: nrfcloud-utils 3.3 and before.

    Its present form is `{"errors": ["[0]: text"]}`, the older one a text with `(1-based)]: {text: [rows]}` in it.
    """
    text = body.decode(errors="replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = text
    found: dict[int, str] = {}
    for line in _lines(told):
        indexed = _INDEXED.match(line)
        if indexed is not None:
            _note(found, int(indexed[1]), indexed[2].strip())
        elif _OLDER in line:
            _note_older(found, line.partition(_OLDER)[2])
    return found


def _lines(told: Any) -> list[str]:
    if isinstance(told, dict):
        errors = told.get("errors", told.get("error", told.get("message")))
        return _lines(errors) if isinstance(errors, list | str) else []
    if isinstance(told, list):
        return [entry for entry in told if isinstance(entry, str)]
    return [told] if isinstance(told, str) else []


def _note_older(found: dict[int, str], text: str) -> None:
    text = text[: text.rfind("}") + 1]
    try:
        told = json.loads(text if '"' in text else text.replace("'", '"'))
    except (ValueError, RecursionError):
        return
    for reason, rows in told.items() if isinstance(told, dict) else ():
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, int) and row > 0:
                _note(found, row - 1, str(reason).strip())


def _note(found: dict[int, str], row: int, reason: str) -> None:
    known = found.get(row)
    found[row] = f"{known}; {reason}" if known else reason or "no reason was told"
