"""The gate: listens with TLS, knows each client by its certificate, and gives the broker behind it what AWS IoT Core has."""

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.sim.gate import packets
from agent.sim.gate.faults import Faults
from agent.sim.gate.packets import Connect, Framer, MalformedPacketError
from agent.sim.gate.policy import Presence, Principal
from agent.sim.gate.session import AUTH_ERROR, CHUNK, DUPLICATE, SERVER_ERROR, SERVER_INITIATED, Session, Upstream

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CONNECT_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the gate asks and tells. `admit`: the principal of a certificate (DER), None to refuse it."""

    admit: Callable[[bytes], Principal | None]
    heard: Callable[[Session, str, bytes], None]
    present: Callable[[Presence], None]


class Gate:
    """Connected clients by client id. `certificate` and `key`: files of the server; `trusted`: PEM of CAs for clients."""

    def __init__(self, upstream: Upstream, callbacks: Callbacks, faults: Faults) -> None:
        self._upstream, self._callbacks, self._faults = upstream, callbacks, faults
        self._sessions: dict[str, Session] = {}
        self._numbers: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a registered certificate needs no CA
        self.refused: Counter[str] = Counter()
        self.port = 0

    def trust(self, pem: str) -> None:
        """Let clients connect whose certificate is this one, or is signed by it; whether they may is for `admit`."""
        with contextlib.suppress(ssl.SSLError):  # there already
            self._context.load_verify_locations(cadata=pem)

    async def start(self, certificate: Path, key: Path, port: int = 0) -> None:
        """Listen on loopback. Raises OSError when the port is taken."""
        self._context.load_cert_chain(certificate, key)
        self._server = await asyncio.start_server(self._client, LOOPBACK, port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        sessions = list(self._sessions.values())
        for session in sessions:
            session.end(SERVER_INITIATED)
        await asyncio.gather(*(session.over.wait() for session in sessions))
        if self._server is not None:
            self._server.close()

    def drop(self, gone: Callable[[Principal], bool]) -> None:
        """End the connections of those whose certificate counts no more."""
        for session in list(self._sessions.values()):
            if gone(session.principal):
                session.end(AUTH_ERROR)

    # ---- one client -------------------------------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, ssl.SSLError, MalformedPacketError, TimeoutError) as error:
            self._refuse("broken", str(error))
        finally:
            writer.close()

    def _refuse(self, why: str, detail: str) -> None:
        self.refused[why] += 1
        log.info("a client is refused: %s %s", why, detail)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        principal = self._callbacks.admit(certificate)
        if principal is None or principal.expires <= time.time():
            self._refuse("certificate", "it is not active")  # AWS IoT Core closes without a word
            return
        framer, connect = await _first(reader)
        if connect.v5 and not self._upstream.v5:
            self._refuse("protocol version", "the broker speaks MQTT 3.1.1")
            writer.write(packets.connack(packets.CONNACK_VERSION, v5=True))
            await writer.drain()
            return
        if not principal.policy.may_connect(connect.client_id):
            self._refuse("client id", f"{connect.client_id!r} of {principal.name}")
            writer.write(packets.connack(packets.CONNACK_REFUSED[connect.v5], v5=connect.v5))
            await writer.drain()
            return
        while (before := self._sessions.get(connect.client_id)) is not None:
            before.end(DUPLICATE)
            await before.over.wait()
        session = Session(principal, connect, (reader, writer), self._upstream, self._callbacks.heard, self._faults)
        self._sessions[connect.client_id] = session
        await self._run(session, framer)
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.drain()

    async def _run(self, session: Session, framer: Framer) -> None:
        name, label, is_there = session.client_id, secrets.token_hex(16), False

        def present(reason: str = "") -> None:
            self._numbers[name] += 1
            event = Presence(name, session.principal, label, self._numbers[name], time.time(), reason)
            self._callbacks.present(event)

        def connected() -> None:
            nonlocal is_there
            is_there = True
            present()

        reason = SERVER_ERROR
        try:
            reason = await session.run(framer, connected)
        finally:
            if self._sessions.get(name) is session:
                del self._sessions[name]
            session.over.set()
            if is_there:
                present(reason)


async def _first(reader: asyncio.StreamReader) -> tuple[Framer, Connect]:
    """The CONNECT, and the framer that may hold what came with it. Raises MalformedPacketError, TimeoutError, OSError."""
    framer = Framer()
    async with asyncio.timeout(CONNECT_WITHIN):
        while data := await reader.read(CHUNK):
            for packet in framer.feed(data):
                return framer, Connect.decode(packet)
    raise MalformedPacketError("closed before CONNECT")
