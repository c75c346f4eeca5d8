"""The firmware of a radio stick itself: only after a backup of its network that was proved, and done once the network is the same again.

What the stick runs is asked from it. The order goes to its driver, which writes the image before it starts, again and again until the stick
has it: whoever waits in a bootloader is no brick (drivers/stick_update.py). What the network was is noted here before anything is done, so
that a restart in the middle still compares with it. There is no way back: a stick runs what it took.
"""

import asyncio
import functools
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.driver import DriverError, DriverLost, InvalidParameters, NotSupported, UpdatesStick
from agent.errors import TryAgainError
from agent.files import disk_trouble, write_atomic
from agent.model import DriverEvent, JsonValue
from agent.ota.appliers.contract import ApplierError, Effect, Found, Image, Progress
from agent.ota.appliers.kept import keep, one_file, whole
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from agent.ota.refusals import RefusedError
from agent.ota.trust import Device, check_device

log = logging.getLogger(__name__)

TRIES = 3  # orders for one stick


class Home(Protocol):
    """The radios of this hub."""

    def sticks(self) -> list[str]:
        """Those whose driver may be an UpdatesStick, whether they are up or not."""

    def stick(self, radio: str) -> UpdatesStick | None:
        """None while it is away, and for one whose stick is somebody else's."""

    def away(self, radio: str) -> bool: ...

    def hear(self, listener: Callable[[DriverEvent], None]) -> AbstractContextManager[None]:
        """Have a listener hear what drivers say, inside the block."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: `back` until a stick is there again, `look` between two looks."""

    back: float = 1800.0
    look: float = 1.0


@dataclass(frozen=True, slots=True)
class Note:
    """What was begun: `networks` by radio, as the backups of before have them; `orders` by radio."""

    digest: str
    networks: Mapping[str, Mapping[str, JsonValue]]
    orders: Mapping[str, int]


class Sticks:
    """The applier of components of kind `radio`."""

    kind = "radio"

    def __init__(self, folder: Path, home: Home, terms: Terms) -> None:
        self._folder, self._home, self._terms = folder, home, terms

    # ---- facts ------------------------------------------------------------------------------------------------------

    async def judge(self, component: Component) -> None:
        one_file(component)

    async def describe(self, component: Component) -> Found:
        """CONFIRMED when no stick that it is for is without it. Raises TryAgainError while a radio is away."""
        if self._note(component) is not None:
            return Found(Runs.UNDER_WAY, "")
        found = await self._without(component)
        versions = ", ".join(f"{radio} has {version}" for radio, version in found.items())
        return Found(Runs.OLD if found else Runs.CONFIRMED, versions or component.version)

    async def _without(self, component: Component) -> dict[str, int]:
        """Radio -> version, of the sticks that the image is for. Raises TryAgainError."""
        found = {}
        for radio in self._home.sticks():
            if self._home.away(radio):
                remedy = "plug it in, or take it out of the configuration"
                raise TryAgainError("the radio is away, so its stick cannot be asked", place=radio, remedy=remedy)
            driver = self._home.stick(radio)
            version = None if driver is None else await self._wanted(component, radio, driver)
            if version is not None:
                found[radio] = version
        return found

    async def _wanted(self, component: Component, radio: str, driver: UpdatesStick) -> int | None:
        """The version of a stick that is to get the image; None for another one."""
        try:
            told = await driver.stick()
            text = "the stick of %s: manufacturer %r, product %r, version 0x%08X"
            log.info(text, radio, told.manufacturer, told.product, told.version)
            known = Device(radio, self.kind, told.manufacturer, told.product, told.version, told.target, told.hardware)
            check_device(component, known)
        except DriverLost as error:
            raise TryAgainError(error.message, place=radio, remedy=error.remedy) from error
        except (NotSupported, RefusedError) as error:
            log.debug("%s is not for the stick of %s: %s", component.name, radio, error)
            return None
        return told.version

    # ---- the image --------------------------------------------------------------------------------------------------

    @property
    def _image(self) -> Path:
        return self._folder / "image"

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:  # noqa: ARG002  the contract's
        await self.clean()
        work = functools.partial(keep, self._image, images[0], progress)
        await asyncio.get_running_loop().run_in_executor(None, work)

    async def check(self, component: Component) -> bool:
        return await asyncio.get_running_loop().run_in_executor(None, whole, self._image, component)

    # ---- the sticks -------------------------------------------------------------------------------------------------

    async def activate(self, component: Component) -> Effect:
        """Raises ApplierError: not-written, not-proved, not-taken, stick-away, network-changed."""
        if not await self.check(component):
            raise ApplierError("not-written", "the image is not on the disk as it was signed", place=str(self._image))
        note = self._note(component) or await self._begin(component)
        for radio in note.networks:
            await self._renew(component, radio)
        return Effect.PROVED

    async def _begin(self, component: Component) -> Note:
        """Prove a backup of every network first. Raises ApplierError, TryAgainError."""
        networks = {}
        for radio in await self._without(component):
            driver = await self._there(radio)
            try:
                networks[radio] = await driver.proved_backup()
            except DriverError as error:
                text = f"the network of {radio} has no backup that is proved: {error.message}"
                raise ApplierError("not-proved", text, place=radio, remedy=error.remedy) from error
        note = Note(_digest(component), networks, {})
        self._keep(note)
        return note

    async def _renew(self, component: Component, radio: str) -> None:
        """One stick, until it runs the image and its network is what it was."""
        while True:
            driver = await self._there(radio)
            try:
                if (await driver.stick()).version == component.file_version:
                    await self._compare(component, radio, driver)
                    return
                await self._order(component, radio, driver)
            except DriverLost as error:
                log.info("%s goes away in its update: %s", radio, error)
            await self._gone(radio, driver)

    async def _order(self, component: Component, radio: str, driver: UpdatesStick) -> None:
        note = self._note(component)
        orders = dict(note.orders) if note is not None else {}
        if note is None or orders.get(radio, 0) >= TRIES:
            text = f"the stick of {radio} runs what it ran before, after {TRIES} tries"
            raise ApplierError("not-taken", text, place=radio, remedy="look at the image: the stick starts another one")
        self._keep(Note(note.digest, note.networks, {**orders, radio: orders.get(radio, 0) + 1}))
        try:
            await driver.update_stick(self._image)
        except DriverLost:
            raise
        except InvalidParameters as error:
            raise ApplierError("bad-image", error.message, place=radio, remedy=error.remedy) from error
        except DriverError as error:
            raise ApplierError("not-taken", error.message, place=radio, remedy=error.remedy) from error

    async def _compare(self, component: Component, radio: str, driver: UpdatesStick) -> None:
        """The network after it with the backup of before. Raises DriverLost."""
        note = self._note(component)
        before = None if note is None else dict(note.networks[radio])
        try:
            after = dict(await driver.proved_backup())
        except DriverLost:
            raise
        except DriverError as error:
            raise ApplierError(
                "network-changed", f"it cannot be read after the update: {error.message}", place=radio
            ) from error
        if after != before:
            wrong = ", ".join(sorted(name for name in after if before is None or after[name] != before.get(name)))
            remedy = "the backup of before is kept with the radio's secrets: restore it"
            raise ApplierError(
                "network-changed", f"after the update another {wrong} is there", place=radio, remedy=remedy
            )
        log.info("the stick of %s runs version %d of %s now", radio, component.file_version, component.name)

    async def _there(self, radio: str) -> UpdatesStick:
        """The driver, once it is up. Raises ApplierError where it stays away: its driver goes on with what was ordered all the same."""
        driver = await self._until(lambda: self._home.stick(radio))
        if driver is None:
            text = f"the radio {radio} does not come back"
            raise ApplierError(
                "stick-away", text, place=radio, remedy="plug the stick out and in; its driver goes on by itself"
            )
        found: UpdatesStick = driver
        return found

    async def _gone(self, radio: str, driver: UpdatesStick) -> None:
        await self._until(lambda: self._home.stick(radio) is not driver)

    async def _until(self, look: Callable[[], Any]) -> Any:
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        end = loop.time() + self._terms.back
        with self._home.hear(lambda _event: news.set()):
            while not (found := look()) and loop.time() < end:
                news.clear()
                try:
                    async with asyncio.timeout(self._terms.look):
                        await news.wait()
                except TimeoutError:
                    continue
        return found

    # ---- the end ----------------------------------------------------------------------------------------------------

    async def confirm(self, component: Component) -> None:  # noqa: ARG002  the contract's
        await self.clean()

    async def roll_back(self, component: Component) -> Effect:  # noqa: ARG002  the contract's
        """There is none: a stick keeps what it runs."""
        await self.clean()
        return Effect.STAYS

    async def clean(self) -> None:
        with disk_trouble():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _note(self, component: Component) -> Note | None:
        """What was begun of this component."""
        with disk_trouble():
            try:
                told = json.loads((self._folder / "note.json").read_bytes())
                note = Note(told["digest"], dict(told["networks"]), dict(told["orders"]))
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError):
                log.exception("the note on the stick's update is damaged, and is dropped")
                return None
        return note if note.digest == _digest(component) else None

    def _keep(self, note: Note) -> None:
        text = json.dumps({"digest": note.digest, "networks": note.networks, "orders": note.orders})
        with disk_trouble():
            write_atomic(self._folder / "note.json", text.encode())


def _digest(component: Component) -> str:
    return component.files[0].sha256
