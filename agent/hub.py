"""The hub: a pure function of what radios and clouds say. PURE.

`handle(event, now)` takes one event and returns the effects, in order; it never waits, reads a clock or touches a file. Effects of one
call are made durable together, before anything of them leaves the house (agent.runtime).

Devices: found -> (local onboarding | the cloud's DEVICE_ONBOARDED) -> capabilities, lifecycle and state are told -> ... -> lost.
A device that joins while nobody asked for it is *quarantined*: known, shown, but not told to any cloud and not controllable.
"""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from agent.capabilities import CapabilityError, validate_action
from agent.clock import Moment
from agent.command_book import CommandBook, together
from agent.discovery_book import DiscoveryBook
from agent.exclusion_book import ExclusionBook
from agent.home import (
    STARTING,
    DeviceRecord,
    RadioRecord,
    address_in,
    bare,
    brings_key,
    capabilities_body,
    deletion,
    discovered_body,
    goes_by,
    lifecycle,
    pairs,
    shown,
    whole_state,
)
from agent.hub_settings import HubSettings
from agent.model import (
    Availability,
    AvailabilityChanged,
    Device,
    DeviceAwake,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    DeviceLost,
    DriverEvent,
    Exclusion,
    JoinWindow,
    RadioDown,
    RadioUp,
)
from agent.reports import Reports
from agent.requests import (
    LOCAL,
    CommandEnded,
    CommandGroup,
    CommandParked,
    CommandRequest,
    Deprovision,
    Effect,
    ExpectNoMore,
    ForgetDevice,
    Interview,
    Kind,
    Onboard,
    OpenExclusion,
    OpenWindow,
    PreAssociate,
    Progress,
    Publish,
    RadioWorkEnded,
    Refresh,
    RejectedCommand,
    Remove,
    Request,
    SaveDevice,
    SaveMeta,
    SetNetworkMode,
    StartDiscovery,
    StartExclusion,
    StatusChanged,
    StopDiscovery,
    StopExclusion,
    Tick,
)
from agent.rereads import Rereads

HubEvent = DriverEvent | Request | CommandEnded | CommandParked | RadioWorkEnded | Tick


class Hub:
    """State of the home, and the rules. One instance, used from one thread."""

    def __init__(self, hub_id: str, *, onboarding: str, default_ttl: float) -> None:
        self.hub_id = hub_id
        self.onboarding = onboarding
        self.radios: dict[str, RadioRecord] = {}
        self.devices: dict[DeviceId, DeviceRecord] = {}
        self.rereads = Rereads()
        self.commands = CommandBook(default_ttl=default_ttl)
        self.discoveries = DiscoveryBook()
        self.exclusions = ExclusionBook()
        self.own = HubSettings()
        self._timed = (self.commands, self.discoveries, self.exclusions, self.rereads)
        self.expected: dict[str, str] = {}  # address of a pre-associated device -> managed thing id
        self.counters: dict[str, int] = {}
        self._offered: dict[DeviceId, set[tuple[str, str]]] = {}  # (endpoint, capability) of each device
        self._handlers: dict[type[Any], Any] = {
            DeviceFound: self._found,
            DeviceJoining: self._joining,
            DeviceLost: self._lost,
            DeviceAwake: self._awake,
            AvailabilityChanged: self._availability,
            JoinWindow: self._window,
            RadioUp: self._radio_up,
            RadioDown: self._radio_down,
            CommandRequest: self._command,
            CommandGroup: self._group,
            RejectedCommand: self._rejected,
            CommandEnded: lambda e, now: self.commands.ended(e.outcome, now),
            CommandParked: lambda e, now: self.commands.parked(e.trace_id, now),
            StartDiscovery: self._discover,
            StopDiscovery: lambda e, _now: self.discoveries.stop(e),
            PreAssociate: self._pre_associate,
            Onboard: self._onboard,
            Deprovision: self._deprovision,
            StartExclusion: lambda e, now: self.exclusions.start(e, self.radios.values(), now),
            StopExclusion: lambda e, _now: self.exclusions.stop(e),
            Exclusion: lambda e, _now: self.exclusions.step(e),
            SetNetworkMode: lambda e, now: self.exclusions.set_mode(e, self.radios.values(), now),
            RadioWorkEnded: self._work_ended,
            Tick: lambda _e, now: [effect for part in self._timed for effect in part.tick(now)],
            **self.own.handlers,
            **Reports(self.devices, self.find, self._count).handlers,
        }

    def handle(self, event: HubEvent, now: Moment) -> list[Effect]:
        """What follows from `event` at `now`."""
        effects: list[Effect] = self._handlers[type(event)](event, now)
        return effects

    def restore(self, record: DeviceRecord) -> None:
        """Take up a device of an earlier run, before any event."""
        self.devices[record.device.id] = record
        self._index(record.device)

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which a Tick is due."""
        return min((due for part in self._timed if (due := part.next_deadline()) is not None), default=None)

    def find(self, ref: str) -> DeviceRecord | None:
        """The device with this managed thing id, node id, key, radio/key or address."""
        return next((record for record in self.devices.values() if goes_by(record, ref)), None)

    # ---- radios -----------------------------------------------------------------------------------------------------

    def _radio_up(self, event: RadioUp, now: Moment) -> list[Effect]:
        radio = self.radios[event.radio]
        radio.up, radio.identity, radio.details, radio.reason = True, event.identity, event.details, ""
        effects: list[Effect] = [StatusChanged(), Progress("radio", {"radio": radio.name, "status": "online"})]
        for record in self._of(event.radio):
            if record.availability is Availability.RADIO_AWAY:
                record.availability = Availability.UNKNOWN
            effects.append(Refresh(record.device.id))
            effects += self.commands.ready(record.device.id, now)
        effects += self.exclusions.radio_up(event.radio, now)
        waiting = self.discoveries.radio_up(event.radio)
        return effects if waiting is None else [*effects, *self._discover(waiting, now)]

    def _radio_down(self, event: RadioDown, _now: Moment) -> list[Effect]:
        radio = self.radios[event.radio]
        was_up, radio.up, radio.reason, radio.window = radio.up, False, event.reason, 0
        for record in self._of(event.radio):
            record.availability = Availability.RADIO_AWAY
        effects = [*self.discoveries.radio_down(event.radio), *self.exclusions.radio_down(event.radio)]
        if was_up:
            data = {"radio": radio.name, "status": "away", "reason": event.reason}
            effects += [StatusChanged(), Progress("radio", data)]
        return effects

    def _window(self, event: JoinWindow, _now: Moment) -> list[Effect]:
        self.radios[event.radio].window = event.seconds
        progress = Progress("window", {"radio": event.radio, "seconds": event.seconds})
        return [progress, *self.discoveries.window(event.radio, event.seconds)]

    def _of(self, radio: str) -> Iterable[DeviceRecord]:
        return [record for record in self.devices.values() if record.device.id.radio == radio]

    # ---- devices ----------------------------------------------------------------------------------------------------

    def _joining(self, event: DeviceJoining, now: Moment) -> list[Effect]:
        data: dict[str, Any] = {"device": str(event.id), "nodeId": event.node_id}
        data |= {"stage": event.stage, "detail": event.detail}
        if event.seconds:
            data["seconds"] = event.seconds
            self.discoveries.asks(event.id.radio, event.seconds, now)
        return [Progress("joining", data), *self._step(event.id, event.stage, event.detail)]

    def _step(self, device: DeviceId, stage: str, detail: str) -> list[Effect]:
        known = self.devices.get(device)
        return self.discoveries.joining(device, stage, detail, known.managed_thing_id if known else "")

    def _found(self, event: DeviceFound, now: Moment) -> list[Effect]:
        device = event.device
        known = self.devices.get(device.id)
        if event.known and known is not None and known.device == device:
            return [Refresh(device.id)] if self.radios[device.id.radio].up else []
        if known is not None and not known.quarantined:
            return self._changed(known, device, now)
        # A device of the radio's own database that the hub does not know was joined by an earlier hub: it is ours.
        # One that the radio was told to expect was asked for then.
        ours = (event.known and known is None) or event.expected or bare(device.address) in self.expected
        asked = ours or self.discoveries.active(device.id.radio) is not None
        record = DeviceRecord(device, quarantined=not asked, joined_at=now.wall, stale=True)
        self.restore(record)
        discovery, effects = self.discoveries.found(device.id)
        data = shown(record)
        if record.quarantined:
            self._count("quarantined")
            return [SaveDevice(device.id), Progress("quarantined", data)]
        found = Publish(Kind.DISCOVERED, record.ref, discovered_body(record, discovery, "DISCOVERED", now))
        # The progress first: the last device of a discovery ends it, and whoever watches it hears nothing after that.
        return [SaveDevice(device.id), found, Progress("found", data), *effects, *self._auto_onboard(record, now)]

    def _changed(self, record: DeviceRecord, device: Device, now: Moment) -> list[Effect]:
        """An interview of a known device ended: tell what is new, and only that. One that nobody has onboarded is offered again."""
        unchanged = record.device == device
        record.device = device
        self._index(device)
        discovery, effects = self.discoveries.found(device.id, record.managed_thing_id)
        data = shown(record)
        effects.insert(0, Progress("found", {**data, "known": True}))
        if not unchanged:
            effects.append(SaveDevice(device.id))
        if record.managed_thing_id and (discovery or not unchanged):
            effects.append(Publish(Kind.CAPABILITIES, record.ref, capabilities_body(record)))
        if not record.managed_thing_id:
            body = discovered_body(record, discovery, "DISCOVERED", now)
            effects += [Publish(Kind.DISCOVERED, record.ref, body)] if discovery else []
            effects += self._auto_onboard(record, now)
        return [*effects, Refresh(device.id)]

    def _auto_onboard(self, record: DeviceRecord, now: Moment) -> list[Effect]:
        expected = self.expected.pop(bare(record.device.address), "")
        if expected:
            return [SaveMeta("expected", pairs(self.expected)), *self._activate(record, expected, now)]
        if self.onboarding == "local":
            # The same device gets the same id again, so that what a cloud or a person wrote down stays true.
            digest = sha256(f"{self.hub_id}/{record.device.address or record.device.id}".encode()).hexdigest()
            return self._activate(record, digest[:32], now)
        return []

    def _onboard(self, event: Onboard, now: Moment) -> list[Effect]:
        record = self.find(event.node_id)
        if record is None:
            self._count("unknown_device")
            return [Progress("refused", {"request": "onboard", "device": event.node_id})]
        if record.managed_thing_id == event.managed_thing_id:
            return []
        record.quarantined = False
        return self._activate(record, event.managed_thing_id, now)

    def _activate(self, record: DeviceRecord, managed_thing_id: str, now: Moment) -> list[Effect]:
        record.managed_thing_id = managed_thing_id
        return [
            SaveDevice(record.device.id),
            Publish(Kind.CAPABILITIES, record.ref, capabilities_body(record)),
            lifecycle(record, now),
            *whole_state(record),
            Refresh(record.device.id),
        ]

    def _lost(self, event: DeviceLost, now: Moment) -> list[Effect]:
        record = self.devices.pop(event.id, None)
        if record is None:
            return []
        self._offered.pop(event.id, None)
        effects = self.commands.gone(event.id, f"the device left: {event.reason}", now)
        data = {"device": str(event.id), "nodeId": record.device.node_id, "reason": event.reason}
        effects += [ForgetDevice(event.id), Progress("removed", data)]
        if not record.quarantined:
            effects.append(deletion(record, "DELETED", event.reason, now))
        return effects

    def _awake(self, event: DeviceAwake, now: Moment) -> list[Effect]:
        record = self.devices.get(event.id)
        if record is None:
            return []
        effects: list[Effect] = [Refresh(event.id)] if record.stale else []
        return [*self.commands.ready(event.id, now), *effects]

    def _availability(self, event: AvailabilityChanged, now: Moment) -> list[Effect]:
        record = self.devices.get(event.id)
        if record is None or record.availability is event.availability:
            return []
        before, record.availability = record.availability, event.availability
        data = {"device": str(event.id), "nodeId": record.device.node_id, "availability": str(event.availability)}
        effects: list[Effect] = [Progress("availability", data)]
        restarted = (before, event.availability) == (Availability.UNKNOWN, Availability.ONLINE)
        if record.managed_thing_id and not restarted:  # a restart of the hub is no news of the device
            effects.insert(0, lifecycle(record, now))
        if record.stale and event.availability is Availability.ONLINE:  # it did not answer when it was to be read
            effects.append(Refresh(event.id))
        return effects

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _command(self, request: CommandRequest, now: Moment) -> list[Effect]:
        if self.commands.known(request.trace_id):
            self.commands.duplicates += 1
            return [Progress("duplicate", {"traceId": request.trace_id})]
        if request.retained:
            return self.commands.refuse(request, 409, "retained commands are never carried out", now)
        record = self.find(request.device)
        if record is None or record.quarantined:
            return self.commands.refuse(request, 404, f"the hub has no device {request.device!r}", now)
        offered = self._offered[record.device.id]
        for action in request.actions:
            if (action.endpoint, action.capability) not in offered:
                text = f"endpoint {action.endpoint} of the device has no capability {action.capability}"
                return self.commands.refuse(request, 404, text, now)
            try:
                validate_action(action.capability, action.name, action.parameters)
            except CapabilityError as error:
                return self.commands.refuse(request, 400, str(error), now)
        radio = self.radios.get(record.device.id.radio)
        return self.commands.request(request, record.device.id, now, ready=radio is not None and radio.up)

    def _group(self, group: CommandGroup, now: Moment) -> list[Effect]:
        return together([effect for request in group.requests for effect in self._command(request, now)])

    def _rejected(self, event: RejectedCommand, now: Moment) -> list[Effect]:
        if self.commands.known(event.request.trace_id):
            self.commands.duplicates += 1
            return []
        return self.commands.refuse(event.request, event.code, event.reason, now)

    def _discover(self, request: StartDiscovery, now: Moment) -> list[Effect]:
        if request.replaces:
            record = self.find(request.replaces)
            if record is None:
                return self.discoveries.fail(request, "404", f"the hub has no device {request.replaces!r}")
            of = self.radios[record.device.id.radio]
            if not of.replaces:
                return self.discoveries.fail(
                    request, "501", f"the radio {of.name} cannot put a device in another's place"
                )
            request = replace(request, replaces=str(record.device.id), radio=of.name, kind=of.kinds[0])
        radios = [r for r in self.radios.values() if request.kind in r.kinds and request.radio in ("", r.name)]
        if not radios:
            return self.discoveries.fail(request, "404", f"the hub has no radio for {request.kind}")
        up = [r for r in radios if r.up]
        if not up:
            if radios[0].reason != STARTING:
                return self.discoveries.fail(request, "503", f"the radio is away: {radios[0].reason}")
            return self.discoveries.wait(request, radios[0].name)
        if not request.rediscover:
            return self.discoveries.start(request, up[0].name, now)
        one = self.find(request.device) if request.device else None
        if request.device and one is None:
            return self.discoveries.fail(request, "404", f"the hub has no device {request.device!r}")
        devices = [one] if one is not None else list(self._of(up[0].name))
        return self.discoveries.rediscover(request, up[0].name, [d.device.id for d in devices], now)

    def _pre_associate(self, event: PreAssociate, now: Moment) -> list[Effect]:
        address = address_in(event.discovery.material)
        if not address:
            return self.discoveries.fail(event.discovery, "400", "the authentication material names no device address")
        here = next((record for record in self.devices.values() if bare(record.device.address) == address), None)
        if here is not None and here.managed_thing_id in ("", event.managed_thing_id) and not brings_key(here, event):
            here.quarantined = False  # it joined before its code was scanned
            return self._activate(here, event.managed_thing_id, now)
        self.expected[address] = event.managed_thing_id
        return [SaveMeta("expected", pairs(self.expected)), *self._discover(event.discovery, now)]

    def _deprovision(self, event: Deprovision, now: Moment) -> list[Effect]:
        record = self.find(event.device)
        if record is not None:
            return [Remove(record.device.id, event.force, event.source)]
        data = {"device": event.device, "error": f"the hub has no device {event.device!r}", "code": 404}
        if event.source == LOCAL:
            return [Progress("remove_failed", data)]
        asked = bare(event.device)
        address = next((at for at, thing in self.expected.items() if asked in (at, bare(thing))), "")
        if address:  # it has not come yet, and may not any more
            return [ExpectNoMore(address, event.device)]
        # What the hub does not have is deleted already: a cloud that asks again gets the answer that ends its wait.
        body = {"status": "DELETED", "nodeId": event.device, "reason": "the hub has no such device", "at": now.wall}
        return [Publish(Kind.LIFECYCLE, event.device, body)]

    def _work_ended(self, event: RadioWorkEnded, now: Moment) -> list[Effect]:
        effect = event.effect
        if isinstance(effect, Refresh):
            self.rereads.ended(effect.id, self.devices.get(effect.id), event, now)
            return []
        if isinstance(effect, OpenWindow):
            if event.error:
                return self.discoveries.failed(effect.radio, effect.discovery.id, event.code, event.error)
            self.discoveries.opened(effect.radio, effect.discovery.id)
        if isinstance(effect, ExpectNoMore):
            return self._expected_no_more(effect, event, now)
        if not event.error:
            return []
        if isinstance(effect, OpenExclusion):
            return self.exclusions.failed(effect, event.code, event.error)
        if isinstance(effect, Interview):
            return self._step(effect.id, "failed", event.error)
        if isinstance(effect, Remove):
            return self._remove_failed(effect, event, now)
        return []

    def _expected_no_more(self, effect: ExpectNoMore, event: RadioWorkEnded, now: Moment) -> list[Effect]:
        status, reason = ("DELETION_FAILED", event.error) if event.error else ("DELETED", "it is no longer expected")
        body = {"status": status, "nodeId": effect.device, "reason": reason, "at": now.wall}
        told = Publish(Kind.LIFECYCLE, effect.device, body)
        if event.error:
            return [told]
        self.expected.pop(effect.address, None)
        return [SaveMeta("expected", pairs(self.expected)), told]

    def _remove_failed(self, effect: Remove, event: RadioWorkEnded, now: Moment) -> list[Effect]:
        record = self.devices.get(effect.id)
        data = {"device": str(effect.id), "error": event.error, "code": event.code}
        effects: list[Effect] = [Progress("remove_failed", data)]
        if record is None or effect.source == LOCAL:
            return effects
        return [deletion(record, "DELETION_FAILED", event.error, now), *effects]

    # ---- helpers ----------------------------------------------------------------------------------------------------

    def _index(self, device: Device) -> None:
        self._offered[device.id] = {(e.id, c.id) for e in device.endpoints for c in e.capabilities}

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1
