"""What may stand in [radios.<name>] of a Z-Wave radio. Each key has a default that suits a home."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.settings.secret import Secret
from agent.settings.values import seconds

Seconds = Annotated[float, BeforeValidator(seconds)]
RegionName = Literal[
    "",
    "EUROPE",
    "USA",
    "AUSTRALIA_NEW_ZEALAND",
    "HONG_KONG",
    "INDIA",
    "ISRAEL",
    "RUSSIA",
    "CHINA",
    "USA_LONG_RANGE",
    "EUROPE_LONG_RANGE",
    "JAPAN",
    "KOREA",
]


def _home_id(text: str) -> str:
    plain = text.upper().removeprefix("0X")
    if plain and not re.fullmatch(r"[0-9A-F]{8}", plain):
        raise ValueError("must be 8 hexadecimal digits")
    return plain


def _key(secret: Secret) -> Secret:
    if secret and not re.fullmatch(r"[0-9a-fA-F]{32}", secret.reveal()):
        raise ValueError("must be 32 hexadecimal digits")
    return secret


Key = Annotated[Secret, AfterValidator(_key)]


class ZwaveSettings(BaseModel):
    """[radios.<name>] with kind = "zwave". A key is not taken where a device has the radio's own one: a network keeps the keys that it has."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )

    port: str = Field(
        "auto", min_length=1, description="device path, pty, socket://host:port, or auto: found by its home id"
    )
    candidates: list[str] = Field(
        ["/dev/serial/by-id/*", "/dev/hub-agent/*", "/dev/ttyUSB*", "/dev/ttyACM*"],
        description="where auto looks, in this order",
    )
    baudrate: int = Field(115_200, ge=9600, le=3_000_000, description="speed of the serial port")
    identity: Annotated[str, AfterValidator(_home_id)] = Field(
        "", description="home id of the stick's network; empty: the one that was seen first"
    )
    region: RegionName = Field("", description="radio region; empty: the stick's own")
    tx_power: float | None = Field(None, ge=-10, le=20, description="dBm; not given: the stick's own")
    soft_reset: bool = Field(True, description="restart the stick's chip at the start and when it hangs")
    security: Literal["s2", "s0", "none"] = Field(
        "s2", description="the least that a new device must be able to do: S2, S2 or S0, or nothing"
    )
    exclusion_timeout: Seconds = Field(60.0, ge=5, description="how long a removal waits for the device's button")
    s0_key: Key = Field(Secret(), description="key of S0 to move in with, 32 hex digits; empty: random")
    s2_unauthenticated_key: Key = Field(Secret(), description="key of S2 Unauthenticated to move in with")
    s2_authenticated_key: Key = Field(Secret(), description="key of S2 Authenticated to move in with")
    s2_access_control_key: Key = Field(Secret(), description="key of S2 Access Control to move in with")
    s2_authenticated_lr_key: Key = Field(Secret(), description="key of S2 Authenticated of Long Range to move in with")
    s2_access_control_lr_key: Key = Field(
        Secret(), description="key of S2 Access Control of Long Range to move in with"
    )
