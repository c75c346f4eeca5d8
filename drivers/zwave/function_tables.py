"""The functions of the Z-Wave Serial API (Host Application Programming Guide, chapter 4): layouts of both directions. PURE."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from drivers.zwave.layout import (
    Array,
    Bits,
    Bytes,
    Field,
    Group,
    Layout,
    Node,
    Since,
    Switch,
    Values,
    When,
    i8,
    i16,
    rest,
    u8,
    u16,
    u24,
    u32,
)
from drivers.zwave.layout_values import Mask, Sub, Text

NODES = 29  # bytes of a node mask
FUNCTIONS = 32  # bytes of a function mask
LONG_RANGE_NODES = 128  # bytes of a segment
EMPTY = Layout()


class TransmitStatus(IntEnum):
    """How a transmission ended."""

    OK = 0
    NO_ACK = 1
    FAIL = 2  # the chip could not send: the channel was taken, it is jammed
    NOT_IDLE = 3
    NO_ROUTE = 4
    VERIFIED = 5


class TransmitOption(IntFlag):
    """How to send."""

    NONE = 0
    ACK = 0x01
    LOW_POWER = 0x02
    AUTO_ROUTE = 0x04
    NO_ROUTE = 0x10
    EXPLORE = 0x20


DEFAULT_OPTIONS = TransmitOption.ACK | TransmitOption.AUTO_ROUTE | TransmitOption.EXPLORE


class Region(IntEnum):
    """Radio regions."""

    EUROPE = 0x00
    USA = 0x01
    AUSTRALIA_NEW_ZEALAND = 0x02
    HONG_KONG = 0x03
    INDIA = 0x05
    ISRAEL = 0x06
    RUSSIA = 0x07
    CHINA = 0x08
    USA_LONG_RANGE = 0x09
    EUROPE_LONG_RANGE = 0x0B
    JAPAN = 0x20
    KOREA = 0x21
    UNKNOWN = 0xFE
    DEFAULT = 0xFF


class Setup(IntEnum):
    """Sub-commands of SerialAPISetup."""

    UNSUPPORTED = 0x00
    GET_SUPPORTED = 0x01
    SET_TX_STATUS_REPORT = 0x02
    SET_LR_MAX_TX_POWER = 0x03
    SET_POWERLEVEL = 0x04
    GET_LR_MAX_TX_POWER = 0x05
    GET_POWERLEVEL = 0x08
    GET_MAX_PAYLOAD = 0x10
    GET_LR_MAX_PAYLOAD = 0x11
    SET_POWERLEVEL_16 = 0x12
    GET_POWERLEVEL_16 = 0x13
    GET_SUPPORTED_REGIONS = 0x15
    GET_REGION_INFO = 0x16
    GET_REGION = 0x20
    SET_REGION = 0x40
    SET_NODE_ID_TYPE = 0x80


class Nvm(IntEnum):
    """Sub-commands of the NVM operations."""

    OPEN = 0
    READ = 1
    WRITE = 2
    CLOSE = 3


class AddMode(IntEnum):
    """What to add or remove."""

    ANY = 1
    CONTROLLER = 2
    END_NODE = 3
    EXISTING = 4
    STOP = 5
    STOP_REPLICATION = 6
    SMART_START = 8
    SMART_START_LISTEN = 9


class AddStatus(IntEnum):
    """Progress of adding and removing."""

    READY = 1
    NODE_FOUND = 2
    END_NODE = 3
    CONTROLLER = 4
    PROTOCOL_DONE = 5
    DONE = 6
    FAILED = 7
    NOT_PRIMARY = 0x23


class UpdateStatus(IntEnum):
    """Kinds of application updates."""

    SUC_ID = 0x10
    DELETED = 0x20
    NEW_ID = 0x40
    ROUTING_PENDING = 0x80
    NODE_INFO_FAILED = 0x81
    NODE_INFO_DONE = 0x82
    NODE_INFO = 0x84
    SMART_START_HOME_ID = 0x85
    INCLUDED_NODE_INFO = 0x86
    SMART_START_HOME_ID_LR = 0x87


class NeighborStatus(IntEnum):
    STARTED = 0x21
    DONE = 0x22
    FAILED = 0x23


class Cast(IntEnum):
    """How a received frame was addressed."""

    SINGLE = 0
    BROADCAST = 1
    MULTICAST = 2


@dataclass(frozen=True, slots=True)
class Function:
    """One function. A request with a callback has the field `callback_id`; so has the callback, as its first.

    `accepted` reads the response: does the function start? `final` reads a callback: is it the last? Times are seconds.
    """

    id: int
    name: str
    request: Layout = EMPTY
    response: Layout | None = None
    callback: Layout | None = None
    transmits: bool = False
    accepted: Callable[[Values], bool] = lambda _: True
    final: Callable[[Values], bool] = lambda _: True
    response_timeout: float = 10.0
    callback_timeout: float = 30.0


def _started(values: Values) -> bool:
    return bool(values["started"])


def _no_problem(values: Values) -> bool:
    return not values["problem"]


def _last_of_adding(values: Values) -> bool:
    ended = (AddStatus.PROTOCOL_DONE, AddStatus.DONE, AddStatus.FAILED, AddStatus.NOT_PRIMARY)
    return values["status"] in ended


def _last_of_removing(values: Values) -> bool:
    return values["status"] in (AddStatus.DONE, AddStatus.FAILED, AddStatus.NOT_PRIMARY)


_ID = u8("callback_id")
_STARTED = Layout(u8("started"))
_SUCCESS = Layout(u8("success"))
_PROBLEM = Layout(u8("problem"))
_PAYLOAD = (u8("_length"), Bytes("payload", "_length"))
_OPTIONS = (u8("options"), _ID)
_DEVICE_CLASS = (u8("basic"), u8("generic"), u8("specific"))
_NODES = (u8("_nodes"), Array("nodes", Node(""), count="_nodes"))
_ROUTE = (Bytes("repeaters", 4), u8("speed"))

_NODE_INFO = (
    u8("_length"),
    When(lambda values: values.get("_length"), *_DEVICE_CLASS, Bytes("command_classes", "_length", extra=-3)),
)
_TX_REPORT = Sub(
    "tx_report",
    u16("ticks"),  # of 10 ms
    u8("repeater_count"),
    i8("ack_rssi"),
    Array("repeater_rssi", i8(""), count=4),
    u8("ack_channel"),
    u8("tx_channel"),
    u8("route_scheme"),
    Bytes("repeaters", 4),
    Bits("-:1 beam_1000ms:1 beam_250ms:1 -:2 speed:3"),
    u8("attempts"),
    Since(2, u8("last_functional_node"), u8("first_failed_node")),
    Since(3, i8("tx_power"), i8("noise"), i8("ack_tx_power"), i8("ack_destination_rssi"), i8("ack_noise")),
)
_SENT = Layout(_ID, u8("status", TransmitStatus), Since(2, _TX_REPORT))
_STATUS = Layout(_ID, u8("status"))
_RX_STATUS = Bits("foreign_home:1 foreign_frame:1 -:1 explore:1 cast:2 low_power:1 busy:1", {"cast": Cast})
_ADDED = Layout(_ID, u8("status", AddStatus), Since(1, Node("node"), Since(1, *_NODE_INFO)))
_ADD = Layout(Bits("high_power:1 network_wide:1 long_range:1 -:1 mode:4", {"mode": AddMode}), _ID,
              Since(2, Bytes("nwi_home_id", 4), Bytes("auth_home_id", 4)))  # fmt: skip

_SMART_START = Group(
    Node("node"), u8("rx_status"), Bytes("nwi_home_id", 4), u8("_length"), *_DEVICE_CLASS,
    Bytes("command_classes", "_length", clamp=True),
)  # fmt: skip
_UPDATES: dict[int, Field] = {
    UpdateStatus.SUC_ID: Node("node"),
    UpdateStatus.DELETED: Node("node"),
    UpdateStatus.INCLUDED_NODE_INFO: Group(Node("node"), u8("rx_status"), Bytes("nwi_home_id", 4)),
    UpdateStatus.SMART_START_HOME_ID: _SMART_START,
    UpdateStatus.SMART_START_HOME_ID_LR: _SMART_START,
    **dict.fromkeys(
        (
            UpdateStatus.NODE_INFO,
            UpdateStatus.NODE_INFO_FAILED,
            UpdateStatus.NODE_INFO_DONE,
            UpdateStatus.ROUTING_PENDING,
            UpdateStatus.NEW_ID,
        ),
        Since(1, Node("node"), Since(1, *_NODE_INFO)),
    ),
}
_SETUP = u8("command", Setup)
_SETUP_REQUESTS: dict[int, Field] = {
    Setup.GET_SUPPORTED: Group(),
    Setup.SET_TX_STATUS_REPORT: u8("enable"),
    Setup.SET_LR_MAX_TX_POWER: i16("limit"),  # dBm / 10, as all powers here
    Setup.SET_POWERLEVEL: Group(i8("power"), i8("measured_0dbm")),
    Setup.GET_LR_MAX_TX_POWER: Group(),
    Setup.GET_POWERLEVEL: Group(),
    Setup.GET_MAX_PAYLOAD: Group(),
    Setup.GET_LR_MAX_PAYLOAD: Group(),
    Setup.SET_POWERLEVEL_16: Group(i16("power"), i16("measured_0dbm")),
    Setup.GET_POWERLEVEL_16: Group(),
    Setup.GET_SUPPORTED_REGIONS: Group(),
    Setup.GET_REGION_INFO: u8("region", Region),
    Setup.GET_REGION: Group(),
    Setup.SET_REGION: u8("region", Region),
    Setup.SET_NODE_ID_TYPE: u8("bytes"),  # 1 or 2
}
_SETUP_RESPONSES: dict[int, Field] = {
    Setup.UNSUPPORTED: Since(1, u8("unsupported")),
    Setup.GET_SUPPORTED: Group(u8("legacy_mask"), rest("mask")),
    Setup.SET_TX_STATUS_REPORT: u8("success"),
    Setup.SET_LR_MAX_TX_POWER: u8("success"),
    Setup.SET_POWERLEVEL: u8("success"),
    Setup.GET_LR_MAX_TX_POWER: i16("limit"),
    Setup.GET_POWERLEVEL: Group(i8("power"), i8("measured_0dbm")),
    Setup.GET_MAX_PAYLOAD: u8("size"),
    Setup.GET_LR_MAX_PAYLOAD: u8("size"),
    Setup.SET_POWERLEVEL_16: u8("success"),
    Setup.GET_POWERLEVEL_16: Group(i16("power"), i16("measured_0dbm")),
    Setup.GET_SUPPORTED_REGIONS: Group(u8("_regions"), Array("regions", u8("", Region), count="_regions")),
    Setup.GET_REGION_INFO: Group(
        u8("region", Region), Bits("-:6 long_range:1 zwave:1"), Since(2, u8("includes", Region))
    ),
    Setup.GET_REGION: u8("region", Region),
    Setup.SET_REGION: u8("success"),
    Setup.SET_NODE_ID_TYPE: u8("bytes"),
}


def _nvm_request(offset: Field) -> Layout:
    return Layout(
        u8("command", Nvm),
        Switch(
            "command",
            {
                Nvm.OPEN: Group(),
                Nvm.READ: Group(u8("size"), offset),
                Nvm.WRITE: Group(u8("_size"), offset, Bytes("payload", "_size")),
                Nvm.CLOSE: Group(),
            },
        ),
    )


def _nvm_response(offset: Field) -> Layout:
    """Open and a failed read answer with a size or an offset and no bytes; a sub-command mask may follow an open."""
    return Layout(u8("status"), u8("_size"), Since(1, offset), Since(1, Bytes("payload", "_size", clamp=True)))


_CAPABILITIES = Bits("-:3 is_suc:1 real_primary:1 sis_present:1 other_network:1 secondary:1")
_PROTOCOL_INFO = (
    Bits("listening:1 routing:1 -:1 speed_40k:1 speed_9600:1 protocol_version:3"),
    Bits("optional:1 sensor_1000ms:1 sensor_250ms:1 beam:1 routing_end_node:1 has_specific:1 controller:1 security:1"),
    Bits("-:6 long_range_100k:1 speed_100k:1"),
    *_DEVICE_CLASS,
)

FUNCTIONS_TABLE = (
    Function(0x02, "GetInitData", response=Layout(
        u8("api_version"), Bits("-:4 sis:1 secondary:1 timers:1 end_device:1"),
        u8("_nodes"), Mask("nodes", "_nodes", first=1, least=NODES), Since(2, u8("chip_type"), u8("chip_version")))),
    Function(0x03, "SetApplicationNodeInformation", Layout(
        Bits("-:6 optional:1 listening:1"), u8("generic"), u8("specific"), u8("_size"), Bytes("command_classes", "_size"))),
    Function(0x04, "ApplicationCommand", callback=Layout(
        _RX_STATUS, Node("source"), *_PAYLOAD, Since(2, i8("rssi")), Since(3, u8("security_key")))),
    Function(0x05, "GetControllerCapabilities", response=Layout(_CAPABILITIES)),
    Function(0x06, "SetTimeouts", Layout(u8("ack"), u8("byte")), Layout(u8("ack"), u8("byte"))),  # 10 ms
    Function(0x07, "GetCapabilities", response=Layout(
        u8("version"), u8("revision"), u16("manufacturer"), u16("product_type"), u16("product_id"),
        Mask("functions", FUNCTIONS, first=1))),
    Function(0x08, "SoftReset"),
    Function(0x09, "GetProtocolVersion", response=Layout(
        u8("protocol"), u8("major"), u8("minor"), u8("patch"), Since(2, u16("build")),
        Since(3, Bytes("commit", 16)))),
    Function(0x0A, "Started", callback=Layout(
        u8("reason"), u8("watchdog"), Bits("listening:1 -:6 listening_low:1"), u8("generic"), u8("specific"), u8("_size"),
        Bytes("command_classes", "_size"), Since(2, Bits("-:7 long_range:1")))),
    Function(0x0B, "SerialAPISetup", Layout(_SETUP, Switch("command", _SETUP_REQUESTS)),
             Layout(_SETUP, Switch("command", _SETUP_RESPONSES))),
    Function(0x10, "SetRFReceiveMode", Layout(u8("on")), _SUCCESS),
    Function(0x12, "SendNodeInformation", Layout(Node("node"), *_OPTIONS), _STARTED, _SENT, accepted=_started, transmits=True),
    Function(0x13, "SendData", Layout(Node("node"), *_PAYLOAD, *_OPTIONS), _STARTED, _SENT, transmits=True, accepted=_started,
             callback_timeout=65),
    Function(0x14, "SendDataMulti", Layout(*_NODES, *_PAYLOAD, *_OPTIONS), _STARTED, _SENT, transmits=True, accepted=_started,
             callback_timeout=65),
    Function(0x15, "GetVersion", response=Layout(Text("version", 12, "latin-1"), u8("library"))),
    Function(0x16, "SendDataAbort"),
    Function(0x1C, "GetRandom", Layout(u8("count")), Layout(u8("success"), u8("_count"), Bytes("random", "_count"))),
    Function(0x20, "GetId", response=Layout(Bytes("home_id", 4), Node("node"))),
    Function(0x27, "EnterBootloader"),
    Function(0x29, "NvmGetId", response=Layout(u8("size"), u8("manufacturer"), u8("memory_type"), u8("memory_size"))),
    Function(0x2A, "NvmReadBuffer", Layout(u24("offset"), u16("size")), Layout(rest("payload"))),
    Function(0x2B, "NvmWriteBuffer", Layout(u24("offset"), u16("_size"), Bytes("payload", "_size")), _SUCCESS),
    Function(0x2C, "NvmReadByte", Layout(u24("offset")), Layout(u8("byte"))),
    Function(0x2D, "NvmWriteByte", Layout(u24("offset"), u8("byte")), _SUCCESS),
    Function(0x2E, "NvmOperation", _nvm_request(u16("offset")), _nvm_response(u16("offset"))),
    Function(0x3B, "GetBackgroundRSSI", response=Layout(Array("rssi", i8("")))),  # one for each channel
    Function(0x3D, "NvmOperationExtended", _nvm_request(u32("offset")), _nvm_response(u32("offset"))),
    Function(0x41, "GetNodeProtocolInfo", Layout(Node("node")), Layout(*_PROTOCOL_INFO)),
    Function(0x42, "SetDefault", Layout(_ID), callback=Layout(_ID), callback_timeout=60),
    Function(0x44, "ReplicationCommandComplete"),
    Function(0x45, "ReplicationSendData", Layout(Node("node"), *_PAYLOAD, *_OPTIONS), _STARTED, _SENT, transmits=True,
             accepted=_started),
    Function(0x46, "AssignReturnRoute", Layout(Node("node"), Node("destination"), _ID), _STARTED, _SENT, accepted=_started,
             transmits=True),
    Function(0x47, "DeleteReturnRoute", Layout(Node("node"), _ID), _STARTED, _SENT, accepted=_started, transmits=True),
    Function(0x48, "RequestNodeNeighborUpdate", Layout(Node("node"), _ID),
             callback=Layout(_ID, u8("status", NeighborStatus)), callback_timeout=300, transmits=True,
             final=lambda values: values["status"] != NeighborStatus.STARTED),
    Function(0x49, "ApplicationUpdate", callback=Layout(u8("status", UpdateStatus), Switch("status", _UPDATES))),
    Function(0x4A, "AddNode", _ADD, callback=_ADDED, final=_last_of_adding, callback_timeout=240),
    Function(0x4B, "RemoveNode", _ADD, callback=_ADDED, final=_last_of_removing, callback_timeout=240),
    Function(0x4F, "AssignPriorityReturnRoute", Layout(Node("node"), Node("destination"), *_ROUTE, _ID), _STARTED, _SENT,
             accepted=_started, transmits=True),
    Function(0x50, "SetLearnMode", Layout(u8("mode"), _ID), _STARTED,
             Layout(_ID, u8("status", AddStatus), Since(1, Node("node")), Since(1, *_PAYLOAD)),
             accepted=_started, final=_last_of_removing, callback_timeout=240),
    Function(0x51, "AssignSUCReturnRoute", Layout(Node("node"), _ID), _STARTED, _SENT, accepted=_started, transmits=True),
    Function(0x53, "RequestNetworkUpdate", Layout(_ID), _STARTED, _STATUS, accepted=_started),
    Function(0x54, "SetSUCNodeId", Layout(Node("node"), u8("enable"), u8("options"), u8("sis"), _ID), _STARTED, _STATUS,
             accepted=_started),
    Function(0x55, "DeleteSUCReturnRoute", Layout(Node("node"), _ID), _STARTED, _SENT, accepted=_started, transmits=True),
    Function(0x56, "GetSUCNodeId", response=Layout(Node("node"))),
    Function(0x57, "SendSUCId", Layout(Node("node"), *_OPTIONS), _STARTED, _SENT, accepted=_started, transmits=True),
    Function(0x58, "AssignPrioritySUCReturnRoute", Layout(Node("node"), *_ROUTE, _ID), _STARTED, _SENT, accepted=_started,
             transmits=True),
    Function(0x60, "RequestNodeInfo", Layout(Node("node")), _STARTED, accepted=_started),
    Function(0x61, "RemoveFailedNode", Layout(Node("node"), _ID), _PROBLEM, _STATUS, accepted=_no_problem, callback_timeout=65),
    Function(0x62, "IsFailedNode", Layout(Node("node")), Layout(u8("failed"))),
    Function(0x63, "ReplaceFailedNode", Layout(Node("node"), _ID), _PROBLEM, _STATUS, accepted=_no_problem,
             callback_timeout=240, final=lambda values: values["status"] != 3),  # noqa: PLR2004  3: waits for the new node
    Function(0x80, "GetRoutingInfo", Layout(Node("node"), Bits("remove_bad:1 remove_non_repeaters:1 -:6"), u8("_callback")),
             Layout(Mask("nodes", NODES, first=1))),
    Function(0x92, "GetPriorityRoute", Layout(Node("node")), Layout(Node("node"), u8("kind"), Since(1, *_ROUTE))),
    Function(0x93, "SetPriorityRoute", Layout(Node("node"), Since(1, *_ROUTE)), Layout(Node("node"), u8("success"))),
    Function(0xA8, "BridgeApplicationCommand", callback=Layout(
        _RX_STATUS, Node("destination"), Node("source"), *_PAYLOAD,
        Since(2, u8("_mask"), Mask("multicast", "_mask", first=1)), Since(3, i8("rssi")), Since(4, u8("security_key")))),
    Function(0xA9, "BridgeSendData", Layout(
        Node("source"), Node("node"), *_PAYLOAD, u8("options"), u32("_route"), _ID), _STARTED, _SENT, transmits=True,
        accepted=_started, callback_timeout=65),
    Function(0xAB, "BridgeSendDataMulti", Layout(Node("source"), *_NODES, *_PAYLOAD, *_OPTIONS), _STARTED, _SENT,
             transmits=True, accepted=_started, callback_timeout=65),
    Function(0xD2, "StartWatchdog"),
    Function(0xD3, "StopWatchdog"),
    Function(0xDA, "GetLongRangeNodes", Layout(u8("segment")),
             Layout(u8("more"), u8("segment"), u8("_size"), Mask("mask", "_size", least=LONG_RANGE_NODES))),  # see functions.long_range_nodes
    Function(0xDB, "GetLongRangeChannel", response=Layout(u8("channel"), Since(2, Bits("-:2 auto_active:1 auto_supported:1 -:4")))),
    Function(0xDC, "SetLongRangeChannel", Layout(u8("channel")), _SUCCESS),
)  # fmt: skip
