"""nRF Cloud's MQTT bodies as a device has them (protocol notes, sections 2.4 to 2.7 and 3.3)."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from agent.wire.nrf import MOST_FIRMWARE

JsonObject = dict[str, JsonValue]
STAGE, TENANT = 7, 63  # characters, as the SDK has them
PREFIX = rf"^[A-Za-z0-9_-]{{1,{STAGE}}}/[A-Za-z0-9_-]{{1,{TENANT}}}/$"


class _Body(BaseModel):
    """Unknown members are ignored: the cloud may add some at any time."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)


# ---- the shadow -----------------------------------------------------------------------------------------------------


class Topics(_Body):
    d2c: str = ""
    c2d: str = ""


class PairingState(_Body):
    state: str = ""
    topics: Topics | None = None


class Association(_Body):
    """What the shadow says of who has this device. `control` is read member by member: what is wrong in it is answered."""

    prefix: str | None = Field(None, alias="nrfcloud_mqtt_topic_prefix")
    pairing: PairingState | None = None
    control: JsonValue = None


class TransformReply(_Body):
    """`tf`, or `err` with the place in the expression."""

    tf: Association | None = None
    err: int | None = None
    message: str = ""


class Delta(_Body):
    """Trimmed: what is desired and not reported so."""

    state: JsonObject = Field(default_factory=dict)


# ---- messages -------------------------------------------------------------------------------------------------------


class CloudMessage(_Body):
    """A message to the device. `data` is read on its own: a command that cannot be understood is still answered."""

    app_id: str = Field(max_length=64)
    message_type: str = Field("", max_length=64)
    data: JsonValue = None


Reference = Annotated[str, Field(min_length=1, max_length=128)]


class DeviceCommand(_Body):
    """Our form of a command to a device of the home, since nRF Cloud has none. `expires_at`: milliseconds since 1970."""

    trace_id: Reference
    device: Reference
    endpoint: Reference
    capability: Reference
    action: Reference
    params: dict[str, Any] = Field(default_factory=dict)
    expires_at: int | None = Field(None, ge=0, le=1 << 52)


class StateAsked(_Body):
    """`device` empty: all of them."""

    device: str = Field("", max_length=128)


# ---- FOTA -----------------------------------------------------------------------------------------------------------


class FotaJob(_Body):
    """A row of `jobs/rcv` by names. The file is at https://{host}/{path}; there is no digest in it."""

    job_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    firmware_type: int
    file_size: int = Field(gt=0, le=MOST_FIRMWARE)
    host: str = Field(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")
    path: str = Field(min_length=1, max_length=2048, pattern=r"^[!-~]+$", repr=False)


class BleFotaJob(FotaJob):
    """A row of `jobs/ble/rcv` by names: `device` is the address of a BLE device; `path` may be several, with spaces between them."""

    device: str = Field(pattern=r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")
    path: str = Field(min_length=1, max_length=2048, pattern=r"^[!-~]+( [!-~]+)*$", repr=False)
