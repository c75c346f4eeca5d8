"""New firmware for a node over the air: it pulls fragment after fragment, and says how that ended (SDS13782, Firmware Update Meta Data).

An image is sent as it is given. A transfer goes as the last in the row: whatever a person or an interview wants comes first. What was
interrupted goes on where it stopped, where the node can; fragments are never sent with less security than the node has.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.driver import DeviceRefused, DeviceUnreachable, InvalidParameters, NotSupported
from drivers.zwave.codec import Command
from drivers.zwave.firmware import Fragment, encode, image_checksum
from drivers.zwave.messages import Messages, NoAnswer, Received
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.transmit import Urgency

log = logging.getLogger(__name__)

CLASS = 0x7A
NAME = "Firmware Update Meta Data"
Progress = Callable[[int, int], None]  # bytes that the node has asked for, of all

PAUSE = 0.015  # seconds between two fragments, so that the node keeps up (SDS13782: 15 ms at 100 kbit/s)
HEAD, CHECKSUM = 4, 2  # bytes of a report beside its data
SEALED = {None: 0, SecurityClass.S0: 20}  # bytes that security adds
SEALED_S2 = 12
FRAGMENT = 40  # bytes where the node does not say what it takes
MOST_FRAGMENTS = 0x7FFF
REQUEST_TIMEOUT = 60.0  # seconds: a node may have to erase its flash first
GET_TIMEOUT = 120.0  # seconds without a word of the node until the transfer is given up
LAST_TIMEOUT = 60.0  # the same once it has got all of it: it writes its flash, or its last word was lost
UNDELIVERED = 6  # transmissions of fragments in a row
MOST_SENT = 5  # times its size, until a node that asks without end is given up
ACTIVATION_TIMEOUT = 60.0
RESTART = 1.0  # seconds that a node needs at least, where it says nothing
LOOKS = (0.0, 5.0, 15.0, 30.0)  # seconds before each look for a node that restarts

UPGRADABLE, ALLOWED = 0xFF, 0xFF
WAITS, NO_RESTART, RESTARTS, ACTIVATED = 0xFD, 0xFE, 0xFF, 0xFF
REQUESTS = {
    0x00: "it takes no image of this manufacturer and firmware id",
    0x01: "it wants its button pressed first",
    0x02: "the fragments are too large for it",
    0x03: "its firmware cannot be replaced",
    0x04: "the image is for other hardware",
    0x05: "another update is under way in it",
    0x06: "its battery is low",
}
ENDS = {
    0x00: "the checksum is wrong",
    0x01: "it did not get all of it",
    0x02: "the image is of another manufacturer",
    0x03: "the image is of another firmware",
    0x04: "the image is for another part of it",
    0x05: "the image's header is wrong",
    0x06: "the image's header has a wrong form",
    0x07: "it has no room for it",
    0x08: "the image is for other hardware",
}
AGAIN = "update it with the same image again: it goes on where it stopped, where the device can"
REMEDIES = {0x01: "press its button, and update again", 0x06: "charge or replace its battery"}


class FirmwareUpdate:
    """One image for one node that is awake, and stays so: it is spoken with all the time."""

    def __init__(
        self,
        messages: Messages,
        record: NodeRecord,
        image: bytes,
        target: int,
        progress: Progress,
        *,
        delay: bool = False,
    ) -> None:
        self._messages = messages
        self._record = record
        self._image = image
        self._target = target
        self._progress = progress
        self._delay = delay  # it is activated by us
        self._version = record.version(CLASS)
        self._checksum = image_checksum(image)
        self._size = 0
        self._first: Command | None = None
        self._undelivered = 0  # in a row
        self._sent = 0  # bytes
        self.complete = False  # the node has been sent all of it

    async def run(self) -> float:
        """Transfer and activate it: seconds until the node is to be looked for.

        Raises InvalidParameters, NotSupported, DeviceRefused, DeviceUnreachable, StickJammed, DriverLost.
        """
        if not self._version:
            raise NotSupported("the device takes no firmware over the air")
        meta = await self._meta()
        with self._messages.overhearing(self._concerns) as heard:
            await self._request(meta, heard)
            status = await self._transfer(heard)
        if status["status"] not in (WAITS, NO_RESTART, RESTARTS):
            reason = ENDS.get(status["status"], f"status {status['status']:#04x}")
            raise DeviceRefused(f"the device did not take the firmware: {reason}")
        if status["status"] == WAITS:
            await self._activate(meta)
        seconds = float(status.get("wait_seconds", 0))
        return seconds if status["status"] == NO_RESTART else max(RESTART, seconds)

    def _concerns(self, received: Received) -> bool:
        command = received.command
        names = (f"{NAME} Request Report", f"{NAME} Get", f"{NAME} Status Report")
        return received.node == self._record.id and isinstance(command, Command) and command.name in names

    async def _ask(self, name: str, expects: str, limit: float, tries: int, **values: Any) -> Command:
        request = self._messages.make(self._record.id, f"{NAME} {name}", **values)
        received = await self._messages.ask(self._record.id, request, f"{NAME} {expects}", tries=tries, timeout=limit)
        assert isinstance(received.command, Command)  # noqa: S101  it has the name that was asked for
        return received.command

    # ---- what the node takes ----------------------------------------------------------------------------------------

    async def _meta(self) -> Command:
        meta = await self._ask("Meta Data Get", "Meta Data Report", 5.0, 2)
        if self._target and self._target > len(meta.get("targets", [])):
            raise InvalidParameters(f"the device has no firmware {self._target}")
        if not self._target and meta.get("upgradable", UPGRADABLE) != UPGRADABLE:
            raise NotSupported("the device's own firmware cannot be replaced")
        if self._delay and not meta.get("activation"):
            raise NotSupported("the device starts a new image at once")
        room = self._messages.secured.segments.room(self._record.id) - HEAD - CHECKSUM - self._sealed()
        self._size = min(room, meta.get("max_fragment_size") or FRAGMENT)
        if -(-len(self._image) // self._size) > MOST_FRAGMENTS:
            raise InvalidParameters(f"an image of {len(self._image)} bytes is too large to be sent")
        return meta

    def _sealed(self) -> int:
        record = self._record
        return SEALED.get(record.highest, SEALED_S2) if record.is_secure(CLASS) else 0

    def _firmware(self, meta: Command) -> dict[str, Any]:
        number = meta["targets"][self._target - 1] if self._target else meta["firmware"]
        return {"manufacturer": meta["manufacturer"], "firmware": number, "checksum": self._checksum}

    async def _request(self, meta: Command, heard: "asyncio.Queue[Received]") -> None:
        more = {"target": self._target, "fragment_size": self._size, "hardware": meta.get("hardware", 0)}
        wishes = {"activation": self._delay, "non_secure": False, "resume": bool(meta.get("resume"))}
        values = {**self._firmware(meta), **more, **wishes}
        request = self._messages.make(self._record.id, f"{NAME} Request Get", **values)
        await self._messages.send(self._record.id, request)
        answer = await self._heard(heard, REQUEST_TIMEOUT, "does not answer whether it takes new firmware")
        if answer.name == f"{NAME} Get":  # it has begun: its answer was lost
            self._first = answer
        elif answer.get("status") != ALLOWED:
            reason = REQUESTS.get(answer["status"], f"status {answer['status']:#04x}")
            raise DeviceRefused(f"the device refused the update: {reason}", remedy=REMEDIES.get(answer["status"], ""))

    async def _heard(self, heard: "asyncio.Queue[Received]", limit: float, silence: str) -> Command:
        try:
            async with asyncio.timeout(limit):
                command = (await heard.get()).command
        except TimeoutError:
            raise DeviceUnreachable(f"the device {silence}", remedy=AGAIN) from None
        assert isinstance(command, Command)  # noqa: S101  see _concerns
        return command

    # ---- the image --------------------------------------------------------------------------------------------------

    async def _transfer(self, heard: "asyncio.Queue[Received]") -> Command:
        """Send what the node asks for, until it says how it ended."""
        while True:
            limit = LAST_TIMEOUT if self.complete else GET_TIMEOUT
            command = self._first or await self._heard(heard, limit, "asks for no more of its firmware")
            self._first = None
            if command.name == f"{NAME} Status Report":
                return command
            if command.name == f"{NAME} Get" and heard.empty():  # else it has asked again meanwhile, or is done
                await self._send(command["number"], command["count"])

    async def _send(self, first: int, count: int) -> None:
        last = -(-len(self._image) // self._size)
        if not 1 <= first <= last:
            raise DeviceRefused(f"the device asks for fragment {first} of {last}")
        for number in range(first, min(first + count, last + 1)):
            begin = (number - 1) * self._size
            data = self._image[begin : begin + self._size]
            if self._sent >= MOST_SENT * len(self._image):
                raise DeviceRefused(
                    f"the device asks for the same again and again: {self._sent} bytes were sent of {len(self._image)}",
                    remedy="bring it nearer, or take its power away",
                )
            self._sent += len(data)
            report = encode(Fragment(number, number == last, data), self._version)
            if not await self._delivered(report):
                return  # it asks for it again
            self.complete = self.complete or number == last
            self._progress(begin + len(data), len(self._image))
            await asyncio.sleep(PAUSE)

    async def _delivered(self, report: bytes) -> bool:
        """Tried twice, since a node waits for seconds before it asks again. Raises DeviceUnreachable where nothing gets through any more."""
        for _ in range(2):
            try:
                await self._messages.send(self._record.id, report, urgency=Urgency.BACKGROUND)
            except DeviceUnreachable as error:
                self._undelivered += 1
                if self._undelivered == UNDELIVERED:
                    raise DeviceUnreachable(f"the device does not hear its firmware: {error}", remedy=AGAIN) from error
            else:
                self._undelivered = 0
                return True
        return False

    async def _activate(self, meta: Command) -> None:
        values = {**self._firmware(meta), "target": self._target, "hardware": meta.get("hardware", 0)}
        answer = await self._ask("Activation Set", "Activation Report", ACTIVATION_TIMEOUT, 1, **values)
        if answer["status"] != ACTIVATED:
            raise DeviceRefused(f"the device does not start its new firmware (status {answer['status']:#04x})")

    # ---- afterwards -------------------------------------------------------------------------------------------------

    async def version(self, looks: tuple[float, ...] = LOOKS) -> str:
        """What runs now. Raises DeviceUnreachable where the node does not come back."""
        for pause in looks:
            await asyncio.sleep(pause)
            with suppress(DeviceUnreachable):
                request = self._messages.make(self._record.id, "Version Get")
                received = await self._messages.ask(self._record.id, request, "Version Report")
                return _version(received.command, self._target)
        raise NoAnswer("the device took its new firmware, and does not answer yet", remedy="look at it in some minutes")


def _version(report: Any, target: int) -> str:
    targets = report.get("targets") or []
    if target and target <= len(targets):
        return f"{targets[target - 1]['version']}.{targets[target - 1]['sub_version']}"
    return f"{report['firmware']}.{report['firmware_sub']}"
