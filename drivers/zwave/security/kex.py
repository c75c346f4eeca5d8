"""The S2 key exchange (SDS13783, "Key exchange"): both ends as state machines. PURE: messages and time in, effects out.

`Includer` is the controller, `Joiner` the node that joins. The caller encapsulates as `Send.security` says (None: plain), gives back what
comes with the class that it came with, calls `undecryptable` where temporary keys read nothing, and `tick` at `deadline`. Until
`UseTemporary` it leaves encapsulated messages of the peer alone: a joiner repeats its first one every 10 s.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.commands.transport import KexFailType
from drivers.zwave.layout import LayoutError
from drivers.zwave.security import dsk as dsks
from drivers.zwave.security.ckdf import Keys, temporary_keys, temporary_prk
from drivers.zwave.security.classes import AUTHENTICATED, SecurityClass, SecurityError, classes, mask, ordered
from drivers.zwave.security.primitives import public_key, shared_secret

STEP_TIMEOUT = 10.0  # seconds for each step of the peer
ECHO_TIMEOUT = 20.0  # the joiner repeats its echo every STEP_TIMEOUT
JOIN_TIMEOUT = 30.0  # seconds that a joiner waits for the controller
USER_TIMEOUT = 240.0  # seconds for what people decide
SCHEME_1, CURVE_25519 = 0x02, 0x01

_PUBLIC_KEY = 32
_FLAGS = 2  # index of the flags byte in KEX Report and KEX Set
_ECHO = 0x01
TEMPORARY = SecurityClass.TEMPORARY


@dataclass(frozen=True, slots=True)
class Send:
    """A command to the peer; `security` None is plain."""

    data: bytes
    security: SecurityClass | None


@dataclass(frozen=True, slots=True)
class AskGrant:
    """Which of these classes may the node have? Answer with `grant`."""

    requested: tuple[SecurityClass, ...]


@dataclass(frozen=True, slots=True)
class AskPin:
    """The node's DSK; its first two bytes are missing. Answer with `pin`."""

    dsk: bytes


@dataclass(frozen=True, slots=True)
class UseTemporary:
    """The temporary keys hold from now on."""

    keys: Keys


@dataclass(frozen=True, slots=True)
class UseKey:
    """Messages of this class can come from the peer from now on; `key` is what a joiner was given."""

    security_class: SecurityClass
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: these classes were given and verified, most trusted first. `dsk` is the joiner's."""

    granted: tuple[SecurityClass, ...]
    dsk: bytes = b""


@dataclass(frozen=True, slots=True)
class Failed:
    """The end. `fail` None: a step took too long."""

    fail: KexFailType | int | None
    by_peer: bool
    reason: str


Effect = Send | AskGrant | AskPin | UseTemporary | UseKey | Finished | Failed


class State(Enum):
    """What is waited for."""

    KEX_GET = auto()
    KEX_REPORT = auto()
    GRANT = auto()
    KEX_SET = auto()
    PUBLIC_KEY = auto()
    PIN = auto()
    ECHO = auto()
    KEY_GET = auto()
    KEY_REPORT = auto()
    KEY_VERIFY = auto()
    TRANSFER_END = auto()
    ENDED = auto()


class _Abort(Exception):  # noqa: N818  it never leaves this module
    def __init__(self, fail: KexFailType, reason: str) -> None:
        super().__init__(reason)
        self.fail = fail


def _echo(original: bytes) -> bytes:
    return original[:_FLAGS] + bytes((original[_FLAGS] | _ECHO,)) + original[_FLAGS + 1 :]


@dataclass(slots=True)
class _Exchange(ABC):
    """What both ends have in common. `private`: 32 random bytes, used for this exchange alone."""

    private: bytes = field(repr=False)
    long_range: bool = False
    state: State = State.KEX_REPORT
    deadline: float | None = None
    _effects: list[Effect] = field(default_factory=list)
    _report: bytes = b""  # the first KEX Report and KEX Set, as they were: their echoes must be the same
    _set: bytes = b""
    _granted: int = 0
    _temporary: bool = False

    def receive(self, data: bytes, security: SecurityClass | None, now: float) -> list[Effect]:
        """A command of class Security 2 from the peer. Others, and those out of turn, change nothing."""
        try:
            command = decode(data)
        except LayoutError:
            return []
        if not isinstance(command, Command) or self.state is State.ENDED:
            return []
        if command.name == "Security 2 KEX Fail":
            self._end(Failed(command["type"], by_peer=True, reason="the peer gave up"))
            return self._flush()
        try:
            self._handle(command, data, security, now)
        except _Abort as abort:
            self._fail(abort.fail, str(abort))
        return self._flush()

    def undecryptable(self) -> list[Effect]:
        """A message that the temporary keys should read was not readable: a wrong PIN, or somebody in the middle."""
        if self.state in (State.ECHO, State.KEX_REPORT) and self._temporary:
            self._fail(KexFailType.DECRYPT, "the temporary keys differ: is the PIN right?", plain=True)
        return self._flush()

    def cancel(self) -> list[Effect]:
        """The user does not want it any more."""
        if self.state is not State.ENDED:
            self._fail(KexFailType.CANCEL, "cancelled")
        return self._flush()

    def tick(self, now: float) -> list[Effect]:
        """Time passes; at `deadline` the exchange ends."""
        if self.deadline is not None and now >= self.deadline:
            if self.state in (State.GRANT, State.PIN):
                self._fail(KexFailType.CANCEL, "nobody answered")
            else:
                self._end(Failed(None, by_peer=False, reason=f"nothing came for {self.state.name}"))
        return self._flush()

    @abstractmethod
    def _handle(self, command: Command, data: bytes, security: SecurityClass | None, now: float) -> None:
        """Take one message of the peer, in this side's states. Raises _Abort."""

    def _wait(self, state: State, now: float, seconds: float = STEP_TIMEOUT) -> None:
        self.state = state
        self.deadline = now + seconds

    def _send(self, data: bytes, security: SecurityClass | None = None) -> None:
        self._effects.append(Send(data, security))

    def _fail(self, fail: KexFailType, reason: str, *, plain: bool = False) -> None:
        self._send(make("Security 2 KEX Fail", type=fail), TEMPORARY if self._temporary and not plain else None)
        self._end(Failed(fail, by_peer=False, reason=reason))

    def _end(self, effect: Finished | Failed) -> None:
        self.state, self.deadline = State.ENDED, None
        self._effects.append(effect)

    def _flush(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _derive(self, theirs: bytes, *, includer: bool) -> None:
        ours = public_key(self.private)
        try:
            secret = shared_secret(self.private, theirs)
        except SecurityError as error:
            raise _Abort(KexFailType.AUTH, str(error)) from error
        first, second = (ours, theirs) if includer else (theirs, ours)
        self._temporary = True
        self._effects.append(UseTemporary(temporary_keys(temporary_prk(secret, first, second))))

    @staticmethod
    def _level(security: SecurityClass | None, expected: SecurityClass | None) -> None:
        if security is not expected:
            raise _Abort(KexFailType.AUTH, "a command came with the wrong security")

    @staticmethod
    def _same(data: bytes, original: bytes) -> None:
        """An echo is the original with its echo bit set."""
        if data != _echo(original):
            raise _Abort(KexFailType.AUTH, "the echo differs: somebody changed what was negotiated")


@dataclass(slots=True)
class Includer(_Exchange):
    """The controller's end. `keys`: the network keys that it can give; `dsk`: from a QR code, and then nobody is asked for a PIN."""

    keys: Mapping[SecurityClass, bytes] = field(default_factory=dict, repr=False)
    dsk: bytes | None = None
    _requested: int = 0
    _theirs: bytes = b""
    _current: SecurityClass | None = None
    _verified: list[SecurityClass] = field(default_factory=list)

    def start(self, now: float) -> list[Effect]:
        """Ask the node what it wants."""
        self._send(make("Security 2 KEX Get"))
        self._wait(State.KEX_REPORT, now)
        return self._flush()

    def grant(self, granted: tuple[SecurityClass, ...], now: float) -> list[Effect]:
        """The answer to AskGrant. Classes that were not asked for are left out; none at all cancels."""
        if self.state is not State.GRANT:
            return []
        self._granted = mask(granted) & self._requested
        if not self._granted:
            self._fail(KexFailType.CANCEL, "no class was granted")
            return self._flush()
        self._set = make("Security 2 KEX Set", schemes=SCHEME_1, profiles=CURVE_25519, keys=self._granted)
        self._send(self._set)
        self._wait(State.PUBLIC_KEY, now)
        return self._flush()

    def pin(self, pin: bytes, now: float) -> list[Effect]:
        """The answer to AskPin: the first two bytes of the DSK."""
        if self.state is not State.PIN:
            return []
        self._theirs = pin + self._theirs[dsks.PIN_SIZE :]
        self._agree(now)
        return self._flush()

    def _handle(self, command: Command, data: bytes, security: SecurityClass | None, now: float) -> None:
        match self.state, command.name:
            case State.KEX_REPORT, "Security 2 KEX Report":
                self._level(security, None)
                self._on_report(command, data, now)
            case State.PUBLIC_KEY, "Security 2 Public Key Report" if not command["including"]:
                self._level(security, None)
                self._on_public_key(command["key"], now)
            case State.ECHO, "Security 2 KEX Set" if command["echo"]:
                self._level(security, TEMPORARY)
                self._same(data, self._set)
                self._send(_echo(self._report), TEMPORARY)
                self._wait(State.KEY_GET, now)
            case ((State.KEY_GET | State.KEY_VERIFY), "Security 2 Network Key Get"):
                self._level(security, TEMPORARY)
                self._on_key_get(command["key"], now)
            case State.KEY_VERIFY, "Security 2 Network Key Verify":
                self._on_verify(security, now)
            case State.KEY_GET, "Security 2 Transfer End" if command["request_complete"]:
                self._level(security, TEMPORARY)
                self._end(Finished(ordered(self._verified), self._theirs[: dsks.SIZE]))

    def _on_report(self, command: Command, data: bytes, now: float) -> None:
        if not command["schemes"] & SCHEME_1:
            raise _Abort(KexFailType.KEX_SCHEME, "no common scheme")
        if not command["profiles"] & CURVE_25519:
            raise _Abort(KexFailType.KEX_CURVES, "no common curve")
        if command["csa"]:
            raise _Abort(KexFailType.CANCEL, "client-side authentication is refused")
        possible = classes(command["keys"], long_range=self.long_range)
        requested = tuple(one for one in possible if one in self.keys)
        if command["echo"] or not requested:
            raise _Abort(KexFailType.KEX_KEY, "no common key")
        self._report, self._requested = data, mask(requested)
        self._effects.append(AskGrant(requested))
        self._wait(State.GRANT, now, USER_TIMEOUT)

    def _on_public_key(self, key: bytes, now: float) -> None:
        if len(key) != _PUBLIC_KEY:
            raise _Abort(KexFailType.AUTH, "a public key has 32 bytes")
        self._theirs = key
        self._send(make("Security 2 Public Key Report", including=True, key=public_key(self.private)))
        if not self._granted & AUTHENTICATED:
            self._agree(now)
        elif self.dsk is None:
            self._effects.append(AskPin(key[: dsks.SIZE]))
            self._wait(State.PIN, now, USER_TIMEOUT)
        elif self.dsk[dsks.PIN_SIZE :] != key[dsks.PIN_SIZE : dsks.SIZE]:
            raise _Abort(KexFailType.AUTH, "the node has another DSK than its QR code says")
        else:
            self._theirs = self.dsk[: dsks.PIN_SIZE] + key[dsks.PIN_SIZE :]
            self._agree(now)

    def _agree(self, now: float) -> None:
        try:
            self._derive(self._theirs, includer=True)
        except _Abort as abort:
            self._fail(abort.fail, str(abort))
            return
        self._wait(State.ECHO, now, ECHO_TIMEOUT)

    def _on_key_get(self, requested: int, now: float) -> None:
        found = [one for one in classes(self._granted, long_range=self.long_range) if one.bit == requested]
        repeated = self.state is State.KEY_VERIFY and found == [self._current]
        if not found or found[0] in self._verified or (self.state is State.KEY_VERIFY and not repeated):
            raise _Abort(KexFailType.KEY_GET, "a key was asked for that was not granted, or out of turn")
        self._current = found[0]
        key = self.keys[found[0]]
        self._send(make("Security 2 Network Key Report", key=requested, network_key=key), TEMPORARY)
        if not repeated:
            self._effects.append(UseKey(found[0], key))
        self._wait(State.KEY_VERIFY, now)

    def _on_verify(self, security: SecurityClass | None, now: float) -> None:
        if self._current is None or security is not self._current:
            raise _Abort(KexFailType.KEY_VERIFY, "a key was verified with another one")
        self._verified.append(self._current)
        self._current = None
        self._send(make("Security 2 Transfer End", verified=True, request_complete=False), TEMPORARY)
        self._wait(State.KEY_GET, now)


@dataclass(slots=True)
class Joiner(_Exchange):
    """The end of a node that joins. `requested`: the classes that it wants."""

    requested: tuple[SecurityClass, ...] = ()
    state: State = State.KEX_GET
    _left: list[SecurityClass] = field(default_factory=list)
    _had: list[SecurityClass] = field(default_factory=list)
    _echo_end: float = 0.0

    def start(self, now: float) -> None:
        """Wait for the controller."""
        self._wait(State.KEX_GET, now, JOIN_TIMEOUT)

    def tick(self, now: float) -> list[Effect]:
        """Time passes. The echo is repeated while the controller's user looks for the PIN."""
        if self.state is State.KEX_REPORT and self.deadline is not None and self.deadline <= now < self._echo_end:
            self._send(_echo(self._set), TEMPORARY)
            self.deadline = min(now + STEP_TIMEOUT, self._echo_end)
            return self._flush()
        return _Exchange.tick(self, now)

    def _handle(self, command: Command, data: bytes, security: SecurityClass | None, now: float) -> None:
        match self.state, command.name:
            case ((State.KEX_GET | State.KEX_SET), "Security 2 KEX Get"):
                keys = mask(self.requested)
                self._report = make("Security 2 KEX Report", schemes=SCHEME_1, profiles=CURVE_25519, keys=keys)
                self._send(self._report)
                self._wait(State.KEX_SET, now, USER_TIMEOUT)
            case State.KEX_SET, "Security 2 KEX Set":
                self._level(security, None)
                self._on_set(command, data, now)
            case State.PUBLIC_KEY, "Security 2 Public Key Report" if command["including"]:
                self._level(security, None)
                if len(command["key"]) != _PUBLIC_KEY:
                    raise _Abort(KexFailType.AUTH, "a public key has 32 bytes")
                self._derive(command["key"], includer=False)
                self._send(_echo(self._set), TEMPORARY)
                self._wait(State.KEX_REPORT, now)
                self._echo_end = now + USER_TIMEOUT
            case State.KEX_REPORT, "Security 2 KEX Report":
                self._level(security, TEMPORARY)
                self._same(data, self._report)
                self._ask(now)
            case State.KEY_REPORT, "Security 2 Network Key Report":
                self._level(security, TEMPORARY)
                self._on_key(command, now)
            case State.TRANSFER_END, "Security 2 Transfer End":
                self._level(security, TEMPORARY)
                if not command["verified"]:
                    raise _Abort(KexFailType.KEY_VERIFY, "the key was not verified")
                self._had.append(self._left.pop(0))
                self._ask(now)

    def _on_set(self, command: Command, data: bytes, now: float) -> None:
        if command["schemes"] != SCHEME_1:
            raise _Abort(KexFailType.KEX_SCHEME, "another scheme was chosen")
        if command["profiles"] != CURVE_25519:
            raise _Abort(KexFailType.KEX_CURVES, "another curve was chosen")
        keys = command["keys"]
        if command["echo"] or command["csa"] or not keys or keys & ~mask(self.requested):
            raise _Abort(KexFailType.KEX_KEY, "keys were granted that were not asked for")
        self._set, self._granted = data, keys
        self._left = list(classes(keys, long_range=self.long_range))
        public = public_key(self.private)
        if keys & AUTHENTICATED:
            public = bytes(dsks.PIN_SIZE) + public[dsks.PIN_SIZE :]
        self._send(make("Security 2 Public Key Report", including=False, key=public))
        self._wait(State.PUBLIC_KEY, now)

    def _ask(self, now: float) -> None:
        if not self._left:
            self._send(make("Security 2 Transfer End", verified=False, request_complete=True), TEMPORARY)
            self._end(Finished(ordered(self._had), public_key(self.private)[: dsks.SIZE]))
            return
        self._send(make("Security 2 Network Key Get", key=self._left[0].bit), TEMPORARY)
        self._wait(State.KEY_REPORT, now)

    def _on_key(self, command: Command, now: float) -> None:
        current = self._left[0]
        if command["key"] != current.bit:
            raise _Abort(KexFailType.KEY_REPORT, "another key came than was asked for")
        self._effects.append(UseKey(current, command["network_key"]))
        self._send(make("Security 2 Network Key Verify"), current)
        self._wait(State.TRANSFER_END, now)
