"""The control socket: HTTP over a Unix socket, for the command line and for programs of this machine. Mode 0600, no network.

One request a connection; what comes after it is not read. Answers are JSON; what takes time (every POST) answers with one JSON object a
line while it runs, the last of which has `"done": true`. Whoever closes the connection, or only its sending half, has gone: the lines
end there, and what they held open (a join window) is let go. An error is `{"error", "remedy"}` with a status of 400 or more.
What may be asked is one table (agent.console_api); this file knows only HTTP.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h11

from agent.errors import HubError, PermissionDeniedError, TryAgainError

log = logging.getLogger(__name__)

SOCKET = "control.sock"
MAX_BODY = 1024 * 1024
READ = 65536
PATIENCE = 10.0  # seconds for a request to arrive whole, and for an answer to be taken: a stuck client holds no memory
BACKLOG = 100
_NEW = "control.new"  # the socket's name until it has its mode


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the API sees it: path without query, its parts unquoted."""

    method: str
    path: tuple[str, ...]
    body: dict[str, Any]


class ApiError(HubError):
    """A request that ends with an HTTP status other than 200. `allow`: the methods that the path has (405)."""

    def __init__(self, status: int, message: str, *, remedy: str = "", allow: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.allow = allow


Answer = dict[str, Any] | list[Any] | AsyncGenerator[dict[str, Any]]
Api = Callable[[Call], Awaitable[Answer]]


class ControlServer:
    """Serves `api` on `<folder>/control.sock`. `patience`: seconds that a client may keep it waiting."""

    def __init__(self, folder: Path, api: Api, *, patience: float = PATIENCE) -> None:
        self._path = folder / SOCKET
        self._api = api
        self._patience = patience
        self._server: asyncio.Server | None = None
        self._exchanges: set[_Exchange] = set()
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Listen. Raises TryAgainError when another agent does, PermissionDeniedError when the folder cannot be written."""
        loop = asyncio.get_running_loop()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if _answers(self._path):
                remedy = "stop it (systemctl stop agent), or give this one its own hub.runtime_dir"
                raise TryAgainError("another agent is running here", place=str(self._path), remedy=remedy)
            self._server = await loop.create_unix_server(self._protocol, sock=_bind(self._path), backlog=BACKLOG)
        except OSError as error:
            remedy = "run as the service's user, or set hub.runtime_dir to a folder of yours"
            raise PermissionDeniedError(f"cannot listen: {error}", place=str(self._path), remedy=remedy) from error

    async def stop(self) -> None:
        """Hear nobody any more; whoever still waits for an answer sees it cut off."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        for exchange in self._exchanges:
            exchange.abort()
        while self._exchanges:
            self._idle.clear()
            await self._idle.wait()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(), self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)  # noqa: S101  _protocol makes no other
        exchange = _Exchange(reader, writer, self._patience)
        self._exchanges.add(exchange)
        try:
            await self._answer(exchange)
        except ConnectionError as error:
            log.info("a client of the control socket has gone: %s", error)
        finally:
            await exchange.close()
            self._exchanges.discard(exchange)
            self._idle.set()

    async def _answer(self, exchange: "_Exchange") -> None:
        try:
            answer = await self._api(await exchange.read())
            if isinstance(answer, dict | list):
                await exchange.send(200, answer)
            else:
                await exchange.stream(answer)
        except HubError as error:
            log.info("control request refused: %s", error)
            await exchange.refuse(error)
        except ConnectionError:
            raise
        except (
            Exception
        ):  # a bug in the answer to a question is told to both sides; it is no reason to end a hub that works
            log.exception("a control request failed")
            await exchange.refuse(ApiError(500, "the agent has a bug here", remedy="the agent's log says where"))


class _Reader(asyncio.StreamReader):
    """A reader that also says at once that the client has gone, so that an answer need not wait for its next line."""

    ended = False
    on_end: Callable[[], None] | None = None

    def feed_eof(self) -> None:
        super().feed_eof()
        self._end()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._end()

    def _end(self) -> None:
        self.ended = True
        if self.on_end is not None:
            self.on_end()


class _Exchange:
    """One request and its answer on one connection. Raises ConnectionError when the client has gone or does not read."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter, patience: float) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience
        self._http = h11.Connection(h11.SERVER)
        self._method = b""
        self._begun = False

    async def read(self) -> Call:
        """The request, whole. Raises ApiError for what is no request."""
        try:
            async with asyncio.timeout(self._patience):
                request, body = await self._request()
        except TimeoutError:
            raise ApiError(408, f"the request did not arrive within {self._patience:g} s") from None
        except h11.RemoteProtocolError as error:
            raise ApiError(error.error_status_hint, f"no HTTP request: {error}") from None
        try:
            path = urlsplit(request.target.decode("ascii")).path
        except ValueError as error:
            raise ApiError(400, f"no path: {error}") from None
        parts = tuple(unquote(part) for part in path.split("/") if part)
        return Call(request.method.decode("ascii"), parts, parse_body(body))

    async def _request(self) -> tuple[h11.Request, bytes]:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ))
            elif isinstance(event, h11.Request):
                if event.method == b"CONNECT":
                    raise ApiError(405, "the agent is no proxy")
                request, self._method = event, event.method
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise ApiError(413, f"the request's body is over {MAX_BODY} bytes")
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                raise ConnectionError("closed before a request")

    async def send(self, status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A whole answer."""
        self._head(status, "application/json", *headers)
        self._line(value)
        self._write(h11.EndOfMessage())
        await self._drain()

    async def refuse(self, error: HubError) -> None:
        """The answer of an error; then what the client still sends is read away, so that it gets to reading the answer.

        In the middle of an answer nothing can be said any more: the client sees that it is cut off.
        """
        if self._begun:
            return
        status = error.status if isinstance(error, ApiError) else 503
        allow = (("allow", ", ".join(error.allow)),) if isinstance(error, ApiError) and error.allow else ()
        await self.send(status, {"error": error.message, "remedy": error.remedy}, allow)
        with contextlib.suppress(TimeoutError, OSError):
            self._writer.write_eof()
            async with asyncio.timeout(self._patience):
                while await self._reader.read(READ):
                    pass

    async def stream(self, answer: AsyncGenerator[dict[str, Any]]) -> None:
        """One line for each object of `answer`, until it ends or the client has gone."""
        self._head(200, "application/x-ndjson")
        try:
            async with asyncio.timeout(None) as presence, contextlib.aclosing(answer) as lines:
                self._reader.on_end = lambda: presence.reschedule(0.0)
                if self._reader.ended:
                    raise ConnectionError("closed before the answer")
                async for line in lines:
                    self._line(line)
                    await self._drain()
        except TimeoutError:
            raise ConnectionError("closed before the end of the answer") from None
        finally:
            self._reader.on_end = None
        self._write(h11.EndOfMessage())
        await self._drain()

    def abort(self) -> None:
        """Cut the connection; whoever uses it sees that the client has gone."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close, in order if the client takes what is still to be sent."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._patience):
                await self._writer.wait_closed()
        except TimeoutError:
            self.abort()
        except ConnectionError:
            return

    def _head(self, status: int, kind: str, *more: tuple[str, str]) -> None:
        self._begun = True
        headers = [("content-type", kind), ("transfer-encoding", "chunked"), ("connection", "close"), *more]
        self._write(h11.Response(status_code=status, headers=headers))

    def _line(self, value: Any) -> None:
        if self._method != b"HEAD":  # whose answer is a head only
            self._write(h11.Data(data=json.dumps(value, ensure_ascii=False).encode() + b"\n"))

    def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._writer.drain()
        except TimeoutError:
            raise ConnectionError("it does not read its answer") from None


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request (none: empty). Raises ApiError 400 for anything else; what it returns can be written as UTF-8."""
    try:
        parsed = json.loads(body or b"{}", parse_constant=_no_number)
        json.dumps(parsed, ensure_ascii=False).encode()  # a lone surrogate is legal in JSON and nowhere else
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the request's body is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ApiError(400, "the request's body is no JSON object")
    return parsed


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _answers(path: Path) -> bool:
    """Whether somebody listens at `path`; a socket left by a process that was killed has nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # its queue is full
    return True


def _bind(path: Path) -> socket.socket:
    """A socket that has its mode before it has its name: at no moment may another user connect."""
    new = path.with_name(_NEW)
    new.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(new))
        new.chmod(0o600)
        sock.listen(BACKLOG)  # before it is found: whoever connects is heard
        new.replace(path)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
