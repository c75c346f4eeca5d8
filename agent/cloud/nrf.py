"""The nrf-cloud dialect: neutral messages to nRF Cloud's messages, and its commands to requests. PURE.

Topics and forms: protocol notes, sections 2.3 and 2.6. nRF Cloud knows sensors of the device that connects, and here that is a hub with many
devices behind it. So each value of a device is one message, and says whose it is in members beside Nordic's own:

    {"appId": "TEMP", "messageType": "DATA", "data": "21.5", "ts": 1700000000000, "id": ..., "device": ..., "endpoint": "1",
     "capability": "matter.TemperatureMeasurement@1.4", "property": "MeasuredValue"}

What Nordic's table has a word for (TEMP, HUMID, AIR_PRESS) has that appId and its unit as text, so that the portal shows it. Anything else is
`STATE` with the JSON value as it is: an appId for each property of Matter would be a table that nobody reads, and a value that is squeezed
into another sensor's appId would be a wrong one. Further appIds of ours: EVENT, LIFECYCLE, CAPABILITIES, DISCOVERY. A delivery that was cut
off comes again under the same `id`.

A command is {"appId": "DEVICE", "messageType": "CMD", "data": {"traceId", "device", "endpoint", "capability", "action", "params"?,
"expiresAt"? in ms}}, and its one answer is a DATA message of the appId DEVICE. The traceId must be there, and is the key against
repetition: MQTT delivers at least once, and nRF Cloud's messages have no id. {"appId": "STATE", "messageType": "CMD", "data": {"device"?}} has
the state told once more.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from agent.clock import iso, parse_iso
from agent.cloud.dialect import MalformedMessage, Publication
from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_pairing import Control, Conversation, Pairing, first_wrong
from agent.model import Action
from agent.requests import CommandRequest, Kind, Message, RejectedCommand, Request, StateQuery
from agent.wire.nrf_mqtt import CloudMessage, DeviceCommand, StateAsked

LARGEST = 131_072  # bytes of a message: AWS IoT Core's limit, on which nRF Cloud runs
MOST_TEXT = 8192  # characters of one log line
_ROOM = 64  # bytes of a list around its messages

Body = dict[str, Any]
_SENSORS: Mapping[
    tuple[str, str], tuple[str, int]
] = {  # (capability, property) -> appId, digits after the point in Nordic's unit
    ("matter.TemperatureMeasurement@1.4", "MeasuredValue"): ("TEMP", 2),  # 0.01 degrees Celsius -> degrees
    ("matter.RelativeHumidityMeasurement@1.4", "MeasuredValue"): ("HUMID", 2),  # 0.01 percent -> percent
    ("matter.PressureMeasurement@1.4", "MeasuredValue"): ("AIR_PRESS", 1),  # 0.1 kilopascals -> kilopascals
}
OFFLINE = 100  # types of alerts: those below are Nordic's
_ALERTS: Mapping[tuple[str, str], tuple[int, str]] = {
    ("matter.SmokeCOAlarm@1.4", "SmokeAlarm"): (110, "smoke"),
    ("matter.SmokeCOAlarm@1.4", "COAlarm"): (111, "carbon monoxide"),
    ("matter.SmokeCOAlarm@1.4", "LowBattery"): (112, "low battery"),
    ("matter.DoorLock@1.4", "DoorLockAlarm"): (113, "lock alarm"),
}
_COMES_AND_GOES = ("reason", "error", "certificate")  # members of a status: what is not told stays in a shadow
_LEVELS = {"critical": 1, "error": 1, "warning": 2, "info": 3, "debug": 4}  # as logLvl counts
_QUIETEST = 4


class NrfCloud:
    """The dialect for one uplink and one device of nRF Cloud. `pairing` is there while messages may flow."""

    def __init__(
        self,
        uplink: str,
        conversation: Conversation,
        *,
        largest: int = LARGEST,
        gateway: GatewayDialect | None = None,
    ) -> None:
        self._uplink, self._conversation, self._largest, self._gateway = uplink, conversation, largest, gateway
        self.pairing: Pairing | None = None
        self.control = Control()
        self._bodies: Mapping[Kind, Callable[[Message, float], Iterator[Body]]] = {
            Kind.STATE: _state,
            Kind.EVENT: _event,
            Kind.LIFECYCLE: _life_cycle,
            Kind.CAPABILITIES: lambda message, shift: _one("CAPABILITIES", message, shift, message.body),
            Kind.DISCOVERED: lambda message, shift: _one("DISCOVERY", message, shift, message.body),
            Kind.DISCOVERY_STATUS: lambda message, shift: _one("DISCOVERY", message, shift, message.body),
            Kind.OUTCOME: _outcome,
            Kind.LOG: self._log,
            Kind.GATEWAY: lambda _message, _shift: iter(
                ()
            ),  # it has an envelope of its own, or nobody wants it any more
        }

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return self._conversation.topics

    def will(self, message_id: str, now: str) -> None:  # noqa: ARG002  the cloud itself writes `connection` into the shadow
        return None

    def status(self, message_id: str, now: str, status: Mapping[str, Any]) -> Publication:  # noqa: ARG002  a shadow has its own
        return self._conversation.shadow({"hub": hub_section(status, now)})

    def encode(self, message: Message, message_id: str, shift: float) -> list[Publication]:
        if self.pairing is None:
            raise RuntimeError("messages are asked for once the device is paired")  # a bug of the link
        if message.kind is Kind.GATEWAY and self._gateway is not None:
            told = self._gateway.envelope(message.body["event"], iso(message.wall + shift), message.body["number"])
            return [Publication(self._gateway.events(self.pairing), encoded(told))]
        publications = self._packed(self.pairing, [encoded(body) for body in self.bodies(message, message_id, shift)])
        return publications + [Publication(self.pairing.d2c, encoded(alert)) for alert in self.alerts(message, shift)]

    def bodies(self, message: Message, message_id: str, shift: float) -> list[Body]:
        """The messages of nRF Cloud in one of ours; none for what the account does not want."""
        bodies = list(self._bodies[message.kind](message, shift))
        for number, body in enumerate(bodies):
            body["id"] = message_id if not number else f"{message_id}-{number}"
        return bodies

    def alerts(self, message: Message, shift: float) -> list[Body]:
        """What somebody should look at, beside the messages that say all of it."""
        return list(_alerts(message, shift)) if self.control.alerts else []

    def decode(self, topic: str, payload: bytes, *, retained: bool) -> Request:
        if self.pairing is None or topic != f"{self.pairing.messages}/c2d/r":
            raise MalformedMessage(f"{topic[:128]}: nothing is expected here")
        message = _read(CloudMessage, topic, payload)
        match message.app_id, message.message_type:
            case "DEVICE", "CMD":
                return self._command(message.data, payload, retained=retained)
            case "STATE", "CMD":
                if retained:
                    raise MalformedMessage(f"{topic}: retained {message.app_id} refused")
                return StateQuery(_valid(StateAsked, topic, message.data or {}).device, refresh=False)
        raise MalformedMessage(f"{topic}: {message.app_id[:64]} {message.message_type[:64]} is not supported")

    def _command(self, data: Any, payload: bytes, *, retained: bool) -> Request:
        """A command or its rejection, which is answered too: under a name made from the message where it has none."""
        try:
            told = DeviceCommand.model_validate(data)
        except ValidationError as error:
            given = data if isinstance(data, dict) else {}
            trace, device = given.get("traceId"), given.get("device")
            named = isinstance(trace, str) and 0 < len(trace) <= 128  # noqa: PLR2004  as the model has it
            trace_id = str(trace) if named else f"nrf-{sha256(payload).hexdigest()[:32]}"
            ref = device[:128] if isinstance(device, str) else ""
            return RejectedCommand(CommandRequest(trace_id, ref, (), self._uplink), 400, first_wrong(error))
        action = Action(told.endpoint, told.capability, told.action, told.params)
        expires = None if told.expires_at is None else told.expires_at / 1000
        return CommandRequest(told.trace_id, told.device, (action,), self._uplink, expires, retained)

    # ---- packets ----------------------------------------------------------------------------------------------------

    def _packed(self, pairing: Pairing, bodies: list[bytes]) -> list[Publication]:
        """One message alone, several as lists of at most `largest` bytes."""
        packets: list[list[bytes]] = []
        room = 0
        for body in bodies:
            if not packets or room < len(body) + 1:
                packets.append([])
                room = self._largest - _ROOM
            packets[-1].append(body)
            room -= len(body) + 1
        return [
            Publication(pairing.d2c, packet[0])
            if len(packet) == 1
            else Publication(pairing.bulk, b"[" + b",".join(packet) + b"]")
            for packet in packets
        ]

    def _log(self, message: Message, shift: float) -> Iterator[Body]:
        """The lines that the account wants; `src` is the logger, `dom` is 0, as there is one domain."""
        for line in message.body["lines"]:
            level = _LEVELS.get(str(line.get("level", "")), _QUIETEST)
            if level > self.control.log_level:
                continue
            told = {"appId": "LOG", "lvl": level, "msg": str(line.get("message", ""))[:MOST_TEXT], "dom": 0}
            yield {**told, "src": str(line.get("logger", ""))[:128], "ts": _line_time(line, message, shift)}


def hub_section(status: Mapping[str, Any], now: str) -> Body:
    """The hub's own status in the shadow."""
    return {**dict.fromkeys(_COMES_AND_GOES), **status, "at": now}


def _state(message: Message, shift: float) -> Iterator[Body]:
    for endpoint, capability, name, value, changed in message.body:
        app, data = "STATE", value
        known = _SENSORS.get((capability, name))
        if known is not None and isinstance(value, int) and not isinstance(value, bool):
            app, data = known[0], decimal(value, known[1])
        told = {"appId": app, "messageType": "DATA", "data": data, "ts": _ms(message.wall + shift)}
        changed_at = _ms(changed + shift)
        about = {"device": message.device, "endpoint": endpoint, "capability": capability, "property": name}
        yield {**told, **about, "changedAt": changed_at}


def decimal(value: int, digits: int) -> str:
    """A scaled whole number as a decimal text, exactly: 2150 with two digits is "21.5"."""
    whole, rest = divmod(abs(value), 10**digits)
    text = f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


def _event(message: Message, shift: float) -> Iterator[Body]:
    body = message.body
    about = {"endpoint": body["endpoint"], "capability": body["capability"], "event": body["event"]}
    told = {"appId": "EVENT", "messageType": "DATA", "data": body["fields"], "ts": _ms(body["at"] + shift)}
    yield {**told, "device": message.device, **about}


def _life_cycle(message: Message, shift: float) -> Iterator[Body]:
    body = dict(message.body)
    at = body.pop("at")
    yield {"appId": "LIFECYCLE", "messageType": "DATA", "data": body, "ts": _ms(at + shift), "device": message.device}


def _one(app: str, message: Message, shift: float, data: Mapping[str, Any]) -> Iterator[Body]:
    told = {"appId": app, "messageType": "DATA", "data": dict(data), "ts": _ms(message.wall + shift)}
    yield told | ({"device": message.device} if message.device else {})


def _outcome(message: Message, shift: float) -> Iterator[Body]:
    body = message.body
    data = {
        "traceId": message.trace_id,
        "result": "succeeded" if body["succeeded"] else "failed",
        "code": body["code"],
        "receivedAt": _ms(body["received"] + shift),
        "executedAt": _ms(body["ended"] + shift),
        "results": body["results"],
    }
    if body["error"]:
        data["error"] = body["error"]
    return _one("DEVICE", message, shift, data)


def _alerts(message: Message, shift: float) -> Iterator[Body]:
    body = message.body
    if message.kind is Kind.LIFECYCLE and body.get("eventType") == "disconnected":
        yield _alert(OFFLINE, f"{message.device} is offline", body["at"] + shift)
    if message.kind is Kind.EVENT and (body["capability"], body["event"]) in _ALERTS:
        number, text = _ALERTS[body["capability"], body["event"]]
        yield _alert(number, f"{message.device}: {text}", body["at"] + shift)


def _alert(number: int, text: str, at: float) -> Body:
    return {"appId": "ALERT", "type": number, "desc": text, "ts": _ms(at)}


def _line_time(line: Mapping[str, Any], message: Message, shift: float) -> int:
    try:
        return _ms(parse_iso(str(line.get("time"))) + shift)
    except (ValueError, OverflowError):
        return _ms(message.wall + shift)


def _ms(wall: float) -> int:
    return round(wall * 1000)


def encoded(body: Body) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _read(model: type[CloudMessage], topic: str, payload: bytes) -> CloudMessage:
    if len(payload) > LARGEST:
        raise MalformedMessage(f"{topic}: {len(payload)} bytes, more than {LARGEST}")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedMessage(f"{topic}: {first_wrong(error)}") from None


def _valid(model: type[StateAsked], topic: str, data: Any) -> StateAsked:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise MalformedMessage(f"{topic}: {first_wrong(error)}") from None


def is_disconnect(payload: bytes) -> bool:
    """Whether the account says that it has this device no more (protocol notes, section 2.5)."""
    try:
        message = CloudMessage.model_validate_json(payload)
    except ValidationError:
        return False
    return (message.app_id, message.message_type) == ("DEVICE", "DISCON")
