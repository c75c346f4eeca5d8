"""The hub as OTA Upgrade server (ZCL 8, 11.8 to 11.14): only an image that it was handed goes out, and only to the device it is for.

zigpy's cluster has the commands; its own search for images is off (radio.py), and its handler, which would end a transfer that a restart
of the hub has cut, is replaced here for each device: an unsolicited query hears that there is no image, and a device that is half way
hears that it should wait.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from zigpy.zcl.foundation import Status

from agent.clock import Clock
from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    DriverError,
    Firmware,
    InvalidParameters,
    NotNow,
    NotSupported,
)
from drivers.zigbee import ota_image
from drivers.zigbee.node import Node
from drivers.zigbee.ota_book import FirmwareBook, Known
from drivers.zigbee.ota_image import Header, OtaImage
from drivers.zigbee.ota_transfer import (
    ALL_OF_THEM,
    ANSWER_TIME,
    BLOCK,
    PAGE,
    QUERY,
    Terms,
    Transfer,
    answer,
    read_version,
)
from drivers.zigbee.requests import Priority, Requests

log = logging.getLogger(__name__)

OTA = 0x0019
TYPE = (0x0007, 0x0008)  # attributes of the client: manufacturer, image type
QUERY_TIME = 10.0  # seconds for a device to ask once it is notified
WAIT = 30  # seconds after which a device that is half way asks again
WAITS_MOST = 1800.0  # seconds that it is asked to wait; nobody goes on with it then


class Updates:
    """Of one link. `bug` is told what zigpy would only log."""

    def __init__(
        self, requests: Requests, book: FirmwareBook, clock: Clock, terms: Terms, bug: Callable[[Exception], None]
    ) -> None:
        self._requests, self._book, self._clock, self._terms, self._bug = requests, book, clock, terms, bug
        self._one = asyncio.Lock()
        self._transfer: Transfer | None = None
        self._queries: dict[str, asyncio.Event] = {}
        self._until = clock.now().mono + WAITS_MOST

    # ---- what devices ask -------------------------------------------------------------------------------------------

    def listen(self, node: Node) -> Callable[[], None]:
        """Take over what a device asks the server; calling what is returned ends that."""
        clusters = list(_clients(node.device))
        for cluster in clusters:
            cluster.handle_cluster_request = partial(self._heard, node, cluster)

        def end() -> None:
            for cluster in clusters:
                cluster.__dict__.pop("handle_cluster_request", None)

        return end

    def _heard(self, node: Node, cluster: Any, header: Any, command: Any, **_: Any) -> None:
        try:
            self._take(node, cluster, header, command)
        except Exception as error:  # noqa: BLE001  handed on to the session, which ends with it
            self._bug(error)

    def _take(self, node: Node, cluster: Any, header: Any, command: Any) -> None:
        key, transfer = node.id.key, self._transfer
        if header.command_id == QUERY:
            self._remember(key, command)
            if key in self._queries:
                self._queries[key].set()
        if transfer is not None and transfer.node.id.key == key:
            transfer.heard(header, command)
        elif header.command_id in (QUERY, BLOCK, PAGE):
            cluster.create_catching_task(self._turn_away(node, cluster, header, command))

    async def _turn_away(self, node: Node, cluster: Any, header: Any, command: Any) -> None:
        """There is nothing for this device, or not yet."""
        name, fields = "query_next_image_response", {"status": Status.NO_IMAGE_AVAILABLE}
        if header.command_id != QUERY:
            name, fields = "image_block_response", {"status": Status.ABORT}
            known = self._book.get(node.id.key)
            half_way = known is not None and known.loading == command.file_version
            if half_way and self._clock.now().mono < self._until:
                period = getattr(command, "minimum_block_period", None) or 0
                times = {"current_time": 0, "request_time": WAIT, "minimum_block_period": period}
                fields = {"status": Status.WAIT_FOR_DATA, **times}
        try:
            await answer(node, cluster, self._requests, name, header, **fields)
        except DriverError as error:
            log.debug("%s asked for firmware and was not told that there is none: %s", node.id, error)

    def restarted(self, key: str) -> None:
        """A device announced itself."""
        if self._transfer is not None and self._transfer.node.id.key == key:
            self._transfer.restarted()

    def forget(self, key: str) -> None:
        """A device was removed."""
        self._book.forget(key)

    # ---- what it has ------------------------------------------------------------------------------------------------

    async def firmware(self, node: Node) -> tuple[Firmware, ...]:
        """Asked from the device; one that does not hear is as it said last. Raises NotSupported, NotNow, DeviceUnreachable, DriverLost."""
        cluster = _client(node)
        self._requests.check()
        key, last = node.id.key, getattr(cluster, "last_query_cmd", None)
        if self._book.get(key) is None and last is not None:
            self._remember(key, last)  # heard by zigpy at the interview
        try:
            known = await self._ask(node, cluster)
        except (NotNow, DeviceUnreachable, DeviceRefused):
            said = self._book.get(key)
            if said is None:
                raise
            known = said
        return (Firmware(known.manufacturer, known.image_type, known.version, hardware=known.hardware),)

    async def _ask(self, node: Node, cluster: Any) -> Known:
        known = self._book.get(node.id.key)
        version = await read_version(node, cluster, self._requests)
        if known is None:
            await self._provoke(node, cluster)
            known = self._book.get(node.id.key) or await self._read_type(node, cluster)
        known = known if version is None else replace(known, version=version)
        self._book.put(node.id.key, known)
        return known

    async def _provoke(self, node: Node, cluster: Any) -> None:
        """Have the device ask: only so does it tell its hardware version."""
        asked = self._queries.setdefault(node.id.key, asyncio.Event())
        try:
            await self._requests.ask(
                lambda: cluster.image_notify(payload_type=0, query_jitter=ALL_OF_THEM, retries=node.retries),
                limit=ANSWER_TIME,
                sleepy=node.sleepy,
            )
            await self._requests.ask(asked.wait, limit=QUERY_TIME)
        except DeviceUnreachable as error:
            log.debug("%s does not ask for firmware: %s", node.id, error)
        finally:
            self._queries.pop(node.id.key, None)

    async def _read_type(self, node: Node, cluster: Any) -> Known:
        values, _ = await self._requests.ask(
            lambda: cluster.read_attributes(list(TYPE), retries=0),
            limit=ANSWER_TIME,
            priority=Priority.BACKGROUND,
            sleepy=node.sleepy,
        )
        if not set(TYPE) <= set(values):
            raise NotSupported("the device does not say which firmware it takes", place=str(node.id))
        return Known(int(values[TYPE[0]]), int(values[TYPE[1]]), 0)

    def _remember(self, key: str, query: Any) -> None:
        before = self._book.get(key)
        hardware = getattr(query, "hardware_version", None)
        self._book.put(
            key,
            Known(
                int(query.manufacturer_code),
                int(query.image_type),
                int(query.current_file_version),
                None if hardware is None else int(hardware),
                None if before is None else before.loading,
            ),
        )

    # ---- an update --------------------------------------------------------------------------------------------------

    async def update(self, node: Node, path: Path, progress: Callable[[int, int], None]) -> None:
        """See agent.driver. One at a time: a radio that serves two serves both badly, and nobody else."""
        cluster = _client(node)
        image = ota_image.parse(await asyncio.to_thread(_read, path), str(path))
        async with self._one:
            self._requests.check()
            self._suits(node, image.header)
            with self._serving(Transfer(node, cluster, image, self._requests, self._clock, self._terms)) as transfer:
                await transfer.run(progress)
            key, header = node.id.key, image.header
            self._book.put(key, Known(header.manufacturer, header.image_type, header.file_version))

    @contextmanager
    def _serving(self, transfer: Transfer) -> Iterator[Transfer]:
        """What the device asks goes to the transfer; how it ends says whether the device should wait for another one."""
        key, image = transfer.node.id.key, transfer.image
        self._transfer, transfer.node.device.ota_in_progress = transfer, True  # zigpy interviews nobody meanwhile
        self._begun(key, image)
        try:
            yield transfer
        except (DeviceRefused, InvalidParameters):
            self._book.loads(key, None)
            raise
        else:
            self._book.loads(key, None)
        finally:
            self._transfer, transfer.node.device.ota_in_progress = None, False
            self._until = self._clock.now().mono + WAITS_MOST

    def _begun(self, key: str, image: OtaImage) -> None:
        header = image.header
        if self._book.get(key) is None:
            self._book.put(key, Known(header.manufacturer, header.image_type, 0))
        self._book.loads(key, header.file_version)

    def _suits(self, node: Node, header: Header) -> None:
        """Raises InvalidParameters for what is known to be wrong; the device's own query is judged again."""
        known, wrong = self._book.get(node.id.key), ""
        own = int.from_bytes(node.device.ieee.serialize(), "little")
        if header.destination not in (None, own):
            wrong = "one other device"
        elif known is not None and (known.manufacturer, known.image_type) != (header.manufacturer, header.image_type):
            wrong = f"other devices than manufacturer 0x{known.manufacturer:04X}, type 0x{known.image_type:04X}"
        elif known is not None and not header.suits(known.hardware):
            wrong = f"other hardware than version {known.hardware}"
        if wrong:
            raise InvalidParameters(f"the image is for {wrong}", place=str(node.id))


def _clients(device: Any) -> Iterator[Any]:
    for endpoint in device.non_zdo_endpoints:
        if OTA in endpoint.out_clusters:
            yield endpoint.out_clusters[OTA]


def _client(node: Node) -> Any:
    for cluster in _clients(node.device):
        return cluster
    raise NotSupported("the device takes no firmware over the air", place=str(node.id))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(ota_image.LARGEST + 1)
    except OSError as error:
        raise InvalidParameters(f"the image cannot be read: {error.strerror}", place=str(path)) from error
