"""One image on its way into one device: its requests are answered in turn, until it runs the image, or says no, or falls silent.

The device leads: whatever offset it asks for, it gets, so that a lost block, a repeated request and a hub that was restarted are the same.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zigpy.zcl.foundation import Status

from agent.clock import TRUSTED, Clock
from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, InvalidParameters, NotNow
from drivers.zigbee.node import Node
from drivers.zigbee.ota_image import OtaImage
from drivers.zigbee.requests import Priority, Requests

log = logging.getLogger(__name__)

QUERY, BLOCK, PAGE, END = 0x01, 0x03, 0x04, 0x06  # commands of the client
CURRENT_VERSION = 0x0002  # attribute of the client
ALL_OF_THEM = 100  # query jitter: everybody who hears the notify asks
ANSWER_TIME = 20.0  # seconds for one frame of ours to be delivered
READ_TIME = 12.0
AT_WORK = 5.0  # seconds in which a device that loads already asks for its next block
EPOCH_2000 = 946_684_800  # ZCL's UTCTime counts from 2000-01-01
MILLISECONDS = 1000
# Seconds between the blocks of a page, whatever the device wishes: it holds the radio's one transfer.
MOST_SPACING = 2.0
MOST_SENT = 5  # times its size, until a device that asks without end is given up
MOST_VAIN = 100  # requests with no block between them, until it is given up as well

# Octets of a block. More than 50 makes some routers drop the frame when a source route is added; the makers' own limits are those that
# zigpy has collected.
BLOCK_SIZE = 50
BLOCK_SIZES = {4474: 40, 4405: 40, 4129: 64}

RESTARTED = "restarted"  # in place of a command: the device has announced itself


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: between two blocks, until a silent device is given up, and between two looks at one that restarts."""

    interval: float = 0.1
    patience: float = 300.0
    look: float = 5.0


class Transfer:
    """`heard` takes the device's requests, `run` is the whole of it."""

    def __init__(
        self, node: Node, cluster: Any, image: OtaImage, requests: Requests, clock: Clock, terms: Terms
    ) -> None:
        self.node, self.image = node, image
        self.sent = self.again = 0  # octets, those that were sent twice
        self._vain = 0  # requests since the last block
        self._cluster, self._requests, self._clock, self._terms = cluster, requests, clock, terms
        self._queue: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
        self._told: Callable[[int, int], None] = lambda *_: None
        self._reached = 0
        self._next_block = float("-inf")
        self._slowed = False
        self._version: int | None = None  # that it said it has, at last
        header = image.header
        self._identity = {
            "manufacturer_code": header.manufacturer,
            "image_type": header.image_type,
            "file_version": header.file_version,
        }

    def heard(self, header: Any, command: Any) -> None:
        """A request of the device."""
        self._queue.put_nowait((header, command))

    def restarted(self) -> None:
        """The device announced itself."""
        self._queue.put_nowait((None, RESTARTED))

    async def run(self, progress: Callable[[int, int], None]) -> None:
        """Until the device runs the image. Raises DriverError."""
        self._told = progress
        try:
            await self._notify()
            while not await self._turn(*await self._next()):
                self._vain += 1
                if self._vain > MOST_VAIN:
                    raise self._endless(f"{self._vain} requests, and {self.sent} bytes were sent")
        finally:
            if self.sent:
                text = "%s was sent %d bytes of version 0x%08X, %d of them twice"
                log.info(text, self.node.id, self.sent, self.image.header.file_version, self.again)

    async def _notify(self) -> None:
        """Have it ask. One that loads already does not heed this, and asks for its next block."""
        send = self._cluster.image_notify
        try:
            await self._requests.ask(
                lambda: send(payload_type=0, query_jitter=ALL_OF_THEM, retries=self.node.retries),
                limit=ANSWER_TIME,
                priority=Priority.NORMAL,
                sleepy=self.node.sleepy,
            )
        except (NotNow, DeviceUnreachable):
            try:
                self._queue.put_nowait(await self._requests.ask(self._queue.get, limit=AT_WORK))
            except DeviceUnreachable:
                pass
            else:
                return
            raise

    async def _next(self) -> tuple[Any, Any]:
        """The next request; of several for blocks, which pile up while one is paced, the last."""
        try:
            found = await self._requests.ask(self._queue.get, limit=self._terms.patience)
        except DeviceUnreachable as error:
            text = f"it took {self._reached} of {len(self.image.data)} bytes and asks for no more"
            raise DeviceUnreachable(text, place=str(self.node.id)) from error
        while _asks_for_data(found) and not self._queue.empty():
            found = self._queue.get_nowait()
        return found

    async def _turn(self, header: Any, command: Any) -> bool:
        """Answer one request; True once the device runs the image."""
        if command is RESTARTED:
            return False
        match header.command_id:
            case 0x01:
                return await self._query(header, command)
            case 0x03 | 0x04 if not self._means_this(command):
                await self._answer("image_block_response", header, status=Status.ABORT)
                await self._notify()
            case 0x03:
                await self._block(header, command)
            case 0x04:
                await self._page(header, command)
            case 0x06:
                return await self._end(header, command)
        return False

    def _means_this(self, command: Any) -> bool:
        return all(getattr(command, name) == value for name, value in self._identity.items())

    # ---- before ------------------------------------------------------------------------------------------------------

    async def _query(self, header: Any, query: Any) -> bool:
        self._version = int(query.current_file_version)
        wanted = self.image.header
        if self._version == wanted.file_version:
            await self._nothing(header)
            return True
        wrong = ""
        if (query.manufacturer_code, query.image_type) != (wanted.manufacturer, wanted.image_type):
            wrong = f"manufacturer 0x{query.manufacturer_code:04X}, type 0x{query.image_type:04X}"
        elif not wanted.suits(_hardware(query)):
            wrong = f"hardware version {_hardware(query)}"
        if wrong:
            await self._nothing(header)
            raise InvalidParameters(f"the image is for other devices than {wrong}", place=str(self.node.id))
        size = len(self.image.data)
        await self._answer(
            "query_next_image_response", header, status=Status.SUCCESS, image_size=size, **self._identity
        )
        return False

    async def _nothing(self, header: Any) -> None:
        await self._answer("query_next_image_response", header, status=Status.NO_IMAGE_AVAILABLE)

    # ---- blocks ------------------------------------------------------------------------------------------------------

    async def _block(self, header: Any, command: Any) -> None:
        size = self._size(command)
        if not size:
            await self._answer("image_block_response", header, status=Status.MALFORMED_COMMAND)
            return
        pause = round(self._terms.interval * MILLISECONDS)
        period = getattr(command, "minimum_block_period", None)
        if period is not None and period < pause and not self._slowed:
            self._slowed = True  # once: one that does not heed it is made to wait below
            times = {"current_time": 0, "request_time": 0, "minimum_block_period": pause}
            await self._answer("image_block_response", header, status=Status.WAIT_FOR_DATA, **times)
            return
        await self._pace()
        await self._send(header, int(command.file_offset), size)

    async def _page(self, header: Any, command: Any) -> None:
        """Block after block, until the device asks for something else."""
        size, offset = self._size(command), int(command.file_offset)
        end = min(offset + command.page_size, len(self.image.data))
        if not size or offset >= end:
            await self._answer("image_block_response", header, status=Status.MALFORMED_COMMAND)
            return
        while offset < end and self._queue.empty():
            await self._pace(min(command.response_spacing / MILLISECONDS, MOST_SPACING))
            await self._send(None, offset, min(size, end - offset))
            offset += size

    def _size(self, command: Any) -> int:
        """How much of what is asked for goes into one frame; 0 beyond the end."""
        most = min(BLOCK_SIZES.get(command.manufacturer_code, BLOCK_SIZE), int(command.maximum_data_size))
        return max(0, min(most, len(self.image.data) - int(command.file_offset)))

    async def _pace(self, least: float = 0.0) -> None:
        """Leave the air to others for a while."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_block - loop.time()))
        self._next_block = loop.time() + max(least, self._terms.interval)

    async def _send(self, header: Any, offset: int, size: int) -> None:
        if self.sent >= MOST_SENT * len(self.image.data):
            raise self._endless(f"{self.sent} bytes were sent of {len(self.image.data)}")
        data = self.image.data[offset : offset + size]
        self.sent, self._vain = self.sent + size, 0
        self.again += max(0, min(self._reached, offset + size) - offset)
        fields = {
            "file_offset": offset,
            "image_data": data,
            "retries": 0,
            **self._identity,
        }  # lost, it is asked for again
        if await self._answer("image_block_response", header, status=Status.SUCCESS, **fields):
            self._reached = max(self._reached, offset + size)
            self._told(offset + size, len(self.image.data))

    def _endless(self, how: str) -> DeviceRefused:
        text = f"it asks for the same again and again: {how}"
        return DeviceRefused(
            text, place=str(self.node.id), remedy="bring it nearer to a router, or take its power away"
        )

    # ---- after -------------------------------------------------------------------------------------------------------

    async def _end(self, header: Any, command: Any) -> bool:
        if command.status != Status.SUCCESS:
            self._cluster.send_default_rsp(header, Status.SUCCESS)  # the answer to a failure (ZCL 8, 11.13.9.4)
            name = getattr(command.status, "name", f"0x{command.status:02X}")
            text = f"the device does not take the image ({name})"
            raise DeviceRefused(text, place=str(self.node.id), remedy="ask its maker for an image that it takes")
        if not self._means_this(command):
            return False
        await self._release(header)
        await self._read_back()
        return True

    async def _release(self, header: Any) -> None:
        """It may start the image now."""
        moment = self._clock.now()
        now = int(moment.wall) - EPOCH_2000 if moment.quality == TRUSTED and moment.wall > EPOCH_2000 else 0
        times = {"current_time": now, "upgrade_time": now}
        await self._answer("upgrade_end_response", header, **self._identity, **times)

    async def _read_back(self) -> None:
        """Wait until it says that it runs the image: by a query, or as it is asked."""
        loop = asyncio.get_running_loop()
        end, wanted, announced = loop.time() + self._terms.patience, self.image.header.file_version, False
        while self._version != wanted:
            header, command = await self._news()
            announced = announced or command is RESTARTED
            if header is not None and header.command_id == END:
                await self._release(header)  # our answer was lost
            elif header is not None and header.command_id == QUERY:
                self._version = int(command.current_file_version)
                await self._nothing(header)
                if announced and self._version != wanted:
                    break
            else:
                self._version = await self._read_version()
            if loop.time() > end:
                break
        if self._version is None:
            raise DeviceUnreachable("it has the image, and was not heard since", place=str(self.node.id))
        if self._version != wanted:
            text = f"it has the image, and still runs version 0x{self._version:08X}"
            raise DeviceRefused(text, place=str(self.node.id))

    async def _news(self) -> tuple[Any, Any]:
        """What the device says within a while, or nothing."""
        try:
            return await self._requests.ask(self._queue.get, limit=self._terms.look)
        except DeviceUnreachable:
            return None, None

    async def _read_version(self) -> int | None:
        try:
            return await read_version(self.node, self._cluster, self._requests)
        except DriverLost:
            raise
        except DriverError as error:
            log.debug("%s is not back yet: %s", self.node.id, error)
            return None

    # ---- frames ------------------------------------------------------------------------------------------------------

    async def _answer(self, command: str, header: Any, **fields: Any) -> bool:
        """False when it did not arrive: the device asks again. Raises DriverLost."""
        try:
            await answer(self.node, self._cluster, self._requests, command, header, **fields)
        except DriverLost:
            raise
        except DriverError as error:
            log.debug("%s: %s is lost: %s", self.node.id, command, error)
            return False
        return True


async def answer(node: Node, cluster: Any, requests: Requests, command: str, header: Any, **fields: Any) -> None:
    """Send a command of the server, as the answer to `header` where there is one; whatever people want goes first."""
    more = {} if header is None else {"tsn": header.tsn}
    send = getattr(cluster, command)
    await requests.ask(
        lambda: send(**fields, **more), limit=ANSWER_TIME, priority=Priority.BACKGROUND, sleepy=node.sleepy
    )


async def read_version(node: Node, cluster: Any, requests: Requests) -> int | None:
    """The version that the device says it runs; None when it has no such attribute. Raises DriverError."""
    values, _ = await requests.ask(
        lambda: cluster.read_attributes([CURRENT_VERSION], retries=0),
        limit=READ_TIME,
        priority=Priority.BACKGROUND,
        sleepy=node.sleepy,
    )
    return int(values[CURRENT_VERSION]) if CURRENT_VERSION in values else None


def _asks_for_data(found: tuple[Any, Any]) -> bool:
    return found[0] is not None and found[0].command_id in (BLOCK, PAGE)


def _hardware(query: Any) -> int | None:
    hardware = getattr(query, "hardware_version", None)
    return None if hardware is None else int(hardware)
