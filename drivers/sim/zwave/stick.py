"""The simulated stick: the Serial API of a Z-Wave controller over one Network. PURE: bytes in, bytes out, time as an argument.

What each function does is in the `serve_` modules; this one keeps the link, the chip's state, and which profile has what.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from drivers.sim.gecko import MENU, Bootloader, version
from drivers.sim.zwave.inclusion import Inclusion
from drivers.sim.zwave.link import Link
from drivers.sim.zwave.network import Heard, Network
from drivers.sim.zwave.nvm import Memory
from drivers.sim.zwave.serve_network import NETWORK
from drivers.sim.zwave.serve_self import SELF
from drivers.sim.zwave.serve_send import SEND
from drivers.sim.zwave.sticks import STICKS, StickProfile
from drivers.zwave.frame import Data, Type
from drivers.zwave.function_tables import Region
from drivers.zwave.functions import BY_ID, BY_NAME, decode_request, encode_callback, encode_response
from drivers.zwave.layout import Context, LayoutError, Values

Json = dict[str, Any]
Handler = Callable[["Stick", Values, float], None]

HANDLERS: Mapping[str, Handler] = {**SELF, **SEND, **NETWORK}
START = 0.35  # seconds from a soft reset until the chip is there again
POWER_ON, SOFTWARE = 0x03, 0x04  # reasons of a start


class Stick:
    """One stick. `profile` is a name of sticks.STICKS."""

    def __init__(self, network: Network, profile: str = "800") -> None:
        self.network = network
        self.profile: StickProfile = STICKS[profile]
        self.link = Link()
        self.context = Context()
        self.functions = {BY_NAME[name].id for name in self.profile.functions}
        self.region: Region = Region.EUROPE_LONG_RANGE if self.profile.long_range else Region.EUROPE
        self.powers: dict[str, tuple[int, int]] = {"mesh": (0, 0), "long_range": (140, 0)}
        self.long_range_channel = 1
        self.tx_reports = False
        self.watchdog = False
        self.timeouts = (150, 15)
        self.listening = True
        self.information = (0x02, 0x07, b"")  # generic, specific, classes: what the host has set
        self.priority_routes: dict[int, tuple[bytes, int]] = {}
        self.inclusion = Inclusion(network, self._progress, self._announce)
        self.inclusion.long_range = self.profile.long_range
        self.memory = Memory(self)
        self.sending: dict[int, Callable[[float], None]] = {}  # transmissions under way: callback id -> how to abort
        self.faults: dict[str, list[int]] = {"status": [], "busy": [], "silent": []}
        self.unknown: dict[str, int] = {}
        self.bootloader: Bootloader | None = None
        self.firmware_image = b""  # what was uploaded last
        self.whole = True  # its application is
        self.vanish: Callable[[], None] | None = None  # a stick that re-enumerates with each soft reset
        self._up_at = float("-inf")
        self._text: list[bytes] = []
        self._counter = 0
        network.hear = self._heard

    # ---- the front end that the server drives -----------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes of the host, in any pieces."""
        self.network.timers.run(now)
        if self.bootloader is not None:
            self._boot(data, now)
            return
        if now < self._up_at:
            return
        for frame in self.link.receive(data, now):
            self._serve(frame, now)
        self.network.timers.run(now)

    def poll(self, now: float) -> list[bytes]:
        """What is due for the host."""
        self.network.polled_at = now
        self.network.timers.run(now)
        text, self._text = self._text, []
        return text if self.bootloader is not None else text + self.link.poll(now)

    def next_deadline(self) -> float | None:
        due = [at for at in (self.network.timers.next, self.link.deadline) if at is not None]
        return min(due, default=None)

    def reset(self, now: float, reason: int = POWER_ON) -> None:
        """The chip restarts: what it keeps in memory alone is gone."""
        self.link.reset()
        self.context = Context()
        self.tx_reports, self.watchdog, self.listening = False, False, True
        self.network.radio_on = True
        self.bootloader = None
        if not self.whole:
            self.enter_bootloader()
            return
        self.sending.clear()
        self.inclusion.abort()
        self.memory.restart()
        if reason == SOFTWARE and self.vanish is not None:
            self.vanish()
        if "Started" not in self.profile.functions:
            return
        self._up_at = now + (START if reason == SOFTWARE else 0.0)
        generic, specific, classes = self.information
        values = {"reason": reason, "watchdog": 0, "listening": True, "generic": generic, "specific": specific}
        started = {**values, "command_classes": classes, "long_range": self.profile.long_range}
        self.network.timers.at(self._up_at, lambda _: self.call_back("Started", **started))

    def enter_bootloader(self) -> None:
        """It speaks a menu instead of the Serial API, until the menu runs the application."""
        self.link.reset()
        self.bootloader = Bootloader(whole=self.whole)
        self._text = [MENU]

    def _boot(self, data: bytes, now: float) -> None:
        if self.bootloader is None:
            return
        self._text += self.bootloader.receive(data)
        self.whole = self.bootloader.whole
        if self.bootloader.run:
            if self.bootloader.image:
                self._renew(self.bootloader.image)
            self.reset(now, SOFTWARE)

    def _renew(self, image: bytes) -> None:
        self.firmware_image, told = image, version(image)
        if told is not None:
            self.profile = replace(self.profile, firmware=told[:3], version=f"Z-Wave {told[0]}.{told[1]:02}")

    # ---- to the host ------------------------------------------------------------------------------------------------

    def respond(self, name: str, **values: Any) -> None:
        """The response to a request."""
        self._send(Type.RESPONSE, name, encode_response(BY_NAME[name].id, values, self.context))

    def call_back(self, name: str, **values: Any) -> None:
        """A request of the chip: a callback, or something that it tells."""
        self._send(Type.REQUEST, name, encode_callback(BY_NAME[name].id, values, self.context))

    def _send(self, kind: Type, name: str, payload: bytes) -> None:
        self.link.send(Data(kind, BY_NAME[name].id, payload))

    def has(self, name: str) -> bool:
        return name in self.profile.functions

    # ---- from the host ----------------------------------------------------------------------------------------------

    def _serve(self, frame: Data, now: float) -> None:
        known = BY_ID.get(frame.function)
        if known is None or frame.function not in self.functions or known.name not in HANDLERS:
            name = f"0x{frame.function:02x}" if known is None else known.name
            self.unknown[name] = self.unknown.get(name, 0) + 1
            return
        if self.faults["silent"]:
            self.faults["silent"].pop()
            return
        try:
            values = decode_request(frame.function, frame.payload, self.context)
        except LayoutError:
            self.unknown[f"{known.name} unreadable"] = self.unknown.get(f"{known.name} unreadable", 0) + 1
            return
        HANDLERS[known.name](self, values, now)

    # ---- from the air -----------------------------------------------------------------------------------------------

    def _heard(self, heard: Heard, _now: float) -> None:
        values = {"source": heard.source, "payload": heard.payload, "cast": heard.cast, "rssi": heard.rssi}
        flags = {"foreign_home": False, "foreign_frame": False, "explore": False, "low_power": False, "busy": False}
        if self.profile.bridge:
            bridge = {"destination": self.network.own, "multicast": []}
            self.call_back("BridgeApplicationCommand", **values, **flags, **bridge)
        else:
            del values["rssi"]
            self.call_back("ApplicationCommand", **values, **flags)

    def _progress(self, function: str, callback_id: int, status: int, **values: Any) -> None:
        """A step of adding or removing a node."""
        if callback_id:
            self.call_back(function, callback_id=callback_id, status=status, **values)

    def _announce(self, status: int, **values: Any) -> None:
        self.call_back("ApplicationUpdate", status=status, **values)

    # ---- state ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """What the chip keeps over a power cut, besides the network."""
        return {
            "region": int(self.region),
            "powers": {name: list(pair) for name, pair in self.powers.items()},
            "long_range_channel": self.long_range_channel,
            "information": [self.information[0], self.information[1], self.information[2].hex()],
            "routes": {str(node): [route.hex(), speed] for node, (route, speed) in self.priority_routes.items()},
        }

    def restore(self, state: Json) -> None:
        """Take up a snapshot."""
        self.region = Region(state["region"])
        self.powers = {name: (pair[0], pair[1]) for name, pair in state["powers"].items()}
        self.long_range_channel = state["long_range_channel"]
        generic, specific, classes = state["information"]
        self.information = (generic, specific, bytes.fromhex(classes))
        self.priority_routes = {
            int(node): (bytes.fromhex(route), speed) for node, (route, speed) in state["routes"].items()
        }
