"""A stick's own firmware: an image that waits in the radio's folder until the stick has it, whatever happens in between.

An order is written down before the stick is sent into its bootloader; from then on each start of the driver looks for the stick there first,
and writes the image until it is taken. A stick that is found with an application again needs nothing: what it runs is then asked from it.
"""

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.driver import DeviceRefused, DriverLost, InvalidParameters, NotSupported
from agent.files import disk_trouble, sync_folder, write_atomic
from drivers import gbl
from drivers.gecko import Bootloader

log = logging.getLogger(__name__)

IMAGE, ORDER = "stick.gbl", "stick-update.json"
UPLOADS = 2  # in one start of the driver, which the watchdog gives five minutes


@dataclass(frozen=True, slots=True)
class Order:
    """An image for the stick that was on this port."""

    image: bytes
    port: str


def read(path: Path) -> bytes:
    """The image in a file. Raises InvalidParameters for what is none."""
    try:
        content = path.read_bytes()
        gbl.read(content)
    except OSError as error:
        raise InvalidParameters(f"image cannot be read: {error.strerror}", place=str(path)) from error
    except gbl.GblError as error:
        raise InvalidParameters(f"the image is not for a Gecko bootloader: {error}", place=str(path)) from error
    return content


def check_kept(backups: int) -> None:
    """Raises NotSupported where a backup would be proved and thrown away."""
    if not backups:
        remedy = "set `backups` of this radio to 1 or more"
        raise NotSupported("no backups are kept, and a stick gets no firmware without one", remedy=remedy)


def begin(folder: Path, image: bytes, port: str) -> None:
    """Write the order down. Raises StorageError."""
    with disk_trouble():
        write_atomic(folder / IMAGE, image)
        write_atomic(folder / ORDER, json.dumps({"port": port}).encode())


def ordered(folder: Path) -> Order | None:
    """What was begun and not ended. Raises StorageError."""
    with disk_trouble():
        try:
            told = json.loads((folder / ORDER).read_bytes())
            return Order((folder / IMAGE).read_bytes(), str(told["port"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            log.exception("the order for the stick's firmware is damaged, and is dropped")
            return None


def end(folder: Path) -> None:
    """It needs nothing more. Raises StorageError."""
    with disk_trouble():
        for name in (ORDER, IMAGE):
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)


async def go_on(folder: Path, ports: Iterable[str]) -> None:
    """Write what was ordered to a stick that is in its bootloader, before anything else is done with it.

    Raises DriverLost where it cannot be found out just now, or the stick has not taken it: the next start tries again.
    """
    order = ordered(folder)
    if order is None:
        return
    for port in dict.fromkeys((order.port, *ports)):
        async with Bootloader().on(port) as bootloader:
            if await bootloader.there():
                await _write(bootloader, order, port)
                end(folder)
                return
    end(folder)
    log.info("the stick is not in its bootloader: there is nothing to write")


async def _write(bootloader: Bootloader, order: Order, port: str) -> None:
    for number in range(1, UPLOADS + 1):
        log.warning("the stick on %s gets new firmware, %d bytes", port, len(order.image))
        with suppress(DeviceRefused):
            await bootloader.upload(order.image, lambda _done: None)
            await bootloader.run()
            return
        log.warning("the stick on %s has not taken it, try %d of %d", port, number, UPLOADS)
    raise DriverLost(
        f"the stick on {port} waits in its bootloader and does not take its firmware", remedy="look at the image"
    )
