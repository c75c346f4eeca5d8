"""Every request to the radio goes through here: its priority, its time-out, and what its failure means.

zigpy's own limiter sorts by priority (user commands before interviews before polls) and bounds what is on the air. When the link goes,
all requests under way end at once; without this they would wait for their time-outs on a port that is gone.
"""

import logging
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TypeVar

import zigpy.exceptions
from zigpy.zcl.foundation import Status

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotNow, NotSupported
from drivers.limits import Limits
from drivers.zigbee.radio import Link

log = logging.getLogger(__name__)

T = TypeVar("T")


class Priority(IntEnum):
    """zigpy's packet priorities; CRITICAL passes its limiter and is left to zigpy's interviews."""

    USER = 1
    NORMAL = 0
    BACKGROUND = -1


# ZCL statuses that say "not with this device", of ZCL R8 2.6.3; all other failures are a refusal.
_UNSUPPORTED = {
    Status.UNSUP_CLUSTER_COMMAND,
    Status.UNSUP_GENERAL_COMMAND,
    Status.UNSUPPORTED_ATTRIBUTE,
    Status.UNSUPPORTED_CLUSTER,
    Status.READ_ONLY,
}


# The frame did not leave the first hop; anything else may have reached the device.
_UNDELIVERED = {
    "MAC_NO_ACK",
    "MAC_CHANNEL_ACCESS_FAILURE",
    "NWK_NO_ROUTE",
    "MAC_NO_RESOURCES",
    "BUFFER_FULL",
    "NETWORK_BUSY",
}


class Undelivered(DeviceUnreachable):
    """The request certainly did not reach the device."""


class Requests:
    """The requests of one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._limits = Limits(link.lost)

    def check(self) -> None:
        """Raise DriverLost when the link is gone."""
        if self._link.lost.done():
            raise DriverLost(self._link.lost.result())

    async def ask(
        self,
        request: Callable[[], Awaitable[T]],
        *,
        limit: float,
        priority: Priority = Priority.NORMAL,
        sleepy: bool = False,
        repeatable: bool = True,
    ) -> T:
        """The answer to `request`, within `limit` seconds. Raises NotNow, DeviceUnreachable, DeviceRefused or DriverLost.

        `sleepy`: nobody answers because nobody listens. `repeatable`: doing it twice does no harm, so a lost link or a lost answer
        may be reported as "not done"; otherwise it is reported as an end, and the command is not run again.
        """
        self.check()
        try:
            async with self._limits.within(limit), self._link.app.request_priority(priority):
                return await request()
        except DriverError:
            raise
        except Exception as error:
            raise self._meaning(error, sleepy=sleepy, repeatable=repeatable) from error

    def _meaning(self, error: Exception, *, sleepy: bool, repeatable: bool) -> Exception:
        """What a failure of zigpy means in the words of the contract; an unexpected one stays what it is: a bug."""
        if self._link.lost.done():
            # A command after the loss is an AttributeError deep in zigpy-znp; one before it may have been carried out.
            if repeatable:
                return DriverLost(self._link.lost.result())
            return DeviceUnreachable(
                "the stick went away while the command was under way; whether it was carried out is not known"
            )
        if isinstance(error, zigpy.exceptions.DeliveryError):
            status = getattr(error.status, "name", str(error.status))
            if sleepy and (repeatable or status != "APS_NO_ACK"):
                return NotNow(f"the device sleeps ({status})")
            kind = Undelivered if status in _UNDELIVERED else DeviceUnreachable
            return kind(f"the device cannot be reached ({status})")
        if isinstance(error, TimeoutError):
            if sleepy and repeatable:
                return NotNow("the device sleeps (no answer)")
            return DeviceUnreachable("the device did not answer")
        if isinstance(error, (zigpy.exceptions.ParsingError, zigpy.exceptions.InvalidResponse)):
            return DeviceRefused(f"the device's answer cannot be read: {error}")
        if isinstance(error, (zigpy.exceptions.ZigbeeException, zigpy.exceptions.RadioException, OSError)):
            return DeviceUnreachable(f"the stick refused the request: {str(error) or type(error).__name__}")
        if type(error).__module__.partition(".")[0] in ("zigpy_znp", "bellows"):
            return DeviceUnreachable(f"the stick refused the request: {error!r}")
        return error


def expect_success(status: int, what: str) -> None:
    """Raise NotSupported or DeviceRefused for a ZCL or ZDO status other than success."""
    if status == Status.SUCCESS:
        return
    name = getattr(status, "name", f"0x{status:02X}")
    if status in _UNSUPPORTED:
        raise NotSupported(f"the device does not know {what} ({name})")
    raise DeviceRefused(f"the device refused {what} ({name})")
