"""Who may join and through whom, and how devices come and go: the part of the Network engine that has doors. PURE."""

from functools import partial
from typing import TYPE_CHECKING

from drivers.sim.zigbee import zdo
from drivers.sim.zigbee.model import (
    COORDINATOR_NWK,
    GLOBAL_LINK_KEY,
    PROFILE_ZDO,
    Capability,
    DeviceAnnounced,
    DeviceJoined,
    DeviceLeft,
    JoinKind,
    LinkKey,
)
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.zcl import u16

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

STAGGER = 0.2  # seconds between two devices that want to join at once
LEAVE_AFTER = 0.02  # seconds from the request to the leave: the answer goes first
REJOIN_AFTER = 0.5  # seconds between a leave with rejoin and the rejoin
AWAKE_AFTER_JOIN = 30.0
NO_LIMIT = 0xFFF0


class Joining:
    """The join windows of coordinator and routers, and the coordinator's tables that a join needs room in.

    Without room in its child or neighbour table the coordinator does not take the device, and the host hears nothing (the
    association fails in the MAC); the device may come in through a router. Without room in the key table the trust centre
    turns it away.
    """

    def __init__(self, network: "Network") -> None:
        self._network = network
        self._routers: dict[int, float] = {}  # routers whose window is open, and until when
        self._waiting: set[int] = set()  # devices that are about to try
        self.capacity = dict.fromkeys(("child", "neighbour", "key"), NO_LIMIT)

    def used(self, table: str) -> int:
        """How many entries of a table (a key of `capacity`) are taken."""
        if table == "key":
            return len(self._network.link_keys)
        rows = self._network.neighbours()
        return sum((row.kind == 2) == (table == "child") for row in rows)  # noqa: PLR2004  end device

    def open_router(self, router: Node, seconds: int, now: float) -> None:
        """Open or close the window of one router; the coordinator's stays as it is."""
        self._routers[router.ieee] = now + seconds
        self.invite(now)

    def invite(self, now: float) -> None:
        """Let devices in pairing mode try, one after the other."""
        nodes = self._network.nodes.values()
        searching = [node for node in nodes if node.pairing and node.powered and not node.joined]
        new = [node for node in searching if node.ieee not in self._waiting]
        self._waiting |= {node.ieee for node in new}
        for place, node in enumerate(new, start=1):
            self._network.at(now + place * STAGGER, partial(self._join, node))

    def _parent(self, node: Node, now: float) -> int | None:
        """Who takes the device: the coordinator if it is open and has room, else an open router."""
        network = self._network
        table = "child" if node.profile.battery else "neighbour"
        if network.permit_until is not None and network.permit_until > now and self.room(table):
            return COORDINATOR_NWK
        routers = (network.nodes[ieee] for ieee, until in self._routers.items() if until > now)
        return next((router.nwk for router in routers if router.joined and router.powered), None)

    def room(self, table: str) -> bool:
        """Whether a table (a key of `capacity`) takes one more entry."""
        return self.used(table) < self.capacity[table]

    def _join(self, node: Node, now: float) -> None:
        self._waiting.discard(node.ieee)
        network, parent = self._network, self._parent(node, now)
        if node.joined or parent is None or not network.running or not node.powered:
            return
        expected = network.transient_keys.get(node.ieee)
        wrong = expected is not None and bool(node.install_key) and expected != node.install_key
        keyless = node.ieee not in network.link_keys and not self.room("key")
        nwk = self.free_address()
        if keyless or not network.joins_allowed or wrong or (network.install_code_required and expected is None):
            network.tell(DeviceJoined(node.ieee, nwk, parent, JoinKind.DENIED))
            return
        key = network.rng.randbytes(16) if expected or node.install_key else GLOBAL_LINK_KEY
        network.link_keys[node.ieee] = LinkKey(key)
        node.parent = parent
        self.enter(node, nwk, JoinKind.ASSOCIATION, now)

    def enter(self, node: Node, nwk: int, how: JoinKind, now: float) -> None:
        """The device is on the network under this address, and announces itself."""
        network = self._network
        network.place(node, nwk)
        node.pairing = False
        network.wake(node, now + AWAKE_AFTER_JOIN)
        network.tell(DeviceJoined(node.ieee, nwk, node.parent, how))
        network.at(now + 0.05, partial(self._announce, node))

    def _announce(self, node: Node, _now: float) -> None:
        body = (
            bytes([node.next_sequence()]) + u16(node.nwk) + node.ieee.to_bytes(8, "little") + bytes([node.capability])
        )
        self._network.tell(DeviceAnnounced(node.ieee, node.nwk, node.capability))
        self._network.incoming(node, 0, 0, PROFILE_ZDO, zdo.DEVICE_ANNCE, body)

    def free_address(self) -> int:
        """A short address that no device has."""
        while True:
            nwk = self._network.rng.randrange(1, 0xFFF0)
            if self._network.ieee_of(nwk) is None:
                return nwk

    def depart(self, node: Node, *, rejoin: bool = False) -> None:
        """The device leaves and says so; with `rejoin` it comes back with its bindings."""
        network = self._network
        network.tell(DeviceLeft(node.ieee, node.nwk, rejoin))
        if rejoin:
            network.at(network.now + REJOIN_AFTER, partial(self._come_back, node))
            return
        self.forget(node)
        node.pairing = True  # a device that left searches again, as real ones do

    def _come_back(self, node: Node, now: float) -> None:
        if node.joined and node.powered and self._network.running:
            self.enter(node, node.nwk, JoinKind.SECURED_REJOIN, now)

    def forget(self, node: Node) -> None:
        """The device is on no network any more."""
        self._network.unplace(node)
        self._routers.pop(node.ieee, None)
        node.pairing = False
        node.bindings.clear()
        node.reporting.clear()

    def obey(self, node: Node, change: zdo.Change, now: float) -> None:
        """Do what a device was asked to do in the network."""
        if change.cluster == zdo.LEAVE:
            self._network.at(now + LEAVE_AFTER, lambda _: self._leave(node, rejoin=change.rejoin))
        elif change.cluster == zdo.PERMIT and node.capability == Capability.ROUTER:
            self.open_router(node, change.seconds, now)

    def _leave(self, node: Node, *, rejoin: bool) -> None:
        if node.joined:
            self.depart(node, rejoin=rejoin)
