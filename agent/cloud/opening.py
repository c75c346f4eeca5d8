"""What some clouds want said on a new connection before messages may flow."""

from collections.abc import Callable
from typing import Protocol

from agent.cloud.mqtt import Inbound, MqttConnection, MqttLost


class Opening(Protocol):
    """One uplink's, over all its connections."""

    @property
    def fresh(self) -> bool:
        """Whether the next connection begins without what the broker keeps for this client."""

    async def open(self, connection: MqttConnection, waits: Callable[[str], None]) -> None:
        """Until messages may flow; `waits` is told what the cloud must do first. Raises MqttLost."""

    def hear(self, inbound: Inbound) -> bool:
        """Whether a message is kept here: it is the opening's own, or too early for anybody else."""

    def held(self) -> list[Inbound]:
        """What came too early, once the connection is open."""

    def abandon(self, error: MqttLost) -> None:
        """End an `open` that is under way."""
