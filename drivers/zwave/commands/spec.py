"""How command classes are declared. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.zwave.layout import Bits, Field, Layout

ALL_BITS = 0xFF


@dataclass(frozen=True, slots=True)
class CommandClass:
    """One command class. `commands`: number -> (name, fields...). `version` is the newest that the table covers.

    Where parameters share the command's byte, `command_mask` marks the command's bits and the layout begins with that byte.
    """

    id: int
    name: str
    version: int
    commands: Mapping[int, tuple[Any, ...]]
    command_mask: int = ALL_BITS


def layout(entry: tuple[Any, ...]) -> Layout:
    """The layout of one entry of `CommandClass.commands`."""
    return Layout(*entry[1:])


def scale_head(precision: str = "_precision", scale: str = "scale", size: str = "_size") -> Field:
    """The byte before a decimal: precision, scale, size."""
    return Bits(f"{precision}:3 {scale}:2 {size}:3")
