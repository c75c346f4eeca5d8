"""What can be asked on the control socket: one table of routes over the running hub.

GET  status | devices | devices/<ref>
GET  ota | ota/<key>, POST ota                   see agent/console_ota.py
POST discover {kind, radio?, auth?, duration?, attended?}   lines until the window has closed; attended: somebody answers questions
POST pin {device, pin}                           the answer to a line of discover whose stage is pin; empty: the device stays out
POST command {device, actions, ttl?}             lines until the Outcome
POST remove {device, force?}                     lines until the device is gone
POST backup                                      a line for each radio: its network and keys, or why it gives none
POST restore {radio, network}                    a line once the radio has it
POST factory-reset                               a line once nothing stops it any more; then the agent ends
"""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.console_ota import ConsoleOta, OtaBody
from agent.control import Answer, ApiError, Call
from agent.driver import Asking, Driver, DriverError, InvalidParameters, NotSupported, Observed
from agent.errors import HubError
from agent.home import DeviceRecord
from agent.model import Action
from agent.requests import LOCAL, CommandRequest, Deprovision, Progress, StartDiscovery, StopDiscovery
from agent.runtime import Runtime


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


T = TypeVar("T", bound=BaseModel)


class DiscoverBody(_Body):
    kind: str = "ZIGBEE"
    radio: str = ""
    auth: str = Field(default="", max_length=512)
    duration: int = Field(default=120, ge=1, le=254)
    attended: bool = False


class PinBody(_Body):
    device: str
    pin: str = Field(default="", max_length=64)


class ActionBody(_Body):
    endpoint: str
    capability: str
    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class DoCommandBody(_Body):
    device: str
    actions: list[ActionBody] = Field(min_length=1, max_length=5)
    ttl: float = Field(default=30.0, gt=0, le=86400)


class RemoveBody(_Body):
    device: str
    force: bool = False


class BackupBody(_Body):
    """Nothing: a backup is of all radios."""


class FactoryResetBody(_Body):
    """Nothing: it is of the whole hub."""


class RestoreBody(_Body):
    radio: str
    network: dict[str, Any]


_IDLE: dict[str, Any] = {"inMemory": 0, "onDisk": 0, "counters": {}}


class ConsoleApi:
    """Callable for ControlServer."""

    def __init__(self, runtime: Runtime, version: str, ota: ConsoleOta) -> None:
        self._runtime = runtime
        self._version = version
        self._routes: dict[tuple[str, str], Callable[[Call], Answer | Awaitable[Answer]]] = {
            ("GET", "status"): lambda _call: self.status(),
            ("GET", "devices"): self._devices,
            ("GET", "ota"): lambda call: ota.tasks("/".join(call.path[1:])),
            ("POST", "ota"): lambda call: ota.ask(_parse(OtaBody, call)),
            ("POST", "discover"): lambda call: self._discover(_parse(DiscoverBody, call)),
            ("POST", "pin"): lambda call: self._pin(_parse(PinBody, call)),
            ("POST", "command"): lambda call: self._command(_parse(DoCommandBody, call)),
            ("POST", "remove"): lambda call: self._remove(_parse(RemoveBody, call)),
            ("POST", "backup"): lambda call: self._backup(_parse(BackupBody, call)),
            ("POST", "rotate"): lambda _call: self._rotate(),
            ("POST", "factory-reset"): lambda call: self._factory_reset(_parse(FactoryResetBody, call)),
            ("POST", "restore"): lambda call: self._restore(_parse(RestoreBody, call)),
        }

    async def __call__(self, call: Call) -> Answer:
        name = call.path[0] if call.path else ""
        methods = tuple(method for method, known in self._routes if known == name)
        if not methods or (len(call.path) > 1 and name not in ("devices", "ota")):
            raise ApiError(404, f"no such request: {call.method} /{'/'.join(call.path)}")
        if call.method not in methods:
            raise ApiError(405, f"/{name} is asked with {', '.join(methods)}, not {call.method}", allow=methods)
        answer = self._routes[(call.method, name)](call)
        return await answer if isinstance(answer, Awaitable) else answer

    # ---- questions --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The hub, its radios, uplinks, queue and counters."""
        hub, stats = self._runtime.hub, self._runtime.store.stats
        now = self._runtime.clock.now()
        return {
            "hub": hub.hub_id,
            "version": self._version,
            "clock": {"now": now.iso, "quality": now.quality},
            "networkMode": hub.network_mode,
            "radios": {
                r.name: {
                    "kind": r.kind,
                    "status": "online" if r.up else "away",
                    "reason": r.reason,
                    "identity": r.identity,
                    "joinWindow": r.window,
                    **r.details,
                    **self._figures(r.name),
                }
                for r in hub.radios.values()
            },
            "uplinks": {
                link.name: {
                    "status": "online" if link.connected else "away",
                    "reason": link.last_error,
                    "inMemory": link.waiting,
                    "onDisk": sum(rows for (uplink, _), rows in stats.backlog.items() if uplink == link.name),
                    "counters": dict(link.counters),
                }
                for link in self._runtime.links.values()
            }
            | {name: _IDLE | {"status": "offboarded", "reason": why} for name, why in self._runtime.barred.items()}
            | {name: _IDLE | {"status": "away", "reason": why} for name, why in self._runtime.waiting.items()},
            "certificate": self._runtime.certificate(),
            "store": {
                "commits": stats.commits,
                "rows": stats.rows,
                "full": stats.full,
                "shed": {f"{lane}:{reason}": rows for (lane, reason), rows in stats.shed.items()},
            },
            "devices": len(hub.devices),
            "openCommands": len(hub.commands),
            "counters": {
                **hub.counters,
                "duplicate_commands": hub.commands.duplicates,
                "refused_commands": hub.commands.refused,
            },
        }

    async def _devices(self, call: Call) -> Answer:
        if len(call.path) == 1:
            return [_summary(record) for record in self._runtime.hub.devices.values()]
        record = self._find("/".join(call.path[1:]))
        return {**_whole(record), "radio": await self._details(record)}

    async def _details(self, record: DeviceRecord) -> dict[str, Any]:
        """What the radio knows of the way to a device; nothing while it cannot say."""
        device = record.device.id
        driver: object = self._runtime.drivers.get(device.radio)
        if isinstance(driver, Observed):
            with suppress(DriverError):
                return dict(await driver.details(device.key))
        return {}

    def _figures(self, radio: str) -> dict[str, Any]:
        driver: object = self._runtime.drivers.get(radio)
        if isinstance(driver, Observed):
            with suppress(DriverError):
                return {"figures": driver.figures()}
        return {}

    def _find(self, ref: str) -> DeviceRecord:
        record = self._runtime.hub.find(ref)
        if record is None:
            raise ApiError(404, f"the hub has no device {ref!r}", remedy="`agent devices` lists them")
        return record

    # ---- requests ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _watch(self) -> "Iterator[asyncio.Queue[Progress]]":
        queue: asyncio.Queue[Progress] = asyncio.Queue()
        self._runtime.watchers.add(queue.put_nowait)
        try:
            yield queue
        finally:
            self._runtime.watchers.discard(queue.put_nowait)

    async def _discover(self, body: DiscoverBody) -> AsyncGenerator[dict[str, Any]]:
        identifier = f"local-{secrets.token_hex(8)}"
        request = StartDiscovery(
            identifier, body.kind.upper(), body.duration, LOCAL, body.auth, "", body.radio, attended=body.attended
        )
        finished = False
        with self._watch() as queue:
            self._runtime.dispatch(request)
            try:
                while not finished:
                    step = await queue.get()
                    finished = (
                        step.what == "discovery" and step.data["id"] == identifier and step.data["status"] != "RUNNING"
                    )
                    yield {"what": step.what, **step.data, "done": finished}
            finally:
                if not finished:  # the person went away: nobody watches who joins
                    self._runtime.dispatch(StopDiscovery(identifier))

    def _pin(self, body: PinBody) -> AsyncGenerator[dict[str, Any]]:
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

    def _command(self, body: DoCommandBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        self._find(body.device)
        return self._outcome(body)

    async def _outcome(self, body: DoCommandBody) -> AsyncGenerator[dict[str, Any]]:
        trace_id = f"local-{secrets.token_hex(8)}"
        actions = tuple(Action(a.endpoint, a.capability, a.name, a.parameters) for a in body.actions)
        expires = self._runtime.clock.now().wall + body.ttl
        with self._watch() as queue:
            self._runtime.dispatch(CommandRequest(trace_id, body.device, actions, LOCAL, expires))
            while True:
                step = await queue.get()
                if step.what == "outcome" and step.data["traceId"] == trace_id:
                    yield {"what": "outcome", **step.data, "done": True}
                    return

    def _remove(self, body: RemoveBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        return self._removal(str(self._find(body.device).device.id), force=body.force)

    async def _removal(self, device: str, *, force: bool) -> AsyncGenerator[dict[str, Any]]:
        with self._watch() as queue:
            self._runtime.dispatch(Deprovision(device, force, LOCAL))
            while True:
                step = await queue.get()
                if step.what in ("removed", "remove_failed") and step.data["device"] == device:
                    yield {"what": step.what, **step.data, "done": True}
                    return

    async def _rotate(self) -> AsyncGenerator[dict[str, Any]]:
        """A new certificate: asked for, tried, and in use; or why not."""
        if self._runtime.rotate is None:
            remedy = "`agent identity provision` gets the first one"
            yield {"done": True, "what": "failed", "error": "the hub has no certificate of its own", "remedy": remedy}
            return
        try:
            await self._runtime.rotate()
        except HubError as error:
            yield {"done": True, "what": "failed", "error": str(error), "remedy": error.remedy}
            return
        yield {"done": True, "what": "rotated", **self._runtime.certificate()}

    async def _factory_reset(self, _body: FactoryResetBody) -> AsyncGenerator[dict[str, Any]]:
        """The rest is said by the mark in the state folder, when nobody is here to say it."""
        if self._runtime.factory_reset is None:
            raise ApiError(503, "the agent is starting", remedy="try again in a moment")
        try:
            at = self._runtime.factory_reset()
        except OSError as error:
            remedy = "free the disk, or mount it for writing"
            yield {"done": True, "what": "failed", "error": f"the state folder: {error.strerror}", "remedy": remedy}
            return
        yield {"done": True, "what": "resetting", "at": at}

    def _backup(self, _body: BackupBody) -> AsyncGenerator[dict[str, Any]]:
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

    def _restore(self, body: RestoreBody) -> AsyncGenerator[dict[str, Any]]:
        driver = self._driver(body.radio)

        async def lines() -> AsyncGenerator[dict[str, Any]]:
            try:
                await driver.restore(json.dumps(body.network).encode())
            except DriverError as error:
                yield _failed(error)
                return
            yield {"what": "restored", "radio": body.radio, "done": True}

        return lines()

    def _driver(self, radio: str) -> Driver:
        driver = self._runtime.drivers.get(radio)
        if driver is None:
            raise ApiError(503, f"the radio {radio!r} is away", remedy="`agent status` shows the radios and why")
        return driver


def _failed(error: DriverError) -> dict[str, Any]:
    return {"what": "failed", "error": str(error), "remedy": error.remedy, "done": True}


def _parse(model: type[T], call: Call) -> T:
    try:
        return model.model_validate(call.body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ApiError(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _summary(record: DeviceRecord) -> dict[str, Any]:
    device = record.device
    return {
        "nodeId": device.node_id,
        "managedThingId": record.managed_thing_id,
        "id": str(device.id),
        "address": device.address,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "status": record.status,
        "availability": str(record.availability),
        "deviceTypes": sorted({kind for endpoint in device.endpoints for kind in endpoint.device_types}),
        "battery": device.battery,
    }


def _whole(record: DeviceRecord) -> dict[str, Any]:
    endpoints = []
    for endpoint in record.device.endpoints:
        capabilities = []
        for capability in endpoint.capabilities:
            state = {
                name: value
                for (place, identifier, name), (value, _, _) in sorted(record.state.items())
                if (place, identifier) == (endpoint.id, capability.id)
            }
            lists = {"actions": list(capability.actions), "events": list(capability.events)}
            capabilities.append(
                {"id": capability.id, "properties": list(capability.properties), **lists, "state": state}
            )
        endpoints.append({"id": endpoint.id, "deviceTypes": list(endpoint.device_types), "capabilities": capabilities})
    device = record.device
    return {
        **_summary(record),
        "firmware": device.firmware,
        "sleepy": device.sleepy,
        "secure": device.secure,
        "unmapped": list(device.unmapped),
        "endpoints": endpoints,
    }
