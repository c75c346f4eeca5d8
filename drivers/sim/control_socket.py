"""The control socket of a simulated radio: JSON lines on a Unix socket, one answer for each request."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.errors import HubError
from drivers.sim.requests import ControlError

Json = dict[str, Any]

LONGEST_REQUEST = 1 << 20  # octets of a line


class ControlSocket:
    """Beside the radio's port `link`, as `<link>.control`."""

    def __init__(self, link: Path, control: Callable[[Json], Awaitable[Json]]) -> None:
        self.path = link.with_name(link.name + ".control")
        self._control = control
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LONGEST_REQUEST)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except ValueError:
            writer.write(json.dumps({"error": f"a line has at most {LONGEST_REQUEST} octets"}).encode() + b"\n")
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Json:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"error": f"no JSON: {error}"}
        if not isinstance(request, dict):
            return {"error": 'a request is an object, for example {"op": "list"}'}
        try:
            return await self._control(request)
        except (ControlError, HubError) as error:
            return {"error": str(error)}
