"""nRF Cloud's REST bodies as a device has them (protocol notes, sections 1.3 to 1.5, 2.6 and 3; ranges: the API's description)."""

from enum import StrEnum
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

JsonObject = dict[str, JsonValue]


class _Body(BaseModel):
    """Unknown members are ignored: the cloud may add some at any time."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def wire(self) -> Any:
        """As JSON, without what was not given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# ---- device and state -----------------------------------------------------------------------------------------------


class Meta(_Body):
    version: str | int = ""  # what If-Match takes


class State(_Body):
    """The sections of a shadow. As answers have it, or inside of the whole shadow document."""

    reported: JsonObject = Field(default_factory=dict)
    desired: JsonObject = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _inside(cls, found: Any) -> Any:
        return found["state"] if isinstance(found, dict) and isinstance(found.get("state"), dict) else found


class Device(_Body):
    id: str
    state: State = Field(default_factory=State)
    meta: Meta = Field(default_factory=Meta, alias="$meta")


class StateChange(_Body):
    """Merged into the shadow; a null removes a member."""

    reported: JsonObject | None = None
    desired: JsonObject | None = None


class Message(_Body):
    topic: str
    message: JsonValue


# ---- FOTA -----------------------------------------------------------------------------------------------------------


class FotaStatus(StrEnum):
    """Of one execution. The last five of `ENDED` are final; DOWNLOADING is MQTT's, with the percentage."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    DOWNLOADING = "DOWNLOADING"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


ENDED = frozenset(
    {
        FotaStatus.FAILED,
        FotaStatus.SUCCEEDED,
        FotaStatus.TIMED_OUT,
        FotaStatus.CANCELLED,
        FotaStatus.REJECTED,
    }
)
FIRMWARE_TYPES = ("APP", "MODEM", "BOOT", "SOFTDEVICE", "BOOTLOADER", "MDM_FULL", "SMP", "CUSTOM")
MOST_FIRMWARE = 1 << 30  # bytes


class JobDocument(_Body):
    """What to install, and where it is: https://{host}/{path}. There is no digest: the image itself must be signed."""

    firmware_type: str
    file_size: int = Field(gt=0, le=MOST_FIRMWARE)
    host: str = Field(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")
    path: str = Field(min_length=1, max_length=2048, pattern=r"^[!-~]+$", repr=False)
    version: str = ""
    bundle_id: str = ""


class Execution(_Body):
    """The current job. Its document is read on its own: a job that cannot be understood can still be rejected."""

    job_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    status: str = ""
    job_document: JsonValue = None


class ExecutionUpdate(_Body):
    status: FotaStatus
    details: str | None = Field(None, max_length=1024)


# ---- location -------------------------------------------------------------------------------------------------------


class Neighbour(_Body):
    earfcn: int = Field(ge=0, le=262_143)
    pci: int = Field(ge=0, le=503)
    rsrp: float | None = Field(None, ge=-157, le=-44)  # dBm
    rsrq: float | None = Field(None, ge=-34.5, le=3.5)  # dB
    time_diff: float | None = None


class Cell(_Body):
    """An LTE cell: country, network, cell id, tracking area."""

    mcc: int = Field(ge=1, le=999)
    mnc: int = Field(ge=0, le=999)
    eci: int = Field(ge=0, le=268_435_455)
    tac: int = Field(ge=0, le=65_535)
    rsrp: float | None = Field(None, ge=-157, le=-44)
    rsrq: float | None = Field(None, ge=-34.5, le=3.5)
    earfcn: int | None = Field(None, ge=0, le=262_143)
    adv: int | None = Field(None, ge=0, le=20_512)  # timing advance
    nmr: tuple[Neighbour, ...] | None = None


class AccessPoint(_Body):
    mac_address: str = Field(pattern=r"^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$")
    ssid: str | None = Field(None, max_length=32)
    channel: int | None = Field(None, ge=0, le=300)
    signal_strength: int | None = Field(None, ge=-128, le=0)  # dBm


class WiFi(_Body):
    access_points: tuple[AccessPoint, ...] = Field(min_length=2)


class Surroundings(_Body):
    """What a device sees; at least one of both."""

    lte: tuple[Cell, ...] | None = Field(None, min_length=1)
    wifi: WiFi | None = None

    @model_validator(mode="after")
    def _something(self) -> "Surroundings":
        if self.lte is None and self.wifi is None:
            raise ValueError("cells or access points are needed")
        return self


class Fix(_Body):
    """Degrees (WGS 84), and the radius in metres within which the device is; found by WIFI, MCELL, SCELL or ANCHOR."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    uncertainty: float = Field(ge=0)
    fulfilled_with: str = Field("", validation_alias=AliasChoices("fulfilledWith", "fulfilled_with"))


class Assistance(_Body):
    """An A-GNSS request. `types`: numbers of the SDK's schema; `filtered`: only satellites above `mask` degrees, which needs the cell."""

    types: tuple[int, ...] | None = None
    filtered: bool | None = None
    mask: int | None = Field(None, ge=0, le=90)
    mcc: int | None = Field(None, ge=1, le=999)
    mnc: int | None = Field(None, ge=0, le=999)
    tac: int | None = Field(None, ge=0, le=65_535)
    eci: int | None = Field(None, ge=0, le=268_435_455)
    rsrp: float | None = Field(None, ge=-157, le=-44)


class Predictions(_Body):
    """A P-GPS request; what is left out is the cloud's choice."""

    prediction_count: int | None = Field(None, ge=1, le=168)
    prediction_interval_minutes: int | None = Field(None, ge=120, le=480)
    start_gps_day: int | None = Field(None, ge=0)
    start_gps_time_of_day_seconds: int | None = Field(None, ge=0, lt=86_400)


class FilePlace(_Body):
    """A file without a token: https://{host}/{path}."""

    host: str = Field(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")
    path: str = Field(min_length=1, max_length=2048, pattern=r"^[!-~]+$", repr=False)
