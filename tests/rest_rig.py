"""A REST client whose pauses cost no time, and steps of a raw server."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from raw_http import Asked, RawHttp, Write

from agent.cloud.rest import Bearer, Policy, Rest
from agent.settings.secret import Secret

KEY = "canary-key-0123456789"
FAST = Policy(total=5.0, connect=2.0, stall=2.0, attempts=3)


class Pauses:
    """Sleeps no time, and remembers."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


def client(server: RawHttp, pauses: Pauses | None = None, policy: Policy = FAST, **more: Any) -> Rest:
    more = {"authorize": Bearer(Secret(KEY)), "random": Random(1), "sleep": pauses or Pauses(), **more}
    return Rest(more.pop("base", server.url), policy=policy, **more)


async def cut(_asked: Asked, writer: Write) -> None:
    """Half of an answer."""
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


def endless(head: bytes, piece: bytes) -> Callable[[Asked, Write], Awaitable[None]]:
    """An answer without an end: `piece` for as long as somebody reads."""

    async def send(_asked: Asked, writer: Write) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return send


def silent(server: RawHttp, start: bytes = b"") -> Callable[[Asked, Write], Awaitable[None]]:
    """The start of an answer, and then nothing."""

    async def send(_asked: Asked, writer: Write) -> None:
        writer.write(start)
        await writer.drain()
        await server.open.wait()

    return send
