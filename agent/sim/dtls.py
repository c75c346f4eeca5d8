"""A DTLS 1.2 door over UDP on loopback, with a server certificate only: cookies first, then one session for each peer's address.

RFC 6347. OpenSSL sees memory and no socket, so records are put into datagrams here. Who shows no cookie costs no memory.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

from OpenSSL import SSL, crypto

from agent.coap.dtls import DATAGRAM, DTLS_1_2, MTU, TICK, datagrams, leaving

LOOPBACK = "127.0.0.1"
SESSIONS = 1000
IDLE = 3600.0  # seconds without a word of the peer
HANDSHAKE = 30.0  # seconds
_HEADER = 13  # bytes of a record's header
_HANDSHAKE_RECORD = 22
_HELLO = 1  # handshake type of a ClientHello

Address = tuple[str, int]


class Session:
    """One peer's session; `open` after the handshake."""

    def __init__(
        self, connection: SSL.Connection, peer: Address, now: float, write: Callable[[bytes, Address], None]
    ) -> None:
        self.peer = peer
        self.open = False
        self.heard = now
        self._connection = connection
        self._write = write

    def send(self, datagram: bytes) -> None:
        """Encrypt and send; nothing happens once the session has ended."""
        try:
            self._connection.send(datagram)
        except SSL.Error:
            return
        self.flush()

    def take(self, datagram: bytes, heard: Callable[[bytes], None]) -> None:
        """Go on with a datagram of the peer; `heard` is told each decrypted one. Raises SSL.Error at the end of the session."""
        if datagram:
            self._connection.bio_write(datagram)
        try:
            if not self.open:
                self._connection.do_handshake()
                self.open = True
            while True:
                heard(self._connection.recv(DATAGRAM))
        except SSL.WantReadError:
            return
        finally:
            self.flush()

    def repeat(self) -> None:
        """Send the last flight again when its time has come. Raises SSL.Error when it was sent too often."""
        if self._connection.DTLSv1_handle_timeout():
            self.flush()

    def close(self) -> None:
        """Tell the peer that this is the end."""
        if self.open:
            try:
                self._connection.shutdown()
            except SSL.Error:
                return
            self.flush()

    def flush(self) -> None:
        for datagram in datagrams(leaving(self._connection)):
            self._write(datagram, self.peer)


class DtlsDoor(asyncio.DatagramProtocol):
    """Sessions by peer. `heard(session, datagram)` is told what peers send, `ended(session)` that an open session is over.

    `refused` counts the datagrams that belonged to nothing.
    """

    def __init__(
        self,
        certificate: str,
        key: str,
        heard: Callable[[Session, bytes], None],
        ended: Callable[[Session], None],
        *,
        limit: int = SESSIONS,
        idle: float = IDLE,
    ) -> None:
        self._heard, self._ended = heard, ended
        self._limit, self._idle = limit, idle
        self._context = _context(certificate, key)
        self._listener = self._connection()
        self._sessions: OrderedDict[Address, Session] = OrderedDict()  # who was heard last comes last
        self._greeting: set[Session] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.refused = 0

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; returns the port. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        transport, _ = await self._loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, port))
        self._transport = transport
        self._timer = self._loop.call_later(TICK, self._tick)
        return int(transport.get_extra_info("sockname")[1])

    def stop(self) -> None:
        for session in list(self._sessions.values()):
            self._end(session)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        session = self._sessions.get(addr)
        if not 0 < len(data) <= DATAGRAM:
            self.refused += 1
        elif session is None or _begins(data, anew=not session.open):
            self._greet(data, addr)
        else:
            self._feed(session, data)

    def _greet(self, data: bytes, peer: Address) -> None:
        """Without state: a hello is answered with a cookie, a hello with the cookie makes a session, in the place of an older one."""
        listener = self._listener
        listener.set_app_data(peer)
        listener.bio_write(data)
        try:
            listener.DTLSv1_listen()
        except SSL.Error:
            answer = leaving(listener)
            if answer:
                self._write(answer, peer)
            else:
                self.refused += 1
                self._forget(listener)
            return
        self._listener = self._connection()
        if peer in self._sessions:
            self._end(self._sessions[peer], tell=False)
        while len(self._sessions) >= self._limit:
            self._end(next(iter(self._sessions.values())))
        session = Session(listener, peer, self._loop.time(), self._write)
        self._sessions[peer] = session
        self._greeting.add(session)
        self._feed(session, b"")  # the hello waits inside OpenSSL

    @staticmethod
    def _forget(listener: SSL.Connection) -> None:
        """Empty the thread's queue of OpenSSL errors, as the handshake's state machine does before anything else.

        A datagram that was ignored leaves its errors there, and OpenSSL before 4.0 would find them in the next session's call.
        """
        try:
            listener.do_handshake()
        except SSL.Error:
            return

    def _feed(self, session: Session, data: bytes) -> None:
        def heard(datagram: bytes) -> None:
            session.heard = self._loop.time()
            self._sessions.move_to_end(session.peer)
            self._heard(session, datagram)

        try:
            session.take(data, heard)
        except SSL.Error:
            self._end(session)
        if session.open:
            self._greeting.discard(session)

    def _end(self, session: Session, *, tell: bool = True) -> None:
        self._sessions.pop(session.peer, None)
        self._greeting.discard(session)
        if tell:
            session.close()
        if session.open:
            self._ended(session)

    def _tick(self) -> None:
        now = self._loop.time()
        for session in list(self._greeting):
            try:
                session.repeat()
            except SSL.Error:
                self._end(session)
            if session.heard + HANDSHAKE < now:
                self._end(session)
        while self._sessions and (oldest := next(iter(self._sessions.values()))).heard + self._idle < now:
            self._end(oldest)
        self._timer = self._loop.call_later(TICK, self._tick)

    def _write(self, datagram: bytes, peer: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(datagram, peer)

    def _connection(self) -> SSL.Connection:
        made = SSL.Connection(self._context, None)
        made.set_accept_state()
        made.set_ciphertext_mtu(MTU)
        return made


def _begins(data: bytes, *, anew: bool) -> bool:
    """True for a ClientHello in the clear; with `anew` only for one without a cookie, as the other one may be a repetition."""
    hello = (
        len(data) > _HEADER + 6 and data[0] == _HANDSHAKE_RECORD and data[3:5] == b"\0\0" and data[_HEADER] == _HELLO
    )
    return hello and not (anew and data[_HEADER + 4 : _HEADER + 6] != b"\0\0")


def _context(certificate: str, key: str) -> SSL.Context:
    secret = secrets.token_bytes(32)

    def cookie(connection: SSL.Connection) -> bytes:
        return hmac.digest(secret, repr(connection.get_app_data()).encode(), hashlib.sha256)

    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_min_proto_version(DTLS_1_2)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, certificate.encode()).to_cryptography())
    private = crypto.load_privatekey(crypto.FILETYPE_PEM, key.encode()).to_cryptography_key()
    context.use_privatekey(private)  # type: ignore[arg-type]  # the declared type has public keys too
    context.set_cookie_generate_callback(cookie)
    context.set_cookie_verify_callback(lambda connection, given: hmac.compare_digest(cookie(connection), given))
    return context
