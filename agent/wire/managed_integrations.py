"""AWS IoT managed integrations: the JSON that crosses the broker, as models. PURE.

Downlink bodies are validated here before the hub sees them: lengths, patterns and counts are those of the public service model
(SendManagedThingCommand, StartDeviceDiscovery). Uplink bodies are built as plain dicts by agent.cloud.managed_integrations, since a
model per report would cost more than the report. The set-up bodies are ours where AWS publishes none.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

# A body from a stranger may not grow without limit: the broker's own payload limit is 128 KiB.
MAX_PAYLOAD = 131072

EndpointId = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z]+$", max_length=64)]
CapabilityId = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z0-9.]+@(\d+\.\d+(\.\d+)?|\$latest)$", min_length=7, max_length=128)
]
ActionName = Annotated[str, StringConstraints(pattern=r"^[/a-zA-Z0-9]+$", max_length=128)]
TraceId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9:=_-]+$", min_length=1, max_length=128)]
DeviceRef = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9:=_.,@+/-]+$", min_length=1, max_length=64)]
DiscoveryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", min_length=1, max_length=200)]
Material = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class _Body(BaseModel):
    # Clouds add fields; a hub that refuses them stops working on the day of the cloud's release.
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Envelope(_Body):
    """What surrounds every message, both ways (design: version, id, type, time, device, trace, payload)."""

    version: str = Field(max_length=16)
    message_id: str = Field(alias="messageId", min_length=1, max_length=128)
    message_type: str = Field(alias="messageType", min_length=1, max_length=64)
    timestamp: str = Field(default="", max_length=40)
    managed_thing_id: DeviceRef | None = Field(default=None, alias="managedThingId")
    trace_id: TraceId | None = Field(default=None, alias="traceId")
    expires_at: str | None = Field(default=None, alias="expiresAt", max_length=40)
    payload: dict[str, Any] = Field(default_factory=dict)


class CommandAction(_Body):
    name: ActionName
    ref: str | None = Field(default=None, max_length=128)
    action_trace_id: str | None = Field(default=None, alias="actionTraceId", max_length=20)
    parameters: dict[str, Any] = Field(default_factory=dict)


class CommandCapability(_Body):
    id: CapabilityId
    name: str = Field(default="", max_length=128)
    version: str = Field(default="", max_length=64)
    actions: list[CommandAction] = Field(min_length=1, max_length=5)


class CommandEndpoint(_Body):
    endpoint_id: EndpointId = Field(alias="endpointId")
    capabilities: list[CommandCapability] = Field(min_length=1, max_length=5)


class CommandBody(_Body):
    """COMMAND: up to 5 endpoints with 5 capabilities with 5 actions each."""

    endpoints: list[CommandEndpoint] = Field(
        min_length=1, max_length=5, validation_alias=AliasChoices("Endpoints", "endpoints")
    )
    expires_at: str | None = Field(default=None, alias="expiresAt", max_length=40)


class StateQueryBody(_Body):
    """STATE_QUERY: report the state of one device (envelope's managedThingId), read anew when `refresh` is true."""

    refresh: bool = True


class CustomProtocol(_Body):
    """What a discovery of type CUSTOM is for. The API asks for a `Name` and gives it no meaning: here it is the protocol's."""

    name: str = Field(default="", alias="Name", max_length=512)


class StartDiscoveryBody(_Body):
    """START_DISCOVERY: open a join window, or read capabilities anew (CONTROLLER_CAPABILITY_REDISCOVERY)."""

    id: DiscoveryId = Field(validation_alias=AliasChoices("deviceDiscoveryId", "id"))
    discovery_type: Literal[
        "ZIGBEE", "ZWAVE", "BLE", "COAP", "CUSTOM", "CLOUD", "CONTROLLER_CAPABILITY_REDISCOVERY"
    ] = Field(alias="discoveryType")
    duration: int = Field(default=180, alias="durationSeconds", ge=1, le=900)
    material: Material | None = Field(default=None, alias="authenticationMaterial")
    material_type: str | None = Field(default=None, alias="authenticationMaterialType", max_length=64)
    protocol: Literal["ZIGBEE", "ZWAVE", "BLE", "COAP", "CUSTOM"] | None = None
    device: DeviceRef | None = Field(default=None, alias="endDeviceIdentifier")
    custom: CustomProtocol = Field(default=CustomProtocol(), alias="customProtocolDetail")


class StopDiscoveryBody(_Body):
    id: DiscoveryId = Field(validation_alias=AliasChoices("deviceDiscoveryId", "id"))


class PreAssociateBody(_Body):
    """PRE_ASSOCIATE: a device that will join by its QR material, and the managed thing that it is."""

    managed_thing_id: DeviceRef = Field(alias="managedThingId")
    material: Material = Field(alias="authenticationMaterial")
    material_type: str = Field(default="", alias="authenticationMaterialType", max_length=64)
    duration: int = Field(default=254, alias="durationSeconds", ge=1, le=900)


class DeviceOnboardedBody(_Body):
    node_id: DeviceRef = Field(alias="nodeId")
    managed_thing_id: DeviceRef = Field(alias="managedThingId")


class DeprovisionBody(_Body):
    """DEPROVISION: take the device of the envelope's managedThingId, or of `nodeId`, off its network."""

    node_id: DeviceRef | None = Field(default=None, alias="nodeId")
    managed_thing_id: DeviceRef | None = Field(default=None, alias="managedThingId")
    force: bool = Field(default=False, validation_alias=AliasChoices("force", "Force"))


class NetworkModeBody(_Body):
    mode: Literal["STANDARD", "NETWORK_WIDE_EXCLUSION"] = Field(validation_alias=AliasChoices("hubNetworkMode", "mode"))


class RuntimeLogs(_Body):
    """RuntimeLogConfigurations of the public API; empty for the hub's own defaults."""

    LogLevel: Literal["DEBUG", "INFO", "WARN", "ERROR"] | None = None
    LogFlushLevel: Literal["DEBUG", "INFO", "WARN", "ERROR"] | None = None
    LocalStoreLocation: str | None = Field(default=None, max_length=4096)
    LocalStoreFileRotationMaxFiles: int | None = Field(default=None, ge=1, le=1000)
    LocalStoreFileRotationMaxBytes: int | None = Field(default=None, ge=1)
    UploadLog: bool | None = None
    UploadPeriodMinutes: int | None = Field(default=None, ge=1, le=43_200)
    DeleteLocalStoreAfterUpload: bool | None = None


class RuntimeLogBody(_Body):
    wishes: RuntimeLogs = Field(alias="RuntimeLogConfigurations")


class HubConfigurationBody(_Body):
    token_seconds: int = Field(alias="HubTokenTimerExpirySettingInSeconds", ge=1, le=2**31)


class OffboardBody(_Body):
    """OFFBOARD_HUB: `managedThingId` must be the hub's own."""

    managed_thing_id: DeviceRef = Field(alias="managedThingId")


DOWNLINK: dict[str, type[_Body]] = {
    "COMMAND": CommandBody,
    "STATE_QUERY": StateQueryBody,
    "START_DISCOVERY": StartDiscoveryBody,
    "STOP_DISCOVERY": StopDiscoveryBody,
    "PRE_ASSOCIATE": PreAssociateBody,
    "DEVICE_ONBOARDED": DeviceOnboardedBody,
    "DEPROVISION": DeprovisionBody,
    "NETWORK_MODE": NetworkModeBody,
    "OFFBOARD_HUB": OffboardBody,
    "RUNTIME_LOG_CONFIGURATION": RuntimeLogBody,
    "HUB_CONFIGURATION": HubConfigurationBody,
}
