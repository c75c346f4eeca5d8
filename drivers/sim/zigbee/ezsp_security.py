"""Keys of an EZSP stick: initial security state, key table, transient keys, exports of the security manager. PURE.

Every method named after a frame of ezsp_tables.COMMANDS answers that frame: request values in, response values out.
"""

from drivers.sim.zigbee.ezsp_settings import Context, Settings
from drivers.sim.zigbee.ezsp_tables import (
    STRUCTURES,
    Config,
    EmberStatus,
    JoinPolicy,
    KeyBits,
    KeyType,
    Policy,
    SecurityBits,
    SlStatus,
    Values,
    blank,
)
from drivers.sim.zigbee.model import GLOBAL_LINK_KEY, NO_IEEE, Json, LinkKey

NO_INDEX = 0xFF
_WILDCARDS = (NO_IEEE, 0)
_BLANK_KEY = bytes(16)


class Security:
    """The key store. The key table holds imported keys only: joined devices have theirs from the hashed one."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.settings = settings
        self.bits = 0  # of the network's security state
        self.hashed_link_key: bytes | None = None  # the secret from which the link keys of joining devices derive
        self.table: dict[int, tuple[int, bytes]] = {}  # index: EUI-64, key
        self.reset()

    def reset(self) -> None:
        """Forget what a restart forgets."""
        self.initial: Values | None = None  # for the next formNetwork
        self._wildcard = False  # the well-known key may be used to join
        self.apply_policy()

    def forget(self) -> None:
        """Forget the keys of the network."""
        self.bits = 0
        self.hashed_link_key = None
        self.table.clear()

    def begin(self) -> None:
        """Take the initial security state over into the network that was just formed."""
        state = self.initial or blank(STRUCTURES["initial_security"])
        self.bits = state["bitmask"]
        hashed = self.bits & SecurityBits.HASHED_LINK_KEY == SecurityBits.HASHED_LINK_KEY
        self.hashed_link_key = state["preconfigured_key"] if hashed else None
        for eui64, key in self.table.values():
            self.context.network.set_link_key(eui64, key)

    def link_key(self) -> bytes:
        """The key with which devices join the network about to be formed."""
        state = self.initial or {}
        hashed = state.get("bitmask", 0) & SecurityBits.HASHED_LINK_KEY == SecurityBits.HASHED_LINK_KEY
        return GLOBAL_LINK_KEY if hashed or not state else bytes(state["preconfigured_key"])

    def apply_policy(self) -> None:
        """Tell the network what the trust centre lets in."""
        policy = self.settings.policies[Policy.TRUST_CENTRE]
        network = self.context.network
        network.joins_allowed = bool(policy & JoinPolicy.ALLOW_JOINS)
        network.install_code_required = bool(policy & JoinPolicy.INSTALL_CODES_ONLY) or not self._wildcard

    def set_policy(self, request: Values) -> Values:
        self.settings.policies[request["policy_id"]] = request["decision"]
        self.apply_policy()
        return {"status": EmberStatus.SUCCESS}

    # --- security state --------------------------------------------------------------------------------------------

    def set_initial_security_state(self, request: Values) -> Values:
        if self.context.network.running:
            return {"status": EmberStatus.INVALID_CALL}
        self.initial = request["state"]
        return {"status": EmberStatus.SUCCESS}

    def get_current_security_state(self, _request: Values) -> Values:
        network = self.context.network
        if network.params is None or not network.running:
            return {"status": EmberStatus.NOT_JOINED, "state": blank(STRUCTURES["current_security"])}
        bits = self.bits & SecurityBits.HASHED_LINK_KEY | SecurityBits.HAVE_TC_LINK_KEY
        trust_centre = network.params.tc_address
        state = {"bitmask": bits, "trust_centre": network.ieee if trust_centre is None else trust_centre}
        return {"status": EmberStatus.SUCCESS, "state": state}

    # --- key table -------------------------------------------------------------------------------------------------

    def import_link_key(self, request: Values) -> Values:
        if request["index"] >= self.settings.config[Config.KEY_TABLE_SIZE]:
            return {"status": SlStatus.INVALID_INDEX}
        self.table[request["index"]] = (request["eui64"], request["key"])
        self.context.network.set_link_key(request["eui64"], request["key"])
        return {"status": SlStatus.OK}

    def export_link_key_by_index(self, request: Values) -> Values:
        if request["index"] >= self.settings.config[Config.KEY_TABLE_SIZE]:
            return {**self._no_key(), "status": SlStatus.INVALID_INDEX}
        if request["index"] not in self.table:
            return {**self._no_key(), "status": SlStatus.NOT_FOUND}
        eui64, key = self.table[request["index"]]
        return {"eui64": eui64, "key": key, "key_data": self._key_data(eui64), "status": SlStatus.OK}

    def export_link_key_by_eui64(self, request: Values) -> Values:
        index = self._index_of(request["eui64"])
        if index is None:
            return {**self._no_key(), "index": NO_INDEX, "status": SlStatus.NOT_FOUND}
        eui64, key = self.table[index]
        return {"key": key, "index": index, "key_data": self._key_data(eui64), "status": SlStatus.OK}

    def find_key_table_entry(self, request: Values) -> Values:
        index = self._index_of(request["eui64"])
        return {"index": NO_INDEX if index is None else index}

    def erase_key_table_entry(self, request: Values) -> Values:
        if request["index"] >= self.settings.config[Config.KEY_TABLE_SIZE]:
            return {"status": EmberStatus.INDEX_OUT_OF_RANGE}
        self.table.pop(request["index"], None)
        return {"status": EmberStatus.SUCCESS}

    def clear_key_table(self, _request: Values) -> Values:
        self.table.clear()
        return {"status": EmberStatus.SUCCESS}

    # --- transient keys --------------------------------------------------------------------------------------------

    def import_transient_key(self, request: Values) -> Values:
        if request["eui64"] in _WILDCARDS:
            self._wildcard = True
            self.apply_policy()
        elif not self.context.network.joining.room("key"):
            return {"status": SlStatus.ALLOCATION_FAILED}
        else:
            self.context.network.add_transient_key(request["eui64"], request["key"])
        return {"status": SlStatus.OK}

    def clear_transient_link_keys(self, _request: Values) -> Values:
        self._wildcard = False
        self.context.network.transient_keys.clear()
        self.apply_policy()
        return {}

    # --- security manager ------------------------------------------------------------------------------------------

    def export_key(self, request: Values) -> Values:
        params = self.context.network.params
        if params is None:
            return {"key": _BLANK_KEY, "status": SlStatus.NOT_JOINED}
        match request["context"]["type"]:
            case KeyType.NETWORK if request["context"]["index"] == 0:
                return {"key": params.network_key, "status": SlStatus.OK}
            case KeyType.NETWORK:  # there is no alternate network key
                return {"key": _BLANK_KEY, "status": SlStatus.NOT_FOUND}
            case KeyType.TC_LINK:
                return {"key": self.hashed_link_key or params.tc_link_key, "status": SlStatus.OK}
        return {"key": _BLANK_KEY, "status": SlStatus.INVALID_TYPE}

    def get_network_key_info(self, _request: Values) -> Values:
        network = self.context.network
        info = blank(STRUCTURES["network_key"])
        if network.params is not None:
            info |= {"set": 1, "sequence": network.params.key_sequence, "frame_counter": network.frame_counter}
        return {"status": SlStatus.OK, "info": info}

    def get_aps_key_info(self, request: Values) -> Values:
        params = self.context.network.params
        context = request["context"]
        if context["type"] == KeyType.TC_LINK and params is not None:
            eui64 = self.context.network.ieee if params.tc_address is None else params.tc_address
        elif self._index_of(context["eui64"]) is not None:
            eui64 = context["eui64"]
        else:
            return {"eui64": 0, "key_data": blank(STRUCTURES["key_data"]), "status": SlStatus.NOT_FOUND}
        return {"eui64": eui64, "key_data": self._key_data(eui64), "status": SlStatus.OK}

    # --- persistence -----------------------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """What stays without power."""
        return {
            "bits": self.bits,
            "hashed_link_key": self.hashed_link_key.hex() if self.hashed_link_key else None,
            "table": [[index, eui64, key.hex()] for index, (eui64, key) in sorted(self.table.items())],
        }

    def restore(self, state: Json) -> None:
        """Take up a snapshot."""
        self.bits = int(state["bits"])
        self.hashed_link_key = bytes.fromhex(state["hashed_link_key"]) if state["hashed_link_key"] else None
        self.table = {int(index): (int(eui64), bytes.fromhex(key)) for index, eui64, key in state["table"]}

    def _index_of(self, eui64: int) -> int | None:
        return next((index for index, (owner, _key) in self.table.items() if owner == eui64), None)

    def _key_data(self, eui64: int) -> Values:
        link = self.context.network.link_keys.get(eui64, LinkKey(_BLANK_KEY))
        bits = KeyBits.OUTGOING_COUNTER | KeyBits.INCOMING_COUNTER | KeyBits.PARTNER | KeyBits.AUTHORISED
        return {
            "bitmask": bits,
            "outgoing_counter": link.tx_counter,
            "incoming_counter": link.rx_counter,
            "ttl": 0,
        }

    @staticmethod
    def _no_key() -> Values:
        return {"eui64": 0, "key": _BLANK_KEY, "key_data": blank(STRUCTURES["key_data"])}
