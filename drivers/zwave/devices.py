"""Nodes as the hub sees them: their capabilities, and what they say in its words."""

import logging

from agent.driver import Sink
from agent.model import Device, DeviceEvent, DeviceFound, DeviceId, Report
from drivers.told import Values
from drivers.zwave.catalog import NodeMap
from drivers.zwave.codec import Command
from drivers.zwave.nodes import NodeBook, NodeRecord, interviewed
from drivers.zwave.security.classes import SecurityClass

log = logging.getLogger(__name__)

BATTERY = 0x80


class Devices:
    """The devices of one radio."""

    def __init__(self, radio: str, sink: Sink, book: NodeBook) -> None:
        self._radio = radio
        self._sink = sink
        self._book = book
        self._maps: dict[int, NodeMap] = {}

    def id(self, number: int) -> DeviceId:
        """The id of a node's device."""
        return DeviceId(self._radio, str(number))

    def map(self, number: int) -> NodeMap:
        """The capabilities of a node, compiled once after each interview."""
        found = self._maps.get(number)
        if found is None:
            found = self._maps[number] = NodeMap(interviewed(self._book.nodes[number]))
        return found

    def changed(self, number: int) -> None:
        """A node left, or is to be compiled anew."""
        self._maps.pop(number, None)

    def present(self, record: NodeRecord, *, known: bool = False, expected: bool = False) -> None:
        """Tell of a device, and what nothing will report of it but its interview."""
        self._sink(DeviceFound(self._describe(record), known=known, expected=expected))
        for told in self.map(record.id).constants:
            self._sink(Report(self.id(record.id), told.endpoint, told.capability, told.properties))

    def _describe(self, record: NodeRecord) -> Device:
        found = self.map(record.id)
        model = "" if record.product is None else f"{record.product_type:04X}:{record.product:04X}"
        return Device(
            self.id(record.id),
            record.node_id,
            found.endpoints,
            manufacturer="" if record.manufacturer is None else f"{record.manufacturer:04X}",
            model=model,
            firmware=record.firmware,
            address=record.dsk,
            battery=bool(record.version(BATTERY)),
            sleepy=record.sleepy,
            unmapped=found.unmapped,
            secure=record.highest not in (None, SecurityClass.S0),
        )

    def tell(self, number: int, endpoint: int, command: Command, *, asked: bool = False) -> None:
        """What a command of a node says goes to the hub; nonsense does not. `asked`: it answers a Get."""
        device = self.id(number)
        try:
            said = self.map(number).heard(endpoint, command, asked=asked)
        except ValueError as error:
            log.info("node %d, endpoint %d: %s", number, endpoint, error)
            return
        for one in said:
            if isinstance(one, Values):
                self._sink(Report(device, one.endpoint, one.capability, one.properties))
            else:
                self._sink(DeviceEvent(device, one.endpoint, one.capability, one.event, one.fields))
