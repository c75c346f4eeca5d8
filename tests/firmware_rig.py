"""What tests of device firmware share, whatever the radio."""

from typing import Any

from agent.driver import UpdatesFirmware
from tests.conformance.driver_contract import Watched


def updater(watched: Watched) -> UpdatesFirmware:
    driver: Any = watched.driver
    return driver  # type: ignore[no-any-return]


def nobody(_done: int, _total: int) -> None:
    """Progress is not looked at."""
