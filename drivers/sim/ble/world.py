"""A simulated BlueZ: adapters, the devices that they heard, connections and GATT, as its D-Bus API shows them. PURE.

Source: BlueZ's doc/org.bluez.*.rst. Calls come in by `call`, time by `poll`; what is to be said on the bus waits in `tree.out`.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from drivers.sim.ble.adapter import Adapter, Pattern
from drivers.sim.ble.objects import ADAPTER, AGENTS, DEVICE, MONITORS, Answer, Call, Property, Refusal, Tree
from drivers.sim.ble.payloads import Payload
from drivers.sim.ble.peripheral import Peripheral

Timer = Callable[[float], None]
SWEEP = 1.0  # seconds between two looks at devices that were not heard for long


class World:
    """`temporary`: seconds until BlueZ forgets a device that it neither hears nor knows; `latency`: of each step of a connection."""

    def __init__(
        self, adapters: list[Adapter], *, seed: int = 1, temporary: float = 30.0, latency: float = 0.01
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311  replays a run
        self.tree = Tree()
        self.adapters = {adapter.name: adapter for adapter in adapters}
        self.peripherals: dict[str, Peripheral] = {}  # by address
        self.temporary, self.latency = temporary, latency
        self.lost: Callable[[], int] = lambda: 1  # how often an advertisement arrives
        self.overheard: Callable[[str, Payload], None] = lambda _address, _payload: None
        self.agent: tuple[str, str] | None = None  # client and path of the default agent
        self.gatt: Callable[[Call, float], bool] = lambda _call, _now: False
        self.drop: Callable[[str, float], None] = lambda _path, _now: None
        self.heard_at: dict[str, float] = {}  # device's path -> when
        self.adverts = 0  # that somebody heard
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        for adapter in adapters:
            self.show(adapter)

    # ---- time -------------------------------------------------------------------------------------------------------

    def at(self, when: float, act: Timer) -> None:
        heapq.heappush(self._timers, (when, next(self._order), act))

    def next_deadline(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def poll(self, now: float) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now:
            when, _, act = heapq.heappop(self._timers)
            act(max(when, now - 1.0))  # after a long sleep of the machine nothing is made up for

    def start(self, now: float) -> None:
        """Peripherals begin to speak."""
        for peripheral in self.peripherals.values():
            self.at(now + self.rng.uniform(0, peripheral.interval), partial(self._advertise, peripheral))
        self.at(now + SWEEP, self._sweep)

    # ---- adapters ---------------------------------------------------------------------------------------------------

    def show(self, adapter: Adapter) -> None:
        """The adapter's object, and those of the devices that it is bonded with."""
        facts: dict[str, Property] = {
            "Address": ("s", adapter.address),
            "AddressType": ("s", "public"),
            "Name": ("s", "simulated"),
            "Alias": ("s", "simulated"),
            "Class": ("u", 0),
            "Powered": ("b", adapter.powered),
            "Discoverable": ("b", False),
            "Pairable": ("b", True),
            "Discovering": ("b", False),
            "UUIDs": ("as", []),
            "Modalias": ("s", "usb:v1D6Bp0246d0542"),
            "Roles": ("as", ["central", "peripheral"]),
        }
        interfaces = {ADAPTER: facts}
        if adapter.passive:
            interfaces[MONITORS] = {
                "SupportedMonitorTypes": ("as", ["or_patterns"]),
                "SupportedFeatures": ("as", []),
            }
        self.tree.add("/org/bluez", {AGENTS: {}})
        self.tree.add(adapter.path, interfaces)
        for peripheral in self.peripherals.values():
            if peripheral.bonded:
                self._appear(adapter, peripheral.address, Payload(peripheral.name), None)

    def hide(self, adapter: Adapter, now: float) -> None:
        """It was unplugged."""
        for path in self.devices(adapter):
            self.drop(path, now)
        self.tree.remove(adapter.path)
        adapter.quiet()

    def power(self, adapter: Adapter, now: float, *, on: bool) -> None:
        if adapter.powered is on:
            return
        adapter.powered = on
        if not on:
            for path in self.devices(adapter):
                self.drop(path, now)
            adapter.quiet()
            adapter.mute = "" if adapter.mute in ("scan", "power") else adapter.mute
        self.tree.change(adapter.path, ADAPTER, {"Powered": ("b", on)})

    def crash(self) -> None:
        """The end of bluetoothd, without a word: nothing is connected, and only bonds are remembered."""
        self.tree.objects.clear()
        self.tree.out.clear()
        self.heard_at.clear()
        self.agent = None
        for adapter in self.adapters.values():
            adapter.quiet()

    def back(self) -> None:
        """Start bluetoothd."""
        for adapter in self.adapters.values():
            if adapter.present:
                self.show(adapter)

    def client_gone(self, client: str) -> None:
        for adapter in self.adapters.values():
            adapter.forget(client)
        if self.agent is not None and self.agent[0] == client:
            self.agent = None

    # ---- the air ----------------------------------------------------------------------------------------------------

    def devices(self, adapter: Adapter) -> list[str]:
        prefix = f"{adapter.path}/dev_"
        return [path for path in self.tree.objects if path.startswith(prefix) and path.count("/") == 4]  # noqa: PLR2004

    def connected(self, address: str) -> list[str]:
        """Paths of a device on the adapters that it is connected to."""
        paths = (f"{adapter.path}/dev_{address.replace(':', '_')}" for adapter in self.adapters.values())
        return [path for path in paths if self.tree.value(path, DEVICE, "Connected")]

    def _advertise(self, peripheral: Peripheral, now: float) -> None:
        jitter = self.rng.uniform(0.0, min(0.01, peripheral.interval / 4))  # advDelay of the Core Specification
        self.at(now + peripheral.interval + jitter, partial(self._advertise, peripheral))
        self.say(peripheral, now)

    def say(self, peripheral: Peripheral, now: float) -> None:
        """One advertisement, unless it is off, hidden or connected."""
        if peripheral.powered and peripheral.pairing and not self.connected(peripheral.address):
            self.air(peripheral.address, peripheral.payload(), peripheral.rssi + self.rng.randint(-2, 2), now)

    def air(self, address: str, payload: Payload, rssi: int, now: float) -> None:
        """An advertisement of anybody."""
        self.overheard(address, payload)
        for adapter in self.adapters.values():
            for _ in range(self.lost() if adapter.hears(payload, rssi) else 0):
                self.adverts += 1
                self._hear(adapter, address, payload, rssi, now)

    def _hear(self, adapter: Adapter, address: str, payload: Payload, rssi: int, now: float) -> None:
        path = f"{adapter.path}/dev_{address.replace(':', '_')}"
        self.heard_at[path] = now
        known = self.tree.objects.get(path)
        if known is None:
            self._appear(adapter, address, payload, rssi)
            return
        facts = known[DEVICE]
        changed: dict[str, Property] = {"RSSI": ("n", rssi)}
        for name, held in (("ManufacturerData", payload.manufacturer), ("ServiceData", payload.service_data)):
            before = facts.get(name, ("", {}))[1]
            merged = {**before, **{key: ("ay", data) for key, data in held.items()}}
            if merged != before:
                changed[name] = ("a{qv}" if name == "ManufacturerData" else "a{sv}", merged)
        if payload.name and "Name" not in facts:
            changed |= {"Name": ("s", payload.name), "Alias": ("s", payload.name)}
        self.tree.change(path, DEVICE, changed)

    def _appear(self, adapter: Adapter, address: str, payload: Payload, rssi: int | None) -> None:
        peripheral = self.peripherals.get(address)
        bonded = peripheral is not None and peripheral.bonded
        facts: dict[str, Property] = {
            "Address": ("s", address),
            "AddressType": ("s", "random" if int(address[:2], 16) >= 0xC0 else "public"),  # noqa: PLR2004  static random
            "Alias": ("s", payload.name or address.replace(":", "-")),
            "Adapter": ("o", adapter.path),
            "Paired": ("b", bonded),
            "Bonded": ("b", bonded),
            "Trusted": ("b", bonded),
            "Blocked": ("b", False),
            "LegacyPairing": ("b", False),
            "Connected": ("b", False),
            "ServicesResolved": ("b", False),
            "UUIDs": ("as", list(payload.services)),
        }
        if rssi is not None:
            facts["RSSI"] = ("n", rssi)
        if payload.name:
            facts["Name"] = ("s", payload.name)
        if payload.manufacturer:
            facts["ManufacturerData"] = ("a{qv}", {key: ("ay", data) for key, data in payload.manufacturer.items()})
        if payload.service_data:
            facts["ServiceData"] = ("a{sv}", {key: ("ay", data) for key, data in payload.service_data.items()})
        path = f"{adapter.path}/dev_{address.replace(':', '_')}"
        self.heard_at.setdefault(path, 0.0)
        self.tree.add(path, {DEVICE: facts})

    def _sweep(self, now: float) -> None:
        self.at(now + SWEEP, self._sweep)
        old = [path for path, at in self.heard_at.items() if now - at >= self.temporary]
        for path in old:
            facts = self.tree.objects.get(path, {}).get(DEVICE)
            if facts is None or not (facts["Connected"][1] or facts["Paired"][1]):
                del self.heard_at[path]
                self.tree.remove(path)

    # ---- calls ------------------------------------------------------------------------------------------------------

    def call(self, call: Call, now: float) -> None:
        """Answer a method call, now or later."""
        if call.path not in self.tree.objects:
            text = f'Method "{call.member}" with signature on interface "{call.interface}" doesn\'t exist'
            self.tree.out.append(Refusal(call.token, "org.freedesktop.DBus.Error.UnknownObject", text))
            return
        known = _CALLS.get((call.interface, call.member))
        offered = call.interface in self.tree.objects[call.path] or call.interface.startswith("org.freedesktop.")
        if known is not None and offered:
            known(self, call, now)
        elif not offered or not self.gatt(call, now):
            text = f'Method "{call.member}" on interface "{call.interface}" doesn\'t exist'
            self.tree.out.append(Refusal(call.token, "org.freedesktop.DBus.Error.UnknownMethod", text))

    def answer(self, call: Call, signature: str = "", *body: Any) -> None:
        self.tree.out.append(Answer(call.token, signature, body))

    def refuse(self, call: Call, name: str, text: str = "") -> None:
        self.tree.out.append(Refusal(call.token, name, text))

    def adapter_of(self, path: str) -> Adapter:
        return self.adapters[path.split("/")[3]]

    def _set_filter(self, call: Call, _now: float) -> None:
        wanted: Mapping[str, Any] = call.body[0]
        adapter = self.adapter_of(call.path)
        if wanted:
            adapter.filters[call.sender] = wanted
        else:
            adapter.filters.pop(call.sender, None)
        self.answer(call)

    def _start_discovery(self, call: Call, _now: float) -> None:
        adapter = self.adapter_of(call.path)
        if not adapter.powered:
            self.refuse(call, "NotReady", "Resource Not Ready")
        elif call.sender in adapter.scanning:
            self.refuse(call, "InProgress", "Operation already in progress")
        else:
            adapter.mute = "" if adapter.mute == "scan" else adapter.mute
            adapter.scanning.add(call.sender)
            self.answer(call)
            self.tree.change(adapter.path, ADAPTER, {"Discovering": ("b", True)})

    def _stop_discovery(self, call: Call, _now: float) -> None:
        adapter = self.adapter_of(call.path)
        if call.sender not in adapter.scanning:
            self.refuse(call, "Failed", "No discovery started")
            return
        adapter.scanning.discard(call.sender)
        self.answer(call)
        if not adapter.scanning:
            self.tree.change(adapter.path, ADAPTER, {"Discovering": ("b", False)})

    def _register_monitor(self, call: Call, _now: float) -> None:
        adapter = self.adapter_of(call.path)
        adapter.mute = "" if adapter.mute == "scan" else adapter.mute
        adapter.monitors[call.sender, call.body[0]] = ()
        self.answer(call)

    def _unregister_monitor(self, call: Call, _now: float) -> None:
        if self.adapter_of(call.path).monitors.pop((call.sender, call.body[0]), None) is None:
            self.refuse(call, "DoesNotExist", "Does Not Exist")
        else:
            self.answer(call)

    def monitor(self, client: str, path: str, patterns: tuple[Pattern, ...]) -> None:
        """A client exported the monitor that it had registered."""
        for adapter in self.adapters.values():
            if (client, path) in adapter.monitors:
                adapter.monitors[client, path] = patterns

    def _set(self, call: Call, now: float) -> None:
        interface, name, value = call.body
        if (interface, name) == (ADAPTER, "Powered"):
            self.power(self.adapter_of(call.path), now, on=bool(value))
        elif (interface, name) in ((DEVICE, "Trusted"), (DEVICE, "Alias")):
            self.tree.change(call.path, interface, {name: ("b" if name == "Trusted" else "s", value)})
        else:
            self.refuse(call, "org.freedesktop.DBus.Error.PropertyReadOnly", f"{name} cannot be set")
            return
        self.answer(call)

    def _get_all(self, call: Call, _now: float) -> None:
        self.answer(call, "a{sv}", self.tree.objects[call.path].get(call.body[0], {}))

    def _register_agent(self, call: Call, _now: float) -> None:
        self.answer(call)

    def _default_agent(self, call: Call, _now: float) -> None:
        self.agent = (call.sender, call.body[0])
        self.answer(call)

    def _unregister_agent(self, call: Call, _now: float) -> None:
        self.agent = None
        self.answer(call)


_PROPERTIES = "org.freedesktop.DBus.Properties"
_CALLS: Mapping[tuple[str, str], Callable[[World, Call, float], None]] = {
    (ADAPTER, "SetDiscoveryFilter"): World._set_filter,  # noqa: SLF001
    (ADAPTER, "StartDiscovery"): World._start_discovery,  # noqa: SLF001
    (ADAPTER, "StopDiscovery"): World._stop_discovery,  # noqa: SLF001
    (MONITORS, "RegisterMonitor"): World._register_monitor,  # noqa: SLF001
    (MONITORS, "UnregisterMonitor"): World._unregister_monitor,  # noqa: SLF001
    (AGENTS, "RegisterAgent"): World._register_agent,  # noqa: SLF001
    (AGENTS, "RequestDefaultAgent"): World._default_agent,  # noqa: SLF001
    (AGENTS, "UnregisterAgent"): World._unregister_agent,  # noqa: SLF001
    (_PROPERTIES, "Set"): World._set,  # noqa: SLF001
    (_PROPERTIES, "GetAll"): World._get_all,  # noqa: SLF001
}
