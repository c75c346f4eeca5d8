"""The control socket: HTTP over a Unix socket, for the command line and for programs of this machine. Mode 0600, no network.

One request a connection. Answers are JSON; discover, command and remove answer with one JSON object a line while they run, the last of
which has `"done": true`. What may be asked is one table (agent.console_api); this file knows only HTTP.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11

from agent.errors import HubError, PermissionDeniedError

log = logging.getLogger(__name__)

SOCKET = "control.sock"
MAX_BODY = 1024 * 1024
READ = 65536
PATIENCE = 10.0  # seconds for a request to arrive whole: a stuck client holds no memory


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the API sees it."""

    method: str
    path: tuple[str, ...]
    body: dict[str, Any]


class ApiError(HubError):
    """A request that ends with an HTTP status other than 200."""

    def __init__(self, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


Answer = dict[str, Any] | list[Any] | AsyncGenerator[dict[str, Any]]
Api = Callable[[Call], Awaitable[Answer]]


class ControlServer:
    """Serves `api` on `<folder>/control.sock`."""

    def __init__(self, folder: Path, api: Api) -> None:
        self._path = folder / SOCKET
        self._api = api
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises PermissionDeniedError when the folder cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            self._path.chmod(0o600)
        except OSError as error:
            remedy = "run as the service's user, or set hub.runtime_dir to a folder of yours"
            raise PermissionDeniedError(f"cannot listen: {error}", place=str(self._path), remedy=remedy) from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(PATIENCE):
                call = await _read_call(connection, reader)
            await self._answer(connection, writer, call)
        except (h11.RemoteProtocolError, TimeoutError, ConnectionError, ValueError) as error:
            log.info("control request dropped: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, call: Call) -> None:
        try:
            answer = await self._api(call)
        except ApiError as error:
            _head(connection, writer, error.status, "application/json")
            _data(connection, writer, {"error": error.message, "remedy": error.remedy})
        else:
            if isinstance(answer, dict | list):
                _head(connection, writer, 200, "application/json")
                _data(connection, writer, answer)
            else:
                _head(connection, writer, 200, "application/x-ndjson")
                async with contextlib.aclosing(answer) as lines:
                    async for line in lines:
                        _data(connection, writer, line)
                        await writer.drain()
        _send(connection, writer, h11.EndOfMessage())
        await writer.drain()


async def _read_call(connection: h11.Connection, reader: asyncio.StreamReader) -> Call:
    """One request, whole. Raises ValueError for a body that is no JSON object, h11's error for what is no HTTP."""
    request: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise ValueError(f"request body over {MAX_BODY} bytes")
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            break
        else:
            raise ConnectionError("closed before a request")
    parsed = json.loads(body or b"{}")
    if not isinstance(parsed, dict):
        raise ValueError("request body is no JSON object")  # noqa: TRY004  the value is wrong, not the caller's code
    target = request.target.decode("ascii", "replace")
    return Call(request.method.decode("ascii"), tuple(part for part in target.split("/") if part), parsed)


def _head(connection: h11.Connection, writer: asyncio.StreamWriter, status: int, kind: str) -> None:
    headers = [("content-type", kind), ("transfer-encoding", "chunked"), ("connection", "close")]
    _send(connection, writer, h11.Response(status_code=status, headers=headers))


def _data(connection: h11.Connection, writer: asyncio.StreamWriter, value: Any) -> None:
    _send(connection, writer, h11.Data(data=json.dumps(value, ensure_ascii=False).encode() + b"\n"))


def _send(connection: h11.Connection, writer: asyncio.StreamWriter, event: Any) -> None:
    data = connection.send(event)
    if data:
        writer.write(data)
