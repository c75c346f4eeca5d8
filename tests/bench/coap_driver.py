"""The process that bench_coap.py measures: the CoAP driver, and nothing else of the hub."""

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import DriverContext
from agent.model import DeviceFound, Discovery, Report
from agent.secret_store import FileSecrets
from drivers.coap.driver import INFO
from drivers.coap.settings import CoapSettings

RESOURCES = 100


async def drive(addresses: list[str], folder: Path) -> None:
    """The driver's process: prints a line when all is observed, then one for each line that it reads."""
    settings = CoapSettings.model_validate({"addresses": [a for a in addresses if "?" not in a]})
    driver = INFO.open(DriverContext("coap", settings, folder, SystemClock(), FileSecrets(folder / "secrets")))
    found, reports, heard = set(), 0, asyncio.Event()

    def sink(event: Any) -> None:
        nonlocal reports
        reports += isinstance(event, Report)
        if isinstance(event, DeviceFound):
            found.add(event.device.id.key)
        heard.set()

    running = asyncio.create_task(driver.run(sink))
    await asyncio.sleep(0.1)
    for text in [a for a in addresses if "?" in a] or [""]:
        before = len(found)
        await driver.discover(Discovery("d1", "COAP", 60, text))
        while len(found) < (before + 1 if text else len(addresses)):
            heard.clear()
            await heard.wait()
    while reports < RESOURCES:
        heard.clear()
        await heard.wait()
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"reports": reports, "cpu": usage.ru_utime + usage.ru_stime}), flush=True)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(drive(sys.argv[2:], Path(sys.argv[1])))
