"""Join windows and rediscoveries. PURE.

    request -> RUNNING -> devices found ... -> window closes -> last interviews end -> SUCCEEDED | TIMED_OUT (none found)
            -> FAILED (no such radio, radio away, bad material, hub restarted)

One discovery at a time has a radio; a second one ends the first. Windows close by themselves, and all of them at a restart.
"""

import json
from dataclasses import dataclass, field

from agent.clock import Moment
from agent.model import DeviceId, Discovery
from agent.requests import (
    LOCAL,
    CloseWindow,
    Effect,
    Interview,
    Kind,
    OpenWindow,
    Progress,
    Publish,
    SaveMeta,
    StartDiscovery,
    StopDiscovery,
)

INTERVIEW_GRACE = 90.0  # a device that joined in the last second is still interviewed; sleepy ones take about a minute
REDISCOVERY_LIMIT = 900.0  # managed integrations ends a stuck rediscovery after 15 minutes
META_KEY = "discoveries"


@dataclass(slots=True)
class _Running:
    request: StartDiscovery
    radio: str
    ends: float  # monotonic: when it is over at the latest
    open: bool = False
    seen: bool = False  # its window was heard of: before that, a radio speaks of the window whose place it takes
    joining: set[DeviceId] = field(default_factory=set)
    found: set[DeviceId] = field(default_factory=set)
    failures: dict[DeviceId, str] = field(default_factory=dict)


class DiscoveryBook:
    """Every running discovery, by radio."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._waiting: dict[str, StartDiscovery] = {}  # for a radio that is starting

    def restore(self, saved: str) -> list[Effect]:
        """Discoveries that ran when the hub stopped: their windows are closed, and the clouds hear of it."""
        effects: list[Effect] = []
        for identifier, source in json.loads(saved or "[]"):
            error = {"code": "500", "message": "the hub restarted; the join window is closed"}
            effects.append(_status(identifier, source, "FAILED", 0, error))
        if effects:
            effects.append(SaveMeta(META_KEY, "[]"))
        return effects

    def active(self, radio: str) -> StartDiscovery | None:
        """The request that holds the radio's window, if there is one."""
        running = self._running.get(radio)
        return running.request if running else None

    def fail(self, request: StartDiscovery, code: str, message: str) -> list[Effect]:
        """A request that cannot run at all."""
        return [_status(request.id, request.source, "FAILED", 0, {"code": code, "message": message})]

    def wait(self, request: StartDiscovery, radio: str) -> list[Effect]:
        """A request for a radio that is starting: it runs once the radio is up, and fails when that goes wrong."""
        effects = self._give_up(radio, "another discovery came before the radio was up")
        self._waiting[radio] = request
        return [*effects, self._saved()]

    def radio_up(self, radio: str) -> StartDiscovery | None:
        """The request that has waited for this radio."""
        return self._waiting.pop(radio, None)

    def _give_up(self, radio: str, why: str) -> list[Effect]:
        request = self._waiting.pop(radio, None)
        return [self._saved(), *self.fail(request, "503", why)] if request else []

    def start(self, request: StartDiscovery, radio: str, now: Moment) -> list[Effect]:
        """Open a window on `radio`. A repeated id is the same request and changes nothing."""
        held = self._running.get(radio)
        if held is not None and held.request.id == request.id:
            return []
        effects = self._finish(radio) if held is not None else []
        self._running[radio] = _Running(request, radio, now.mono + request.duration + INTERVIEW_GRACE, open=True)
        discovery = Discovery(
            request.id,
            request.kind,
            request.duration,
            request.material,
            request.material_type,
            request.attended,
            request.replaces.partition("/")[2],
        )
        return [
            *effects,
            self._saved(),
            _status(request.id, request.source, "RUNNING", 0),
            OpenWindow(radio, discovery),
        ]

    def rediscover(self, request: StartDiscovery, radio: str, devices: list[DeviceId], now: Moment) -> list[Effect]:
        """Read the capabilities of `devices` anew; each one is told as it ends, the last word says that all are done."""
        held = self._running.get(radio)
        closed: list[Effect] = [CloseWindow(radio)] if held is not None and held.open else []
        effects = [*closed, *self._finish(radio)] if held is not None else []
        running = _Running(request, radio, now.mono + REDISCOVERY_LIMIT, joining=set(devices))
        self._running[radio] = running
        effects += [self._saved(), _status(request.id, request.source, "RUNNING", 0)]
        effects += [Interview(device) for device in devices]
        return effects if devices else [*effects, *self._finish(radio)]

    def stop(self, request: StopDiscovery) -> list[Effect]:
        effects: list[Effect] = []
        for radio, waiting in list(self._waiting.items()):
            if waiting.id == request.id or not request.id:
                effects += self._give_up(radio, "stopped before the radio was up")
        for radio, running in list(self._running.items()):
            if running.request.id == request.id or not request.id:
                effects += [CloseWindow(radio), *self._closed(running)]
        return effects

    def joining(self, device: DeviceId, stage: str, detail: str, thing: str = "") -> list[Effect]:
        """A step of a join; a failed one no longer holds the discovery open. `thing`: the managed thing that the device is."""
        running = self._running.get(device.radio)
        if running is None:
            return []
        if stage != "failed":
            running.joining.add(device)
            return []
        running.joining.discard(device)
        error = {"code": "500", "message": detail or "the interview failed"}
        effects: list[Effect] = [_status(running.request.id, running.request.source, "RUNNING", 0, error, thing)]
        return [*effects, *self._closed(running)] if not running.open else effects

    def asks(self, radio: str, seconds: int, now: Moment) -> None:
        """A person is asked something: the discovery waits for the answer, and for the interview after it."""
        running = self._running.get(radio)
        if running is not None:
            running.ends = max(running.ends, now.mono + seconds + INTERVIEW_GRACE)

    def found(self, device: DeviceId, thing: str = "") -> tuple[str, list[Effect]]:
        """A device is interviewed: the id of the discovery that it belongs to (or ""), and what follows."""
        running = self._running.get(device.radio)
        if running is None:
            return "", []
        running.joining.discard(device)
        running.found.add(device)
        effects: list[Effect] = [_status(running.request.id, running.request.source, "RUNNING", 1, thing=thing)]
        return running.request.id, effects if running.open else [*effects, *self._closed(running)]

    def window(self, radio: str, seconds: int) -> list[Effect]:
        """The radio's join window changed."""
        running = self._running.get(radio)
        if running is None or not running.open:
            return []
        running.seen = running.seen or seconds > 0
        if seconds or not running.seen:
            return []
        running.open = False
        return self._closed(running)

    def opened(self, radio: str, identifier: str) -> None:
        """The radio has done as it was asked; also one that does not speak of its window."""
        running = self._running.get(radio)
        if running is not None and running.request.id == identifier:
            running.seen = True

    def failed(self, radio: str, identifier: str, code: int, message: str) -> list[Effect]:
        """The window could not be opened."""
        running = self._running.get(radio)
        if running is None or running.request.id != identifier:
            return []
        del self._running[radio]
        error = {"code": str(code), "message": message}
        return [self._saved(), _status(identifier, running.request.source, "FAILED", 0, error)]

    def radio_down(self, radio: str) -> list[Effect]:
        effects = self._give_up(radio, "the radio could not be started")
        running = self._running.get(radio)
        return effects + (self.failed(radio, running.request.id, 503, "the radio went away") if running else [])

    def tick(self, now: Moment) -> list[Effect]:
        effects: list[Effect] = []
        for running in [r for r in self._running.values() if r.ends <= now.mono]:
            effects += [*([CloseWindow(running.radio)] if running.open else []), *self._finish(running.radio)]
        return effects

    def next_deadline(self) -> float | None:
        return min((running.ends for running in self._running.values()), default=None)

    def _closed(self, running: _Running) -> list[Effect]:
        running.open = False
        return [] if running.joining else self._finish(running.radio)

    def _finish(self, radio: str) -> list[Effect]:
        running = self._running.pop(radio)
        request = running.request
        if request.rediscover:
            status, count = ("FAILED" if running.joining else "SUCCEEDED"), 0
        else:
            status, count = ("SUCCEEDED" if running.found else "TIMED_OUT"), len(running.found)
        return [self._saved(), _status(request.id, request.source, status, count)]

    def _saved(self) -> SaveMeta:
        requests = [*(running.request for running in self._running.values()), *self._waiting.values()]
        return SaveMeta(META_KEY, json.dumps([(request.id, request.source) for request in requests]))


def _status(
    identifier: str, source: str, status: str, count: int, error: dict[str, str] | None = None, thing: str = ""
) -> Effect:
    body: dict[str, object] = {"id": identifier, "status": status, "count": count}
    if error:
        body["error"] = error
    if source == LOCAL:
        return Progress("discovery", body)
    return Publish(Kind.DISCOVERY_STATUS, thing, body, uplink=source)
