"""Command classes of users, credentials and the times at which they are good (SDS13781). PURE.

Names of users are bytes: `name_encoding` (0 ASCII, 1 extended ASCII, 2 UTF-16) says how to read them.
"""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass
from drivers.zwave.layout import Array, Bits, Bytes, Since, u8, u16
from drivers.zwave.layout_values import Mask, Text


class Operation(IntEnum):
    """What a Set does."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


class CredentialType(IntEnum):
    NONE = 0x00
    PIN_CODE = 0x01
    PASSWORD = 0x02
    RFID = 0x03
    BLE = 0x04
    NFC = 0x05
    UWB = 0x06
    EYE = 0x07
    FACE = 0x08
    FINGER = 0x09
    HAND = 0x0A
    UNSPECIFIED_BIOMETRIC = 0x0B


_USER = u16("user")
_TYPE = u8("credential_type", CredentialType)
_SLOT = u16("slot")
_CREDENTIAL = (_USER, _TYPE, _SLOT)
_OPERATION = Bits("-:6 operation:2", {"operation": Operation})
_RULE = (u8("user_type"), Bits("-:7 active:1"), u8("rule"), u16("expiring_minutes"), Bits("-:5 name_encoding:3"), u8("_name"),
         Bytes("name", "_name"))  # fmt: skip
_MODIFIER = (u8("modifier_type"), u16("modifier_node"))
_KEYS = (u8("entry_type"), _SLOT)
_ZONE = (Bits("offset_negative:1 offset_hours:7"), u8("offset_minutes"), Bits("dst_negative:1 dst_minutes:7"))
_WEEK_DAY = (
    u8("weekday"),
    u8("start_hour"),
    u8("start_minute"),
    u8("stop_hour"),
    u8("stop_minute"),
)  # all 0xFF: erased
_YEAR_DAY = tuple(
    u8(f"{end}_{part}") for end in ("start", "stop") for part in ("year", "month", "day", "hour", "minute")
)
_DAILY = (Mask("weekdays", 1), u8("start_hour"), u8("start_minute"), u8("duration_hours"), u8("duration_minutes"))
_USER_SLOT = (u8("user"), u8("slot"))

CREDENTIALS = (
    CommandClass(0x83, "User Credential", 1, {
        0x01: ("User Capabilities Get",),
        0x02: ("User Capabilities Report", u16("users"), Mask("rules", 1), u8("max_name_length"),
               Bits("user_schedule:1 all_users_checksum:1 user_checksum:1 name_encodings:3 -:2"), u8("_types"),
               Mask("user_types", "_types")),
        0x03: ("Credential Capabilities Get",),
        0x04: ("Credential Capabilities Report", Bits("checksum:1 admin_code:1 admin_code_deactivation:1 -:5"), u8("_types"),
               Array("types", u8("", CredentialType), count="_types"), Array("learn", u8(""), count="_types"),  # 0x80: it can be
               Array("slots", u16(""), count="_types"), Array("min_lengths", u8(""), count="_types"),
               Array("max_lengths", u8(""), count="_types"), Array("learn_seconds", u8(""), count="_types"),
               Array("learn_steps", u8(""), count="_types"), Array("max_hash_lengths", u8(""), count="_types")),
        0x05: ("User Set", _OPERATION, _USER, Since(1, *_RULE)),
        0x06: ("User Get", _USER),
        0x07: ("User Report", u8("report_type"), u16("next_user"), *_MODIFIER, _USER, *_RULE),
        0x0A: ("Credential Set", *_CREDENTIAL, _OPERATION, Since(1, u8("_size"), Bytes("data", "_size"))),
        0x0B: ("Credential Get", *_CREDENTIAL),
        0x0C: ("Credential Report", u8("report_type"), *_CREDENTIAL, Bits("read_back:1 -:7"), u8("_size"), Bytes("data", "_size"),
               *_MODIFIER, u8("next_type", CredentialType), u16("next_slot")),
        0x0F: ("Credential Learn Start", *_CREDENTIAL, _OPERATION, u8("seconds")),
        0x10: ("Credential Learn Cancel",),
        0x11: ("Credential Learn Report", u8("status"), *_CREDENTIAL, u8("steps_remaining")),
        0x12: ("User Credential Association Set", _TYPE, _SLOT, u16("destination_user")),
        0x13: ("User Credential Association Report", _TYPE, _SLOT, u16("destination_user"), u8("status")),
        0x14: ("All Users Checksum Get",),
        0x15: ("All Users Checksum Report", u16("checksum")),
        0x16: ("User Checksum Get", _USER),
        0x17: ("User Checksum Report", _USER, u16("checksum")),
        0x18: ("Credential Checksum Get", _TYPE),
        0x19: ("Credential Checksum Report", _TYPE, u16("checksum")),
        0x1A: ("Admin Pin Code Set", Bits("-:4 _length:4"), Text("code", "_length", "latin-1")),
        0x1B: ("Admin Pin Code Get",),
        0x1C: ("Admin Pin Code Report", Bits("result:4 _length:4"), Text("code", "_length", "latin-1")),
        0x1D: ("Key Locker Capabilities Get",),
        0x1E: ("Key Locker Capabilities Report", u8("_types"), Array("types", u8(""), count="_types"),
               Array("slots", u16(""), count="_types"), Array("min_lengths", u16(""), count="_types"),
               Array("max_lengths", u16(""), count="_types")),
        0x1F: ("Key Locker Entry Set", *_KEYS, _OPERATION, Since(1, u16("_size"), Bytes("data", "_size"))),
        0x20: ("Key Locker Entry Get", *_KEYS),
        0x21: ("Key Locker Entry Report", Bits("-:7 occupied:1"), *_KEYS),
    }),
    CommandClass(0x4E, "Schedule Entry Lock", 4, {
        0x01: ("Enable Set", u8("user"), u8("enabled")),
        0x02: ("Enable All Set", u8("enabled")),
        0x03: ("Week Day Set", u8("action"), *_USER_SLOT, *_WEEK_DAY),  # action: 0 erase, 1 set
        0x04: ("Week Day Get", *_USER_SLOT),
        0x05: ("Week Day Report", *_USER_SLOT, *_WEEK_DAY),
        0x06: ("Year Day Set", u8("action"), *_USER_SLOT, *_YEAR_DAY),
        0x07: ("Year Day Get", *_USER_SLOT),
        0x08: ("Year Day Report", *_USER_SLOT, *_YEAR_DAY),
        0x09: ("Supported Get",),
        0x0A: ("Supported Report", u8("week_day_slots"), u8("year_day_slots"), Since(3, u8("daily_slots"))),
        0x0B: ("Time Offset Get",),
        0x0C: ("Time Offset Report", *_ZONE),
        0x0D: ("Time Offset Set", *_ZONE),
        0x0E: ("Daily Repeating Get", *_USER_SLOT),
        0x0F: ("Daily Repeating Report", *_USER_SLOT, *_DAILY),
        0x10: ("Daily Repeating Set", u8("action"), *_USER_SLOT, *_DAILY),
    }),
)  # fmt: skip
