"""Firmware of CoAP devices with the Firmware Update object of OMA LwM2M (object 5), written to them in blocks (RFC 7959).

Source: OMA-TS-LightweightM2M Core 1.1, E.6: Package /5/0/0, Update /5/0/2, State /5/0/3, Update Result /5/0/5, PkgVersion /5/0/7; the Device
object's Firmware Version /3/0/3. What is sent is what the device takes: its form is the maker's. A transfer that was cut off goes on at the
block that was not acknowledged, for as long as the device remembers those before.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from aiocoap.numbers.codes import GET, POST, PUT

from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    Firmware,
    InvalidParameters,
    NotNow,
    NotSupported,
    version_number,
)
from drivers.coap.catalog import path_of
from drivers.coap.client import Incomplete
from drivers.coap.node import Node
from drivers.coap.values import ContentError, Reading, decode

log = logging.getLogger(__name__)

PACKAGE, UPDATE, STATE, RESULT, PACKAGE_VERSION = "/5/0/0", "/5/0/2", "/5/0/3", "/5/0/5", "/5/0/7"
RUNS = "/3/0/3"
IDLE, DOWNLOADING, DOWNLOADED, UPDATING = range(4)
INITIAL, SUCCESS = 0, 1
RESULTS = {
    2: "it has no room for it",
    3: "it ran out of memory",
    4: "its connection was lost",
    5: "the package is damaged",
    6: "it does not take packages of this kind",
    7: "the address of the package is wrong",
    8: "the update failed",
    9: "it does not speak the protocol",
}
OCTETS = 42  # content format
EXPONENT = 6  # blocks of 1024 octets, until the device wants smaller ones
LARGEST = 64 << 20
LOOK = 0.5  # seconds between two looks at a device that is at work


class Life(Protocol):
    """What updates need of the session that they belong to."""

    def node(self, key: str) -> Node: ...

    async def interview(self, key: str) -> None: ...


class Updates:
    """Of one radio. `patience`: seconds for a device that is at work or restarts."""

    def __init__(self, session: Life, patience: float) -> None:
        self._session, self._patience = session, patience
        self._one = asyncio.Lock()
        self._sent: dict[str, tuple[str, int, int]] = {}  # key -> SHA-256 of a package, octets acknowledged, exponent

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        """Asked from the device; one that does not answer runs what its interview told. Raises as UpdatesFirmware.firmware."""
        node = self._updatable(key)
        facts = node.record.facts
        try:
            told = await self._version(node)
        except DeviceUnreachable:
            told = facts.get("firmware", "")
            if not told:
                raise
        number = version_number(told)
        if number is None:
            raise NotSupported(f"the device does not say which version it runs ({told or 'nothing'})", place=key)
        return (Firmware(facts.get("manufacturer", ""), facts.get("model", ""), number),)

    def _updatable(self, key: str) -> Node:
        """Raises UnknownDevice, NotSupported."""
        node = self._session.node(key)
        if not {PACKAGE, "/5/0", "/5"} & {path_of(target) for target, _ in node.record.links}:
            raise NotSupported("the device takes no firmware over the air", place=key)
        return node

    async def _version(self, node: Node) -> str:
        """What it runs; of a device without the Device object, what its last package was. Raises DriverError."""
        try:
            return str(await self._read(node, RUNS))
        except NotSupported:
            return str(await self._read(node, PACKAGE_VERSION))

    @staticmethod
    async def _read(node: Node, path: str) -> object:
        answer = await node.ask(GET, path)
        try:
            found = [one.value for one in decode(answer.payload, answer.content_format) if isinstance(one, Reading)]
            return found[0]
        except (ContentError, IndexError) as error:
            raise DeviceRefused(f"{path} of the device cannot be read: {error}") from error

    async def _number(self, node: Node, path: str) -> int:
        value = await self._read(node, path)
        try:
            return int(float(str(value)))
        except ValueError:
            raise DeviceRefused(f"{path} of the device is no number") from None

    # ---- an update --------------------------------------------------------------------------------------------------

    async def update(self, key: str, path: Path, target: int, progress: Callable[[int, int], None]) -> None:
        """See UpdatesFirmware.update_firmware. One at a time."""
        node = self._updatable(key)
        if target:
            raise InvalidParameters(f"the device has no image {target}", place=key)
        content = await asyncio.to_thread(_package, path)
        async with self._one:
            await self._transfer(key, node, content, progress)
            await self._until(node, DOWNLOADED)
            await node.ask(POST, UPDATE)
            await self._until(node, IDLE)
            with suppress(DeviceUnreachable):  # people see it later then
                await self._session.interview(key)

    async def _transfer(self, key: str, node: Node, content: bytes, progress: Callable[[int, int], None]) -> None:
        digest = hashlib.sha256(content).hexdigest()
        offset, exponent = await self._begin(key, node, digest, len(content))
        anew = False
        while offset < len(content):
            size = 1 << exponent + 4
            part = content[offset : offset + size]
            block = (offset // size, offset + size < len(content), exponent)
            try:
                answer = await node.ask(PUT, PACKAGE, body=(part, OCTETS), block=block)
            except Incomplete:
                if anew:
                    raise
                anew, offset = True, 0
                continue
            offset += len(part)
            if answer.exponent is not None:
                exponent = min(exponent, answer.exponent)  # smaller ones from here on (RFC 7959, 2.5)
            self._sent[key] = (digest, offset, exponent)
            progress(offset, len(content))
        self._sent.pop(key, None)

    async def _begin(self, key: str, node: Node, digest: str, size: int) -> tuple[int, int]:
        """Where to go on. Raises DriverError."""
        before, offset, exponent = self._sent.get(key, ("", 0, EXPONENT))
        state = await self._number(node, STATE)
        if state == UPDATING:
            raise NotNow("the device is at work on another update", place=key)
        if before == digest and state in (DOWNLOADING, DOWNLOADED):
            return offset if state == DOWNLOADING else size, exponent
        if state != IDLE:
            await node.ask(PUT, PACKAGE, body=(b"", OCTETS))  # an empty package has it begin anew
        return 0, EXPONENT

    async def _until(self, node: Node, state: int) -> None:
        """Until the device is where it should be. Raises DeviceRefused, DeviceUnreachable."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                now, result = await self._number(node, STATE), await self._number(node, RESULT)
            except DeviceUnreachable as error:
                log.debug("%s: %s", node.id, error)
            else:
                if result not in (INITIAL, SUCCESS):
                    raise DeviceRefused(
                        f"the device did not take the firmware: {RESULTS.get(result, f'result {result}')}"
                    )
                if now == state and (state != IDLE or result == SUCCESS):
                    return
            if loop.time() > until:
                raise DeviceUnreachable("the device does not come to an end with its new firmware")
            await asyncio.sleep(LOOK)


def _package(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InvalidParameters(f"the image cannot be read: {error.strerror}", place=str(path)) from error
    if not 0 < len(content) <= LARGEST:
        raise InvalidParameters(f"the image is empty, or has more than {LARGEST} octets", place=str(path))
    return content
