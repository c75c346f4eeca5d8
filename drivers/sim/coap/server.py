"""Builds the simulated CoAP devices of one radio, and serves them on loopback with a control socket and a state file.

[radios.coap]
kind = "coap"
port = 15683                 # of the first device, the others follow; 0: free ports
max_age = 60                 # seconds that a value is good for

[[radios.coap.devices]]
name = "hall"
profile = "climate"

[[radios.coap.devices]]
name = "safe lamp"
profile = "light"
secret = "000102030405060708090a0b0c0d0e0f"       # OSCORE; psk and identity: DTLS
sender = "01"
recipient = "02"
lenient = false              # true: it answers in clear as well, as careless devices do
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import files
from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.coap.device import LOOPBACK, Device
from drivers.sim.coap.firmware import SPOILS
from drivers.sim.coap.group import Group
from drivers.sim.coap.profiles import PROFILES, fit
from drivers.sim.coap.updating import RUNS
from drivers.sim.control_socket import ControlSocket
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError, real, truth, whole

Json = dict[str, Any]

RADIO_KEYS = frozenset({"kind", "port", "devices", "max_age", "group_port"})
SECRETS = frozenset({"secret", "salt", "sender", "recipient", "context", "psk"})
DEVICE_KEYS = frozenset({"name", "profile", "count", "pairing", "identity", "lenient", *SECRETS})
OPERATIONS = ("set", "get", "power", "mute", "restart", "reorder", "replay", "spoof", "faults", "spoil")
SAVE_EVERY = 1.0  # seconds; a power cut of a simulated device may cost this much


async def start(
    name: str,
    spec: Mapping[str, Any],
    *,
    link: Path | None,
    state: Path | None,
    faults: str,
    seed: int,
    capture: Path | None = None,
) -> "Simulation":
    """The devices of `[radios.<name>]`; `link` names the control socket, `state` the file that they survive in. Raises ConfigError."""
    place = f"radios.{name}"
    home.known(spec, RADIO_KEYS, place)
    if capture is not None:
        raise ConfigError("CoAP is not captured here", place=place, remedy="tcpdump -i lo captures it as it is")
    first = int(home.number(spec, "port", 0, 0, 65000, place, whole=True))
    max_age = int(home.number(spec, "max_age", 60, 1, 86_400, place, whole=True))
    group = int(home.number(spec, "group_port", 0, 0, 65535, place, whole=True))
    made = [
        Device(
            entry.name,
            PROFILES[str(entry.values["profile"])],
            _security(entry.values, entry.place),
            pairing=home.truth(entry.values, "pairing", entry.place, default=True),
            faults=Faults.parse(faults, seed + number),
            max_age=max_age,
        )
        for number, entry in enumerate(home.entries(name, spec, PROFILES, DEVICE_KEYS))
    ]
    simulation = Simulation(made, link, state)
    try:
        await simulation.open(first, group)
    except OSError as error:
        await simulation.close()
        text = f"a port cannot be used: {error.strerror or error}"
        raise ConfigError(text, place=f"{place}.port", remedy="name another, or 0") from error
    return simulation


def _security(entry: Mapping[str, Any], place: str) -> Json:
    try:
        found: Json = {key: bytes.fromhex(entry[key]) for key in SECRETS if key in entry}
    except (TypeError, ValueError):
        raise ConfigError(
            "a key or id is not in hexadecimal digits", place=place, remedy='for example "0102"'
        ) from None
    if "psk" in found and "secret" in found:
        raise ConfigError("both psk and secret", place=place, remedy="psk is DTLS, secret is OSCORE: choose one")
    if "psk" in found:
        found["identity"] = home.text(entry, "identity", "hub", place)
    if "secret" in found:
        found = {"salt": b"", "sender": b"\x01", "recipient": b"\x02", "context": b"", **found}
        found["lenient"] = home.truth(entry, "lenient", place, default=False)
    return found


class Simulation:
    """All devices of one radio. `port` is what `agent simulate` prints: the address of each, with a blank between."""

    def __init__(self, made: list[Device], link: Path | None, state: Path | None) -> None:
        self.devices = {device.name: device for device in made}
        self.port = ""
        self._control = None if link is None else ControlSocket(link, self.control)
        self.control_path = None if self._control is None else self._control.path
        self._state = state
        self._saver: asyncio.TimerHandle | None = None
        self._saved = ""
        self._group: Group | None = None

    async def open(self, first: int, group_port: int) -> None:
        """Take up the saved state and listen. Raises OSError."""
        saved: Json = {}
        if self._state is not None and self._state.exists():
            saved = json.loads(self._state.read_text(encoding="utf-8"))
        for number, device in enumerate(self.devices.values()):
            self._load(device, saved.get(device.name, {}))
            kept = saved.get(device.name, {}).get("port", 0)
            await device.open(first + number if first else kept)
        for device in self.devices.values():
            if device.profile is PROFILES["directory"]:
                device.answers = lambda path: self._register() if path == "/rd-lookup/ep" else None
        if group_port:
            self._group = Group(list(self.devices.values()))
            await self._group.open(group_port)
        self.port = " ".join(
            f"{'coaps' if 'psk' in d.security else 'coap'}://{LOOPBACK}:{d.port}" for d in self.devices.values()
        )
        if self._control is not None:
            await self._control.open()
        self._save_later()

    def _register(self) -> bytes:
        """The endpoints of a resource directory (RFC 9176, 6.4)."""
        others = [d for d in self.devices.values() if d.profile is not PROFILES["directory"] and not d.security]
        return ",".join(
            f'</rd/{number}>;ep="{device.name.replace(" ", "-")}";base="coap://{LOOPBACK}:{device.port}"'
            for number, device in enumerate(others)
        ).encode()

    async def close(self) -> None:
        for device in self.devices.values():
            await device.close()
        if self._group is not None:
            self._group.close()
        if self._saver is not None:
            self._saver.cancel()
        if self._control is not None:
            self._control.close()
        self._save()

    # ---- control ------------------------------------------------------------------------------------------------------

    async def control(self, request: Json) -> Json:
        """One request of a test or a person. Raises ControlError, ConfigError."""
        op = str(request.get("op"))
        if op == "list":
            return {"devices": [self._describe(device) for device in self.devices.values()]}
        if op not in OPERATIONS:
            raise ControlError(f"no operation {op!r}; there are list, {', '.join(OPERATIONS)}")
        device = self._device(request)
        if op == "get":
            return {"value": device.resource(str(request.get("path"))).value}
        if op == "spoof":
            return {"sent": await device.spoof(str(request.get("value", "99")).encode())}
        self._perform(op, device, request)
        return {"ok": True}

    def _perform(self, op: str, device: Device, request: Json) -> None:
        if op == "set":
            path = str(request.get("path"))
            device.change(path, fit(device.resource(path), request.get("value")))
        elif op == "power":
            on = truth(request, "on", default=True)
            if on and not device.powered:
                device.restart()
            device.powered = on
        elif op == "mute":
            device.silent_until = asyncio.get_running_loop().time() + real(request, "seconds", 10.0)
        elif op == "restart":
            device.restart()
        elif op == "reorder":
            device.reorder(whole(request, "count", 2))
        elif op == "replay":
            device.replay()
        elif op == "spoil":
            self._spoil(device, str(request.get("kind")))
        else:
            device.faults = Faults.parse(str(request.get("spec", "")), whole(request, "seed", 1, 1 << 62))

    @staticmethod
    def _spoil(device: Device, kind: str) -> None:
        """What goes wrong with the next update: the blocks are forgotten, the package is damaged, the new firmware fails."""
        if device.firmware is None or kind not in SPOILS:
            raise ControlError(f"{device.name} takes no firmware, or {kind!r} is none of {', '.join(SPOILS)}")
        device.firmware.spoil.append(kind)

    def _device(self, request: Json) -> Device:
        found = self.devices.get(str(request.get("device")))
        if found is None:
            raise ControlError(f"no device {request.get('device')!r}; there are {', '.join(self.devices)}")
        return found

    @staticmethod
    def _describe(device: Device) -> Json:
        return {
            "name": device.name,
            "port": device.port,
            "protection": "dtls" if "psk" in device.security else "oscore" if "secret" in device.security else "",
            "powered": device.powered,
            "observers": device.observers,
            "clear": device.clear,
            "values": {path: resource.value for path, resource in device.resources.items()},
        }

    # ---- state --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _load(device: Device, saved: Json) -> None:
        for path, value in saved.get("values", {}).items():
            if path in device.resources and isinstance(value, type(device.resources[path].value)):
                device.resources[path].value = value
        if device.firmware is not None:
            device.firmware.version = str(device.resources[RUNS].value)
        device.number = saved.get("number", 0)
        device.powered = saved.get("powered", device.powered)
        if saved:
            device.was_on()

    def _save_later(self) -> None:
        self._save()
        self._saver = asyncio.get_running_loop().call_later(SAVE_EVERY, self._save_later)

    def _save(self) -> None:
        if self._state is None:
            return
        text = json.dumps(
            {
                device.name: {
                    "port": device.port,
                    "number": device.number,
                    "powered": device.powered,
                    "values": {p: r.value for p, r in device.resources.items() if r.writable},
                }
                for device in self.devices.values()
            }
        )
        if text != self._saved:
            self._saved = text
            files.write_atomic(self._state, text.encode())


__all__ = ["Simulation", "start"]
