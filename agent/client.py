"""The command line's end of the control socket: HTTP over a Unix socket with the standard library."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from agent.control import SOCKET
from agent.errors import HubError, PermissionDeniedError, UsageError


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("hub")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Client:
    """Talks to the running daemon whose runtime folder is `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET

    def get(self, path: str) -> Any:
        """One JSON answer. Raises HubError with the daemon's own words."""
        with self._request("GET", path, None) as response:
            return json.loads(response.read())

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """JSON lines as they come; the last one has `done`."""
        with self._request("POST", path, body) as response:
            for line in response:
                yield json.loads(line)

    @contextmanager
    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Iterator[http.client.HTTPResponse]:
        with closing(_UnixConnection(self._path)) as connection:
            try:
                connection.request(method, "/" + path, json.dumps(body) if body is not None else None)
                response = connection.getresponse()
            except PermissionError as error:
                remedy = "run the command as the service's user: sudo -u hub-agent agent ..."
                place = str(self._path)
                raise PermissionDeniedError("the control socket is not yours", place=place, remedy=remedy) from error
            except (OSError, http.client.HTTPException) as error:
                remedy = "start it with `agent run` (or systemctl start agent), with the same -c FILE"
                raise HubError("the agent is not running", place=str(self._path), remedy=remedy) from error
            with response:
                if response.status != http.client.OK:
                    answer = json.loads(response.read())
                    kind = UsageError if response.status == http.client.BAD_REQUEST else HubError
                    raise kind(answer["error"], remedy=answer.get("remedy", ""))
                yield response
