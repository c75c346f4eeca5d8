"""Updates of the BLE devices behind this hub as nRF Cloud's firmware jobs (protocol notes, sections 3.3 and 5.6).

As the hub's own jobs, but for three things: a job is for the one device that it names, so that nothing else of the release that lies beside
its file is installed; what is in progress is told in percent of the transfer; and jobs are asked for when a device comes into reach. One is
carried out at a time, over all devices: what is offered meanwhile is passed over and asked for afterwards. The release beside a job's file
holds the image of that device alone.
"""

from collections.abc import Callable

from agent.cloud.nrf_ble_wire import BleWire
from agent.model import Availability, AvailabilityChanged, DeviceFound, DriverEvent
from agent.ota.engine import Engine
from agent.ota.plan import State, Task, device_of
from agent.ota.sources.nrf_fota import STEP, NrfFota
from agent.wire.nrf import FotaStatus

NAME = "{uplink}:ble"  # of the source
_AFTER = frozenset({State.TRIAL, State.CONFIRMED})


class NrfBleFota(NrfFota):
    """One uplink's. `is_ble` tells whether a radio is one for Bluetooth."""

    taker = "a BLE device of this hub"

    def __init__(
        self, uplink: str, wire: BleWire, engine: Engine, now: Callable[[], float], is_ble: Callable[[str], bool]
    ) -> None:
        super().__init__(NAME.format(uplink=uplink), wire, engine, now)
        self._ble, self._is_ble = wire, is_ble
        self._percent: dict[str, int] = {}  # key -> how far it was told to be

    def heard(self, event: DriverEvent) -> None:
        """What drivers say: a device that comes into reach may have a job."""
        match event:
            case DeviceFound(device=device):
                self._arrived(device.id.radio, device.id.key)
            case AvailabilityChanged(id=one, availability=Availability.ONLINE):
                self._arrived(one.radio, one.key)

    def _arrived(self, radio: str, key: str) -> None:
        if self._is_ble(radio):
            self.connected(key)

    # ---- what a gateway of BLE devices calls ------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        """A device is connected and discovered: its job may be asked for."""
        self._ble.arrived(address)
        self._ask_at = self._now()
        self._attention.set()

    def updates(self, address: str) -> bool:
        """Whether the device is being given firmware now."""
        return any(task.state == State.ACTIVATING and device_of(task) == address for task in self._open())

    # ---- what is told -----------------------------------------------------------------------------------------------

    def ending(self, task: Task) -> str:
        """Nothing, where all is well."""
        self._percent.pop(task.key, None)
        return "" if task.state == State.SUCCEEDED else super().ending(task)

    def detail(self, task: Task) -> int | None:
        """Percent of the transfer, in steps, and only forward."""
        percent, last = 100 if task.state in _AFTER else 0, self._percent.get(task.key, -STEP)
        if task.state == State.ACTIVATING:
            percent = task.percent
        if percent < min(last + STEP, 100) or percent == last:
            return None
        self._percent[task.key] = percent
        return percent

    async def _progress(self, task: Task, *, again: bool = False) -> bool:
        """As it is told of the hub, and how far a transfer is beside."""
        before = self._told.get(task.key)
        if before is None or before[1] != State.ACTIVATING or task.state != State.ACTIVATING:
            return await super()._progress(task, again=again)
        percent = self.detail(task)
        return percent is None or await self._wire.say(task.job, FotaStatus.IN_PROGRESS, percent)
