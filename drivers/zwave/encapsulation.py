"""What lies between security and a command (SDS13783, "Command encapsulation"): CRC-16, Multi Channel, Supervision, Multi Command. PURE.

Outer to inner: Transport Service, then S2, S0 or CRC-16, then Multi Channel, Supervision, Multi Command, the command. Transport Service
and security depend on the peer's state and have modules of their own.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers.zwave.codec import Command, Raw, decode, encode, make
from drivers.zwave.layout import LayoutError

CRC_START = 0x1D0F  # CRC-16/AUG-CCITT
MAX_ENDPOINT = 127
MAX_BIT_ENDPOINT = 7
MAX_COMMANDS = 32  # of one Multi Command

ROOT = 0

CRC_16 = "CRC-16 Encapsulation"
MULTI_CHANNEL = "Multi Channel Command Encapsulation"
MULTI_INSTANCE = "Multi Channel V1 Command Encapsulation"
SUPERVISION = "Supervision Get"
MULTI_COMMAND = "Multi Command Encapsulation"

_ORDER = {CRC_16: 0, MULTI_CHANNEL: 1, MULTI_INSTANCE: 1, SUPERVISION: 2, MULTI_COMMAND: 3}


class EncapsulationError(ValueError):
    """Layers in a wrong order, a wrong checksum, or something in them that cannot be read."""


@dataclass(frozen=True, slots=True)
class Layers:
    """How a command was, or is to be wrapped.

    `destinations`: endpoints; several go as a bit mask (1..7). `instance_form`: version 1 of Multi Channel, for old nodes. `session`
    and `status_updates`: supervision.
    """

    source: int = ROOT
    destinations: tuple[int, ...] = (ROOT,)
    instance_form: bool = False
    session: int | None = None
    status_updates: bool = False
    crc16: bool = False

    def answer(self) -> "Layers":
        """The layers of an answer: endpoints swapped, no supervision. What came for several endpoints is answered from the root."""
        if self.instance_form:  # its one field names the instance on both ways
            return replace(self, session=None, status_updates=False)
        own = self.destinations[0] if len(self.destinations) == 1 else ROOT
        return Layers(own, (self.source,), crc16=self.crc16)


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """Commands that came together, and how."""

    commands: tuple[Command | Raw, ...]
    layers: Layers


def crc16(data: bytes) -> int:
    """CRC-CCITT as CRC-16 encapsulation, Transport Service and firmware updates use it."""
    return binascii.crc_hqx(data, CRC_START)


def crc_encapsulate(payload: bytes) -> bytes:
    """The checksum covers the encapsulation's own two bytes too."""
    head = make(CRC_16, payload=payload, checksum=0)[:-2]
    return head + crc16(head).to_bytes(2, "big")


def wrap(commands: bytes | Sequence[bytes], layers: Layers) -> bytes:
    """One command, or several as a Multi Command, in `layers`. Raises EncapsulationError for what cannot be said."""
    try:
        data = commands if isinstance(commands, bytes) else make(MULTI_COMMAND, commands=list(commands))
        if layers.session is not None:
            data = make(SUPERVISION, status_updates=layers.status_updates, session=layers.session, payload=data)
        data = _to_endpoints(data, layers)
    except LayoutError as error:
        raise EncapsulationError(str(error)) from error
    return crc_encapsulate(data) if layers.crc16 else data


def _to_endpoints(data: bytes, layers: Layers) -> bytes:
    if layers.source == ROOT and layers.destinations == (ROOT,):
        return data
    if layers.instance_form:
        if len(layers.destinations) != 1:
            raise EncapsulationError("version 1 of Multi Channel reaches one instance at a time")
        return make(MULTI_INSTANCE, instance=layers.destinations[0], payload=data)
    if len(layers.destinations) == 1:
        destination, bits = layers.destinations[0], False
    else:
        if not layers.destinations or not all(0 < number <= MAX_BIT_ENDPOINT for number in layers.destinations):
            raise EncapsulationError("a bit mask reaches endpoints 1 to 7")
        destination, bits = sum(1 << number - 1 for number in set(layers.destinations)), True
    return make(MULTI_CHANNEL, source=layers.source, bit_address=bits, destination=destination, payload=data)


def unwrap(data: bytes, *, secured: bool = False) -> Unwrapped:
    """The commands in `data` and their layers. Raises EncapsulationError.

    `secured`: it came out of S0 or S2, where CRC-16 is not allowed. A command that is not known is no error.
    """
    layers = Layers()
    reached = 0 if secured else -1
    while True:
        try:
            command = decode(data)
        except LayoutError as error:
            raise EncapsulationError(str(error)) from error
        order = None if isinstance(command, Raw) else _ORDER.get(command.name)
        if isinstance(command, Raw) or order is None:
            return Unwrapped((command,), layers)
        if order <= reached:
            raise EncapsulationError(f"{command.name} in a place where it must not be")
        reached = order
        if command.name == MULTI_COMMAND:
            return Unwrapped(_several(command), layers)
        if command.name == CRC_16 and crc16(data[:-2]) != command["checksum"]:
            raise EncapsulationError("the CRC-16 does not fit")
        layers = _with(layers, command)
        data = command["payload"]


def _with(layers: Layers, command: Command) -> Layers:
    if command.name == CRC_16:
        return replace(layers, crc16=True)
    if command.name == SUPERVISION:
        return replace(layers, session=command["session"], status_updates=command["status_updates"])
    if command.name == MULTI_INSTANCE:
        return replace(layers, destinations=(command["instance"],), source=command["instance"], instance_form=True)
    mask = command["destination"]
    bits = tuple(number for number in range(1, MAX_BIT_ENDPOINT + 1) if mask & 1 << number - 1)
    return replace(layers, source=command["source"], destinations=bits if command["bit_address"] else (mask,))


def _several(command: Command) -> tuple[Command | Raw, ...]:
    parts = command["commands"]
    if len(parts) > MAX_COMMANDS:
        raise EncapsulationError("too many commands in one")
    try:
        found = tuple(decode(part) for part in parts)
    except LayoutError as error:
        raise EncapsulationError(str(error)) from error
    if any(isinstance(one, Command) and one.name in _ORDER for one in found):
        raise EncapsulationError("an encapsulation inside a Multi Command")
    return found


def overhead(layers: Layers) -> int:
    """Bytes that `layers` add to one command."""
    return len(wrap(encode(Command("No Operation")), layers)) - 1
