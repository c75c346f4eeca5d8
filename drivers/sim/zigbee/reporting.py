"""When devices send attribute reports (Zigbee Cluster Library 2.5.11): the part of the Network engine that has intervals. PURE."""

from functools import partial
from typing import TYPE_CHECKING

from drivers.sim.zigbee.model import PROFILE_HOME
from drivers.sim.zigbee.node import Node, Reporting

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

NEVER = 0xFFFF  # maximum interval: reports are off


class Reports:
    """Sends a report when a value changes enough, not before the minimum interval, and at the maximum interval."""

    def __init__(self, network: "Network") -> None:
        self._network = network

    def changed(self, node: Node, endpoint: int, cluster: int, attribute: int) -> None:
        """An attribute has another value, or reporting of it was configured."""
        found = node.reporting.get((endpoint, cluster, attribute))
        if found is None or found.maximum == NEVER:
            return
        value = node.get(endpoint, cluster, attribute)
        small = found.change is not None and found.value is not None and abs(value - found.value) < found.change
        if value != found.value and not small:
            due = max(self._network.now, found.at + found.minimum)
            self._network.at(due, partial(self._report, node, endpoint, cluster, attribute))
        else:
            self._time(found, node, endpoint, cluster, attribute)

    def _time(self, found: Reporting, node: Node, endpoint: int, cluster: int, attribute: int) -> None:
        """See to a report at the maximum interval after the last one."""
        if found.maximum and not found.timed:
            found.timed = True
            now = self._network.now
            due = max(now, (found.at if found.at > float("-inf") else now) + found.maximum)
            self._network.at(due, partial(self._again, found, node, endpoint, cluster, attribute))

    def _again(self, found: Reporting, node: Node, endpoint: int, cluster: int, attribute: int, now: float) -> None:
        found.timed = False
        if node.reporting.get((endpoint, cluster, attribute)) is not found:
            return  # configured anew since
        if now >= found.at + found.maximum:  # as the timer was set: another sum may round to just before it, for ever
            self._report(node, endpoint, cluster, attribute, now)
        else:
            self._time(found, node, endpoint, cluster, attribute)

    def _report(self, node: Node, endpoint: int, cluster: int, attribute: int, now: float) -> None:
        found = node.reporting.get((endpoint, cluster, attribute))
        if found is None or not node.joined:
            return
        found.value, found.at = node.get(endpoint, cluster, attribute), now
        for binding in node.bindings:
            if (binding.endpoint, binding.cluster, binding.target) == (endpoint, cluster, self._network.ieee):
                data = node.report(endpoint, cluster, (attribute,))
                self._network.incoming(node, endpoint, binding.target_endpoint or 1, PROFILE_HOME, cluster, data)
        self._time(found, node, endpoint, cluster, attribute)
