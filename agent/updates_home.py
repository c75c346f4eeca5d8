"""The radios and devices of this hub, as updates of devices see them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from agent.driver import UpdatesFirmware, UpdatesStick, load_driver
from agent.home import DeviceRecord
from agent.model import DriverEvent
from agent.ota.appliers.rollout import Peer
from agent.runtime import Runtime

CHARGE, HALF_PERCENTS = "BatPercentRemaining", 2  # of Matter's PowerSource


class RuntimeHome:
    """See agent.ota.appliers.rollout.Home, and radio.Home."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def radios(self, kind: str) -> list[str]:
        return [name for name, radio in self._runtime.hub.radios.items() if radio.kind == kind]

    def updates(self, kind: str) -> bool:
        return load_driver(kind).updates_firmware

    def driver(self, radio: str) -> UpdatesFirmware | None:
        return cast("UpdatesFirmware | None", self._runtime.drivers.get(radio))  # `updates` has said so

    def devices(self, radio: str) -> list[Peer]:
        found = (record for record in self._runtime.hub.devices.values() if record.device.id.radio == radio)
        return [_peer(record) for record in found if not record.quarantined]

    def sticks(self) -> list[str]:
        found = self._runtime.hub.radios.items()
        return [name for name, radio in found if load_driver(radio.kind).updates_stick]

    def stick(self, radio: str) -> UpdatesStick | None:
        driver: object = self._runtime.drivers.get(radio)
        return driver if isinstance(driver, UpdatesStick) else None

    def away(self, radio: str) -> bool:
        return radio not in self._runtime.drivers

    @contextmanager
    def hear(self, listener: Callable[[DriverEvent], None]) -> Iterator[None]:
        self._runtime.listeners.add(listener)
        try:
            yield
        finally:
            self._runtime.listeners.discard(listener)


def _peer(record: DeviceRecord) -> Peer:
    device = record.device
    charge = next((value[0] for (_, _, name), value in record.state.items() if name == CHARGE), None)
    names = (device.node_id, device.address, str(device.id), record.managed_thing_id)
    percent = charge / HALF_PERCENTS if isinstance(charge, int | float) else None
    return Peer(device.id, tuple(name for name in names if name), device.battery or device.sleepy, percent)
