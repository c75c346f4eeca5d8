"""A hub with one bulb, for plain calls: event and time in, effects out."""

from typing import Any

from agent.clock import Moment
from agent.home import STARTING, RadioRecord
from agent.hub import Hub
from agent.model import (
    Action,
    Capability,
    Device,
    DeviceFound,
    DeviceId,
    Endpoint,
    RadioUp,
)
from agent.requests import (
    CommandRequest,
    Kind,
    OpenWindow,
    Publish,
    RadioWorkEnded,
    StartDiscovery,
)

ON_OFF = "matter.OnOff@1.4"
BULB_ID = DeviceId("zigbee", "00:12:4b:00:00:00:00:01")
BULB = Device(
    BULB_ID,
    "zb.1A62+4A1D",
    (Endpoint("1", ("On/Off Light",), (Capability(ON_OFF, "On/Off", "6", ("OnOff",), ("On", "Off")),)),),
    model="bulb",
    address="00:12:4b:00:00:00:00:01",
)
ON = Action("1", ON_OFF, "On")
DSK = "34028-23669-20938-46346-33746-07431-56821-14553"


class World:
    """A hub and a clock that moves only when told."""

    def __init__(self, onboarding: str = "local", *, bulb: bool = True, up: bool = True) -> None:
        self.hub = Hub("hub-1", onboarding=onboarding, default_ttl=60.0)
        self.hub.radios["zigbee"] = RadioRecord("zigbee", "zigbee", ("ZIGBEE",), reason=STARTING)
        self.mono = 100.0
        self.quality = "trusted"
        if up:
            self(RadioUp("zigbee", "00:aa"))
        if bulb:
            self.discover()
            self(DeviceFound(BULB))

    @property
    def now(self) -> Moment:
        return Moment(1_700_000_000.0 + self.mono, self.mono, "boot", self.quality)

    def __call__(self, event: Any, after: float = 0.0) -> list[Any]:
        self.mono += after
        return self.hub.handle(event, self.now)

    def discover(self, identifier: str = "d1", **more: Any) -> list[Any]:
        """A discovery whose window opens as it was asked for."""
        effects = self(StartDiscovery(identifier, "ZIGBEE", 60, "main", **more))
        for opened in of(effects, OpenWindow):
            self(RadioWorkEnded(opened))
        return effects


def of(effects: list[Any], kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def told(effects: list[Any], kind: Kind) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, Publish) and effect.kind is kind]


def command(trace: str = "t1", **more: Any) -> CommandRequest:
    return CommandRequest(trace, BULB.node_id, (ON,), "main", **more)
