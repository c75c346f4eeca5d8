"""The stand-in's HTTP face: one port on loopback, one path prefix for each API, and objects to download with Range."""

from pathlib import Path

from aiohttp import web

from agent.sim.exchange import Ask, Handle

MAX_BODY = 24 * 1024 * 1024  # the vault takes files of 20 MB
MAX_LINE = 128 * 1024  # a NextToken may have 65,535 characters
MANAGED_INTEGRATIONS = "/managed-integrations"
BULK_CERTIFICATES = "/bulk-certificates"
VAULT = "/vault"
NRF = "/nrf"
OBJECTS = "/s3"


class HttpServer:
    """Serves `apis` (path prefix -> handler) and the files of `objects`."""

    def __init__(self, apis: dict[str, Handle], objects: Path) -> None:
        self._apis = apis
        app = web.Application(client_max_size=MAX_BODY)
        objects.mkdir(parents=True, exist_ok=True)
        app.router.add_static(OBJECTS, objects)
        app.router.add_route("*", "/{anything:.*}", self._api)
        self._runner = web.AppRunner(app, access_log=None, max_line_size=MAX_LINE)

    async def start(self, port: int) -> int:
        """Listen on loopback; returns the port. Raises OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _api(self, request: web.Request) -> web.Response:
        path, _, _ = request.raw_path.partition("?")
        for prefix, handle in self._apis.items():
            if path.startswith(f"{prefix}/"):
                query = {name: request.query.getall(name) for name in request.query}
                headers = {name.lower(): value for name, value in request.headers.items()}
                answer = handle(Ask(request.method, path.removeprefix(prefix), query, headers, await request.read()))
                return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))
        known = ", ".join(f"{prefix}/" for prefix in self._apis)
        return web.json_response({"message": f"nothing is here; the APIs are under {known}"}, status=404)
