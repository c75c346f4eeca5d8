"""Security 2 traffic (SDS13783): synchronised nonces for one peer (SPAN) and for groups (MPAN). PURE.

One `Security2` is one node's end. A SPAN lives in memory alone: a restart makes a new one, so that no nonce is ever used twice. Time is
monotonic seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.layout import LayoutError
from drivers.zwave.security.ckdf import Keys, mixed_entropy, network_keys
from drivers.zwave.security.classes import Entropy, SecurityClass, SecurityError, ordered
from drivers.zwave.security.drbg import CtrDrbg
from drivers.zwave.security.primitives import BLOCK, TAG, aes_ecb, ccm_decrypt, ccm_encrypt
from drivers.zwave.security.s2_frames import (
    ENTROPY_INPUT,
    Body,
    Extension,
    ExtensionType,
    associated,
    decode_extensions,
    encode_extensions,
    find,
    head,
    parse,
)

NONCE = 13
ATTEMPTS = 5  # nonces ahead that a receiver tries: so many messages may be lost
ATTEMPTS_FOLLOW_UP = 1  # after a multicast
CROSSING = 0.5  # seconds in which the peer may still use the nonce that we have just used
GROUPS = 16  # multicast groups that are remembered for each peer
_HEADER = 2  # command class and command


class NoSpanError(SecurityError):
    """Nothing can be sent before the peer's Nonce Report: send `nonce_get` first."""


class DuplicateError(SecurityError):
    """The message came before; it is dropped."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that is authentic. `out_of_sync`: the peer asks for the state of a multicast group."""

    payload: bytes
    security_class: SecurityClass | None  # None: a multicast
    group: int | None = None
    out_of_sync: bool = False


@dataclass(frozen=True, slots=True)
class Resync:
    """A message that cannot be read: `answer` is the Nonce Report that lets the peer begin anew.

    `fresh`: it was made with a nonce of ours that has just been given; so the peer has other keys, or somebody changed it.
    """

    reason: str
    answer: bytes
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class NonceReport:
    """What a Nonce Report said: `sos`, our last message was not read and is to be sent again; `mos`, nor was our multicast."""

    sos: bool
    mos: bool


@dataclass(slots=True)
class _Span:
    security_class: SecurityClass
    generator: CtrDrbg
    keys: Keys
    crossing: tuple[bytes, float] | None = None  # the nonce that we used last, and until when the peer may use it too

    def next(self) -> bytes:
        return self.generator.generate(BLOCK)[:NONCE]


@dataclass(slots=True)
class _Peer:
    granted: tuple[SecurityClass, ...] = ()  # most trusted first
    temporary: Keys | None = None
    local: bytes | None = None  # our entropy input: the peer sends next
    remote: bytes | None = None  # the peer's: we send next
    span: _Span | None = None
    sent: int | None = None
    received: int | None = None  # sequence of the last message that was authentic
    asked: int | None = None  # and of the last Nonce Get or Report, which anybody can forge: it must not hide a message
    groups: dict[int, tuple[Keys, bytes] | None] = field(default_factory=dict)  # the peer's; None while out of sync

    def set(self, *, local: bytes | None = None, remote: bytes | None = None, span: _Span | None = None) -> None:
        self.local, self.remote, self.span = local, remote, span


@dataclass(slots=True)
class _Group:
    members: tuple[int, ...]
    security_class: SecurityClass
    state: bytes
    sequence: int


@dataclass(slots=True)
class Security2:
    """One end's S2."""

    own: int
    home_id: bytes
    entropy: Entropy
    keys: dict[SecurityClass, Keys] = field(default_factory=dict, repr=False)
    _peers: dict[int, _Peer] = field(default_factory=dict, repr=False)
    _groups: dict[int, _Group] = field(default_factory=dict, repr=False)

    def add_key(self, security_class: SecurityClass, network_key: bytes) -> None:
        """A network key of ours."""
        self.keys[security_class] = network_keys(network_key)

    def grant(self, peer: int, granted: Iterable[SecurityClass]) -> None:
        """The classes that `peer` may speak with; what it sends with others is not read."""
        self._peer(peer).granted = ordered(granted)

    def set_temporary(self, peer: int, keys: Keys | None) -> None:
        """The keys of a key exchange; None at its end."""
        state = self._peer(peer)
        state.temporary = keys
        if keys is None and state.span is not None and state.span.security_class is SecurityClass.TEMPORARY:
            state.set()

    def forget(self, peer: int) -> None:
        """The peer has left, or begins anew."""
        self._peers.pop(peer, None)

    def drop_span(self, peer: int) -> None:
        """The next message needs a new nonce of the peer."""
        self._peer(peer).set()

    def current_class(self, peer: int) -> SecurityClass | None:
        """The class of the established SPAN."""
        span = self._peer(peer).span
        return None if span is None else span.security_class

    # Nonces

    def nonce_get(self, peer: int) -> bytes:
        """Ask for the peer's entropy input."""
        return make("Security 2 Nonce Get", sequence=self._next_sequence(peer))

    def nonce_report(self, peer: int, *, sos: bool = True, mos: bool = False) -> bytes:
        """Our entropy input, which makes the SPAN with the peer's next message; `mos` alone only tells of the multicast."""
        values: dict[str, Any] = {}
        if sos:
            local = self.entropy(ENTROPY_INPUT)
            self._peer(peer).set(local=local)
            values["receiver_entropy"] = local
        return make("Security 2 Nonce Report", sequence=self._next_sequence(peer), sos=sos, mos=mos, **values)

    def receive_nonce_get(self, peer: int, data: bytes) -> bytes:
        """The answer to a Nonce Get. Raises DuplicateError, SecurityError."""
        self._new_sequence(peer, self._command(data, "Security 2 Nonce Get")["sequence"])
        return self.nonce_report(peer)

    def receive_nonce_report(self, peer: int, data: bytes) -> NonceReport:
        """Take the peer's entropy input. Raises DuplicateError, SecurityError."""
        command = self._command(data, "Security 2 Nonce Report")
        self._new_sequence(peer, command["sequence"])
        if command["sos"]:
            self._peer(peer).set(remote=command["receiver_entropy"])
        return NonceReport(command["sos"], command["mos"])

    # One peer

    def seal(
        self,
        peer: int,
        payload: bytes,
        now: float,
        security_class: SecurityClass | None = None,
        group: int | None = None,
        mpan: int | None = None,
    ) -> bytes:
        """The encapsulated `payload`. Raises NoSpanError.

        `security_class` None takes the SPAN's, or the most trusted one. `group` follows up a multicast of ours; `mpan` gives the peer
        the state of that group of ours.
        """
        state = self._peer(peer)
        clear: list[Extension] = []
        if state.remote is not None:
            sender = self.entropy(ENTROPY_INPUT)
            chosen = security_class or self._best(state)
            state.set(span=self._span(chosen, self._keys(state, chosen), sender, state.remote))
            clear.append(Extension(ExtensionType.SPAN, sender))
        span = state.span
        if span is None or security_class not in (None, span.security_class):
            raise NoSpanError("the peer's nonce is not known")
        if group is not None:
            clear.append(Extension(ExtensionType.MGRP, bytes((group,))))
        if None in state.groups.values():
            clear.append(Extension(ExtensionType.MOS, critical=False))
        hidden = [] if mpan is None else [Extension(ExtensionType.MPAN, bytes((mpan,)) + self._groups[mpan].state)]
        nonce = span.next()
        span.crossing = (nonce, now + CROSSING)
        sequence = self._next_sequence(peer)
        return self._encapsulate(span.keys, nonce, (self.own, peer), sequence, clear, hidden, payload)

    def open(self, peer: int, data: bytes, now: float) -> Opened | Resync:
        """A message of one sender to us alone. Raises DuplicateError, SecurityError for what is to be dropped silently."""
        body = self._body(data)
        state = self._peer(peer)
        if body.sequence == state.received:
            raise DuplicateError("a duplicate")
        aad = associated(peer, self.own, self.home_id, len(data) - _HEADER, body.clear)
        plain = self._decrypt(state, body, aad, now)
        if plain is None:
            fresh = state.span is None and state.local is not None and body.extension(ExtensionType.SPAN) is not None
            answer = self.nonce_report(peer, mos=None in state.groups.values())
            return Resync("no nonce reads it", answer, fresh)
        state.received = body.sequence
        extensions = body.extensions
        if body.has_encrypted:
            hidden, plain = decode_extensions(plain)
            extensions += hidden
        if any(one.critical and not one.understood for one in extensions):
            raise SecurityError("a critical extension is unknown")
        self._take_groups(state, extensions)
        return Opened(
            plain,
            state.span.security_class if state.span else None,
            _group_id(extensions),
            find(extensions, ExtensionType.MOS) is not None,
        )

    @staticmethod
    def _take_groups(state: _Peer, extensions: Sequence[Extension]) -> None:
        mpan = find(extensions, ExtensionType.MPAN)
        group = _group_id(extensions)
        if mpan is not None and state.span is not None and state.span.keys.mpan:
            if len(state.groups) >= GROUPS and mpan[0] not in state.groups:
                del state.groups[next(iter(state.groups))]
            state.groups[mpan[0]] = (state.span.keys, mpan[1:])
        elif group is not None and (known := state.groups.get(group)) is not None:
            state.groups[group] = (known[0], _increment(known[1]))
        elif group is None:  # the peer has gone on without us: it does not care for that group any more
            state.groups = {number: one for number, one in state.groups.items() if one is not None}

    def _decrypt(self, state: _Peer, body: Body, aad: bytes, now: float) -> bytes | None:
        sender = body.extension(ExtensionType.SPAN)
        if state.span is not None:
            tries = ATTEMPTS_FOLLOW_UP if sender or body.extension(ExtensionType.MGRP) else ATTEMPTS
            return self._with_span(state.span, body, aad, tries, now)
        if state.local is None or sender is None:
            return None
        for one in self._possible(state):
            span = self._span(one, self._keys(state, one), sender, state.local)
            plain = _try(span.keys, span.next(), body, aad)
            if plain is not None:
                state.set(span=span)
                return plain
        return None

    @staticmethod
    def _with_span(span: _Span, body: Body, aad: bytes, tries: int, now: float) -> bytes | None:
        crossing, span.crossing = span.crossing, None
        if crossing is not None and now < crossing[1]:
            plain = _try(span.keys, crossing[0], body, aad)
            if plain is not None:
                return plain
        ahead = span.generator.copy()
        for _ in range(tries):
            plain = _try(span.keys, ahead.generate(BLOCK)[:NONCE], body, aad)
            if plain is not None:
                span.generator = ahead
                return plain
        return None

    # Groups

    def create_group(self, members: Iterable[int], security_class: SecurityClass) -> int:
        """A multicast group of ours; an old one with the same members and class is used again. Raises SecurityError after 255."""
        wanted = tuple(sorted(members))
        for number, group in self._groups.items():
            if (group.members, group.security_class) == (wanted, security_class):
                return number
        free = next((number for number in range(1, 256) if number not in self._groups), None)
        if free is None:
            raise SecurityError("all multicast groups are in use")
        self._groups[free] = _Group(wanted, security_class, self.entropy(BLOCK), self.entropy(1)[0])
        return free

    def seal_multicast(self, group: int, payload: bytes) -> bytes:
        """The encapsulated `payload` for all members; singlecasts with `group` follow, then `advance_group`."""
        state = self._groups[group]
        keys = self.keys[state.security_class]
        nonce = aes_ecb(keys.mpan, state.state)[:NONCE]
        self.advance_group(group)
        state.sequence = state.sequence + 1 & 0xFF
        clear = [Extension(ExtensionType.MGRP, bytes((group,)))]
        return self._encapsulate(keys, nonce, (self.own, group), state.sequence, clear, [], payload)

    def advance_group(self, group: int) -> None:
        """The members step on with each singlecast that follows up; so do we, once."""
        self._groups[group].state = _increment(self._groups[group].state)

    def open_multicast(self, peer: int, data: bytes) -> Opened:
        """A multicast of `peer`. Raises SecurityError; our next message to it says then that we are out of sync."""
        body = self._body(data)
        number = _group_id(body.extensions)
        if number is None:
            raise SecurityError("a multicast without its group")
        state = self._peer(peer)
        if len(state.groups) >= GROUPS and number not in state.groups:
            raise SecurityError("too many multicast groups")
        known = state.groups.get(number)
        if known is not None:
            keys, current = known
            aad = associated(peer, number, self.home_id, len(data) - _HEADER, body.clear)
            for _ in range(ATTEMPTS):
                plain = _try(keys, aes_ecb(keys.mpan, current)[:NONCE], body, aad)
                current = _increment(current)
                if plain is not None:
                    state.groups[number] = (keys, current)
                    return Opened(plain, None, number)
        state.groups[number] = None
        raise SecurityError("the state of the multicast group is not known")

    # Inside

    def _encapsulate(
        self,
        keys: Keys,
        nonce: bytes,
        way: tuple[int, int],
        sequence: int,
        clear: list[Extension],
        hidden: list[Extension],
        payload: bytes,
    ) -> bytes:
        begin = head(sequence, clear, encrypted=bool(hidden))
        plain = encode_extensions(hidden) + payload
        aad = associated(*way, self.home_id, len(begin) + len(plain) + TAG, begin)
        body = begin + ccm_encrypt(keys.ccm, nonce, plain, aad)
        return make("Security 2 Message Encapsulation", sequence=body[0], body=body[1:])

    def _body(self, data: bytes) -> Body:
        self._command(data, "Security 2 Message Encapsulation")
        return parse(data[_HEADER:])

    @staticmethod
    def _command(data: bytes, name: str) -> Command:
        try:
            command = decode(data)
        except LayoutError as error:
            raise SecurityError(str(error)) from error
        if not isinstance(command, Command) or command.name != name:
            raise SecurityError(f"no {name}")
        return command

    def _peer(self, peer: int) -> _Peer:
        return self._peers.setdefault(peer, _Peer())

    def _next_sequence(self, peer: int) -> int:
        state = self._peer(peer)
        state.sent = self.entropy(1)[0] if state.sent is None else state.sent + 1 & 0xFF
        return state.sent

    def _new_sequence(self, peer: int, sequence: int) -> None:
        state = self._peer(peer)
        if sequence in (state.asked, state.received):
            raise DuplicateError("a duplicate")
        state.asked = sequence

    def _possible(self, state: _Peer) -> list[SecurityClass]:
        """Classes to try on a first message, the temporary one first."""
        first = [] if state.temporary is None else [SecurityClass.TEMPORARY]
        return first + [one for one in state.granted if one in self.keys]

    def _best(self, state: _Peer) -> SecurityClass:
        possible = self._possible(state)
        if not possible:
            raise SecurityError("no security class is granted")
        return possible[0]

    def _keys(self, state: _Peer, security_class: SecurityClass) -> Keys:
        keys = state.temporary if security_class is SecurityClass.TEMPORARY else self.keys.get(security_class)
        if keys is None:
            raise SecurityError(f"there is no key for {security_class.name}")
        return keys

    @staticmethod
    def _span(security_class: SecurityClass, keys: Keys, sender: bytes, receiver: bytes) -> _Span:
        generator = CtrDrbg.instantiate(mixed_entropy(sender, receiver), keys.personalization)
        return _Span(security_class, generator, keys)


def _try(keys: Keys, nonce: bytes, body: Body, aad: bytes) -> bytes | None:
    try:
        return ccm_decrypt(keys.ccm, nonce, body.sealed, aad)
    except SecurityError:
        return None


def _group_id(extensions: Sequence[Extension]) -> int | None:
    found = find(extensions, ExtensionType.MGRP)
    return None if found is None else found[0]


def _increment(state: bytes) -> bytes:
    return ((int.from_bytes(state, "big") + 1) % (1 << 8 * BLOCK)).to_bytes(BLOCK, "big")
