"""A simulated device's OTA Upgrade client (ZCL 8, 11.10 to 11.13): it asks, loads, checks, says how it ended, and restarts. PURE.

Written without the library and the image parser that the driver uses, and tried against zigpy's own server: see zcl.py for why.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agent.errors import ConfigError
from drivers.sim.home import known, number, truth
from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.zcl import u16

CLUSTER = 0x0019
NOTIFY, QUERY, QUERY_RSP, BLOCK, PAGE, BLOCK_RSP, END, END_RSP = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
SUCCESS, ABORT, INVALID_IMAGE, WAIT_FOR_DATA, NO_IMAGE = 0x00, 0x95, 0x96, 0x97, 0x98
MAGIC, HEADER = b"\x1e\xf1\xee\x0b", 56
WHEN_TOLD = 0xFFFFFFFF  # as upgrade time: not before the server says so
LARGEST = 4 << 20  # octets that fit into such a device
MILLISECOND = 0.001
PATIENCE = 30  # requests without an answer, until it gives up and keeps what it has
AFTER_RESTART = 0.2  # seconds from the announcement to the first query


class Doing(StrEnum):
    """What the client is about."""

    NOTHING = "nothing"
    ASKING = "asking"
    LOADING = "loading"
    ENDING = "ending"
    RESTARTING = "restarting"


@dataclass(slots=True)
class Firmware:
    """`firmware = {...}` of a device in the home file: what it is, how it loads, and what goes wrong with it."""

    manufacturer: int = 0x1234
    image_type: int = 0x0001
    version: int = 1
    hardware: int | None = None
    block: int = 64  # octets of a block at most
    page: int = 0  # octets that it asks for at once; 0: block by block
    period: int | None = None  # milliseconds between its requests, if it can be told to take longer
    retry: float = 2.0  # seconds until it asks again
    restart: float = 1.0  # seconds without power when it starts the new image
    lose: float = 0.0  # share of the blocks that get lost on the air
    verdict: int = SUCCESS  # of the image, at its end
    dies_at: float = 1.0  # share of the image at which it falls silent for good
    falls_back: bool = False  # it starts what it had


_NUMBERS: dict[str, tuple[float, bool]] = {  # key -> highest, whole
    "manufacturer": (0xFFFF, True),
    "image_type": (0xFFFF, True),
    "version": (0xFFFFFFFF, True),
    "hardware": (0xFFFF, True),
    "block": (0xFF, True),
    "page": (0xFFFF, True),
    "period": (0xFFFF, True),
    "retry": (3600, False),
    "restart": (3600, False),
    "lose": (1, False),
    "verdict": (0xFF, True),
    "dies_at": (1, False),
}


def read(told: Any, place: str) -> Firmware:
    """The firmware of a device as the home file tells it. Raises ConfigError."""
    place = f"{place}.firmware"
    if not isinstance(told, Mapping):
        raise ConfigError("firmware is no table", place=place, remedy="write firmware = { version = 1 }")
    known(told, frozenset({*_NUMBERS, "falls_back"}), place)
    values: dict[str, Any] = {"falls_back": truth(told, "falls_back", place, default=False)}
    for key, (most, whole) in _NUMBERS.items():
        if key in told:
            value = number(told, key, 0, 0, most, place, whole=whole)
            values[key] = int(value) if whole else value
    return Firmware(**values)


@dataclass(slots=True)
class Client:
    """One device's. `say` sends a frame to the coordinator, `later` calls back, `reboot` takes the power away for some seconds."""

    firmware: Firmware
    say: Callable[[int, bytes], None]
    later: Callable[[float, Callable[[], None]], None]
    reboot: Callable[[float], None]
    rng: random.Random
    doing: Doing = Doing.NOTHING
    have: bytearray = field(default_factory=bytearray)
    loading: int = 0  # version
    size: int = 0
    period: int = 0  # milliseconds between two requests
    received: int = 0  # octets that came, those that it had already included
    requests: int = 0
    _sequence: int = 0
    _turn: int = 0  # a timer of an earlier turn is void
    _unanswered: int = 0
    _page_end: int = 0

    def __post_init__(self) -> None:
        self.period = self.firmware.period or 0

    def attributes(self) -> dict[int, list[Any]]:
        """Of the client cluster (ZCL 8, 11.10)."""
        has = self.firmware
        return {
            0x0001: [zcl.U32, len(self.have)],
            0x0002: [zcl.U32, has.version],
            0x0004: [zcl.U32, self.loading],
            0x0006: [zcl.ENUM8, {Doing.LOADING: 1, Doing.ENDING: 2}.get(self.doing, 0)],
            0x0007: [zcl.U16, has.manufacturer],
            0x0008: [zcl.U16, has.image_type],
            0x0009: [zcl.U16, self.period],
        }

    def heard(self, frame: zcl.Frame) -> None:
        """A command of the server. Raises zcl.ZclError, IndexError for one that is cut short."""
        handler = {
            NOTIFY: self._notified,
            QUERY_RSP: self._offered,
            BLOCK_RSP: self._block,
            END_RSP: self._released,
        }.get(frame.command)
        if handler is not None:
            handler(frame.payload)

    def query(self) -> None:
        """Ask whether there is a newer image."""
        if self.doing in (Doing.NOTHING, Doing.ASKING):
            self.doing = Doing.ASKING
            has = self.firmware
            hardware = b"" if has.hardware is None else u16(has.hardware)
            self._send(QUERY, bytes([bool(hardware)]) + self._identity(has.version) + hardware)
            self._wait(self.query)

    # ---- commands of the server -------------------------------------------------------------------------------------

    def _notified(self, body: bytes) -> None:
        kind, jitter, told = body[0], body[1], body[2:]
        own = (u16(self.firmware.manufacturer), u16(self.firmware.image_type), _u32(self.firmware.version))
        fields = (told[:2], told[2:4], told[4:8])
        meant = all(a in (b, b"\xff\xff") for a, b in zip(fields[: min(kind, 2)], own[: min(kind, 2)], strict=True))
        news = kind < 3 or fields[2] != own[2]  # noqa: PLR2004  the type with a version
        if meant and news and self.rng.randint(1, 100) <= jitter:
            self._unanswered = 0
            self._ask() if self.doing is Doing.LOADING else self.query()

    def _offered(self, body: bytes) -> None:
        if self.doing is not Doing.ASKING:
            return
        self._settle(Doing.NOTHING)
        if body[0] != SUCCESS:
            return
        version, size = int.from_bytes(body[5:9], "little"), int.from_bytes(body[9:13], "little")
        mine = body[1:5] == self._identity(0)[:4]
        if not mine or version == self.firmware.version or not HEADER <= size <= LARGEST:
            return
        if (version, size) != (self.loading, self.size):
            self.have.clear()
        self.loading, self.size, self.doing = version, size, Doing.LOADING
        self._ask()

    def _block(self, body: bytes) -> None:
        if self.doing is not Doing.LOADING or self.rng.random() < self.firmware.lose:
            return
        match body[0]:
            case 0x00 if body[1:9] == self._identity(self.loading):
                self._took(int.from_bytes(body[9:13], "little"), body[14 : 14 + body[13]])
            case 0x97:
                now, then = int.from_bytes(body[1:5], "little"), int.from_bytes(body[5:9], "little")
                self.period = int.from_bytes(body[9:11], "little") if self.firmware.period is not None else self.period
                self._turn += 1
                self._unanswered = 0
                self._after(max(0, then - now), self._ask)
            case 0x95:
                self.have.clear()
                self._settle(Doing.NOTHING)

    def _took(self, offset: int, data: bytes) -> None:
        self.received += len(data)
        if offset != len(self.have) or not data:
            return  # out of order, or again: it is asked for when its turn comes
        self.have += data
        self._unanswered = 0
        if len(self.have) >= self.size * self.firmware.dies_at and self.firmware.dies_at < 1:
            self._settle(Doing.RESTARTING)
        elif len(self.have) >= self.size:
            self._check()
        elif len(self.have) < self._page_end:
            self._wait(self._ask)
        else:
            self._turn += 1
            self._after(self.period * MILLISECOND, self._ask)

    def _released(self, body: bytes) -> None:
        if self.doing is not Doing.ENDING or body[:8] != self._identity(self.loading):
            return
        now, then = int.from_bytes(body[8:12], "little"), int.from_bytes(body[12:16], "little")
        self._settle(Doing.RESTARTING)
        if then != WHEN_TOLD:
            self._after(max(0, then - now), self._restart)

    # ---- what it does by itself -------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """For the next block or page; what was lost on the way is asked for again."""
        has, offset = self.firmware, len(self.have)
        control = 0 if has.period is None else 2
        body = self._identity(self.loading) + _u32(offset) + bytes([has.block])
        if has.page:
            self._page_end = min(self.size, offset + has.page)
            self._send(PAGE, b"\x00" + body + u16(has.page) + u16(has.period or 0))
        else:
            self._send(BLOCK, bytes([control]) + body + (u16(self.period) if control else b""))
        self._wait(self._ask)

    def _check(self) -> None:
        self.doing = Doing.ENDING
        good = self.have[:4] == MAGIC and bytes(self.have[10:18]) == self._identity(self.loading)
        verdict = self.firmware.verdict or (SUCCESS if good else INVALID_IMAGE)
        self._end(verdict)
        if verdict != SUCCESS:
            self.have.clear()
            self._settle(Doing.NOTHING)

    def _end(self, verdict: int) -> None:
        self._send(END, bytes([verdict]) + self._identity(self.loading))
        self._wait(lambda: self._end(verdict))

    def _restart(self) -> None:
        if not self.firmware.falls_back:
            self.firmware.version = self.loading
        self.have.clear()
        self._settle(Doing.NOTHING)
        self.reboot(self.firmware.restart)
        self._after(self.firmware.restart + AFTER_RESTART, self.query)

    # ---- frames and time --------------------------------------------------------------------------------------------

    def _identity(self, version: int) -> bytes:
        return u16(self.firmware.manufacturer) + u16(self.firmware.image_type) + _u32(version)

    def _send(self, command: int, body: bytes) -> None:
        self._sequence = (self._sequence + 1) & 0xFF
        self.requests += 1
        self.say(CLUSTER, zcl.Frame(zcl.CLUSTER_SPECIFIC | zcl.NO_DEFAULT, self._sequence, command, body).pack())

    def _settle(self, doing: Doing) -> None:
        self.doing = doing
        self._turn += 1
        self._unanswered = 0

    def _wait(self, again: Callable[[], None]) -> None:
        """For an answer; without one the request is made again, so often and no more."""
        self._turn += 1
        self._unanswered += 1
        if self._unanswered <= PATIENCE:
            self._after(self.firmware.retry, again)
        elif self.doing is Doing.ASKING:
            self.doing = Doing.NOTHING

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        turn = self._turn

        def due() -> None:
            if turn == self._turn:
                act()

        self.later(delay, due)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
