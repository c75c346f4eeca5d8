"""What devices say: their state and their events, checked and told once; and what a cloud is told that asks for it. PURE."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.capabilities import CapabilityError, validate_event, validate_report
from agent.clock import Moment
from agent.home import DeviceRecord, whole_state
from agent.model import DeviceEvent, DeviceId, Report
from agent.requests import Effect, Kind, Progress, Publish, PublishState, Refresh, StateQuery

DUPLICATE_WINDOW = 1.0  # seconds; a radio repeats a frame whose acknowledgement was lost within this


class Reports:
    """Handlers, which the hub adds to its own. `find` knows a device by any of its names, `count` keeps the hub's counters."""

    def __init__(
        self,
        devices: Mapping[DeviceId, DeviceRecord],
        find: Callable[[str], DeviceRecord | None],
        count: Callable[[str], None],
    ) -> None:
        self._devices, self._find, self._count = devices, find, count
        self.handlers: Mapping[type[Any], Callable[[Any, Moment], list[Effect]]] = {
            Report: self._report,
            DeviceEvent: self._event,
            StateQuery: self._state_query,
        }

    def _report(self, event: Report, now: Moment) -> list[Effect]:
        record = self._devices.get(event.id)
        if record is None:
            self._count("reports_of_unknown_devices")
            return []
        try:
            validate_report(event.capability, event.properties)
        except CapabilityError as error:
            self._count("invalid_reports")
            return [Progress("invalid", {"device": str(event.id), "error": str(error)})]
        values = []
        for name, value in event.properties.items():
            key = (event.endpoint, event.capability, name)
            old = record.state.get(key)
            same = old is not None and old[0] == value
            changed_at = old[1] if old is not None and same else now.wall
            record.state[key] = (value, changed_at, now.mono)
            if old is not None and same and not record.stale and now.mono - old[2] < DUPLICATE_WINDOW:
                self._count("duplicate_reports")
                continue
            values.append((event.endpoint, event.capability, name, value, changed_at))
        if not values or not record.managed_thing_id:
            return []
        record.dirty = True
        return [PublishState(event.id, record.ref, tuple(values))]

    def _event(self, event: DeviceEvent, now: Moment) -> list[Effect]:
        record = self._devices.get(event.id)
        if record is None or not record.managed_thing_id:
            self._count("events_of_unknown_devices")
            return []
        try:
            validate_event(event.capability, event.event, event.fields)
        except CapabilityError as error:
            self._count("invalid_events")
            return [Progress("invalid", {"device": str(event.id), "error": str(error)})]
        body = {
            "endpoint": event.endpoint,
            "capability": event.capability,
            "event": event.event,
            "fields": dict(event.fields),
            "at": now.wall,
        }
        data = {"device": str(event.id), "nodeId": record.device.node_id, **body}
        return [Publish(Kind.EVENT, record.ref, body), Progress("event", data)]

    def _state_query(self, event: StateQuery, _now: Moment) -> list[Effect]:
        records = list(self._devices.values()) if not event.device else [self._find(event.device)]
        effects: list[Effect] = []
        for record in records:
            if record is None or record.quarantined:
                self._count("unknown_device")
                continue
            effects += [Refresh(record.device.id)] if event.refresh else []
            effects += whole_state(record)
        return effects
