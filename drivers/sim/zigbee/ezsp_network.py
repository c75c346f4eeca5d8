"""Network life of an EZSP stick: form, resume, leave, permit, scans, neighbours, and the stack's NVM3 tokens. PURE.

Every method named after a frame of ezsp_tables.COMMANDS answers that frame: request values in, response values out.
"""

import hashlib
from dataclasses import replace

from drivers.sim.zigbee.ezsp_security import Security
from drivers.sim.zigbee.ezsp_settings import UNKNOWN_NODE, Context, Settings
from drivers.sim.zigbee.ezsp_tables import (
    STRUCTURES,
    EmberStatus,
    EzspError,
    Nv3,
    SecurityBits,
    Value,
    Values,
    blank,
    decode,
    encode,
)
from drivers.sim.zigbee.model import COORDINATOR_NWK, NO_IEEE, NO_NWK, Json, Params

_COORDINATOR = 1
_END_DEVICE = 3
_SLEEPY_END_DEVICE = 4
_JOINED = 2  # networkState
_STACK_PROFILE = 2
_CHANNELS = range(11, 27)
_ALL_CHANNELS = 0x07FF_F800
_POWERS = range(-20, 21)  # dBm that the radio can do
_ENERGY_SCAN = 0
_FIRST_INVALID_PAN = 0xFFFF
_CHILD_FLAGS = 0x80


class Networking:
    """The stick's place in a network."""

    def __init__(self, context: Context, settings: Settings, security: Security) -> None:
        self.context = context
        self.settings = settings
        self.security = security
        self.restored_eui64 = NO_IEEE  # NVM3 token; takes effect at the next restart
        self.channels = _ALL_CHANNELS
        self.manager = COORDINATOR_NWK
        self.restored_children: list[tuple[int, int, int]] = []  # EUI-64, node, flags: written by a restore
        self._channel: int | None = None  # the last that the host knows
        self._left: tuple[int, int, str] | None = None  # the network whose devices do not know that it is gone

    def reset(self) -> None:
        """Come up after a restart: the EUI-64 is the restored one, else the burnt one, else the factory's."""
        network = self.context.network
        eui64s = (self.restored_eui64, self.settings.custom_eui64, network.hardware_ieee)
        network.ieee = next(eui64 for eui64 in eui64s if eui64 != NO_IEEE)
        self._channel = None

    def watch_channel(self) -> None:
        """Tell the host when the network has moved to another channel."""
        params = self.context.network.params
        channel = params.channel if params is not None and self.context.network.running else None
        if channel is not None and self._channel is not None and channel != self._channel:
            self.context.stack_status(EmberStatus.CHANNEL_CHANGED)
        self._channel = channel

    # --- network life ----------------------------------------------------------------------------------------------

    def network_state(self, _request: Values) -> Values:
        return {"status": _JOINED if self.context.network.running else 0}

    def network_init(self, _request: Values) -> Values:
        network = self.context.network
        if network.running:
            return {"status": EmberStatus.INVALID_CALL}
        if not network.resume(self.context.now):
            return {"status": EmberStatus.NOT_JOINED}
        self.context.stack_status(EmberStatus.NETWORK_UP)
        return {"status": EmberStatus.SUCCESS}

    def form_network(self, request: Values) -> Values:
        network, wanted, state = self.context.network, request["parameters"], self.security.initial
        refusal = self._refusal(wanted, state)
        if refusal is not None or state is None:
            return {"status": refusal or EmberStatus.SECURITY_STATE_NOT_SET}
        bits = state["bitmask"]
        chance = hashlib.sha256(network.ieee.to_bytes(8, "little") + bytes(state["preconfigured_key"])).digest()
        params = Params(
            pan_id=wanted["pan_id"]
            if wanted["pan_id"] < _FIRST_INVALID_PAN
            else 1 + chance[0] + 256 * (chance[1] >> 1),
            ext_pan_id=wanted["extended_pan_id"] or int.from_bytes(chance[2:10], "little"),
            channel=wanted["channel"],
            network_key=bytes(state["network_key"]) if bits & SecurityBits.HAVE_NETWORK_KEY else chance[16:],
            tc_link_key=self.security.link_key(),
            key_sequence=state["key_sequence"],
            frame_counter=self._first_counter(bits),
            update_id=0,  # firmware ignores the wanted one: hosts write the token afterwards
            tc_address=state["trust_centre"] if bits & SecurityBits.HAVE_TC_EUI64 else None,
        )
        if self._left is not None and self._left != _identity(params):
            network.leave(self.context.now)  # devices of another network do not follow
        self._left = None
        network.form(params, self.context.now)
        network.tx_power = wanted["tx_power"]
        self.channels, self.manager = wanted["channels"], wanted["manager"]
        self.restored_children.clear()
        self.security.begin()
        self.context.stack_status(EmberStatus.NETWORK_UP)
        return {"status": EmberStatus.SUCCESS}

    def _refusal(self, wanted: Values, state: Values | None) -> EmberStatus | None:
        if self.context.network.running:
            return EmberStatus.INVALID_CALL
        if state is None:
            return EmberStatus.SECURITY_STATE_NOT_SET
        if wanted["channel"] not in _CHANNELS:
            return EmberStatus.INVALID_CHANNEL
        return None if wanted["tx_power"] in _POWERS else EmberStatus.INVALID_POWER

    def _first_counter(self, bits: int) -> int:
        kept = bits & SecurityBits.NO_FRAME_COUNTER_RESET
        return int.from_bytes(self.settings.stored[Value.NWK_FRAME_COUNTER], "little") if kept else 0

    def leave_network(self, _request: Values) -> Values:
        if not self.context.network.running:
            return {"status": EmberStatus.INVALID_CALL}
        self._forget()
        self.context.stack_status(EmberStatus.NETWORK_DOWN)
        return {"status": EmberStatus.SUCCESS}

    def token_factory_reset(self, _request: Values) -> Values:
        self._forget()
        return {}

    def _forget(self) -> None:
        """Drop the network without telling its devices: they come back when it is restored."""
        network = self.context.network
        if network.params is not None:
            self._left = _identity(network.params)
        network.params, network.running, network.permit_until = None, False, None
        network.link_keys.clear()
        self.security.forget()
        self.restored_children.clear()

    def permit_joining(self, request: Values) -> Values:
        if not self.context.network.running:
            return {"status": EmberStatus.NOT_JOINED}
        self.context.network.permit(request["duration"], self.context.now)
        return {"status": EmberStatus.SUCCESS}

    # --- who and where ---------------------------------------------------------------------------------------------

    def get_eui64(self, _request: Values) -> Values:
        return {"eui64": self.context.network.ieee}

    def get_node_id(self, _request: Values) -> Values:
        return {"node": COORDINATOR_NWK if self.context.network.running else NO_NWK}

    def get_network_parameters(self, _request: Values) -> Values:
        network = self.context.network
        if network.params is None or not network.running:
            return {"status": EmberStatus.NOT_JOINED, "type": 0, "parameters": blank(STRUCTURES["parameters"])}
        parameters = {
            "extended_pan_id": network.params.ext_pan_id,
            "pan_id": network.params.pan_id,
            "tx_power": network.tx_power,
            "channel": network.params.channel,
            "join_method": 0,
            "manager": self.manager,
            "update_id": network.params.update_id,
            "channels": self.channels,
        }
        return {"status": EmberStatus.SUCCESS, "type": _COORDINATOR, "parameters": parameters}

    def get_logical_channel(self, _request: Values) -> Values:
        params = self.context.network.params
        return {"channel": params.channel if params else 0}

    def set_radio_channel(self, request: Values) -> Values:
        return {"status": EmberStatus.SUCCESS if request["channel"] in _CHANNELS else EmberStatus.INVALID_CHANNEL}

    def set_logical_and_radio_channel(self, request: Values) -> Values:
        return self.set_radio_channel(request)

    def set_radio_power(self, request: Values) -> Values:
        if request["power"] not in _POWERS:
            return {"status": EmberStatus.INVALID_POWER}
        self.context.network.tx_power = request["power"]
        return {"status": EmberStatus.SUCCESS}

    def start_scan(self, request: Values) -> Values:
        """Energy per channel; an active scan finds no other network."""
        channels = [channel for channel in _CHANNELS if request["channels"] >> channel & 1]
        callbacks = self.context.callbacks
        if request["type"] == _ENERGY_SCAN:
            for channel, energy in self.context.network.energy_scan(channels).items():
                rssi = -100 + energy * 95 // 255  # 0..255 over the range of the receiver
                callbacks.append(("energy_scan_result_handler", {"channel": channel, "rssi": rssi}))
        callbacks.append(("scan_complete_handler", {"channel": 0, "status": EmberStatus.SUCCESS}))
        return {"status": EmberStatus.SUCCESS}

    def stop_scan(self, _request: Values) -> Values:
        return {"status": EmberStatus.SUCCESS}

    # --- neighbours and addresses ----------------------------------------------------------------------------------

    def lookup_node_id_by_eui64(self, request: Values) -> Values:
        node = self.context.network.nwk_of(request["eui64"])
        return {"node": UNKNOWN_NODE if node is None else node}

    def lookup_eui64_by_node_id(self, request: Values) -> Values:
        eui64 = self.context.network.ieee_of(request["node"])
        if eui64 is None:
            return {"status": EmberStatus.NOT_FOUND, "eui64": NO_IEEE}
        return {"status": EmberStatus.SUCCESS, "eui64": eui64}

    def get_parent_child_parameters(self, _request: Values) -> Values:
        count = len(self._children())
        return {"child_count": min(count, 0xFF), "parent_eui64": 0, "parent_node": UNKNOWN_NODE}

    def get_child_data(self, request: Values) -> Values:
        children = self._children()
        if request["index"] >= len(children):
            return {"status": EmberStatus.NOT_JOINED, "child": blank(STRUCTURES["child"])}
        eui64, node, kind, _flags = children[request["index"]]
        child = {**blank(STRUCTURES["child"]), "eui64": eui64, "type": kind, "node": node}
        return {"status": EmberStatus.SUCCESS, "child": child}

    def set_child_data(self, request: Values) -> Values:
        """Write the child table; firmware leaves the flags of the token behind, which hosts then repair."""
        child = request["child"]
        self._put_child(request["index"], (child["eui64"], child["node"], 0))
        return {"status": EmberStatus.SUCCESS}

    def _put_child(self, index: int, child: tuple[int, int, int]) -> None:
        if index < len(self.restored_children):
            self.restored_children[index] = child
        else:
            self.restored_children.append(child)

    def _children(self) -> list[tuple[int, int, int, int]]:
        """EUI-64, node, type and flags: restored ones first, which keep their index, then those that joined."""
        rows = [(eui64, node, _SLEEPY_END_DEVICE, flags) for eui64, node, flags in self.restored_children]
        known = {row[0] for row in rows}
        for child in self.context.network.children():
            if child.ieee not in known:
                kind = _END_DEVICE if child.rx_on else _SLEEPY_END_DEVICE
                rows.append((child.ieee, child.nwk, kind, _CHILD_FLAGS))
        return rows

    def neighbour_count(self, _request: Values) -> Values:
        return {"count": min(sum(1 for _ in self.context.network.neighbours()), 0xFF)}

    def get_neighbour(self, request: Values) -> Values:
        rows = list(self.context.network.neighbours())
        if request["index"] >= len(rows):
            return {"status": EmberStatus.INDEX_OUT_OF_RANGE, "neighbour": blank(STRUCTURES["neighbour"])}
        row = rows[request["index"]]
        neighbour = {"node": row.nwk, "lqi": row.lqi, "in_cost": 1, "out_cost": 1, "age": 3, "eui64": row.ieee}
        return {"status": EmberStatus.SUCCESS, "neighbour": neighbour}

    # --- NVM3 tokens -----------------------------------------------------------------------------------------------

    def get_token_data(self, request: Values) -> Values:
        value = self._token(request["token"], request["index"])
        if value is None:
            return {"status": EmberStatus.NOT_FOUND, "value": b""}
        return {"status": EmberStatus.SUCCESS, "value": value}

    def _token(self, token: int, index: int) -> bytes | None:
        network = self.context.network
        params = network.params
        if token == Nv3.RESTORED_EUI64:
            return self.restored_eui64.to_bytes(8, "little")
        if token == Nv3.CHILD_TABLE and index < len(self._children()):
            eui64, node, _kind, flags = self._children()[index]
            return encode(STRUCTURES["child_token"], {"eui64": eui64, "node": node, "flags": flags})
        if params is None or token not in _NETWORK_TOKENS:
            return None
        contents = {
            "mode": self.security.bits & SecurityBits.HASHED_LINK_KEY,
            "eui64": network.ieee if params.tc_address is None else params.tc_address,
            "key": self.security.hashed_link_key or params.tc_link_key,
            "pan_id": params.pan_id,
            "tx_power": network.tx_power,
            "channel": params.channel,
            "stack_profile": _STACK_PROFILE,
            "type": _COORDINATOR,
            "node": COORDINATOR_NWK,
            "extended_pan_id": params.ext_pan_id,
            "channels": self.channels,
            "manager": self.manager,
            "update_id": params.update_id,
            "padding": 0,
        }
        return encode(_NETWORK_TOKENS[token], contents)

    def set_token_data(self, request: Values) -> Values:
        try:
            done = self._set_token(request["token"], request["index"], request["value"])
        except EzspError:
            done = False
        return {"status": EmberStatus.SUCCESS if done else EmberStatus.BAD_ARGUMENT}

    def _set_token(self, token: int, index: int, value: bytes) -> bool:
        """Write a token; False for one that the stick does not have. Raises EzspError for a short value."""
        network = self.context.network
        if token == Nv3.RESTORED_EUI64:
            self.restored_eui64 = decode("eui64:eui64", value)["eui64"]
        elif token == Nv3.CHILD_TABLE and index < len(self._children()):
            child = decode(STRUCTURES["child_token"], value)
            self._put_child(index, (child["eui64"], child["node"], child["flags"]))
        elif token in _NETWORK_TOKENS and network.params is not None:
            contents = decode(_NETWORK_TOKENS[token], value)
            network.tx_power = contents.get("tx_power", network.tx_power)
            self.manager = contents.get("manager", self.manager)
            self.channels = contents.get("channels", self.channels)
            update_id = contents.get("update_id", network.params.update_id)
            tc_address = contents.get("eui64", network.params.tc_address)
            network.params = replace(network.params, update_id=update_id, tc_address=tc_address)
        else:
            return False
        return True

    # --- persistence -----------------------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """What stays without power."""
        return {
            "restored_eui64": self.restored_eui64,
            "channels": self.channels,
            "manager": self.manager,
            "left": list(self._left) if self._left else None,
            "children": [list(child) for child in self.restored_children],
        }

    def restore(self, state: Json) -> None:
        """Take up a snapshot."""
        self.restored_eui64 = int(state["restored_eui64"])
        self.channels = int(state["channels"])
        self.manager = int(state["manager"])
        if state["left"] is not None:
            pan_id, ext_pan_id, key = state["left"]
            self._left = (int(pan_id), int(ext_pan_id), str(key))
        self.restored_children = [(int(eui64), int(node), int(flags)) for eui64, node, flags in state["children"]]


def _identity(params: Params) -> tuple[int, int, str]:
    return params.pan_id, params.ext_pan_id, params.network_key.hex()


_NETWORK_TOKENS = {
    int(Nv3.TRUST_CENTRE): STRUCTURES["trust_centre_token"],
    int(Nv3.NODE_DATA): STRUCTURES["node_data_token"],
    int(Nv3.NETWORK_MANAGEMENT): STRUCTURES["management_token"],
}
