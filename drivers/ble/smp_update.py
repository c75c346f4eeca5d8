"""New firmware for a device with MCUmgr: uploaded, started on trial, and confirmed once it is back and says that it runs it.

Source: as drivers/ble/smp. An image is sent in parts of one write each, one at a time; the device names the octet that it wants next, which
also is how an upload goes on that was cut off: by the hash of the file it knows what it has. What is in the slot is compared before the
restart, and it is the boot loader that takes an image back whose application does not come up to be confirmed.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from agent.driver import DeviceRefused, DeviceUnreachable, InvalidParameters, NotSupported
from drivers.ble import smp
from drivers.ble.gatt import Services
from drivers.ble.link import ATT_HEADER, Link
from drivers.ble.links import Links
from drivers.ble.mcuboot import McubootImage
from drivers.ble.notices import Notices, listening
from drivers.ble.smp import Packet, Slot

log = logging.getLogger(__name__)

FIRST = 40.0  # seconds: a device may erase its flash first
ANSWER = 10.0
LOOK = 0.5  # seconds between two looks for a device that restarts
# Octets of one write at most: a characteristic has no more (Core Specification, Vol 3, Part F, 3.2.9).
ROOM = 512 - ATT_HEADER
STEPS_BACK = 8  # times that the device wants something again that it was sent, in one go


def offers(services: Services) -> bool:
    return any(one.uuid == smp.SERVICE for one in services)


class Conversation:
    """Requests and answers on one connection, one at a time."""

    def __init__(self, link: Link, handle: int, notices: Notices) -> None:
        self._link, self._handle, self._notices = link, handle, notices
        self._sequences = count()
        self._pieces = smp.Reassembly()

    @property
    def room(self) -> int:
        return min(ROOM, self._link.mtu - ATT_HEADER)

    def sequence(self) -> int:
        return next(self._sequences) % smp.SEQUENCES

    async def ask(self, request: Packet, what: str, limit: float = ANSWER) -> Packet:
        """The answer. Raises DeviceUnreachable, DeviceRefused, NotSupported, DriverLost."""
        self._notices.clear()
        data, room = request.encoded(), self.room
        for start in range(0, len(data), room):
            await self._link.write(self._handle, data[start : start + room], response=False)
        try:
            async with asyncio.timeout(limit):
                answer = await self._answer(request, what, limit)
        except TimeoutError:
            raise DeviceUnreachable(f"{what}: no answer") from None
        wrong = smp.refusal(answer)
        if wrong:
            raise DeviceRefused(f"the device refused ({what}): {wrong}")
        return answer

    async def _answer(self, request: Packet, what: str, limit: float) -> Packet:
        """Late answers to earlier requests are passed over."""
        while True:
            try:
                packets = self._pieces.feed(await self._notices.next(limit, what))
            except smp.SmpError as error:
                raise DeviceRefused(f"the device's answer cannot be read ({what}): {error}") from error
            for packet in packets:
                if packet.answers(request):
                    return packet

    async def slots(self) -> list[Slot]:
        """What is in the device. Raises as `ask`."""
        request = Packet(smp.READ, smp.IMAGE, smp.STATE, self.sequence())
        return self._slots(await self.ask(request, "which images it has"))

    async def mark(self, image: bytes, *, confirm: bool) -> list[Slot]:
        """Have an image started on trial, or have it stay. Raises as `ask`."""
        body = {"hash": image, "confirm": confirm}
        request = Packet(smp.WRITE, smp.IMAGE, smp.STATE, self.sequence(), body)
        return self._slots(await self.ask(request, "confirmation" if confirm else "trial"))

    @staticmethod
    def _slots(answer: Packet) -> list[Slot]:
        try:
            return smp.read(smp.Slots, answer).images
        except smp.SmpError as error:
            raise DeviceRefused(f"the device's images cannot be read: {error}") from error

    async def erase(self) -> None:
        """What was uploaded, lest it is taken for whole: its trailer may tell the right hash. Raises DriverLost."""
        try:
            await self.ask(Packet(smp.WRITE, smp.IMAGE, smp.ERASE, self.sequence()), "erasure", FIRST)
        except (DeviceRefused, DeviceUnreachable) as error:
            log.info("%s: %s", self._link.address, error)

    async def reset(self) -> None:
        """It may be gone before its answer is. Raises as `ask`, but for that."""
        try:
            await self.ask(Packet(smp.WRITE, smp.OS, smp.RESET, self.sequence()), "restart")
        except DeviceUnreachable as error:
            log.debug("%s: %s", self._link.address, error)


@asynccontextmanager
async def conversation(links: Links, address: str) -> AsyncIterator[Conversation]:
    """With a device, which is connected for it. Raises DriverError, NotSupported where it has no SMP."""
    link = await links.get(address)
    if not offers(link.services):
        raise NotSupported("the device takes no firmware over the air", place=address)
    handle = link.find(smp.CHARACTERISTIC, smp.SERVICE).handle
    async with listening(link, handle) as notices:
        yield Conversation(link, handle, notices)


@dataclass(frozen=True, slots=True)
class Order:
    """`content` is the file, `image` what it says of itself, `number` which image of the device it is; `patience`: seconds for a restart."""

    content: bytes
    image: McubootImage
    number: int
    progress: Callable[[int, int], None]
    patience: float


class SmpUpdate:
    """One image for one device."""

    def __init__(self, links: Links, address: str, order: Order) -> None:
        self._links, self._address, self._order = links, address, order
        self._sha = hashlib.sha256(order.content).digest()
        self._most = 0  # octets that the device has had

    async def run(self) -> None:
        """Returns once the device runs the image, and keeps it. Raises DriverError."""
        if not await self._runs():
            await self._upload()
            await self._start()
            await self._come_back()
        async with conversation(self._links, self._address) as talk:
            await talk.mark(self._order.image.hash, confirm=True)
            active = self._active(await talk.slots())
        if active is None or active.hash != self._order.image.hash or not active.confirmed:
            raise DeviceRefused("the device does not keep the new firmware")

    def _active(self, slots: list[Slot]) -> Slot | None:
        return next((one for one in slots if one.active and one.image == self._order.number), None)

    async def _runs(self) -> bool:
        async with conversation(self._links, self._address) as talk:
            active = self._active(await talk.slots())
        if active is None:
            raise InvalidParameters(f"the device has no image {self._order.number}", place=self._address)
        return active.hash == self._order.image.hash

    # ---- the image --------------------------------------------------------------------------------------------------

    async def _upload(self) -> None:
        """Connected again where the connection was lost, as long as it comes further each time."""
        while True:
            before = self._most
            try:
                async with conversation(self._links, self._address) as talk:
                    if not self._waiting(await talk.slots()):
                        await self._send(talk)
                    return
            except DeviceUnreachable as error:
                if self._most == before:
                    raise
                log.info("%s: its firmware goes on at octet %d: %s", self._address, self._most, error)

    def _waiting(self, slots: list[Slot]) -> Slot | None:
        """The slot that holds the image and does not run."""
        ours = (one for one in slots if one.hash == self._order.image.hash and one.image == self._order.number)
        return next((one for one in ours if not one.active), None)

    async def _send(self, talk: Conversation) -> None:
        content, offset, back = self._order.content, 0, 0
        while offset < len(content):
            told = await self._part(talk, offset)
            if told.off > len(content):
                raise DeviceRefused(f"the device wants octet {told.off} of an image of {len(content)}")
            back += told.off <= offset and offset > 0
            if back > STEPS_BACK:
                raise DeviceRefused(
                    f"the device wants the same part of its firmware again and again, from octet {told.off}"
                )
            offset, self._most = told.off, max(self._most, told.off)
            self._order.progress(offset, len(content))
            if told.match is False:
                await talk.erase()
                raise DeviceRefused("what came to the device is not what was sent: its hash is another one")

    async def _part(self, talk: Conversation, offset: int) -> smp.Progress:
        try:
            request = smp.part(talk.sequence(), self._order.content, offset, talk.room, self._order.number, self._sha)
        except smp.SmpError as error:
            raise NotSupported(f"the connection is too narrow: {error}", place=self._address) from error
        answer = await talk.ask(request, f"octet {offset}", ANSWER if offset else FIRST)
        try:
            return smp.read(smp.Progress, answer)
        except smp.SmpError as error:
            raise DeviceRefused(f"the device does not say what it has got: {error}") from error

    # ---- the restart ------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        async with conversation(self._links, self._address) as talk:
            slot = self._waiting(await talk.slots())
            if slot is None:
                raise DeviceRefused("the device holds another image than it was sent: it was not started")
            if not slot.pending:
                slot = self._waiting(await talk.mark(self._order.image.hash, confirm=False))
            if slot is None or not slot.pending:
                raise DeviceRefused("the device does not take the new firmware for its next start")
            await talk.reset()

    async def _come_back(self) -> None:
        """Until it runs the image. Raises DeviceRefused where it runs the old one again, DeviceUnreachable where it does not come back."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._order.patience
        while True:
            await asyncio.sleep(LOOK)
            try:
                async with conversation(self._links, self._address) as talk:
                    slots = await talk.slots()
            except DeviceUnreachable:
                slots = []
            active, waiting = self._active(slots), self._waiting(slots)
            if active is not None and active.hash == self._order.image.hash:
                return
            if active is not None and (waiting is None or not waiting.pending):
                raise DeviceRefused("the device did not start the new firmware, and runs the old one again")
            if loop.time() > until:
                raise DeviceUnreachable("the device took its new firmware, and does not come back")
