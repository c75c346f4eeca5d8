"""Devices as REST shows them, one or a page, whole or transformed. PURE. Members and filters: the API's description (ListDevices)."""

from collections.abc import Callable, Iterable
from typing import Any

from agent.sim.exchange import Query
from agent.sim.nrf.answers import BAD_REQUEST, NrfError
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.pages import first, flag, page
from agent.sim.nrf.transform import transform
from agent.sim.records import Record

LARGEST = 6 * 1024 * 1024  # bytes of a transformed answer

Body = dict[str, Any]


class DeviceList:
    """What is shown of `devices`."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def one(self, device: Record, query: Query) -> Any:
        """A device with its state, or what `transform` makes of it. Raises NrfError."""
        return _transformed(self._shown(device, state=True, metadata=True), query)

    def page(self, query: Query) -> Body:
        """A page of those that all filters let through, the newest first unless `pageSort` is asc. Raises NrfError."""
        state = flag(query, "includeState", default=False)
        metadata = flag(query, "includeStateMeta", default=False)
        found = [device for device in self._devices.of_account() if self._fits(device, query)]
        if first(query, "pageSort") != "asc":
            found.reverse()
        answer = page(found, query)
        shown = (self._shown(device, state=state, metadata=metadata) for device in answer["items"])
        return {**answer, "items": [_transformed(device, query) for device in shown]}

    def _fits(self, device: Record, query: Query) -> bool:
        wanted = {name: _values(query, name) for name in query}
        supports = set(map(str, self._supports(device)))
        tests: dict[str, Callable[[set[str]], bool]] = {
            "deviceIds": lambda values: device["id"] in values,
            "deviceIdentifiers": lambda values: device["id"] in values,
            "tags": lambda values: bool(values & set(device["tags"])),
            "deviceTypes": lambda values: device["type"] in values,
            "subTypes": lambda values: device["subType"] in values,
            "firmwareSupport": lambda values: bool(values & supports),
            "firmwareSupportExclude": lambda values: not values & supports,
            "deviceNameFuzzy": lambda values: any(part.lower() in _name(device).lower() for part in values),
        }
        return all(test(wanted[name]) for name, test in tests.items() if name in wanted)

    def _supports(self, device: Record) -> list[Any]:
        """The firmware types that a device takes: as it reports, else as it was onboarded."""
        match self._devices.state(device)["state"]:
            case {"reported": {"device": {"serviceInfo": {"fota_v2": list(types)}}}}:
                return types
        return list(device["supports"])

    def _shown(self, device: Record, *, state: bool, metadata: bool) -> Body:
        document = self._devices.state(device)
        shown = {
            **{name: device[name] for name in ("id", "tags", "subType", "type")},
            "name": _name(device),
            "tenantId": "stand-in",
            "firmware": {"supports": self._supports(device), **_versions(document["state"])},
            "$meta": {name: device[name] for name in ("createdAt", "updatedAt", "version")},
            "cloudMqttEnabled": bool(device["certificate"]),
        }
        if state:
            shown["state"] = {name: part for name, part in document.items() if metadata or name != "metadata"}
        return shown


def _name(device: Record) -> str:
    return str(device.get("name", device["id"]))


def _versions(state: Body) -> Body:
    """What a device reports of its firmware."""
    match state:
        case {"reported": {"device": {"deviceInfo": dict(told)}}}:
            app = {
                name: told[member]
                for name, member in (("name", "appName"), ("version", "appVersion"))
                if member in told
            }
            modem = {"modem": told["modemFirmware"]} if "modemFirmware" in told else {}
            return {**({"app": app} if app else {}), **modem}
    return {}


def _values(query: Query, name: str) -> set[str]:
    """A parameter that is a list: given several times, or with commas."""
    given: Iterable[str] = query.get(name, ())
    return {part for value in given for part in value.split(",")}


def _transformed(shown: Body, query: Query) -> Any:
    expression = first(query, "transform")
    if not expression:
        return shown
    reply = transform(expression, shown, LARGEST)
    if "tf" not in reply:
        raise NrfError(BAD_REQUEST, str(reply["message"]))
    return reply["tf"]
