"""New firmware for a device with Nordic's legacy DFU: its application is left for the boot loader, which takes a new one from the start.

Source: as drivers/ble/dfu. These boot loaders cannot go on where they were cut off: one that is in the middle of something is restarted. A
device whose application is gone stays in its boot loader, at its own address or the one after it, and is found there.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, NotSupported
from drivers.ble import dfu
from drivers.ble.dfu import Answer, DfuError, Receipt
from drivers.ble.dfu_package import Package
from drivers.ble.link import SETTLE, Link
from drivers.ble.links import RECENT, Links
from drivers.ble.notices import Notices, listening
from drivers.ble.seen import Seen

log = logging.getLogger(__name__)

ANSWER = 10.0
ERASE = 40.0  # seconds: START erases the flash
LOOK = 0.1  # seconds between two looks for a boot loader
TURNS = 2  # a boot loader that is in the middle of something is restarted once


async def in_bootloader(link: Link) -> bool:
    """Whether a connected device is in its boot loader. Raises DriverError."""
    if not dfu.offers(link.services):
        return False
    for service in link.services:
        for one in service.characteristics:
            if one.uuid == dfu.REVISION and "read" in one.flags:
                return int.from_bytes((await link.read(one.handle))[:2], "little") != dfu.IN_APPLICATION
    return dfu.looks_like_bootloader(link.services)


@dataclass(frozen=True, slots=True)
class Order:
    """`patience`: seconds for each restart."""

    package: Package
    progress: Callable[[int, int], None]
    patience: float


class Restarted(Exception):  # noqa: N818  a turn of the way, never seen outside
    """The boot loader was in the middle of something, and begins anew."""


class DfuUpdate:
    """One package for one device.

    `lost`: by the device's address, when its boot loader was last spoken with in vain; what was heard of it before says nothing.
    """

    def __init__(self, links: Links, seen: Seen, address: str, order: Order, lost: dict[str, float]) -> None:
        self._links, self._seen, self._address, self._order, self._lost = links, seen, address, order, lost
        self._left = False  # its application, for the boot loader

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Returns once the device's application is back. Raises DriverError."""
        for _ in range(TURNS):
            address = await self._bootloader()
            try:
                await self._transfer(address)
            except Restarted:
                log.info("%s: its boot loader was in the middle of something, and is restarted", self._address)
            else:
                await self._come_back()
                return
        raise DeviceRefused("the device's boot loader does not begin anew")

    async def _transfer(self, address: str) -> None:
        """Raises Restarted, DriverError."""
        try:
            link = await self._links.get(address)
            async with listening(link, link.find(dfu.CONTROL, dfu.SERVICE).handle) as notices:
                await Transfer(link, notices, self._order).run()
        except (DriverError, Restarted):
            self._lost[self._address] = self._now() + SETTLE
            raise
        finally:
            if address != self._address:
                await self._links.leave(address)
        self._lost.pop(self._address, None)

    # ---- there ------------------------------------------------------------------------------------------------------

    async def _bootloader(self) -> str:
        """The address of the boot loader, which runs. Raises DriverError."""
        lost = self._lost.get(self._address)
        since = max(self._now() - RECENT, lost or 0.0)
        if lost is None and not self._heard(since):
            link = await self._links.get(self._address)
            if not dfu.offers(link.services):
                raise NotSupported("the device takes no firmware over the air", place=self._address)
        self._left = False
        return await self._find(since)

    def _heard(self, since: float) -> bool:
        """Whether the boot loader advertises at the address after the device's own, and the device itself is silent."""
        found, own = self._seen.get(dfu.next_address(self._address)), self._seen.get(self._address)
        if found is None or found.at < since or not found.advert.offers((dfu.SERVICE,)):
            return False
        return self._address not in self._links.addresses() and (own is None or own.at < found.at)

    async def _find(self, since: float) -> str:
        """At either address; an application that runs is left, once."""
        until = self._now() + self._order.patience
        while self._now() < until:
            if self._heard(since):
                return dfu.next_address(self._address)
            mode = await self._own_mode()
            if mode is True:
                return self._address
            if mode is False and not self._left:
                await self._leave_application()
                self._left, since = True, self._now()
            await asyncio.sleep(LOOK)
        raise DeviceUnreachable("the device's boot loader is not heard")

    async def _own_mode(self) -> bool | None:
        """Whether the device is in its boot loader, at its own address; None while it is not connected. It is by itself, once it is heard."""
        if self._address not in self._links.addresses():
            return None
        try:
            return await in_bootloader(await self._links.get(self._address))
        except DeviceUnreachable:
            return None

    async def _leave_application(self) -> None:
        try:
            link = await self._links.get(self._address)
            control = link.find(dfu.CONTROL, dfu.SERVICE).handle
            async with listening(link, control):
                await link.write(control, dfu.ENTER, response=True)
        except DeviceUnreachable as error:  # it may be gone before its answer is
            log.debug("%s: %s", self._address, error)

    async def _come_back(self) -> None:
        until = self._now() + self._order.patience
        while self._now() < until:
            await asyncio.sleep(LOOK)
            if await self._own_mode() is False:
                return
        self._lost[self._address] = self._now()
        raise DeviceUnreachable("the device took its new firmware, and its application does not come back")


class Transfer:
    """One image on one connection to a boot loader."""

    def __init__(self, link: Link, notices: Notices, order: Order) -> None:
        self._link, self._notices, self._order = link, notices, order
        self._control = link.find(dfu.CONTROL, dfu.SERVICE).handle
        self._packet = link.find(dfu.PACKET, dfu.SERVICE).handle

    async def run(self) -> None:
        """Raises Restarted, DriverError."""
        package = self._order.package
        await self._tell(dfu.ENTER)
        await self._link.write(self._packet, dfu.sizes(len(package.image)), response=False)
        started = await self._answer(dfu.START, ERASE)
        if started.status == dfu.INVALID_STATE:
            await self._reset()
            raise Restarted
        self._check(started, "the image")
        await self._tell(dfu.INIT_BEGINS)
        for start in range(0, len(package.init), dfu.SIZE):
            await self._link.write(self._packet, package.init[start : start + dfu.SIZE], response=False)
        await self._tell(dfu.INIT_ENDS)
        self._check(await self._answer(dfu.INIT), "the init packet")
        await self._tell(dfu.receipts(dfu.EVERY))
        await self._tell(bytes((dfu.RECEIVE,)))
        await self._send(package.image)
        self._check(await self._answer(dfu.RECEIVE), "the transfer")
        await self._tell(bytes((dfu.VALIDATE,)))
        self._check(await self._answer(dfu.VALIDATE), "what it has got")
        await self._tell(bytes((dfu.ACTIVATE,)), ends=True)

    async def _send(self, image: bytes) -> None:
        for number, start in enumerate(range(0, len(image), dfu.SIZE), 1):
            end = min(len(image), start + dfu.SIZE)
            await self._link.write(self._packet, image[start:end], response=False)
            if number % dfu.EVERY == 0 and end < len(image):
                await self._received(end)
            self._order.progress(end, len(image))

    async def _received(self, sent: int) -> None:
        """The device must have got all that was sent: there is no way to send a part of it again. Raises DeviceUnreachable."""
        told = await self._said("a receipt", ANSWER)
        if isinstance(told, Answer):
            self._check(told, "the transfer")
        elif told.octets != sent:
            await self._reset()
            raise DeviceUnreachable(
                f"a part of the firmware was lost: the device has got {told.octets} octets of {sent}"
            )

    async def _answer(self, procedure: int, limit: float = ANSWER) -> Answer:
        """The end of a procedure; receipts that come late are passed over. Raises DeviceUnreachable, DeviceRefused."""
        while True:
            told = await self._said(f"procedure {procedure}", limit)
            if isinstance(told, Answer) and told.procedure == procedure:
                return told

    async def _said(self, what: str, limit: float) -> Answer | Receipt:
        try:
            return dfu.parse(await self._notices.next(limit, what))
        except DfuError as error:
            raise DeviceRefused(f"the device's boot loader cannot be understood: {error}") from error

    @staticmethod
    def _check(answer: Answer, what: str) -> None:
        if answer.refusal:
            raise DeviceRefused(f"the device did not take {what}: {answer.refusal}")

    async def _tell(self, request: bytes, *, ends: bool = False) -> None:
        """With an answer of the connection; `ends`: the device may be gone before."""
        try:
            await self._link.write(self._control, request, response=True)
        except DeviceUnreachable:
            if not ends:
                raise

    async def _reset(self) -> None:
        try:
            await self._tell(bytes((dfu.RESET,)), ends=True)
        except DriverError as error:
            log.debug("%s: %s", self._link.address, error)
