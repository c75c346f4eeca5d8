"""What a node does with each command: one table of all behaviours. PURE."""

from drivers.sim.zwave import (
    behave_access,
    behave_climate,
    behave_firmware,
    behave_management,
    behave_sensors,
    behave_switches,
)
from drivers.sim.zwave.place import Behaviour

BEHAVIOURS: dict[str, Behaviour] = {
    **behave_switches.BEHAVIOURS,
    **behave_sensors.BEHAVIOURS,
    **behave_access.BEHAVIOURS,
    **behave_climate.BEHAVIOURS,
    **behave_management.BEHAVIOURS,
    **behave_firmware.BEHAVIOURS,
}
