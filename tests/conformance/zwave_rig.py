"""The Z-Wave driver on the mock server of zwave-js, as the tests of the driver use it. See driver_contract.Rig."""

from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import Driver, DriverContext
from agent.model import Action
from agent.secret_store import FileSecrets
from drivers.zwave.driver import INFO
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.zwave_mock import Mock

ON_OFF = "matter.OnOff@1.4"


class ZwaveRig:
    """One mock controller; node 7, a plug with S2, joins."""

    radio = "zwave"
    kind = "ZWAVE"
    key = "7"
    good = Action("0", ON_OFF, "On")
    proof = ("0", ON_OFF, "OnOff", True)
    bad = Action("0", ON_OFF, "OnWithTimedOff", {"OnOffControl": 0, "OnTime": "long", "OffWaitTime": 0})

    def __init__(self, folder: Path, mock: Mock, **settings: Any) -> None:
        self.mock = mock
        self.state_dir = folder / "state"
        self.secrets = FileSecrets(self.state_dir / "secrets")
        self.settings = {"port": mock.port, **settings}

    def driver(self) -> Driver:
        settings = ZwaveSettings.model_validate(self.settings)
        return INFO.open(DriverContext(self.radio, settings, self.state_dir, SystemClock(), self.secrets))

    async def join(self, **more: Any) -> None:
        node = {
            "id": 7,
            "txDelay": 1,
            "classes": [["Binary Switch", 2, {"secure": True}], ["Supervision", 1, {}], ["Security 2", 1, {}]],
            "security": ["S2_Unauthenticated"],
            **more,
        }
        await self.mock("pending", **node)
        await self.mock("leave", node=node["id"])  # as soon as it is asked to

    async def change(self) -> tuple[str, str, str, Any]:
        await self.mock("secure", node=7, hex="250300")
        return ("0", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.mock("sleep", node=7, on=silent)

    async def unplug(self) -> None:
        await self.mock("unplug")

    async def plug(self) -> None:
        await self.mock("plug")
