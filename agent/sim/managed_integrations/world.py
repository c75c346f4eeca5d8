"""What the actions share: records, time, identifiers, pages, and the messages that leave when an action has succeeded."""

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.clock import iso
from agent.sim.records import Record, Records
from agent.sim.service_model import AwsError, RestJson

Request = dict[str, Any]
Result = dict[str, Any]

INDEXED = (
    "Owner",
    "CredentialLockerId",
    "Role",
    "ParentControllerId",
    "SerialNumber",
    "ProvisioningStatus",
    "Status",
    "DiscoveryType",
    "discovery",
    "hub",
    "NodeId",
    "Material",
    "TaskId",
    "ResourceType",
    "pending",
    "status",
    "claimId",
    "certificateId",
    "state",
    "jobId",
    "thing",
    "Name",
    "applicant_email",
    "batch",
    "open",
)
PAGE = 100  # entries of a list when the caller names no number


@dataclass(frozen=True, slots=True)
class ToHub:
    """A message for a hub: `channel` is setup or control."""

    hub: str
    channel: str
    message_type: str
    payload: Mapping[str, Any]
    thing: str = ""
    trace_id: str = ""
    expires_at: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification for the customer: `event_type` is the model's EventType, `resources` are the ARNs that it is about, at least one."""

    event_type: str
    resources: tuple[str, ...]
    payload: Mapping[str, Any]
    message_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """A message on a topic of its own, for example an answer of IoT Jobs."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Logged:
    """Log lines of a hub, for the customer's log group."""

    hub: str
    lines: tuple[Any, ...]


Leaving = ToHub | Notice | Told | Logged


@dataclass(slots=True)
class World:
    """The account. `leaving` collects what is sent once the records are committed."""

    api: RestJson
    records: Records
    now: Callable[[], float]
    endpoint: str  # where devices connect
    region: str = "eu-west-1"
    account: str = "123456789012"
    leaving: list[Leaving] = field(default_factory=list)

    def arn(self, resource: str, identifier: str) -> str:
        return f"arn:aws:iotmanagedintegrations:{self.region}:{self.account}:{resource}/{identifier}"

    def send(self, message: ToHub) -> None:
        self.leaving.append(message)

    def notify(
        self, event_type: str, resource: str | Sequence[str], payload: Mapping[str, Any], message_id: str = ""
    ) -> None:
        resources = (resource,) if isinstance(resource, str) else tuple(resource)
        self.leaving.append(Notice(event_type, resources, payload, message_id or new_id()))

    def stamp(self) -> str:
        return iso(self.now())

    def need(self, kind: str, identifier: str, what: str) -> Record:
        """The record, or ResourceNotFoundException in the words that the service uses."""
        found = self.records.get(kind, identifier)
        if found is None:
            text = f"{what} resource not found."
            raise AwsError("ResourceNotFoundException", text, ResourceId=identifier, ResourceType=what)
        return found

    def pick(self, shape: str, record: Mapping[str, Any]) -> Result:
        """The members of an answer that a record has."""
        members = self.api.model.shape_for(shape).members
        return {name: record[name] for name in members if record.get(name) is not None}

    def page(self, kind: str, request: Request, **where: Any) -> tuple[list[Record], Result]:
        """A page of records, and `{"NextToken": …}` when there are more."""
        wanted = {member: value for member, value in where.items() if value is not None}
        after = _place(request.get("NextToken"), kind)
        found, more = self.records.page(kind, request.get("MaxResults") or PAGE, after, **wanted)
        return found, {"NextToken": _token(kind, more)} if more else {}


def new_id() -> str:
    """32 hexadecimal digits: letters and digits only, as the model's patterns of ids ask."""
    return uuid.uuid4().hex


def _token(kind: str, place: int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode()


def _place(token: str | None, kind: str) -> int:
    if token is None:
        return 0
    try:
        found, _, place = base64.urlsafe_b64decode(token).decode().rpartition(":")
        if found == kind:
            return int(place)
    except ValueError:
        pass
    raise AwsError("ValidationException", "Value at 'NextToken' is not a token of this list")
