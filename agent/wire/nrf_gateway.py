"""The messages of nRF Cloud's gateway protocol: operations for a gateway of BLE devices, and what it tells (protocol notes, section 5)."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

ADDRESS = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", re.ASCII)
SIG = "00001000800000805F9B34FB"  # the end of UUIDs that the Bluetooth SIG gave (Core Specification, Vol 3, Part B, 2.5.1)
LONGEST_VALUE = 512  # octets of an attribute (Core Specification, Vol 3, Part F, 3.2.9)
LONGEST_SCAN = 65_535  # seconds
_UUID = re.compile(r"([0-9A-F]{4}){1,2}|[0-9A-F]{32}", re.ASCII)


def address(given: str) -> str:
    """`AA:BB:CC:DD:EE:FF`. Raises ValueError."""
    if not ADDRESS.fullmatch(given):
        raise ValueError("is no Bluetooth address")
    return given.upper()


def uuid(given: str) -> str:
    """As nRF Cloud has it: upper case, no hyphens, four digits where the SIG gave a 16-bit number. Raises ValueError."""
    plain = given.replace("-", "").upper()
    if not _UUID.fullmatch(plain):
        raise ValueError("is no UUID")
    whole = plain if len(plain) == 32 else f"{plain:0>8}{SIG}"  # noqa: PLR2004  hexadecimal digits
    return whole[4:8] if whole.startswith("0000") and whole.endswith(SIG) else whole


def _octets(given: Any) -> Any:
    """A value as numbers or, as the LTE gateway takes it too, as text."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, list):
        if not all(type(octet) is int and 0 <= octet <= 0xFF for octet in given):  # noqa: PLR2004
            raise ValueError("is no list of octets")
        return bytes(given)
    return given


Address = Annotated[str, AfterValidator(address)]
Uuid = Annotated[str, AfterValidator(uuid)]
Octets = Annotated[bytes, BeforeValidator(_octets), Field(max_length=LONGEST_VALUE)]


class _Body(BaseModel):
    """Unknown members are ignored: the cloud may add some at any time."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)

    def wire(self) -> dict[str, Any]:
        """As JSON, without what was not given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# ---- operations -----------------------------------------------------------------------------------------------------


class Typed(_Body):
    """Any message, as far as it says what it is."""

    type: JsonValue = None


class OperationMessage(_Body):
    """`operation` is read on its own: one that cannot be understood is answered with an error."""

    type: Literal["operation"]
    id: str = Field("", max_length=256)
    operation: dict[str, JsonValue]


class ScanFilter(_Body):
    """`name`: a part of it; `rssi`: in dBm, the least."""

    rssi: float | None = Field(None, ge=-128, le=127, allow_inf_nan=False)
    name: str | None = Field(None, max_length=248)


class Scan(_Body):
    """`scan_timeout` and `scan_interval` in seconds; `scan_type` 1: beacons only."""

    type: Literal["scan"]
    scan_timeout: float = Field(3, ge=0, le=LONGEST_SCAN, allow_inf_nan=False)
    scan_mode: Literal["active", "passive"] = "active"
    scan_type: Literal[0, 1] = 0
    scan_reporting: Literal["instant", "batch"] = "instant"
    scan_interval: float = Field(0, ge=0, le=LONGEST_SCAN, allow_inf_nan=False)
    filter: ScanFilter | None = None


class DeviceOperation(_Body):
    device_address: Address


class Discover(DeviceOperation):
    type: Literal["device_discover"]


class AttributeOperation(DeviceOperation):
    """`service_uuid` empty: the characteristic is found by its own UUID alone, as the LTE gateway does."""

    service_uuid: Uuid | Literal[""] = Field("", alias="serviceUUID")
    characteristic_uuid: Uuid = Field(alias="characteristicUUID")


class CharacteristicRead(AttributeOperation):
    type: Literal["device_characteristic_value_read"]


class CharacteristicWrite(AttributeOperation):
    type: Literal["device_characteristic_value_write"]
    characteristic_value: Octets


class DescriptorRead(AttributeOperation):
    type: Literal["device_descriptor_value_read"]
    descriptor_uuid: Uuid = Field(alias="descriptorUUID")


class DescriptorWrite(AttributeOperation):
    """The LTE gateway hears of one descriptor alone, and is not told its UUID."""

    type: Literal["device_descriptor_value_write"]
    descriptor_uuid: Uuid = Field("2902", alias="descriptorUUID")
    descriptor_value: Octets


class GatewayStatus(_Body):
    type: Literal["get_gateway_status"]


class DeleteYourself(_Body):
    type: Literal["delete_yourself"]


OfDevice = Discover | CharacteristicRead | CharacteristicWrite | DescriptorRead | DescriptorWrite
Operation = Annotated[Scan | OfDevice | GatewayStatus | DeleteYourself, Field(discriminator="type")]


# ---- the shadow -----------------------------------------------------------------------------------------------------


class GatewayShadow(_Body):
    """A whole shadow, `state.desired` and `state.reported`, or a delta, whose `state` is what is desired."""

    state: dict[str, JsonValue]


class ConnectionsReply(_Body):
    """The answer to the transform that asks for `state.desired.desiredConnections`."""

    tf: JsonValue = None
    err: int | None = None


# ---- devices and their attributes -----------------------------------------------------------------------------------


class PeerAddress(_Body):
    address: str
    type: str | None = None


class ConnectionStatus(_Body):
    connected: bool
    connecting: bool | None = None


class Peer(_Body):
    """A BLE device in an event."""

    id: str
    address: PeerAddress
    status: ConnectionStatus | None = None


class PeerStatus(_Body):
    """A BLE device in `statusConnections`."""

    id: str
    status: ConnectionStatus


class Attribute(_Body):
    """`path`: SERVICE/CHARACTERISTIC[/DESCRIPTOR]."""

    uuid: str
    path: str
    value: list[int]


class Properties(_Body):
    """What a characteristic can do; only what is true is told."""

    read: bool | None = None
    write: bool | None = None
    notify: bool | None = None
    indicate: bool | None = None
    write_without_response: bool | None = None
    authorized_signed_write: bool | None = None
    broadcast: bool | None = None


class CharacteristicNode(Attribute):
    properties: Properties
    descriptors: dict[str, Attribute]


class ServiceNode(_Body):
    uuid: str
    characteristics: dict[str, CharacteristicNode]


Services = dict[str, ServiceNode]


class ScanResult(_Body):
    """`advertisement_data`: the octets of the advertisement; `time`: when it was heard, ISO-8601, where that is not now."""

    device_type: Literal["BLE"] = "BLE"
    name: str | None = None
    rssi: int
    address: PeerAddress
    service_uuids: list[str] | None = Field(None, serialization_alias="serviceUUIDs")
    advertisement_data: list[int] | None = None
    time: str | None = None


# ---- events ---------------------------------------------------------------------------------------------------------


class ScanResults(_Body):
    """`timeout`: the scan is over."""

    type: Literal["scan_result"] = "scan_result"
    sub_type: Literal["instant"] = "instant"
    devices: list[ScanResult]
    timeout: bool


class ConnectionChanged(_Body):
    type: Literal["device_connect_result", "device_disconnect"]
    device: Peer


class Discovered(_Body):
    type: Literal["device_discover_result"] = "device_discover_result"
    device: Peer
    services: Services


class CharacteristicEvent(_Body):
    type: Literal["device_characteristic_value_changed", "device_characteristic_value_write_result"]
    device: Peer
    characteristic: Attribute


class DescriptorEvent(_Body):
    type: Literal["device_descriptor_value_changed", "device_descriptor_value_write_result"]
    device: Peer
    descriptor: Attribute


class ErrorDetail(_Body):
    """`code`: as an HTTP status would say it; the LTE gateway has none."""

    description: str
    code: int | None = None


class ErrorPlace(_Body):
    device_address: str


class ErrorEvent(_Body):
    type: Literal["error"] = "error"
    error: ErrorDetail
    device: ErrorPlace | None = None


Event = ScanResults | ConnectionChanged | Discovered | CharacteristicEvent | DescriptorEvent | ErrorEvent
