"""EZSP front end of the simulated stick: commands in ASH payloads to the engine, its effects to callbacks. PURE."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from drivers.sim.zigbee.ash import Link, ResetCode, ResetRequest
from drivers.sim.zigbee.ezsp_boot import Boot
from drivers.sim.zigbee.ezsp_network import Networking
from drivers.sim.zigbee.ezsp_security import Security
from drivers.sim.zigbee.ezsp_settings import MAX_PAYLOAD, UNKNOWN_NODE, Context, Settings
from drivers.sim.zigbee.ezsp_tables import (
    COMMAND_NAMES,
    COMMANDS,
    INVALID_COMMAND,
    PROTOCOL_VERSION,
    STACK_TYPE_MESH,
    TAG_AND_CONTENTS,
    ApsOption,
    Command,
    Config,
    Counter,
    DeviceUpdate,
    EmberStatus,
    EzspError,
    EzspStatus,
    JoinDecision,
    Outgoing,
    Policy,
    Received,
    Values,
    build_callback,
    build_response,
    decode,
    encode,
    parse_command,
)
from drivers.sim.zigbee.model import (
    BROADCAST_AWAKE,
    COORDINATOR_NWK,
    PROFILE_ZDO,
    Aps,
    Confirm,
    Counters,
    Delivery,
    DeviceJoined,
    DeviceLeft,
    Effect,
    Incoming,
    JoinKind,
    Json,
    PermitChanged,
)
from drivers.sim.zigbee.network import Network

_NO_INDEX = 0xFF
_MGMT_LEAVE_REQUEST = 0x0034
_MGMT_LEAVE_RESPONSE = 0x8034
_STACK_SEQUENCES = 0x80  # ZDO sequence numbers of the stack itself have the high bit set

_JOINS = {
    JoinKind.ASSOCIATION: (DeviceUpdate.UNSECURED_JOIN, JoinDecision.USE_PRECONFIGURED_KEY),
    JoinKind.SECURED_REJOIN: (DeviceUpdate.SECURED_REJOIN, JoinDecision.NO_ACTION),
    JoinKind.UNSECURED_REJOIN: (DeviceUpdate.UNSECURED_REJOIN, JoinDecision.USE_PRECONFIGURED_KEY),
    JoinKind.DENIED: (DeviceUpdate.UNSECURED_JOIN, JoinDecision.DENY),
}


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message under way: what messageSentHandler repeats."""

    type: Outgoing
    destination: int
    aps: Values
    tag: int
    message: bytes


class Ezsp:
    """A stick with EmberZNet 7.4 behind ASH (model.FrontEnd)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.counters = Counters()
        self.link = Link()
        self._context = Context(network)
        self._settings = Settings(self._context)
        self._security = Security(self._context, self._settings)
        self._networking = Networking(self._context, self._settings, self._security)
        self.boot = Boot(self._context, self._settings)
        self._handlers = self._find_handlers()
        self._faults: deque[Delivery] = deque()
        self._tag = 0
        self._zdo_sequence = 0
        self._forget_volatile()

    def _find_handlers(self) -> dict[str, Callable[[Values], Values]]:
        parts = (self, self._settings, self._security, self._networking, self.boot)
        owners = {name: next(part for part in parts if hasattr(part, name)) for name in COMMANDS}
        return {name: getattr(owner, name) for name, owner in owners.items()}

    def _forget_volatile(self) -> None:
        self._negotiated = False
        self._last_sequence = 0
        self._aps_sequence = 0
        self._sent: dict[int, _Sent | None] = {}  # by the engine's tag; None is the stick's own message
        self._own_leaves: dict[int, int] = {}  # ZDO sequence: node; answers to them are not the host's
        self._recorded: set[int] = set()  # nodes whose route the host knows
        self._context.callbacks.clear()

    # --- model.FrontEnd ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host, in any pieces. Garbage is counted, never raised."""
        self._context.now = now
        if self.boot.bootloader is not None:
            if self.boot.receive(data):
                self.reset(now)
            return
        bad_before = self.link.counters.bad_frames
        events = self.link.receive(data, now)
        self.counters.bad_frames += self.link.counters.bad_frames - bad_before
        for event in events:
            if isinstance(event, ResetRequest):
                self._restart(now)
            else:
                self._take(event)

    def poll(self, now: float) -> list[bytes]:
        """Drain what is due at `now`: complete ASH frames for the host, in order."""
        self._context.now = now
        text = self.boot.poll(now)
        if text or self.boot.bootloader is not None:
            return text
        for effect in self.network.poll(now):
            self._show(effect)
        self._networking.watch_channel()
        self._flush()
        frames = self.link.poll(now)
        self.counters.frames_out += len(frames)
        return frames

    def next_deadline(self) -> float | None:
        """When poll() has work again; None = only after receive()."""
        if self.boot.bootloader is not None:
            return None
        times = (self.link.next_deadline(), self.network.next_deadline(), self.boot.at)
        return min((time for time in times if time is not None), default=None)

    def reset(self, now: float) -> None:
        """Restart by itself: the host hears RSTACK (power on). Without an application it is its bootloader that starts."""
        self._restart(now)
        if not self.boot.whole:
            self.boot.enter()
            return
        self.link.reset(ResetCode.POWER_ON)

    def fault(self, kind: str, now: float) -> None:
        """Arm a one-shot status fault for the host's next message. Raises ValueError for a kind that is no Delivery."""
        self._context.now = now
        self._faults.append(Delivery(kind))

    def snapshot(self) -> Json:
        """Tokens and keys, as JSON values."""
        return {
            "settings": self._settings.snapshot(),
            "security": self._security.snapshot(),
            "networking": self._networking.snapshot(),
        }

    def restore(self, state: Json) -> None:
        """Take up a snapshot; called before the first receive()."""
        self._settings.restore(state["settings"])
        self._security.restore(state["security"])
        self._networking.restore(state["networking"])
        self._networking.reset()

    # --- commands --------------------------------------------------------------------------------------------------

    def _restart(self, now: float) -> None:
        self._forget_volatile()
        self.network.reset(now)
        self._settings.reset()
        self._security.reset()
        self._networking.reset()

    def _take(self, payload: bytes) -> None:
        self.counters.frames_in += 1
        try:
            command = parse_command(payload)
        except EzspError:
            self.counters.bad_frames += 1
            return
        self._last_sequence = command.sequence
        try:
            response = build_response(command, self._execute(command))
        except EzspError as error:
            frame_id, layout = INVALID_COMMAND
            response = build_response(command, encode(layout, {"status": error.status}), frame_id)
        self.link.send(response)
        self._flush()

    def _execute(self, command: Command) -> bytes:
        name = COMMAND_NAMES.get(command.frame_id)
        if not self._negotiated and name != "version":
            raise EzspError(EzspStatus.VERSION_NOT_SET, "the host has not asked for a version yet")
        if name is None:
            key = f"0x{command.frame_id:04X}"
            self.counters.unknown[key] = self.counters.unknown.get(key, 0) + 1
            raise EzspError(EzspStatus.INVALID_FRAME_ID, f"no frame {key}")
        _frame_id, request, response = COMMANDS[name]
        try:
            values = decode(request, command.arguments)
        except EzspError:
            self.counters.bad_frames += 1
            raise
        return encode(response, self._handlers[name](values))

    def _flush(self) -> None:
        callbacks, self._context.callbacks = self._context.callbacks, []
        for name, values in callbacks if self._negotiated else ():
            self.link.send(build_callback(name, self._last_sequence, values), callback=True)

    def version(self, request: Values) -> Values:
        """Tell the only version there is; commands are taken once the host has asked for it."""
        self._negotiated = self._negotiated or request["desired"] == PROTOCOL_VERSION
        major, minor, patch, special = self._settings.version_info[2:6]
        stack = major << 12 | minor << 8 | patch << 4 | special
        return {"protocol": PROTOCOL_VERSION, "stack_type": STACK_TYPE_MESH, "stack_version": stack}

    # --- messages to the network -----------------------------------------------------------------------------------

    def send_unicast(self, request: Values) -> Values:
        destination, kind = request["destination"], request["type"]
        if kind == Outgoing.VIA_ADDRESS_TABLE:
            node = self._settings.address_of(destination)
        elif kind == Outgoing.DIRECT:
            node = destination
        else:
            return {"status": EmberStatus.INVALID_BINDING_INDEX, "sequence": 0}
        if node is None:
            return {"status": EmberStatus.ADDRESS_TABLE_INDEX_OUT_OF_RANGE, "sequence": 0}
        limit = self._settings.config[Config.APS_UNICAST_MESSAGE_COUNT]
        if sum(1 for sent in self._sent.values() if sent and sent.type == kind) >= limit:
            return {"status": EmberStatus.MAX_MESSAGE_LIMIT_REACHED, "sequence": 0}
        return self._send(Outgoing(kind), destination, request, node)

    def send_broadcast(self, request: Values) -> Values:
        return self._send(Outgoing.BROADCAST, request["destination"], request, request["destination"])

    def proxy_broadcast(self, request: Values) -> Values:
        return self._send(Outgoing.BROADCAST_WITH_ALIAS, request["destination"], request, request["destination"])

    def send_multicast(self, request: Values) -> Values:
        return self._send(Outgoing.MULTICAST, request["aps"]["group"], request, BROADCAST_AWAKE)

    def send_multicast_with_alias(self, request: Values) -> Values:
        return self._send(Outgoing.MULTICAST_WITH_ALIAS, request["aps"]["group"], request, BROADCAST_AWAKE)

    def send_reply(self, request: Values) -> Values:
        answer = self._send(Outgoing.DIRECT, request["sender"], {**request, "tag": 0}, request["sender"])
        return {"status": answer["status"]}

    def _send(self, kind: Outgoing, destination: int, request: Values, node: int) -> Values:
        refusal = self._refusal(request["message"])
        fault = self._faults.popleft() if self._faults and refusal is None else None
        if fault is Delivery.TABLE_FULL:
            refusal = EmberStatus.MAX_MESSAGE_LIMIT_REACHED
        if refusal is not None:
            return {"status": refusal, "sequence": 0}
        self._aps_sequence = (self._aps_sequence + 1) & 0xFF
        aps = {**request["aps"], "sequence": self._aps_sequence}
        sent = _Sent(kind, destination, aps, request["tag"], request["message"])
        if fault is None or fault is Delivery.DELIVERED:
            self._hand_over(sent, node)
        else:
            self._context.callbacks.append(("message_sent_handler", self._outcome(sent, fault)))
        return {"status": EmberStatus.SUCCESS, "sequence": self._aps_sequence}

    def _refusal(self, message: bytes) -> EmberStatus | None:
        if not self.network.running:
            return EmberStatus.NETWORK_DOWN
        return EmberStatus.MESSAGE_TOO_LONG if len(message) > MAX_PAYLOAD else None

    def _hand_over(self, sent: _Sent, node: int) -> None:
        multicast = sent.type in (Outgoing.MULTICAST, Outgoing.MULTICAST_WITH_ALIAS)
        broadcast = sent.type in (Outgoing.BROADCAST, Outgoing.BROADCAST_WITH_ALIAS)
        options = sent.aps["options"]
        message = Aps(
            src=COORDINATOR_NWK,
            dst=node,
            src_ep=sent.aps["source_endpoint"],
            dst_ep=sent.aps["destination_endpoint"],
            profile=sent.aps["profile"],
            cluster=sent.aps["cluster"],
            data=sent.message,
            group=sent.aps["group"] if multicast else None,
            broadcast=broadcast,
            sequence=sent.aps["sequence"],
            ack=bool(options & ApsOption.RETRY) and not (multicast or broadcast),
            secured=bool(options & ApsOption.ENCRYPTION),
        )
        if broadcast or multicast:
            self._settings.count(Counter.APS_TX_BROADCAST)
        self._submit(message, sent)

    def _submit(self, message: Aps, sent: _Sent | None) -> None:
        self._tag += 1
        self._sent[self._tag] = sent
        self.network.send(message, self._tag, self._context.now)

    def remove_device(self, request: Values) -> Values:
        """Make a device leave; the host sees its end in trustCenterJoinHandler only."""
        if not self.network.running:
            return {"status": EmberStatus.NOT_JOINED}
        self._zdo_sequence = (self._zdo_sequence + 1) % _STACK_SEQUENCES | _STACK_SEQUENCES
        node = request["destination"]
        self._own_leaves[self._zdo_sequence] = node
        data = encode("sequence:u8 eui64:eui64 flags:u8", {
            "sequence": self._zdo_sequence, "eui64": request["target"], "flags": 0,
        })  # fmt: skip
        leave = Aps(COORDINATOR_NWK, node, 0, 0, PROFILE_ZDO, _MGMT_LEAVE_REQUEST, data)
        self._submit(leave, None)
        return {"status": EmberStatus.SUCCESS}

    # --- effects of the network --------------------------------------------------------------------------------------

    def _show(self, effect: Effect) -> None:
        callbacks = self._context.callbacks
        match effect:
            case Incoming(aps):
                self._show_message(aps)
            case Confirm(tag, status, _aps):
                sent = self._sent.pop(tag, None)
                if sent is not None:
                    callbacks.append(("message_sent_handler", self._outcome(sent, status)))
            case DeviceJoined(ieee, nwk, parent, how):
                self._settings.count(Counter.JOIN_INDICATION)
                self._recorded.discard(nwk)
                update, decision = _JOINS[how]
                callbacks.append(("trust_center_join_handler", _join(nwk, ieee, update, decision, parent)))
            case DeviceLeft(ieee, nwk, rejoin) if not rejoin:
                left = _join(nwk, ieee, DeviceUpdate.LEFT, JoinDecision.NO_ACTION, UNKNOWN_NODE)
                callbacks.append(("trust_center_join_handler", left))
            case PermitChanged(seconds):
                self._context.stack_status(EmberStatus.NETWORK_OPENED if seconds else EmberStatus.NETWORK_CLOSED)
            case _:  # an announcement comes to the host as the ZDO message that it is
                pass

    def _show_message(self, aps: Aps) -> None:
        if aps.cluster == _MGMT_LEAVE_RESPONSE and aps.src_ep == 0 and self._own_leaves.get(aps.data[0]) == aps.src:
            del self._own_leaves[aps.data[0]]
            return
        kind = Received.BROADCAST if aps.broadcast else Received.UNICAST
        kind = Received.MULTICAST if aps.group is not None else kind
        self._settings.count(Counter.APS_RX_UNICAST if kind is Received.UNICAST else Counter.APS_RX_BROADCAST)
        self._record_route(aps)
        options = ApsOption.ENABLE_ROUTE_DISCOVERY
        if aps.ack and kind is Received.UNICAST:
            options |= ApsOption.RETRY
        if aps.secured:
            options |= ApsOption.ENCRYPTION
        header = {
            "profile": aps.profile,
            "cluster": aps.cluster,
            "source_endpoint": aps.src_ep,
            "destination_endpoint": aps.dst_ep,
            "options": options,
            "group": aps.group or 0,
            "sequence": aps.sequence & 0xFF,
        }
        message = {
            "type": kind,
            "aps": header,
            "lqi": aps.lqi,
            "rssi": aps.rssi,
            "sender": aps.src,
            "binding_index": _NO_INDEX,
            "address_index": _NO_INDEX,
            "message": aps.data,
        }
        self._context.callbacks.append(("incoming_message_handler", message))

    def _record_route(self, aps: Aps) -> None:
        """A concentrator hears the route of a node with its first message."""
        eui64 = self.network.ieee_of(aps.src)
        if not self._settings.concentrator or aps.src in self._recorded or aps.src == COORDINATOR_NWK or eui64 is None:
            return
        self._recorded.add(aps.src)
        record = {"source": aps.src, "eui64": eui64, "lqi": aps.lqi, "rssi": aps.rssi, "relays": []}
        self._context.callbacks.append(("incoming_route_record_handler", record))

    def _outcome(self, sent: _Sent, status: Delivery) -> Values:
        delivered = status is Delivery.DELIVERED
        if sent.type in (Outgoing.DIRECT, Outgoing.VIA_ADDRESS_TABLE):
            self._settings.count(Counter.APS_TX_UNICAST_SUCCESS if delivered else Counter.APS_TX_UNICAST_FAILED)
        contents = self._settings.policies.get(Policy.MESSAGE_CONTENTS_IN_CALLBACK) == TAG_AND_CONTENTS
        return {
            "type": sent.type,
            "destination": sent.destination,
            "aps": sent.aps,
            "tag": sent.tag,
            "status": EmberStatus.SUCCESS if delivered else EmberStatus.DELIVERY_FAILED,
            "message": sent.message if contents else b"",
        }


def _join(node: int, eui64: int, update: DeviceUpdate, decision: JoinDecision, parent: int) -> Values:
    return {"node": node, "eui64": eui64, "update": update, "decision": decision, "parent": parent}
