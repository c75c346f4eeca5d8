"""BTHome v2: service data of 0xFCD2 to values and button events. PURE; decryption is given as a function (bthome_key).

Source: https://bthome.io/format and https://bthome.io/encryption.

    device info (1) | objects: id, value ...                                          in clear
    device info (1) | encrypted objects | counter (4, little endian) | MIC (4)        bit 0 of device info
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.ble import scales
from drivers.ble.adverts import Advert, Said
from drivers.ble.bthome_table import (
    BATTERY_LOW,
    BUTTON,
    CARBON_MONOXIDE,
    COMMAND,
    DIMMER,
    FIRMWARE_3,
    FIRMWARE_4,
    OBJECTS,
    OCCUPIED,
    PACKET_ID,
    SMOKE,
    Binary,
    Measured,
    Number,
    Passed,
)
from drivers.told import Happened, Values

FORMAT = "BTHome"
SERVICE = 0xFCD2
ENCRYPTED, VERSION, TRIGGERED = 0x01, 2, 0x04
COUNTER = 4
OVERHEAD = 1 + COUNTER + 4  # device info, counter, MIC
SWITCH = scales.matter("Switch")

Decrypt = Callable[
    [bytes], bytes | None
]  # service data -> device info and objects in clear; None: another key, or damaged


class LockedError(ValueError):
    """The advertisement is encrypted, and there is no key, or it is not this one."""


def is_encrypted(data: bytes) -> bool:
    return bool(data[:1] and data[0] & ENCRYPTED)


def counter_of(data: bytes) -> int:
    """The counter of an encrypted advertisement, which its MIC covers."""
    return int.from_bytes(data[-8:-4], "little")


def parse(advert: Advert, decrypt: Decrypt | None = None) -> Said | None:
    """What a BTHome v2 advertisement says; None for all else. Raises LockedError."""
    data = advert.data_of(SERVICE)
    if not data or data[0] >> 5 != VERSION:
        return None
    counter = None
    if is_encrypted(data):
        if len(data) < OVERHEAD:
            return None
        clear = decrypt(data) if decrypt is not None else None
        if clear is None:
            raise LockedError("no bindkey opens it")
        counter, data = counter_of(data), clear
    found = _Objects()
    for kind, value in _split(data[1:]):
        found.take(kind, value)
    return Said(
        FORMAT,
        tuple(found.values),
        tuple(found.happened),
        tuple(found.unmapped),
        found.firmware,
        found.packet,
        counter,
    )


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The objects until the end, or until one of an id that nobody knows the size of: the specification lets newer ids follow."""
    at = 0
    while at < len(data):
        kind = data[at]
        row = OBJECTS.get(kind)
        if row is None:
            return
        at += 1
        size = 1 if isinstance(row, Binary) else row.size
        if size is None:  # its first octet says how many follow
            if at >= len(data):
                return
            size, at = data[at], at + 1
        if kind == COMMAND:
            size = 1 + (size & 0x1F)  # five bits count the arguments behind the command; three are reserved
        if at + size > len(data):
            return
        yield kind, data[at : at + size]
        at += size


@dataclass(slots=True)
class _Objects:
    values: list[Values] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    firmware: str = ""
    packet: int | None = None
    _count: dict[str, int] = field(
        default_factory=dict
    )  # how often each was there: several of a kind are several endpoints

    def take(self, kind: int, raw: bytes) -> None:
        match OBJECTS[kind]:
            case Measured(_, scale, divisor, signed, factor):
                capability, properties = scale(int.from_bytes(raw, "little", signed=signed) * factor / divisor)
                self._tell(str(self._turn(capability + next(iter(properties)))), capability, properties)
            case Number(_, quantity, unit, divisor, signed):
                value = int.from_bytes(raw, "little", signed=signed) / divisor
                self._tell(self._named(quantity), *scales.number(quantity, value, unit))
            case Binary(quantity, opens):
                self._binary(quantity, bool(raw[0]), opens=opens)
            case Passed():
                self._pass(kind, raw)

    def _turn(self, what: str) -> int:
        self._count[what] = self._count.get(what, 0) + 1
        return self._count[what]

    def _named(self, quantity: str) -> str:
        turn = self._turn(quantity)
        return quantity if turn == 1 else f"{quantity}{turn}"

    def _tell(self, endpoint: str, capability: str, properties: Mapping[str, Any]) -> None:
        self.values.append(Values(endpoint, capability, properties))

    def _binary(self, quantity: str, state: bool, *, opens: bool) -> None:  # noqa: FBT001  the one value
        if quantity == BATTERY_LOW:
            self._tell("1", *scales.battery_low(state))
        elif quantity in OCCUPIED:
            self._tell(self._named(quantity), *scales.occupancy(state))
        elif quantity in (SMOKE, CARBON_MONOXIDE):
            smoke = quantity == SMOKE
            alarm = {
                "ExpressedState": (1 if smoke else 2) if state else 0,
                "SmokeState" if smoke else "COState": 2 if state else 0,
            }
            self._tell(self._named(quantity), scales.matter("SmokeCOAlarm"), alarm)
        else:
            self._tell(self._named(quantity), *scales.boolean(not state if opens else state))

    def _pass(self, kind: int, raw: bytes) -> None:
        if kind == PACKET_ID:
            self.packet = raw[0]
        elif kind == BUTTON:
            endpoint = f"button{self._turn('button')}"
            self._tell(endpoint, SWITCH, {"NumberOfPositions": 2})
            self._press(endpoint, raw[0])
        elif kind == DIMMER:
            endpoint = self._named("dimmer")
            self._tell(endpoint, SWITCH, {"NumberOfPositions": 3})
            self._turned(endpoint, raw[0], raw[1])
        elif kind in (FIRMWARE_4, FIRMWARE_3):
            self.firmware = ".".join(str(octet) for octet in reversed(raw))
        else:
            self.unmapped.append(f"BTHome object 0x{kind:02X} ({OBJECTS[kind].name})")  # type: ignore[union-attr]

    def _press(self, endpoint: str, event: int) -> None:
        """Matter's sequence for each kind of press; a long double press is a long one that counts two."""
        presses = {0x01: 1, 0x02: 2, 0x03: 3, 0x04: 1, 0x05: 2, 0x06: 3, 0x80: 1}.get(event)
        if event == 0x81:  # noqa: PLR2004  hold_release
            self._event(endpoint, "LongRelease", {"PreviousPosition": 1})
        if presses is None:
            return
        self._event(endpoint, "InitialPress", {"NewPosition": 1})
        if event in (0x04, 0x05, 0x06, 0x80):
            self._event(endpoint, "LongPress", {"NewPosition": 1})
            if event != 0x80:  # noqa: PLR2004  held: its release comes by itself
                self._event(endpoint, "LongRelease", {"PreviousPosition": 1})
        else:
            self._event(endpoint, "ShortRelease", {"PreviousPosition": 1})
        if presses > 1:
            fields = {"PreviousPosition": 1, "TotalNumberOfPressesCounted": presses}
            self._event(endpoint, "MultiPressComplete", fields)

    def _turned(self, endpoint: str, direction: int, steps: int) -> None:
        """A wheel is a switch with a position for left (1) and one for right (2), pressed once a step."""
        if direction not in (1, 2) or not steps:
            return
        self._event(endpoint, "InitialPress", {"NewPosition": direction})
        fields = {"PreviousPosition": direction, "TotalNumberOfPressesCounted": steps}
        self._event(endpoint, "MultiPressComplete", fields)

    def _event(self, endpoint: str, event: str, fields: dict[str, int]) -> None:
        self.happened.append(Happened(endpoint, SWITCH, event, fields))
