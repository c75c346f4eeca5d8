"""What a part of the driver needs of the network that it belongs to."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from agent.driver import DriverError, Sink
from drivers.zwave.messages import Messages
from drivers.zwave.nodes import NodeBook, NodeRecord
from drivers.zwave.provisioning import ProvisioningList


class NetworkBusy(DriverError):  # noqa: N818
    """The network is just changing."""

    code = 503


class Life(Protocol):
    """One running network."""

    radio: str
    sink: Sink
    messages: Messages
    book: NodeBook
    provisioning: ProvisioningList
    long_range: bool  # SmartStart devices join by Long Range where they can
    security: str  # the least that a node must get: "s2", "s0" or "none"

    @property
    def spawn(self) -> Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]:
        """Run work until the session ends. Raises DriverLost."""

    def joined(self, record: NodeRecord) -> None:
        """A node is in, with the keys that it may have: interview it."""

    def left(self, node: int, reason: str) -> None:
        """A node is no longer in the stick's network."""

    async def before_change(self) -> None:
        """A backup before the network changes, unless there is one. It does not stop the change; raises DriverLost."""
