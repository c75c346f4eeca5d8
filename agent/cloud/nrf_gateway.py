"""nRF Cloud's gateway protocol in its two dialects: operations as they come, events as they go, and what the shadow says of BLE devices. PURE.

Protocol notes, sections 5.1 to 5.4. `gateway` is the one of Nordic's JavaScript gateways, with topics of its own; `lte` is the one of Nordic's
LTE gateway, which hears and tells among its ordinary messages. Their envelopes and device objects differ, their operations do not.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent.cloud.dialect import MalformedMessage
from agent.cloud.nrf_pairing import Pairing, first_wrong, read
from agent.wire import nrf_gateway as wire
from agent.wire.nrf_gateway import AttributeOperation, DescriptorWrite, OperationMessage, Peer, PeerAddress, Typed

MOST_WANTED = 64  # addresses of a list in the shadow that are looked at
CONNECTIONS = "state.desired.desiredConnections"  # the transform of the LTE gateway
CONNECTIONS_LIMIT = 1024  # bytes of its answer
_OPERATIONS: TypeAdapter[wire.Operation] = TypeAdapter(wire.Operation)
_STATIC = 0b11
_RANDOM = {0b00: "randomPrivateNonResolvable", 0b01: "randomPrivateResolvable", _STATIC: "randomStatic"}

Body = dict[str, Any]
Name = Literal["gateway", "lte"]


class RefusedOperation(Exception):  # noqa: N818  an answer, not a fault of ours
    """An operation that cannot be done; `code` as an HTTP status says it, `address` of the device where it can be read."""

    def __init__(self, description: str, code: int, address: str = "") -> None:
        super().__init__(description)
        self.code, self.address = code, address


class GatewayDialect:
    """What both have in common, and the LTE gateway's own. `device` is the gateway's id."""

    name: Name = "lte"
    apart = False  # whether it has topics of its own
    told_once = True  # all that a scan finds is told together at its end

    def __init__(self, device: str) -> None:
        self.device = device

    # ---- topics -----------------------------------------------------------------------------------------------------

    def operations(self, pairing: Pairing) -> str:
        """Where operations come."""
        return messages_topic(pairing)

    def events(self, pairing: Pairing) -> str:
        """Where events go."""
        return pairing.d2c

    def shadow(self, pairing: Pairing) -> str:
        """The beginning of the shadow's topics."""
        return f"{pairing.device}/shadow"

    # ---- operations -------------------------------------------------------------------------------------------------

    def read(self, topic: str, payload: bytes) -> wire.Operation:
        """The operation in a message. Raises RefusedOperation, and MalformedMessage for what is no operation at all."""
        message = read(OperationMessage, topic, payload)
        self._check(topic, message)
        try:
            operation = _OPERATIONS.validate_python(message.operation)
        except ValidationError as error:
            address = message.operation.get("deviceAddress")
            known = isinstance(address, str) and wire.ADDRESS.fullmatch(address) is not None
            unknown = error.errors(include_url=False, include_input=False)[0]["type"].startswith("union_tag")
            what = f"{str(message.operation['type'])[:64]} is not supported" if unknown else first_wrong(error)
            raise RefusedOperation(what, 501 if unknown else 400, str(address).upper() if known else "") from None
        return self._fitted(operation)

    def _check(self, topic: str, message: OperationMessage) -> None:
        if not isinstance(message.operation.get("type"), str):
            raise MalformedMessage(f"{topic}: operation.type: Field required")

    def _fitted(self, operation: wire.Operation) -> wire.Operation:
        """The LTE gateway finds a characteristic by its own UUID alone."""
        if isinstance(operation, AttributeOperation):
            return operation.model_copy(update={"service_uuid": ""})
        return operation

    # ---- events -----------------------------------------------------------------------------------------------------

    def envelope(self, event: Body, at: str, number: int) -> Body:  # noqa: ARG002  only the other dialect counts
        """An event as it is published; `at` is its time, ISO-8601, `number` counts events."""
        told: Body = {"type": "event", "gatewayId": self.device}
        if event["type"] == "error":
            return {**told, "timestamp": at, "event": event}
        return {**told, "requestId": None, "event": {"type": event["type"], "timestamp": at, **event}}

    def peer(self, address: str, kind: str, *, connected: bool, value: bool = False) -> Peer:
        """A device in an event, `value`: one of its values; `kind` is its address type in BlueZ's words."""
        told = PeerAddress(address=address, type="random" if kind == "random" else None)
        return Peer(id=address, address=told, status=None if value else wire.ConnectionStatus(connected=connected))

    def found(self, address: str, kind: str) -> PeerAddress:  # noqa: ARG002  the other dialect tells it
        """An address in a scan's result."""
        return PeerAddress(address=address)

    def octets(self, value: bytes) -> list[int]:
        """A value; an empty one is a zero for the LTE gateway."""
        return list(value) or [0]

    def error(self, description: str, code: int, address: str) -> wire.ErrorEvent:
        place = wire.ErrorPlace(device_address=address) if address else None
        return wire.ErrorEvent(
            error=wire.ErrorDetail(description=description[:300], code=self._code(code)), device=place
        )

    def _code(self, code: int) -> int | None:  # noqa: ARG002
        return None


class JsGateway(GatewayDialect):
    """The dialect of the JavaScript gateways."""

    name: Name = "gateway"
    apart, told_once = True, False

    def operations(self, pairing: Pairing) -> str:
        return f"{pairing.prefix}gateways/{pairing.device}/c2g"

    def events(self, pairing: Pairing) -> str:
        return f"{pairing.prefix}gateways/{pairing.device}/g2c"

    def shadow(self, pairing: Pairing) -> str:
        return f"{pairing.prefix}{pairing.device}/shadow"

    def _check(self, topic: str, message: OperationMessage) -> None:
        super()._check(topic, message)
        if not message.id:
            raise MalformedMessage(f"{topic}: id: Field required")

    def _fitted(self, operation: wire.Operation) -> wire.Operation:
        if isinstance(operation, AttributeOperation) and not operation.service_uuid:
            raise RefusedOperation("serviceUUID: Field required", 400, operation.device_address)
        if isinstance(operation, DescriptorWrite) and "descriptor_uuid" not in operation.model_fields_set:
            raise RefusedOperation("descriptorUUID: Field required", 400, operation.device_address)
        return operation

    def envelope(self, event: Body, at: str, number: int) -> Body:
        inner = {"type": event["type"], "timestamp": at, **event}
        return {"type": "event", "gatewayId": self.device, "event": inner, "messageId": number}

    def peer(self, address: str, kind: str, *, connected: bool, value: bool = False) -> Peer:  # noqa: ARG002
        told = wire.ConnectionStatus(connected=connected)
        return Peer(id=address, address=self.found(address, kind), status=told)

    def found(self, address: str, kind: str) -> PeerAddress:
        return PeerAddress(address=address, type=address_type(address, kind))

    def octets(self, value: bytes) -> list[int]:
        return list(value)

    def _code(self, code: int) -> int | None:
        return code


def messages_topic(pairing: Pairing) -> str:
    """Where the cloud's ordinary messages come."""
    return f"{pairing.messages}/c2d/r"


def is_operation(payload: bytes) -> bool:
    """Whether a message among others is one for a gateway."""
    try:
        return Typed.model_validate_json(payload).type == "operation"
    except ValidationError:
        return False


def dialect_of(name: Name, device: str) -> GatewayDialect:
    return JsGateway(device) if name == "gateway" else GatewayDialect(device)


def address_type(address: str, kind: str) -> str:
    """In the words of the JavaScript gateways; the first two bits tell random addresses apart (Core Specification, Vol 6, Part B, 1.3)."""
    top = int(address[:2], 16) >> 6
    if kind == "public" or (not kind and top != _STATIC):
        return "public"
    return _RANDOM.get(top, _RANDOM[_STATIC])


# ---- the shadow -----------------------------------------------------------------------------------------------------


def addresses(given: JsonValue) -> tuple[str, ...]:
    """The devices in `desiredConnections` in any of its three forms, or in `beacons`, each once; entries of no form are passed over.

    `["ADDR"]`, `[{"id": "ADDR"}]`, `[{"address": {"address": "ADDR"}}]`.
    """
    entries = given[:MOST_WANTED] if isinstance(given, list) else []
    return tuple(dict.fromkeys(filter(None, map(_address, entries))))


def _address(entry: JsonValue) -> str:
    match entry:
        case str(text) | {"id": str(text)} | {"address": {"address": str(text)}} if wire.ADDRESS.fullmatch(text):
            return text.upper()
    return ""


def reported_connections(reported: JsonValue) -> tuple[str, ...]:
    """Whom an earlier life has left in `statusConnections`; as they are written there, since they are to be taken out."""
    connections = reported.get("statusConnections") if isinstance(reported, dict) else None
    return tuple(connections) if isinstance(connections, dict) else ()


def connections_change(
    told: Mapping[str, wire.PeerStatus], now: Mapping[str, wire.PeerStatus]
) -> dict[str, Body | None]:
    """What `statusConnections` must be told: what changed, and null for who is no more, or a shadow would keep it for ever."""
    gone: dict[str, Body | None] = {address: None for address in told if address not in now}
    return gone | {address: status.wire() for address, status in now.items() if told.get(address) != status}


def peer_status(address: str, *, connected: bool, connecting: bool = False) -> wire.PeerStatus:
    """Both members always: a shadow is merged, and what is left out stays as it was."""
    return wire.PeerStatus(id=address, status=wire.ConnectionStatus(connected=connected, connecting=connecting))
