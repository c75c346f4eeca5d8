"""The Gecko bootloader of a stick, on its serial port: the menu, an upload, the start of the application (Silicon Labs AN0047, UG266).

A stick whose upload failed has no application any more and stays in its bootloader, where the next upload begins anew: it is no brick.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.driver import DeviceRefused, DriverLost
from drivers.serial import Port, open_port
from drivers.xmodem import Sender, Signal

NAME, PROMPT = b"Gecko Bootloader", b"BL >"
BEGINS, COMPLETE, ABORTED = b"begin upload", b"upload complete", b"upload aborted"
UPLOAD, RUN, ASK = b"1", b"2", b"\n"
BAUDRATE = 115_200  # of every one that is built with its defaults
LOOK = 1.0  # seconds in which a menu comes, where there is one
QUIET = 10.0  # seconds without an answer to a block, until it is sent again
VERIFIES = 60.0  # seconds until an upload is said to be complete
STARTS = 2.0  # seconds until an application says something, where it does
MOST = 4096  # octets of text that are looked at


class Bootloader:
    """What is at the far end of an open port."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._news = asyncio.Event()
        self._port: Port | None = None
        self._lost = ""

    @asynccontextmanager
    async def on(self, name: str) -> AsyncIterator["Bootloader"]:
        """Open the port, and let go of it at the end. Raises DriverLost."""
        self._port = await open_port(name, self._heard, self._gone, baudrate=BAUDRATE)
        try:
            yield self
        finally:
            self._port.close()

    async def there(self) -> bool:
        """Whether its menu answers; an application takes the question for noise. Raises DriverLost.

        One that waits for blocks, since what was meant for its application began with the number of a choice, is called back.
        """
        for question in (ASK, bytes((Signal.CAN, Signal.CAN)) + ASK):
            self._write(question)
            if await self._hears(NAME, PROMPT, within=LOOK) is not None:
                return True
        return False

    async def upload(self, image: bytes, progress: Callable[[int], None]) -> None:
        """The whole image; `progress` has the octets that arrived. Raises DeviceRefused for an image that it does not take, DriverLost."""
        self._text.clear()
        self._write(UPLOAD)
        if await self._hears(BEGINS, within=QUIET) is None:
            raise DriverLost("the bootloader does not begin the upload", remedy="plug the stick out and in")
        del self._text[: self._text.index(BEGINS) + len(BEGINS)]
        sender = Sender(image)
        while not sender.done:
            await self._turn(sender)
            progress(sender.acknowledged)
            if sender.failed:
                raise DriverLost(f"the bootloader has {sender.acknowledged} of {len(image)} bytes: {sender.failed}")
        end = await self._hears(COMPLETE, ABORTED, within=VERIFIES)
        if end != COMPLETE:
            text = bytes(self._text).decode("ascii", "replace").strip() or "it says nothing"
            raise DeviceRefused(f"the bootloader does not take the image: {' '.join(text.split())[:120]}")

    async def run(self) -> None:
        """Start the application, after its first word or a while: an order that is still on its way is lost when the port is closed."""
        await self._hears(PROMPT, within=LOOK)
        self._text.clear()
        self._write(RUN)
        await self._wait(STARTS)

    async def _turn(self, sender: Sender) -> None:
        """What was heard, octet by octet, and an answer to each; or to silence."""
        heard, self._text = self._text, bytearray()
        if not heard:
            if not await self._wait(QUIET):
                self._write(sender.silent())
            return
        for number, octet in enumerate(heard, 1):
            self._write(sender.heard(octet))
            if sender.done or sender.failed:
                self._text[:0] = heard[number:]
                return

    async def _hears(self, *words: bytes, within: float) -> bytes | None:
        """The first of these words that comes, None when time is over. Raises DriverLost."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while True:
            found = next((word for word in words if word in self._text), None)
            if found is not None or not await self._wait(end - loop.time()):
                return found

    async def _wait(self, seconds: float) -> bool:
        """Until something comes; False when nothing did. Raises DriverLost."""
        self._news.clear()
        if self._lost:
            raise DriverLost(self._lost)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._news.wait()
        except TimeoutError:
            return False
        if self._lost:
            raise DriverLost(self._lost)
        return True

    def _write(self, data: bytes) -> None:
        if self._port is not None and data:
            self._port.write(data)

    def _heard(self, data: bytes) -> None:
        self._text += data
        del self._text[:-MOST]
        self._news.set()

    def _gone(self, reason: str) -> None:
        self._lost = reason
        self._news.set()
