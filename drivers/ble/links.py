"""Which devices are connected: those that are wanted, as many at once as the policy says, one attempt at a time, with backoff.

A device is connected when it is heard: BlueZ knows no other way to an address that it has not seen. When all places are taken, a command
takes that of the device which was used longest ago; one that only waits gets its turn when another has had a minute.
"""

import asyncio
import logging
from collections.abc import Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from agent.driver import DeviceUnreachable, DriverError, NotSupported
from drivers.ble.link import Link
from drivers.ble.requests import Requests
from drivers.ble.seen import Seen, Sighting
from drivers.ble.settings import BleSettings

if TYPE_CHECKING:
    from bleak import BleakClient

log = logging.getLogger(__name__)

RECENT = 30.0  # seconds that BlueZ keeps a device which it neither hears nor knows (TemporaryTimeout of main.conf)
LONGEST_BACKOFF = 300.0
TURN = 60.0  # seconds of a connection until one that waits may have its place
DISCONNECT_LIMIT = 5.0
ROOM_LOOK = 0.05  # seconds between two looks for a place that a command waits for
BUSY_PAUSE, BUSY_TRIES = 0.2, 5
BUSY = "InProgress"


class Life(Protocol):
    """What connections need of the session."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...

    async def connected(self, link: Link) -> None:
        """Make use of a new connection. Raises DriverError."""

    def ready(self, link: Link) -> None:
        """A connection can be used."""

    def dropped(self, link: Link) -> None: ...


class Links:
    """All connections of one adapter."""

    def __init__(self, settings: BleSettings, requests: Requests, seen: Seen, life: Life) -> None:
        self._settings, self._requests, self._seen, self._life = settings, requests, seen, life
        self._links: dict[str, Link] = {}
        self._wanted: set[str] = set()
        self._turn = asyncio.Lock()  # BlueZ does one connection at a time, and says InProgress to others
        self._wake = asyncio.Event()
        self._sighted: dict[str, asyncio.Event] = {}
        self._dead: list[BleakClient] = []  # that lost their connection, and still hold one to D-Bus
        self.pair: set[str] = set()  # who is bonded with at its next connection

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # ---- who is wanted ----------------------------------------------------------------------------------------------

    def want(self, address: str) -> None:
        """Keep it connected."""
        self._wanted.add(address)
        self._wake.set()

    async def leave(self, address: str) -> None:
        """End a connection that nobody wants to keep."""
        if address not in self._wanted:
            await self.unwant(address)

    async def unwant(self, address: str) -> None:
        self._wanted.discard(address)
        link = self._links.pop(address, None)
        if link is not None:
            if link.attempt is not None:  # it would connect a device that nobody knows any more
                link.attempt.cancel()
                await asyncio.wait({link.attempt})
            await self._end(link)

    def heard(self, address: str) -> None:
        """It advertises. On the path of every advert."""
        event = self._sighted.get(address)
        if event is not None:
            event.set()
        if address in self._wanted and not self._link(address).connected:
            self._wake.set()

    def _link(self, address: str) -> Link:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address, self._requests, self._settings.answer_timeout, self._broken)
        return link

    @property
    def places(self) -> int:
        return self._settings.connections

    def addresses(self) -> tuple[str, ...]:
        """Who is connected."""
        return tuple(address for address, link in self._links.items() if link.ready)

    # ---- connections ------------------------------------------------------------------------------------------------

    async def get(self, address: str) -> Link:
        """The connection, made when it is not there. Raises DeviceUnreachable, DeviceRefused, NotSupported, DriverLost."""
        self._requests.check()
        link = self._link(address)
        if not link.ready:
            attempt = link.attempt or self._begin(link)
            with link.held():
                await asyncio.wait({attempt})
            if link.error is not None:
                error, link.error = link.error, None
                raise error
            self._requests.check()
            if not link.ready:
                raise DeviceUnreachable("the device was connected, and gone again")
        return link

    def _begin(self, link: Link, *, asked: bool = True) -> asyncio.Task[None]:
        link.error = None
        link.attempt = self._life.spawn(self._attempt(link, asked=asked), f"connection to {link.address}")
        return link.attempt

    async def _attempt(self, link: Link, *, asked: bool) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await self._connect(link, asked=asked)
        except (DriverError, TimeoutError) as error:
            found = (
                error if isinstance(error, DriverError) else DeviceUnreachable("the device was not connected in time")
            )
            link.error = found
            link.failures += 1
            pause = min(LONGEST_BACKOFF, self._settings.backoff * 2 ** min(link.failures - 1, 16))
            link.stale, link.next_try = self._now(), self._now() + pause
            log.info("%s is not connected, next attempt in %.1f s: %s", link.address, pause, found)
            await self._end(link)
        finally:
            link.attempt = None
            self._wake.set()

    async def _connect(self, link: Link, *, asked: bool) -> None:
        sighting = await self._sight(link)
        async with self._turn:
            await self._room(link, asked=asked)
            await self._open(link, sighting)
            link.failures, link.since = 0, self._now()
        await self._life.connected(link)
        await link.resubscribe()
        link.prepared = True
        self._life.ready(link)

    async def _open(self, link: Link, sighting: Sighting) -> None:
        for turn in range(BUSY_TRIES):
            client = self._client(link, sighting)
            try:
                await self._requests.ask(client.connect, limit=self._settings.connect_timeout, what="connection")
            except DeviceUnreachable as error:
                if turn == BUSY_TRIES - 1 or not _busy(error):
                    if "not found" in str(error):
                        self._seen.forget(link.address)  # BlueZ has forgotten it; it must be heard anew
                    raise
                await asyncio.sleep(BUSY_PAUSE * (turn + 1))
            else:
                link.take(client)
                return

    def _client(self, link: Link, sighting: Sighting) -> "BleakClient":
        kind = import_module("bleak").BleakClient
        pair = link.address in self.pair

        def gone(client: "BleakClient") -> None:
            if link.client is client:
                self._broken(link)

        limit = self._settings.connect_timeout
        made: BleakClient = kind(
            sighting.handle, gone, timeout=limit, pair=pair, bluez={"adapter": self._settings.adapter}
        )
        return made

    def _fresh(self, link: Link) -> Sighting | None:
        """It was heard a short while ago, and since it was lost."""
        found = self._seen.get(link.address)
        if found is None or found.handle is None:
            return None
        return found if found.at > max(link.stale, self._now() - RECENT) else None

    def _broken(self, link: Link) -> None:
        """Its connection is of no more use."""
        if link.client is not None:
            self._dead.append(link.client)
            link.drop()
            self._life.dropped(link)
            self._wake.set()

    async def _sight(self, link: Link) -> Sighting:
        """The newest sighting, waited for."""
        while (found := self._fresh(link)) is None:
            event = self._sighted.setdefault(link.address, asyncio.Event())
            event.clear()
            await event.wait()
        self._sighted.pop(link.address, None)
        return found

    async def _room(self, link: Link, *, asked: bool) -> None:
        """A free place, waited for while all others are in use. Raises NotSupported, DeviceUnreachable."""
        if not self._settings.connections:
            raise NotSupported("this radio makes no connections (connections = 0)")
        while True:
            others = [one for one in self._links.values() if one.connected and one is not link]
            if len(others) < self._settings.connections:
                return
            unused = [one for one in others if one.prepared and not one.busy]
            idle = [one for one in unused if asked or self._now() - one.since >= TURN]
            if idle:
                await self._end(min(idle, key=lambda one: max(one.used, one.since)))
            elif not asked:
                raise DeviceUnreachable(f"{len(others)} devices are connected, which is all that `connections` allows")
            else:
                await asyncio.sleep(ROOM_LOOK)

    async def _end(self, link: Link) -> None:
        """Disconnect; whatever it says, the connection is no longer used."""
        client = link.client
        link.drop()
        if client is None:
            return
        self._life.dropped(link)
        try:
            await self._requests.ask(client.disconnect, limit=DISCONNECT_LIMIT, what="disconnection")
        except DriverError as error:
            log.debug("%s: %s", link.address, error)

    # ---- keeping ----------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Connect who is wanted, until this is cancelled."""
        while True:
            self._wake.clear()
            await self._release()
            now = self._now()
            waits = [link.next_try for address in self._wanted if not (link := self._link(address)).connected]
            for address in self._wanted:
                link = self._link(address)
                fresh = self._fresh(link) is not None
                if fresh and not link.connected and link.attempt is None and link.next_try <= now and self._free():
                    self._begin(link, asked=False)
            due = min((at for at in waits if at > now), default=None)
            try:
                async with asyncio.timeout(TURN if due is None else due - now):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _free(self) -> bool:
        """Whether one that only waits may try: a place is free, or somebody had a turn."""
        connected = [one for one in self._links.values() if one.connected]
        trying = sum(one.attempt is not None and not one.connected for one in self._links.values())
        if len(connected) + trying < self._settings.connections:
            return True
        return trying == 0 and any(not one.busy and self._now() - one.since >= TURN for one in connected)

    async def close(self) -> None:
        """Disconnect everybody."""
        self._wanted.clear()
        for link in self._links.values():
            if link.client is not None:
                self._dead.append(link.client)
                link.drop()
        await self._release()

    async def _release(self) -> None:
        """Close what dead clients hold, also without BlueZ; bleak does so only when it is asked to disconnect."""
        dead, self._dead = self._dead, []
        ends = (asyncio.wait_for(client.disconnect(), DISCONNECT_LIMIT) for client in dead)
        for found in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(found, BaseException):
                log.debug("end of a connection: %r", found)


def _busy(error: DeviceUnreachable) -> bool:
    cause = error.__cause__
    return BUSY in str(getattr(cause, "dbus_error", "")) or "already in progress" in str(cause)
