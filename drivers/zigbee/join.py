"""The join window: opened on request for at most 254 s, bound to one device where there is an install code, closed by itself.

zigpy-znp holds the call open for the whole window when there is a link key, and takes the key back at its end; bellows returns at once. So
the window is a task of its own, and closing it is cancelling that task.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import zigpy.types
import zigpy.util

from agent.driver import DriverError, DriverLost, InvalidParameters, Sink
from agent.model import Discovery, JoinWindow
from drivers.zigbee.installcode import InstallCode, InstallCodeError, parse
from drivers.zigbee.nodes import Strangers
from drivers.zigbee.radio import Link
from drivers.zigbee.requests import Priority, Requests

log = logging.getLogger(__name__)

MAX_SECONDS = 254  # Mgmt_Permit_Joining_req; 255 would be for ever
PERMIT_TIMEOUT = 15.0
CLOSE_TIMEOUT = 3.0  # the hub may be stopping; a window that stays open ends by itself

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Window:
    """The join window of one link."""

    def __init__(
        self, radio: str, link: Link, requests: Requests, sink: Sink, spawn: Spawn, *, require_code: bool
    ) -> None:
        self._radio = radio
        self._link = link
        self._requests = requests
        self._sink = sink
        self._spawn = spawn
        self._require_code = require_code
        self._task: asyncio.Task[None] | None = None
        self.strangers = Strangers()

    def material(self, request: Discovery) -> InstallCode | None:
        """The install code of a request, if it has one. Raises InvalidParameters."""
        if request.duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        if not request.material:
            if self._require_code:
                raise InvalidParameters(
                    "this radio joins devices with an install code only (require_install_code); none was given"
                )
            return None
        try:
            return parse(request.material)
        except InstallCodeError as error:
            raise InvalidParameters(str(error)) from error

    async def open(self, duration: int, code: InstallCode | None) -> None:
        """Open the window, in place of one that is open. Returns once devices may join. Raises DriverError."""
        await self.close()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = min(duration, MAX_SECONDS)
        self._task = self._spawn(self._hold(seconds, code, opened), "join window")
        try:
            await opened
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    async def close(self) -> None:
        """Close the window now, if one is open."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def _hold(self, seconds: int, code: InstallCode | None, opened: asyncio.Future[None]) -> None:
        self.strangers.expected = code.eui64 if code else ""
        try:
            async with asyncio.timeout(seconds + PERMIT_TIMEOUT):
                await self._permit(seconds, code, opened)
                self._told(opened, seconds)
                await asyncio.sleep(0 if code and self._link.radio == "znp" else seconds)
        except DriverError as error:
            if opened.done():
                log.warning("the join window ended early: %s", error)
            else:
                opened.set_exception(error)
        except TimeoutError:
            log.warning("the stick did not end the join window by itself")
        finally:
            if not opened.done():
                opened.set_exception(DriverLost("the join window was closed before it was open"))
            await self._shut()

    async def _permit(self, seconds: int, code: InstallCode | None, opened: asyncio.Future[None]) -> None:
        app = self._link.app
        if code is None:
            await self._requests.ask(lambda: app.permit(seconds), limit=PERMIT_TIMEOUT, priority=Priority.USER)
            return
        key = zigpy.util.convert_install_code(code.code)
        node = zigpy.types.EUI64.convert(code.eui64)
        app.permitted = lambda: self._told(opened, seconds)
        try:
            await self._requests.ask(
                lambda: app.permit_with_link_key(node=node, link_key=key, time_s=seconds),
                limit=seconds + PERMIT_TIMEOUT,
            )
        finally:
            app.permitted = None

    def _told(self, opened: asyncio.Future[None], seconds: int) -> None:
        if not opened.done():
            opened.set_result(None)
            self._sink(JoinWindow(self._radio, seconds))

    async def _shut(self) -> None:
        try:
            await self._requests.ask(lambda: self._link.app.permit(0), limit=CLOSE_TIMEOUT)
        except DriverLost:
            return
        except DriverError as error:
            log.warning("the join window could not be closed, it ends by itself: %s", error)
        finally:
            self.strangers.expected = ""  # not before: who slips in while the window closes is a stranger as well
        self._sink(JoinWindow(self._radio, 0))
