"""The join window: for some time devices are looked for, or the one that the material names is called until it answers. It closes by itself."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from agent.driver import DeviceRefused, DriverError, DriverLost, InvalidParameters, Sink
from agent.model import Discovery, JoinWindow
from drivers.coap.client import Client
from drivers.coap.finder import MOST, Shout, registered
from drivers.coap.keys import Address, Key, MaterialError, address, material
from drivers.coap.settings import CoapSettings

log = logging.getLogger(__name__)

MAX_SECONDS = 900
TOGETHER = 8  # devices that are interviewed at once
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0  # seconds between two rounds
SECURITY_REMEDY = "give its key with --auth, or set require_security = false"

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
One = tuple[Address, Key | None]


class Joins(Protocol):
    """Who takes the devices in."""

    client: Client

    def knows(self, where: Address) -> bool:
        """Whether a device with this address is known, protected or not."""

    async def join(self, where: Address, key: Key | None, name: str) -> None:
        """Interview a device and tell the hub of it. Raises DriverError; DeviceRefused for what a second try does not mend."""

    def failed(self, where: Address, error: DriverError) -> None:
        """Tell the hub that a device did not join."""


class Window:
    """The join window of one radio."""

    def __init__(self, radio: str, settings: CoapSettings, joins: Joins, sink: Sink, spawn: Spawn) -> None:
        self._radio, self._settings, self._joins, self._sink, self._spawn = radio, settings, joins, sink, spawn
        self._task: asyncio.Task[None] | None = None
        self._candidates: dict[Address, str] = {}
        self._given_up: set[Address] = set()
        self._arrived = asyncio.Event()
        self._places = asyncio.Semaphore(TOGETHER)

    def material(self, request: Discovery) -> One | None:
        """The device that the request names, if it names one. Raises InvalidParameters."""
        if request.duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        if not request.material:
            if self._settings.require_security:
                raise InvalidParameters("this radio takes protected devices only", remedy=SECURITY_REMEDY)
            return None
        try:
            where, key = material(request.material)
        except MaterialError as error:
            raise InvalidParameters(str(error)) from error
        if key is None and self._settings.require_security:
            raise InvalidParameters("this radio takes protected devices only", remedy=SECURITY_REMEDY)
        return where, key

    async def open(self, duration: int, one: One | None) -> None:
        """Open the window, in place of one that is open."""
        await self.close()
        seconds = min(duration, MAX_SECONDS)
        self._candidates, self._given_up = {}, set()
        opened = asyncio.Event()
        self._task = self._spawn(self._hold(seconds, one, opened), "join window")
        await opened.wait()  # a task that is cancelled before it begins tells nobody that the window is closed

    async def close(self) -> None:
        """Close the window now, if one is open."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def _hold(self, seconds: int, one: One | None, opened: asyncio.Event) -> None:
        shouts: list[Shout] = []
        self._sink(JoinWindow(self._radio, seconds))
        opened.set()
        try:
            async with asyncio.timeout(seconds):
                if one is not None:
                    await self._call(*one)
                else:
                    shouts = await self._shouts()
                    await self._look_around(shouts)
        except TimeoutError:
            log.debug("the join window ends")
        finally:
            for shout in shouts:
                shout.close()
            self._sink(JoinWindow(self._radio, 0))

    async def _call(self, where: Address, key: Key | None) -> None:
        """Call one device until it answers or the window ends."""
        pause, trouble = FIRST_PAUSE, DriverError(f"{where} does not answer")
        try:
            while True:
                try:
                    await self._joins.join(where, key, "")
                except DeviceRefused as error:
                    self._joins.failed(where, error)
                    return
                except DriverLost:
                    raise
                except DriverError as error:
                    if error.remedy:
                        self._joins.failed(where, error)
                        return
                    trouble = error
                else:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        except asyncio.CancelledError:
            self._joins.failed(where, trouble)
            raise

    async def _shouts(self) -> list[Shout]:
        made = []
        for interface in self._settings.interfaces:
            shout = Shout(interface, self._settings.multicast_port, self._found)
            try:
                await shout.open()
            except OSError as error:
                log.warning("no multicast on %s: %s", interface, error)
            else:
                made.append(shout)
        return made

    def _found(self, where: Address) -> None:
        if where not in self._candidates and len(self._candidates) < MOST:
            self._candidates[where] = ""
            self._arrived.set()

    async def _look_around(self, shouts: list[Shout]) -> None:
        """Ask in rounds; who was found joins, and who refused is not asked twice in this window."""
        pause = FIRST_PAUSE
        for text in self._settings.addresses:
            self._found(address(text))
        while True:
            for shout in shouts:
                shout.ask()
            if self._settings.directory:
                await self._look_up(address(self._settings.directory))
            end = asyncio.get_running_loop().time() + pause
            pause = min(pause * 2, LONGEST_PAUSE)
            await self._try_all()
            while await self._comes_by(end):  # who answers the multicast late does not wait for the next question
                await self._try_all()

    async def _comes_by(self, end: float) -> bool:
        """Whether another device was found before `end`."""
        try:
            async with asyncio.timeout_at(end):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def _try_all(self) -> None:
        """Together: those that are switched off must not keep those waiting that answer."""
        self._arrived.clear()
        tries = (self._try(where, name) for where, name in list(self._candidates.items()))
        for result in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _look_up(self, directory: Address) -> None:
        try:
            async with asyncio.timeout(LONGEST_PAUSE):
                found = await registered(self._joins.client, directory)
            for where, name in found.items():
                self._found(where)
                self._candidates[where] = name
        except DriverLost:
            raise
        except (DriverError, TimeoutError) as error:
            log.warning("the resource directory cannot be asked: %s", error)

    async def _try(self, where: Address, name: str) -> None:
        async with self._places:
            if where in self._given_up or self._joins.knows(where):
                return
            try:
                async with asyncio.timeout(LONGEST_PAUSE):
                    await self._joins.join(where, None, name)
            except DeviceRefused as error:
                self._given_up.add(where)
                self._joins.failed(where, error)
            except DriverLost:
                raise
            except (DriverError, TimeoutError) as error:
                log.debug("%s: %s", where, error)
