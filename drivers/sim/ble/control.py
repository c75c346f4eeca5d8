"""What a test or a person does to simulated peripherals and to BlueZ, by the control socket or a script. PURE.

One JSON object in (`{"op": "press", "device": "hall button"}`), one out; README.md lists the operations.
An operation reads its request first, and has an act to do when nothing is wrong with it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from drivers.sim.ble.gatt_calls import Gatt
from drivers.sim.ble.payloads import Payload, uuid16
from drivers.sim.ble.peripheral import KINDS, STEPS, Fault, Peripheral
from drivers.sim.ble.world import World
from drivers.sim.requests import ControlError, real, truth, whole

Json = dict[str, Any]
Act = Callable[[float], Json]

PRESSES = {"single": 0x01, "double": 0x02, "triple": 0x03, "long": 0x04, "hold": 0x80, "release": 0x81}
REPEATS, REPEAT_PAUSE = 3, 0.02  # a button says each press several times
TICK = 0.01
MOST = 100_000


class Control:
    """The operations on one world."""

    def __init__(self, world: World, gatt: Gatt) -> None:
        self._world, self._gatt = world, gatt
        self.sent: list[float] = []  # when the adverts of a load went out

    def prepare(self, request: Mapping[str, Any]) -> Act:
        """The act of a request. Raises ControlError when it can never be done."""
        operation = _OPERATIONS.get(str(request.get("op")))
        if operation is None:
            raise ControlError(f"no operation {request.get('op')!r}; there are {', '.join(sorted(_OPERATIONS))}")
        return operation(self, request)

    def _device(self, request: Mapping[str, Any]) -> Peripheral:
        wanted = str(request.get("device", ""))
        for one in self._world.peripherals.values():
            if wanted in (one.name, one.address):
                return one
        known = ", ".join(one.name for one in self._world.peripherals.values())
        raise ControlError(f"no device {wanted!r}; there are {known}")

    def _list(self, _request: Mapping[str, Any]) -> Act:
        return lambda _now: {"devices": [self._describe(one) for one in self._world.peripherals.values()]}

    def _describe(self, one: Peripheral) -> Json:
        facts: Json = {"name": one.name, "address": one.address, "profile": one.kind, "values": dict(one.values)}
        links = [path.split("/")[3] for path in self._world.connected(one.address)]
        if one.updates is not None:
            facts["received"] = one.updates.received
        return {**facts, "powered": one.powered, "pairing": one.pairing, "bonded": one.bonded, "connected": links}

    def _truth(self, _request: Mapping[str, Any]) -> Act:
        def act(_now: float) -> Json:
            adapters = {
                one.name: {
                    "address": one.address,
                    "present": one.present,
                    "powered": one.powered,
                    "scanning": len(one.scanning),
                    "monitors": len(one.monitors),
                    "filters": list(one.filters.values()),
                }
                for one in self._world.adapters.values()
            }
            return {"adapters": adapters, "adverts": self._world.adverts, "objects": len(self._world.tree.objects)}

        return act

    # ---- what devices measure and say -------------------------------------------------------------------------------

    def _set(self, request: Mapping[str, Any]) -> Act:
        one, name, value = self._device(request), str(request.get("name")), request.get("value")
        if name not in one.values:
            raise ControlError(f"{one.name} has no value {name!r}; there are {', '.join(sorted(one.values)) or 'none'}")
        return lambda now: self._change(one, name, value, now)

    def _change(self, one: Peripheral, name: str, value: Any, now: float) -> Json:
        one.set(name, value)
        self._gatt.changed(one, [name], now)
        self._world.say(one, now)
        return {"ok": True}

    def _drift(self, request: Mapping[str, Any]) -> Act:
        """A random step of at most `by`."""
        one, name, by = self._device(request), str(request.get("name")), whole(request, "by")
        value = one.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ControlError(f"{one.name} has no number {name!r}")
        return lambda now: self._change(one, name, one.values[name] + self._world.rng.randint(-by, by), now)

    def _press(self, request: Mapping[str, Any]) -> Act:
        one, kind = self._device(request), str(request.get("kind", "single"))
        if "button" not in one.values:
            raise ControlError(f"{one.name} has no button")
        if kind not in PRESSES:
            raise ControlError(f"no kind of press {kind!r}; there are {', '.join(PRESSES)}")

        def act(now: float) -> Json:
            one.set("button", PRESSES[kind])
            for turn in range(REPEATS):
                self._world.at(now + turn * REPEAT_PAUSE, partial(self._world.say, one))
            self._world.at(now + REPEATS * REPEAT_PAUSE, lambda _now: one.set("button", 0))
            return {"ok": True}

        return act

    def _advert(self, request: Mapping[str, Any]) -> Act:
        """Any advertisement from any address, also a malformed one; company and service as numbers, data as hex."""
        address = str(request.get("address", "C0:FF:EE:00:00:01")).upper()
        try:
            manufacturer = {int(k, 0): bytes.fromhex(v) for k, v in request.get("manufacturer", {}).items()}
            services = {uuid16(int(k, 0)): bytes.fromhex(v) for k, v in request.get("service_data", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ControlError(f'data is hex text by number, for example {{"0xFCD2": "4002C409"}}: {error}') from None
        payload = Payload(str(request.get("name", "")), manufacturer, services)

        def act(now: float) -> Json:
            self._world.air(address, payload, -60, now)
            return {"ok": True}

        return act

    # ---- where devices are ------------------------------------------------------------------------------------------

    def _pair(self, request: Mapping[str, Any]) -> Act:
        one, on = self._device(request), truth(request, "on", default=True)

        def act(now: float) -> Json:
            one.pairing = on
            self._world.say(one, now)
            return {"ok": True}

        return act

    def _power(self, request: Mapping[str, Any]) -> Act:
        """Batteries out and in. One that is off is gone from its connections after the supervision time-out."""
        one, on = self._device(request), truth(request, "on", default=True)

        def act(now: float) -> Json:
            one.powered = on
            for path in () if on else self._world.connected(one.address):
                self._world.at(now + 0.2, partial(self._world.drop, path))
            self._world.say(one, now)
            return {"ok": True}

        return act

    def _hang(self, request: Mapping[str, Any]) -> Act:
        """It keeps its connection, and answers nothing."""
        one, on = self._device(request), truth(request, "on", default=True)

        def act(_now: float) -> Json:
            one.hung = on
            return {"ok": True}

        return act

    def _vanish(self, request: Mapping[str, Any]) -> Act:
        one, seconds = self._device(request), real(request, "seconds", 1.0)

        def act(now: float) -> Json:
            self._gatt.vanish(one, now, Fault("vanish", seconds))
            return {"ok": True}

        return act

    def _fault(self, request: Mapping[str, Any]) -> Act:
        """The next `count` times a step of a device goes wrong."""
        one, step, kind = self._device(request), str(request.get("step")), str(request.get("kind", "vanish"))
        count, seconds = whole(request, "count", 1, 1000), real(request, "seconds", 1.0)
        if step not in STEPS or kind not in KINDS:
            raise ControlError(f"steps are {', '.join(STEPS)}; kinds are {', '.join(KINDS)}")

        def act(_now: float) -> Json:
            one.faults.setdefault(step, deque()).extend([Fault(kind, seconds)] * count)
            return {"ok": True}

        return act

    # ---- adapters ---------------------------------------------------------------------------------------------------

    def _adapter(self, request: Mapping[str, Any]) -> Act:
        """Plug an adapter in or out (`present`), switch it (`powered`), or let it hear nothing until `mute`: scan, power, never."""
        name = str(request.get("adapter", next(iter(self._world.adapters))))
        found = self._world.adapters.get(name)
        if found is None:
            raise ControlError(f"no adapter {name!r}; there are {', '.join(self._world.adapters)}")
        present, powered = truth(request, "present", default=found.present), request.get("powered")
        mute = request.get("mute")
        if mute not in (None, "", "scan", "power", "never") or powered not in (None, True, False):
            raise ControlError('powered is true or false; mute is "", "scan", "power" or "never"')

        def act(now: float) -> Json:
            if found.present is not present:
                found.present = present
                if present:
                    self._world.show(found)
                else:
                    self._world.hide(found, now)
            if powered is not None:
                self._world.power(found, now, on=powered)
            if mute is not None:
                found.mute = mute
            return {"ok": True}

        return act

    # ---- loads ------------------------------------------------------------------------------------------------------

    def _flood(self, request: Mapping[str, Any]) -> Act:
        """`rate` adverts a second for `seconds`, from `addresses` strangers in turn; each says something else every time."""
        rate, seconds = whole(request, "rate", 1000, MOST), real(request, "seconds", 3.0)
        addresses = max(1, whole(request, "addresses", 500, MOST))
        each = max(1, round(rate * TICK))
        total = round(rate * seconds)

        def tick(first: int, now: float) -> None:
            for number in range(first, min(first + each, total)):
                turn = number % addresses
                address = f"C1:00:00:{turn >> 16 & 0xFF:02X}:{turn >> 8 & 0xFF:02X}:{turn & 0xFF:02X}"
                data = number.to_bytes(4, "little") + bytes(16)
                self._world.air(address, Payload(manufacturer={0xFFFF: data}), -70, now)
            if first + each < total:
                self._world.at(now + TICK, partial(tick, first + each))

        def act(now: float) -> Json:
            self._world.at(now, partial(tick, 0))
            return {"adverts": total}

        return act

    def _load(self, request: Mapping[str, Any]) -> Act:
        """`count` adverts at `rate` from the thermometers in turn, the temperature counting up from `first`; for measuring."""
        rate, count, first = (
            real(request, "rate", 100.0, 10_000),
            whole(request, "count", 100, MOST),
            whole(request, "first", 0),
        )
        sensors = [one for one in self._world.peripherals.values() if one.kind == "bthome-thermometer"]
        if not sensors or not rate:
            raise ControlError("there is no bthome-thermometer, or no rate")

        def tell(number: int, now: float) -> None:
            one = sensors[number % len(sensors)]
            one.set("temperature", first + number // len(sensors))
            self.sent[number] = now
            self._world.say(one, now)

        def act(now: float) -> Json:
            self.sent = [0.0] * count
            for one in sensors:
                one.pairing = True
            for number in range(count):
                self._world.at(now + number / rate, partial(tell, number))
            return {"ok": True}

        return act

    def _sent(self, _request: Mapping[str, Any]) -> Act:
        return lambda _now: {"times": list(self.sent)}


_OPERATIONS: Mapping[str, Callable[[Control, Mapping[str, Any]], Act]] = {
    "list": Control._list,  # noqa: SLF001
    "truth": Control._truth,  # noqa: SLF001
    "set": Control._set,  # noqa: SLF001
    "drift": Control._drift,  # noqa: SLF001
    "press": Control._press,  # noqa: SLF001
    "advert": Control._advert,  # noqa: SLF001
    "pair": Control._pair,  # noqa: SLF001
    "power": Control._power,  # noqa: SLF001
    "hang": Control._hang,  # noqa: SLF001
    "vanish": Control._vanish,  # noqa: SLF001
    "fault": Control._fault,  # noqa: SLF001
    "adapter": Control._adapter,  # noqa: SLF001
    "flood": Control._flood,  # noqa: SLF001
    "load": Control._load,  # noqa: SLF001
    "sent": Control._sent,  # noqa: SLF001
}
