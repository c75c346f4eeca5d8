"""A program of the operator's, run within limits: of time, with all that it has started, and of what it may say."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LONGEST = 65536  # bytes that are kept of what it says: the last ones
GOES = 5.0  # seconds for what was killed; what has left the group may hold the pipes for ever


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended, and what it said."""

    code: int
    output: str
    errors: str


async def run(
    *command: str | Path,
    limit: float,
    feed: bytes | BinaryIO = b"",
    environment: Mapping[str, str] | None = None,
    together: bool = False,
) -> Ended:
    """Run it with `feed` as its input. `together`: its errors are output. Raises OSError, TimeoutError when it takes more than `limit` seconds.

    It has a group of its own: what a script has started would go on writing to a slot after the script itself was killed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if isinstance(feed, bytes) else feed.fileno(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if together else asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit):
            told = _feed(process.stdin, feed if isinstance(feed, bytes) else b"")
            _, output, errors, code = await asyncio.gather(
                told, _end_of(process.stdout), _end_of(process.stderr), process.wait()
            )
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOES):
                await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  asyncio has no other way to leave its pipes
        raise
    return Ended(code, output, errors)


async def _feed(stdin: asyncio.StreamWriter | None, text: bytes) -> None:
    if stdin is not None:
        with suppress(BrokenPipeError, ConnectionResetError):  # one that does not read
            stdin.write(text)
            await stdin.drain()
        stdin.close()


async def _end_of(stream: asyncio.StreamReader | None) -> str:
    kept = b""
    while stream is not None and (piece := await stream.read(LONGEST)):
        kept = (kept + piece)[-LONGEST:]
    return kept.decode(errors="replace")
