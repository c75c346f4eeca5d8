"""Command classes: bytes to named commands and back. PURE.

A command is called as the specification calls it: "Binary Switch Report". Bytes after the last declared field are kept in `tail`: newer
versions add fields. What no table has becomes `Raw`. The only error is CodecError.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.zwave.commands.access import ACCESS
from drivers.zwave.commands.climate import CLIMATE
from drivers.zwave.commands.credentials import CREDENTIALS
from drivers.zwave.commands.management import EXTENDED_CLASS, MANAGEMENT
from drivers.zwave.commands.schedules import SCHEDULES
from drivers.zwave.commands.sensors import SENSORS
from drivers.zwave.commands.spec import ALL_BITS, CommandClass, layout
from drivers.zwave.commands.switches import SWITCHES
from drivers.zwave.commands.transport import TRANSPORT
from drivers.zwave.layout import NARROW, Context, Layout, LayoutError

CodecError = LayoutError

_TABLES = (SWITCHES, SENSORS, CLIMATE, SCHEDULES, ACCESS, CREDENTIALS, MANAGEMENT, TRANSPORT)
COMMAND_CLASSES = {entry.id: entry for table in _TABLES for entry in table}
NO_OPERATION = 0x00
MARK = 0xEF  # in a list of command classes: what follows is controlled, not supported


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a table has."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    tail: bytes = b""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A value that may be absent: fields of later versions are."""
        return self.values.get(name, default)

    @property
    def command_class(self) -> int:
        """The number of its command class."""
        return _BY_NAME[self.name].command_class.id


@dataclass(frozen=True, slots=True)
class Raw:
    """A command that no table has. `command` is None where not even its number came."""

    command_class: int
    command: int | None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class _Entry:
    command_class: CommandClass
    number: int
    name: str
    layout: Layout

    @property
    def start(self) -> int:
        """Index of the first byte that the layout covers."""
        return 2 if self.command_class.command_mask == ALL_BITS else 1


def _entries() -> list[_Entry]:
    found = [_Entry(COMMAND_CLASSES[NO_OPERATION], 0, "No Operation", Layout())]
    for entry in COMMAND_CLASSES.values():
        for number, declared in entry.commands.items():
            name = f"{entry.name} {declared[0]}" if declared[0] != entry.name else entry.name
            found.append(_Entry(entry, number, name, layout(declared)))
    return found


_BY_NAME = {entry.name: entry for entry in _entries()}
_BY_NUMBER = {(entry.command_class.id, entry.number): entry for entry in _BY_NAME.values()}


def decode(data: bytes, context: Context = NARROW) -> Command | Raw:
    """The command in `data`. Raises CodecError for nothing at all, and for a known command that is too short."""
    if not data:
        raise CodecError("an empty command")
    if data[0] == NO_OPERATION:
        return Command("No Operation", {}, data[1:])
    if data[0] >= EXTENDED_CLASS and len(data) > 1:
        number = int.from_bytes(data[:2], "big")
        return Raw(number, data[2] if len(data) > 2 else None, data[3:])  # noqa: PLR2004  two bytes of class, then the command
    if len(data) == 1:
        return Raw(data[0], None)
    known = COMMAND_CLASSES.get(data[0])
    entry = None if known is None else _BY_NUMBER.get((data[0], data[1] & known.command_mask))
    if entry is None:
        return Raw(data[0], data[1], data[2:])
    try:
        values, tail = entry.layout.decode(data[entry.start :], context)
    except LayoutError as error:
        raise CodecError(f"{entry.name}: {error}") from error
    return Command(entry.name, values, tail)


def encode(command: Command | Raw, context: Context = NARROW) -> bytes:
    """The bytes of `command`; fields newer than `context.version` are left out. Raises CodecError."""
    if isinstance(command, Raw):
        size = 2 if command.command_class >= EXTENDED_CLASS else 1
        number = b"" if command.command is None else bytes((command.command,))
        return command.command_class.to_bytes(size, "big") + number + command.payload
    entry = _BY_NAME.get(command.name)
    if entry is None:
        raise CodecError(f"no command is called {command.name!r}")
    try:
        body = entry.layout.encode(command.values, context)
    except LayoutError as error:
        raise CodecError(f"{entry.name}: {error}") from error
    if entry.command_class.id == NO_OPERATION:
        head = bytes((NO_OPERATION,))
    elif entry.start == 1:
        head, body = bytes((entry.command_class.id, entry.number | body[0])), body[1:]
    else:
        head = bytes((entry.command_class.id, entry.number))
    return head + body + command.tail


def make(name: str, context: Context = NARROW, **values: Any) -> bytes:
    """As `encode`, in short: "Binary Switch Set", target_value=255."""
    return encode(Command(name, values), context)


def names() -> list[str]:
    """Every command that has a table."""
    return list(_BY_NAME)


def layout_of(name: str) -> Layout:
    """The layout of a command. Raises KeyError."""
    return _BY_NAME[name].layout


def class_list(data: bytes) -> tuple[list[int], list[int]]:
    """Supported and controlled command classes of a node information frame or a Commands Supported Report. A cut-off end is left out."""
    found: tuple[list[int], list[int]] = ([], [])
    controlled, at = 0, 0
    while at < len(data):
        size = 2 if data[at] >= EXTENDED_CLASS else 1
        number = int.from_bytes(data[at : at + size], "big")
        if number == MARK:
            controlled = 1
        elif at + size <= len(data):
            found[controlled].append(number)
        at += size
    return found


def class_bytes(supported: Iterable[int], controlled: Iterable[int] = ()) -> bytes:
    """The inverse of `class_list`."""

    def packed(numbers: Iterable[int]) -> bytes:
        return b"".join(number.to_bytes(2 if number > ALL_BITS else 1, "big") for number in numbers)

    last = packed(controlled)
    return packed(supported) + (bytes((MARK,)) + last if last else b"")
