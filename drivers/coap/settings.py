"""What may stand in [radios.<name>] of a CoAP radio. Each key has a default that suits a home."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.settings.values import seconds
from drivers.coap.keys import MaterialError, address

Seconds = Annotated[float, BeforeValidator(seconds)]


def _address(text: str) -> str:
    try:
        address(text)
    except MaterialError as error:
        raise ValueError(str(error)) from None
    return text


def _directory(text: str) -> str:
    return _address(text) if text else text


def _interface(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z_.@-]{1,15}", text):
        raise ValueError(f"{text[:32]!r} is no name of a network interface")
    return text


class CoapSettings(BaseModel):
    """[radios.<name>] with kind = "coap". Without interfaces, addresses or a directory only `--auth` finds a device."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=False, hide_input_in_errors=True, allow_inf_nan=False
    )

    interfaces: list[Annotated[str, AfterValidator(_interface)]] = Field(
        [], description="network interfaces on which a join window asks all devices (multicast)"
    )
    addresses: list[Annotated[str, AfterValidator(_address)]] = Field(
        [], description="devices that a join window asks, as host:port"
    )
    directory: Annotated[str, AfterValidator(_directory)] = Field(
        "", description="resource directory (RFC 9176) that a join window asks, as host:port"
    )
    multicast_port: int = Field(5683, ge=1, le=65535, description="port of the multicast question")
    require_security: bool = Field(False, description="take only devices that are protected by DTLS or OSCORE")
    mains_timeout: Seconds = Field(
        600.0, ge=10, description="a device that has been silent for so long is asked, whatever its values' Max-Age"
    )
    poll_interval: Seconds = Field(300.0, ge=1, description="for values that a device does not let us observe")
    ack_timeout: Seconds = Field(
        2.0, ge=0.05, le=60, description="wait for an acknowledgement before a message is sent again; doubles each time"
    )
    retransmissions: int = Field(4, ge=0, le=8, description="how often a message is sent again")
    response_timeout: Seconds = Field(
        30.0, ge=0.1, le=600, description="wait for an answer that the device has promised"
    )
    update_restart: Seconds = Field(
        120.0, ge=0.1, le=3600, description="until a device that restarts with new firmware must be back"
    )
