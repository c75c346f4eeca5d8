"""Exclusion windows, and the network mode that asks for them. PURE.

    request -> window open on every radio that can -> devices leave ... -> windows closed -> told how many left
            -> refused (no radio can, radios away)

Whatever device is asked to leaves its network while a window is open, also one of another network: a used device can be reset so. One
request at a time has a radio; windows close by themselves, and all of them at a restart. The cloud's network mode
NETWORK_WIDE_EXCLUSION is such a request, and is STANDARD again when its windows are closed (AWS does not say when the mode ends).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.clock import Moment
from agent.home import STARTING, RadioRecord
from agent.model import Exclusion
from agent.requests import (
    CloseWindow,
    Effect,
    OpenExclusion,
    Progress,
    SetNetworkMode,
    StartExclusion,
    StatusChanged,
    StopExclusion,
)

STANDARD, NETWORK_WIDE = "STANDARD", "NETWORK_WIDE_EXCLUSION"
MODE_ID = "network-mode"
MODE_SECONDS = 300  # that the mode lasts: long enough to go to the device, no more than that
GRACE = 90.0  # seconds until a window that its radio has not closed is closed; a device that leaves may take 60


@dataclass(slots=True)
class _Running:
    """One request: when each of its windows is over at the latest (monotonic), how many left."""

    request: StartExclusion
    windows: dict[str, float] = field(default_factory=dict)  # by radio
    seen: set[str] = field(
        default_factory=set
    )  # radios whose window was heard of: before, they speak of the one before it
    waits: set[str] = field(default_factory=set)  # radios that are starting
    own: int = 0
    foreign: int = 0
    error: dict[str, str] = field(default_factory=dict)


class ExclusionBook:
    """Every running request. `mode`: the hub's network mode; `mode_error`: why it is not the one that was asked for."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self.mode = STANDARD
        self.mode_error: dict[str, str] = {}
        self.excluded: dict[str, int] = {}  # devices that left since the mode was last asked for: own, foreign

    # ---- requests ---------------------------------------------------------------------------------------------------

    def set_mode(self, event: SetNetworkMode, radios: Iterable[RadioRecord], now: Moment) -> list[Effect]:
        """What the cloud wants; the mode that it asks for again goes on."""
        if event.mode != NETWORK_WIDE:
            self.mode_error = {}
            return [*self.stop(StopExclusion(MODE_ID)), StatusChanged()]
        if self.mode == NETWORK_WIDE:
            return [StatusChanged()]
        self.mode, self.mode_error, self.excluded = NETWORK_WIDE, {}, {"own": 0, "foreign": 0}
        return [StatusChanged(), *self.start(StartExclusion(MODE_ID, "", MODE_SECONDS), radios, now)]

    def start(self, request: StartExclusion, radios: Iterable[RadioRecord], now: Moment) -> list[Effect]:
        """Open the windows. `radios`: all of the hub."""
        wanted = [r for r in radios if request.radio in ("", r.name) and (not request.kind or request.kind in r.kinds)]
        able = [radio for radio in wanted if radio.excludes_network_wide]
        running = self._running[request.id] = _Running(request)
        if not able:
            named = request.radio or request.kind
            code = ("501", "no radio of this hub knows network-wide exclusion")
            return self._refuse(running, *(code if wanted else ("404", f"the hub has no radio for {named}")))
        running.waits = {radio.name for radio in able if not radio.up and radio.reason == STARTING}
        up = [radio.name for radio in able if radio.up]
        if not up and not running.waits:
            return self._refuse(running, "503", f"the radio is away: {able[0].reason}")
        return [effect for name in up for effect in self._open(running, name, now)]

    def stop(self, event: StopExclusion) -> list[Effect]:
        effects: list[Effect] = []
        for running in [r for r in self._running.values() if event.id in ("", r.request.id)]:
            effects += [CloseWindow(radio) for radio in running.windows]
            running.waits.clear()
            running.windows.clear()
            effects += self._ended(running)
        return effects

    # ---- what radios say --------------------------------------------------------------------------------------------

    def step(self, event: Exclusion) -> list[Effect]:
        """A radio's window goes on."""
        running = self._of(event.radio)
        if running is None:
            return []
        effects: list[Effect] = []
        if event.stage == "left":
            running.own += event.device is not None
            running.foreign += event.device is None
            if running.request.id == MODE_ID:
                self.excluded = {"own": running.own, "foreign": running.foreign}
                effects.append(StatusChanged())
        if event.stage == "open":
            running.seen.add(event.radio)
        if event.stage == "closed":
            return self._closed(running, event.radio) if event.radio in running.seen else []
        data = {"stage": event.stage, "detail": event.detail, "device": str(event.device or "")}
        return [*effects, _told(running, event.radio, **data, **({"seconds": event.seconds} if event.seconds else {}))]

    def failed(self, effect: OpenExclusion, code: int, message: str) -> list[Effect]:
        """The window could not be opened."""
        running = self._of(effect.radio)
        if running is None or running.request.id != effect.id:
            return []
        running.error = {"code": str(code), "message": message}
        return self._closed(running, effect.radio)

    def radio_up(self, radio: str, now: Moment) -> list[Effect]:
        """What has waited for this radio."""
        effects: list[Effect] = []
        for running in [r for r in self._running.values() if radio in r.waits]:
            running.waits.discard(radio)
            effects += self._open(running, radio, now)
        return effects

    def radio_down(self, radio: str) -> list[Effect]:
        effects: list[Effect] = []
        for running in [r for r in self._running.values() if radio in r.waits or radio in r.windows]:
            running.waits.discard(radio)
            running.error = {"code": "503", "message": "the radio went away"}
            effects += self._closed(running, radio)
        return effects

    def tick(self, now: Moment) -> list[Effect]:
        late = [(r, radio) for r in self._running.values() for radio, ends in r.windows.items() if ends <= now.mono]
        return [effect for r, radio in late for effect in (CloseWindow(radio), *self._closed(r, radio))]

    def next_deadline(self) -> float | None:
        return min((ends for running in self._running.values() for ends in running.windows.values()), default=None)

    # ---- helpers ----------------------------------------------------------------------------------------------------

    def _of(self, radio: str) -> _Running | None:
        return next((running for running in self._running.values() if radio in running.windows), None)

    def _open(self, running: _Running, radio: str, now: Moment) -> list[Effect]:
        held = self._of(radio)
        effects = [] if held is None else self._closed(held, radio)  # its driver opens the new one in place of it
        running.windows[radio] = now.mono + running.request.duration + GRACE
        return [*effects, OpenExclusion(radio, running.request.id, running.request.duration)]

    def _closed(self, running: _Running, radio: str) -> list[Effect]:
        running.windows.pop(radio, None)
        return [] if running.windows or running.waits else self._ended(running)

    def _refuse(self, running: _Running, code: str, message: str) -> list[Effect]:
        running.error = {"code": code, "message": message}
        return self._ended(running)

    def _ended(self, running: _Running) -> list[Effect]:
        """All is closed. That something went wrong counts where nobody left."""
        self._running.pop(running.request.id, None)
        error = {} if running.own + running.foreign else running.error
        told = {"stage": "ended", "own": running.own, "foreign": running.foreign, **({"error": error} if error else {})}
        effects: list[Effect] = [_told(running, "", **told)]
        if running.request.id != MODE_ID:
            return effects
        self.mode, self.mode_error = STANDARD, error
        return [*effects, StatusChanged()]


def _told(running: _Running, radio: str, **data: object) -> Progress:
    return Progress("exclusion", {"id": running.request.id, "radio": radio, **data})
