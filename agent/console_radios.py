"""What can be asked of the radios themselves on the control socket. See agent/console_api.py."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from agent.console_bodies import BackupBody, ExcludeBody, ForgetBody, NativeBody, PinBody, RestoreBody, RoutesBody
from agent.control import ApiError
from agent.driver import (
    Asking,
    Driver,
    DriverError,
    Expecting,
    InvalidParameters,
    Native,
    NotSupported,
    Observed,
    Routing,
)
from agent.model import DeviceId
from agent.requests import Progress, StartExclusion, StopExclusion
from agent.runtime import Runtime


@contextmanager
def watching(runtime: Runtime) -> "Iterator[asyncio.Queue[Progress]]":
    """Every Progress from now on."""
    queue: asyncio.Queue[Progress] = asyncio.Queue()
    runtime.watchers.add(queue.put_nowait)
    try:
        yield queue
    finally:
        runtime.watchers.discard(queue.put_nowait)


class ConsoleRadios:
    """The answers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def pin(self, body: PinBody) -> AsyncGenerator[dict[str, Any]]:
        radio, _, key = body.device.partition("/")
        driver = self._driver(radio)
        if not isinstance(driver, Asking):
            raise ApiError(400, f"the radio {radio!r} asks for no PIN", remedy="the device's code goes with `discover`")
        return self._answered(driver, body.device, key, body.pin)

    async def _answered(self, driver: Asking, device: str, key: str, pin: str) -> AsyncGenerator[dict[str, Any]]:
        try:
            await driver.reply(key, pin)
        except DriverError as error:
            yield {**_failed(error), "again": isinstance(error, InvalidParameters)}
            return
        yield {"what": "answered", "device": device, "done": True}

    def backup(self, _body: BackupBody) -> AsyncGenerator[dict[str, Any]]:
        """The network of each radio, keys included: for the owner of the socket only."""
        radios = list(self._runtime.hub.radios.values())
        if not radios:
            raise ApiError(404, "this hub has no radio to back up", remedy="add a [radios.<name>] table")
        drivers = [(radio, self._driver(radio.name)) for radio in radios]

        async def lines() -> AsyncGenerator[dict[str, Any]]:
            for radio, driver in drivers:
                about = {"what": "backup", "hub": self._runtime.hub.hub_id, "radio": radio.name, "kind": radio.kind}
                last = {"done": radio is radios[-1]}
                try:
                    network = json.loads(await driver.backup())
                except NotSupported as error:  # it never will; the others do
                    yield {**about, "network": None, "error": str(error), "remedy": error.remedy, **last}
                    continue
                except DriverError as error:
                    yield _failed(error)
                    return
                yield {**about, "network": network, **last}

        return lines()

    def restore(self, body: RestoreBody) -> AsyncGenerator[dict[str, Any]]:
        driver = self._driver(body.radio)

        async def lines() -> AsyncGenerator[dict[str, Any]]:
            try:
                await driver.restore(json.dumps(body.network).encode())
            except DriverError as error:
                yield _failed(error)
                return
            yield {"what": "restored", "radio": body.radio, "done": True}

        return lines()

    async def exclude(self, body: ExcludeBody) -> AsyncGenerator[dict[str, Any]]:
        """Steps of the windows."""
        identifier = f"local-{secrets.token_hex(8)}"
        finished = False
        with watching(self._runtime) as queue:
            self._runtime.dispatch(StartExclusion(identifier, body.kind.upper(), body.duration, body.radio))
            try:
                while not finished:
                    step = await queue.get()
                    if step.what == "exclusion" and step.data["id"] == identifier:
                        finished = step.data["stage"] == "ended"
                        yield {"what": step.what, **step.data, "done": finished}
            finally:
                if not finished:  # the person went away: nobody watches who leaves
                    self._runtime.dispatch(StopExclusion(identifier))

    async def expected(self) -> list[dict[str, Any]]:
        """Devices that may join by themselves, of each radio that has such."""
        found = []
        for name, driver in list(self._runtime.drivers.items()):
            taker: object = driver
            if isinstance(taker, Expecting):
                try:
                    found += [{"radio": name, "address": address} for address in await taker.expected()]
                except DriverError as error:
                    raise ApiError(503, f"{name}: {error}", remedy=error.remedy) from error
        return found

    async def forget(self, body: ForgetBody) -> AsyncGenerator[dict[str, Any]]:
        dropped = []
        for name, driver in list(self._runtime.drivers.items()):
            taker: object = driver
            if isinstance(taker, Expecting):
                try:
                    dropped += [name] if await taker.expect_no_more(body.address) else []
                except DriverError as error:
                    yield _failed(error)
                    return
        if not dropped:
            remedy = "`agent expected show` lists them"
            yield {"what": "failed", "error": "no radio expects this device", "remedy": remedy, "done": True}
            return
        yield {"what": "forgotten", "address": body.address, "radios": dropped, "done": True}

    # ---- routes -----------------------------------------------------------------------------------------------------

    async def routes(self) -> list[dict[str, Any]]:
        """What the sticks know of the ways to the devices, for each radio that has such."""
        found = []
        for record in list(self._runtime.hub.devices.values()):
            device = record.device.id
            driver: object = self._runtime.drivers.get(device.radio)
            if not isinstance(driver, Routing) or not isinstance(driver, Observed):
                continue
            try:
                told = dict(await driver.details(device.key))
            except DriverError as error:
                told = {"error": str(error)}
            found.append({"device": str(device), "nodeId": record.device.node_id, "model": record.device.model, **told})
        return found

    def change_routes(self, body: RoutesBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        device = self._device(body.device)
        repeaters = [self._device(one) for one in body.repeaters]
        if strange := [str(one) for one in repeaters if one.radio != device.radio]:
            raise ApiError(400, f"{', '.join(strange)} is of another radio than {device}")
        driver = self._driver(device.radio)
        if not isinstance(driver, Routing):
            raise ApiError(400, f"the radio {device.radio!r} finds its routes by itself", remedy="`agent device ID`")
        if body.op == "rebuild":
            return self._rebuilt(driver, device, body.wait)
        keys = tuple(one.key for one in repeaters) if body.op == "prefer" else None
        return self._preferred(driver, device, keys, body.speed)

    async def _rebuilt(self, driver: Routing, device: DeviceId, wait: float) -> AsyncGenerator[dict[str, Any]]:
        lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        about = {"device": str(device)}

        def step(text: str) -> None:
            lines.put_nowait({"what": "step", **about, "step": text, "done": False})

        async def work() -> None:
            try:
                found = await driver.rebuild_routes(device.key, step, wait=wait)
            except DriverError as error:
                lines.put_nowait({**_failed(error), **about})
            else:
                lines.put_nowait({"what": "rebuilt", **about, **found, "done": True})

        working = self._runtime.supervisor.spawn(f"routes of {device}", work())
        try:
            while True:
                line = await lines.get()
                yield line
                if line["done"]:
                    return
        finally:
            working.cancel()

    async def _preferred(
        self, driver: Routing, device: DeviceId, repeaters: tuple[str, ...] | None, speed: int
    ) -> AsyncGenerator[dict[str, Any]]:
        try:
            await driver.set_priority_route(device.key, repeaters, speed)
        except DriverError as error:
            yield {**_failed(error), "device": str(device)}
            return
        yield {"what": "preferred", "device": str(device), "done": True}

    # ---- native commands --------------------------------------------------------------------------------------------

    def native_commands(self, ref: str) -> dict[str, Any]:
        """What a device can be told in its protocol's own words."""
        device = self._device(ref)
        try:
            return {place: dict(found) for place, found in self._native(device).native_commands(device.key).items()}
        except DriverError as error:
            raise ApiError(503, str(error), remedy=error.remedy) from error

    def tell(self, body: NativeBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        device = self._device(body.device)
        return self._told(self._native(device), device, body)

    async def _told(self, driver: Native, device: DeviceId, body: NativeBody) -> AsyncGenerator[dict[str, Any]]:
        try:
            reports = await driver.native(device.key, body.endpoint, body.command, body.values, wait=body.wait)
        except DriverError as error:
            yield _failed(error)
            return
        yield {"what": "told", "device": str(device), "reports": reports, "done": True}

    def _native(self, device: DeviceId) -> Native:
        driver = self._driver(device.radio)
        if not isinstance(driver, Native):
            raise ApiError(400, f"the radio {device.radio!r} has no native commands", remedy="`agent command`")
        return driver

    # ---- helpers ----------------------------------------------------------------------------------------------------

    def _device(self, ref: str) -> DeviceId:
        record = self._runtime.hub.find(ref)
        if record is None:
            raise ApiError(404, f"the hub has no device {ref!r}", remedy="`agent devices` lists them")
        return record.device.id

    def _driver(self, radio: str) -> Driver:
        driver = self._runtime.drivers.get(radio)
        if driver is None:
            raise ApiError(503, f"the radio {radio!r} is away", remedy="`agent status` shows the radios and why")
        return driver


def _failed(error: DriverError) -> dict[str, Any]:
    return {"what": "failed", "error": str(error), "remedy": error.remedy, "done": True}
