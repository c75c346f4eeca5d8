"""AWS IoT Core's HTTPS port with client certificates, as far as just-in-time provisioning uses it: `POST /topics/jitp`."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from pathlib import Path

from agent.files import write_atomic
from agent.sim.authority import Authority
from agent.sim.nrf.jitp import Meeting

LOOPBACK = "127.0.0.1"
_WITHIN = 10.0  # seconds for a request
_TOPIC = "/topics/jitp"


class JitpDoor:
    """Listens on loopback. `meet` is asked about the certificate (DER) of each request for the topic."""

    def __init__(self, folder: Path, authority: Authority, meet: Callable[[bytes], Meeting]) -> None:
        self._folder, self._authority, self._meet = folder, authority, meet
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """The port."""
        made = self._authority.issue_with_key("localhost", hosts=("localhost", LOOPBACK))
        paths = self._folder / "jitp.pem", self._folder / "jitp.key"
        for path, text in zip(paths, made, strict=True):
            write_atomic(path, text.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._authority.certificate_path)
        context.load_cert_chain(*paths)
        self._server = await asyncio.start_server(self._client, LOOPBACK, 0, ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_WITHIN):
                head = await reader.readuntil(b"\r\n\r\n")
            answer = self._answer(head, writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            writer.write(answer)
            await writer.drain()
        writer.close()

    def _answer(self, head: bytes, certificate: bytes) -> bytes:
        """Nothing for a certificate that is met for the first time. Raises ValueError for what is no HTTP."""
        method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
        path, _, query = target.partition("?")
        if (method, path) != ("POST", _TOPIC) or query not in ("qos=0", "qos=1"):
            return _http(404, {"message": "Not Found"})
        meeting = self._meet(certificate)
        if meeting is Meeting.FIRST:
            return b""
        return _http(403, {"message": None if meeting is Meeting.KNOWN else "Forbidden", "traceId": "stand-in"})


def _http(status: int, body: dict[str, str | None]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
    return head.encode() + content
