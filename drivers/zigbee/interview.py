"""What follows zigpy's own interview: bindings, attribute reporting, IAS enrolment, and the values that the catalogue scales by.

A sleepy device stays awake for some seconds after it joined, so nothing is asked twice: its state is read by the refresh that the hub asks
for once the device is found.
"""

import logging
from typing import Any

from zigpy.zcl.foundation import Status
from zigpy.zcl.helpers import ReportingConfig

from agent.driver import DeviceRefused, DriverError, DriverLost, NotSupported
from drivers.zigbee.catalog import CATALOG_NEEDS, NodeMap, Setup
from drivers.zigbee.catalog_tables import IAS_ZONE, ZONE_TYPE
from drivers.zigbee.node import BASIC, ENROL_RESPONSE, SOFTWARE_BUILD, describe, is_sleepy
from drivers.zigbee.radio import QuietDatabase
from drivers.zigbee.requests import Priority, Requests, expect_success

log = logging.getLogger(__name__)

STEP_TIMEOUT = 40.0  # seconds of one request, zigpy's three tries included
IAS_CIE_ADDRESS = 0x0010
IAS_ZONE_ID = 0

Attribute = tuple[int, int, int]  # endpoint, cluster, attribute


async def configure(device: Any, requests: Requests, database: QuietDatabase) -> tuple[bool, list[Attribute]]:
    """Configure an interviewed device. False when it stopped answering; the attributes that it cannot report.

    Raises DriverLost only: a device that refuses something is used without it.
    """
    key = str(device.ieee)
    work = _Configuration(device, requests)
    async with database.learns(key):
        try:
            await work.run()
        except DriverLost:
            raise
        except DriverError as error:
            log.info("%s is not fully configured yet, it goes on when the device is heard: %s", key, error)
            return False, work.unreported
    return True, work.unreported


def knows_its_needs(device: Any) -> bool:
    """Whether what its values are named by is known; without a zone's type an open door is told as closed."""
    zones = (endpoint.in_clusters.get(IAS_ZONE) for endpoint in device.non_zdo_endpoints)
    return all(zone is None or zone.get(ZONE_TYPE) is not None for zone in zones)


class _Configuration:
    def __init__(self, device: Any, requests: Requests) -> None:
        self._device = device
        self._requests = requests
        self._sleepy = is_sleepy(device)
        self.unreported: list[Attribute] = []

    async def run(self) -> None:
        await self._read_needs()
        for setup in NodeMap(describe(self._device)).setups:
            endpoint = self._device.endpoints[setup.endpoint]
            cluster = endpoint.in_clusters.get(setup.cluster) or endpoint.out_clusters[setup.cluster]
            await self._set_up(cluster, setup)

    async def _ask(self, request: Any) -> Any:
        return await self._requests.ask(request, limit=STEP_TIMEOUT, priority=Priority.NORMAL, sleepy=self._sleepy)

    async def _read_needs(self) -> None:
        for endpoint in self._device.non_zdo_endpoints:
            wanted: dict[int, list[int]] = {BASIC: [SOFTWARE_BUILD]}
            for cluster, attribute in CATALOG_NEEDS:
                wanted.setdefault(cluster, []).append(attribute)
            for cluster_id, attributes in wanted.items():
                cluster = endpoint.in_clusters.get(cluster_id)
                if cluster is not None:
                    await self._ask(lambda: cluster.read_attributes(attributes))  # noqa: B023  awaited in this turn

    async def _set_up(self, cluster: Any, setup: Setup) -> None:
        await self._tolerated(self._bind(cluster), f"binding of {cluster.name}")
        if setup.enrol:
            await self._tolerated(self._enrol(cluster), "IAS enrolment")
        if setup.reports and not await self._tolerated(self._report(cluster, setup), f"reporting of {cluster.name}"):
            self.unreported += [(setup.endpoint, setup.cluster, report.attribute) for report in setup.reports]

    async def _tolerated(self, work: Any, what: str) -> bool:
        """Do `work`; a device that refuses it is asked no further. False when it refused."""
        try:
            await work
        except (DeviceRefused, NotSupported) as error:
            log.info("%s: no %s: %s", self._device.ieee, what, error)
            return False
        return True

    async def _bind(self, cluster: Any) -> None:
        answer = await self._ask(cluster.bind)
        expect_success(answer[0], "the binding")

    async def _report(self, cluster: Any, setup: Setup) -> None:
        wanted = {}
        for report in setup.reports:
            try:
                definition = cluster.find_attribute(report.attribute)
            except KeyError:
                continue
            wanted[definition] = ReportingConfig(report.minimum, report.maximum, report.change or 0)
        answer = await self._ask(lambda: cluster.configure_reporting_multiple(wanted))
        for definition, status in answer.items():
            # An attribute that the device does not have is none that must be polled.
            if status not in (Status.SUCCESS, Status.UNSUPPORTED_ATTRIBUTE):
                self.unreported.append((setup.endpoint, setup.cluster, definition.id))

    async def _enrol(self, cluster: Any) -> None:
        """Tell the sensor where its alarms go, and enrol it unasked (auto-enroll-response, ZCL 8.2.2.2.3)."""
        own = self._device.application.state.node_info.ieee
        await self._ask(lambda: cluster.write_attributes({IAS_CIE_ADDRESS: own}))
        await self._ask(lambda: cluster.command(ENROL_RESPONSE, 0, IAS_ZONE_ID, expect_reply=False))
