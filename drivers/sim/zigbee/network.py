"""The network as a coordinator's stack sees it: PURE engine, driven by send() and poll(). No I/O, no clock.

Every call queues effects; poll(now) hands out those that are due, in order. A front end does, in a loop:
receive host bytes -> send()/form()/permit()... -> poll(now) -> frames for the host; and wakes at next_deadline().
"""

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from drivers.sim.zigbee import zdo
from drivers.sim.zigbee.joining import Joining
from drivers.sim.zigbee.model import (
    BROADCAST_FIRST,
    COORDINATOR_NWK,
    PROFILE_HOME,
    PROFILE_ZDO,
    Aps,
    Confirm,
    Delivery,
    Effect,
    Incoming,
    JoinKind,
    Json,
    LinkKey,
    Neighbour,
    Params,
    PermitChanged,
    SimpleDescriptor,
    parse_ieee,
)
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.ota import CLUSTER as OTA
from drivers.sim.zigbee.ota import Client, Firmware
from drivers.sim.zigbee.persistence import pack, unpack
from drivers.sim.zigbee.reporting import Reports

LATENCY = 0.002  # seconds over the air, one way
PARENT_HOLDS = 7.68  # seconds that a parent keeps a message for a sleepy child (Zigbee 3.6.1.6)
AWAKE_AFTER_MESSAGE = 1.0  # seconds that a sleepy device listens after it has sent something


class Network:
    """One coordinator and its nodes. Front ends read the public state, and may write it on a restore."""

    def __init__(self, ieee: int, *, seed: int = 0) -> None:
        """A blank coordinator with this hardware address."""
        self.hardware_ieee = self.ieee = ieee
        self.nwk = COORDINATOR_NWK
        self.params: Params | None = None
        self.running = False
        self.permit_until: float | None = None
        self.install_code_required = False
        self.joins_allowed = True
        self.link_keys: dict[int, LinkKey] = {}
        self.transient_keys: dict[int, bytes] = {}
        self.groups: set[int] = set()
        self.endpoints: dict[int, SimpleDescriptor] = {}
        self.bindings: set[zdo.Binding] = set()
        self.frame_counter = 0
        self.manufacturer_code = 0
        self.tx_power = 8
        self.nodes: dict[int, Node] = {}
        self._by_nwk: dict[int, Node] = {}
        self._awake: dict[int, float] = {}
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._effects: list[Effect] = []
        self._order = 0
        self.now = 0.0
        self._aps = 0
        self.overheard: Callable[[Aps], None] = lambda _aps: None  # every message on the air
        self.polled_at = 0.0
        self.sent_times: list[float] = []
        self.rng = random.Random(seed)  # noqa: S311  replays a run
        self.joining = Joining(self)
        self._reports = Reports(self)

    def add(self, node: Node) -> None:
        """Put a device into the house; it joins when a window opens, if it is in pairing mode."""
        node.changed = self._reports.changed
        node.later = lambda delay, act: self.at(self.now + delay, lambda _now: act())
        self.nodes[node.ieee] = node
        if node.joined:
            self._by_nwk[node.nwk] = node

    def equip(self, node: Node, firmware: Firmware) -> None:
        """Give a device an OTA Upgrade client, on the endpoint that has the cluster."""
        endpoint = next((part.endpoint for part in node.profile.parts if OTA in part.outputs), 1)

        def say(cluster: int, data: bytes) -> None:
            self.incoming(node, endpoint, 1, PROFILE_HOME, cluster, data)

        node.ota = Client(firmware, say, node.later, partial(self.reboot, node), self.rng)

    def reboot(self, node: Node, seconds: float) -> None:
        """The device is without power for some seconds, and announces itself then."""

        def back(now: float) -> None:
            node.powered = True
            if node.joined and self.running:
                self.joining.enter(node, node.nwk, JoinKind.SECURED_REJOIN, now)

        node.powered = False
        self.at(self.now + seconds, back)

    # ---- network life -----------------------------------------------------------------------------------------------

    def form(self, params: Params, now: float) -> None:
        """Start a new network (nodes of an older one are orphaned unless pan id, ext pan id and key are theirs)."""
        self.now = now
        if self.params is not None and not _same(self.params, params):
            for node in list(self._by_nwk.values()):
                self.joining.forget(node)
        self.params, self.running = params, True
        self.frame_counter = max(self.frame_counter, params.frame_counter)

    def resume(self, now: float) -> bool:
        """Bring the stored network up again after a reset; False on a blank stick."""
        self.now = now
        self.running = self.params is not None
        return self.running

    def reset(self, now: float) -> None:
        """The stick restarts: pending messages, registered endpoints and the join window are gone; params stay."""
        self.now = now
        self.running, self.permit_until = False, None
        self.endpoints.clear()
        self.transient_keys.clear()
        self._effects.clear()

    def leave(self, now: float) -> None:
        """Leave and forget the stored network; link keys go too."""
        self.now = now
        for node in list(self._by_nwk.values()):
            self.joining.forget(node)
        self.params, self.running, self.permit_until = None, False, None
        self.link_keys.clear()

    def permit(self, seconds: int, now: float) -> None:
        """Open (1..254; 255 = until closed) or close (0) the coordinator's join window; PermitChanged follows."""
        self.now = now
        self.permit_until = None if not seconds else float("inf") if seconds == 0xFF else now + seconds  # noqa: PLR2004
        self._effects.append(PermitChanged(seconds))
        if not seconds:
            return
        if seconds != 0xFF:  # noqa: PLR2004  until closed
            self.at(now + seconds, self._window_over)
        self.joining.invite(now)

    def _window_over(self, now: float) -> None:
        if self.permit_until is not None and self.permit_until <= now:
            self.permit_until = None
            self._effects.append(PermitChanged(0))

    def move(self, channel: int, now: float) -> None:
        """Change the channel of the whole network (update id + 1); the nodes follow."""
        self.now = now
        if self.params is not None and self.params.channel != channel:
            self.params = replace(self.params, channel=channel, update_id=(self.params.update_id + 1) & 0xFF)

    # ---- where the devices are --------------------------------------------------------------------------------------

    def place(self, node: Node, nwk: int) -> None:
        """The device is reached under this short address from now on."""
        self.unplace(node)
        node.nwk, node.joined = nwk, True
        self._by_nwk[nwk] = node

    def unplace(self, node: Node) -> None:
        """The device is not reached any more."""
        if self._by_nwk.get(node.nwk) is node:
            del self._by_nwk[node.nwk]
        node.joined = False

    def wake(self, node: Node, until: float) -> None:
        """A sleepy device listens all the time until then."""
        self._awake[node.ieee] = max(self._awake.get(node.ieee, 0.0), until)

    def doze(self, node: Node) -> None:
        """The device sleeps from now on, until it sends something by itself."""
        self._awake.pop(node.ieee, None)

    def refusal(self, _sort: str) -> int | None:
        """The coordinator itself is not told to fail."""
        return None

    # ---- messages ---------------------------------------------------------------------------------------------------

    def send(self, aps: Aps, tag: int, now: float) -> None:
        """Send for the host; exactly one Confirm(tag) follows. Unicast, group, or broadcast as `aps` says."""
        self.now = now
        self.frame_counter += 1
        self.overheard(aps)
        if aps.group is not None or aps.broadcast or aps.dst >= BROADCAST_FIRST:
            self._spread(aps, now)
            self.at(now + LATENCY, lambda _: self._effects.append(Confirm(tag, Delivery.DELIVERED, aps)))
        elif aps.dst == COORDINATOR_NWK:
            self._effects.append(Confirm(tag, Delivery.DELIVERED, aps))
            self._own_zdo(aps, now)
        else:
            self._unicast(aps, tag, now)

    def _unicast(self, aps: Aps, tag: int, now: float) -> None:
        node = self._by_nwk.get(aps.dst)
        status, delay = Delivery.DELIVERED, LATENCY
        if node is None:
            status, delay = Delivery.NO_ROUTE, 0.1
        elif not node.powered:
            status, delay = Delivery.NO_ACK, 0.1
        elif node.sleepy and self._awake.get(node.ieee, 0.0) < now:
            delay = self.rng.uniform(0.0, node.poll_every)
            if delay > PARENT_HOLDS:
                status, delay = Delivery.EXPIRED, PARENT_HOLDS

        def arrive(when: float) -> None:
            self._effects.append(Confirm(tag, status, aps))
            if status is Delivery.DELIVERED and node is not None:
                self._deliver(node, aps, when, unicast=True)

        self.at(now + delay, arrive)

    def _spread(self, aps: Aps, now: float) -> None:
        if aps.dst_ep == 0 and aps.group is None:
            self._own_zdo(aps, now)
        for node in list(self._by_nwk.values()):
            heard = node.powered and not node.sleepy
            member = aps.group is None or any(aps.group in groups for groups in node.groups.values())
            if heard and member:
                self.at(now + LATENCY, partial(self._heard, node, aps))

    def _heard(self, node: Node, aps: Aps, now: float) -> None:
        self._deliver(node, aps, now, unicast=False)

    def _deliver(self, node: Node, aps: Aps, now: float, *, unicast: bool) -> None:
        if now < node.mute_until:
            return
        if aps.dst_ep == 0 and aps.group is None:
            self._node_zdo(node, aps, now, unicast=unicast)
            return
        endpoints = [aps.dst_ep]
        if aps.group is not None:
            endpoints = [e for e, groups in node.groups.items() if aps.group in groups]
        elif aps.dst_ep == 0xFF:  # noqa: PLR2004  every endpoint
            endpoints = [part.endpoint for part in node.profile.parts]
        for endpoint in endpoints:
            answer = node.handle(endpoint, aps.cluster, aps.data, unicast=unicast)
            if answer is not None:
                self.at(now + LATENCY, partial(self._answer, node, endpoint, aps, answer))

    def _answer(self, node: Node, endpoint: int, aps: Aps, data: bytes, _now: float) -> None:
        self.incoming(node, endpoint, aps.src_ep, aps.profile, aps.cluster, data)

    def _node_zdo(self, node: Node, aps: Aps, now: float, *, unicast: bool) -> None:
        answer = zdo.answer(node, aps.cluster, aps.data, lambda channels: [20] * len(channels), broadcast=not unicast)
        change = zdo.change(aps.cluster, aps.data)
        if answer is not None:
            cluster = aps.cluster | 0x8000
            self.at(now + LATENCY, lambda _: self.incoming(node, 0, 0, PROFILE_ZDO, cluster, answer))
        accepted = answer[1] == zdo.SUCCESS if answer is not None else aps.cluster == zdo.PERMIT
        if change is not None and accepted:
            self.joining.obey(node, change, now)

    def _own_zdo(self, aps: Aps, now: float) -> None:
        if aps.dst_ep != 0 or aps.group is not None:
            return
        broadcast = aps.broadcast or aps.dst >= BROADCAST_FIRST
        answer = zdo.answer(self, aps.cluster, aps.data, self._energies, broadcast=broadcast)
        change = zdo.change(aps.cluster, aps.data)
        if change is not None and change.cluster == zdo.PERMIT:
            self.permit(change.seconds, now)
        if change is not None and change.cluster == zdo.NWK_UPDATE:
            self.move(change.channel, now)
        if answer is not None:
            self._aps = (self._aps + 1) & 0xFF
            back = Aps(
                COORDINATOR_NWK, COORDINATOR_NWK, 0, 0, PROFILE_ZDO, aps.cluster | 0x8000, answer, sequence=self._aps
            )
            self._effects.append(Incoming(back))

    def incoming(self, node: Node, src_ep: int, dst_ep: int, profile: int, cluster: int, data: bytes) -> None:
        """A message of a device for the host."""
        if not (self.running and node.joined and node.powered) or self.now < node.mute_until:
            return
        self._aps = (self._aps + 1) & 0xFF
        aps = Aps(
            node.nwk, COORDINATOR_NWK, src_ep, dst_ep, profile, cluster, data, lqi=200, rssi=-55, sequence=self._aps
        )
        self.overheard(aps)
        self._effects.append(Incoming(aps))
        self.wake(node, self.now + AWAKE_AFTER_MESSAGE)

    # ---- time -------------------------------------------------------------------------------------------------------

    def at(self, due: float, act: Callable[[float], None]) -> None:
        """Do something at a time."""
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, act))

    def tell(self, effect: Effect) -> None:
        """Something for the front end, in order."""
        self._effects.append(effect)

    def poll(self, now: float) -> list[Effect]:
        """The effects due at `now`, oldest first; moves simulated devices along (transitions, reports, scripts)."""
        self.polled_at = now
        while self._heap and self._heap[0][0] <= now:
            due, _, act = heapq.heappop(self._heap)
            self.now = due
            act(due)
        self.now = now
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When poll() will have something to do; None = never by itself."""
        if self._effects:
            return self.now
        return self._heap[0][0] if self._heap else None

    # ---- coordinator tables -----------------------------------------------------------------------------------------

    @property
    def node_descriptor(self) -> bytes:
        return zdo.node_descriptor(0, 0x8F, self.manufacturer_code)

    def descriptors(self) -> Iterable[SimpleDescriptor]:
        return self.endpoints.values()

    def find(self, *, ieee: int | None = None, nwk: int | None = None) -> tuple[int, int] | None:
        """(ieee, nwk) of the coordinator or a joined device."""
        if self.ieee == ieee or self.nwk == nwk:
            return self.ieee, self.nwk
        node = self.nodes.get(ieee) if ieee is not None else self._by_nwk.get(nwk or 0)
        return (node.ieee, node.nwk) if node is not None and node.joined else None

    def table(self) -> list[Neighbour]:
        return list(self.neighbours())

    def register_endpoint(self, descriptor: SimpleDescriptor) -> bool:
        """Add an endpoint of the host; False if that number is taken."""
        if descriptor.endpoint in self.endpoints:
            return False
        self.endpoints[descriptor.endpoint] = descriptor
        return True

    def set_link_key(self, ieee: int, key: bytes) -> None:
        """Replace or add the link key shared with a device (restore, key import)."""
        self.link_keys[ieee] = LinkKey(key)

    def add_transient_key(self, ieee: int, key: bytes) -> None:
        """Link key for the next join of this device (already hashed from the install code)."""
        self.transient_keys[ieee] = key

    def nwk_of(self, ieee: int) -> int | None:
        """Short address of a device that the coordinator knows, else None."""
        found = self.find(ieee=ieee)
        return found[1] if found else None

    def ieee_of(self, nwk: int) -> int | None:
        """EUI-64 of a device that the coordinator knows, else None."""
        found = self.find(nwk=nwk)
        return found[0] if found else None

    def children(self) -> Iterable[Neighbour]:
        """The coordinator's own end-device children (EZSP child table, ZNP associated devices)."""
        return [entry for entry in self.neighbours() if entry.kind == 2]  # noqa: PLR2004  end device

    def neighbours(self) -> Iterable[Neighbour]:
        """The coordinator's neighbour table, children included; the end devices of routers are not in it."""
        for node in self._by_nwk.values():
            kind = 2 if node.profile.battery else 1
            if kind == 2 and node.parent != COORDINATOR_NWK:  # noqa: PLR2004  end device
                continue
            yield Neighbour(node.ieee, node.nwk, kind, 1, not node.sleepy, 1, 200)

    def energy_scan(self, channels: Iterable[int]) -> dict[int, int]:
        """Energy per channel, 0..255 as in Mgmt_NWK_Update_notify (deterministic by channel)."""
        return {channel: 10 + (channel * 37) % 60 for channel in channels}

    def _energies(self, channels: list[int]) -> list[int]:
        return list(self.energy_scan(channels).values())

    # ---- persistence and test control -------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """Everything that survives a power cut, as JSON values."""
        return pack(self)

    def restore(self, state: Json, now: float) -> None:
        """Take up a snapshot."""
        self.now = now
        unpack(self, state)
        self._by_nwk = {node.nwk: node for node in self.nodes.values() if node.joined}

    def control(self, request: Json, now: float) -> Json:
        """One request of a test or a person (see control.py). Raises ControlError."""
        from drivers.sim.zigbee.control import perform  # noqa: PLC0415  control acts on networks

        self.now = now
        return perform(self, request, now)

    def named(self, name: str) -> Node | None:
        """The node with this name or address."""
        try:
            return self.nodes.get(parse_ieee(name))
        except ValueError:
            return next((node for node in self.nodes.values() if node.name == name), None)


def _same(one: Params, other: Params) -> bool:
    return (one.pan_id, one.ext_pan_id, one.network_key) == (other.pan_id, other.ext_pan_id, other.network_key)
