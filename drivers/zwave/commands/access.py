"""Command classes of locks, codes and protection (SDS13781). PURE."""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass
from drivers.zwave.layout import Array, Bits, Bytes, Since, rest, u8, u16
from drivers.zwave.layout_values import Duration, Mask, Text


class DoorLockMode(IntEnum):
    UNSECURED = 0x00
    UNSECURED_WITH_TIMEOUT = 0x01
    INSIDE_UNSECURED = 0x10
    INSIDE_UNSECURED_WITH_TIMEOUT = 0x11
    OUTSIDE_UNSECURED = 0x20
    OUTSIDE_UNSECURED_WITH_TIMEOUT = 0x21
    UNKNOWN = 0xFE
    SECURED = 0xFF


class UserIdStatus(IntEnum):
    AVAILABLE = 0x00
    ENABLED = 0x01
    DISABLED = 0x02
    MESSAGING = 0x03
    PASSAGE_MODE = 0x04
    NOT_AVAILABLE = 0xFE


_HANDLES = Bits("outside_handles:4 inside_handles:4")
_TIMEOUT = (u8("timeout_minutes"), u8("timeout_seconds"))  # 0xFE: there is none
_LOCK_CONFIGURATION = (
    u8("operation_type"), _HANDLES, *_TIMEOUT,
    Since(4, u16("auto_relock_seconds"), u16("hold_and_release_seconds"), Bits("-:6 block_to_block:1 twist_assist:1")),
)  # fmt: skip
_CODE = (Bits("-:4 _length:4"), Text("code", "_length", "latin-1"))
_CODES = (u8("_codes"), Array("codes", u16("user"), u8("status", UserIdStatus), *_CODE, count="_codes"))
_USER_CODE = (u8("user"), u8("status", UserIdStatus), rest("code"))
_STATES = (Bits("-:4 local:4"), Since(2, Bits("-:4 rf:4")))
_ENTRY = (u8("_length"), Bytes("data", "_length", clamp=True))
_ENTRY_CONFIGURATION = (u8("key_cache_size"), u8("key_cache_timeout"))

ACCESS = (
    CommandClass(0x62, "Door Lock", 4, {
        0x01: ("Operation Set", u8("mode", DoorLockMode)),
        0x02: ("Operation Get",),
        0x03: ("Operation Report", u8("mode", DoorLockMode), _HANDLES, Bits("-:5 latch_closed:1 bolt_unlocked:1 door_closed:1"),
               *_TIMEOUT, Since(3, u8("target_mode", DoorLockMode), Duration("duration"))),
        0x04: ("Configuration Set", *_LOCK_CONFIGURATION),
        0x05: ("Configuration Get",),
        0x06: ("Configuration Report", *_LOCK_CONFIGURATION),
        0x07: ("Capabilities Get",),
        0x08: ("Capabilities Report", Bits("-:3 _types:5"), Mask("operation_types", "_types"), u8("_modes"),
               Bytes("modes", "_modes"), _HANDLES, Bits("-:5 latch:1 bolt:1 door:1"),
               Bits("-:4 auto_relock:1 hold_and_release:1 twist_assist:1 block_to_block:1")),
    }),
    CommandClass(0x4C, "Door Lock Logging", 1, {
        0x01: ("Records Supported Get",),
        0x02: ("Records Supported Report", u8("records")),
        0x03: ("Record Get", u8("record")),
        0x04: ("Record Report", u8("record"), u16("year"), u8("month"), u8("day"), Bits("status:3 hour:5"), u8("minute"),
               u8("second"), u8("event"), u8("user"), u8("_length"), Bytes("code", "_length", clamp=True)),
    }),
    CommandClass(0x63, "User Code", 2, {
        0x01: ("Set", *_USER_CODE),
        0x02: ("Get", u8("user")),
        0x03: ("Report", *_USER_CODE),
        0x04: ("Users Number Get",),
        0x05: ("Users Number Report", u8("users_8bit"), Since(2, u16("users"))),
        0x06: ("Capabilities Get",),
        0x07: ("Capabilities Report", Bits("admin_code:1 admin_code_deactivation:1 -:1 _statuses:5"), Mask("statuses", "_statuses"),
               Bits("checksum:1 multiple_report:1 multiple_set:1 _modes:5"), Mask("keypad_modes", "_modes"),
               Bits("-:4 _keys:4"), Mask("characters", "_keys")),
        0x08: ("Keypad Mode Set", u8("mode")),
        0x09: ("Keypad Mode Get",),
        0x0A: ("Keypad Mode Report", u8("mode")),
        0x0B: ("Extended Set", *_CODES),
        0x0C: ("Extended Get", u16("user"), Bits("-:7 report_more:1")),
        0x0D: ("Extended Report", *_CODES, u16("next_user")),
        0x0E: ("Admin Code Set", *_CODE),
        0x0F: ("Admin Code Get",),
        0x10: ("Admin Code Report", *_CODE),
        0x11: ("Checksum Get",),
        0x12: ("Checksum Report", u16("checksum")),
    }),
    CommandClass(0x76, "Lock", 1, {0x01: ("Set", u8("locked")), 0x02: ("Get",), 0x03: ("Report", u8("locked"))}),
    CommandClass(0x75, "Protection", 2, {
        0x01: ("Set", *_STATES),
        0x02: ("Get",),
        0x03: ("Report", *_STATES),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Bits("-:6 exclusive_control:1 timeout:1"), Mask("local_states", 2), Mask("rf_states", 2)),
        0x06: ("Exclusive Control Set", u8("node")),
        0x07: ("Exclusive Control Get",),
        0x08: ("Exclusive Control Report", u8("node")),
        0x09: ("Timeout Set", u8("timeout")),  # 0 none, 1..60 s, 0x41.. minutes, 0xFF for ever
        0x0A: ("Timeout Get",),
        0x0B: ("Timeout Report", u8("timeout")),
    }),
    CommandClass(0x6F, "Entry Control", 1, {
        0x01: ("Notification", u8("sequence"), Bits("-:6 data_type:2"), u8("event"), *_ENTRY),
        0x02: ("Key Supported Get",),
        0x03: ("Key Supported Report", u8("_size"), Mask("keys", "_size")),
        0x04: ("Event Supported Get",),
        0x05: ("Event Supported Report", Bits("-:6 _types:2"), Mask("data_types", "_types"), Bits("-:3 _events:5"),
               Mask("events", "_events"), u8("min_cache_size"), u8("max_cache_size"), u8("min_cache_timeout"),
               u8("max_cache_timeout")),
        0x06: ("Configuration Set", *_ENTRY_CONFIGURATION),
        0x07: ("Configuration Get",),
        0x08: ("Configuration Report", *_ENTRY_CONFIGURATION),
    }),
)  # fmt: skip
