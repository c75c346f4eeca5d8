"""Ways through the mesh: the stick's neighbour table, routes that are preferred, and routes that are found anew.

Sources: Host Application Programming Guide, "Routing", and the order in which zwave-js rebuilds routes. Nodes of Long Range have no routes:
they speak to the stick alone.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.driver import DeviceUnreachable, InvalidParameters, NotSupported
from drivers.zwave.catalog import ZWaveGet
from drivers.zwave.codec import Command
from drivers.zwave.function_tables import NeighborStatus
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.link import CallAborted, StickRefused
from drivers.zwave.messages import Messages
from drivers.zwave.transmit import Urgency

log = logging.getLogger(__name__)

REPEATERS = 4  # of a route, at most
DESTINATIONS = 4  # that a node keeps routes to, besides the way to the controller
SPEEDS = {1: 9600, 2: 40_000, 3: 100_000}  # bits per second
GROUPS = 8  # that are looked at for destinations
ASSOCIATION = 0x85


@dataclass(frozen=True, slots=True)
class Route:
    """Through `repeaters`, the first one first; none: straight. `kind`: 1 last working, 2 the one before, 16 set by the host."""

    repeaters: tuple[int, ...]
    speed: int  # a key of SPEEDS
    kind: int = 0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a node's routes. `destinations` are the nodes that it has routes to now, the controller not counted."""

    neighbors: tuple[int, ...]
    destinations: tuple[int, ...]


class Routes:
    """The routes of one stick's network."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._radio = messages.secured.radio
        self._controller = self._radio.controller
        self._link = self._controller.link

    # ---- what the stick knows ---------------------------------------------------------------------------------------

    async def neighbors(self, node: int) -> tuple[int, ...]:
        """The nodes that it hears directly, the stick included. Raises NotSupported, StickSilent, DriverLost."""
        self._check(node, "GetRoutingInfo")
        answer = await self._link.call("GetRoutingInfo", node=node, remove_bad=0, remove_non_repeaters=0)
        return tuple(answer.response["nodes"])

    async def priority_route(self, node: int) -> Route | None:
        """The route that the stick tries first. Raises NotSupported, StickSilent, DriverLost."""
        self._check(node, "GetPriorityRoute")
        values = (await self._link.call("GetPriorityRoute", node=node)).response
        if not values["kind"] or "repeaters" not in values:
            return None
        return Route(tuple(one for one in values["repeaters"] if one), values["speed"], values["kind"])

    async def set_priority_route(self, node: int, repeaters: tuple[int, ...], speed: int) -> None:
        """Let the stick try this route first. Raises InvalidParameters, NotSupported, DriverError."""
        self._check(node, "SetPriorityRoute")
        known = set(self._controller.facts.nodes) | set(await self._controller.nodes())
        wrong = [one for one in repeaters if one not in known or one in (node, self._controller.facts.node)]
        if wrong or len(repeaters) > REPEATERS or len(set(repeaters)) < len(repeaters):
            text = f"repeaters must be at most {REPEATERS} different nodes of the network on the way to node {node}"
            raise InvalidParameters(f"{text}, not {list(repeaters)}")
        if speed not in SPEEDS:
            raise InvalidParameters(f"speed must be one of {', '.join(map(str, SPEEDS.values()))} bit/s")
        await self._set(node, repeaters=bytes(repeaters).ljust(REPEATERS, b"\0"), speed=speed)

    async def clear_priority_route(self, node: int) -> None:
        """Let the stick choose again. Raises NotSupported, DriverError."""
        self._check(node, "SetPriorityRoute")
        await self._set(node)

    async def _set(self, node: int, **values: Any) -> None:
        answer = await self._link.call("SetPriorityRoute", node=node, **values)
        if not answer.response["success"]:
            raise NotSupported(f"the stick does not take a route to node {node}")

    def _check(self, node: int, name: str) -> None:
        if node >= FIRST_LONG_RANGE:
            raise NotSupported("a node of Long Range speaks to the stick alone: it has no routes")
        if not self._controller.facts.has(name):
            raise NotSupported(f"the stick has no {name}")

    # ---- anew -------------------------------------------------------------------------------------------------------

    async def rebuild(self, node: int, progress: Callable[[str], None] = lambda _step: None) -> Rebuilt:
        """Let a node that is awake look who is around it, and give it routes to the controller and to whom it sends.

        It has none for a moment. Raises NotSupported, DeviceUnreachable, StickJammed, DriverLost.
        """
        self._check(node, "RequestNodeNeighborUpdate")
        progress("neighbors")
        await self._discover(node)
        facts = self._controller.facts
        if facts.has("DeleteSUCReturnRoute") and facts.has("AssignSUCReturnRoute"):
            progress("route to the controller")
            await self._radio.run("DeleteSUCReturnRoute", urgency=Urgency.BACKGROUND, node=node)
            await self._radio.run("AssignSUCReturnRoute", urgency=Urgency.BACKGROUND, node=node)
        destinations: tuple[int, ...] = ()
        if facts.has("DeleteReturnRoute") and facts.has("AssignReturnRoute"):
            progress("routes to other devices")
            destinations = await self._destinations(node)
            await self._radio.run("DeleteReturnRoute", urgency=Urgency.BACKGROUND, node=node)
            for destination in destinations:
                values = {"node": node, "destination": destination}
                await self._radio.run("AssignReturnRoute", urgency=Urgency.BACKGROUND, **values)
        found = await self.neighbors(node) if facts.has("GetRoutingInfo") else ()
        return Rebuilt(found, destinations)

    async def _discover(self, node: int) -> None:
        async with self._radio.air.hold(Urgency.BACKGROUND):
            try:
                answer = await self._link.call("RequestNodeNeighborUpdate", node=node)
            except (StickRefused, CallAborted) as error:
                raise DeviceUnreachable(f"node {node} was not asked for its neighbours: {error}") from error
        if answer.callback["status"] != NeighborStatus.DONE:
            raise DeviceUnreachable(f"node {node} did not look for its neighbours")

    async def _destinations(self, node: int) -> tuple[int, ...]:
        """Whom it sends to by itself. What it does not tell has no routes: its frames find their way by exploring then."""
        record, own = self._messages.record(node), self._controller.facts.node
        if record is None or not record.version(ASSOCIATION):
            return ()
        found: set[int] = set()
        try:
            groupings = await self._ask(node, Command("Association Groupings Get", {}))
            for group in range(1, min(groupings["groups"], GROUPS) + 1):
                found.update((await self._ask(node, Command("Association Get", {"group": group})))["nodes"])
        except DeviceUnreachable as error:
            log.info("node %d does not tell its associations: %s", node, error)
        return tuple(sorted(one for one in found if one not in (own, node) and one < FIRST_LONG_RANGE))[:DESTINATIONS]

    async def _ask(self, node: int, command: Command) -> Command:
        match = {"group": command["group"]} if "group" in command.values else {}
        get = ZWaveGet(0, command, f"{command.name.removesuffix('Get')}Report", match)
        return await self._messages.read(node, get, urgency=Urgency.BACKGROUND)
