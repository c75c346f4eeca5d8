"""The home of a hub that has one driver, as updates of devices see it; what the driver says is heard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from agent.driver import UpdatesFirmware
from agent.home import DeviceRecord, RadioRecord
from agent.model import DeviceFound, DriverEvent, Report
from agent.updates_home import RuntimeHome
from tests.conformance.driver_contract import Watched


class StickHome(RuntimeHome):
    """The home of a runtime that has this one driver, or none while it is not `with_driver`."""

    def __init__(self, kind: str = "zigbee") -> None:
        self.kind = kind
        self.drivers: dict[str, UpdatesFirmware] = {}
        self.known: dict[Any, DeviceRecord] = {}
        hub = SimpleNamespace(radios={kind: RadioRecord(kind, kind, (kind.upper(),))}, devices=self.known)
        self.runtime: Any = SimpleNamespace(hub=hub, drivers=self.drivers, listeners=set())
        super().__init__(self.runtime)

    @contextmanager
    def with_driver(self, watched: Watched) -> Iterator[None]:
        """The driver is up inside the block, and what it says is heard."""
        for event in watched.events:
            self._hear(event)
        watched.events = Heard(watched.events, self._hear)
        driver: Any = watched.driver
        self.drivers[self.kind] = driver
        try:
            yield
        finally:
            self.drivers.clear()

    def _hear(self, event: DriverEvent) -> None:
        if isinstance(event, DeviceFound):
            self.known.setdefault(event.device.id, DeviceRecord(event.device))
        if isinstance(event, Report) and event.id in self.known:
            state = self.known[event.id].state
            state.update({(event.endpoint, event.capability, n): (v, 0.0, 0.0) for n, v in event.properties.items()})
        for listener in list(self.runtime.listeners):
            listener(event)


class Heard(list[Any]):
    """Events as they come."""

    def __init__(self, before: list[Any], hear: Callable[[Any], None]) -> None:
        super().__init__(before)
        self._hear = hear

    def append(self, event: Any) -> None:
        super().append(event)
        self._hear(event)
