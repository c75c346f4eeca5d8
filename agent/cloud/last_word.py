"""The status that nothing may follow: taken when the broker acknowledges it, or will not have the hub again after it was sent.

A cloud that deletes the hub on this word may revoke its certificate and end the connection before the PUBACK is on its way.
"""

import asyncio

from agent.cloud.mqtt import HungUp, Refused

HANG_UPS = 2  # a broker that is just restarting hangs up once


class LastWord:
    """`taken` is done when the cloud has heard it."""

    def __init__(self) -> None:
        self.taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._mid = 0
        self._hang_ups = 0

    def sent(self, mid: int) -> None:
        """It is under way as this packet."""
        self._mid, self._hang_ups = mid, 0

    def acknowledged(self, mid: int) -> None:
        """The broker has taken this packet."""
        if mid == self._mid:
            self._heard()

    def ended(self, error: Exception) -> None:
        """A connection has ended, or was not made."""
        self._hang_ups += isinstance(error, HungUp)
        if self._mid and (isinstance(error, Refused) or self._hang_ups >= HANG_UPS):
            self._heard()

    def _heard(self) -> None:
        if not self.taken.done():
            self.taken.set_result(None)
