"""One action for several devices at once: a multicast that all hear at the same moment, and a command to each that makes sure.

SDS13783 ("Multicast"): members that could not read it say so in their answer, and get the state of the group. Who sleeps, listens for beams,
speaks S0 or by Long Range, or is told something else than the others, is told alone.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from agent.driver import DriverError, DriverLost
from agent.model import Action
from drivers.zwave.catalog import ZWaveSet
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.network import Network
from drivers.zwave.node import Node
from drivers.zwave.perform import Contract
from drivers.zwave.security.classes import SecurityClass, SecurityError

log = logging.getLogger(__name__)

Bucket = tuple[bytes, SecurityClass | None]


class Together:
    """Actions for several devices of one network."""

    def __init__(self, network: Network, contract: Contract) -> None:
        self._network = network
        self._contract = contract
        self._turn = asyncio.Lock()  # a group's follow-ups end before it is spoken to again

    async def execute(
        self, keys: Iterable[str], action: Action, ended: Callable[[str, DriverError | None], None]
    ) -> None:
        """`ended` is told of each device, None where it was done. Raises DriverLost."""
        self._network.check()
        sets: dict[str, tuple[Node, list[ZWaveSet]]] = {}
        for key in keys:
            try:
                node = self._network.node(key)
                steps = self._network.devices.map(node.id).translate(action)
                sets[key] = (node, [step for step in steps if isinstance(step, ZWaveSet)])
            except DriverError as error:
                ended(key, error)
        async with self._turn:
            for bucket, members in self._buckets(sets).items():
                group = await self._speak(bucket, [node for node, _ in members.values()])
                for key, (node, told) in members.items():
                    ended(key, await self._make_sure(node, told, group))
                if group is not None:
                    self._network.messages.secured.s2.advance_group(group)

    def _buckets(
        self, sets: dict[str, tuple[Node, list[ZWaveSet]]]
    ) -> dict[Bucket | None, dict[str, tuple[Node, list[ZWaveSet]]]]:
        """Those that are told the same in the same way; None: those that are told alone."""
        found: dict[Bucket | None, dict[str, tuple[Node, list[ZWaveSet]]]] = defaultdict(dict)
        for key, (node, steps) in sets.items():
            found[self._bucket(node, steps)][key] = (node, steps)
        for bucket in [one for one, members in found.items() if one is not None and len(members) == 1]:
            found[None].update(found.pop(bucket))
        return found

    def _bucket(self, node: Node, steps: list[ZWaveSet]) -> Bucket | None:
        together = node.record.listening and node.id < FIRST_LONG_RANGE and len(steps) == 1 and not steps[0].endpoint
        if not together:
            return None
        payload = self._network.messages.encode(node.id, steps[0].command)
        security = self._network.messages.security_for(node.id, payload)
        return None if security is SecurityClass.S0 else (payload, security)

    async def _speak(self, bucket: Bucket | None, nodes: list[Node]) -> int | None:
        """The multicast; the group that its follow-ups belong to. Where it cannot be sent the follow-ups do it all."""
        if bucket is None:
            return None
        payload, security = bucket
        secured, members = self._network.messages.secured, tuple(sorted(node.id for node in nodes))
        group = None
        try:
            if security is not None:
                group = secured.s2.create_group(members, security)
                payload = secured.s2.seal_multicast(group, payload)
                secured.groups.update(dict.fromkeys(members, group))
        except SecurityError as error:
            log.warning("no multicast to nodes %s: %s", members, error)
            return None
        if not await self._network.transmitter.multicast(members, payload):
            log.info("the multicast to nodes %s was not sent", members)
        return group

    async def _make_sure(self, node: Node, steps: list[ZWaveSet], group: int | None) -> DriverError | None:
        try:
            for step in steps:
                await self._contract.do_awake(node, step, group)
        except DriverLost:
            raise
        except DriverError as error:
            return error
        return None
