"""The device's end of OSCORE (RFC 8613) and of DTLS with a pre-shared key. Not the driver's code: the ends are proved against each other."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

from aiocoap import oscore
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

MTU, DATAGRAM = 1232, 16384
AHEAD = 1000  # sequence numbers between what is used and what is saved
_HEADER = 13
_CIPHERS = b"PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:@SECLEVEL=0"
_CALLBACK = "unsigned int (SSL *, const char *, unsigned char *, unsigned int)"


class DeviceContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]  # aiocoap is not typed
    """The security context as a server. After a restart it knows no replay window and asks for an Echo (B.1.2)."""

    authenticated_claims = ()
    external_aad_is_group = False
    is_signing = False
    responses_send_kid = False

    def __init__(self, spec: dict[str, bytes], number: int, *, window: bool) -> None:
        self.alg_aead = oscore.algorithms["AES-CCM-16-64-128"]
        self.hashfun = oscore.hashfunctions["sha256"]
        self.sender_id, self.recipient_id = spec["recipient"], spec["sender"]  # the hub's words, from the other end
        self.id_context = spec["context"] or None
        self.derive_keys(spec["salt"], spec["secret"])
        self.sender_sequence_number = number
        self.recipient_replay_window = oscore.ReplayWindow(32, lambda: None)
        self.echo_recovery: bytes | None = None if window else secrets.token_bytes(8)
        if window:
            self.recipient_replay_window.initialize_empty()

    def post_seqnoincrease(self) -> None:
        """The simulation saves it, with AHEAD."""


class Door:
    """DTLS sessions of one device, by the peer's address. `heard(peer, datagram)` is told what is decrypted, `write(peer, datagram)` sends."""

    def __init__(
        self, identity: str, psk: bytes, heard: Callable[[Any, bytes], None], write: Callable[[Any, bytes], None]
    ) -> None:
        self._heard, self._write = heard, write
        self._sessions: dict[Any, SSL.Connection] = {}
        self._open: set[Any] = set()
        self._context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        self._context.set_min_proto_version(0xFEFD)  # DTLS 1.2
        self._context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        self._context.set_cipher_list(_CIPHERS)

        def supply(_ssl: Any, name: Any, into: Any, most: int) -> int:
            known = hmac.compare_digest(
                hashlib.sha256(ffi.string(name)).digest(), hashlib.sha256(identity.encode()).digest()
            )
            given = psk if known else secrets.token_bytes(len(psk))  # RFC 4279, 2: a stranger learns no names
            if len(given) > most:
                return 0
            ffi.memmove(into, given, len(given))
            return len(given)

        self._callback = ffi.callback(_CALLBACK, supply)  # lives as long as OpenSSL may call it
        lib.SSL_CTX_set_psk_server_callback(self._context._context, self._callback)  # noqa: SLF001  pyOpenSSL has no way for it

    def take(self, peer: Any, datagram: bytes) -> None:
        """A datagram of a peer; what makes no sense ends its session."""
        if (
            datagram[:1] == b"\x16"
            and datagram[3:5] == b"\0\0"
            and datagram[_HEADER : _HEADER + 1] == b"\x01"
            and peer in self._open
        ):
            self._end(peer)  # a new greeting from where a session was: the hub has restarted
        connection = self._sessions.get(peer) or self._greet(peer)
        connection.bio_write(datagram)
        try:
            if peer not in self._open:
                connection.do_handshake()
                self._open.add(peer)
            while True:
                self._heard(peer, connection.recv(DATAGRAM))
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._flush(peer)
            self._end(peer)
        self._flush(peer)

    def send(self, peer: Any, datagram: bytes) -> None:
        if peer in self._open:
            self._sessions[peer].send(datagram)
            self._flush(peer)

    def forget(self) -> None:
        """The device restarts: all sessions are gone, and nobody is told."""
        self._sessions.clear()
        self._open.clear()

    def _greet(self, peer: Any) -> SSL.Connection:
        connection = self._sessions[peer] = SSL.Connection(self._context, None)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(MTU)
        return connection

    def _end(self, peer: Any) -> None:
        self._sessions.pop(peer, None)
        self._open.discard(peer)

    def _flush(self, peer: Any) -> None:
        connection = self._sessions.get(peer)
        if connection is None:
            return
        stream = b""
        while True:
            try:
                stream += connection.bio_read(4 * DATAGRAM)
            except SSL.WantReadError:
                break
        start = end = 0
        while end < len(stream):
            after = end + _HEADER + int.from_bytes(stream[end + 11 : end + _HEADER], "big")
            if after - start > MTU and end > start:
                self._write(peer, stream[start:end])
                start = end
            end = after
        if stream[start:]:
            self._write(peer, stream[start:])
