"""What may stand in a request on the control socket, and nothing else."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.control import ApiError, Call

T = TypeVar("T", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DiscoverBody(_Body):
    kind: str = "ZIGBEE"
    radio: str = ""
    auth: str = Field(default="", max_length=512)
    duration: int = Field(default=120, ge=1, le=254)
    attended: bool = False
    replaces: str = ""


class PinBody(_Body):
    device: str
    pin: str = Field(default="", max_length=64)


class ExcludeBody(_Body):
    kind: str = ""
    radio: str = ""
    duration: int = Field(default=120, ge=1, le=900)


class RoutesBody(_Body):
    op: Literal["rebuild", "prefer", "auto"]
    device: str
    repeaters: list[str] = Field(default_factory=list, max_length=4)
    speed: int = 100_000
    wait: float = Field(default=0.0, ge=0, le=86400)


class ForgetBody(_Body):
    address: str = Field(min_length=1, max_length=64)


class NativeBody(_Body):
    device: str
    endpoint: str = "0"
    command: str = Field(min_length=1, max_length=100)
    values: dict[str, Any] = Field(default_factory=dict)
    wait: float = Field(default=0.0, ge=0, le=86400)


class ActionBody(_Body):
    endpoint: str
    capability: str
    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class DoCommandBody(_Body):
    """One device, or several that are told the same."""

    device: str = ""
    devices: list[str] = Field(default_factory=list, max_length=232)
    actions: list[ActionBody] = Field(min_length=1, max_length=5)
    ttl: float = Field(default=30.0, gt=0, le=86400)

    @model_validator(mode="after")
    def _one_way(self) -> "DoCommandBody":
        if bool(self.device) == bool(self.devices):
            raise ValueError("give either device or devices")
        return self


class RemoveBody(_Body):
    device: str
    force: bool = False


class BackupBody(_Body):
    """Nothing: a backup is of all radios."""


class FactoryResetBody(_Body):
    """Nothing: it is of the whole hub."""


class RestoreBody(_Body):
    radio: str
    network: dict[str, Any]


def parse(model: type[T], call: Call) -> T:
    try:
        return model.model_validate(call.body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ApiError(400, f"{place}: {first['msg']}" if place else first["msg"]) from None
