"""The command line's end of the control socket: HTTP over a Unix socket with the standard library."""

import http.client
import json
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.control import SOCKET
from agent.errors import HubError, PermissionDeniedError, TryAgainError, UsageError

RESTART, RESTART_LOOK = 180.0, 0.5  # seconds for an agent that restarts for an update, and between two looks
PATIENCE = 30.0  # seconds for the answer to a question: the hub answers from memory


class NotRunningError(HubError):
    """There is no daemon at the control socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, patience: float | None) -> None:
        super().__init__("hub")
        self._path, self._patience = path, patience

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience)
        self.sock.connect(str(self._path))


class Client:
    """Talks to the running daemon whose runtime folder is `folder`. `patience`: seconds for the answer to a `get`."""

    def __init__(self, folder: Path, *, patience: float = PATIENCE) -> None:
        self._path = folder / SOCKET
        self._patience = patience

    def get(self, path: str) -> Any:
        """One JSON answer. Raises HubError with the daemon's own words, TryAgainError when it does not answer."""
        with self._request("GET", path, None) as response:
            return self._parse(response.read())

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """JSON lines as they come; the last one has `done`. Raises HubError, also when the daemon ends before that."""
        done = False
        with self._request("POST", path, body) as response:
            for text in response:
                line = self._parse(text)
                done = bool(line.get("done"))
                yield line
            if not done:
                raise ConnectionError("the answer is cut off")

    def _parse(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConnectionError("the answer is cut off") from error

    @contextmanager
    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Iterator[http.client.HTTPResponse]:
        place, running = str(self._path), False
        with closing(_UnixConnection(self._path, self._patience if body is None else None)) as connection:
            try:
                connection.connect()
                running = True
                connection.request(method, "/" + quote(path), json.dumps(body) if body is not None else None)
                with connection.getresponse() as response:
                    if response.status != http.client.OK:
                        answer = self._parse(response.read())
                        kind = UsageError if response.status == http.client.BAD_REQUEST else HubError
                        raise kind(answer["error"], remedy=answer.get("remedy", ""))
                    yield response
            except PermissionError as error:
                remedy = "run the command as the service's user: sudo -u hub-agent agent ..."
                raise PermissionDeniedError("the control socket is not yours", place=place, remedy=remedy) from error
            except TimeoutError as error:
                remedy = "try again; if it stays so: systemctl restart agent"
                raise TryAgainError("the agent does not answer", place=place, remedy=remedy) from error
            except (OSError, http.client.HTTPException) as error:
                if running:
                    remedy = "its log says why; ask again when it is back: `agent status`"
                    raise HubError(
                        "the agent ended before its answer was complete", place=place, remedy=remedy
                    ) from error
                remedy = "start it with `agent run` (or systemctl start agent), with the same -c FILE"
                raise NotRunningError("the agent is not running", place=place, remedy=remedy) from error


def watch_update(client: Client, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What POST ota tells, until the update is over; the agent's restarts for it are waited for. Raises HubError."""
    last: dict[str, Any] = {}
    end = time.monotonic() + RESTART
    while not last.get("done"):
        try:
            for last in client.stream("ota", body):
                yield last
                end = time.monotonic() + RESTART
        except HubError:
            if not last or time.monotonic() > end:
                raise
            time.sleep(RESTART_LOOK)
        body = {"op": "watch", "key": last["key"]}
