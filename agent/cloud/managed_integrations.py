"""The managed-integrations dialect: neutral messages and requests to topics and payloads, and back. PURE.

Topics are one table (config: uplinks.<name>.topics). Payloads are the public bodies of AWS IoT managed integrations inside our
envelope: capability report, command, DEVICE_STATE, DEVICE_EVENT, DEVICE_COMMAND, discovery status. Our one extension is `error` and
`endpoints` in DEVICE_COMMAND: why, and what each action answered.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from agent.capabilities import load
from agent.clock import iso, parse_iso
from agent.cloud.dialect import MalformedMessage, Publication
from agent.model import Action
from agent.requests import (
    CommandRequest,
    ConfigureHub,
    ConfigureLogs,
    Deprovision,
    Kind,
    Message,
    OffboardHub,
    Onboard,
    PreAssociate,
    RejectedCommand,
    Request,
    SetNetworkMode,
    StartDiscovery,
    StateQuery,
    StopDiscovery,
)
from agent.wire import managed_integrations as wire

VERSION = "1.0.0"
CUSTOM = "CUSTOM"
_BY_NAME = ("BLE", "COAP")  # what a custom discovery can be for: the API has no type of their own for them

_TOPICS: Mapping[Kind, tuple[str, str]] = {
    Kind.DISCOVERED: ("discovery", "DEVICE_DISCOVERED"),
    Kind.DISCOVERY_STATUS: ("discovery", "DISCOVERY_STATUS"),
    Kind.CAPABILITIES: ("capability", "CAPABILITY_REPORT"),
    Kind.STATE: ("state", "DEVICE_STATE"),
    Kind.EVENT: ("event", "DEVICE_EVENT"),
    Kind.OUTCOME: ("response", "DEVICE_COMMAND"),
    Kind.LIFECYCLE: ("lifecycle", "DEVICE_LIFE_CYCLE"),
    Kind.LOG: ("log", "RUNTIME_LOG"),
}
_SETUP = frozenset(
    {
        "START_DISCOVERY",
        "STOP_DISCOVERY",
        "PRE_ASSOCIATE",
        "DEVICE_ONBOARDED",
        "DEPROVISION",
        "NETWORK_MODE",
        "OFFBOARD_HUB",
    }
)
_CONTROL = frozenset({"COMMAND", "STATE_QUERY", "RUNTIME_LOG_CONFIGURATION", "HUB_CONFIGURATION"})


class ManagedIntegrations:
    """The dialect for one uplink and one hub id. `north` and `south` are topic prefixes."""

    def __init__(self, uplink: str, hub_id: str, *, north: str = "north", south: str = "south") -> None:
        self._uplink, self._hub = uplink, hub_id
        self._north = f"{north}/{hub_id}"
        self._setup, self._control = f"{south}/{hub_id}/setup", f"{south}/{hub_id}/control"
        self._bodies: Mapping[Kind, Callable[[Message, float], dict[str, Any]]] = {
            Kind.DISCOVERED: _discovered,
            Kind.DISCOVERY_STATUS: _discovery_status,
            Kind.CAPABILITIES: _capability_report,
            Kind.STATE: _state,
            Kind.EVENT: _event,
            Kind.OUTCOME: _outcome,
            Kind.LIFECYCLE: _life_cycle,
            Kind.LOG: lambda message, _shift: dict(message.body),
        }

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (self._setup, self._control)

    def will(self, message_id: str, now: str) -> Publication:
        return self.status(message_id, now, {"status": "offline", "reason": "connection lost"})

    def status(self, message_id: str, now: str, status: Mapping[str, Any]) -> Publication:
        payload = _envelope(message_id, "HUB_STATUS", now, "", "", dict(status))
        return Publication(f"{self._north}/lifecycle", payload, retain=True)

    def encode(self, message: Message, message_id: str, shift: float) -> list[Publication]:
        topic, message_type = _TOPICS[message.kind]
        body = self._bodies[message.kind](message, shift)
        now = iso(message.wall + shift)
        payload = _envelope(message_id, message_type, now, message.device, message.trace_id, body)
        if message.kind is not Kind.LIFECYCLE:
            return [Publication(f"{self._north}/{topic}", payload)]
        place = f"{self._north}/{topic}/{message.device}"
        if message.body["status"] != "DELETED":
            return [Publication(place, payload, retain=True)]
        # The word goes to whoever listens; the empty retained message takes the old one off the broker.
        return [Publication(place, payload), Publication(place, b"", retain=True)]

    def decode(self, topic: str, payload: bytes, *, retained: bool) -> Request:
        if len(payload) > wire.MAX_PAYLOAD:
            raise MalformedMessage(f"{topic}: {len(payload)} bytes, more than {wire.MAX_PAYLOAD}")
        try:
            envelope = wire.Envelope.model_validate_json(payload)
        except ValidationError as error:
            raise MalformedMessage(f"{topic}: {_first(error)}") from None
        allowed = {self._setup: _SETUP, self._control: _CONTROL}.get(topic, frozenset())
        kind = envelope.message_type
        if kind not in allowed:
            raise MalformedMessage(f"{topic}: unknown messageType {kind[:64]!r}")
        if kind == "COMMAND":
            return self._command(envelope, retained=retained)
        if retained:
            raise MalformedMessage(f"{topic}: retained {kind} refused")
        model = wire.DOWNLINK.get(kind)
        if model is None:
            raise MalformedMessage(f"{topic}: {kind} is not supported by this version")
        try:
            return self._request(envelope, model.model_validate(envelope.payload))
        except ValidationError as error:
            raise MalformedMessage(f"{topic}: {kind}: {_first(error)}") from None

    def _command(self, envelope: wire.Envelope, *, retained: bool) -> Request:
        """A COMMAND, or its rejection: whatever has a trace id gets an Outcome."""
        trace_id = envelope.trace_id or envelope.message_id
        device = envelope.managed_thing_id or ""
        try:
            body = wire.CommandBody.model_validate(envelope.payload)
            expires = body.expires_at or envelope.expires_at
            expires_at = parse_iso(expires) if expires else None
        except ValidationError as error:
            return RejectedCommand(CommandRequest(trace_id, device, (), self._uplink), 400, _first(error))
        except (ValueError, OverflowError):
            text = "expiresAt: not an ISO-8601 time"
            return RejectedCommand(CommandRequest(trace_id, device, (), self._uplink), 400, text)
        actions = tuple(
            Action(endpoint.endpoint_id, capability.id, action.name, action.parameters)
            for endpoint in body.endpoints
            for capability in endpoint.capabilities
            for action in capability.actions
        )
        return CommandRequest(trace_id, device, actions, self._uplink, expires_at, retained)

    def _request(self, envelope: wire.Envelope, body: BaseModel) -> Request:
        device = envelope.managed_thing_id or ""
        match body:
            case wire.StateQueryBody():
                return StateQuery(device, body.refresh)
            case wire.StartDiscoveryBody():
                return self._discovery(body)
            case wire.StopDiscoveryBody():
                return StopDiscovery(body.id)
            case wire.PreAssociateBody():
                discovery = StartDiscovery(
                    f"pre-{envelope.message_id}",
                    _kind_of(body),
                    body.duration,
                    self._uplink,
                    body.material,
                    body.material_type,
                )
                return PreAssociate(body.managed_thing_id, discovery)
            case wire.DeviceOnboardedBody():
                return Onboard(body.node_id, body.managed_thing_id)
            case wire.DeprovisionBody():
                return Deprovision(body.managed_thing_id or body.node_id or device, body.force, self._uplink)
            case wire.NetworkModeBody():
                return SetNetworkMode(body.mode)
        return self._of_hub(envelope, body)

    def _of_hub(self, envelope: wire.Envelope, body: BaseModel) -> Request:
        """What concerns the hub itself, and names no device."""
        named = body.managed_thing_id if isinstance(body, wire.OffboardBody) else envelope.managed_thing_id
        if named not in (None, self._hub):
            raise MalformedMessage(f"{envelope.message_type} for {named}: this is hub {self._hub}")
        match body:
            case wire.RuntimeLogBody():
                return ConfigureLogs(body.wishes.model_dump(exclude_none=True))
            case wire.HubConfigurationBody():
                return ConfigureHub(body.token_seconds)
            case wire.OffboardBody():
                return OffboardHub()
        raise MalformedMessage(f"{envelope.message_type}: not supported")  # pragma: no cover  DOWNLINK holds no other

    def _discovery(self, body: wire.StartDiscoveryBody) -> StartDiscovery:
        again = body.discovery_type == "CONTROLLER_CAPABILITY_REDISCOVERY"
        kind = (body.protocol or "ZIGBEE") if again else body.discovery_type
        named = body.custom.name.upper()
        return StartDiscovery(
            id=body.id,
            kind=named if kind == CUSTOM and named in _BY_NAME else kind,
            duration=body.duration,
            source=self._uplink,
            material=body.material or "",
            material_type=body.material_type or "",
            rediscover=again,
            device=body.device or "" if again else "",
        )


def _kind_of(body: wire.PreAssociateBody) -> str:
    """The discovery that a QR code is for. A custom one has the form of what `agent discover --auth` takes."""
    if body.material_type == "CUSTOM_PROTOCOL_QR_BAR_CODE":
        return "COAP" if body.material.startswith(("coap://", "coaps://")) else "BLE"
    return "ZWAVE" if body.material_type == "ZWAVE_QR_BAR_CODE" else "ZIGBEE"


def _envelope(message_id: str, kind: str, now: str, device: str, trace_id: str, payload: dict[str, Any]) -> bytes:
    envelope: dict[str, Any] = {"version": VERSION, "messageId": message_id, "messageType": kind, "timestamp": now}
    if device:
        envelope["managedThingId"] = device
    if trace_id:
        envelope["traceId"] = trace_id
    envelope["payload"] = payload
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()


def _discovered(message: Message, shift: float) -> dict[str, Any]:
    body = message.body
    return {
        "deviceDiscoveryId": body["discovery"],
        "nodeId": body["nodeId"],
        "deviceTypes": body["deviceTypes"],
        "manufacturer": body["manufacturer"],
        "model": body["model"],
        "macAddress": body["address"],
        "secure": body["secure"],
        "modification": body["modification"],
        "discoveredAt": iso(body["at"] + shift),
    }


def _discovery_status(message: Message, _shift: float) -> dict[str, Any]:
    body = message.body
    status = {"deviceDiscoveryId": body["id"], "status": body["status"], "deviceCount": body["count"]}
    return {**status, "error": body["error"]} if "error" in body else status


def _capability_report(message: Message, _shift: float) -> dict[str, Any]:
    return {"version": VERSION, "nodeId": message.body["nodeId"], "endpoints": message.body["endpoints"]}


def _state(message: Message, shift: float) -> dict[str, Any]:
    endpoints: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for endpoint, capability, name, value, changed in message.body:
        wrapped = {"name": name, "value": {"propertyValue": value, "lastChangedAt": iso(changed + shift)}}
        endpoints.setdefault(endpoint, {}).setdefault(capability, []).append(wrapped)
    return {"addedStates": {"endpoints": _nested(endpoints, "properties")}}


def _nested(endpoints: Mapping[str, Mapping[str, Sequence[Any]]], leaf: str) -> list[dict[str, Any]]:
    """Nest endpoints, capabilities and leaves, with each capability's name and version from its schema document."""
    return [
        {
            "endpointId": endpoint,
            "capabilities": [
                {"id": identifier, "name": load(identifier).name, "version": load(identifier).version, leaf: leaves}
                for identifier, leaves in capabilities.items()
            ],
        }
        for endpoint, capabilities in endpoints.items()
    ]


def _event(message: Message, _shift: float) -> dict[str, Any]:
    body = message.body
    happened = {"name": body["event"], "value": body["fields"]}
    return {"endpoints": _nested({body["endpoint"]: {body["capability"]: [happened]}}, "properties")}


def _outcome(message: Message, shift: float) -> dict[str, Any]:
    body = message.body
    answer: dict[str, Any] = {
        "traceId": message.trace_id,
        "receivedAt": iso(body["received"] + shift),
        "executedAt": iso(body["ended"] + shift),
        "result": "succeeded" if body["succeeded"] else "failed",
    }
    if body["error"]:
        answer["error"] = {"code": str(body["code"]), "message": body["error"]}
    endpoints: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for result in body["results"]:
        action: dict[str, Any] = {"name": result["action"], "responseCode": result["code"]}
        if result["error"]:
            action["errors"] = [{"code": str(result["code"]), "message": result["error"]}]
        if result["values"]:
            action["parameters"] = result["values"]
        endpoints.setdefault(result["endpoint"], {}).setdefault(result["capability"], []).append(action)
    return {**answer, "endpoints": _nested(endpoints, "actions")} if endpoints else answer


def _life_cycle(message: Message, shift: float) -> dict[str, Any]:
    body = dict(message.body)
    return {**body, "at": iso(body["at"] + shift)}


def _first(error: ValidationError) -> str:
    """The first thing wrong, by its place; the values themselves are a stranger's and stay out of logs."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "message"
    return f"{place}: {detail['msg']}"[:300]
