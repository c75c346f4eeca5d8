"""The stick's memory over the Serial API: read whole, written whole, and read again to prove it.

700 and 800 series: NVM operations, with offsets of 32 bits where the stick has them; it either reads or writes between an open and a close,
and there is no erasing, its own write does that (Silicon Labs, serial API source, "nvm_backup_restore"). 500 series: reads and writes at
any time. The radio is off meanwhile, or the memory would change while it is read.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent.driver import DriverError, NotSupported
from drivers.zwave.controller import Controller
from drivers.zwave.function_tables import Nvm
from drivers.zwave.layout import Values
from drivers.zwave.link import Link

log = logging.getLogger(__name__)

MOST = 255  # bytes of a read: the stick gives what fits its buffer
OLD_STEP = 48  # bytes of a read of a 500: some hang when they are asked for more
OVERHEAD = 5  # bytes that a write of a 500 needs beside its data
OK, END = 0x00, 0xFF
STATUS = {1: "an error", 2: "reading and writing mixed", 3: "something else uses the memory", 4: "no such operation"}
WHOLE = 0x10000  # what 0 means where offsets have 16 bits
SIZES = range(14, 25)  # powers of two: 16 KB to 16 MB
LEAST = 0x2F00  # bytes that the library's part of a 500 has at least
RESTORES_ITSELF = (7, 23, 2)  # older firmware must be restarted once its memory was opened


class NvmTrouble(DriverError):  # noqa: N818
    """The stick does not give or keep its memory."""

    code = 502


class StickMemory:
    """The memory of one stick. Nothing else may be sent meanwhile: see transmit.Air."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._link: Link = controller.link
        facts = controller.facts
        names = ("NvmOperationExtended", "NvmOperation")
        self._name = next((name for name in names if facts.has(name)), "")
        self._old = facts.has("NvmGetId") and facts.has("NvmReadBuffer")

    @property
    def there(self) -> bool:
        """The stick gives its memory."""
        return bool(self._name) or self._old

    async def read(self) -> bytes:
        """All of it. Raises NotSupported, NvmTrouble, StickSilent, StickRefused, DriverLost."""
        self._check()
        async with self._radio_off():
            image = await self._read()
        await self._restart_if_needed()
        return image

    async def write(self, image: bytes) -> None:
        """Write all of it, and read it again; it counts once the stick has restarted. Raises as `read`."""
        self._check()
        async with self._radio_off():
            await self._write(image)
            if await self._read(len(image)) != image:
                remedy = "leave the stick plugged in, and restore once more"
                raise NvmTrouble("the stick did not keep what was written", remedy=remedy)

    def _check(self) -> None:
        if not self.there:
            raise NotSupported("the stick does not give its memory", remedy="a stick of the 500 series or newer does")

    @asynccontextmanager
    async def _radio_off(self) -> AsyncIterator[None]:
        facts = self._controller.facts
        if facts.has("SetRFReceiveMode") and not (await self._link.call("SetRFReceiveMode", on=0)).response["success"]:
            raise NvmTrouble("the stick does not switch its radio off", remedy="try again in a moment")
        try:
            if facts.has("StopWatchdog"):  # a write takes longer than it allows
                await self._link.call("StopWatchdog")
            yield
        finally:
            if facts.has("SetRFReceiveMode") and not self._link.lost.done():
                await self._link.call("SetRFReceiveMode", on=1)

    async def _restart_if_needed(self) -> None:
        needs = self._name and self._controller.facts.firmware < RESTORES_ITSELF
        if needs and self._controller.restarts:
            await self._controller.soft_reset()
            await self._controller.configure()

    # ---- 700 and 800 series -----------------------------------------------------------------------------------------

    async def _operation(self, command: Nvm, **values: Any) -> Values:
        answer = (await self._link.call(self._name, command=command, **values)).response
        if answer["status"] not in (OK, END):
            status = STATUS.get(answer["status"], f"status {answer['status']}")
            raise NvmTrouble(f"the stick's memory: {command.name.lower()} ended with {status}", remedy="try again")
        return answer

    @asynccontextmanager
    async def _opened(self, needed: Nvm) -> AsyncIterator[int]:
        """The memory is open; its size."""
        answer = await self._operation(Nvm.OPEN)
        size: int = answer.get("offset", 0)
        try:
            if self._name == "NvmOperation":
                size = size or WHOLE
            elif answer.get("payload") and not answer["payload"][0] & 1 << needed:
                raise NotSupported(f"the stick's memory has no {needed.name.lower()}")
            yield size
        finally:
            if not self._link.lost.done():
                await self._operation(Nvm.CLOSE)

    async def _read(self, expected: int | None = None) -> bytes:
        if not self._name:
            return await self._read_old(expected)
        image = bytearray()
        async with self._opened(Nvm.READ) as size:
            if not size:
                raise NvmTrouble("the stick does not say how large its memory is", remedy="plug it out and in")
            while len(image) < size:
                wanted = min(MOST, size - len(image))
                answer = await self._operation(Nvm.READ, size=wanted, offset=len(image))
                piece = answer.get("payload", b"")
                if not piece:
                    raise NvmTrouble(f"the stick's memory ends at {len(image)} of {size} bytes", remedy="try again")
                image += piece
        return bytes(image)

    async def _write(self, image: bytes) -> None:
        if not self._name:
            await self._write_old(image)
            return
        async with self._opened(Nvm.READ) as size:
            if size != len(image):
                raise NotSupported(
                    f"the stick has {size} bytes of memory, the backup {len(image)}", remedy="use a stick of that kind"
                )
            answer = await self._operation(Nvm.READ, size=MOST, offset=0)
            step = len(answer.get("payload", b"")) or OLD_STEP
        async with self._opened(Nvm.WRITE):
            for at in range(0, len(image), step):
                await self._operation(Nvm.WRITE, offset=at, payload=image[at : at + step])

    # ---- 500 series -------------------------------------------------------------------------------------------------

    async def _size_old(self) -> int:
        exponent = (await self._link.call("NvmGetId")).response["memory_size"]
        if exponent not in SIZES:
            raise NotSupported("the stick does not say how large its memory is")
        return int(1 << exponent)

    async def _piece(self, offset: int, size: int) -> bytes:
        answer = await self._link.call("NvmReadBuffer", offset=offset, size=size)
        data: bytes = answer.response["payload"]
        if not data:
            raise NvmTrouble(f"the stick's memory ends at {offset} bytes", remedy="try again")
        return data[:size]

    async def _read_old(self, expected: int | None) -> bytes:
        size = await self._size_old()
        image = bytearray(await self._piece(0, OLD_STEP))
        last = int.from_bytes(image[:2], "big")  # its own word: what follows is room for an image of firmware
        size = expected or (last + 1 if LEAST < last < size else size)
        while len(image) < size:
            image += await self._piece(len(image), min(OLD_STEP, size - len(image)))
        return bytes(image)

    async def _write_old(self, image: bytes) -> None:
        size = await self._size_old()
        if len(image) > size:
            raise NotSupported(f"the stick has {size} bytes of memory, the backup {len(image)}")
        step = max(1, len(await self._piece(0, OLD_STEP)) - OVERHEAD)
        for at in range(0, len(image), step):
            done = await self._link.call("NvmWriteBuffer", offset=at, payload=image[at : at + step])
            if not done.response["success"]:
                raise NvmTrouble(f"the stick did not write its memory at {at}", remedy="restore once more")
