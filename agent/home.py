"""The home as the hub knows it: devices and radios, and the neutral bodies of messages about them. PURE."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from agent.clock import Moment
from agent.model import Availability, Device, JsonValue
from agent.requests import Kind, PreAssociate, Publish, PublishState

STARTING = "starting"  # why a radio is away that has not been there yet
NOT_IN_THIS_RUN = float("-inf")  # when a value was heard that comes from the disk
STATE_CHUNK = 25  # 5 endpoints with 5 capabilities bound a state message; single properties are the finest split

_OCTETS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+")
_BLE_QR = re.compile(r"^((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})(?:=|$)")
_COAP_PORTS = {"coap": 5683, "coaps": 5684}  # RFC 7252, 6.1 and 6.2
_ZIGBEE_QR = re.compile(r"^Z:([0-9A-Fa-f]{16})\$I:")
_ZWAVE_QR = re.compile(r"^90\d{10}(\d{40})")  # the DSK, which is the device's address


@dataclass(slots=True)
class DeviceRecord:
    """What the hub knows of a device. `state` maps (endpoint, capability, property) to (value, changed at, heard at monotonic)."""

    device: Device
    managed_thing_id: str = ""
    quarantined: bool = False
    joined_at: float = 0.0
    availability: Availability = Availability.UNKNOWN
    stale: bool = False  # the cloud may not know the last values: tell them again when they are read
    dirty: bool = False  # the state on disk is older than this
    state: dict[tuple[str, str, str], tuple[JsonValue, float, float]] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The name by which a cloud knows the device."""
        return self.managed_thing_id or self.device.node_id

    @property
    def status(self) -> str:
        """ProvisioningStatus of managed integrations."""
        return "ACTIVATED" if self.managed_thing_id else "ISOLATED" if self.quarantined else "DISCOVERED"


@dataclass(slots=True)
class RadioRecord:
    """A configured radio. `kinds` are the discovery kinds that its driver serves."""

    name: str
    kind: str
    kinds: tuple[str, ...]
    up: bool = False
    identity: str = ""
    reason: str = ""
    excludes_network_wide: bool = False
    expects: bool = False  # it keeps a list of devices that may come at any time
    replaces: bool = False  # a new device can take the place of one that has failed
    window: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


def discovered_body(record: DeviceRecord, discovery: str, modification: str, now: Moment) -> dict[str, Any]:
    device = record.device
    return {
        "discovery": discovery,
        "nodeId": device.node_id,
        "deviceTypes": sorted({kind for endpoint in device.endpoints for kind in endpoint.device_types}),
        "manufacturer": device.manufacturer,
        "model": device.model,
        "address": device.address,
        "secure": device.secure,
        "modification": modification,
        "at": now.wall,
    }


def capabilities_body(record: DeviceRecord) -> dict[str, Any]:
    return {
        "nodeId": record.device.node_id,
        "endpoints": [
            {
                "id": endpoint.id,
                "deviceTypes": list(endpoint.device_types),
                "capabilities": [
                    {
                        "id": capability.id,
                        "name": capability.name,
                        "version": capability.version,
                        "properties": list(capability.properties),
                        "actions": list(capability.actions),
                        "events": list(capability.events),
                    }
                    for capability in endpoint.capabilities
                ],
            }
            for endpoint in record.device.endpoints
        ],
    }


def bare(address: str) -> str:
    """An address in small letters; one of octets without the colons, which people write or leave out. Host and port stay apart."""
    plain = address.lower()
    return plain.replace(":", "") if _OCTETS.fullmatch(plain) else plain


def goes_by(record: DeviceRecord, ref: str) -> bool:
    """Whether this is a managed thing id, node id, key, radio/key or address of the device."""
    device = record.device
    names = (record.managed_thing_id, device.node_id, device.id.key, str(device.id), device.address)
    return ref.lower() in (name.lower() for name in names if name)


def address_in(material: str) -> str:
    """The device address in QR material as `bare` writes it: EUI64, DSK, Bluetooth address, or host:port; empty when it names none."""
    if found := _ZIGBEE_QR.match(material):
        return found[1].lower()
    if found := _ZWAVE_QR.match(material):
        return "-".join(found[1][at : at + 5] for at in range(0, 40, 5))
    if found := _BLE_QR.match(material):
        return bare(found[1])
    return _coap_address(material)


def _coap_address(material: str) -> str:
    try:
        parts = urlsplit(material)
        host, port = unquote(parts.hostname or ""), parts.port or _COAP_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    if not host or port is None or parts.scheme not in _COAP_PORTS:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def brings_key(record: DeviceRecord, asked: PreAssociate) -> bool:
    """Whether the code holds a key of a device that is spoken to in clear: it has to join anew, with it."""
    keyed = asked.discovery.kind in ("BLE", "COAP") and "=" in asked.discovery.material
    return keyed and not record.device.secure


def kind_of(address: str) -> str:
    """The discovery kind whose codes name such an address (`address_in`)."""
    return "ZWAVE" if "-" in address else "ZIGBEE"


def pairs(mapping: Mapping[str, str]) -> str:
    return "\n".join(f"{key} {value}" for key, value in sorted(mapping.items()))


def lifecycle(record: DeviceRecord, now: Moment) -> Publish:
    """The word on a device's connection and status, as it is now."""
    offline = record.availability is Availability.OFFLINE
    body = {
        "status": record.status,
        "nodeId": record.device.node_id,
        "eventType": "disconnected" if offline else "connected",
        "at": now.wall,
    }
    return Publish(Kind.LIFECYCLE, record.ref, body)


def deletion(record: DeviceRecord, status: str, reason: str, now: Moment) -> Publish:
    """DELETED or DELETION_FAILED, and why."""
    body = {"status": status, "nodeId": record.device.node_id, "reason": reason, "at": now.wall}
    return Publish(Kind.LIFECYCLE, record.ref, body)


def whole_state(record: DeviceRecord) -> list[PublishState]:
    """The whole known state of a device, in messages within the limits of the state shape.

    After an unclean stop, what the disk has kept may be older than what the cloud knows: until the device has been read again, only
    what was heard in this run is told.
    """
    values = tuple(
        (*key, value, changed)
        for key, (value, changed, heard) in sorted(record.state.items())
        if heard > NOT_IN_THIS_RUN or not record.stale
    )
    chunks = [values[i : i + STATE_CHUNK] for i in range(0, len(values), STATE_CHUNK)]
    return [PublishState(record.device.id, record.ref, chunk) for chunk in chunks]


def introduction(records: Iterable[DeviceRecord], uplink: str, now: Moment) -> list[Publish | PublishState]:
    """What a cloud that knows nothing of the home is told: each device that has its managed thing."""
    effects: list[Publish | PublishState] = []
    for record in records:
        if record.managed_thing_id and not record.quarantined:
            body = capabilities_body(record)
            effects.append(Publish(Kind.CAPABILITIES, record.ref, body, uplink=uplink))
            effects.append(replace(lifecycle(record, now), uplink=uplink))
            effects += whole_state(record)
    return effects


def shown(record: DeviceRecord) -> dict[str, Any]:
    """What watchers on this machine are told of a device."""
    device = record.device
    return {"device": str(device.id), "nodeId": device.node_id, "model": device.model, "address": device.address}
