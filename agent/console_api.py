"""What can be asked on the control socket: one table of routes over the running hub.

GET  status | devices | devices/<ref>
GET  ota | ota/<key>, POST ota                   see agent/console_ota.py
POST discover {kind, radio?, auth?, duration?, attended?, replaces?}   lines until the window has closed; attended: somebody answers
                                                 questions; replaces: the one that joins takes this device's place, which has failed
POST pin {device, pin}                           the answer to a line of discover whose stage is pin; empty: the device stays out
POST exclude {kind?, radio?, duration?}          lines until the window has closed: what device is asked to leaves its network
GET  expected, POST forget {address}             devices that may join by themselves (SmartStart); let one in no more
GET  routes                                      neighbours and routes of each device
POST routes {op, device, repeaters?, speed?, wait?}   op rebuild, prefer, auto: lines until it is done
GET  native/<ref>, POST native {device, endpoint?, command, values?, wait?}   commands of the radio's own protocol, and their answers
POST command {device, actions, ttl?}             lines until the Outcome
POST command {devices, actions, ttl?}            one line for each Outcome; told at the same moment where the radio can
POST remove {device, force?}                     lines until the device is gone
POST backup                                      a line for each radio: its network and keys, or why it gives none
POST restore {radio, network}                    a line once the radio has it
POST factory-reset                               a line once nothing stops it any more; then the agent ends
"""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from agent.console_bodies import (
    BackupBody,
    DiscoverBody,
    DoCommandBody,
    ExcludeBody,
    FactoryResetBody,
    ForgetBody,
    NativeBody,
    PinBody,
    RemoveBody,
    RestoreBody,
    RoutesBody,
    parse,
)
from agent.console_ota import ConsoleOta, OtaBody
from agent.console_radios import ConsoleRadios, watching
from agent.control import Answer, ApiError, Call
from agent.driver import DriverError, Observed
from agent.errors import HubError
from agent.home import DeviceRecord
from agent.model import Action
from agent.requests import LOCAL, CommandGroup, CommandRequest, Deprovision, StartDiscovery, StopDiscovery
from agent.runtime import Runtime

_IDLE: dict[str, Any] = {"inMemory": 0, "onDisk": 0, "counters": {}}


class ConsoleApi:
    """Callable for ControlServer."""

    def __init__(self, runtime: Runtime, version: str, ota: ConsoleOta) -> None:
        self._runtime = runtime
        self._version = version
        radios = ConsoleRadios(runtime)
        self._routes: dict[tuple[str, str], Callable[[Call], Answer | Awaitable[Answer]]] = {
            ("GET", "status"): lambda _call: self.status(),
            ("GET", "devices"): self._devices,
            ("GET", "ota"): lambda call: ota.tasks("/".join(call.path[1:])),
            ("POST", "ota"): lambda call: ota.ask(parse(OtaBody, call)),
            ("POST", "discover"): lambda call: self._discover(parse(DiscoverBody, call)),
            ("POST", "pin"): lambda call: radios.pin(parse(PinBody, call)),
            ("POST", "exclude"): lambda call: radios.exclude(parse(ExcludeBody, call)),
            ("GET", "expected"): lambda _call: radios.expected(),
            ("POST", "forget"): lambda call: radios.forget(parse(ForgetBody, call)),
            ("GET", "routes"): lambda _call: radios.routes(),
            ("POST", "routes"): lambda call: radios.change_routes(parse(RoutesBody, call)),
            ("GET", "native"): lambda call: radios.native_commands("/".join(call.path[1:])),
            ("POST", "native"): lambda call: radios.tell(parse(NativeBody, call)),
            ("POST", "command"): lambda call: self._command(parse(DoCommandBody, call)),
            ("POST", "remove"): lambda call: self._remove(parse(RemoveBody, call)),
            ("POST", "backup"): lambda call: radios.backup(parse(BackupBody, call)),
            ("POST", "rotate"): lambda _call: self._rotate(),
            ("POST", "factory-reset"): lambda call: self._factory_reset(parse(FactoryResetBody, call)),
            ("POST", "restore"): lambda call: radios.restore(parse(RestoreBody, call)),
        }

    async def __call__(self, call: Call) -> Answer:
        name = call.path[0] if call.path else ""
        methods = tuple(method for method, known in self._routes if known == name)
        if not methods or (len(call.path) > 1 and name not in ("devices", "ota", "native")):
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
            "networkMode": hub.exclusions.mode,
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

    async def _discover(self, body: DiscoverBody) -> AsyncGenerator[dict[str, Any]]:
        identifier = f"local-{secrets.token_hex(8)}"
        request = StartDiscovery(
            identifier,
            body.kind.upper(),
            body.duration,
            LOCAL,
            body.auth,
            "",
            body.radio,
            attended=body.attended,
            replaces=body.replaces,
        )
        finished = False
        with watching(self._runtime) as queue:
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

    def _command(self, body: DoCommandBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        for device in body.devices or [body.device]:
            self._find(device)
        return self._outcomes(body)

    async def _outcomes(self, body: DoCommandBody) -> AsyncGenerator[dict[str, Any]]:
        trace_id = f"local-{secrets.token_hex(8)}"
        actions = tuple(Action(a.endpoint, a.capability, a.name, a.parameters) for a in body.actions)
        expires = self._runtime.clock.now().wall + body.ttl
        devices = body.devices or [body.device]
        requests = tuple(
            CommandRequest(f"{trace_id}-{number}", device, actions, LOCAL, expires)
            for number, device in enumerate(devices)
        )
        waiting = {request.trace_id for request in requests}
        with watching(self._runtime) as queue:
            self._runtime.dispatch(requests[0] if len(requests) == 1 else CommandGroup(requests))
            while waiting:
                step = await queue.get()
                if step.what == "outcome" and step.data["traceId"] in waiting:
                    waiting.discard(step.data["traceId"])
                    yield {"what": "outcome", **step.data, "done": not waiting}

    def _remove(self, body: RemoveBody) -> AsyncGenerator[dict[str, Any]]:
        """What the hub does not have is said as an error, before any line."""
        return self._removal(str(self._find(body.device).device.id), force=body.force)

    async def _removal(self, device: str, *, force: bool) -> AsyncGenerator[dict[str, Any]]:
        with watching(self._runtime) as queue:
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
