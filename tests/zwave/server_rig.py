"""What a zwave-js-server says, in small: the state and the dump of one node with many classes, and a home without a socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import DriverContext
from agent.model import DriverEvent
from agent.secret_store import FileSecrets
from drivers.zwave.server_home import Home
from drivers.zwave.settings import ZwaveSettings

Json = dict[str, Any]
NAMES = {
    0x25: "Binary Switch",
    0x26: "Multilevel Switch",
    0x30: "Binary Sensor",
    0x31: "Multilevel Sensor",
    0x32: "Meter",
    0x33: "Color Switch",
    0x43: "Thermostat Setpoint",
    0x5B: "Central Scene",
    0x62: "Door Lock",
    0x66: "Barrier Operator",
    0x6A: "Window Covering",
    0x71: "Notification",
    0x79: "Sound Switch",
    0x80: "Battery",
}


def value(number: int, name: str | int, found: Any, key: Any = None, **metadata: Any) -> Json:
    """An entry of a node's values."""
    keyed = {} if key is None else {"propertyKey": key}
    return {"endpoint": 0, "commandClass": number, "property": name, **keyed, "value": found, "metadata": metadata}


def inner(name: str, found: Any, key: Any = None) -> Json:
    """A value of a dump that a state does not have."""
    keyed = {} if key is None else {"propertyKey": key}
    return {"property": name, **keyed, "value": found, "internal": True}


def node(
    classes: dict[int, int], values: list[Json], learnt: dict[int, list[Json]], device: tuple[int, int] = (0x10, 0x01)
) -> tuple[Json, Json]:
    """The state and the dump of node 5."""
    listed = [{"id": number, "name": NAMES[number], "version": version} for number, version in classes.items()]
    root = {
        "index": 0,
        "installerIcon": 0x0700,
        "userIcon": 0x0700,
        "deviceClass": {"generic": {"key": device[0]}, "specific": {"key": device[1]}},
        "commandClasses": listed,
    }
    state = {
        "nodeId": 5,
        "status": 4,
        "ready": True,
        "isListening": True,
        "isFrequentListening": False,
        "manufacturerId": 0x86,
        "productType": 3,
        "productId": 0x9A,
        "firmwareVersion": "1.4.0",
        "zwavePlusVersion": 2,
        "zwavePlusRoleType": 5,
        "highestSecurityClass": 1,
        "lastSeen": "2026-11-27T18:03:27.764Z",
        "endpoints": [root],
        "values": values,
    }
    dump = {
        "dsk": "11111-22222-33333-44444-55555-01234-12345-23456",
        "commandClasses": {
            NAMES[number]: {"isSupported": True, "isControlled": False, "values": learnt.get(number, [])}
            for number in classes
        },
    }
    return state, dump


def everything() -> tuple[Json, Json]:
    """A node that has all that is looked at."""
    values = [
        value(0x25, "currentValue", True),
        value(0x26, "currentValue", 40),
        value(0x26, "targetValue", 40),
        value(0x26, "duration", {"value": 2, "unit": "seconds"}),
        value(0x30, "Motion", True, ccSpecific={"sensorType": 12, "type": 12}),
        value(0x31, "Air temperature", 21.5, unit="°C", ccSpecific={"sensorType": 1, "scale": 0}),
        value(0x32, "value", 12.345, 65537, ccSpecific={"meterType": 1, "scale": 0, "rateType": 1}),
        value(0x33, "currentColor", 255, 2),
        value(0x43, "setpoint", 21.5, 1, unit="°C", min=5, max=30, ccSpecific={"setpointType": 1}),
        value(0x5B, "scene", None, "001"),
        value(0x62, "currentMode", 255),
        value(0x62, "boltStatus", "locked"),
        value(0x62, "doorStatus", "closed"),
        value(0x66, "currentState", 253),
        value(0x66, "position", 30),
        value(0x6A, "currentValue", 99, 13),
        value(0x71, "Home Security", 8, "Motion sensor status",
              ccSpecific={"notificationType": 7}, states={"0": "idle", "8": "Motion detection"}),
        value(0x79, "toneId", 1),
        value(0x80, "level", 87),
    ]  # fmt: skip
    learnt = {
        0x26: [inner("switchType", 2)],
        0x30: [inner("supportedSensorTypes", [12])],
        0x31: [inner("supportedSensorTypes", [1]), inner("supportedScales", [0, 1], 1)],
        0x32: [inner("type", 1), inner("supportedScales", [0, 2]), inner("supportedRateTypes", [1])],
        0x33: [inner("supportedColorComponents", [0, 1, 2, 3, 4])],
        0x43: [inner("supportedSetpointTypes", [1, 2])],
        0x5B: [inner("sceneCount", 1), inner("supportedKeyAttributes", {"1": [0, 1, 2], "$$type$$": "map"})],
        0x62: [inner("doorSupported", True), inner("boltSupported", True), inner("autoRelockSupported", False)],
        0x6A: [inner("supportedParameters", [13])],
        0x71: [inner("supportedNotificationTypes", [7]), inner("supportedNotificationEvents", [8], 7)],
    }
    versions = {0x30: 2, 0x31: 11, 0x32: 5, 0x33: 3, 0x43: 3, 0x5B: 3, 0x62: 4, 0x71: 8}
    return node({number: versions.get(number, 1) for number in NAMES}, values, learnt)


EVENTS: tuple[Json, ...] = (
    {"source": "controller", "event": "inclusion state changed", "state": 0},
    {"source": "controller", "event": "status changed", "status": 2},
    {"source": "controller", "event": "node found", "node": {"nodeId": 5}},
    {"source": "controller", "event": "node added", "node": everything()[0], "result": {"lowSecurity": False}},
    {"source": "controller", "event": "grant security classes", "requested": {"securityClasses": [0, 1]}},
    {"source": "controller", "event": "validate dsk and enter pin", "dsk": "-22222-33333"},
    {"source": "node", "event": "ready", "nodeId": 5, "nodeState": everything()[0]},
    {"source": "node", "event": "wake up", "nodeId": 5},
    {"source": "node", "event": "interview failed", "nodeId": 5, "args": {"errorMessage": "no", "isFinal": True}},
    {"source": "node", "event": "statistics updated", "nodeId": 5, "statistics": {"lastSeen": "2026-11-27"}},
    {"source": "node", "event": "notification", "nodeId": 5, "endpointIndex": 0, "ccId": 0x71,
     "args": {"type": 6, "event": 5, "parameters": {"userId": 3}}},
    {"source": "node", "event": "notification", "nodeId": 5, "endpointIndex": 0, "ccId": 0x26,
     "args": {"eventType": 4, "direction": "down"}},
    *({"source": "node", "event": event, "nodeId": 5,
       "args": {**one, "value": one["value"] or 0, "newValue": one["value"], "prevValue": 0}}
      for one in everything()[0]["values"]
      for event in ("value updated", "value added", "value notification", "value removed", "metadata updated")),
    {"source": "controller", "event": "node removed", "node": {"nodeId": 5}, "reason": 0},
)  # fmt: skip


class NoSocket:
    """Answers each request with what `answer` returns."""

    def __init__(self, answer: Callable[..., Json]) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.place, self.schema, self.malformed = "ws://127.0.0.1:3000", 50, 0
        self._answer = answer

    async def call(self, command: str, *, limit: float = 0, **arguments: Any) -> Json:  # noqa: ARG002
        return self._answer(command, **arguments)

    async def read(self, listener: Callable[[Json], None]) -> None:  # noqa: ARG002  events are given by hand
        await asyncio.wait({self.lost})

    def close(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)


class Said(list[DriverEvent]):
    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self if isinstance(one, kind)]


def home(folder: Path, answer: Callable[..., Json], *nodes: Json, **settings: Any) -> tuple[Home, Said]:
    """A home whose server answers by hand."""
    said = Said()
    checked = ZwaveSettings.model_validate({"port": "ws://127.0.0.1:3000", **settings})
    context = DriverContext("zwave", checked, folder, SystemClock(), FileSecrets(folder / "secrets"))
    state = {"controller": {"homeId": 0xC0FFEE01, "ownNodeId": 1, "inclusionState": 0}, "nodes": list(nodes)}
    made = Home(context, said.append, NoSocket(answer), state)  # type: ignore[arg-type]
    return made, said
