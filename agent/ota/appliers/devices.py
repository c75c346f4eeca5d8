"""Updates of devices over the air, of any kind whose driver takes images: what they run is asked from them, never remembered here.

The image waits in a folder of its own until the campaign is over. An activation is the campaign (agent/ota/campaign.py, rollout.py); it
may take days, and goes on after a restart. There is no roll-back: a device runs what it took, and a campaign that stops leaves it so. A
step back is a release of its own, with a permission.
"""

import asyncio
import functools
import hashlib
import logging
import shutil
from contextlib import suppress
from pathlib import Path

from agent.driver import DriverError, DriverLost, Firmware, NotSupported, UnknownDevice, UpdatesFirmware
from agent.errors import TryAgainError
from agent.files import disk_trouble
from agent.ota import campaign
from agent.ota.appliers.contract import ApplierError, Effect, Errand, Found, Image, Progress, SuspendedError
from agent.ota.appliers.kept import keep, one_file, whole
from agent.ota.appliers.rollout import Home, Peer, Rollout, Terms
from agent.ota.campaign import Member, Standing
from agent.ota.campaign_book import CampaignBook
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from agent.ota.refusals import RefusedError
from agent.ota.trust import Device, check_device

log = logging.getLogger(__name__)

KINDS = ("zigbee", "zwave", "ble", "coap")
AT_ONCE = 4  # devices that are asked what they run
SHORT = 16  # digits of a hash


class Devices:
    """The applier of components of one kind of devices."""

    def __init__(
        self, kind: str, folder: Path, book: CampaignBook, home: Home, terms: Terms, errand: Errand | None = None
    ) -> None:
        self.kind = kind
        self._folder, self._book, self._home, self._terms = folder, book, home, terms
        self._errand = errand or Errand()

    def entrusted(self, errand: Errand) -> "Devices":
        """See agent.ota.appliers.contract.FleetApplier."""
        return Devices(self.kind, self._folder, self._book, self._home, self._terms, errand)

    # ---- facts ------------------------------------------------------------------------------------------------------

    async def judge(self, component: Component) -> None:
        self._can(component)
        one_file(component)

    async def standing(self, component: Component) -> str:
        """See agent.ota.appliers.contract.FleetApplier."""
        found = await self._book.last(self._key(component))
        return "" if found is None else str(campaign.counts(found.members.values()))

    async def describe(self, component: Component) -> Found:
        """CONFIRMED when no device that the image is for is without it. Raises TryAgainError while a radio is away."""
        if await self._book.open(self._key(component)) is not None:
            return Found(Runs.UNDER_WAY, "")
        self._can(component)
        away = [radio for radio in self._home.radios(self.kind) if self._home.driver(radio) is None]
        if away:
            remedy = "plug it in, or take it out of the configuration"
            raise TryAgainError("the radio is away, so its devices cannot be asked", place=away[0], remedy=remedy)
        members = [member for member in await self._survey(component) if member.standing is Standing.WAITING]
        if self._errand.only and not members:
            return Found(Runs.CONFIRMED, await self._runs_it(component))
        versions = sorted({member.before for member in members})
        text = f"{len(members)} devices with {', '.join(map(str, versions))}" if members else component.version
        return Found(Runs.OLD if members else Runs.CONFIRMED, text)

    async def _runs_it(self, component: Component) -> str:
        """The version that the one device runs, which is the component's. Raises ApplierError where it is another, or nobody knows."""
        found = [
            (radio, peer) for radio in self._home.radios(self.kind) for peer in self._meant(self._home.devices(radio))
        ]
        if not found:
            text = f"no radio of this hub knows the device {self._errand.only}"
            raise ApplierError("no-device", text, remedy="name a device that `agent devices` shows")
        radio, peer = found[0]
        driver = self._home.driver(radio)
        if driver is None:
            raise TryAgainError("the radio went away while its device was asked", place=radio)
        try:
            images = await driver.firmware(peer.id.key)
        except DriverError as error:
            raise ApplierError(
                "unreachable", f"what {peer.id} runs is not known: {error}", remedy=error.remedy
            ) from error
        if component.file_version not in [image.version for image in images]:
            text = f"{component.name} {component.version} is not for {peer.id}"
            raise ApplierError(
                "wrong-device", text, remedy="compare the release's `device` with what the device says of itself"
            )
        return component.version

    def _can(self, component: Component) -> None:
        """Raises ApplierError where there are such radios, and their driver cannot. Without a radio there is no device to update."""
        if self._home.radios(self.kind) and not self._home.updates(self.kind):
            remedy = f"update the devices with their maker's tool, and leave {component.name} out for this hub"
            raise ApplierError("no-applier", f"the {self.kind} driver updates no devices", remedy=remedy)

    async def _survey(self, component: Component) -> list[Member]:
        """The devices that the image is for and that have another version, and those that may be. Raises TryAgainError."""
        found: list[Member | None] = []
        for radio in self._home.radios(self.kind):
            driver, peers = self._home.driver(radio), self._meant(self._home.devices(radio))
            if driver is None:
                raise TryAgainError("the radio went away while its devices were asked", place=radio)
            for start in range(0, len(peers), AT_ONCE):
                asked = (self._member(component, driver, peer) for peer in peers[start : start + AT_ONCE])
                found += await asyncio.gather(*asked)
        return [member for member in found if member is not None]

    def _meant(self, peers: list[Peer]) -> list[Peer]:
        return [peer for peer in peers if not self._errand.only or self._errand.only in (peer.id.key, *peer.names)]

    async def _member(self, component: Component, driver: UpdatesFirmware, peer: Peer) -> Member | None:
        """None for a device that the image is not for, or that runs it."""
        try:
            images = await driver.firmware(peer.id.key)
        except DriverLost as error:
            raise TryAgainError(error.message, place=peer.id.radio, remedy=error.remedy) from error
        except DriverError as error:
            log.info("firmware of %s is not known: %s", peer.id, error)
            silent = Member(peer.id, 0, Standing.SILENT, detail=error.message)
            return None if isinstance(error, NotSupported | UnknownDevice) else silent
        wanted = next((image for image in images if self._wanted(component, peer, image)), None)
        return None if wanted is None else Member(peer.id, wanted.version)

    def _wanted(self, component: Component, peer: Peer, image: Firmware) -> bool:
        permission = self._errand.permission
        named = permission.devices if permission is not None else ()
        name = next((name for name in peer.names if name in named), str(peer.id))
        device = Device(name, self.kind, image.manufacturer, image.product, image.version, image.target, image.hardware)
        try:
            check_device(component, device, permission)
        except RefusedError as error:
            log.debug("%s is not for %s: %s", component.name, peer.id, error)
            return False
        return image.version != component.file_version

    # ---- the image --------------------------------------------------------------------------------------------------

    def _image(self, component: Component) -> Path:
        """Of each campaign in a folder of its own: one may give way to another in the middle."""
        return self._folder / self.kind / hashlib.sha256(self._key(component).encode()).hexdigest()[:SHORT] / "image"

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:
        """Whatever campaign of it there was is over: this one begins with all of its devices."""
        await self._book.forget(self._key(component))
        write = functools.partial(keep, self._image(component), images[0], progress)
        await asyncio.get_running_loop().run_in_executor(None, write)

    async def check(self, component: Component) -> bool:
        return await asyncio.get_running_loop().run_in_executor(None, whole, self._image(component), component)

    # ---- the campaign -----------------------------------------------------------------------------------------------

    async def activate(self, component: Component) -> Effect:
        """Raises ApplierError: campaign-stopped, or incomplete where some failed, or were not reached in time; SuspendedError."""
        image = self._image(component)
        if not await self.check(component):
            raise ApplierError("not-written", "the image is not on the disk as it was signed", place=str(image))
        key = self._key(component)
        todo = await self._book.open(key)
        if todo is None:
            await self._radios()
            todo = await self._book.begin(key, await self._survey(component))
            total = campaign.counts(todo.members.values()).total
            log.info("%s %s goes to %d devices", component.name, component.version, total)
        rollout = Rollout(todo, component, image, self._book, self._home, self._terms, self._errand)
        await rollout.run()
        counts, members = rollout.counts, todo.members.values()
        why = campaign.stopped(counts)
        if why:
            text = f"{why}, and nobody else was tried: {counts} ({campaign.failures(members)})"
            raise ApplierError(
                "campaign-stopped", text, remedy="what runs on the devices stays; look at those that failed"
            )
        if counts.failed or counts.missed:
            text = f"{counts} ({campaign.failures(members)})"
            raise ApplierError("incomplete", text, remedy="offer the release again: only these devices are left")
        return Effect.PROVED

    async def _radios(self) -> None:
        """Wait until all of them are up. Raises ApplierError where one stays away, SuspendedError."""
        try:
            async with asyncio.timeout(self._terms.radio):
                await self._until_up()
        except TimeoutError:
            text = f"a {self.kind} radio is away, so that nobody knows its devices"
            raise ApplierError("radio-away", text, remedy="plug it in, and offer the release again") from None

    async def _until_up(self) -> None:
        news = asyncio.Event()
        with self._home.hear(lambda _event: news.set()):
            while any(self._home.driver(radio) is None for radio in self._home.radios(self.kind)):
                if self._errand.pause.is_set():
                    raise SuspendedError
                news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), self._terms.look)

    async def confirm(self, component: Component) -> None:
        await self._over(component)

    async def roll_back(self, component: Component) -> Effect:
        """There is none: devices keep what they run."""
        await self._over(component)
        return Effect.STAYS

    async def _over(self, component: Component) -> None:
        await self._book.close(self._key(component))
        with disk_trouble():
            shutil.rmtree(self._image(component).parent, ignore_errors=True)
            if not any((self._folder / self.kind).glob("*")):
                shutil.rmtree(self._folder / self.kind, ignore_errors=True)

    def _key(self, component: Component) -> str:
        files, only = (file.sha256 for file in component.files), (self._errand.only,) if self._errand.only else ()
        return " ".join((component.name, component.version, *files, *only))

    async def clean(self) -> None:
        with disk_trouble():
            shutil.rmtree(self._folder / self.kind, ignore_errors=True)
