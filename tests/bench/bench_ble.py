"""Bluetooth: from an advertisement to the broker's PUBACK, and what a flood of strangers costs.

The daemon, bleak, a dbus-daemon and the simulated BlueZ are processes of their own. The time of an advert is that at which the simulated
controller heard it; a relay between hub and broker sees each PUBLISH and its PUBACK. All on one machine, so the clock is the same.
"""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rig import AGENT, House, cpu, disk, figure, median, percentile, rss_mb, scratch, wait_for

ROUNDS = 3
RATE, COUNT, DEVICES = 100, 1000, 10
FLOOD_RATE, FLOOD_SECONDS, STRANGERS = 1000, 5, 1000
HOME = """
[radios.ble]
kind = "ble"
[[radios.ble.devices]]
name = "sensor"
profile = "bthome-thermometer"
interval = 60
count = {devices}
"""
CONFIG = """
[hub]
id = "hub-1"
state_dir = "{state}"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
tls = false
publishes_per_second = 0
[radios.ble]
kind = "ble"
bus = "unix:path={folder}/ble"
report_interval = 0
"""
PUBLISH, PUBACK = 3, 4


class Relay:
    """Between the hub and the broker: when which report was acknowledged."""

    def __init__(self, broker: int) -> None:
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.acknowledged: dict[tuple[str, float], float] = {}
        self._open: dict[int, list[tuple[str, float]]] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                hub, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self._broker))
            for one in (hub, broker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(hub, broker, self._published), daemon=True).start()
            threading.Thread(target=self._pass, args=(broker, hub, self._puback), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, look: Any) -> None:
        buffer = b""
        while True:
            try:
                data = source.recv(65536)
                buffer += data
                for packet, body, rest in _packets(buffer):  # before it goes on: its PUBACK is quick
                    look(packet, body)
                    buffer = rest
                sink.sendall(data)
            except OSError:
                data = b""
            if not data:
                sink.close()
                return

    def _published(self, packet: int, body: bytes) -> None:
        if packet >> 4 != PUBLISH or not packet & 0x06:
            return
        at = 2 + int.from_bytes(body[:2], "big")
        number = int.from_bytes(body[at : at + 2], "big")
        start = body.find(b'{"', at)  # behind the properties
        message = json.loads(body[start:]) if start > 0 else {}
        if message.get("messageType") == "DEVICE_STATE":
            self._open[number] = list(_temperatures(message))

    def _puback(self, packet: int, body: bytes) -> None:
        if packet >> 4 == PUBACK:
            for report in self._open.pop(int.from_bytes(body[:2], "big"), []):
                self.acknowledged.setdefault(report, time.monotonic())

    def close(self) -> None:
        self._listener.close()


def _packets(buffer: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Whole MQTT packets: first octet, the rest of it, and what follows."""
    while len(buffer) > 1:
        size, shift, at = 0, 0, 1
        while at < len(buffer):
            size |= (buffer[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not buffer[at - 1] & 0x80:
                break
        else:
            return
        if len(buffer) < at + size:
            return
        packet, body, buffer = buffer[0], buffer[at : at + size], buffer[at + size :]
        yield packet, body, buffer


def _temperatures(message: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for endpoint in message["payload"]["addedStates"]["endpoints"]:
        for capability in endpoint["capabilities"]:
            if capability["id"].startswith("matter.Temperature"):
                value = float(capability["properties"][0]["value"]["propertyValue"])
                yield message["managedThingId"], value


class BleHouse(House):
    """Broker, relay, simulated BlueZ and daemon."""

    def __init__(self, folder: Path, state: Path) -> None:
        super().__init__(folder, DEVICES, state=state)
        self.relay = Relay(self.plain)
        self.config.write_text(CONFIG.format(folder=folder, state=state, port=self.relay.port))
        (folder / "home.toml").write_text(HOME.format(devices=DEVICES))

    def join(self) -> int:
        """Its window has closed when this returns: the end of one changes the scan."""
        command = [*AGENT, "discover", "ble", "--duration", "5", "-c", str(self.config)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as window:
            wait_for(self._all_in, 30, "all devices")
            window.wait(60)
        return len(self.client.get("devices"))

    def _all_in(self) -> bool:
        for device in self.control(op="list")["devices"]:
            self.control(op="pair", device=device["address"])
        return len(self.client.get("devices")) >= DEVICES

    def close(self) -> None:
        super().close()
        self.relay.close()


@contextmanager
def ble_house() -> Iterator[BleHouse]:
    with scratch() as folder, disk() as state:
        place = BleHouse(folder, state)
        try:
            place.start_broker()
            place.start_home()
            place.start_hub()
            place.join()
            yield place
        finally:
            place.close()


def latency(place: BleHouse, turn: int) -> dict[str, float]:
    order = [device["address"] for device in place.control(op="list")["devices"]]
    things = {d["address"]: d["managedThingId"] for d in place.client.get("devices")}
    place.relay.acknowledged.clear()
    first, before = 1000 + turn * 200, cpu(place.pid)
    begin = time.monotonic()
    place.control(op="load", rate=RATE, count=COUNT, first=first)
    wanted = [(things[order[n % DEVICES]], float(first + n // DEVICES)) for n in range(COUNT)]
    wait_for(lambda: all(one in place.relay.acknowledged for one in wanted), 60, "all PUBACKs")
    sent = place.control(op="sent")["times"]
    times = [place.relay.acknowledged[one] - at for one, at in zip(wanted, sent, strict=True)]
    share = (cpu(place.pid) - before) / (time.monotonic() - begin)
    return {"p50_ms": percentile(times, 0.5) * 1e3, "p99_ms": percentile(times, 0.99) * 1e3, "cpu_share": share}


def flood(place: BleHouse) -> dict[str, float]:
    """What strangers cost the hub, who wants none of them."""
    begin, before = time.monotonic(), cpu(place.pid)
    heard = place.control(op="truth")["adverts"]
    place.control(op="flood", rate=FLOOD_RATE, seconds=FLOOD_SECONDS, addresses=STRANGERS)
    total = heard + FLOOD_RATE * FLOOD_SECONDS
    wait_for(lambda: place.control(op="truth")["adverts"] >= total, 60, "the flood")
    taken = time.monotonic() - begin
    time.sleep(1.0)  # what is still on its way to the hub belongs to it
    used = cpu(place.pid) - before
    return {"adverts_per_s": FLOOD_RATE * FLOOD_SECONDS / taken, "cpu_share": used / taken, "rss_mb": rss_mb(place.pid)}


def main() -> None:
    with ble_house() as place:
        latency(place, 0)
        rounds = [latency(place, turn) for turn in range(1, ROUNDS + 1)]
        figure("advert to PUBACK", rate=RATE, **{name: median([r[name] for r in rounds]) for name in rounds[0]})
        idle = rss_mb(place.pid)
        floods = [flood(place) for _ in range(4)]
        figure(
            "advert flood",
            strangers=STRANGERS,
            adverts_per_s=median([f["adverts_per_s"] for f in floods]),
            cpu_share=median([f["cpu_share"] for f in floods]),
            rss_before_mb=idle,
            rss_first_mb=floods[0]["rss_mb"],
            rss_last_mb=floods[-1]["rss_mb"],
        )


if __name__ == "__main__":
    main()
