"""What may stand in [radios.<name>] of a Bluetooth radio. Each key has a default that suits a home."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.settings.values import seconds
from drivers.ble.adverts import full

Seconds = Annotated[float, BeforeValidator(seconds)]


def _adapter(text: str) -> str:
    if not re.fullmatch(r"hci[0-9]{1,3}", text):
        raise ValueError("must be the name of an adapter, for example hci0 (`bluetoothctl list`, `hciconfig`)")
    return text


def _uuid(text: str) -> str:
    plain = text.lower().removeprefix("0x")
    if re.fullmatch(r"[0-9a-f]{4}", plain):
        return full(int(plain, 16))
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", plain):
        raise ValueError('must be a 16-bit number ("181A") or a whole UUID')
    return plain


class BleSettings(BaseModel):
    """[radios.<name>] with kind = "ble"."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )

    adapter: Annotated[str, AfterValidator(_adapter)] = Field("hci0", description="the adapter's name in BlueZ")
    bus: str = Field("", description="D-Bus address of BlueZ; empty: the system bus")
    scan: Literal["auto", "passive", "active"] = Field(
        "auto", description="auto: passive where BlueZ can (5.56 with --experimental), else active"
    )
    services: list[Annotated[str, AfterValidator(_uuid)]] = Field(
        [], description="a discovery takes devices with these services too, as raw GATT"
    )
    names: list[str] = Field([], description="and devices whose name matches one of these patterns (* and ?)")
    rssi: int = Field(-100, ge=-127, le=20, description="dBm; weaker adverts are not listened to")
    connections: int = Field(5, ge=0, le=32, description="how many devices are connected at once")
    connect_timeout: Seconds = Field(20.0, ge=0.1, description="until a connection with its services must be there")
    answer_timeout: Seconds = Field(5.0, ge=0.1, description="until a read or write must be answered")
    backoff: Seconds = Field(2.0, ge=0.01, description="after a failed connection; doubled each time, up to 5 minutes")
    report_interval: Seconds = Field(10.0, ge=0, description="a measured value is reported this often at most")
    absent_after: Seconds = Field(600.0, ge=0.1, description="silence after which a device is offline, a beacon away")
    silence: Seconds = Field(
        300.0, ge=0, description="silence of the whole adapter until the scan is restarted; 0: never"
    )
    update_restart: Seconds = Field(
        120.0, ge=0.1, description="until a device that restarts with new firmware must be back"
    )
    known: int = Field(1024, ge=16, le=65536, description="advertisers that are remembered")
