"""What the rest of the hub knows of an uplink, whichever way it reaches its cloud."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from agent.cloud.lane import LinkPolicy
from agent.requests import Message


class Uplink(Protocol):
    """agent.cloud.link.Link over MQTT, agent.cloud.nrf_calls_link.NrfCallsLink by calls.

    `connected`: the cloud takes what is offered. `proved`: it has taken something since, of which there is always the hub's status.
    """

    name: str
    policy: LinkPolicy
    counters: Counter[str]
    connected: bool
    proved: bool
    last_error: str

    @property
    def waiting(self) -> int:
        """Messages in memory that are not acknowledged."""

    def offer(self, message: Message) -> None:
        """A durable message has been committed."""

    def offer_live(self, message: Message) -> None:
        """State, deliver-first."""

    def set_status(self, status: Mapping[str, Any]) -> None:
        """The hub's status, to be told."""

    async def say_last(self, status: Mapping[str, Any], timeout: float) -> bool:
        """Tell a status that nothing may follow; False when the cloud did not take it in time."""

    def reconnect(self) -> None:
        """What it connects with has changed."""

    async def stop(self, timeout: float) -> None:
        """Say offline, and end in order."""
