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
from drivers.sim.zigbee.model import (
    BROADCAST_FIRST,
    COORDINATOR_NWK,
    GLOBAL_LINK_KEY,
    PROFILE_HOME,
    PROFILE_ZDO,
    Aps,
    Capability,
    Confirm,
    Delivery,
    DeviceAnnounced,
    DeviceJoined,
    DeviceLeft,
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
from drivers.sim.zigbee.node import Node, Reporting
from drivers.sim.zigbee.persistence import pack, unpack
from drivers.sim.zigbee.zcl import u16

LATENCY = 0.002  # seconds over the air, one way
PARENT_HOLDS = 7.68  # seconds that a parent keeps a message for a sleepy child (Zigbee 3.6.1.6)
JOIN_STAGGER = 0.2
REJOIN_AFTER = 0.5  # seconds between a leave with rejoin and the rejoin
AWAKE_AFTER_JOIN = 30.0


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
        self._now = 0.0
        self._aps = 0
        self.overheard: Callable[[Aps], None] = lambda _aps: None  # every message on the air
        self._router: tuple[Node | None, float] = (None, 0.0)  # the router whose join window is open, and until when
        self.capacity = 0xFFF0  # devices that the network has room for
        self.polled_at = 0.0
        self.sent_times: list[float] = []
        self.rng = random.Random(seed)  # noqa: S311  replays a run

    def add(self, node: Node) -> None:
        """Put a device into the house; it joins when a window opens, if it is in pairing mode."""
        node.changed = self._attribute_changed
        node.later = lambda delay, act: self._at(self._now + delay, lambda _now: act())
        self.nodes[node.ieee] = node
        if node.joined:
            self._by_nwk[node.nwk] = node

    # ---- network life -----------------------------------------------------------------------------------------------

    def form(self, params: Params, now: float) -> None:
        """Start a new network (nodes of an older one are orphaned unless pan id, ext pan id and key are theirs)."""
        self._now = now
        if self.params is not None and not _same(self.params, params):
            for node in list(self._by_nwk.values()):
                self._forget(node)
        self.params, self.running = params, True
        self.frame_counter = max(self.frame_counter, params.frame_counter)

    def resume(self, now: float) -> bool:
        """Bring the stored network up again after a reset; False on a blank stick."""
        self._now = now
        self.running = self.params is not None
        return self.running

    def reset(self, now: float) -> None:
        """The stick restarts: pending messages, registered endpoints and the join window are gone; params stay."""
        self._now = now
        self.running, self.permit_until = False, None
        self.endpoints.clear()
        self.transient_keys.clear()
        self._effects.clear()

    def leave(self, now: float) -> None:
        """Leave and forget the stored network; link keys go too."""
        self._now = now
        for node in list(self._by_nwk.values()):
            self._forget(node)
        self.params, self.running, self.permit_until = None, False, None
        self.link_keys.clear()

    def permit(self, seconds: int, now: float) -> None:
        """Open (1..254; 255 = until closed) or close (0) the coordinator's join window; PermitChanged follows."""
        self._now = now
        self.permit_until = None if not seconds else float("inf") if seconds == 0xFF else now + seconds  # noqa: PLR2004
        self._effects.append(PermitChanged(seconds))
        if not seconds:
            return
        if seconds != 0xFF:  # noqa: PLR2004  until closed
            self._at(now + seconds, self._window_over)
        self._invite(now)

    def _permit_at(self, router: Node, seconds: int, now: float) -> None:
        """Open or close the join window of one router; the coordinator's stays as it is."""
        self._router = (router, now + seconds)
        self._invite(now)

    def _invite(self, now: float) -> None:
        waiting = [node for node in self.nodes.values() if node.pairing and node.powered and not node.joined]
        for place, node in enumerate(waiting, start=1):
            self._at(now + place * JOIN_STAGGER, partial(self._join, node))

    def _window_over(self, now: float) -> None:
        if self.permit_until is not None and self.permit_until <= now:
            self.permit_until = None
            self._effects.append(PermitChanged(0))

    def move(self, channel: int, now: float) -> None:
        """Change the channel of the whole network (update id + 1); the nodes follow."""
        self._now = now
        if self.params is not None:
            self.params = replace(self.params, channel=channel, update_id=(self.params.update_id + 1) & 0xFF)

    # ---- joining and leaving ----------------------------------------------------------------------------------------

    def _join(self, node: Node, now: float) -> None:
        router, until = self._router
        here = self.permit_until is not None and self.permit_until > now
        open_ = here or (router is not None and router.joined and until > now)
        if node.joined or not open_ or not self.running or not node.powered:
            return
        expected = self.transient_keys.get(node.ieee)
        wrong = expected is not None and bool(node.install_key) and expected != node.install_key
        nwk = self._free_address()
        full = len(self._by_nwk) >= self.capacity
        if full or not self.joins_allowed or wrong or (self.install_code_required and expected is None):
            self._effects.append(DeviceJoined(node.ieee, nwk, COORDINATOR_NWK, JoinKind.DENIED))
            return
        key = self.rng.randbytes(16) if expected or node.install_key else GLOBAL_LINK_KEY
        self.link_keys[node.ieee] = LinkKey(key)
        node.parent = COORDINATOR_NWK if here or router is None else router.nwk
        self.enter(node, nwk, JoinKind.ASSOCIATION, now)

    def enter(self, node: Node, nwk: int, how: JoinKind, now: float) -> None:
        """The device is on the network under this address, and announces itself."""
        self._by_nwk.pop(node.nwk, None)
        node.nwk, node.joined, node.pairing = nwk, True, False
        self._by_nwk[nwk] = node
        self._awake[node.ieee] = now + AWAKE_AFTER_JOIN
        self._effects.append(DeviceJoined(node.ieee, nwk, node.parent, how))
        self._at(now + 0.05, partial(self._announce, node))

    def _announce(self, node: Node, _now: float) -> None:
        body = b"\x01" + u16(node.nwk) + node.ieee.to_bytes(8, "little") + bytes([node.capability])
        self._effects.append(DeviceAnnounced(node.ieee, node.nwk, node.capability))
        self.incoming(node, 0, 0, PROFILE_ZDO, zdo.DEVICE_ANNCE, body)

    def _free_address(self) -> int:
        while True:
            nwk = self.rng.randrange(1, 0xFFF0)
            if nwk not in self._by_nwk:
                return nwk

    def _forget(self, node: Node) -> None:
        self._by_nwk.pop(node.nwk, None)
        node.joined, node.pairing = False, False
        node.bindings.clear()
        node.reporting.clear()

    def depart(self, node: Node, *, rejoin: bool = False) -> None:
        """The device leaves and says so."""
        self._effects.append(DeviceLeft(node.ieee, node.nwk, rejoin))
        if rejoin:
            self._at(self._now + REJOIN_AFTER, partial(self.enter, node, node.nwk, JoinKind.SECURED_REJOIN))
            return
        self._forget(node)
        node.pairing = True  # a device that left searches again, as real ones do

    def doze(self, node: Node) -> None:
        """The device sleeps from now on, until it sends something by itself."""
        self._awake.pop(node.ieee, None)

    def refusal(self, _sort: str) -> int | None:
        """The coordinator itself is not told to fail."""
        return None

    # ---- messages ---------------------------------------------------------------------------------------------------

    def send(self, aps: Aps, tag: int, now: float) -> None:
        """Send for the host; exactly one Confirm(tag) follows. Unicast, group, or broadcast as `aps` says."""
        self._now = now
        self.frame_counter += 1
        self.overheard(aps)
        if aps.group is not None or aps.broadcast or aps.dst >= BROADCAST_FIRST:
            self._spread(aps, now)
            self._at(now + LATENCY, lambda _: self._effects.append(Confirm(tag, Delivery.DELIVERED, aps)))
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

        self._at(now + delay, arrive)

    def _spread(self, aps: Aps, now: float) -> None:
        if aps.dst_ep == 0 and aps.group is None:
            self._own_zdo(aps, now)
        for node in list(self._by_nwk.values()):
            heard = node.powered and not node.sleepy
            member = aps.group is None or any(aps.group in groups for groups in node.groups.values())
            if heard and member:
                self._at(now + LATENCY, partial(self._heard, node, aps))

    def _heard(self, node: Node, aps: Aps, now: float) -> None:
        self._deliver(node, aps, now, unicast=False)

    def _deliver(self, node: Node, aps: Aps, now: float, *, unicast: bool) -> None:
        if aps.dst_ep == 0 and aps.group is None:
            self._node_zdo(node, aps, now)
            return
        endpoints = [aps.dst_ep]
        if aps.group is not None:
            endpoints = [e for e, groups in node.groups.items() if aps.group in groups]
        elif aps.dst_ep == 0xFF:  # noqa: PLR2004  every endpoint
            endpoints = [part.endpoint for part in node.profile.parts]
        for endpoint in endpoints:
            answer = node.handle(endpoint, aps.cluster, aps.data, unicast=unicast)
            if answer is not None:
                self._at(now + LATENCY, partial(self._answer, node, endpoint, aps, answer))

    def _answer(self, node: Node, endpoint: int, aps: Aps, data: bytes, _now: float) -> None:
        self.incoming(node, endpoint, aps.src_ep, aps.profile, aps.cluster, data)

    def _node_zdo(self, node: Node, aps: Aps, now: float) -> None:
        answer = zdo.answer(node, aps.cluster, aps.data, lambda channels: [20] * len(channels))
        if answer is None:
            return
        cluster = aps.cluster | 0x8000
        self._at(now + LATENCY, lambda _: self.incoming(node, 0, 0, PROFILE_ZDO, cluster, answer))
        if aps.cluster == zdo.LEAVE:
            rejoin = len(aps.data) > 9 and bool(aps.data[9] & zdo.LEAVE_REJOIN)  # noqa: PLR2004  sequence, EUI-64, flags
            self._at(now + 10 * LATENCY, lambda _: self.depart(node, rejoin=rejoin))
        if aps.cluster == zdo.PERMIT and node.capability == Capability.ROUTER:
            self._permit_at(node, aps.data[1], now)

    def _own_zdo(self, aps: Aps, now: float) -> None:
        if aps.cluster == zdo.PERMIT and len(aps.data) > 1:
            self.permit(aps.data[1], now)
        if aps.dst_ep != 0:
            return
        if aps.cluster == zdo.NWK_UPDATE and len(aps.data) > 5 and aps.data[5] == zdo.CHANGE_CHANNEL:  # noqa: PLR2004
            mask = int.from_bytes(aps.data[1:5], "little")
            self.move((mask & -mask).bit_length() - 1, now)
        answer = zdo.answer(self, aps.cluster, aps.data, self._energies)
        if answer is not None and not (aps.cluster == zdo.PERMIT and aps.broadcast):
            self._aps = (self._aps + 1) & 0xFF
            back = Aps(
                COORDINATOR_NWK, COORDINATOR_NWK, 0, 0, PROFILE_ZDO, aps.cluster | 0x8000, answer, sequence=self._aps
            )
            self._effects.append(Incoming(back))

    def incoming(self, node: Node, src_ep: int, dst_ep: int, profile: int, cluster: int, data: bytes) -> None:
        """A message of a device for the host."""
        if not (self.running and node.joined and node.powered):
            return
        self._aps = (self._aps + 1) & 0xFF
        aps = Aps(
            node.nwk, COORDINATOR_NWK, src_ep, dst_ep, profile, cluster, data, lqi=200, rssi=-55, sequence=self._aps
        )
        self.overheard(aps)
        self._effects.append(Incoming(aps))
        self._awake[node.ieee] = max(self._awake.get(node.ieee, 0.0), self._now + 1.0)

    # ---- reporting --------------------------------------------------------------------------------------------------

    def _attribute_changed(self, node: Node, endpoint: int, cluster: int, attribute: int) -> None:
        found = node.reporting.get((endpoint, cluster, attribute))
        if found is None or found.maximum == 0xFFFF:  # noqa: PLR2004  reports are off
            return
        value = node.get(endpoint, cluster, attribute)
        small = found.change is not None and found.value is not None and abs(value - found.value) < found.change
        if value != found.value and not small:
            due = max(self._now, found.at + found.minimum)
            self._at(due, partial(self._report, node, endpoint, cluster, attribute))
        else:
            self._time_report(found, node, endpoint, cluster, attribute)

    def _time_report(self, found: Reporting, node: Node, endpoint: int, cluster: int, attribute: int) -> None:
        """See to a report at the maximum interval after the last one."""
        if found.maximum and not found.timed:
            found.timed = True
            due = max(self._now, (found.at if found.at > float("-inf") else self._now) + found.maximum)
            self._at(due, partial(self._report_again, found, node, endpoint, cluster, attribute))

    def _report_again(
        self, found: Reporting, node: Node, endpoint: int, cluster: int, attribute: int, now: float
    ) -> None:
        found.timed = False
        if node.reporting.get((endpoint, cluster, attribute)) is not found:
            return  # configured anew since
        if now >= found.at + found.maximum:  # as the timer was set: another sum may round to just before it, for ever
            self._report(node, endpoint, cluster, attribute, now)
        else:
            self._time_report(found, node, endpoint, cluster, attribute)

    def _report(self, node: Node, endpoint: int, cluster: int, attribute: int, now: float) -> None:
        found = node.reporting.get((endpoint, cluster, attribute))
        if found is None or not node.joined:
            return
        found.value, found.at = node.get(endpoint, cluster, attribute), now
        for binding in node.bindings:
            if (binding.endpoint, binding.cluster, binding.target) == (endpoint, cluster, self.ieee):
                data = node.report(endpoint, cluster, (attribute,))
                self.incoming(node, endpoint, binding.target_endpoint or 1, PROFILE_HOME, cluster, data)
        self._time_report(found, node, endpoint, cluster, attribute)

    # ---- time -------------------------------------------------------------------------------------------------------

    def _at(self, due: float, act: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, act))

    at = _at

    def poll(self, now: float) -> list[Effect]:
        """The effects due at `now`, oldest first; moves simulated devices along (transitions, reports, scripts)."""
        self.polled_at = now
        while self._heap and self._heap[0][0] <= now:
            due, _, act = heapq.heappop(self._heap)
            self._now = due
            act(due)
        self._now = now
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When poll() will have something to do; None = never by itself."""
        if self._effects:
            return self._now
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
        """The coordinator's neighbour table, children included."""
        for node in self._by_nwk.values():
            kind = 2 if node.profile.battery else 1
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
        self._now = now
        unpack(self, state)
        self._by_nwk = {node.nwk: node for node in self.nodes.values() if node.joined}

    def control(self, request: Json, now: float) -> Json:
        """The test control: press, set, pair, leave, power, rejoin, list, load (see control.py). Raises ControlError."""
        from drivers.sim.zigbee.control import perform  # noqa: PLC0415  control acts on networks

        self._now = now
        return perform(self, request, now)

    def named(self, name: str) -> Node | None:
        """The node with this name or address."""
        try:
            return self.nodes.get(parse_ieee(name))
        except ValueError:
            return next((node for node in self.nodes.values() if node.name == name), None)


def _same(one: Params, other: Params) -> bool:
    return (one.pan_id, one.ext_pan_id, one.network_key) == (other.pan_id, other.ext_pan_id, other.network_key)
