"""EZSP version 13 (Silicon Labs UG100): the declared frames, their codec, and the numbers that they carry. PURE.

A layout is text: `name:kind` pairs. Kinds: u8 u16 u32 i8, `eui64` (an int), `key` (16 bytes), `lv` and `lv32`
(bytes after an 8- or 32-bit length), the name of a structure (a dict), and arrays: `u16[]` to the end of the frame,
`u16[count]` as many as the earlier field `count` says, `u16[*]` after an 8-bit count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

Values = dict[str, Any]

PROTOCOL_VERSION = 13
STACK_TYPE_MESH = 2
VERSION_INFO = bytes((0x00, 0x00, 7, 4, 4, 0, 0xAA))  # EmberZNet: build (two bytes), major, minor, patch, special, GA

_RESPONSE = 0x80
_ASYNC_CALLBACK = 0x10
_TRUNCATED_HEADER = "shorter than its header"
_EXTENDED_FORMAT = 0x01
_FORMAT_MASK = 0x03
_LEGACY_HEADER = 3
_EXTENDED_HEADER = 5


class EzspError(ValueError):
    """A frame that the stick refuses; `status` goes into the invalidCommand response."""

    def __init__(self, status: "EzspStatus", reason: str) -> None:
        super().__init__(reason)
        self.status = status


class EzspStatus(IntEnum):
    """Status of the EZSP layer (UG100, EzspStatus)."""

    SUCCESS = 0x00
    VERSION_NOT_SET = 0x30
    INVALID_FRAME_ID = 0x31
    TRUNCATED = 0x33
    INVALID_VALUE = 0x36
    INVALID_ID = 0x37


class EmberStatus(IntEnum):
    """Status of the stack (UG100, EmberStatus)."""

    SUCCESS = 0x00
    BAD_ARGUMENT = 0x02
    NOT_FOUND = 0x03
    DELIVERY_FAILED = 0x66
    ADDRESS_TABLE_INDEX_OUT_OF_RANGE = 0x6A
    INVALID_BINDING_INDEX = 0x6C
    INVALID_CALL = 0x70
    MAX_MESSAGE_LIMIT_REACHED = 0x72
    MESSAGE_TOO_LONG = 0x74
    INVALID_CHANNEL = 0x8A
    INVALID_POWER = 0x8B
    NETWORK_UP = 0x90
    NETWORK_DOWN = 0x91
    NOT_JOINED = 0x93
    CHANNEL_CHANGED = 0x9B
    NETWORK_OPENED = 0x9C
    NETWORK_CLOSED = 0x9D
    SECURITY_STATE_NOT_SET = 0xA8
    INDEX_OUT_OF_RANGE = 0xB1
    LIBRARY_NOT_PRESENT = 0xB5
    TABLE_ENTRY_ERASED = 0xB6


class SlStatus(IntEnum):
    """Status of the security manager's frames (32 bits)."""

    OK = 0x00
    ALLOCATION_FAILED = 0x19
    INVALID_TYPE = 0x26
    INVALID_INDEX = 0x27
    NOT_FOUND = 0x2D
    NOT_JOINED = 0x17


class Config(IntEnum):
    """Configuration values that mean something to the simulation."""

    APS_UNICAST_MESSAGE_COUNT = 0x03
    ADDRESS_TABLE_SIZE = 0x05
    MULTICAST_TABLE_SIZE = 0x06
    SECURITY_LEVEL = 0x0D
    KEY_TABLE_SIZE = 0x1E


DEFAULT_CONFIG: Mapping[int, int] = {  # by configuration id; what an EFR32MG21 build has after a reset
    0x01: 0xFF, 0x02: 26, 0x03: 64, 0x04: 2, 0x05: 16, 0x06: 16, 0x07: 16, 0x08: 8, 0x09: 0, 0x0A: 0, 0x0C: 2, 0x0D: 5,
    0x10: 30, 0x11: 32, 0x12: 3000, 0x13: 8, 0x14: 20, 0x17: 0, 0x18: 0, 0x19: 2, 0x1A: 200, 0x1B: 6, 0x1C: 1, 0x1D: 0,
    0x1E: 12, 0x1F: 1600, 0x20: 3, 0x21: 60, 0x22: 2, 0x24: 5, 0x29: 0, 0x2A: 0, 0x2B: 15, 0x2C: 0, 0x2D: 1, 0x2E: 0,
    0x2F: 0, 0x30: 0, 0x33: 0, 0x34: 0, 0x35: 0, 0x36: 300, 0x37: 1, 0x38: 90, 0x39: 0, 0x40: 2, 0x41: 5, 0x42: 0,
}  # fmt: skip


class Value(IntEnum):
    """Values with a meaning here; the others are stored and given back."""

    FREE_BUFFERS = 0x03
    EXTENDED_SECURITY_BITMASK = 0x0A
    VERSION_INFO = 0x11
    NWK_FRAME_COUNTER = 0x23
    APS_FRAME_COUNTER = 0x24


DEFAULT_VALUES: Mapping[int, bytes] = {  # by value id
    0x03: b"\xf0", 0x05: b"\x52\x00", 0x06: b"\x52\x00", 0x07: b"\x01", 0x0A: b"\x00\x00", 0x0C: b"\x00",
    0x0F: b"\x00\x00", 0x11: VERSION_INFO, 0x12: b"\x00", 0x13: b"\x00", 0x15: b"\x00", 0x23: bytes(4),
    0x24: bytes(4), 0x25: b"\x00", 0x29: b"\x00", 0x39: bytes(4),
    0x3A: b"\x00", 0x3B: b"\x2c\x01", 0x3D: b"\x05", 0x3E: b"\x01", 0x3F: b"\x03",
    0x43: b"\x10\x27", 0x45: b"\x00", 0x46: b"\x00", 0x48: b"\x00",
}  # fmt: skip


class Policy(IntEnum):
    """Policies with a meaning here."""

    TRUST_CENTRE = 0x00
    MESSAGE_CONTENTS_IN_CALLBACK = 0x04


TAG_AND_CONTENTS = 0x41


class JoinPolicy(IntFlag):
    """Decision bits of Policy.TRUST_CENTRE."""

    ALLOW_JOINS = 0x01
    ALLOW_UNSECURED_REJOINS = 0x02
    INSTALL_CODES_ONLY = 0x10


class SecurityBits(IntFlag):
    """Bits of the initial security state."""

    HAVE_TC_EUI64 = 0x0040
    HASHED_LINK_KEY = 0x0084
    HAVE_TC_LINK_KEY = 0x0010  # of the current security state
    HAVE_NETWORK_KEY = 0x0200
    NO_FRAME_COUNTER_RESET = 0x1000


class KeyType(IntEnum):
    """Keys of the security manager."""

    NETWORK = 1
    TC_LINK = 2


class KeyBits(IntFlag):
    """What the metadata of a link key holds."""

    OUTGOING_COUNTER = 0x02
    INCOMING_COUNTER = 0x04
    PARTNER = 0x08
    AUTHORISED = 0x10


class Outgoing(IntEnum):
    """How a message was sent."""

    DIRECT = 0
    VIA_ADDRESS_TABLE = 1
    MULTICAST = 3
    MULTICAST_WITH_ALIAS = 4
    BROADCAST_WITH_ALIAS = 5
    BROADCAST = 6


class Received(IntEnum):
    """How a message came."""

    UNICAST = 0
    MULTICAST = 2
    BROADCAST = 4


class ApsOption(IntFlag):
    """Options of an APS frame."""

    ENCRYPTION = 0x0020
    RETRY = 0x0040
    ENABLE_ROUTE_DISCOVERY = 0x0100


class DeviceUpdate(IntEnum):
    """What trustCenterJoinHandler says of a device."""

    SECURED_REJOIN = 0
    UNSECURED_JOIN = 1
    LEFT = 2
    UNSECURED_REJOIN = 3


class JoinDecision(IntEnum):
    """What the trust centre did."""

    USE_PRECONFIGURED_KEY = 0
    DENY = 2
    NO_ACTION = 3


class Counter(IntEnum):
    """Stack counters that the simulation moves, by their place in readCounters."""

    APS_RX_BROADCAST = 6
    APS_TX_BROADCAST = 7
    APS_RX_UNICAST = 8
    APS_TX_UNICAST_SUCCESS = 9
    APS_TX_UNICAST_FAILED = 11
    JOIN_INDICATION = 16
    ASH_FRAMING_ERROR = 19


COUNTERS = 41


class MfgToken(IntEnum):
    """Manufacturing tokens with contents."""

    STRING = 0x01
    BOARD_NAME = 0x02
    CUSTOM_EUI64 = 0x0C


MFG_TOKEN_SIZES: Mapping[int, int] = {  # bytes, by token id
    0x00: 2, 0x01: 16, 0x02: 16, 0x03: 2, 0x04: 2, 0x05: 16, 0x06: 40, 0x07: 8, 0x08: 2, 0x09: 92, 0x0A: 20, 0x0B: 1,
    0x0C: 8, 0x0D: 2,
}  # fmt: skip


class Nv3(IntEnum):
    """NVM3 tokens that the stick shows."""

    RESTORED_EUI64 = 0xE12A
    TRUST_CENTRE = 0x1E124
    NETWORK_MANAGEMENT = 0x1E125
    NODE_DATA = 0x1EE64
    CHILD_TABLE = 0x10580


STRUCTURES: Mapping[str, str] = {
    "aps": "profile:u16 cluster:u16 source_endpoint:u8 destination_endpoint:u8 options:u16 group:u16 sequence:u8",
    "parameters": (
        "extended_pan_id:eui64 pan_id:u16 tx_power:i8 channel:u8 join_method:u8 manager:u16 update_id:u8 channels:u32"
    ),
    "initial_security": "bitmask:u16 preconfigured_key:key network_key:key key_sequence:u8 trust_centre:eui64",
    "current_security": "bitmask:u16 trust_centre:eui64",
    "multicast": "group:u16 endpoint:u8 network:u8",
    "child": "eui64:eui64 type:u8 node:u16 phy:u8 power:u8 timeout:u8 timeout_remaining:u32",
    "neighbour": "node:u16 lqi:u8 in_cost:u8 out_cost:u8 age:u8 eui64:eui64",
    "context": "type:u8 index:u8 derived:u16 eui64:eui64 network:u8 flags:u8 permission:u32",
    "key_data": "bitmask:u16 outgoing_counter:u32 incoming_counter:u32 ttl:u16",
    "network_key": "set:u8 alternate_set:u8 sequence:u8 alternate_sequence:u8 frame_counter:u32",
    "trust_centre_token": "mode:u16 eui64:eui64 key:key",
    "node_data_token": "pan_id:u16 tx_power:i8 channel:u8 stack_profile:u8 type:u8 node:u16 extended_pan_id:eui64",
    "management_token": "channels:u32 manager:u16 update_id:u8 padding:u8",
    "child_token": "eui64:eui64 node:u16 flags:u8",
}

_STATUS = "status:u8"
_SENT = "status:u8 sequence:u8"

# Commands: name -> (frame id, request, response)
COMMANDS: Mapping[str, tuple[int, str, str]] = {
    "version": (0x00, "desired:u8", "protocol:u8 stack_type:u8 stack_version:u16"),
    "add_endpoint": (
        0x02,
        (
            "endpoint:u8 profile:u16 device:u16 version:u8 input_count:u8 output_count:u8"
            " inputs:u16[input_count] outputs:u16[output_count]"
        ),
        _STATUS,
    ),
    "get_extended_value": (0x03, "value_id:u8 characteristics:u32", "status:u8 value:lv"),
    "nop": (0x05, "", ""),
    "get_mfg_token": (0x0B, "token:u8", "data:lv"),
    "launch_standalone_bootloader": (0x8F, "mode:u8", _STATUS),
    "set_mfg_token": (0x0C, "token:u8 data:lv", _STATUS),
    "set_concentrator": (
        0x10,
        "on:u8 type:u16 min_time:u16 max_time:u16 route_errors:u8 delivery_failures:u8 max_hops:u8",
        _STATUS,
    ),
    "set_manufacturer_code": (0x15, "code:u16", ""),
    "network_init": (0x17, "bitmask:u16", _STATUS),
    "network_state": (0x18, "", _STATUS),
    "start_scan": (0x1A, "type:u8 channels:u32 duration:u8", _STATUS),
    "stop_scan": (0x1D, "", _STATUS),
    "form_network": (0x1E, "parameters:parameters", _STATUS),
    "leave_network": (0x20, "", _STATUS),
    "permit_joining": (0x22, "duration:u8", _STATUS),
    "get_eui64": (0x26, "", "eui64:eui64"),
    "get_node_id": (0x27, "", "node:u16"),
    "get_network_parameters": (0x28, "", "status:u8 type:u8 parameters:parameters"),
    "get_parent_child_parameters": (0x29, "", "child_count:u8 parent_eui64:eui64 parent_node:u16"),
    "maximum_payload_length": (0x33, "", "length:u8"),
    "send_unicast": (0x34, "type:u8 destination:u16 aps:aps tag:u8 message:lv", _SENT),
    "send_broadcast": (0x36, "destination:u16 aps:aps radius:u8 tag:u8 message:lv", _SENT),
    "proxy_broadcast": (
        0x37,
        "source:u16 destination:u16 nwk_sequence:u8 aps:aps radius:u8 tag:u8 message:lv",
        _SENT,
    ),
    "send_multicast": (0x38, "aps:aps hops:u8 non_member_radius:u8 tag:u8 message:lv", _SENT),
    "send_reply": (0x39, "sender:u16 aps:aps message:lv", _STATUS),
    "send_multicast_with_alias": (
        0x3A,
        "aps:aps hops:u8 non_member_radius:u8 alias:u16 nwk_sequence:u8 tag:u8 message:lv",
        _SENT,
    ),
    "send_many_to_one_route_request": (0x41, "type:u16 radius:u8", _STATUS),
    "custom_frame": (0x47, "payload:lv", "status:u8 reply:lv"),
    "get_child_data": (0x4A, "index:u8", "status:u8 child:child"),
    "get_configuration_value": (0x52, "config_id:u8", "status:u8 value:u16"),
    "set_configuration_value": (0x53, "config_id:u8 value:u16", _STATUS),
    "set_policy": (0x55, "policy_id:u8 decision:u8", _STATUS),
    "get_policy": (0x56, "policy_id:u8", "status:u8 decision:u8"),
    "set_source_route_discovery_mode": (0x5A, "mode:u8", "remaining:u32"),
    "get_address_table_remote_eui64": (0x5E, "index:u8", "eui64:eui64"),
    "get_address_table_remote_node_id": (0x5F, "index:u8", "node:u16"),
    "lookup_node_id_by_eui64": (0x60, "eui64:eui64", "node:u16"),
    "lookup_eui64_by_node_id": (0x61, "node:u16", "status:u8 eui64:eui64"),
    "get_multicast_table_entry": (0x63, "index:u8", "status:u8 entry:multicast"),
    "set_multicast_table_entry": (0x64, "index:u8 entry:multicast", _STATUS),
    "read_and_clear_counters": (0x65, "", "values:u16[]"),
    "set_initial_security_state": (0x68, "state:initial_security", _STATUS),
    "get_current_security_state": (0x69, "", "status:u8 state:current_security"),
    "clear_transient_link_keys": (0x6B, "", ""),
    "find_key_table_entry": (0x75, "eui64:eui64 link_key:u8", "index:u8"),
    "erase_key_table_entry": (0x76, "index:u8", _STATUS),
    "token_factory_reset": (0x77, "exclude_outgoing_counters:u8 exclude_boot_counter:u8", ""),
    "get_neighbour": (0x79, "index:u8", "status:u8 neighbour:neighbour"),
    "neighbour_count": (0x7A, "", "count:u8"),
    "set_extended_timeout": (0x7E, "eui64:eui64 extended:u8", ""),
    "get_extended_timeout": (0x7F, "eui64:eui64", "extended:u8"),
    "echo": (0x81, "data:lv", "data:lv"),
    "replace_address_table_entry": (
        0x82,
        "index:u8 eui64:eui64 node:u16 extended:u8",
        "status:u8 eui64:eui64 node:u16 extended:u8",
    ),
    "set_radio_cca_mode": (0x95, "mode:u8", _STATUS),
    "set_radio_power": (0x99, "power:i8", _STATUS),
    "set_radio_channel": (0x9A, "channel:u8", _STATUS),
    "remove_device": (0xA8, "destination:u16 destination_eui64:eui64 target:eui64", _STATUS),
    "get_value": (0xAA, "value_id:u8", "status:u8 value:lv"),
    "set_value": (0xAB, "value_id:u8 value:lv", _STATUS),
    "set_child_data": (0xAC, "index:u8 child:child", _STATUS),
    "set_source_route": (0xAE, "destination:u16 relays:u16[*]", _STATUS),
    "clear_key_table": (0xB1, "", _STATUS),
    "set_logical_and_radio_channel": (0xB9, "channel:u8", _STATUS),
    "get_logical_channel": (0xBA, "", "channel:u8"),
    "gp_sink_table_init": (0x70, "", ""),
    "gp_sink_table_clear_all": (0xE2, "", ""),
    "read_counters": (0xF1, "", "values:u16[]"),
    "get_token_data": (0x102, "token:u32 index:u32", "status:u8 value:lv32"),
    "set_token_data": (0x103, "token:u32 index:u32 value:lv32", _STATUS),
    "get_aps_key_info": (0x10C, "context:context", "eui64:eui64 key_data:key_data status:u32"),
    "export_link_key_by_eui64": (0x10D, "eui64:eui64", "key:key index:u8 key_data:key_data status:u32"),
    "import_link_key": (0x10E, "index:u8 eui64:eui64 key:key", "status:u32"),
    "export_link_key_by_index": (0x10F, "index:u8", "eui64:eui64 key:key key_data:key_data status:u32"),
    "import_transient_key": (0x111, "eui64:eui64 key:key flags:u8", "status:u32"),
    "export_key": (0x114, "context:context", "key:key status:u32"),
    "get_network_key_info": (0x116, "", "status:u32 info:network_key"),
}

INVALID_COMMAND = (0x58, _STATUS)

# Callbacks: name -> (frame id, contents)
CALLBACKS: Mapping[str, tuple[int, str]] = {
    "stack_status_handler": (0x19, _STATUS),
    "scan_complete_handler": (0x1C, "channel:u8 status:u8"),
    "trust_center_join_handler": (0x24, "node:u16 eui64:eui64 update:u8 decision:u8 parent:u16"),
    "message_sent_handler": (0x3F, "type:u8 destination:u16 aps:aps tag:u8 status:u8 message:lv"),
    "incoming_message_handler": (
        0x45,
        "type:u8 aps:aps lqi:u8 rssi:i8 sender:u16 binding_index:u8 address_index:u8 message:lv",
    ),
    "energy_scan_result_handler": (0x48, "channel:u8 rssi:i8"),
    "incoming_route_record_handler": (0x59, "source:u16 eui64:eui64 lqi:u8 rssi:i8 relays:u16[*]"),
}

COMMAND_NAMES: Mapping[int, str] = {frame_id: name for name, (frame_id, _, _) in COMMANDS.items()}

_INTEGERS: Mapping[str, tuple[int, bool]] = {  # bytes, signed
    "u8": (1, False), "u16": (2, False), "u32": (4, False), "i8": (1, True), "eui64": (8, False),
}  # fmt: skip
_PREFIXED: Mapping[str, int] = {"lv": 1, "lv32": 4}
_KEY_SIZE = 16


def encode(layout: str, values: Values) -> bytes:
    """The bytes of `values` in `layout`. KeyError or OverflowError for values that do not fit is a caller's bug."""
    out = bytearray()
    for field in layout.split():
        name, _, kind = field.partition(":")
        element, bracket, count = kind.partition("[")
        if not bracket:
            out += _encode_one(element, values[name])
            continue
        if count == "*]":
            out.append(len(values[name]))
        for value in values[name]:
            out += _encode_one(element, value)
    return bytes(out)


def _encode_one(kind: str, value: Any) -> bytes:
    if kind in _INTEGERS:
        size, signed = _INTEGERS[kind]
        return int(value).to_bytes(size, "little", signed=signed)
    if kind in _PREFIXED:
        return len(value).to_bytes(_PREFIXED[kind], "little") + bytes(value)
    if kind == "key":
        return bytes(value).rjust(_KEY_SIZE, b"\x00")
    return encode(STRUCTURES[kind], value)


def decode(layout: str, data: bytes) -> Values:
    """The values of `layout` at the start of `data`; a tail is left alone. Raises EzspError (TRUNCATED)."""
    reader = _Reader(data)
    return reader.values(layout)


class _Reader:
    """A place in a frame."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise EzspError(EzspStatus.TRUNCATED, f"{self.at + size - len(self.data)} bytes are missing")
        self.at += size
        return self.data[self.at - size : self.at]

    def values(self, layout: str) -> Values:
        out: Values = {}
        for field in layout.split():
            name, _, kind = field.partition(":")
            element, bracket, count = kind.partition("[")
            if not bracket:
                out[name] = self.one(element)
            elif count == "]":
                out[name] = [self.one(element) for _ in range((len(self.data) - self.at) // _INTEGERS[element][0])]
            else:
                number = self.take(1)[0] if count == "*]" else out[count[:-1]]
                out[name] = [self.one(element) for _ in range(number)]
        return out

    def one(self, kind: str) -> Any:
        if kind in _INTEGERS:
            size, signed = _INTEGERS[kind]
            return int.from_bytes(self.take(size), "little", signed=signed)
        if kind in _PREFIXED:
            return self.take(int.from_bytes(self.take(_PREFIXED[kind]), "little"))
        if kind == "key":
            return self.take(_KEY_SIZE)
        return self.values(STRUCTURES[kind])


def blank(layout: str) -> Values:
    """Zero in every field; what a refused command carries beside its status."""
    out: Values = {}
    for field in layout.split():
        name, _, kind = field.partition(":")
        if "[" in kind:
            out[name] = []
        elif kind in STRUCTURES:
            out[name] = blank(STRUCTURES[kind])
        else:
            out[name] = 0 if kind in _INTEGERS else b""
    return out


@dataclass(frozen=True, slots=True)
class Command:
    """A command's header and what follows it. `extended` is the header of protocol version 8 and later."""

    sequence: int
    frame_id: int
    arguments: bytes
    extended: bool


def parse_command(payload: bytes) -> Command:
    """The command in one ASH payload. Raises EzspError (TRUNCATED)."""
    if len(payload) < _LEGACY_HEADER:
        raise EzspError(EzspStatus.TRUNCATED, _TRUNCATED_HEADER)
    if payload[2] & _FORMAT_MASK != _EXTENDED_FORMAT:
        return Command(payload[0], payload[2], payload[_LEGACY_HEADER:], extended=False)
    if len(payload) < _EXTENDED_HEADER:
        raise EzspError(EzspStatus.TRUNCATED, _TRUNCATED_HEADER)
    frame_id = int.from_bytes(payload[3:5], "little")
    return Command(payload[0], frame_id, payload[_EXTENDED_HEADER:], extended=True)


def build_command(command: Command) -> bytes:
    """The ASH payload of a command, as a host sends it."""
    if command.extended:
        frame_id = command.frame_id.to_bytes(2, "little")
        return bytes((command.sequence, 0, _EXTENDED_FORMAT)) + frame_id + command.arguments
    return bytes((command.sequence, 0, command.frame_id)) + command.arguments


def build_response(command: Command, contents: bytes, frame_id: int | None = None) -> bytes:
    """The ASH payload that answers `command` in its own format; `frame_id` when it is invalidCommand."""
    answer_id = command.frame_id if frame_id is None else frame_id
    if command.extended:
        return bytes((command.sequence, _RESPONSE, _EXTENDED_FORMAT)) + answer_id.to_bytes(2, "little") + contents
    return bytes((command.sequence, _RESPONSE, answer_id)) + contents


def build_callback(name: str, sequence: int, values: Values) -> bytes:
    """The ASH payload of an asynchronous callback; `sequence` is that of the last response."""
    frame_id, layout = CALLBACKS[name]
    header = bytes((sequence, _RESPONSE | _ASYNC_CALLBACK, _EXTENDED_FORMAT)) + frame_id.to_bytes(2, "little")
    return header + encode(layout, values)
