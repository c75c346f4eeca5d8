"""Scans that the account asks for: each ends, also one that goes wrong, with the word that it is over."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_gateway_values import is_beacon, scan_result
from agent.driver import DriverError
from agent.gateway.connections import Connections
from agent.gateway.outlet import Outlet
from agent.gatt import Advert, Filter
from agent.wire.nrf_gateway import Scan, ScanFilter, ScanResult, ScanResults

ANY = -127  # dBm
MOST_FOUND = 200  # devices of one scan: a message of the LTE gateway, which has all of them, must fit
TOGETHER = 40  # devices in one message with their data


Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Scans:
    """One at a time; another one meanwhile is ignored."""

    def __init__(self, dialect: GatewayDialect, outlet: Outlet) -> None:
        self._dialect, self._outlet = dialect, outlet
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self, spawn: Spawn, connections: Connections, scan: Scan) -> None:
        if not self.running:
            self._task = spawn("BLE scan", self._run(connections, scan))

    def cancel(self) -> None:
        """Without a word: nobody listens any more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, connections: Connections, scan: Scan) -> None:
        hits = _Hits(self._dialect, self._outlet, scan)
        try:
            wanted = scan.filter or ScanFilter()
            only = Filter(ANY if wanted.rssi is None else math.ceil(wanted.rssi), wanted.name or "")
            await connections.gatt.scan(scan.scan_timeout, hits.heard, only, active=scan.scan_mode == "active")
        except DriverError as error:
            self._outlet.error(str(error), error.code)
        hits.end()


class _Hits:
    """What one scan has found."""

    def __init__(self, dialect: GatewayDialect, outlet: Outlet, scan: Scan) -> None:
        self._dialect, self._outlet, self._scan = dialect, outlet, scan
        self._found: dict[str, ScanResult] = {}
        self._untold: dict[str, ScanResult] = {}
        self._now = asyncio.get_running_loop().time
        self._told_at = self._now()

    def heard(self, advert: Advert) -> None:
        if self._scan.scan_type == 1 and not is_beacon(advert):
            return
        before = self._found.get(advert.address)
        if before is None and len(self._found) >= MOST_FOUND:
            self._outlet.count("gateway_scan_overflow")
            return
        if before is not None and not self._dialect.told_once and (before.name or not advert.name):
            return  # nothing new; on the path of every advert
        result = self._found[advert.address] = scan_result(advert, self._dialect)
        if self._dialect.told_once:
            return
        if self._scan.scan_reporting == "instant":
            self._outlet.say(_results([result]))
            return
        self._untold[advert.address] = result
        every = self._scan.scan_interval
        if every and self._now() - self._told_at >= every:
            self._tell()

    def _tell(self) -> None:
        self._told_at = self._now()
        waiting = list(self._untold.values())
        self._untold.clear()
        for start in range(0, len(waiting), TOGETHER):
            self._outlet.say(_results(waiting[start : start + TOGETHER]))

    def end(self) -> None:
        if self._dialect.told_once:
            self._outlet.say(_results(list(self._found.values()), over=True))
        else:
            self._tell()
            self._outlet.say(_results([], over=True))


def _results(found: list[ScanResult], *, over: bool = False) -> ScanResults:
    return ScanResults(devices=found, timeout=over)
