"""The WebSocket to a zwave-js-server: introduction, one answer for each request, events. Its only import of aiohttp.

A message that is not what the schema promises costs a counter, never the connection.
"""

import asyncio
import itertools
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aiohttp

from agent.cloud.tls import tls_context
from agent.driver import DeviceUnreachable, DriverLost
from agent.errors import ConfigError
from drivers.zwave.server_json import Json, Malformed, negotiated, record, refusal

log = logging.getLogger(__name__)

CONNECT, HELLO = 10.0, 30.0  # seconds; a server of many nodes takes its time for the whole state
HEARTBEAT = 20.0  # seconds between two pings; a server that leaves one unanswered is gone
ANSWER = 60.0  # seconds for a request that has no time of its own
LARGEST = 1 << 26  # bytes of a message: the state of 232 nodes is some 10 MB
AGENT = {"hub-agent": "1"}
START_SERVER = "start the server (in Z-Wave JS UI: Settings, Home Assistant, WS Server), and check `port`"
CERTIFICATE = (
    "set `ca` to the PEM file of the authority that signed the server's certificate, or correct the host's name"
)
NOT_READY = "wait until its Z-Wave driver has started; its log says what it waits for"

_ENDS = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
_TRY_AGAIN = 1013  # close code: the driver is not ready


class Socket:
    """One connection; `lost` says why it ended."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, place: str) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.place = place
        self.malformed = 0  # messages that were not what the schema promises
        self.schema = 0
        self._socket = socket
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._ids = itertools.count(1)

    # ---- introduction -------------------------------------------------------------------------------------------------

    async def introduce(self) -> Json:
        """Agree on a schema, and ask for everything; the state. Raises DriverLost with the remedy."""
        try:
            async with asyncio.timeout(HELLO):
                version = await self._next()
                self.schema = negotiated(version, self.place)
                log.info(
                    "%s: zwave-js-server %s, zwave-js %s, schema %d",
                    self.place,
                    version.get("serverVersion"),
                    version.get("driverVersion"),
                    self.schema,
                )
                await self._first("initialize", schemaVersion=self.schema, additionalUserAgentComponents=AGENT)
                answer = await self._first("start_listening")
                return record(answer.get("state"), "state")
        except TimeoutError:
            raise DriverLost(f"nothing introduced itself within {HELLO:.0f} s", place=self.place) from None
        except Malformed as error:
            raise DriverLost(f"no zwave-js-server: {error}", place=self.place, remedy=START_SERVER) from error

    async def _first(self, command: str, **arguments: Any) -> Json:
        """A request while nobody reads yet. Raises DriverLost, DriverError, Malformed."""
        await self._send({"messageId": command, "command": command, **arguments})
        while True:
            message = await self._next()
            if message.get("messageId") == command:
                if message.get("success") is not True:
                    raise DriverLost(f"{command}: {refusal(message)}", place=self.place)
                return record(message.get("result"), "result")

    async def _next(self) -> Json:
        """The next message. Raises DriverLost at the end, Malformed."""
        message = await self._socket.receive()
        if message.type in _ENDS:
            self._ended(message)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Malformed("a message that is no text")
        try:
            return record(json.loads(message.data, parse_constant=_constant), "message")
        except (ValueError, RecursionError) as error:
            raise Malformed(f"a message that is no JSON object: {error}") from error

    def _ended(self, message: aiohttp.WSMessage) -> NoReturn:
        code, error = self._socket.close_code, self._socket.exception()
        if code == _TRY_AGAIN:
            raise DriverLost("the server has no Z-Wave driver that is ready", place=self.place, remedy=NOT_READY)
        reason = str(error or message.extra or f"close code {code}")
        raise DriverLost(f"the server closed the connection ({reason})", place=self.place)

    # ---- requests -----------------------------------------------------------------------------------------------------

    async def call(self, command: str, *, limit: float = ANSWER, **arguments: Any) -> Json:
        """The result of a request. Raises DriverError, DeviceUnreachable when no answer came, DriverLost."""
        number = str(next(self._ids))
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"messageId": number, "command": command, **arguments})
            async with asyncio.timeout(limit):
                message = await answer
        except TimeoutError:
            raise DeviceUnreachable(f"no answer to {command} within {limit:.0f} s") from None
        finally:
            del self._waiting[number]
        if message.get("success") is not True:
            raise refusal(message)
        result = message.get("result")
        return result if isinstance(result, dict) else {}

    async def _send(self, message: Json) -> None:
        if self.lost.done():
            raise DriverLost(self.lost.result(), place=self.place)
        try:
            await self._socket.send_str(json.dumps(message))
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise DriverLost(f"the server is gone: {error}", place=self.place) from error

    # ---- what comes ---------------------------------------------------------------------------------------------------

    async def read(self, listener: Callable[[Json], None]) -> None:
        """Give events to `listener` until the connection ends, which `lost` then says."""
        try:
            await self._read(listener)
        finally:
            self.close("nobody reads the connection any more")

    async def _read(self, listener: Callable[[Json], None]) -> None:
        while True:
            try:
                message = await self._next()
                self._take(message, listener)
            except ValueError as error:  # Malformed, or what the catalogue found to be nonsense
                self.malformed += 1
                log.debug("%s: %s", self.place, error)
            except DriverLost as error:
                self.close(error.message)
                return

    def _take(self, message: Json, listener: Callable[[Json], None]) -> None:
        match message.get("type"):
            case "event":
                listener(record(message.get("event"), "event"))
            case "result":
                waiting = self._waiting.get(str(message.get("messageId")))
                if waiting is not None and not waiting.done():  # else nobody waits any more
                    waiting.set_result(message)
            case "version":
                log.debug("%s introduced itself again", self.place)
            case other:
                raise Malformed(f"a message of type {str(other)[:20]!r}")

    def close(self, reason: str) -> None:
        """Nothing more is asked or heard; whoever waits gets DriverLost."""
        if not self.lost.done():
            self.lost.set_result(reason)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(DriverLost(reason, place=self.place))


def _constant(name: str) -> NoReturn:
    """NaN and Infinity are no JSON."""
    raise Malformed(f"{name} is no number")


def tls(ca: str) -> ssl.SSLContext:
    """TLS that checks the server. Raises DriverLost naming the file."""
    try:
        return tls_context(ca=ca, certificate="", key="")
    except ConfigError as error:
        raise DriverLost(error.message, place=error.place, remedy=error.remedy) from error


@asynccontextmanager
async def connected(url: str, ca: str) -> AsyncIterator[Socket]:
    """A connection to a server; closed at the end. Raises DriverLost with the remedy."""
    security = tls(ca) if url.startswith("wss:") else False
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            async with asyncio.timeout(CONNECT):
                found = await session.ws_connect(
                    url, ssl=security, heartbeat=HEARTBEAT, max_msg_size=LARGEST, timeout=_closing()
                )
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise DriverLost(f"TLS: {error}", place=url, remedy=CERTIFICATE) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            text = f"no zwave-js-server answers: {str(error) or 'it is silent'}"
            raise DriverLost(text, place=url, remedy=START_SERVER) from error
        socket = Socket(found, url)
        try:
            yield socket
        finally:
            socket.close("the connection was closed")
            await found.close()


def _closing() -> aiohttp.ClientWSTimeout:
    """A server that is gone does not say goodbye."""
    return aiohttp.ClientWSTimeout(ws_close=1.0)
