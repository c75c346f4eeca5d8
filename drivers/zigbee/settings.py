"""What may stand in [radios.<name>] of a Zigbee radio. Each key has a default that suits a home."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agent.settings.secret import Secret
from agent.settings.values import seconds

Seconds = Annotated[float, BeforeValidator(seconds)]


def _hex(digits: int) -> AfterValidator:
    def check(text: str) -> str:
        plain = text.replace(":", "").lower().removeprefix("0x")
        if plain and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", plain):
            raise ValueError(f"must be {digits} hexadecimal digits")
        return plain

    return AfterValidator(check)


class ZigbeeSettings(BaseModel):
    """[radios.<name>] with kind = "zigbee". Network keys are used only when a network is formed; a formed one keeps its own."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )

    port: str = Field(
        "auto", min_length=1, description="device path, pty, socket://host:port, or auto: found by its identity"
    )
    candidates: list[str] = Field(
        ["/dev/serial/by-id/*", "/dev/hub-agent/*", "/dev/ttyUSB*", "/dev/ttyACM*"],
        description="where auto looks, in this order",
    )
    radio: Literal["auto", "znp", "ezsp"] = Field("auto", description="protocol of the stick")
    baudrate: int = Field(115_200, ge=9600, le=3_000_000, description="speed of the serial port")
    flow_control: Literal["none", "hardware"] = Field("none", description="flow control of the serial port")
    identity: Annotated[str, _hex(16)] = Field("", description="EUI64 of the stick; empty: the one that was seen first")
    channel: int = Field(15, ge=0, le=26, description="11 to 26; 0 takes the quietest when the network is formed")
    pan_id: Annotated[str, _hex(4)] = Field("", description="PAN id in hex; empty: random")
    extended_pan_id: Annotated[str, _hex(16)] = Field("", description="extended PAN id in hex; empty: random")
    network_key: Secret = Field(Secret(), description="network key, 32 hex digits; empty: random")
    tx_power: int | None = Field(None, ge=-10, le=20, description="dBm; not given: the stick's own")
    require_install_code: bool = Field(False, description="open the join window only for a device with an install code")
    mains_timeout: Seconds = Field(
        600.0, ge=10, description="silence after which a mains device is asked, then offline"
    )
    battery_timeout: Seconds = Field(90_000.0, ge=60, description="silence after which a battery device is offline")
    poll_interval: Seconds = Field(300.0, ge=5, description="for values that a device cannot report by itself")
    commit_interval: Seconds = Field(3600.0, ge=1, description="zigpy's attribute cache reaches the disk this often")
    backups: int = Field(10, ge=1, le=1000, description="network backups kept among the secrets")
    update_interval: Seconds = Field(
        0.1, ge=0.0, le=10, description="between two blocks of a device's firmware: the rest of the air is for commands"
    )
    update_patience: Seconds = Field(
        300.0, ge=1, description="silence after which a device that takes firmware is given up; time for its restart"
    )
    quirks: bool = Field(False, description="corrections for odd devices; needs the extra quirks, Python 3.12 or newer")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channel and self.channel < 11:  # noqa: PLR2004  2.4 GHz channels of IEEE 802.15.4
            raise ValueError("channel must be 0 or 11 to 26")
        key = self.network_key.reveal() if self.network_key else ""
        if key and not re.fullmatch(r"[0-9a-fA-F]{32}", key):
            raise ValueError("network_key must be 32 hexadecimal digits")
        return self
