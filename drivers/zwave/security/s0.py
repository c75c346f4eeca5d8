"""Security 0 (SDS13783, Security 0 command class): keys, single-use nonces, encapsulation in one or two frames. PURE.

Time is monotonic seconds. Node ids have 8 bits: S0 does not exist on Long Range.
"""

from dataclasses import dataclass, field

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.layout import LayoutError
from drivers.zwave.security.classes import KEY_SIZE, Entropy, SecurityError
from drivers.zwave.security.primitives import aes_ecb, aes_ofb, cbc_mac

NONCE = 8
NONCE_LIFETIME = 10.0  # seconds; the specification allows 3 to 20
OPEN_NONCES = 8  # for each peer: a flood of Nonce Gets must not fill the memory
OVERHEAD = 20  # bytes around the payload of one frame
REASSEMBLY_TIMEOUT = 10.0  # seconds between the two frames

ENCAPSULATION = 0x81
ENCAPSULATION_NONCE_GET = 0xC1  # the same, and asks for the nonce of the next frame

_SEQUENCED, _SECOND, _COUNTER = 0x10, 0x20, 0x0F
_NAMES = {
    ENCAPSULATION: "Security 0 Message Encapsulation",
    ENCAPSULATION_NONCE_GET: "Security 0 Message Encapsulation Nonce Get",
}

TEMPORARY_KEY = bytes(KEY_SIZE)  # what the network key is sent with


@dataclass(frozen=True, slots=True)
class S0Keys:
    """Encryption and authentication key of a network key."""

    encryption: bytes = field(repr=False)
    authentication: bytes = field(repr=False)

    @classmethod
    def of(cls, network_key: bytes) -> "S0Keys":
        return cls(aes_ecb(network_key, b"\xaa" * KEY_SIZE), aes_ecb(network_key, b"\x55" * KEY_SIZE))


@dataclass(frozen=True, slots=True)
class Part:
    """One frame's share of a message, before encryption."""

    command: int
    flags: int
    payload: bytes


def parts(payload: bytes, room: int, counter: int) -> list[Part]:
    """`payload` in one frame, or in two where it exceeds a frame of `room` bytes. Raises SecurityError where two are not enough."""
    inside = room - OVERHEAD
    if len(payload) <= inside:
        return [Part(ENCAPSULATION, 0, payload)]
    if len(payload) > 2 * inside:
        raise SecurityError(f"{len(payload)} bytes do not fit two frames")
    flags = _SEQUENCED | counter & _COUNTER
    return [
        Part(ENCAPSULATION_NONCE_GET, flags, payload[:inside]),
        Part(ENCAPSULATION, flags | _SECOND, payload[inside:]),
    ]


def _authentication(iv: bytes, command: int, source: int, destination: int, ciphertext: bytes) -> bytes:
    return iv + bytes((command, source, destination, len(ciphertext))) + ciphertext


def encapsulate(
    keys: S0Keys, part: Part, source: int, destination: int, sender_nonce: bytes, receiver_nonce: bytes
) -> bytes:
    """The command that carries `part`. A receiver nonce is used once and never again."""
    iv = sender_nonce + receiver_nonce
    ciphertext = aes_ofb(keys.encryption, iv, bytes((part.flags,)) + part.payload)
    mac = cbc_mac(keys.authentication, _authentication(iv, part.command, source, destination, ciphertext))
    return make(_NAMES[part.command], iv=sender_nonce, ciphertext=ciphertext, nonce_id=receiver_nonce[0], mac=mac)


def decapsulate(keys: S0Keys, data: bytes, source: int, destination: int, receiver_nonce: bytes) -> Part:
    """The inverse. Raises SecurityError."""
    command = _encapsulation(data)
    iv = command["iv"] + receiver_nonce
    expected = cbc_mac(keys.authentication, _authentication(iv, data[1], source, destination, command["ciphertext"]))
    if expected != command["mac"]:
        raise SecurityError("the authentication code does not fit")
    plain = aes_ofb(keys.encryption, iv, command["ciphertext"])
    if not plain:
        raise SecurityError("an empty message")
    return Part(data[1], plain[0], plain[1:])


def _encapsulation(data: bytes) -> Command:
    try:
        command = decode(data)
    except LayoutError as error:
        raise SecurityError(str(error)) from error
    if not isinstance(command, Command) or command.name not in _NAMES.values():
        raise SecurityError("no S0 encapsulation")
    return command


@dataclass(slots=True)
class _Peer:
    issued: dict[int, tuple[bytes, float]] = field(default_factory=dict)  # nonce id -> nonce, end of life; oldest first
    first: tuple[int, bytes, float] | None = None  # counter, payload and end of life of the first of two frames
    counter: int = 0


@dataclass(slots=True)
class Security0:
    """One end's S0: `own` node id, its network key, random bytes."""

    own: int
    keys: S0Keys
    entropy: Entropy
    _peers: dict[int, _Peer] = field(default_factory=dict)

    def nonce_report(self, peer: int, now: float) -> bytes:
        """Answer a Nonce Get: a nonce that `peer` may use once, soon."""
        issued = self._peer(peer).issued
        self._expire(issued, now)
        while len(issued) >= OPEN_NONCES:
            del issued[next(iter(issued))]
        nonce = self.entropy(NONCE)
        while nonce[0] in issued:  # the first byte tells open nonces apart
            nonce = self.entropy(NONCE)
        issued[nonce[0]] = (nonce, now + NONCE_LIFETIME)
        return make("Security 0 Nonce Report", nonce=nonce)

    def split(self, peer: int, payload: bytes, room: int) -> list[Part]:
        """`parts` with the next sequence counter."""
        state = self._peer(peer)
        state.counter = state.counter + 1 & _COUNTER
        return parts(payload, room, state.counter)

    def seal(self, peer: int, part: Part, receiver_nonce: bytes) -> bytes:
        """The command that carries `part` to `peer`."""
        return encapsulate(self.keys, part, self.own, peer, self._sender_nonce(receiver_nonce), receiver_nonce)

    def _sender_nonce(self, receiver_nonce: bytes) -> bytes:
        if len(receiver_nonce) != NONCE:
            raise SecurityError("a nonce has 8 bytes")
        return self.entropy(NONCE)

    def open(self, peer: int, data: bytes, now: float) -> bytes | None:
        """The payload, once all of it is here. Raises SecurityError for used, old or unknown nonces and what is not authentic."""
        state = self._peer(peer)
        self._expire(state.issued, now)
        nonce, _ = state.issued.pop(_encapsulation(data)["nonce_id"], (None, 0.0))
        if nonce is None:
            raise SecurityError("the nonce is unknown, used or too old")
        part = decapsulate(self.keys, data, peer, self.own, nonce)
        if not part.flags & _SEQUENCED:
            return part.payload
        if not part.flags & _SECOND:
            state.first = (part.flags & _COUNTER, part.payload, now + REASSEMBLY_TIMEOUT)
            return None
        first, state.first = state.first, None
        if first is None or first[0] != part.flags & _COUNTER or first[2] <= now:
            raise SecurityError("a second frame without its first")
        return first[1] + part.payload

    def forget(self, peer: int) -> None:
        self._peers.pop(peer, None)

    def _peer(self, peer: int) -> _Peer:
        return self._peers.setdefault(peer, _Peer())

    @staticmethod
    def _expire(issued: dict[int, tuple[bytes, float]], now: float) -> None:
        for number in [number for number, (_, end) in issued.items() if end <= now]:
            del issued[number]
