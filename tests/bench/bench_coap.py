"""What 100 observed CoAP resources cost: of one device and of 100 devices, when nothing happens and at 200 notifications a second.

The simulated devices and the driver are processes of their own; the driver's CPU time and memory are those of Python with nothing but it.
The OSCORE devices share one key, as no real ones may.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rig import figure, rss_mb

RESOURCES, RATE, SECONDS, IDLE = 100, 200, 10.0, 10.0
HOMES = {
    "one device": '[radios.coap]\nkind = "coap"\n[[radios.coap.devices]]\nname = "big"\nprofile = "big"\n',
    "100 devices": f'[radios.coap]\nkind = "coap"\n[[radios.coap.devices]]\nname = "shed"\nprofile = "shed"\ncount = {RESOURCES}\n',
    "100 devices, OSCORE": f'[radios.coap]\nkind = "coap"\n[[radios.coap.devices]]\nname = "shed"\nprofile = "shed"\ncount = {RESOURCES}\n'
    'secret = "000102030405060708090a0b0c0d0e0f"\n',
}


def change(control: Path, names: list[tuple[str, str]]) -> None:
    """RATE changes a second for SECONDS, in turn."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(control))
        file = made.makefile("rw")
        begin = time.monotonic()
        for number in range(int(RATE * SECONDS)):
            name, path = names[number % len(names)]
            request = {"op": "set", "device": name, "path": path, "value": 20 + number % 7}
            file.write(json.dumps(request) + "\n")
            file.flush()
            file.readline()
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))


def measure(name: str, folder: Path) -> None:
    home = folder / "home.toml"
    home.write_text(HOMES[name])
    simulate = [sys.executable, "-m", "agent.cli", "simulate", str(home), "--links", str(folder)]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE, text=True) as simulation:
        assert simulation.stdout is not None
        told = json.loads(simulation.stdout.readline())
        addresses = told["port"].replace("coap://", "").split()
        if "OSCORE" in name:
            keys = "secret=000102030405060708090a0b0c0d0e0f&sender=01&recipient=02"
            addresses = [f"coap://{address}?{keys}" for address in addresses]
        driver = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("coap_driver.py")), str(folder / "state"), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdin is not None
        assert driver.stdout is not None

        def ask() -> dict[str, float]:
            driver.stdin.write("\n")
            driver.stdin.flush()
            return dict(json.loads(driver.stdout.readline()))

        begin = time.monotonic()
        driver.stdout.readline()
        joined = time.monotonic() - begin
        first = ask()
        time.sleep(IDLE)
        idle = ask()
        pairs = [("big", f"/3303/{at}/5700") for at in range(RESOURCES)]
        if name != "one device":
            pairs = [(f"shed {at + 1}", "/sensors/air") for at in range(RESOURCES)]
        change(Path(told["control"]), pairs)
        time.sleep(0.5)
        busy = ask()
        figure(
            "CoAP",
            devices=name,
            joined_s=joined,
            rss_mb=rss_mb(driver.pid),
            idle_cpu_percent=(idle["cpu"] - first["cpu"]) / IDLE * 100,
            notifications=busy["reports"] - idle["reports"],
            sent=int(RATE * SECONDS),
            busy_cpu_percent=(busy["cpu"] - idle["cpu"]) / SECONDS * 100,
            ms_each=(busy["cpu"] - idle["cpu"]) / max(1, busy["reports"] - idle["reports"]) * 1000,
        )
        driver.terminate()
        driver.wait()
        simulation.terminate()


def main() -> None:
    for name in HOMES:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder))


if __name__ == "__main__":
    main()
