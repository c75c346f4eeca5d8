"""Connections, pairing and GATT of simulated peripherals: the methods of Device1, GattCharacteristic1 and GattDescriptor1. PURE.

Every step can go wrong once (peripheral.Fault): the device vanishes, hangs, is slow, or BlueZ says InProgress or Failed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from drivers.sim.ble.firmware import Notify, Restart
from drivers.sim.ble.objects import (
    ADAPTER,
    CHARACTERISTIC,
    DESCRIPTOR,
    DEVICE,
    SERVICE,
    AskAgent,
    Call,
    Property,
    Refusal,
)
from drivers.sim.ble.peripheral import Attribute, Fault, Peripheral
from drivers.sim.ble.world import World
from drivers.sim.requests import ControlError

PAGE_TIMEOUT = 0.3  # seconds until BlueZ gives up a device that does not answer
SUPERVISION = 0.1  # seconds until a connection to one that is gone ends
MTU = 247
NOT_PAIRED = "Not paired"


class Gatt:
    """The connections of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._notifying: dict[str, set[str]] = {}  # characteristic's path -> clients
        self._open: dict[str, list[Call]] = {}  # device's path -> calls that wait for an answer
        self._handles: dict[str, Attribute] = {}  # path -> attribute
        self.pairing: dict[Any, tuple[Call, Peripheral]] = {}
        world.gatt, world.drop = self.call, self.drop

    # ---- calls ------------------------------------------------------------------------------------------------------

    def call(self, call: Call, now: float) -> bool:
        """False for a method that BlueZ does not have."""
        calls: dict[tuple[str, str], Callable[[Call, float], None]] = {
            (DEVICE, "Connect"): self._connect,
            (DEVICE, "Disconnect"): self._disconnect,
            (DEVICE, "Pair"): self._pair,
            (DEVICE, "CancelPairing"): self._disconnect,
            (ADAPTER, "RemoveDevice"): self._remove,
            (CHARACTERISTIC, "ReadValue"): partial(self._step, "read", self._read),
            (CHARACTERISTIC, "WriteValue"): partial(self._step, "write", self._write),
            (CHARACTERISTIC, "StartNotify"): partial(self._step, "notify", self._start_notify),
            (CHARACTERISTIC, "StopNotify"): self._stop_notify,
            (DESCRIPTOR, "ReadValue"): partial(self._step, "descriptor", self._read),
            (DESCRIPTOR, "WriteValue"): partial(self._step, "descriptor", self._write),
        }
        act = calls.get((call.interface, call.member))
        if act is None:
            return False
        act(call, now)
        return True

    def _peripheral(self, path: str) -> Peripheral | None:
        address = path.split("/")[4].removeprefix("dev_").replace("_", ":")
        return self._world.peripherals.get(address)

    def _own(self, path: str) -> Peripheral:
        """The peripheral of a device that is connected, so there is one."""
        found = self._peripheral(path)
        if found is None:
            raise ControlError(f"nobody is behind {path}")
        return found

    def _later(self, call: Call, now: float, act: Callable[[Call, float], None], seconds: float | None = None) -> None:
        """Do `act` in a while, unless the connection is gone by then and the call was refused."""
        device = _device(call.path)
        self._open.setdefault(device, []).append(call)

        def due(at: float) -> None:
            if call in self._open.get(device, ()):
                self._open[device].remove(call)
                act(call, at)

        self._world.at(now + (self._world.latency if seconds is None else seconds), due)

    def _hang(self, call: Call) -> None:
        """No answer, until the connection ends."""
        self._open.setdefault(_device(call.path), []).append(call)

    def _goes_wrong(self, step: str, call: Call, peripheral: Peripheral, now: float, good: Callable[..., None]) -> bool:
        """Whether this step goes wrong, and how. `good` is done later when it is only slow."""
        fault = peripheral.fault(step)
        if fault is None:
            return False
        match fault.kind:
            case "in_progress":
                self._world.refuse(call, "InProgress", "In Progress")
            case "fail":
                self._world.refuse(call, "Failed", "Operation failed with ATT error: 0x0e")
            case "slow":
                self._later(call, now, good, fault.seconds)
            case "hang":
                self._hang(call)
            case _:
                self._hang(call)
                self.vanish(peripheral, now, fault)
        return True

    def vanish(self, peripheral: Peripheral, now: float, fault: Fault) -> None:
        """It is gone for a while; its connections end after the supervision time-out."""
        peripheral.powered = False
        for adapter in self._world.adapters.values():
            path = f"{adapter.path}/dev_{peripheral.address.replace(':', '_')}"
            self._world.at(now + SUPERVISION, partial(self.drop, path))

        def back(_now: float) -> None:
            peripheral.powered = True

        self._world.at(now + max(fault.seconds, SUPERVISION), back)

    # ---- connections ------------------------------------------------------------------------------------------------

    def _connect(self, call: Call, now: float) -> None:
        adapter, peripheral = self._world.adapter_of(call.path), self._peripheral(call.path)
        if not adapter.powered:
            self._world.refuse(call, "NotReady", "Resource Not Ready")
        elif self._world.tree.value(call.path, DEVICE, "Connected"):
            self._world.answer(call)
        elif adapter.connecting:
            self._world.refuse(call, "InProgress", "Operation already in progress")
        elif peripheral is None or not peripheral.powered or not peripheral.has_gatt or not peripheral.pairing:
            adapter.connecting = call.path
            self._later(call, now, self._page_timeout, PAGE_TIMEOUT)
        elif not self._goes_wrong("connect", call, peripheral, now, self._connected):
            adapter.connecting = call.path
            self._later(call, now, self._connected)

    def _page_timeout(self, call: Call, _now: float) -> None:
        self._world.adapter_of(call.path).connecting = ""
        self._world.refuse(call, "Failed", "le-connection-unknown")

    def _connected(self, call: Call, now: float) -> None:
        self._establish(call, now)
        self._world.answer(call)

    def _establish(self, call: Call, now: float) -> None:
        peripheral = self._own(call.path)
        self._world.adapter_of(call.path).connecting = ""
        self._world.tree.change(call.path, DEVICE, {"Connected": ("b", True)})
        fault = peripheral.fault("services")
        if fault is not None and fault.kind != "slow":
            if fault.kind != "hang":
                self.vanish(peripheral, now, fault)
            return
        seconds = self._world.latency if fault is None else fault.seconds
        self._world.at(now + seconds, partial(self._resolve, call.path, peripheral))

    def _resolve(self, path: str, peripheral: Peripheral, now: float) -> None:
        """The services were discovered."""
        tree = self._world.tree
        if not tree.value(path, DEVICE, "Connected") or tree.value(path, DEVICE, "ServicesResolved"):
            return
        for uuid, service in {uuid: at * 0x100 + 1 for at, (uuid, _) in enumerate(peripheral.profile.services)}.items():
            facts: dict[str, Property] = {
                "UUID": ("s", uuid),
                "Device": ("o", path),
                "Primary": ("b", True),
                "Includes": ("ao", []),
            }
            tree.add(f"{path}/service{service:04x}", {SERVICE: facts})
        for attribute in peripheral.attributes():
            self._show(path, attribute)
            if attribute.descriptor is None and attribute.char.every:
                self._world.at(now + attribute.char.every, partial(self._repeat, path, attribute, peripheral))
        tree.change(path, DEVICE, {"ServicesResolved": ("b", True)})

    def _show(self, device: str, one: Attribute) -> None:
        service = f"{device}/service{one.service:04x}"
        if one.descriptor is not None:
            parent = f"{service}/char{one.of:04x}"
            path, interface = f"{parent}/desc{one.handle:04x}", DESCRIPTOR
            facts: dict[str, Property] = {
                "UUID": ("s", one.uuid),
                "Characteristic": ("o", parent),
                "Value": ("ay", b""),
                "Flags": ("as", ["read", "write"]),
            }
        else:
            path, interface = f"{service}/char{one.handle:04x}", CHARACTERISTIC
            facts = {
                "UUID": ("s", one.uuid),
                "Service": ("o", service),
                "Value": ("ay", b""),
                "Notifying": ("b", False),
                "Flags": ("as", list(one.char.flags)),
                "MTU": ("q", MTU),
            }
        self._handles[path] = one
        self._world.tree.add(path, {interface: facts})

    def _disconnect(self, call: Call, now: float) -> None:
        self.drop(call.path, now)
        self._world.answer(call)

    def drop(self, path: str, _now: float) -> None:
        """The connection ends, and all that waited for it."""
        tree, adapter = self._world.tree, self._world.adapter_of(path)
        if adapter.connecting == path:
            adapter.connecting = ""
        for call in self._open.pop(path, []):
            text = "Not connected" if call.interface != DEVICE else "le-connection-canceled"
            tree.out.append(Refusal(call.token, "Failed", text))
        if not tree.value(path, DEVICE, "Connected"):
            return
        peripheral = self._peripheral(path)
        if peripheral is not None and peripheral.updates is not None:
            peripheral.updates.cut()
        for below in [one for one in tree.objects if one.startswith(f"{path}/")]:
            self._notifying.pop(below, None)
            self._handles.pop(below, None)
        for service in [one for one in tree.objects if one.startswith(f"{path}/") and one.count("/") == 5]:  # noqa: PLR2004
            tree.remove(service)
        tree.change(path, DEVICE, {"ServicesResolved": ("b", False), "Connected": ("b", False)})

    def _remove(self, call: Call, now: float) -> None:
        path = call.body[0]
        if path not in self._world.tree.objects:
            self._world.refuse(call, "DoesNotExist", "Does Not Exist")
            return
        self.drop(path, now)
        peripheral = self._peripheral(path)
        if peripheral is not None:
            peripheral.bonded = False
        self._world.tree.remove(path)
        self._world.heard_at.pop(path, None)
        self._world.answer(call)

    # ---- bonds ------------------------------------------------------------------------------------------------------

    def _pair(self, call: Call, now: float) -> None:
        peripheral = self._peripheral(call.path)
        if peripheral is None or not peripheral.powered:
            self._later(call, now, self._page_timeout, PAGE_TIMEOUT)
        elif peripheral.bonded:
            self._world.refuse(call, "AlreadyExists", "Already Exists")
        elif not self._goes_wrong("pair", call, peripheral, now, self._key_exchange):
            self._later(call, now, self._key_exchange)

    def _key_exchange(self, call: Call, now: float) -> None:
        peripheral = self._own(call.path)
        self._establish(call, now)
        if peripheral.passkey is None:
            self._bond(call, peripheral)
        elif self._world.agent is None:
            self._world.refuse(call, "AuthenticationFailed", "Authentication Failed")
        else:
            self.pairing[call.token] = (call, peripheral)
            self._world.tree.out.append(AskAgent(call.token, *self._world.agent, call.path))

    def passkey(self, token: Any, passkey: int | None, now: float) -> None:
        """What the agent answered; None: it refused."""
        call, peripheral = self.pairing.pop(token)
        if passkey == peripheral.passkey:
            self._bond(call, peripheral)
        else:
            self._world.refuse(call, "AuthenticationFailed", "Authentication Failed")
            self.drop(call.path, now)

    def _bond(self, call: Call, peripheral: Peripheral) -> None:
        peripheral.bonded = True
        self._world.tree.change(call.path, DEVICE, {"Paired": ("b", True), "Bonded": ("b", True)})
        self._world.answer(call)

    # ---- values -----------------------------------------------------------------------------------------------------

    def _step(self, step: str, good: Callable[[Call, float], None], call: Call, now: float) -> None:
        device, peripheral = _device(call.path), self._peripheral(call.path)
        if peripheral is None or not self._world.tree.value(device, DEVICE, "Connected"):
            self._world.refuse(call, "Failed", "Not connected")
        elif peripheral.passkey is not None and not peripheral.bonded:
            self._world.refuse(call, "NotPermitted", NOT_PAIRED)
        elif peripheral.hung or not peripheral.powered:
            self._hang(call)
        elif not self._goes_wrong(step, call, peripheral, now, good):
            self._later(call, now, good)

    def _read(self, call: Call, _now: float) -> None:
        one, peripheral = self._handles[call.path], self._own(call.path)
        if one.descriptor is None and "read" not in one.char.flags:
            self._world.refuse(call, "NotPermitted", "Read not permitted")
            return
        value = one.descriptor if one.descriptor is not None else one.char.read(peripheral.values)
        offset = int(call.body[0].get("offset", 0))
        self._world.answer(call, "ay", value[offset:])

    def _write(self, call: Call, now: float) -> None:
        one, peripheral = self._handles[call.path], self._own(call.path)
        if one.descriptor is not None:
            one.descriptor = bytes(call.body[0])
            self._world.answer(call)
        elif one.char.serves:
            self._world.answer(call)
            self._serve(call.path, one, peripheral, bytes(call.body[0]), now)
        elif one.char.write is None:
            self._world.refuse(call, "NotPermitted", "Write not permitted")
        else:
            before = dict(peripheral.values)
            one.char.write(peripheral.values, bytes(call.body[0]))
            self._world.answer(call)
            self.changed(
                peripheral, [name for name, value in peripheral.values.items() if before.get(name) != value], now
            )

    # ---- firmware ---------------------------------------------------------------------------------------------------

    def _serve(self, path: str, one: Attribute, peripheral: Peripheral, data: bytes, now: float) -> None:
        """A write to what takes firmware, and what follows from it."""
        firmware = peripheral.updates
        if firmware is None:
            return
        fault = peripheral.fault(firmware.step(one.uuid, data))
        if fault is not None and fault.kind == "vanish":
            self.vanish(peripheral, now, fault)
            return
        for effect in firmware.heard(one.uuid, data, fault.kind if fault is not None else ""):
            match effect:
                case Notify(uuid, said):
                    for place, other in list(self._handles.items()):
                        if other.uuid == uuid and _device(place) == _device(path) and place in self._notifying:
                            self._world.tree.change(place, CHARACTERISTIC, {"Value": ("ay", said)})
                case Restart():
                    self._restart(peripheral, now)

    def _restart(self, peripheral: Peripheral, now: float) -> None:
        """It goes away, and comes back as what its boot loader starts, perhaps at another address."""
        firmware = peripheral.updates
        same = [one for one in self._world.peripherals.values() if one.updates is firmware]
        for one in same:
            one.powered = False
            for path in self._world.connected(one.address):
                self._world.at(now + SUPERVISION, partial(self.drop, path))

        def begin(_at: float) -> None:
            if firmware is not None:
                firmware.begin()
            for one in same:
                one.settle()

        self._world.at(now + max(peripheral.restart, 2 * SUPERVISION), begin)

    def _start_notify(self, call: Call, _now: float) -> None:
        if not {"notify", "indicate"} & set(self._handles[call.path].char.flags):
            self._world.refuse(call, "NotSupported", "Operation is not supported")
            return
        self._notifying.setdefault(call.path, set()).add(call.sender)
        self._world.tree.change(call.path, CHARACTERISTIC, {"Notifying": ("b", True)})
        self._world.answer(call)

    def _stop_notify(self, call: Call, _now: float) -> None:
        self._notifying.pop(call.path, None)
        self._world.tree.change(call.path, CHARACTERISTIC, {"Notifying": ("b", False)})
        self._world.answer(call)

    def changed(self, peripheral: Peripheral, names: list[str], _now: float) -> None:
        """Notify whoever asked for it."""
        for path, one in list(self._handles.items()):
            if path in self._notifying and self._peripheral(path) is peripheral and set(one.char.follows) & set(names):
                self._notify(path, one, peripheral)

    def _notify(self, path: str, one: Attribute, peripheral: Peripheral) -> None:
        if peripheral.powered and not peripheral.hung:
            self._world.tree.change(path, CHARACTERISTIC, {"Value": ("ay", one.char.read(peripheral.values))})

    def _repeat(self, device: str, one: Attribute, peripheral: Peripheral, now: float) -> None:
        path = f"{device}/service{one.service:04x}/char{one.handle:04x}"
        if self._handles.get(path) is one:
            if path in self._notifying:
                self._notify(path, one, peripheral)
            self._world.at(now + one.char.every, partial(self._repeat, device, one, peripheral))


def _device(path: str) -> str:
    return "/".join(path.split("/")[:5])
