"""From adverts and GATT services to endpoints, capabilities, reports and writes. PURE; the tables are bthome_table, gatt_table.

A GattMap is compiled once for each connection, so that a notification costs a dict look-up and a scaling.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action, Capability, Device, Endpoint
from drivers.ble import scales
from drivers.ble.adverts import Said, short
from drivers.ble.gatt import Characteristic, Services
from drivers.ble.gatt_table import DIGITAL, KNOWN_SERVICES, ROWS, SILENT, Row, digital, with_digital
from drivers.told import Happened, Values

ON_OFF, BOOLEAN, SWITCH = scales.matter("OnOff"), scales.matter("BooleanState"), scales.matter("Switch")
SWITCH_EVENTS = ("InitialPress", "LongPress", "ShortRelease", "LongRelease", "MultiPressComplete")
DIGITAL_WHAT = "the digitals of Automation IO"
DEVICE_TYPES = {  # Matter 1.4 device types, by the capability that says what an endpoint is
    scales.matter("TemperatureMeasurement"): "Temperature Sensor",
    scales.matter("RelativeHumidityMeasurement"): "Humidity Sensor",
    scales.matter("PressureMeasurement"): "Pressure Sensor",
    scales.matter("IlluminanceMeasurement"): "Light Sensor",
    scales.matter("FlowMeasurement"): "Flow Sensor",
    scales.matter("OccupancySensing"): "Occupancy Sensor",
    scales.matter("SmokeCOAlarm"): "Smoke CO Alarm",
    scales.matter("ElectricalPowerMeasurement"): "Electrical Sensor",
    scales.matter("ElectricalEnergyMeasurement"): "Electrical Sensor",
    ON_OFF: "On/Off Light",
    BOOLEAN: "Contact Sensor",
    SWITCH: "Generic Switch",
    scales.matter("PowerSource"): "Power Source",
    scales.NUMERIC: "Numeric Sensor",
}


# ---- adverts -----------------------------------------------------------------------------------------------------------


def widen(device: Device, said: Said) -> Device:
    """The device with all that an advertisement shows of it; the same object when that is nothing new.

    A sensor may spread its values over several packets, so what it is grows with what it says.
    """
    shown = [*((v.endpoint, v.capability, tuple(v.properties)) for v in said.values)]
    endpoints = _merged(device.endpoints, shown)
    unmapped = device.unmapped + tuple(word for word in said.unmapped if word not in device.unmapped)
    firmware = said.firmware or device.firmware
    battery = device.battery or any(v.capability == scales.matter("PowerSource") for v in said.values)
    if (endpoints, unmapped, firmware, battery) == (
        device.endpoints,
        device.unmapped,
        device.firmware,
        device.battery,
    ):
        return device
    return replace(device, endpoints=endpoints, unmapped=unmapped[:UNMAPPED], firmware=firmware, battery=battery)


UNMAPPED = 32  # words: what a stranger may write into our book is bounded
ENDPOINTS = 64


def _merged(known: tuple[Endpoint, ...], shown: Iterable[tuple[str, str, tuple[str, ...]]]) -> tuple[Endpoint, ...]:
    table = {endpoint.id: {one.id: one for one in endpoint.capabilities} for endpoint in known}
    for endpoint, identifier, properties in shown:
        if endpoint not in table and len(table) >= ENDPOINTS:
            continue
        found = table.setdefault(endpoint, {})
        old = found.get(identifier) or _capability(identifier)
        new = tuple(name for name in properties if name not in old.properties)
        found[identifier] = replace(old, properties=old.properties + new) if new else old
    return tuple(Endpoint(name, _types(found), tuple(found.values())) for name, found in table.items())


def _capability(identifier: str, actions: tuple[str, ...] = ()) -> Capability:
    schema = capabilities.load(identifier)
    events = SWITCH_EVENTS if identifier == SWITCH else ()
    return Capability(identifier, schema.name, schema.version, (), actions, events)


def _types(found: Iterable[str]) -> tuple[str, ...]:
    names = dict.fromkeys(DEVICE_TYPES[one] for one in found if one in DEVICE_TYPES)
    return tuple(name for name in names if name != "Power Source" or len(names) == 1) or ("Unknown Device",)


# ---- GATT --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """What one characteristic is: an endpoint's capability, how to read it, and which digital it is."""

    characteristic: Characteristic
    endpoint: str
    capability: str
    row: Row | None = None
    index: int = 0
    count: int = 1

    def decode(self, data: bytes) -> Values | None:
        """The properties of a value; None when it is too short or says nothing."""
        if self.row is None:
            state = digital(data, self.index)
            if state is None:
                return None
            return Values(
                self.endpoint, self.capability, {"OnOff" if self.capability == ON_OFF else "StateValue": state}
            )
        scaled = self.row.decode(data)
        return None if scaled is None else Values(self.endpoint, *scaled)


@dataclass(frozen=True, slots=True)
class Write:
    """A value for a characteristic: `change` makes it of the one that it has."""

    handle: int
    change: Callable[[bytes], bytes]


class GattMap:
    """One device's services, compiled. `digitals`: how many a digital characteristic has, by its handle."""

    def __init__(self, services: Services, digitals: Mapping[int, int] | None = None) -> None:
        self.services = services
        self._by_handle: dict[int, list[Place]] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._turns: dict[str, int] = {}
        for service in services:
            if short(service.uuid) in KNOWN_SERVICES:
                for one in service.characteristics:
                    for place in self._compile(one, (digitals or {}).get(one.handle, 1)):
                        self._by_handle.setdefault(one.handle, []).append(place)
                        self._places[place.endpoint, place.capability] = place
        self.endpoints = self._endpoints()
        self.unmapped = tuple(self._unmapped())[:UNMAPPED]

    def _compile(self, one: Characteristic, count: int) -> Iterator[Place]:
        number = short(one.uuid)
        if number == DIGITAL:
            capability = ON_OFF if one.writable else BOOLEAN
            for index in range(count):
                yield Place(one, self._turn(capability), capability, None, index, count)
        elif number is not None and number in ROWS:
            row = ROWS[number]
            shown = row.decode(bytes(8))  # enough octets for every row
            if shown is not None:
                endpoint = self._named(row.quantity) if row.quantity else self._turn(shown[0])
                yield Place(one, endpoint, shown[0], row)

    def _turn(self, what: str) -> str:
        self._turns[what] = self._turns.get(what, 0) + 1
        return str(self._turns[what])

    def _named(self, quantity: str) -> str:
        turn = self._turn(quantity)
        return quantity if turn == "1" else f"{quantity}{turn}"

    def _endpoints(self) -> tuple[Endpoint, ...]:
        table: dict[str, dict[str, Capability]] = {}
        for place in self._places.values():
            actions = ("Off", "On", "Toggle") if place.capability == ON_OFF else ()
            made = _capability(place.capability, actions)
            table.setdefault(place.endpoint, {})[place.capability] = replace(made, properties=self._properties(place))
        return tuple(Endpoint(name, _types(found), tuple(found.values())) for name, found in table.items())

    @staticmethod
    def _properties(place: Place) -> tuple[str, ...]:
        decoded = place.decode(bytes(8))
        return tuple(decoded.properties) if decoded is not None else ()

    def _unmapped(self) -> Iterator[str]:
        for service in self.services:
            number = short(service.uuid)
            name = service.uuid if number is None else f"0x{number:04X}"
            if number not in KNOWN_SERVICES and number not in SILENT:
                yield f"service {name}"

    # ---- what it says -----------------------------------------------------------------------------------------------

    def report(self, handle: int, data: bytes) -> tuple[Values, ...]:
        """What a value of a characteristic says; empty for what no capability knows."""
        decoded = (place.decode(data) for place in self._by_handle.get(handle, ()))
        return tuple(one for one in decoded if one is not None)

    @property
    def reads(self) -> tuple[int, ...]:
        """The characteristics that hold the state, by handle."""
        return tuple(h for h, places in self._by_handle.items() if "read" in places[0].characteristic.flags)

    @property
    def notifies(self) -> tuple[int, ...]:
        """The characteristics that tell of changes by themselves."""
        return tuple(h for h, places in self._by_handle.items() if places[0].characteristic.notifies)

    # ---- what it is asked -------------------------------------------------------------------------------------------

    def place(self, action: Action) -> Place:
        """The place of an action that is valid. Raises UnknownDevice, InvalidParameters."""
        place = self._places.get((action.endpoint, action.capability))
        if place is None:
            raise UnknownDevice(f"endpoint {action.endpoint} has no capability {action.capability}")
        check(action)
        return place

    def write(self, action: Action, last: Mapping[int, bytes]) -> Write:
        """The write of an action; `last` holds the last value of each characteristic. Raises UnknownDevice, NotSupported, InvalidParameters."""
        place = self.place(action)
        handle = place.characteristic.handle
        if place.capability != ON_OFF:
            raise NotSupported(f"{action.capability} of this device can only be read")
        match action.name:
            case "On" | "Off":
                state = action.name == "On"
            case "Toggle":
                state = not digital(last.get(handle, b""), place.index)
            case capabilities.UPDATE_STATE if set(action.parameters) == {"OnOff"}:
                state = action.parameters["OnOff"]
            case _:
                raise NotSupported(f"{action.capability} of this device has no action {action.name}")
        return Write(handle, lambda data: with_digital(data, place.index, place.count, state))


def check(action: Action) -> None:
    """Raises InvalidParameters for what its document does not allow."""
    try:
        capabilities.validate_action(action.capability, action.name, action.parameters)
    except capabilities.CapabilityError as error:
        raise InvalidParameters(str(error)) from None


def wanted(action: Action, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that a ReadState asked for."""
    names: Sequence[str] = action.parameters.get("propertiesToRead") or ["*"]
    return {name: value for name, value in properties.items() if "*" in names or name in names}


__all__ = ["GattMap", "Happened", "Place", "Write", "check", "wanted", "widen"]
