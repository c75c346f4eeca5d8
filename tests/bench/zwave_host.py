"""Our Z-Wave driver alone as a host that is measured:  python zwave_host.py PORT FOLDER

Events are JSON lines on stdout, requests on stdin; the counterpart of tests/conformance/zwavejs/bench.cjs.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import DriverContext
from agent.model import Action, Command, DeviceFound, DeviceId, DeviceJoining, DriverEvent, RadioUp, Report
from agent.secret_store import FileSecrets
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.settings import ZwaveSettings

RADIO, ON_OFF, TEMPERATURE = "zwave", "matter.OnOff@1.4", "matter.TemperatureMeasurement@1.4"
KEYS = {
    "s0_key": "09" * 16,
    "s2_unauthenticated_key": "11" * 16,
    "s2_authenticated_key": "22" * 16,
    "s2_access_control_key": "33" * 16,
}


class Host:
    """One driver, and who waits for what it says."""

    def __init__(self, port: str, folder: Path) -> None:
        settings = ZwaveSettings.model_validate({"port": port, **KEYS})
        self._clock = SystemClock()
        self._driver = ZwaveDriver(DriverContext(RADIO, settings, folder, self._clock, FileSecrets(folder / "secrets")))
        self._reports = 0
        self._wanted: tuple[str, bool] | None = None
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        running = asyncio.create_task(self._driver.run(self._sink))
        async for line in reader:
            request: dict[str, Any] = json.loads(line)
            result = self._reports if request["op"] == "reports" else await self._sets(**request)
            say(event="answer", result=result)
        running.cancel()

    def _sink(self, event: DriverEvent) -> None:
        match event:
            case Report(capability=capability):
                self._reports += capability == TEMPERATURE
                if self._wanted == (event.id.key, event.properties.get("OnOff")):
                    self._arrived.set()
            case RadioUp():
                say(event="ready")
            case DeviceFound(device, known):
                say(event="known" if known else "interviewed", node=int(device.id.key))
            case DeviceJoining(stage="failed"):
                say(event="failed", node=int(event.id.key), reason=event.detail)

    async def _sets(self, op: str, node: int, count: int) -> list[float]:
        times = []
        for number in range(count):
            name, value = ("Off", False) if number % 2 else ("On", True)
            begin = time.perf_counter()
            self._wanted = (str(node), value)
            self._arrived.clear()
            deadline = self._clock.now().mono + 10
            outcome = await self._driver.execute(
                Command(f"{op}-{number}", DeviceId(RADIO, str(node)), (Action("0", ON_OFF, name),), deadline)
            )
            if not outcome.succeeded:
                raise RuntimeError(outcome.results)
            await self._arrived.wait()
            times.append(time.perf_counter() - begin)
        return times


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(Host(sys.argv[1], Path(sys.argv[2])).run())
