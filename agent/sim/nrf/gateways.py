"""Gateways of BLE devices: operations to them, what they tell, and the BLE devices that the account knows through them. PURE.

Messages: protocol notes, sections 5.2 to 5.4. Operations go where the gateway began to listen: the JavaScript gateways
ask for their shadow on a topic of their own, the LTE gateway asks for its connections by a transform.
"""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from agent.clock import iso
from agent.sim.nrf.answers import BAD_REQUEST, NOT_FOUND, NrfError
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.pairing import c2d_topic, is_paired
from agent.sim.records import Record, Records

ADDRESS = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}")
EVENTS = 100  # shown, the newest first
_SCAN = {"scanTimeout": 3, "scanMode": "active", "scanType": 0, "scanReporting": "instant", "scanInterval": 0}
_NAMES = ("services", "characteristics", "descriptors")

Body = dict[str, Any]


class Gateways:
    """BLE devices in the records of kind `nrf-peripheral`, events in `nrf-gateway-event`, each gateway's last scan in `nrf-scan`."""

    def __init__(self, records: Records, devices: Devices, publish: Callable[[str, bytes], None]) -> None:
        self._records, self._devices, self._publish = records, devices, publish

    # ---- to a gateway -----------------------------------------------------------------------------------------------

    def operate(self, gateway: Record, operation: Body) -> None:
        """Send an operation; its answer is an event."""
        message = {"type": "operation", "id": uuid.uuid4().hex, "operation": operation}
        state = self._devices.state(gateway)["state"]
        own = f"{gateway['prefix']}gateways/{gateway['id']}/c2g"
        self._publish(
            own if self._hears_apart(gateway, state) else c2d_topic(gateway, state), json.dumps(message).encode()
        )

    def hears(self, gateway: Record, *, apart: bool) -> None:
        """How it began: `apart` is the JavaScript gateways' way, with topics of their own."""
        self._records.put("nrf-gateway-way", gateway["id"], {"apart": apart})

    def _hears_apart(self, gateway: Record, state: Body) -> bool:
        """A gateway of which nobody knows how it began hears apart if it does not report its pairing."""
        known = self._records.get("nrf-gateway-way", gateway["id"])
        return bool(known["apart"]) if known is not None else not is_paired(state)

    def scan(self, gateway: Record, config: Body) -> None:
        """Start a scan; its results replace those of the last one. Raises NrfError."""
        _gateway(gateway)
        wanted = {**_SCAN, **{name: config[name] for name in (*_SCAN, "filter") if name in config}}
        timeout = wanted["scanTimeout"]
        if not isinstance(timeout, int) or isinstance(timeout, bool) or not 0 <= timeout < 1 << 16:
            raise NrfError(BAD_REQUEST, "scanTimeout is 0 to 65535 seconds")
        started = {"startedAt": iso(self._devices.now()), "devices": [], "timeout": False}
        self._records.put("nrf-scan", gateway["id"], started)
        self.operate(gateway, {"type": "scan", **wanted})

    def scanned(self, gateway: Record) -> Record:
        """`{"startedAt", "devices": [ScanResult], "timeout"}` of the last scan. Raises NrfError."""
        found = self._records.get("nrf-scan", gateway["id"])
        if found is None:
            raise NrfError(NOT_FOUND, "the gateway has not been asked to scan")
        return found

    def add(self, gateway: Record, address: str) -> None:
        """Have a gateway connect a BLE device. Raises NrfError."""
        _gateway(gateway)
        before = self._records.get("nrf-peripheral", address)
        if before is None or before["gateway"] != gateway["id"]:
            if before is not None:
                self.remove(before)
            fresh: Record = {"id": address, "gateway": gateway["id"], "connected": False, "services": {}}
            self._records.put("nrf-peripheral", address, fresh)
        self._wish(gateway, address, there=True)

    def remove(self, child: Record) -> None:
        """Have a gateway disconnect a BLE device, and forget it."""
        self._devices.fota.forsake(child["id"])
        self._records.delete("nrf-peripheral", child["id"])
        gateway = self._records.get("nrf-device", child["gateway"])
        if gateway is not None:
            self._wish(gateway, child["id"], there=False)

    def forsake(self, gateway: Record) -> None:
        """A gateway is no more, and with it its BLE devices."""
        for child in [child for child in self._records.all("nrf-peripheral") if child["gateway"] == gateway["id"]]:
            self._devices.fota.forsake(child["id"])
            self._records.delete("nrf-peripheral", child["id"])
        self._records.delete("nrf-scan", gateway["id"])
        if gateway["type"] == "Gateway":
            self.operate(gateway, {"type": "delete_yourself"})
            self._records.delete("nrf-gateway-way", gateway["id"])

    def _wish(self, gateway: Record, address: str, *, there: bool) -> None:
        wished = self._devices.state(gateway)["state"].get("desired", {}).get("desiredConnections")
        others = [entry for entry in map(_wanted, wished if isinstance(wished, list) else []) if entry != address]
        wanted = [*filter(None, others), *([address] if there else [])]
        self._devices.change_state(gateway, {"desired": {"desiredConnections": wanted}})

    # ---- BLE devices ------------------------------------------------------------------------------------------------

    def is_known(self, address: str) -> bool:
        return self._records.get("nrf-peripheral", address) is not None

    def find(self, address: str) -> tuple[Record, Record]:
        """A BLE device and its gateway. Raises NrfError."""
        child = self._records.get("nrf-peripheral", address)
        if child is None:
            raise NrfError(NOT_FOUND, f"Device {address[:128]} not found")
        return child, self._devices.find(child["gateway"])

    def value(self, child: Record, path: tuple[str, ...]) -> Any:
        """The last known value of a characteristic or descriptor; `path` is service, characteristic, descriptor. Raises NrfError."""
        place = child["services"]
        for name, key in zip(("", *_NAMES[1:]), path, strict=False):
            place = (place.get(name, {}) if name else place).get(key, {})
        if "value" not in place:
            raise NrfError(NOT_FOUND, "no value is known; discover the device first")
        return place["value"]

    def path(self, child: Record, characteristic: str, *descriptor: str) -> tuple[str, ...]:
        """`characteristic`: its UUID, or `<service>/<UUID>` where several services have it. Raises NrfError."""
        service, _, uuid_ = characteristic.rpartition("/")
        for name, found in child["services"].items():
            if service in ("", name) and uuid_ in found.get("characteristics", {}):
                return (name, uuid_, *descriptor)
        raise NrfError(NOT_FOUND, f"the device has no characteristic {characteristic[:80]}")

    # ---- from a gateway ---------------------------------------------------------------------------------------------

    def heard(self, gateway: Record, message: Any) -> None:
        """Keep an event, and what it tells. Raises NrfError for what is none."""
        match message:
            case {"type": "event", "event": {"type": str()} as event}:
                _gateway(gateway)
            case _:
                raise NrfError(BAD_REQUEST, "an event is an object of type event with an event of some type")
        number = self._records.count("nrf-gateway-event") + 1
        kept = {"gatewayId": gateway["id"], "event": event, "receivedAt": iso(self._devices.now())}
        self._records.put("nrf-gateway-event", f"{number:012}", kept)
        match event:
            case {"type": "scan_result", "devices": list(found)}:
                self._scan_result(gateway, found, over=event.get("timeout") is True)
            case {"device": {"id": str(address)}}:
                child = self._records.get("nrf-peripheral", address.upper())
                if child is not None and child["gateway"] == gateway["id"]:
                    self._records.put("nrf-peripheral", child["id"], _told(child, event))

    def events(self, gateway: Record) -> list[Record]:
        """The last events of a gateway, the newest first."""
        kept = [entry for entry in self._records.all("nrf-gateway-event") if entry["gatewayId"] == gateway["id"]]
        return kept[: -EVENTS - 1 : -1]

    def _scan_result(self, gateway: Record, found: list[Any], *, over: bool) -> None:
        scan = self._records.get("nrf-scan", gateway["id"])
        if scan is None or scan["timeout"]:
            return  # a beacon that is watched, or the signal of a device that is connected
        seen = {_address(entry): entry for entry in (*scan["devices"], *found)}
        devices = [entry for address, entry in seen.items() if address]
        self._records.put("nrf-scan", gateway["id"], {**scan, "devices": devices, "timeout": over})


def _gateway(device: Record) -> None:
    if device["type"] != "Gateway":
        raise NrfError(BAD_REQUEST, "the device is no gateway")


def _wanted(entry: Any) -> str:
    """The address in an entry of desiredConnections, in any of its three forms."""
    match entry:
        case str(address) | {"id": str(address)}:
            return address
    return _address(entry)


def _address(found: Any) -> str:
    match found:
        case {"address": {"address": str(address)}}:
            return address
    return ""


def _told(child: Record, event: Body) -> Record:
    """A BLE device after an event about it."""
    match event:
        case {"type": "device_connect_result" | "device_disconnect" as kind}:
            return {**child, "connected": kind == "device_connect_result"}
        case {"type": "device_discover_result", "services": dict(services)}:
            return {**child, "services": _services(services)}
        case {"characteristic": {"path": str(path), "value": list(value)}}:
            _keep(child, path.split("/"), value)
        case {"descriptor": {"path": str(path), "value": list(value)}}:
            _keep(child, path.split("/"), value)
    return child


def _services(told: Body) -> Body:
    """What a discovery tells, with objects wherever there are to be objects."""
    services: Body = {}
    for service, content in told.items():
        made = services[service] = {"uuid": service, "characteristics": {}}
        for name, characteristic in _objects(content, "characteristics").items():
            descriptors = _objects(characteristic, "descriptors")
            made["characteristics"][name] = {**characteristic, "descriptors": descriptors}
    return services


def _objects(parent: Any, name: str) -> Body:
    inner = parent.get(name) if isinstance(parent, dict) else None
    return {key: value for key, value in inner.items() if isinstance(value, dict)} if isinstance(inner, dict) else {}


def _keep(child: Record, path: list[str], value: list[Any]) -> None:
    """The value at service/characteristic[/descriptor]; what no discovery has told is made."""
    if len(path) not in (2, 3):
        return
    service = child["services"].setdefault(path[0], {"uuid": path[0], "characteristics": {}})
    place = service["characteristics"].setdefault(
        path[1], {"uuid": path[1], "path": "/".join(path[:2]), "value": [], "properties": {}, "descriptors": {}}
    )
    if len(path) > 2:  # noqa: PLR2004  service, characteristic, descriptor
        place = place["descriptors"].setdefault(path[2], {"uuid": path[2], "path": "/".join(path)})
    place["value"] = value
