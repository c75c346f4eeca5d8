"""Command classes that carry other commands, and the messages of both security classes (SDS13783). PURE."""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass
from drivers.zwave.layout import Array, Bits, Bytes, Since, When, rest, u8, u16
from drivers.zwave.layout_values import Duration, Mask


class SupervisionStatus(IntEnum):
    NO_SUPPORT = 0x00
    WORKING = 0x01
    FAIL = 0x02
    SUCCESS = 0xFF


class KexFailType(IntEnum):
    """Why a key exchange ended (SDS13783, KEX Fail)."""

    KEX_KEY = 0x01  # no common keys
    KEX_SCHEME = 0x02
    KEX_CURVES = 0x03
    DECRYPT = 0x05
    CANCEL = 0x06
    AUTH = 0x07  # the echoed values differ: somebody is in the middle
    KEY_GET = 0x08
    KEY_VERIFY = 0x09
    KEY_REPORT = 0x0A


_PAYLOAD = (u8("_length"), Bytes("payload", "_length"))
_KEX = (Bits("_reserved:6 csa:1 echo:1"), u8("schemes"), u8("profiles"), u8("keys"))
_S0_ENCAPSULATION = (Bytes("iv", 8), Bytes("ciphertext", None, extra=-9), u8("nonce_id"), Bytes("mac", 8))

TRANSPORT = (
    CommandClass(0x00, "No Operation", 1, {}),
    CommandClass(0x6C, "Supervision", 2, {
        0x01: ("Get", Bits("status_updates:1 -:1 session:6"), *_PAYLOAD),
        0x02: ("Report", Bits("more_updates:1 wake_up_request:1 session:6"), u8("status", SupervisionStatus),
               Since(1, Duration("duration"))),
    }),
    CommandClass(0x60, "Multi Channel", 4, {
        0x04: ("V1 Get", u8("command_class")),
        0x05: ("V1 Report", u8("command_class"), u8("instances")),
        0x06: ("V1 Command Encapsulation", Bits("-:1 instance:7"), rest("payload")),
        0x07: ("End Point Get",),
        0x08: ("End Point Report", Bits("dynamic:1 identical:1 -:6"), Bits("-:1 individual:7"), Since(4, Bits("-:1 aggregated:7"))),
        0x09: ("Capability Get", Bits("-:1 endpoint:7")),
        0x0A: ("Capability Report", Bits("dynamic:1 endpoint:7"), u8("generic"), u8("specific"), rest("command_classes")),
        0x0B: ("End Point Find", u8("generic"), u8("specific")),
        0x0C: ("End Point Find Report", u8("reports_to_follow"), u8("generic"), u8("specific"), rest("endpoints")),
        0x0D: ("Command Encapsulation", Bits("-:1 source:7"), Bits("bit_address:1 destination:7"), rest("payload")),
        0x0E: ("Aggregated Members Get", Bits("-:1 endpoint:7")),
        0x0F: ("Aggregated Members Report", Bits("-:1 endpoint:7"), u8("_size"), Mask("members", "_size", first=1)),
    }),
    CommandClass(0x8F, "Multi Command", 1, {
        0x01: ("Encapsulation", u8("_count"), Array("commands", u8("_length"), Bytes("", "_length"), count="_count")),
    }),
    CommandClass(0x56, "CRC-16", 1, {
        0x01: ("Encapsulation", Bytes("payload", None, extra=-2), u16("checksum")),
    }),
    CommandClass(0x55, "Transport Service", 2, {
        0xC0: ("First Segment", Bits("_command:5 size:11"), Bits("session:4 _extended:1 -:3"),
               When(lambda values: values.get("_extended"), u8("_extension"), Bytes("_extension_data", "_extension")),
               Bytes("payload", None, extra=-2), u16("checksum")),
        0xC8: ("Segment Request", Bits("_command:5 -:3 session:4 -:1 offset:11")),
        0xE0: ("Subsequent Segment", Bits("_command:5 size:11 session:4 _extended:1 offset:11"),
               When(lambda values: values.get("_extended"), u8("_extension"), Bytes("_extension_data", "_extension")),
               Bytes("payload", None, extra=-2), u16("checksum")),
        0xE8: ("Segment Complete", Bits("_command:5 -:3 session:4 -:4")),
        0xF0: ("Segment Wait", Bits("_command:5 -:3 pending:8")),
    }, command_mask=0xF8),
    CommandClass(0x98, "Security 0", 1, {
        0x02: ("Commands Supported Get",),
        0x03: ("Commands Supported Report", u8("reports_to_follow"), rest("command_classes")),
        0x04: ("Scheme Get", u8("schemes")),
        0x05: ("Scheme Report", u8("schemes")),
        0x06: ("Network Key Set", Bytes("key", 16)),
        0x07: ("Network Key Verify",),
        0x08: ("Scheme Inherit", u8("schemes")),
        0x40: ("Nonce Get",),
        0x80: ("Nonce Report", Bytes("nonce", 8)),
        0x81: ("Message Encapsulation", *_S0_ENCAPSULATION),
        0xC1: ("Message Encapsulation Nonce Get", *_S0_ENCAPSULATION),
    }),
    CommandClass(0x9F, "Security 2", 1, {
        0x01: ("Nonce Get", u8("sequence")),
        0x02: ("Nonce Report", u8("sequence"), Bits("-:6 mos:1 sos:1"),
               When(lambda values: values.get("sos"), Bytes("receiver_entropy", 16))),
        0x03: ("Message Encapsulation", u8("sequence"), rest("body")),  # see drivers.zwave.security.s2
        0x04: ("KEX Get",),
        0x05: ("KEX Report", *_KEX),
        0x06: ("KEX Set", *_KEX),
        0x07: ("KEX Fail", u8("type", KexFailType)),
        0x08: ("Public Key Report", Bits("-:7 including:1"), rest("key")),
        0x09: ("Network Key Get", u8("key")),
        0x0A: ("Network Key Report", u8("key"), Bytes("network_key", 16)),
        0x0B: ("Network Key Verify",),
        0x0C: ("Transfer End", Bits("-:6 verified:1 request_complete:1")),
        0x0D: ("Commands Supported Get",),
        0x0E: ("Commands Supported Report", rest("command_classes")),
    }),
)  # fmt: skip
