"""AWS IoT jobs as a device sees them over MQTT (developer guide, "Jobs device MQTT API"; protocol notes, section 5). PURE."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

PENDING = "$aws/things/{thing}/jobs/get"
DESCRIBE = "$aws/things/{thing}/jobs/{job}/get"
NOTIFY = "$aws/things/{thing}/jobs/notify"
NOTIFY_NEXT = "$aws/things/{thing}/jobs/notify-next"
UPDATE = "$aws/things/{thing}/jobs/{job}/update"
ANSWERS = "$aws/things/{thing}/jobs/{call}/{end}"

Status = Literal["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"]
PAIRS, KEY_LENGTH, VALUE_LENGTH = 10, 128, 1024  # of statusDetails
_NO_KEY = re.compile(r"[^a-zA-Z0-9:_-]")


def _document(given: Any) -> Any:
    """An object in MQTT messages, a text in the HTTP API and its data types."""
    return json.loads(given) if isinstance(given, str) else given


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Execution(_Body):
    job_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    status: str = ""
    version_number: int = 0
    execution_number: int = 1
    job_document: Annotated[dict[str, Any], BeforeValidator(_document)] = {}
    status_details: dict[str, str] | None = None


class Summary(_Body):
    job_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    execution_number: int = 1


class Pending(_Body):
    """Those in progress are to be gone on with before others are begun."""

    in_progress_jobs: tuple[Summary, ...] = ()
    queued_jobs: tuple[Summary, ...] = ()


class Describe(_Body):
    """For the execution of this number; the last one where it is left out."""

    execution_number: int | None = None


class Described(_Body):
    execution: Execution


class Update(_Body):
    status: Status
    status_details: dict[str, str] = {}
    execution_number: int | None = None
    expected_version: int | None = None
    include_job_execution_state: bool | None = None
    step_timeout_in_minutes: int | None = None


class ExecutionState(_Body):
    status: str = ""
    version_number: int = 0


class Updated(_Body):
    timestamp: int | float = 0
    execution_state: ExecutionState | None = None


class Refused(_Body):
    """`…/rejected`; a version that does not match comes with the state as it is."""

    code: str = ""
    message: str = ""
    execution_state: ExecutionState | None = None


def details(told: Mapping[str, str]) -> dict[str, str]:
    """Status details within the service's limits: what is too long is cut, what is not allowed becomes a space."""
    cut = {
        _NO_KEY.sub("_", name)[:KEY_LENGTH]: _visible(value[:VALUE_LENGTH])
        for name, value in told.items()
        if name and value
    }
    return dict(list(cut.items())[:PAIRS])


def _visible(text: str) -> str:
    r"""The service's pattern is `[^\p{C}]`: no control or format character, nothing private or unassigned, no half of a surrogate pair."""
    return "".join(" " if unicodedata.category(one).startswith("C") else one for one in text)
