"""REST for gateways and their BLE devices: what the account may ask. PURE.

Paths: the API's description, GatewaysApi and BluetoothLowEnergyDevicesApi; `GET …/scan`, `GET …/events`, and `read=true`, which has the
gateway read the value for the next answer, are the stand-in's own.
"""

from typing import Any

from agent.sim.exchange import Answer, Ask
from agent.sim.nrf.answers import BAD_REQUEST, NrfError, answer, json_body, object_body
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.gateways import ADDRESS, Gateways
from agent.sim.records import Record

_BYTES = 512  # of a value


class GatewayApi:
    """Answers what is about gateways."""

    def __init__(self, devices: Devices, gateways: Gateways) -> None:
        self._devices, self._gateways = devices, gateways

    def answer(self, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """None for other requests. Raises NrfError."""
        match ask.method, words:
            case "POST", ("devices", gateway, "scan"):
                self._gateways.scan(self._devices.find(gateway), object_body(ask.body or b"{}"))
                return answer(202)
            case "GET", ("devices", gateway, "scan"):
                return answer(200, self._gateways.scanned(self._devices.find(gateway)))
            case "GET", ("devices", gateway, "events"):
                return answer(200, {"items": self._gateways.events(self._devices.find(gateway))})
            case "POST", ("devices", gateway, "discover", address):
                self._discover(self._devices.find(gateway), address)
                return answer(202)
            case "PUT", ("devices", gateway, address) if ADDRESS.fullmatch(address.upper()):
                self._gateways.add(self._devices.find(gateway), address.upper())
                return answer(204)
            case method, ("devices", address, *rest) if ADDRESS.fullmatch(address.upper()):
                return self._of_child(method, address, rest, ask)
        return None

    def _discover(self, gateway: Record, address: str) -> None:
        child, found = self._gateways.find(address.upper())
        if found["id"] != gateway["id"]:
            raise NrfError(BAD_REQUEST, "the device is another gateway's")
        self._gateways.operate(gateway, {"type": "device_discover", "deviceAddress": child["id"]})

    def _of_child(self, method: str, address: str, rest: list[str], ask: Ask) -> Answer | None:
        if self._devices.is_known(address) or not self._gateways.is_known(address.upper()):
            return None  # a device of its own may be called like an address
        child, gateway = self._gateways.find(address.upper())
        match method, rest:
            case "GET", []:
                return answer(200, _shown(child, gateway))
            case "DELETE", []:
                self._gateways.remove(child)
                return answer(202)
            case "GET", ["characteristics", characteristic, *descriptor] if descriptor in ([], _named(descriptor)):
                return self._read(child, gateway, self._gateways.path(child, characteristic, *descriptor[1:]), ask)
            case "PUT", ["characteristics", characteristic, *descriptor] if descriptor in ([], _named(descriptor)):
                path = self._gateways.path(child, characteristic, *descriptor[1:])
                self._gateways.operate(gateway, _operation("write", child, path, _value(json_body(ask.body))))
                return answer(202)
        return None

    def _read(self, child: Record, gateway: Record, path: tuple[str, ...], ask: Ask) -> Answer:
        if ask.query.get("read") == ["true"]:
            self._gateways.operate(gateway, _operation("read", child, path))
        return answer(200, self._gateways.value(child, path))


def _named(words: list[str]) -> list[str]:
    """`words` if they name a descriptor."""
    return ["descriptors", words[1]] if len(words) == 2 else []  # noqa: PLR2004


def _operation(verb: str, child: Record, path: tuple[str, ...], value: list[int] | None = None) -> dict[str, Any]:
    names = ("serviceUUID", "characteristicUUID", "descriptorUUID")
    kind = "characteristic" if len(path) == 2 else "descriptor"  # noqa: PLR2004
    operation = {"type": f"device_{kind}_value_{verb}", "deviceAddress": child["id"]}
    operation |= dict(zip(names, path, strict=False))
    return operation if value is None else {**operation, f"{kind}Value": value}


def _value(body: Any) -> list[int]:
    if (
        isinstance(body, list)
        and len(body) <= _BYTES
        and all(type(byte) is int and 0 <= byte < 1 << 8 for byte in body)
    ):
        return body
    raise NrfError(BAD_REQUEST, "a value is a list of bytes")


def _shown(child: Record, gateway: Record) -> dict[str, Any]:
    return {
        "id": child["id"],
        "name": child["id"],
        "tags": [],
        "tenantId": "stand-in",
        "type": "BLE",
        "subType": "",
        "gatewayId": gateway["id"],
        "status": {"connected": child["connected"]},
        "state": child["services"],
    }
