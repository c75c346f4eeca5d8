"""What may stand in [radios.<name>] of a Z-Wave radio. Each key has a default that suits a home."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from agent.settings.secret import Secret, invalid
from agent.settings.values import is_loopback, seconds

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
_SERVER = re.compile("wss?://")


def is_server(port: str) -> bool:
    """Whether a port is the address of a zwave-js-server."""
    return _SERVER.match(port) is not None


class ZwaveSettings(BaseModel):
    """[radios.<name>] with kind = "zwave". A key is not taken where a device has the radio's own one: a network keeps the keys that it has."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )

    plaintext: bool = Field(
        False, description="take a ws:// server on another machine: who is on the way there controls the home"
    )
    port: str = Field(
        "auto",
        min_length=1,
        description="device path, pty, socket://host:port, auto: found by its home id, or ws://host:3000 of a zwave-js-server",
    )
    ca: str = Field("", description="PEM file of who signed the certificate of a wss:// server; empty: the system's")
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
    long_range: bool = Field(
        False, description="let SmartStart devices that can do both join by Long Range, where they repeat for nobody"
    )
    backups: int = Field(
        10, ge=0, le=1000, description="network backups kept among the secrets, taken before changes; 0: none"
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

    @field_validator("port")
    @classmethod
    def _reaches(cls, port: str, info: ValidationInfo) -> str:
        """A server has no password: without TLS it is for this machine alone."""
        if not is_server(port):
            return port
        url = urlsplit(port)
        if not url.hostname or url.username or url.password:
            raise invalid("is no address of a zwave-js-server", "write ws://host:3000, without a name and a password")
        if url.scheme == "ws" and not info.data.get("plaintext") and not is_loopback(url.hostname):
            reason = f"without TLS everyone on the way to {url.hostname} reads and sends commands"
            raise invalid(
                reason, "use wss://, a server on this machine (127.0.0.1, ::1, localhost), or plaintext = true"
            )
        return port
