"""Z-Stack 3.30 front end of the simulated stick: MT commands to the engine, its effects to indications. PURE."""

from collections import deque
from collections.abc import Callable
from typing import Any

from drivers.sim.zigbee.install_code import link_key
from drivers.sim.zigbee.model import (
    BROADCAST_FIRST,
    BROADCAST_ROUTERS,
    COORDINATOR_NWK,
    PROFILE_ZDO,
    Aps,
    Confirm,
    Counters,
    Delivery,
    DeviceAnnounced,
    DeviceJoined,
    DeviceLeft,
    Effect,
    Incoming,
    JoinKind,
    Json,
    Params,
    PermitChanged,
    SimpleDescriptor,
)
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.nv import PAN_ID, PRECONFIGURED_KEY, USE_EXT_PAN_ID, Memory
from drivers.sim.zigbee.znp_nv import Storage
from drivers.sim.zigbee.znp_tables import (
    AF,
    APP,
    AREQ,
    REQUESTS,
    SREQ,
    SRSP,
    SYS,
    ZDO,
    MtError,
    Parser,
    Status,
    frame,
    unpack,
)

CAPABILITIES = 0x0659  # SYS, AF, ZDO, UTIL, APP_CNF, GP
CODE_REVISION = 20210708
MODE_GROUP, MODE_SHORT, MODE_LONG, MODE_BROADCAST = 0x01, 0x02, 0x03, 0x0F
FORMATION = 0x04  # commissioning mode
STARTING, STARTED = 8, 9  # device states
RESTORED = 13  # commissioning status
CHANGE_CHANNEL = 0xFE  # scan duration of Mgmt_NWK_Update_req
NWK_UPDATE, PERMIT = 0x0038, 0x0036
UNLISTED = 0xFFFF  # "no such group" and "no MAC source"
OUTCOMES = {
    Delivery.DELIVERED: Status.SUCCESS,
    Delivery.NO_ACK: Status.NO_ACK,
    Delivery.EXPIRED: Status.EXPIRED,
    Delivery.NO_ROUTE: Status.NO_ROUTE,
    Delivery.TABLE_FULL: Status.MEMORY,
}
OK = bytes([Status.SUCCESS])


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


class Znp:
    """A stick with Z-Stack 3.30 (model.FrontEnd)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.counters = Counters()
        self.memory = Memory.blank(network)
        self._storage = Storage(self.memory)
        self._parser = Parser()
        self._out: list[bytes] = []
        self._faults: deque[Delivery] = deque()
        self._sent: dict[int, tuple[int, int] | None] = {}  # tag: (endpoint, transaction); None = no confirm is wanted
        self._tag = self._sequence = self._command = 0
        self._now = 0.0

    # ---- model.FrontEnd -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host, in any pieces. Garbage is counted, never raised."""
        self._now = now
        for kind, command, payload in self._parser.feed(data):
            self.counters.frames_in += 1
            if kind == AREQ | SYS and command == 0:
                self.reset(now)
            elif kind & 0xE0 == SREQ:
                self._answer(kind & 0x1F, command, payload)
        self.counters.bad_bytes, self.counters.bad_frames = self._parser.bad_bytes, self._parser.bad_frames

    def poll(self, now: float) -> list[bytes]:
        """Drain what is due at `now`: complete frames for the host, in order."""
        self._now = now
        for effect in self.network.poll(now):
            self._show(effect)
        frames, self._out = self._out, []
        self.counters.frames_out += len(frames)
        return frames

    def next_deadline(self) -> float | None:
        """When poll() has work again; None = only after receive()."""
        return self.network.next_deadline()

    def reset(self, now: float) -> None:
        """Restart: volatile state goes, the host hears SYS_RESET_IND."""
        self._sent.clear()
        self._out.clear()
        self._storage.save()
        self.network.reset(now)
        self.memory.load(now)
        self._storage.restart()
        self._indicate(SYS, 0x80, bytes([0, 2, 1, 2, 7, 1]))

    def fault(self, kind: str, now: float) -> None:
        """Arm a one-shot status fault for the host's next message. Raises ValueError for a kind that is no Delivery."""
        self._now = now
        self._faults.append(Delivery(kind))

    def snapshot(self) -> Json:
        """The NV memory, as JSON values."""
        self._storage.save()
        return self.memory.snapshot()

    def restore(self, state: Json) -> None:
        """Take up a snapshot; called before the first receive()."""
        self.memory.restore(state)

    # ---- requests -----------------------------------------------------------------------------------------------------

    def _answer(self, subsystem: int, command: int, payload: bytes) -> None:
        found = REQUESTS.get((subsystem, command))
        if found is None:
            name = f"0x{subsystem:02X}/0x{command:02X}"
            self.counters.unknown[name] = self.counters.unknown.get(name, 0) + 1
            self._out.append(frame(SRSP, 0, 0, bytes([2, SREQ | subsystem, command])))
            return
        name, layout = found
        self._command = command
        place = len(self._out)
        handler: Callable[..., bytes] = getattr(self._storage, name, None) or getattr(self, f"_{name}")
        try:
            answer = handler(*unpack(layout, payload))
        except (MtError, IndexError):
            self.counters.bad_frames += 1
            answer = bytes([Status.INVALID_PARAMETER])
        self._out.insert(place, frame(SRSP, subsystem, command, answer))

    def _indicate(self, subsystem: int, command: int, payload: bytes) -> None:
        self._out.append(frame(AREQ, subsystem, command, payload))

    def _accepted(self, *_values: Any) -> bytes:
        return OK

    def _ping(self) -> bytes:
        return _u16(CAPABILITIES)

    def _version(self) -> bytes:
        return bytes([2, 1, 2, 7, 1]) + CODE_REVISION.to_bytes(4, "little") + b"\x00" + b"\xff" * 4

    def _own_address(self) -> bytes:
        return _u64(self.network.ieee)

    def _tune(self, _operation: int, value: int) -> bytes:
        return bytes([value])

    def _tx_power(self, power: int) -> bytes:
        self.network.tx_power = power
        return OK

    # ---- network life ---------------------------------------------------------------------------------------------------

    def _commission(self, mode: int) -> bytes:
        if not mode & FORMATION:
            return OK
        known = self.network.resume(self._now)
        if not known:
            self.network.form(self._new_network(), self._now)
            self._storage.restart()  # forming takes up what the host wrote, as a restart does
            for _ in range(2):
                self._indicate(ZDO, 0xC0, bytes([STARTING]))
        self._storage.save()
        self._indicate(ZDO, 0xC0, bytes([STARTED]))
        self._indicate(APP, 0x80, bytes([RESTORED if known else 1, 0 if known else FORMATION, FORMATION]))
        self._indicate(APP, 0x80, bytes([0, FORMATION, 0]))
        return OK

    def _startup(self, _delay: int) -> bytes:
        known = self.network.params is not None
        self._commission(FORMATION)
        return bytes([0 if known else 1])

    def _new_network(self) -> Params:
        items = self.memory.items
        key = items.get(PRECONFIGURED_KEY, bytes(16))
        wanted = int.from_bytes(items.get(PAN_ID, b"\xff\xff"), "little")
        extended = int.from_bytes(items.get(USE_EXT_PAN_ID, b""), "little") or self.network.ieee
        pan = wanted if wanted < BROADCAST_FIRST else 1 + extended % 0xFFF0
        return Params(pan, extended, self._storage.channel(), key)

    def _nwk_info(self) -> bytes:
        params = self.network.params
        if params is None:
            return _u16(0xFFFE) + b"\x00" + _u16(0xFFFF) + bytes(18) + b"\x00"
        return (
            _u16(0)
            + bytes([STARTED])
            + _u16(params.pan_id)
            + _u16(0)
            + _u64(params.ext_pan_id)
            + bytes(8)
            + bytes([params.channel])
        )

    def _device_info(self) -> bytes:
        state = STARTED if self.network.running else 0
        nodes = [child.nwk for child in self.network.children()][:100]
        head = OK + _u64(self.network.ieee) + _u16(COORDINATOR_NWK) + bytes([7, state, len(nodes)])
        return head + b"".join(_u16(node) for node in nodes)

    def _permit(self, mode: int, nwk: int, seconds: int, significance: int) -> bytes:
        everywhere = mode == MODE_BROADCAST or nwk >= BROADCAST_FIRST
        self._zdo(BROADCAST_ROUTERS if everywhere else nwk, PERMIT, bytes([seconds, significance]))
        if everywhere:
            self._zdo_answer(COORDINATOR_NWK, PERMIT | 0x8000, b"\x00" + OK)
        return OK

    def _nwk_update(self, nwk: int, mode: int, channels: int, duration: int, count: int, manager: int) -> bytes:
        body = channels.to_bytes(4, "little") + bytes([duration])
        body += bytes([count]) if duration < CHANGE_CHANNEL else b"\x00" + _u16(manager)
        self._zdo(BROADCAST_ROUTERS if mode == MODE_BROADCAST else nwk, NWK_UPDATE, body)
        return OK

    def _install_code(self, form: int, ieee: int, code: bytes) -> bytes:
        if not self.network.joining.room("key"):
            return bytes([Status.TABLE_FULL])
        self.network.add_transient_key(ieee, link_key(code) if form == 1 else code[:16])
        return OK

    def _codes_only(self, required: int) -> bytes:
        self.network.install_code_required = bool(required)
        return OK

    # ---- associated devices and groups ----------------------------------------------------------------------------------

    def _assoc_count(self, _first: int, _last: int) -> bytes:
        return _u16(len(list(self.network.children())))

    def _assoc_find(self, index: int) -> bytes:
        children = list(self.network.children())
        return self._associated(children[index].nwk if index < len(children) else 0xFFFF)

    def _assoc_get(self, ieee: int, nwk: int) -> bytes:
        found = self.network.nwk_of(ieee) if nwk == 0xFFFF else nwk  # noqa: PLR2004  asked by its long address
        return self._associated(0xFFFF if found is None else found)

    def _associated(self, nwk: int) -> bytes:
        return (_u16(nwk) + bytes([0, 0, 1 if nwk != UNLISTED else 0xFF])).ljust(36, b"\0")

    def _find_group(self, _endpoint: int, group: int) -> bytes:
        status = Status.SUCCESS if group in self.network.groups else Status.FAILURE
        return bytes([status]) + _u16(group) + b"\x00"  # the length of its name

    def _add_group(self, _endpoint: int, group: int, _name: bytes) -> bytes:
        self.network.groups.add(group)
        return OK

    def _remove_group(self, _endpoint: int, group: int) -> bytes:
        self.network.groups.discard(group)
        return OK

    # ---- messages -------------------------------------------------------------------------------------------------------

    def _register(self, endpoint: int, profile: int, device: int, version: int, _latency: int, lists: bytes) -> bytes:
        count = lists[0]
        inputs, rest = lists[1 : 1 + 2 * count], lists[1 + 2 * count :]
        outputs = rest[1 : 1 + 2 * rest[0]]
        words = [
            tuple(int.from_bytes(part[i : i + 2], "little") for i in range(0, len(part), 2))
            for part in (inputs, outputs)
        ]
        added = self.network.register_endpoint(SimpleDescriptor(endpoint, profile, device, version, words[0], words[1]))
        return OK if added else bytes([Status.DUPLICATE])

    def _unregister(self, endpoint: int) -> bytes:
        found = self.network.endpoints.pop(endpoint, None)
        return OK if found else bytes([Status.INVALID_PARAMETER])

    def _data(
        self, nwk: int, dst_ep: int, src_ep: int, cluster: int, tsn: int, options: int, _radius: int,
        _size: int, data: bytes,
    ) -> bytes:  # fmt: skip
        mode = MODE_BROADCAST if nwk >= BROADCAST_FIRST else MODE_SHORT
        return self._data_ext(mode, nwk, dst_ep, 0, src_ep, cluster, tsn, options, 0, len(data), data)

    def _data_ext(
        self, mode: int, address: int, dst_ep: int, _pan: int, src_ep: int, cluster: int, tsn: int, options: int,
        _radius: int, _size: int, data: bytes,
    ) -> bytes:  # fmt: skip
        fault = self._faults.popleft() if self._faults else Delivery.DELIVERED
        if fault is Delivery.TABLE_FULL or not self.network.running:
            return bytes([OUTCOMES[fault] or Status.FAILURE])
        if fault is not Delivery.DELIVERED:
            self._indicate(AF, 0x80, bytes([OUTCOMES[fault], src_ep, tsn]))
            return OK
        nwk = self.network.nwk_of(address) if mode == MODE_LONG else address & 0xFFFF
        descriptor = self.network.endpoints.get(src_ep)
        group = nwk if mode == MODE_GROUP else None
        broadcast = mode == MODE_BROADCAST or (nwk or 0) >= BROADCAST_FIRST
        profile = PROFILE_ZDO if src_ep == 0 or descriptor is None else descriptor.profile
        self._sequence = (self._sequence + 1) & 0xFF
        aps = Aps(
            COORDINATOR_NWK, 0xFFFE if nwk is None else nwk, src_ep, dst_ep, profile, cluster, data, group,
            broadcast=broadcast and group is None, sequence=self._sequence, ack=bool(options & 0x10),
        )  # fmt: skip
        self._send(aps, (src_ep, tsn))
        return OK

    def _send(self, aps: Aps, confirm: tuple[int, int] | None) -> None:
        self._tag += 1
        self._sent[self._tag] = confirm
        self.network.send(aps, self._tag, self._now)

    def _zdo(self, nwk: int, cluster: int, body: bytes) -> None:
        self._sequence = (self._sequence + 1) & 0xFF
        aps = Aps(
            COORDINATOR_NWK, nwk, 0, 0, PROFILE_ZDO, cluster, bytes([self._sequence]) + body,
            broadcast=nwk >= BROADCAST_FIRST,
        )  # fmt: skip
        self._send(aps, None)

    def _ask(self, nwk: int, body: bytes) -> bytes:
        self._zdo(nwk, self._command, body)
        return OK

    def _bind(self, nwk: int, body: bytes) -> bytes:
        """MT pads a group to the size of a long address; the air does not."""
        short = body[11] == MODE_GROUP
        self._zdo(nwk, self._command, body[:14] if short else body)
        return OK

    def _nwk_address(self, ieee: int, kind: int, start: int) -> bytes:
        known = self.network.nwk_of(ieee)
        nwk = COORDINATOR_NWK if ieee == self.network.ieee or known is None else known
        self._zdo(nwk, 0x0000, _u64(ieee) + bytes([kind, start]))
        return OK

    def _ieee_address(self, nwk: int, kind: int, start: int) -> bytes:
        self._zdo(nwk, 0x0001, _u16(nwk) + bytes([kind, start]))
        return OK

    # ---- effects of the network -------------------------------------------------------------------------------------------

    def _show(self, effect: Effect) -> None:
        match effect:
            case Incoming(aps) if aps.dst_ep == 0 and aps.profile == PROFILE_ZDO:
                self._zdo_answer(aps.src, aps.cluster, aps.data)
            case Incoming(aps):
                self._message(aps)
            case Confirm(tag, status, _aps):
                confirm = self._sent.pop(tag, None)
                if confirm is not None:
                    self._indicate(AF, 0x80, bytes([OUTCOMES[status], *confirm]))
            case DeviceJoined(ieee, nwk, parent, how) if how is not JoinKind.DENIED:
                self._indicate(ZDO, 0xCA, _u16(nwk) + _u64(ieee) + _u16(parent))
            case DeviceAnnounced(ieee, nwk, capability):
                self._indicate(ZDO, 0xC1, _u16(nwk) + _u16(nwk) + _u64(ieee) + bytes([capability]))
            case DeviceLeft(ieee, nwk, rejoin):
                self._indicate(ZDO, 0xC9, _u16(nwk) + _u64(ieee) + bytes([0, 0, rejoin]))
            case PermitChanged(seconds):
                self._indicate(ZDO, 0xCB, bytes([seconds]))
            case _:  # a device turned away is not told to the host
                pass

    def _message(self, aps: Aps) -> None:
        head = _u16(aps.group or 0) + _u16(aps.cluster) + _u16(aps.src)
        head += bytes([aps.src_ep, aps.dst_ep, aps.broadcast, aps.lqi, aps.secured])
        head += (int(self._now * 1000) & 0xFFFF_FFFF).to_bytes(4, "little") + bytes([aps.sequence & 0xFF])
        self._indicate(AF, 0x81, head + bytes([len(aps.data)]) + aps.data + _u16(aps.src) + b"\x1d")

    def _zdo_answer(self, src: int, cluster: int, data: bytes) -> None:
        """The answer as the stack's own command, and as the raw message that hosts register for."""
        sequence, body = data[0], data[1:]
        if cluster & 0x8000:
            command = 0x80 | cluster & 0x7F
            addresses = cluster in (0x8000, 0x8001)
            self._indicate(ZDO, command, body + b"\x00\x00" if addresses else _u16(src) + body)
        raw = _u16(src) + b"\x00" + _u16(cluster) + bytes([0, sequence]) + _u16(COORDINATOR_NWK)
        self._indicate(ZDO, 0xFF, raw + body)
