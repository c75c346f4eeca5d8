"""zigpy and bellows without a hub: counts attribute reports from the network that a stick already has. Part of bench_hub.

With a folder of certificates and a port it is the least bridge that one could write (part of bench_latency): it also publishes each
report at QoS 1 through paho with its own thread.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import zigpy.config
from bare_paho import connected_client, message
from bellows.zigbee.application import ControllerApplication

TEMPERATURE = 0x0402
NETWORK = {"backup_enabled": False, "topology_scan_enabled": False, "ota": {"enabled": False}}


class Counter:
    def __init__(self, count: int, publish: Callable[[int], None]) -> None:
        self.left, self._publish = count, publish
        self.times: list[float] = []
        self.done = asyncio.Event()

    def reported(self, _event: Any) -> None:
        self._publish(len(self.times))
        self.times.append(time.monotonic())
        self.left -= 1
        if not self.left:
            self.done.set()


def publisher(folder: str, port: int, first: int) -> Callable[[int], None]:
    client = connected_client(folder, port)

    def publish(number: int) -> None:
        client.publish("bare", message(first + number), qos=1)

    return publish


async def main(port: str, database: str, count: int, publish: Callable[[int], None]) -> None:
    config = {zigpy.config.CONF_DEVICE: {"path": port}, "database_path": database, **NETWORK, "use_thread": False}
    app = await ControllerApplication.new(config, auto_form=False)
    counter = Counter(count, publish)
    for device in app.devices.values():
        for endpoint in device.non_zdo_endpoints:
            if TEMPERATURE in endpoint.in_clusters:
                endpoint.in_clusters[TEMPERATURE].on_event("attribute_report", counter.reported)
    print("listening", flush=True)
    await counter.done.wait()
    print(json.dumps(counter.times), flush=True)
    await app.shutdown()


port, database, count, *broker = sys.argv[1:]
publish = publisher(broker[0], int(broker[1]), int(broker[2])) if broker else lambda _number: None
asyncio.run(main(port, database, int(count), publish))
