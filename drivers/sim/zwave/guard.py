"""A node's end of both security classes: joining, nonces, and what is sent when its nonce has come. PURE.

Keys come over the air alone; they are what `snapshot` keeps. Nonces and SPANs live in memory: a restart synchronises anew.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave.place import Place
from drivers.zwave.codec import Command, encode, make
from drivers.zwave.security.classes import SecurityClass, SecurityError, classes
from drivers.zwave.security.kex import Effect, Failed, Finished, Joiner, Send, UseKey, UseTemporary
from drivers.zwave.security.s0 import ENCAPSULATION_NONCE_GET, TEMPORARY_KEY, Part, S0Keys, Security0
from drivers.zwave.security.s2 import NoSpanError, Opened, Resync, Security2

if TYPE_CHECKING:
    from drivers.sim.zwave.node import Node

ROOM = 46  # bytes of a frame
NONCE_WAIT = 3.0  # seconds for a nonce of the controller; then the message is gone
BOOTSTRAP = 30.0  # seconds in which a new node lets itself be secured

Inner = tuple[bytes, SecurityClass | None]  # a payload, and the class that it came with (None: a multicast)


class Guard:
    """Security of one node towards its controller, `peer`."""

    def __init__(self, node: "Node", peer: int = 1) -> None:
        self.node, self.peer = node, peer
        self.keys: dict[SecurityClass, bytes] = {}
        self.joiner: Joiner | None = None
        self.failure = ""  # why the last key exchange ended
        self._open_until = float("-inf")
        self._s0 = self._new_s0(TEMPORARY_KEY)
        self._s2 = self._new_s2()
        self._waiting0: deque[Part] = deque()
        self._waiting2: deque[tuple[bytes, SecurityClass]] = deque()
        self._asked0 = self._asked2 = float("-inf")
        self._last2: tuple[bytes, SecurityClass] | None = None

    def _new_s0(self, key: bytes) -> Security0:
        return Security0(self.node.id, S0Keys.of(key), self._random)

    def _new_s2(self) -> Security2:
        made = Security2(self.node.id, self.node.home_id, self._random)
        for security, key in self.keys.items():
            if security is not SecurityClass.S0:
                made.add_key(security, key)
        made.grant(self.peer, [one for one in self.keys if one is not SecurityClass.S0])
        return made

    def _random(self, count: int) -> bytes:
        return self.node.rng.randbytes(count)

    @property
    def highest(self) -> SecurityClass | None:
        """The class that its commands need."""
        return max(self.keys, key=lambda one: one.value, default=None)

    def wanted(self) -> tuple[SecurityClass, ...]:
        """The classes that it asks for."""
        return classes(self.node.profile.keys, long_range=self.node.long_range)

    # ---- life -------------------------------------------------------------------------------------------------------

    def join(self, now: float) -> None:
        """It has just been included: it can be secured for a while."""
        self.reset()
        self._open_until = now + BOOTSTRAP
        if self.node.profile.keys & ~0x80:
            self.joiner = Joiner(self.node.private, self.node.long_range, requested=self.wanted())
            self.joiner.start(now)
            self._arm()

    def reset(self) -> None:
        """Out of the network: no keys."""
        self.keys.clear()
        self.joiner, self.failure = None, ""
        self.restart()

    def restart(self) -> None:
        """A battery was changed: keys stay."""
        self._s0 = self._new_s0(self.keys.get(SecurityClass.S0, TEMPORARY_KEY))
        self._s2 = self._new_s2()
        self._waiting0.clear()
        self._waiting2.clear()
        self._last2 = None

    def snapshot(self) -> dict[str, str]:
        return {security.name: key.hex() for security, key in self.keys.items()}

    def restore(self, saved: dict[str, str]) -> None:
        self.keys = {SecurityClass[name]: bytes.fromhex(key) for name, key in saved.items()}
        self.restart()

    # ---- from the air -----------------------------------------------------------------------------------------------

    def take(self, command: Command, data: bytes, now: float, *, multicast: bool) -> list[Inner]:
        """A plain command of one of the security classes; what it carried, if it did."""
        try:
            if command.name.startswith("Security 0"):
                return self._take0(command, data, now) if self.node.profile.keys & 0x80 else []
            return self._take2(command, data, now, multicast=multicast) if self.node.profile.keys & ~0x80 else []
        except SecurityError:
            self.node.refused += 1
            return []

    def _take0(self, command: Command, data: bytes, now: float) -> list[Inner]:
        match command.name:
            case "Security 0 Scheme Get" if now < self._open_until and not self.keys:
                self.node.emit(make("Security 0 Scheme Report", schemes=0), now)
            case "Security 0 Nonce Get":
                self.node.emit(self._s0.nonce_report(self.peer, now), now)
            case "Security 0 Nonce Report":
                self._send0(command["nonce"], now)
            case "Security 0 Message Encapsulation" | "Security 0 Message Encapsulation Nonce Get":
                payload = self._s0.open(self.peer, data, now)
                if data[1] == ENCAPSULATION_NONCE_GET:
                    self.node.emit(self._s0.nonce_report(self.peer, now), now)
                return [] if payload is None else [(payload, SecurityClass.S0)]
        return []

    def _take2(self, command: Command, data: bytes, now: float, *, multicast: bool) -> list[Inner]:
        match command.name:
            case "Security 2 Nonce Get":
                self.node.emit(self._s2.receive_nonce_get(self.peer, data), now)
            case "Security 2 Nonce Report":
                report = self._s2.receive_nonce_report(self.peer, data)
                if report.sos:
                    self._synchronised(now)
            case "Security 2 Message Encapsulation" if multicast:
                return [(self._s2.open_multicast(self.peer, data).payload, None)]
            case "Security 2 Message Encapsulation":
                return self._opened(data, now)
            case _:
                self.exchange(data, None, now)
        return []

    def _opened(self, data: bytes, now: float) -> list[Inner]:
        found = self._s2.open(self.peer, data, now)
        if isinstance(found, Opened):
            return [(found.payload, found.security_class)]
        if isinstance(found, Resync):
            self.node.emit(found.answer, now)
            if self.joiner is not None:
                self._do(self.joiner.undecryptable(), now)
        return []

    def _synchronised(self, now: float) -> None:
        waiting = list(self._waiting2)
        self._waiting2.clear()
        unread = not waiting and self._last2 is not None
        if unread and self._last2 is not None:
            waiting = [self._last2]  # the controller could not read it
        for payload, security in waiting:
            self._seal2(payload, security, now)
        if unread:
            self._last2 = None  # once: a controller with another key would ask for ever
        if self.joiner is None:
            self._s2.set_temporary(self.peer, None)

    # ---- key exchange -----------------------------------------------------------------------------------------------

    def exchange(self, data: bytes, security: SecurityClass | None, now: float) -> None:
        """A command of the key exchange."""
        if self.joiner is not None:
            self._do(self.joiner.receive(data, security, now), now)

    def _do(self, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Send(data, None):
                    self.node.emit(data, now)
                case Send(data, security) if security is not None:
                    self._seal2(data, security, now)
                case UseTemporary(keys):
                    self._s2.set_temporary(self.peer, keys)
                case UseKey(security, key):
                    self.keys[security] = key
                    if security is SecurityClass.S0:
                        self._s0 = self._new_s0(key)
                    else:
                        self._s2.add_key(security, key)
                    self._s2.grant(self.peer, [one for one in self.keys if one is not SecurityClass.S0])
                case Finished():
                    self._ended("")
                case Failed():
                    self._ended(effect.reason)
                    self.keys.clear()
        self._arm()

    def _ended(self, failure: str) -> None:
        self.joiner, self.failure = None, failure
        # The last message is under the temporary key, and may have to wait for a nonce.
        if not self._waiting2:
            self._s2.set_temporary(self.peer, None)

    def _arm(self) -> None:
        joiner = self.joiner
        if joiner is None or joiner.deadline is None:
            return
        due = joiner.deadline

        def tick(now: float) -> None:
            if self.joiner is joiner and joiner.deadline == due:
                self._do(joiner.tick(now), now)

        self.node.timers.at(due, tick)

    # ---- inside an encapsulation ------------------------------------------------------------------------------------

    def inner(self, command: Command, place: Place, security: SecurityClass | None, now: float) -> Command | None:
        """A security command that came encapsulated, for one endpoint; its answer."""
        match command.name:
            case "Security 0 Network Key Set" if now < self._open_until and not self.keys:
                self.keys[SecurityClass.S0] = command["key"]
                self._s0 = self._new_s0(command["key"])
                return Command("Security 0 Network Key Verify")
            case "Security 0 Commands Supported Get" if security is SecurityClass.S0:
                told = self.node.secured(place.number) if self.highest is SecurityClass.S0 else []
                return Command(
                    "Security 0 Commands Supported Report", {"reports_to_follow": 0, "command_classes": bytes(told)}
                )
            case "Security 2 Commands Supported Get" if security in self.keys:
                told = self.node.secured(place.number) if security is self.highest else []
                return Command("Security 2 Commands Supported Report", {"command_classes": bytes(told)})
        self.exchange(encode(command), security, now)
        return None

    # ---- to the air -------------------------------------------------------------------------------------------------

    def send(self, payload: bytes, security: SecurityClass | None, now: float) -> None:
        """One payload under a class; None is plain."""
        if security is None:
            self.node.emit(payload, now)
        elif security is SecurityClass.S0:
            self._waiting0.extend(self._s0.split(self.peer, payload, ROOM))
            self._ask0(now)
        else:
            self._seal2(payload, security, now)

    def _ask0(self, now: float) -> None:
        if now < self._asked0 + NONCE_WAIT:
            return
        self._asked0 = now
        self.node.emit(make("Security 0 Nonce Get"), now)
        self.node.timers.at(now + NONCE_WAIT, self._lost0)

    def _lost0(self, now: float) -> None:
        if self._waiting0 and now >= self._asked0 + NONCE_WAIT:
            self._waiting0.clear()

    def _send0(self, nonce: bytes, now: float) -> None:
        self._asked0 = float("-inf")
        if not self._waiting0:
            return
        part = self._waiting0.popleft()
        self.node.emit(self._s0.seal(self.peer, part, nonce), now)
        if self._waiting0 and part.command != ENCAPSULATION_NONCE_GET:
            self._ask0(now)

    def _seal2(self, payload: bytes, security: SecurityClass, now: float) -> None:
        try:
            sealed = self._s2.seal(self.peer, payload, now, security)
        except NoSpanError:
            self._waiting2.append((payload, security))
            if now >= self._asked2 + NONCE_WAIT or len(self._waiting2) == 1:
                self._asked2 = now
                self.node.emit(self._s2.nonce_get(self.peer), now)
                self.node.timers.at(now + NONCE_WAIT, self._lost2)
            return
        except SecurityError:
            return  # no key of that class
        self._last2 = (payload, security)
        self.node.emit(sealed, now)

    def _lost2(self, now: float) -> None:
        if self._waiting2 and now >= self._asked2 + NONCE_WAIT:
            self._waiting2.clear()

    def describe(self) -> dict[str, Any]:
        """For people and tests: the simulator keeps nothing back."""
        highest = self.highest
        return {
            "granted": [security.name for security in sorted(self.keys, key=lambda one: -one.value)],
            "highest": highest.name if highest else None,
            "failure": self.failure,
        }
