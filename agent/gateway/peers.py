"""The BLE devices that the account wants connected, and what is known of each."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.cloud.nrf_gateway import peer_status
from agent.cloud.nrf_gateway_values import Path, Place
from agent.wire.nrf_gateway import OfDevice, PeerStatus

MOST_WAITING = 32  # operations of one device


@dataclass(slots=True, eq=False)
class Peer:
    """`queue`: operations that wait, one after the other; `arrived`: it was connected, and nothing was done about it yet.

    `places` and `values` are those of the last discovery, `subscriptions` who hears of the changes of a characteristic: they outlive a
    connection.
    """

    address: str
    kind: str = ""  # of its address: public or random
    gone: bool = False  # the account wants it no more
    connected: bool = False
    connecting: bool = False
    failed: bool = False  # an attempt to connect it was given up since it was connected last
    arrived: bool = False
    dropped: bool = False  # its connection was lost, and the radio would make it anew by itself
    places: list[Place] = field(default_factory=list)
    values: dict[Path, bytes] = field(default_factory=dict)
    read: bool = False  # whether `values` are those of a discovery
    subscriptions: dict[Path, Callable[[bytes], None]] = field(default_factory=dict)
    queue: deque[OfDevice] = field(default_factory=deque)
    attention: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> PeerStatus:
        return peer_status(self.address, connected=self.connected, connecting=self.connecting)

    def take(self, operation: OfDevice) -> bool:
        """False: too many wait already."""
        if len(self.queue) >= MOST_WAITING:
            return False
        self.queue.append(operation)
        self.attention.set()
        return True

    def up(self) -> None:
        self.connected, self.connecting, self.failed, self.arrived = True, False, False, True
        self.attention.set()

    def down(self) -> None:
        self.connected = self.arrived = False
        self.dropped = True
