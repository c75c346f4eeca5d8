"""What an EZSP stick is set up with: configuration, values, policies, tables, manufacturing tokens, counters. PURE.

Every method named after a frame of ezsp_tables.COMMANDS answers that frame: request values in, response values out.
"""

from dataclasses import dataclass, field

from drivers.sim.zigbee.ezsp_tables import (
    COUNTERS,
    DEFAULT_CONFIG,
    DEFAULT_VALUES,
    MFG_TOKEN_SIZES,
    STRUCTURES,
    VERSION_INFO,
    Config,
    Counter,
    EmberStatus,
    EzspStatus,
    JoinPolicy,
    MfgToken,
    Policy,
    Value,
    Values,
    blank,
)
from drivers.sim.zigbee.model import NO_IEEE, Json, SimpleDescriptor
from drivers.sim.zigbee.network import Network

UNKNOWN_NODE = 0xFFFF
NO_CONCENTRATOR_DELAY = 0xFFFF_FFFF
MAX_PAYLOAD = 82  # bytes of a unicast without link-key encryption
_MANUFACTURER = b"Silicon Labs"
_BOARD = b"hub-agent sim"
_ERASED = b"\xff"
_LAST_RESERVED_NODE = 0xFFF8


@dataclass(slots=True)
class Context:
    """What the parts of one stick share."""

    network: Network
    now: float = 0.0
    callbacks: list[tuple[str, Values]] = field(default_factory=list)  # go out after the response

    def stack_status(self, status: EmberStatus) -> None:
        """Queue a stackStatusHandler."""
        self.callbacks.append(("stack_status_handler", {"status": status}))


class Settings:
    """Volatile set-up of the stick, and its manufacturing tokens, which stay."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.custom_eui64 = NO_IEEE  # burnt once
        self.version_info = VERSION_INFO  # of the firmware that it runs
        self.reset()

    def reset(self) -> None:
        """Forget what a restart forgets."""
        self.config = dict(DEFAULT_CONFIG)
        self.stored = {**DEFAULT_VALUES, Value.VERSION_INFO: self.version_info}
        self.policies = {int(Policy.TRUST_CENTRE): int(JoinPolicy.ALLOW_JOINS | JoinPolicy.ALLOW_UNSECURED_REJOINS)}
        self.counters = [0] * COUNTERS
        self.concentrator = False
        self._multicast: dict[int, Values] = {}
        self._addresses: dict[int, tuple[int, int]] = {}  # index: EUI-64, node
        self._extended_timeouts: set[int] = set()

    def count(self, counter: Counter) -> None:
        """Count one event of the stack."""
        self.counters[counter] = (self.counters[counter] + 1) & 0xFFFF

    def address_of(self, index: int) -> int | None:
        """The node of an address table entry."""
        entry = self._addresses.get(index)
        return entry[1] if entry else None

    # --- small talk ------------------------------------------------------------------------------------------------

    def nop(self, _request: Values) -> Values:
        return {}

    def echo(self, request: Values) -> Values:
        return {"data": request["data"]}

    def custom_frame(self, _request: Values) -> Values:
        """Answer XNCP extensions as plain firmware does: there are none."""
        return {"status": EmberStatus.LIBRARY_NOT_PRESENT, "reply": b""}

    def maximum_payload_length(self, _request: Values) -> Values:
        return {"length": MAX_PAYLOAD}

    def gp_sink_table_init(self, _request: Values) -> Values:
        return {}

    def gp_sink_table_clear_all(self, _request: Values) -> Values:
        return {}

    def set_radio_cca_mode(self, _request: Values) -> Values:
        return {"status": EmberStatus.SUCCESS}

    # --- configuration, values, policies ---------------------------------------------------------------------------

    def get_configuration_value(self, request: Values) -> Values:
        value = self.config.get(request["config_id"])
        if value is None:
            return {"status": EzspStatus.INVALID_ID, "value": 0}
        return {"status": EzspStatus.SUCCESS, "value": value}

    def set_configuration_value(self, request: Values) -> Values:
        if request["config_id"] not in self.config:
            return {"status": EzspStatus.INVALID_ID}
        self.config[request["config_id"]] = request["value"]
        return {"status": EzspStatus.SUCCESS}

    def get_value(self, request: Values) -> Values:
        network = self.context.network
        if request["value_id"] == Value.NWK_FRAME_COUNTER and network.running:
            return {"status": EzspStatus.SUCCESS, "value": network.frame_counter.to_bytes(4, "little")}
        value = self.stored.get(request["value_id"])
        if value is None:
            return {"status": EzspStatus.INVALID_ID, "value": b""}
        return {"status": EzspStatus.SUCCESS, "value": value}

    def set_value(self, request: Values) -> Values:
        if request["value_id"] not in self.stored:
            return {"status": EzspStatus.INVALID_ID}
        counters = (Value.NWK_FRAME_COUNTER, Value.APS_FRAME_COUNTER)
        if request["value_id"] == Value.VERSION_INFO or (
            request["value_id"] in counters and self.context.network.running
        ):
            return {"status": EzspStatus.INVALID_VALUE}
        self.stored[request["value_id"]] = request["value"]
        return {"status": EzspStatus.SUCCESS}

    def get_extended_value(self, request: Values) -> Values:
        """Tell whether an endpoint is there; two bytes come with an error too, as hosts expect."""
        known = request["value_id"] == 0 and request["characteristics"] in self.context.network.endpoints
        if not known:
            return {"status": EzspStatus.INVALID_ID, "value": b"\x00\x00"}
        return {"status": EzspStatus.SUCCESS, "value": b"\x01\x00"}

    def get_policy(self, request: Values) -> Values:
        decision = self.policies.get(request["policy_id"], 0)
        return {"status": EzspStatus.SUCCESS, "decision": decision}

    def add_endpoint(self, request: Values) -> Values:
        descriptor = SimpleDescriptor(
            request["endpoint"],
            request["profile"],
            request["device"],
            request["version"],
            tuple(request["inputs"]),
            tuple(request["outputs"]),
        )
        added = self.context.network.register_endpoint(descriptor)
        return {"status": EzspStatus.SUCCESS if added else EzspStatus.INVALID_VALUE}

    def set_manufacturer_code(self, request: Values) -> Values:
        self.context.network.manufacturer_code = request["code"]
        return {}

    # --- tables ----------------------------------------------------------------------------------------------------

    def get_multicast_table_entry(self, request: Values) -> Values:
        if request["index"] >= self.config[Config.MULTICAST_TABLE_SIZE]:
            return {"status": EmberStatus.INDEX_OUT_OF_RANGE, "entry": blank(STRUCTURES["multicast"])}
        entry = self._multicast.get(request["index"], blank(STRUCTURES["multicast"]))
        return {"status": EmberStatus.SUCCESS, "entry": entry}

    def set_multicast_table_entry(self, request: Values) -> Values:
        if request["index"] >= self.config[Config.MULTICAST_TABLE_SIZE]:
            return {"status": EmberStatus.INDEX_OUT_OF_RANGE}
        self._multicast[request["index"]] = request["entry"]
        groups = self.context.network.groups
        groups.clear()
        groups.update(entry["group"] for entry in self._multicast.values() if entry["endpoint"])
        return {"status": EmberStatus.SUCCESS}

    def get_address_table_remote_eui64(self, request: Values) -> Values:
        return {"eui64": self._addresses.get(request["index"], (NO_IEEE, UNKNOWN_NODE))[0]}

    def get_address_table_remote_node_id(self, request: Values) -> Values:
        return {"node": self._addresses.get(request["index"], (NO_IEEE, UNKNOWN_NODE))[1]}

    def replace_address_table_entry(self, request: Values) -> Values:
        eui64, node = self._addresses.get(request["index"], (NO_IEEE, UNKNOWN_NODE))
        old = {"eui64": eui64, "node": node, "extended": eui64 in self._extended_timeouts}
        if request["index"] >= self.config[Config.ADDRESS_TABLE_SIZE]:
            return {"status": EmberStatus.ADDRESS_TABLE_INDEX_OUT_OF_RANGE, **old}
        self._extended_timeouts.discard(eui64)
        if request["node"] < _LAST_RESERVED_NODE:
            self._addresses[request["index"]] = (request["eui64"], request["node"])
        else:
            self._addresses.pop(request["index"], None)
        self.set_extended_timeout(request)
        return {"status": EmberStatus.SUCCESS, **old}

    def set_extended_timeout(self, request: Values) -> Values:
        if request["extended"]:
            self._extended_timeouts.add(request["eui64"])
        else:
            self._extended_timeouts.discard(request["eui64"])
        return {}

    def get_extended_timeout(self, request: Values) -> Values:
        return {"extended": request["eui64"] in self._extended_timeouts}

    # --- routing ---------------------------------------------------------------------------------------------------

    def set_concentrator(self, request: Values) -> Values:
        self.concentrator = bool(request["on"])
        return {"status": EmberStatus.SUCCESS}

    def set_source_route_discovery_mode(self, request: Values) -> Values:
        return {"remaining": 10_000 if request["mode"] else NO_CONCENTRATOR_DELAY}

    def set_source_route(self, _request: Values) -> Values:
        return {"status": EmberStatus.SUCCESS}

    def send_many_to_one_route_request(self, _request: Values) -> Values:
        return {"status": EmberStatus.SUCCESS}

    # --- counters and manufacturing tokens -------------------------------------------------------------------------

    def read_counters(self, _request: Values) -> Values:
        return {"values": list(self.counters)}

    def read_and_clear_counters(self, _request: Values) -> Values:
        values, self.counters = self.counters, [0] * COUNTERS
        return {"values": values}

    def get_mfg_token(self, request: Values) -> Values:
        size = MFG_TOKEN_SIZES.get(request["token"], 0)
        contents = {
            MfgToken.STRING: _MANUFACTURER,
            MfgToken.BOARD_NAME: _BOARD,
            MfgToken.CUSTOM_EUI64: self.custom_eui64.to_bytes(8, "little"),
        }.get(request["token"], b"")
        return {"data": contents.ljust(size, _ERASED)}

    def set_mfg_token(self, request: Values) -> Values:
        """Burn the custom EUI-64, which goes once."""
        if request["token"] != MfgToken.CUSTOM_EUI64 or self.custom_eui64 != NO_IEEE or len(request["data"]) != 8:  # noqa: PLR2004  an EUI-64
            return {"status": EmberStatus.INVALID_CALL}
        self.custom_eui64 = int.from_bytes(request["data"], "little")
        return {"status": EmberStatus.SUCCESS}

    # --- persistence -----------------------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """What stays without power."""
        return {"custom_eui64": self.custom_eui64}

    def restore(self, state: Json) -> None:
        """Take up a snapshot."""
        self.custom_eui64 = int(state["custom_eui64"])
