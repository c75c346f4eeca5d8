"""The one D-Bus that bleak uses in this process.

bleak takes the system bus of the environment (it has no parameter for it), keeps one connection for each event loop, and believes what it
remembers of BlueZ until that connection ends: after a restart of bluetoothd, devices that are gone stay "connected". So the address is set
before the first use, and when the last radio closes, bleak's connection is closed with it and the next start reads everything anew.
"""

import asyncio
import logging
import os
from importlib import import_module

from agent.driver import DriverLost

ENVIRONMENT = "DBUS_SYSTEM_BUS_ADDRESS"
DEFAULT = "unix:path=/var/run/dbus/system_bus_socket"

# It warns of every end of its connection, also of one that we asked for; the radio's own watch says why, once.
logging.getLogger("bleak.backends.bluezdbus.manager").setLevel(logging.ERROR)


class _Bus:
    def __init__(self) -> None:
        self._users = 0
        self._address = ""
        self._before: str | None = None

    def take(self, address: str) -> None:
        if self._users and address != self._address:
            text = f"another Bluetooth radio of this hub uses the D-Bus {self._address or DEFAULT}"
            raise DriverLost(text, remedy="write the same `bus` for all of them, or none")
        if not self._users and address:
            self._before = os.environ.get(ENVIRONMENT)
            os.environ[ENVIRONMENT] = address
        self._address = address
        self._users += 1

    async def give_back(self) -> None:
        self._users -= 1
        if self._users:
            return
        self._restore()  # before anybody else may take another
        await _forget()

    def _restore(self) -> None:
        if self._address and self._before is None:
            os.environ.pop(ENVIRONMENT, None)
        elif self._address and self._before is not None:
            os.environ[ENVIRONMENT] = self._before


async def _forget() -> None:
    """Close what bleak holds open for this loop; there is no public way to it."""
    instances = import_module("bleak.backends.bluezdbus.manager")._global_instances  # noqa: SLF001
    manager = instances.pop(asyncio.get_running_loop(), None)
    if manager is None or manager._bus is None:  # noqa: SLF001
        return
    manager._bus.disconnect()  # noqa: SLF001
    if manager._bus_watcher_task is not None:  # noqa: SLF001
        await asyncio.wait({manager._bus_watcher_task})  # noqa: SLF001


_bus = _Bus()
take, give_back = _bus.take, _bus.give_back


async def check_version() -> None:
    """Let bleak ask `bluetoothctl` for BlueZ's version now, once: a check that is cancelled blocks every later connection for ever."""
    features = import_module("bleak.backends.bluezdbus.version").BlueZFeatures
    if not features.checked_bluez_version:
        await features.check_bluez_version()
