"""The devices of a campaign, one after the other on each radio, until all are settled, too many have failed, or the time is over."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from agent.driver import DeviceUnreachable, DriverError, DriverLost, NotNow, UnknownDevice, UpdatesFirmware
from agent.model import Availability, AvailabilityChanged, DeviceAwake, DeviceId, DriverEvent, RadioUp
from agent.ota import campaign
from agent.ota.appliers.contract import Errand, SuspendedError
from agent.ota.campaign import Counts, Member, Standing
from agent.ota.campaign_book import Campaign, CampaignBook
from agent.ota.manifest import Component

log = logging.getLogger(__name__)

PERCENT = 100


@dataclass(frozen=True, slots=True)
class Terms:
    """`deadline`: seconds for the whole; `battery`: percent that a device must have left; the others are pauses in seconds.

    `retry`: until one that was out of reach is tried again unasked; `again`: one that broke off; `look`: between two looks at all of them.
    """

    deadline: float = 172_800.0
    battery: float = 30.0
    retry: float = 600.0
    again: float = 30.0
    look: float = 30.0
    radio: float = 600.0  # until a radio that is away at the beginning is given up
    grace: float = (
        600.0  # that a transfer may take to its end when it has to give way; it is broken off then, and goes on later
    )


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that the hub knows: its names, whether it lives on a battery, and the percent that are left of that."""

    id: DeviceId
    names: tuple[str, ...] = ()
    battery: bool = False
    charge: float | None = None


class Home(Protocol):
    """The radios that run, and the devices behind them."""

    def radios(self, kind: str) -> list[str]:
        """All that are configured, whether they are up or not."""

    def updates(self, kind: str) -> bool:
        """Whether the driver of this kind is an UpdatesFirmware."""

    def driver(self, radio: str) -> UpdatesFirmware | None:
        """None while it is away."""

    def devices(self, radio: str) -> list[Peer]: ...

    def hear(self, listener: Callable[[DriverEvent], None]) -> AbstractContextManager[None]:
        """Have a listener hear what drivers say, inside the block."""


class Rollout:
    """`image` is the file on this hub."""

    def __init__(
        self,
        todo: Campaign,
        component: Component,
        image: Path,
        book: CampaignBook,
        home: Home,
        terms: Terms,
        errand: Errand,
    ) -> None:
        self._todo, self._component, self._image = todo, component, image
        self._book, self._home, self._terms, self._errand = book, home, terms, errand
        self._limits: set[asyncio.Timeout] = set()  # of the transfers that are under way
        self._target = component.device.target if component.device is not None else 0
        self._under_way: dict[str, float] = {}  # radio -> share of the image that its device has
        self._rests: dict[DeviceId, float] = {}  # until when, of the loop's clock
        self._news = asyncio.Event()
        self._marked = self._told = asyncio.get_running_loop().time()
        self._percent = -1

    @property
    def counts(self) -> Counts:
        return campaign.counts(self._todo.members.values())

    async def run(self) -> None:
        """Raises StorageError, and SuspendedError where it gave way before its end."""
        radios = sorted({member.id.radio for member in self._left()})
        gives_way = asyncio.create_task(self._give_way())
        try:
            with self._home.hear(self._heard):
                async with asyncio.TaskGroup() as group:
                    for radio in radios:
                        group.create_task(self._radio(radio), name=f"firmware over {radio}")
        finally:
            gives_way.cancel()
        self._tell(force=True)
        if self._left() and not campaign.stopped(self.counts):
            raise SuspendedError

    async def _give_way(self) -> None:
        """Once it is told to: nobody new is begun, and who is being updated has a while."""
        await self._errand.pause.wait()
        self._stir()
        for limit in self._limits:
            limit.reschedule(self._after(self._terms.grace))

    def _left(self, radio: str = "") -> list[Member]:
        waiting = (one for one in self._todo.members.values() if one.standing is Standing.WAITING)
        return [one for one in waiting if radio in ("", one.id.radio)]

    # ---- one radio --------------------------------------------------------------------------------------------------

    async def _radio(self, radio: str) -> None:
        """One transfer at a time: two would share the same air."""
        while self._left(radio) and not campaign.stopped(self.counts) and not self._errand.pause.is_set():
            if self._spend() > self._terms.deadline:
                await self._keep(*(self._missed(member) for member in self._left(radio)))
                return
            driver, member = self._home.driver(radio), self._next(radio)
            if driver is None or member is None or not campaign.may_begin(self.counts, len(self._under_way)):
                await self._wait()
                continue
            self._under_way[radio] = 0.0
            try:
                after = await self._one(driver, member)
            finally:
                del self._under_way[radio]
            await self._keep(after)

    def _next(self, radio: str) -> Member | None:
        """The next one that may be tried now."""
        peers = {peer.id: peer for peer in self._home.devices(radio)}
        now, battery = asyncio.get_running_loop().time(), {key: peer.battery for key, peer in peers.items()}
        for member in campaign.in_turn(self._left(radio), battery):
            if self._rests.get(member.id, now) <= now and not self._low(peers.get(member.id)):
                return member
        return None

    def _low(self, peer: Peer | None) -> bool:
        """Whether a load of hundreds of frames might take the last of its battery, with half an image written."""
        return peer is not None and peer.battery and peer.charge is not None and peer.charge < self._terms.battery

    def _missed(self, member: Member) -> Member:
        peers = {peer.id: peer for peer in self._home.devices(member.id.radio)}
        peer = peers.get(member.id)
        low = f"its battery is at {peer.charge:.0f} %" if peer is not None and self._low(peer) else ""
        return member.ended(Standing.MISSED, low or member.detail or "it was not its turn in time")

    # ---- one device -------------------------------------------------------------------------------------------------

    async def _one(self, driver: UpdatesFirmware, member: Member) -> Member:
        """How it stands after one try."""
        radio, begun = member.id.radio, False

        def progress(done: int, total: int) -> None:
            nonlocal begun
            begun = True
            self._under_way[radio] = done / max(1, total)
            self._tell()

        try:
            return await self._updated(driver, member, progress)
        except NotNow as error:
            return self._later(member, error.message, self._terms.retry)
        except DriverLost as error:
            return self._later(member, error.message, self._terms.again)
        except DeviceUnreachable as error:
            log.info("firmware of %s: %s", member.id, error)
            self._rests[member.id] = self._after(self._terms.again if begun else self._terms.retry)
            return member.broke_off(begun, error.message)
        except UnknownDevice as error:
            return member.ended(Standing.GONE, error.message)
        except DriverError as error:
            log.warning("firmware of %s: %s", member.id, error.advice)
            return member.ended(Standing.FAILED, error.message)

    async def _updated(self, driver: UpdatesFirmware, member: Member, progress: Callable[[int, int], None]) -> Member:
        """How it stands after a try that came to its end. Raises DriverError."""
        before = await self._versions(driver, member.id.key)
        if before not in ([member.before], [self._component.file_version]):  # days may have passed, or another release
            text = f"it runs {before or 'nothing'} meanwhile, and it was {member.before}"
            return member.ended(Standing.GONE, text)
        if before == [member.before] and not await self._transfer(driver, member.id.key, progress):
            return replace(member, detail="it was broken off for another update")
        versions = await self._versions(driver, member.id.key)
        if versions != [self._component.file_version]:
            text = f"it runs {versions or 'nothing'}, and the release says {self._component.file_version}"
            return member.ended(Standing.FAILED, text)
        log.info(
            "%s runs version %d of %s now, before it was %d",
            member.id,
            versions[0],
            self._component.name,
            member.before,
        )
        return member.ended(Standing.DONE)

    async def _versions(self, driver: UpdatesFirmware, key: str) -> list[int]:
        return [firmware.version for firmware in await driver.firmware(key) if firmware.target == self._target]

    async def _transfer(self, driver: UpdatesFirmware, key: str, progress: Callable[[int, int], None]) -> bool:
        """False when it had to give way before it came to its end."""
        if self._errand.pause.is_set():
            return False
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit)
                await driver.update_firmware(key, self._image, target=self._target, progress=progress)
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        finally:
            self._limits.discard(limit)
        return True

    def _later(self, member: Member, why: str, pause: float) -> Member:
        self._rests[member.id] = self._after(pause)
        return replace(member, detail=why)

    # ---- what all share ---------------------------------------------------------------------------------------------

    def _heard(self, event: DriverEvent) -> None:
        """A device that can be reached need not wait for its time."""
        match event:
            case DeviceAwake() | AvailabilityChanged(availability=Availability.ONLINE):
                if self._rests.pop(event.id, None) is not None:
                    self._stir()
            case RadioUp():
                for one in [one for one in self._rests if one.radio == event.radio]:
                    del self._rests[one]
                self._stir()

    def _stir(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _wait(self) -> None:
        """For news, or a while."""
        try:
            async with asyncio.timeout(self._terms.look):
                await self._news.wait()
        except TimeoutError:
            self._tell(force=True)
            await self._keep()  # how long it has taken

    async def _keep(self, *members: Member) -> None:
        self._spend()
        await self._book.put(self._todo, *members)
        self._tell()
        if members:
            self._stir()

    def _spend(self) -> float:
        now = asyncio.get_running_loop().time()
        self._todo.spent += now - self._marked
        self._marked = now
        return self._todo.spent

    def _after(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds

    def _tell(self, *, force: bool = False) -> None:
        """Each percent, and now and then that it lives: whoever asked for it has a timer too."""
        now, counts = asyncio.get_running_loop().time(), self.counts
        percent = int((counts.settled + sum(self._under_way.values())) * PERCENT / max(1, counts.total))
        if force or percent != self._percent or now - self._told > self._terms.look:
            self._percent, self._told = percent, now
            self._errand.further(min(PERCENT, percent), str(counts))
