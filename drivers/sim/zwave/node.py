"""A simulated node: its place in a network, when it listens, and the way of a command through its encapsulations, in and out. PURE."""

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from drivers.sim.zwave.behave_firmware import Transfer
from drivers.sim.zwave.behave_management import ALONE, LIFELINE
from drivers.sim.zwave.behaviour import BEHAVIOURS
from drivers.sim.zwave.guard import ROOM, Guard
from drivers.sim.zwave.place import PLAIN, Place, Result, Way
from drivers.sim.zwave.profiles import PROFILES, Profile
from drivers.sim.zwave.segments import Segments
from drivers.sim.zwave.timers import Timers
from drivers.zwave.codec import Command, Raw, decode, encode, make
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.encapsulation import EncapsulationError, Layers, unwrap, wrap
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.layout import Context, LayoutError
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.security.dsk import SIZE
from drivers.zwave.security.primitives import public_key
from drivers.zwave.supervision import Answered

WAKE_FOR = 10.0  # seconds that a node stays awake without being told to sleep
ROOM_LONG_RANGE = 140  # bytes of a frame there; ROOM in the mesh
AFTER_BEAM = 3.0  # the same of a frequently listening one
LAST_WORD = 1.0  # seconds from its goodbye until a node that is set back has forgotten the network
TRANSPORT_SERVICE, SECURITY_0, SECURITY_2, WAKE_UP = 0x55, 0x98, 0x9F, 0x84
MIRRORED = frozenset({0x20, 0x25, 0x26, 0x31, 0x32, 0x71})  # classes of an endpoint that the root device shows
REFUSED = False
EVERYWHERE = frozenset(
    {0x00, 0x5E, 0x55, 0x56, 0x6C, 0x98, 0x9F}
)  # also without security: to be found, and to be secured
WITH_S0 = frozenset({0x72, 0x86})  # what an S0 node says without it
TRANSPORT = frozenset({0x5E, 0x55, 0x56, 0x98, 0x9F})  # never in a list of secured classes
END_NODE = 0x04  # basic device class of a node that routes
MARK = 0xEF  # in node information: what follows is controlled

_GRAVITY = {  # of several commands under one supervision the worst outcome counts
    SupervisionStatus.SUCCESS: 0,
    SupervisionStatus.WORKING: 1,
    SupervisionStatus.NO_SUPPORT: 2,
    SupervisionStatus.FAIL: 3,
}

Say = Callable[["Node", bytes, float], None]


@dataclass(slots=True)
class Node:
    """One device. `id` is 0 where it is in no network; `learning`: its button was pressed."""

    name: str
    profile_name: str
    id: int = 0
    home_id: bytes = b""
    learning: bool = False
    powered: bool = True
    controller: int = 1
    associations: dict[str, dict[int, list[list[int]]]] = field(
        default_factory=dict
    )  # endpoint -> group -> [node, endpoint]
    wake_interval: int = 0
    wake_target: int = 0
    firmware: tuple[int, int] = (1, 0)
    transfer: Transfer | None = None
    awake_until: float = float("-inf")
    mute_until: float = float("-inf")  # it acknowledges, and does and says nothing
    fails: int = 0  # so many of the next Sets are refused
    heard: int = 0
    said: int = 0
    refused: int = 0  # commands that came with less security than they need, or that nobody could read
    places: list[Place] = field(default_factory=list)
    timers: Timers = field(default_factory=Timers)
    rng: random.Random = field(default_factory=random.Random)
    private: bytes = field(default=b"", repr=False)
    guard: Guard = field(init=False, repr=False)
    _say: Say = lambda *_: None
    _way: Way = PLAIN
    _answered: Answered = field(default_factory=Answered)
    _segments: Segments = field(init=False, repr=False)
    _plan: int = 0

    def __post_init__(self) -> None:
        for number, part in enumerate((self.profile.root, *self.profile.endpoints)):
            self.places.append(Place(self, number, part, {**part.values}))
        self.private = hashlib.sha256(f"{self.profile_name}/{self.name}".encode()).digest()
        self.firmware, self.wake_interval = self.profile.firmware, self.profile.interval[2]
        self.guard = Guard(self)
        self._segments = Segments(self.controller, self._transmit, lambda data, now: self._take(data, PLAIN, now))

    def attach(self, say: Say, timers: Timers, rng: random.Random) -> None:
        """Put it into the air of a network."""
        self._say, self.timers, self.rng = say, timers, rng

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def profile(self) -> Profile:
        return PROFILES[self.profile_name]

    @property
    def listening(self) -> bool:
        return self.profile.power == "mains"

    @property
    def long_range(self) -> bool:
        return self.id >= FIRST_LONG_RANGE

    @property
    def root(self) -> Place:
        return self.places[0]

    @property
    def dsk(self) -> bytes:
        """16 bytes; the first two are its PIN."""
        return public_key(self.private)[:SIZE]

    def awake(self, now: float) -> bool:
        return self.listening or now < self.awake_until

    def reachable(self, now: float) -> bool:
        """Whether its radio acknowledges a frame, by a beam if need be."""
        return self.powered and (self.awake(now) or self.profile.power == "beam")

    def secured(self, endpoint: int) -> list[int]:
        """Classes of an endpoint that need its highest class, once it has one."""
        return [one for one in self.places[endpoint].classes if one not in TRANSPORT]

    def hidden(self, endpoint: int) -> frozenset[int]:
        """Classes of an endpoint that are not told without security."""
        if self.guard.highest is None:
            return self.profile.secure_only
        return frozenset(self.places[endpoint].classes) - EVERYWHERE

    def information(self) -> bytes:
        """The classes of its node information frame."""
        return bytes(one for one in self.root.classes if one not in self.hidden(0) or self._plain(one))

    def frame(self) -> dict[str, Any]:
        """Its node information frame, as the Serial API gives it on."""
        part = self.root.part
        controlled = bytes((MARK, 0x20)) if self.profile.groups[1:] else b""
        classes = {"basic": END_NODE, "generic": part.generic, "specific": part.specific}
        return {**classes, "command_classes": self.information() + controlled}

    def _plain(self, number: int) -> bool:
        return self.guard.highest is SecurityClass.S0 and number in WITH_S0

    def allowed(self, number: int, security: SecurityClass | None) -> bool:
        """Whether a command of this class may come so."""
        highest = self.guard.highest
        if number in EVERYWHERE:
            return True
        if highest is None:
            return security is None and number not in self.profile.secure_only
        return security is highest or (security is None and self._plain(number))

    def groups(self, endpoint: int) -> dict[int, list[list[int]]]:
        """Its associations."""
        return self.associations.setdefault(str(endpoint), {})

    # ---- in and out of networks -------------------------------------------------------------------------------------

    def join(self, home_id: bytes, number: int, now: float) -> None:
        self.home_id, self.id, self.learning = home_id, number, False
        self.associations.clear()
        self.awake_until = now + WAKE_FOR
        self.guard.join(now)
        self.plan_wake_up(now)

    def leave(self, now: float) -> None:
        self.home_id, self.id, self.learning = b"", 0, False
        self.associations.clear()
        self.wake_target = 0
        self.awake_until = now
        self.guard.reset()
        self._answered.forget(self.controller)

    def reset_locally(self, now: float) -> None:
        """Somebody sets it back: it says goodbye."""
        self.tell(0, Command("Device Reset Locally Notification"), now)
        self.timers.at(now + LAST_WORD, self.leave)

    # ---- sleep ------------------------------------------------------------------------------------------------------

    def stay_awake(self, now: float) -> None:
        if not self.listening:
            self.awake_until = max(self.awake_until, now + (AFTER_BEAM if self.profile.power == "beam" else WAKE_FOR))

    def plan_wake_up(self, now: float) -> None:
        """The next wake-up by itself."""
        self._plan += 1
        if self.profile.power == "sleepy" and self.wake_interval:
            self.timers.at(now + self.wake_interval, partial(self._planned, self._plan))

    def _planned(self, plan: int, now: float) -> None:
        if plan == self._plan and self.id:
            self.wake(now)
            self.plan_wake_up(now)

    def wake(self, now: float) -> None:
        """It listens for a while, and says so to whom it was told."""
        self.awake_until = now + WAKE_FOR
        if WAKE_UP in self.root.classes and self.id:
            self.guard.send(make("Wake Up Notification"), self.guard.highest, now)

    # ---- in ---------------------------------------------------------------------------------------------------------

    def hear(self, payload: bytes, now: float, *, multicast: bool = False) -> None:
        """A frame that it has acknowledged, or a multicast."""
        self.heard += 1
        self.stay_awake(now)
        if payload and now >= self.mute_until:
            self._take(payload, Way(multicast=multicast), now)

    def _take(self, data: bytes, way: Way, now: float) -> None:
        """Whatever it is, in any layers, with the security that it has come through."""
        number = data[0]
        if number == TRANSPORT_SERVICE:
            self._segments.take(data, self.timers, now)
            return
        if number in (SECURITY_0, SECURITY_2) and way.security is None:
            self._unlock(data, way, now)
            return
        try:
            found = unwrap(data, secured=way.security is not None)
        except EncapsulationError:
            self.refused += 1
            return
        way = replace(way, layers=found.layers)
        if way.layers.session is None:
            for command in found.commands:
                self._do(command, way, now)
        else:
            self._supervise(found.commands, way, now)

    def _unlock(self, data: bytes, way: Way, now: float) -> None:
        try:
            command = decode(data)
        except LayoutError:
            self.refused += 1
            return
        if data[0] not in self.root.classes or not isinstance(command, Command):
            return
        for payload, security in self.guard.take(command, data, now, multicast=way.multicast):
            known = self.guard.highest if security is None else security
            if payload:
                self._take(payload, replace(way, security=known), now)

    def _supervise(self, commands: Iterable[Command | Raw], way: Way, now: float) -> None:
        session = way.layers.session or 0
        endpoint = way.layers.destinations[0]
        known = self._answered.repeated(self.controller, endpoint, session, now)
        if known is not None:
            self._back(way, known, now)
            return
        statuses = [
            _status(self._do(command, way, now) if self._refused() is None else REFUSED) for command in commands
        ]
        status, seconds = max(statuses, key=lambda one: _GRAVITY[one[0]])
        if way.multicast:
            return
        more = bool(seconds) and way.layers.status_updates
        report = self._supervised(session, status, seconds, more=more)
        self._answered.answered(self.controller, endpoint, session, report, now)
        self._back(way, report, now)
        if more:
            done = self._supervised(session, SupervisionStatus.SUCCESS, 0.0, more=False)
            self.timers.at(now + seconds, lambda then: self._back(way, done, then))

    def _refused(self) -> Result:
        """A fault: it cannot do what it is told. None where there is no such fault."""
        if not self.fails:
            return None
        self.fails -= 1
        return REFUSED

    @staticmethod
    def _supervised(session: int, status: SupervisionStatus, seconds: float, *, more: bool) -> bytes:
        values = {"more_updates": more, "wake_up_request": False, "session": session, "status": status}
        return encode(Command("Supervision Report", {**values, "duration": round(seconds)}))

    def _do(self, command: Command | Raw, way: Way, now: float) -> Result:
        """At every endpoint that it is for; what the first of them says."""
        results = [
            self._do_at(number, command, way, now) for number in way.layers.destinations if number < len(self.places)
        ]
        return results[0] if results else None

    def _do_at(self, endpoint: int, command: Command | Raw, way: Way, now: float) -> Result:
        if not isinstance(command, Command):
            return None
        if command.name.startswith("Security "):
            answer = self.guard.inner(command, self.places[endpoint], way.security, now)
            if answer is not None:
                self.answer(way, [answer], now)
            return True
        number = command.command_class
        place = self._responsible(number, endpoint)
        behaviour = BEHAVIOURS.get(command.name)
        if number not in place.classes or behaviour is None:
            return None
        if not self.allowed(number, way.security):
            self.refused += 1
            return None
        if not way.supervised and command.name.endswith(" Set") and self._refused() is not None:
            return False
        before, self._way = self._way, way
        result = behaviour(place, command, now)
        self._way = before
        if isinstance(result, list) and not way.multicast:
            self.answer(way, result, now)
        return result

    def _responsible(self, number: int, endpoint: int) -> Place:
        """The root device of a node with endpoints shows its first one."""
        first = self.places[1] if len(self.places) > 1 else None
        mirrored = endpoint == 0 and first is not None and number in MIRRORED and number in first.classes
        return first if mirrored and first is not None else self.places[endpoint]

    # ---- out --------------------------------------------------------------------------------------------------------

    def answer(self, way: Way, commands: Iterable[Command], now: float) -> None:
        """The same way back."""
        for command in commands:
            self._back(way, self._encode(command, self.places[way.layers.destinations[0]]), now)

    def _back(self, way: Way, data: bytes, now: float) -> None:
        self.guard.send(wrap(data, way.layers.answer()), way.security, now)

    def _encode(self, command: Command, place: Place) -> bytes:
        number = command.command_class
        return encode(command, Context(version=place.classes.get(number, self.root.classes.get(number))))

    def tell(self, endpoint: int, command: Command, now: float) -> None:
        """Report to the lifeline; who has just commanded it under supervision knows already."""
        if self._way.supervised or not self.id:
            return
        data = self._encode(command, self.places[endpoint])
        for node, other in self.groups(0).get(LIFELINE, []):
            if node != self.controller:
                continue
            if endpoint and other != ALONE:
                self.guard.send(wrap(data, Layers(endpoint, (other,))), self.guard.highest, now)
            elif endpoint <= 1:
                self.guard.send(data, self.guard.highest, now)

    def tell_controller(self, command: Command, now: float) -> None:
        """A command to the controller whatever the associations are."""
        self.guard.send(self._encode(command, self.root), self.guard.highest, now)

    def emit(self, payload: bytes, now: float) -> None:
        """A frame into the air, or several where it exceeds one."""
        room = ROOM_LONG_RANGE if self.long_range else ROOM
        if len(payload) > room and TRANSPORT_SERVICE in self.root.classes:
            self._segments.send(payload, room, self.timers, now)
        else:
            self._transmit(payload, now)

    def _transmit(self, payload: bytes, now: float) -> None:
        if self.powered and now >= self.mute_until:
            self.said += 1
            self._say(self, payload, now)

    def describe(self) -> dict[str, Any]:
        """What a test or a person may know."""
        return {
            "name": self.name,
            "profile": self.profile_name,
            "node": self.id,
            "joined": bool(self.id),
            "powered": self.powered,
            "security": self.guard.describe(),
            "associations": self.associations,
            "wake_up": {"seconds": self.wake_interval, "node": self.wake_target},
            "firmware": "{}.{}".format(*self.firmware),
            "counters": {"heard": self.heard, "said": self.said, "refused": self.refused},
            "state": {str(place.number): place.values for place in self.places},
        }


def _status(result: Result) -> tuple[SupervisionStatus, float]:
    if result is None:
        return SupervisionStatus.NO_SUPPORT, 0.0
    if isinstance(result, bool | list):
        return SupervisionStatus.FAIL if result is False else SupervisionStatus.SUCCESS, 0.0
    return SupervisionStatus.WORKING, float(result)
