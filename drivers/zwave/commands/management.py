"""Command classes of device and network management (SDS13782, SDS13784). PURE."""

from drivers.zwave.commands.spec import CommandClass, scale_head
from drivers.zwave.layout import (
    Array,
    Bits,
    Bytes,
    Field,
    LayoutError,
    Reader,
    Since,
    Values,
    When,
    Writer,
    need,
    rest,
    u8,
    u16,
    u24,
)
from drivers.zwave.layout_values import Decimals, Encoded, SizedInt, Text

EXTENDED_CLASS = 0xF1  # the first byte of command classes with two bytes
MARKER = 0x00  # between node ids and endpoint destinations of a multi channel association


class Destinations(Field):
    """`nodes` (ids) and `endpoints` (dicts of node, bit_address, endpoint) of Multi Channel Association, to the end."""

    names = ("nodes", "endpoints")

    def read(self, reader: Reader, values: Values) -> None:
        nodes, marker, pairs = reader.take(reader.left, "nodes").partition(bytes((MARKER,)))
        if marker and len(pairs) % 2:
            raise LayoutError("endpoints: half a pair")
        values["nodes"] = list(nodes)
        values["endpoints"] = [
            {"node": pairs[at], "bit_address": bool(pairs[at + 1] & 0x80), "endpoint": pairs[at + 1] & 0x7F}
            for at in range(0, len(pairs), 2)
        ]

    def write(self, writer: Writer, values: Values) -> None:
        try:
            out = bytes(need(values, "nodes"))
            pairs = values.get("endpoints", [])
            if pairs:
                out += bytes((MARKER,))
            for pair in pairs:
                out += bytes((pair["node"], bool(pair.get("bit_address")) << 7 | pair["endpoint"]))
        except ValueError as error:
            raise LayoutError(f"nodes: {error}") from error
        writer.add(out, "nodes")


_GROUP = u8("group")
_PARAMETER = u16("parameter")
_DEFAULTED = Bits("default:1 -:4 size:3")
_BULK = Bits("default:1 handshake:1 -:3 size:3")
_VALUES = Array("values", SizedInt("", "size"), count="_count")
_FORMATTED = tuple(
    SizedInt(name, "size", lambda values: values.get("format", 0) == 0)
    for name in ("min_value", "max_value", "default_value")
)
_FIRMWARE = (u16("manufacturer"), u16("firmware"), u16("checksum"))
_TARGET = u8("target")
_HARDWARE = Since(5, u8("hardware"))
_CLOCK = (Bits("weekday:3 hour:5"), u8("minute"))  # weekday: 0 unknown, 1 Monday
_OFFSET = (
    Bits("offset_negative:1 offset_hours:7"), u8("offset_minutes"), Bits("dst_negative:1 dst_minutes:7"),
    u8("dst_start_month"), u8("dst_start_day"), u8("dst_start_hour"), u8("dst_end_month"), u8("dst_end_day"), u8("dst_end_hour"),
)  # fmt: skip
_DATE = (u16("year"), u8("month"), u8("day"))
_UTC = (*_DATE, u8("hour"), u8("minute"), u8("second"))
_NAME = (Bits("-:5 _encoding:3"), Encoded("text"))
_TEST = (u8("node"), u8("status"), u16("acknowledged"))
_BUILD = ("sdk", "framework", "host", "protocol", "application")

MANAGEMENT = (
    CommandClass(0x80, "Battery", 3, {
        0x02: ("Get",),
        0x03: ("Report", u8("level"),  # percent; 0xFF: low
               Since(2, Bits("charging_status:2 rechargeable:1 backup:1 overheating:1 low_fluid:1 replace:2"),
                     Bits("-:6 low_temperature:1 disconnected:1"))),
        0x04: ("Health Get",),
        0x05: ("Health Report", u8("maximum_capacity"), scale_head(),
               When(lambda values: values.get("_size"), Decimals("temperature"))),
    }),
    CommandClass(0x84, "Wake Up", 3, {
        0x04: ("Interval Set", u24("seconds"), u8("node")),
        0x05: ("Interval Get",),
        0x06: ("Interval Report", u24("seconds"), u8("node")),
        0x07: ("Notification",),
        0x08: ("No More Information",),
        0x09: ("Interval Capabilities Get",),
        0x0A: ("Interval Capabilities Report", u24("minimum"), u24("maximum"), u24("default"), u24("step"),
               Since(3, Bits("-:7 on_demand:1"))),
    }),
    CommandClass(0x70, "Configuration", 4, {
        0x01: ("Default Reset",),
        0x04: ("Set", u8("parameter"), _DEFAULTED, SizedInt("value", "size")),
        0x05: ("Get", u8("parameter")),
        0x06: ("Report", u8("parameter"), Bits("-:5 size:3"), SizedInt("value", "size")),
        0x07: ("Bulk Set", _PARAMETER, u8("_count"), _BULK, _VALUES),
        0x08: ("Bulk Get", _PARAMETER, u8("count")),
        0x09: ("Bulk Report", _PARAMETER, u8("_count"), u8("reports_to_follow"), _BULK, _VALUES),
        0x0A: ("Name Get", _PARAMETER),
        0x0B: ("Name Report", _PARAMETER, u8("reports_to_follow"), Text("name", None)),
        0x0C: ("Info Get", _PARAMETER),
        0x0D: ("Info Report", _PARAMETER, u8("reports_to_follow"), Text("info", None)),
        0x0E: ("Properties Get", _PARAMETER),
        0x0F: ("Properties Report", _PARAMETER, Bits("altering:1 read_only:1 format:3 size:3"),
               When(lambda values: values.get("size"), *_FORMATTED), u16("next_parameter"),
               Since(4, Bits("-:6 no_bulk:1 advanced:1"))),
    }),
    CommandClass(0x85, "Association", 4, {
        0x01: ("Set", _GROUP, rest("nodes")),
        0x02: ("Get", _GROUP),
        0x03: ("Report", _GROUP, u8("max_nodes"), u8("reports_to_follow"), rest("nodes")),
        0x04: ("Remove", _GROUP, rest("nodes")),
        0x05: ("Groupings Get",),
        0x06: ("Groupings Report", u8("groups")),
        0x0B: ("Specific Group Get",),
        0x0C: ("Specific Group Report", _GROUP),
    }),
    CommandClass(0x8E, "Multi Channel Association", 5, {
        0x01: ("Set", _GROUP, Destinations()),
        0x02: ("Get", _GROUP),
        0x03: ("Report", _GROUP, u8("max_nodes"), u8("reports_to_follow"), Destinations()),
        0x04: ("Remove", _GROUP, Destinations()),
        0x05: ("Groupings Get",),
        0x06: ("Groupings Report", u8("groups")),
    }),
    CommandClass(0x59, "Association Group Information", 3, {
        0x01: ("Name Get", _GROUP),
        0x02: ("Name Report", _GROUP, u8("_length"), Text("name", "_length")),
        0x03: ("Info Get", Bits("refresh_cache:1 list_mode:1 -:6"), _GROUP),
        0x04: ("Info Report", Bits("list_mode:1 dynamic:1 _count:6"),
               Array("groups", _GROUP, u8("_mode"), u16("profile"), u8("_reserved"), u16("event"), count="_count")),
        0x05: ("Command List Get", Bits("allow_cache:1 -:7"), _GROUP),
        0x06: ("Command List Report", _GROUP, u8("_length"), Bytes("commands", "_length")),
    }),
    CommandClass(0x72, "Manufacturer Specific", 2, {
        0x04: ("Get",),
        0x05: ("Report", u16("manufacturer"), u16("product_type"), u16("product")),
        0x06: ("Device Specific Get", Bits("-:5 type:3")),
        0x07: ("Device Specific Report", Bits("-:5 type:3"), Bits("format:3 _length:5"), Bytes("id", "_length")),
    }),
    CommandClass(0x86, "Version", 3, {
        0x11: ("Get",),
        0x12: ("Report", u8("library"), u8("protocol"), u8("protocol_sub"), u8("firmware"), u8("firmware_sub"),
               Since(2, u8("hardware"), u8("_count"), Array("targets", u8("version"), u8("sub_version"), count="_count"))),
        0x13: ("Command Class Get", u8("command_class")),
        0x14: ("Command Class Report", u8("command_class"), u8("version")),
        0x15: ("Capabilities Get",),
        0x16: ("Capabilities Report", Bits("-:5 zwave_software:1 command_class:1 version:1")),
        0x17: ("Z-Wave Software Get",),
        0x18: ("Z-Wave Software Report", Bytes("sdk", 3), *(field for name in _BUILD[1:] for field in (
            Bytes(name, 3), u16(f"{name}_build")))),
    }),
    CommandClass(0x5E, "Z-Wave Plus Info", 2, {
        0x01: ("Get",),
        0x02: ("Report", u8("plus_version"), u8("role"), u8("node_type"), u16("installer_icon"), u16("user_icon")),
    }),
    CommandClass(0x77, "Node Naming", 1, {
        0x01: ("Name Set", *_NAME),
        0x02: ("Name Get",),
        0x03: ("Name Report", *_NAME),
        0x04: ("Location Set", *_NAME),
        0x05: ("Location Get",),
        0x06: ("Location Report", *_NAME),
    }),
    CommandClass(0x81, "Clock", 1, {0x04: ("Set", *_CLOCK), 0x05: ("Get",), 0x06: ("Report", *_CLOCK)}),
    CommandClass(0x8A, "Time", 2, {
        0x01: ("Get",),
        0x02: ("Report", Bits("clock_failure:1 -:2 hour:5"), u8("minute"), u8("second")),
        0x03: ("Date Get",),
        0x04: ("Date Report", *_DATE),
        0x05: ("Offset Set", *_OFFSET),
        0x06: ("Offset Get",),
        0x07: ("Offset Report", *_OFFSET),
    }),
    CommandClass(0x8B, "Time Parameters", 1, {0x01: ("Set", *_UTC), 0x02: ("Get",), 0x03: ("Report", *_UTC)}),
    CommandClass(0x73, "Powerlevel", 1, {
        0x01: ("Set", u8("level"), u8("seconds")),  # level: 0 normal, n: -n dBm
        0x02: ("Get",),
        0x03: ("Report", u8("level"), u8("seconds")),
        0x04: ("Test Node Set", u8("node"), u8("level"), u16("frames")),
        0x05: ("Test Node Get",),
        0x06: ("Test Node Report", *_TEST),
    }),
    CommandClass(0x7A, "Firmware Update Meta Data", 8, {
        0x01: ("Meta Data Get",),
        0x02: ("Meta Data Report", *_FIRMWARE,
               Since(3, u8("upgradable"), u8("_targets"), u16("max_fragment_size"), Array("targets", u16(""), count="_targets")),
               _HARDWARE, Since(6, Bits("-:4 resume:1 non_secure:1 activation:1 continues_to_function:1"))),
        0x03: ("Request Get", *_FIRMWARE, Since(3, _TARGET, u16("fragment_size")),
               Since(4, Bits("-:5 resume:1 non_secure:1 activation:1")), _HARDWARE),
        0x04: ("Request Report", u8("status"), Since(8, Bits("-:5 resume:1 non_secure:1 -:1"))),
        0x05: ("Get", u8("count"), Bits("-:1 number:15")),
        0x06: ("Report", Bits("last:1 number:15"), rest("data")),  # from version 2 on with a CRC-16 over the whole command
        0x07: ("Status Report", u8("status"), Since(3, u16("wait_seconds"))),
        0x08: ("Activation Set", *_FIRMWARE, _TARGET, _HARDWARE),
        0x09: ("Activation Report", *_FIRMWARE, _TARGET, u8("status"), _HARDWARE),
        0x0A: ("Prepare Get", u16("manufacturer"), u16("firmware"), _TARGET, u16("fragment_size"), u8("hardware")),
        0x0B: ("Prepare Report", u8("status"), u16("checksum")),
    }),
    CommandClass(0x5A, "Device Reset Locally", 1, {0x01: ("Notification",)}),
    CommandClass(0x74, "Inclusion Controller", 1, {
        0x01: ("Initiate", u8("node"), u8("step")),
        0x02: ("Complete", u8("step"), u8("status")),
    }),
    CommandClass(0x82, "Hail", 1, {0x01: ("Hail",)}),
)  # fmt: skip


def grouped_commands(data: bytes) -> list[tuple[int, int]]:
    """Command class and command of each entry of an AGI Command List Report; classes from 0xF1 on have two bytes."""
    found, at = [], 0
    while at < len(data):
        size = 2 if data[at] >= EXTENDED_CLASS else 1
        if at + size >= len(data):
            break
        found.append((int.from_bytes(data[at : at + size], "big"), data[at + size]))
        at += size + 1
    return found
