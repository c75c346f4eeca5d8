"""The stand-in's HTTP face: one port on loopback, one path prefix for each API, objects to download with Range, and a page for people."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.files import write_atomic
from agent.sim.exchange import Answer, Ask, Handle

MAX_BODY = 24 * 1024 * 1024  # the vault takes files of 20 MB
MAX_LINE = 128 * 1024  # a NextToken may have 65,535 characters
MANAGED_INTEGRATIONS = "/managed-integrations"
BULK_CERTIFICATES = "/bulk-certificates"
VAULT = "/vault"
NRF = "/nrf"
NRF_PROVISIONING = "/nrf-provisioning"
OBJECTS = "/s3"
REFRESH = 0.3  # seconds between looks at what has changed
SILENCE = 15.0  # seconds after which a page that has nothing new is spoken to
_HOSTS = ("127.0.0.1", "localhost")


class HttpServer:
    """Serves `apis` (path prefix -> handler), the files of `objects`, and the page: `look` gives (version, content), `press` a button."""

    def __init__(
        self,
        apis: dict[str, Handle],
        objects: Path,
        look: Callable[[], tuple[int, Callable[[], Any]]],
        press: Callable[[bytes], Answer],
    ) -> None:
        self._apis, self._look, self._press = apis, look, press
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY)
        objects.mkdir(parents=True, exist_ok=True)
        self._objects = objects
        app.router.add_put(OBJECTS + "/{bucket}/{key:.+}", self._put)
        app.router.add_static(OBJECTS, objects)
        app.router.add_get("/", self._page)
        app.router.add_post("/console", self._button)
        app.router.add_get("/console/events", self._events)
        app.router.add_route("*", "/{anything:.*}", self._api)
        self._runner = web.AppRunner(app, access_log=None, max_line_size=MAX_LINE)

    async def start(self, port: int) -> int:
        """Listen on loopback; returns the port. Raises OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        self._stopping.set()
        await self._runner.cleanup()

    async def _api(self, request: web.Request) -> web.Response:
        path, _, _ = request.raw_path.partition("?")
        for prefix, handle in self._apis.items():
            if path.startswith(f"{prefix}/"):
                query = {name: request.query.getall(name) for name in request.query}
                headers = {name.lower(): value for name, value in request.headers.items()}
                return _response(
                    handle(Ask(request.method, path.removeprefix(prefix), query, headers, await request.read()))
                )
        known = ", ".join(f"{prefix}/" for prefix in self._apis)
        return web.json_response({"message": f"nothing is here; the APIs are under {known}"}, status=404)

    async def _put(self, request: web.Request) -> web.Response:
        """S3's PutObject, path style: what boto3's `put_object` sends."""
        _same_machine(request)
        body = await request.read()
        path = (self._objects / request.match_info["bucket"] / request.match_info["key"]).resolve()
        if not path.is_relative_to(self._objects.resolve()) or "content-encoding" in request.headers:
            raise web.HTTPBadRequest
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, body)
        return web.Response(headers={"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})

    # ---- the page ---------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        _same_machine(request)
        page = resources.files("agent.sim") / "page.html"
        return web.Response(body=page.read_bytes(), content_type="text/html", charset="utf-8")

    async def _button(self, request: web.Request) -> web.Response:
        _same_machine(request)
        if request.content_type != "application/json":  # what a form of a foreign page cannot send
            raise web.HTTPUnsupportedMediaType
        return _response(self._press(await request.read()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the whole content whenever it has changed."""
        _same_machine(request)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        shown, silent = -1, 0.0
        while not self._stopping.is_set():
            version, content = self._look()
            if version != shown:
                shown, silent = version, 0.0
                await stream.write(f"data: {json.dumps(content())}\n\n".encode())
            elif silent >= SILENCE:
                silent = 0.0
                await stream.write(b": still here\n\n")
            silent += REFRESH
            try:
                async with asyncio.timeout(REFRESH):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        return stream


def _same_machine(request: web.Request) -> None:
    """A foreign name that was made to point here may not drive the page."""
    if request.host.rpartition(":")[0] not in _HOSTS:
        raise web.HTTPForbidden


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))
