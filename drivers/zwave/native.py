"""Commands in Z-Wave's own words, for what no capability covers: parameters, associations, user codes, a lock's log, protection.

Names and fields are those of the tables in drivers/zwave/commands. What the driver does itself (keys, encapsulation, images) is not for hands.
"""

import asyncio
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import JsonValue
from drivers.zwave.catalog import ZWaveGet
from drivers.zwave.codec import COMMAND_CLASSES, Command, layout_of, names
from drivers.zwave.layout import LayoutError
from drivers.zwave.layout_values import Scaled
from drivers.zwave.messages import ANSWER_TIMEOUT, Received
from drivers.zwave.network import Network
from drivers.zwave.node import Node
from drivers.zwave.perform import Contract
from drivers.zwave.transmit import Urgency

OURS = frozenset({0x00, 0x22, 0x55, 0x56, 0x60, 0x6C, 0x74, 0x7A, 0x8F, 0x98, 0x9F})
SAID = ("Report", "Notification")  # how commands end that devices say, and are not told
GET = "Get"
LONGEST = 1024  # bytes; Transport Service could carry twice as much, and no command has as many
_CLASS = {name: Command(name).command_class for name in names()}


class Native:
    """Native commands on one network."""

    def __init__(self, network: Network, contract: Contract) -> None:
        self._network = network
        self._contract = contract

    def offered(self, key: str) -> dict[str, dict[str, list[str]]]:
        """Endpoint -> command -> its fields, for every class that the device has. Raises UnknownDevice, DriverLost."""
        node = self._network.node(key)
        self._network.check()
        return {str(place): dict(self._commands(node, place)) for place in sorted(node.record.endpoints)}

    def _commands(self, node: Node, place: int) -> Iterator[tuple[str, list[str]]]:
        for name, number in _CLASS.items():
            if node.record.version(number, place) and number not in OURS and not name.endswith(SAID):
                yield name, sorted(layout_of(name).names)

    async def do(
        self, key: str, endpoint: str, name: str, values: Mapping[str, JsonValue], wait: float
    ) -> list[dict[str, JsonValue]]:
        """Tell a device a command; the reports that answer it, each with its `command`, none for what is no Get.

        A device that sleeps is waited for, at most `wait` seconds. Raises InvalidParameters, UnknownDevice, NotSupported, NotNow,
        DeviceRefused, DeviceUnreachable, DriverLost.
        """
        network = self._network
        node = network.node(key)
        network.check()
        place = int(endpoint) if endpoint.isdecimal() else -1
        if place not in node.record.endpoints:
            raise UnknownDevice(f"the device has no endpoint {endpoint}")
        self._check(node, place, name)

        async def work() -> list[Command]:
            if name.endswith(f" {GET}"):
                return await self._ask(node, place, Command(name, values))
            await self._tell(node, place, Command(name, await self._completed(node, place, name, dict(values))))
            return []

        found = await self._contract.when_awake(node, f"native {name} {values}", work, wait)
        return [{"command": one.name, **{field: _plain(value) for field, value in one.values.items()}} for one in found]

    def _check(self, node: Node, place: int, name: str) -> None:
        remedy = "list what the device is told, with its fields: `agent native ID`"
        number = _CLASS.get(name)
        if number is None or name.endswith(SAID):
            raise InvalidParameters(f"no command is called {name!r}", remedy=remedy)
        title = COMMAND_CLASSES[number].name
        if number in OURS:
            raise NotSupported(f"{title} is the driver's own business")
        if not node.record.version(number, place):
            raise NotSupported(f"endpoint {place} of the device has no {title}", remedy=remedy)

    def _bytes(self, node: Node, place: int, command: Command) -> bytes:
        try:
            payload = self._network.messages.make(node.id, command.name, place, **command.values)
            if len(payload) > LONGEST:
                raise LayoutError(f"{command.name} would have {len(payload)} bytes, at most {LONGEST} can be sent")
            return payload  # noqa: TRY300
        except LayoutError as error:
            fields = ", ".join(sorted(layout_of(command.name).names)) or "none"
            raise InvalidParameters(str(error), remedy=f"its fields: {fields}") from error

    async def _ask(self, node: Node, place: int, command: Command) -> list[Command]:
        """The report, and those that it announces."""
        self._bytes(node, place, command)
        answer = f"{command.name.removesuffix(GET)}Report"
        shared = layout_of(answer).names & command.values.keys()
        match = {name: command.values[name] for name in shared}

        def part(received: Received) -> bool:
            said = received.command
            here = (received.node, received.endpoint) == (node.id, place)
            return here and isinstance(said, Command) and said.name == answer

        messages = self._network.messages
        with messages.overhearing(part) as heard:
            found = [await messages.read(node.id, ZWaveGet(place, command, answer, match), urgency=Urgency.USER)]
            while not heard.empty() and heard.get_nowait().command != found[0]:
                pass
            try:
                while found[-1].get("reports_to_follow"):
                    async with asyncio.timeout(ANSWER_TIMEOUT):
                        said = (await heard.get()).command
                    assert isinstance(said, Command)  # noqa: S101  `part` lets no other in
                    found.append(said)
            except TimeoutError:
                pass  # the rest was lost: what came says how many are missing
        return found

    async def _tell(self, node: Node, place: int, command: Command) -> None:
        payload = self._bytes(node, place, command)
        await self._network.messages.set(node.id, payload, place)
        if command.name == "Wake Up Interval Set":
            node.record.wake_up_interval = int(command["seconds"]) or None
            self._network.book.save(node.id)

    async def _completed(self, node: Node, place: int, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """How many bytes a parameter has is the device's to know, and a wrong number is refused without a word."""
        if name == "Configuration Set":
            if values.get("default"):
                return {"size": 1, "value": 0, **values}
            if "size" not in values and isinstance(values.get("parameter"), int):
                (now, *_) = await self._ask(
                    node, place, Command("Configuration Get", {"parameter": values["parameter"]})
                )
                return {**values, "size": now["size"]}
        if name == "Wake Up Interval Set":
            return {"node": self._network.controller.facts.node, **values}
        return values


def _plain(value: Any) -> JsonValue:
    """A value as JSON: bytes as numbers, decimals as numbers, text that no device should say with replacements."""
    if isinstance(value, Scaled):
        return value.value
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return value
