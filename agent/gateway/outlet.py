"""How events reach the cloud.

An event is durable-first, as events of adopted devices are: it goes through the outbox, which paces what is sent, and no lost connection
loses it. What is told each minute anyway is not: beacons that are watched, and how connected devices were heard.
"""

import logging
from collections.abc import Callable
from typing import Any

from agent.clock import Clock, iso
from agent.cloud.channel import Channel
from agent.cloud.mqtt import MqttLost
from agent.cloud.nrf import encoded
from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_pairing import Pairing
from agent.wire.nrf_gateway import Event

log = logging.getLogger(__name__)

# Events that are not on disk yet; a device that notifies faster than a disk writes loses what is beyond.
MOST_OPEN = 1000

Publish = Callable[
    [str, dict[str, Any], Callable[[], None]], None
]  # device, body of a Kind.GATEWAY, what is called once it is on disk
Count = Callable[[str], None]


class Outlet:
    """The events of one gateway. `pairing` is there once the cloud has told the topics."""

    def __init__(self, dialect: GatewayDialect, channel: Channel, publish: Publish, clock: Clock, count: Count) -> None:
        self._dialect, self._channel, self._publish, self._clock = dialect, channel, publish, clock
        self.count = count
        self.pairing: Pairing | None = None
        self._number = 0
        self._open = 0

    def say(self, event: Event, address: str = "") -> bool:
        """Through the outbox; False: too many wait for the disk."""
        if self._open >= MOST_OPEN:
            self.count("gateway_dropped")
            return False
        self._open += 1
        self._publish(address, {"event": event.wire(), "number": self._next()}, self._written)
        return True

    def hint(self, event: Event) -> bool:
        """At once or never; False: there is no connection."""
        if self.pairing is None or not self._channel.up:
            return False
        told = self._dialect.envelope(event.wire(), self._clock.now().iso, self._next())
        try:
            self._channel.publish(self._dialect.events(self.pairing), encoded(told))
        except MqttLost:
            return False
        return True

    def error(self, description: str, code: int, address: str = "") -> None:
        """What went wrong, told and counted."""
        self.count("gateway_errors")
        log.info("BLE gateway: %s: %s", address or "operation", description)
        self.say(self._dialect.error(description, code, address), address)

    def ago(self, seconds: float) -> str:
        """The time so many seconds ago, ISO-8601."""
        return iso(self._clock.now().wall - seconds)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _written(self) -> None:
        self._open -= 1
