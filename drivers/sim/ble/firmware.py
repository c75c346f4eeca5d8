"""What takes firmware in a simulated peripheral: the contract of its two kinds (smp_server, dfu_target), and what they have done. PURE."""

from dataclasses import dataclass
from typing import Any, Protocol

APPLICATION, BOOTLOADER = "application", "bootloader"
SPOILS = ("wrong_offset", "rewind", "bad_hash", "refuse", "reverts")  # kinds of faults beside those of every step


@dataclass(frozen=True, slots=True)
class Notify:
    """A characteristic says something."""

    uuid: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Restart:
    """The device goes away, and begins anew."""


Effect = Notify | Restart


class Firmware(Protocol):
    """The updatable part of one device."""

    mode: str  # APPLICATION or BOOTLOADER
    received: int  # octets of images that were written, repetitions included

    @property
    def version(self) -> str:
        """What its application says that it is."""

    def step(self, uuid: str, data: bytes) -> str:
        """The step of an update that a write belongs to; "" for none."""

    def heard(self, uuid: str, data: bytes, spoilt: str) -> list[Effect]:
        """A write; `spoilt` is what goes wrong with it, one of SPOILS or ""."""

    def begin(self) -> None:
        """It starts, after a restart or a lost battery."""

    def cut(self) -> None:
        """Its connection ended."""

    def document(self) -> dict[str, Any]:
        """What its flash holds, for `load`."""

    def load(self, document: dict[str, Any]) -> None: ...
