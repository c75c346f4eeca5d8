"""zigpy and bellows without a hub: counts attribute reports from the network that a stick already has. Part of bench_hub."""

import asyncio
import json
import sys
import time
from typing import Any

import zigpy.config
from bellows.zigbee.application import ControllerApplication

TEMPERATURE = 0x0402
NETWORK = {"backup_enabled": False, "topology_scan_enabled": False, "ota": {"enabled": False}}


class Counter:
    def __init__(self, count: int) -> None:
        self.left = count
        self.times: list[float] = []
        self.done = asyncio.Event()

    def reported(self, _event: Any) -> None:
        self.times.append(time.monotonic())
        self.left -= 1
        if not self.left:
            self.done.set()


async def main(port: str, database: str, count: int) -> None:
    config = {zigpy.config.CONF_DEVICE: {"path": port}, "database_path": database, **NETWORK, "use_thread": False}
    app = await ControllerApplication.new(config, auto_form=False)
    counter = Counter(count)
    for device in app.devices.values():
        for endpoint in device.non_zdo_endpoints:
            if TEMPERATURE in endpoint.in_clusters:
                endpoint.in_clusters[TEMPERATURE].on_event("attribute_report", counter.reported)
    print("listening", flush=True)
    await counter.done.wait()
    print(json.dumps(counter.times), flush=True)
    await app.shutdown()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
