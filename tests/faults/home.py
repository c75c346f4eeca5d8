"""The simulated home of the storm, in a process of its own (`agent simulate`), and what its devices should look like from the cloud."""

import asyncio
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked

HOME = """
[radios.zigbee]
kind = "zigbee"
stick = "ezsp"
ieee = "00:12:4b:00:00:00:ff:01"
devices = [
  { name = "bulb", profile = "color-bulb" },
  { name = "plug", profile = "plug" },
  { name = "strip", profile = "led-strip" },
  { name = "dimmer", profile = "dimmable-bulb" },
  { name = "climate", profile = "climate", count = 6 },
  { name = "contact", profile = "contact" },
  { name = "remote", profile = "remote" },
]
"""
CLIMATES = tuple(f"climate {number}" for number in range(1, 7))
SWITCHED = ("bulb", "plug", "strip", "dimmer")
DIMMED = ("bulb", "strip", "dimmer")
DEVICES = (*SWITCHED, *CLIMATES, "contact", "remote")

CORRUPTION = "corrupt=0.01,lost=0.005,dup=0.005"
STICKS = "zigbee*"  # the names that the stick's port takes, one after the other

Property = tuple[str, str]  # capability without its version, property
TEMPERATURE: Property = ("matter.TemperatureMeasurement", "MeasuredValue")
ON_OFF: Property = ("matter.OnOff", "OnOff")
WATCHED: dict[str, tuple[Property, Callable[[Any], Any]]] = {  # simulated attribute -> property, and its value
    "1/0x0402/0x0000": (TEMPERATURE, lambda raw: raw),
    "1/0x0006/0x0000": (ON_OFF, lambda raw: raw),
    "1/0x0405/0x0000": (("matter.RelativeHumidityMeasurement", "MeasuredValue"), lambda raw: raw),
    "1/0x0001/0x0021": (("matter.PowerSource", "BatPercentRemaining"), lambda raw: raw),
    "1/0x0008/0x0000": (("matter.LevelControl", "CurrentLevel"), lambda raw: raw),
    "1/0x0b04/0x050b": (("matter.ElectricalPowerMeasurement", "ActivePower"), lambda raw: raw * 100),
    "1/0x0500/0x0002": (("matter.BooleanState", "StateValue"), lambda raw: not raw & 1),
}


class SimulatedHome:
    """One `agent simulate`; its stick is a link in `<folder>/links`."""

    def __init__(self, folder: Path, seed: int) -> None:
        path = folder / "home.toml"
        path.write_text(HOME)
        command = [sys.executable, "-m", "agent.cli", "simulate", str(path), "--links", str(folder / "links")]
        self._process = forked.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._control = json.loads(self._process.stdout.readline())["control"]

    @staticmethod
    def spec() -> dict[str, Any]:
        """The home as the rig counts it: one entry for each device."""
        radio: dict[str, Any] = tomllib.loads(HOME)["radios"]["zigbee"]
        devices = [device for device in radio["devices"] for _ in range(device.get("count", 1))]
        return {**radio, "devices": devices}

    async def control(self, op: str, **request: Any) -> dict[str, Any]:
        """One request to the stick or its devices (drivers/sim/zigbee/control.py)."""
        reader, writer = await asyncio.open_unix_connection(self._control)
        try:
            writer.write(json.dumps({"op": op, **request}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
        finally:
            writer.close()
            await writer.wait_closed()
        assert "error" not in answer, answer["error"]
        return answer

    async def truth(self) -> dict[tuple[str, Property], Any]:
        """(device, property) -> what the device is."""
        return {
            (node["name"], told): translate(node["state"][attribute])
            for node in (await self.control("list"))["devices"]
            for attribute, (told, translate) in WATCHED.items()
            if attribute in node["state"]
        }

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
