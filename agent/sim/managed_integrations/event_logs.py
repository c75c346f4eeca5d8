"""Event logs: configurations by resource and level, and the line that an event of a resource becomes.

What a configuration without a resource is for, every resource of its type; `*`: every type. The most exact one counts. What the lines look
like is not public; these have the event's own members.
"""

from typing import Any

from agent.sim.managed_integrations.world import Notice, Request, Result, World, new_id
from agent.sim.service_model import AwsError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
EVERY = "*"
_FAILED = ("failed", "FAILED", "TIMED_OUT", "DELETION_FAILED")


class EventLogs:
    """Actions on event log configurations; `line` is what is logged of a notice."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create_event_log_configuration(self, request: Request) -> Result:
        world, identifier = self._world, new_id()
        for other in world.records.all("event-log", ResourceType=request["ResourceType"]):
            if other.get("ResourceId") == request.get("ResourceId"):
                raise AwsError("ConflictException", "An event log configuration for this resource exists already.")
        members = {name: request.get(name) for name in ("ResourceType", "ResourceId", "EventLogLevel")}
        world.records.put("event-log", identifier, {"Id": identifier, **members})
        return {"Id": identifier}

    def get_event_log_configuration(self, request: Request) -> Result:
        found = self._world.need("event-log", request["Id"], "Event Log Configuration")
        return self._world.pick("GetEventLogConfigurationResponse", found)

    def update_event_log_configuration(self, request: Request) -> None:
        found = self._world.need("event-log", request["Id"], "Event Log Configuration")
        self._world.records.put("event-log", request["Id"], {**found, "EventLogLevel": request["EventLogLevel"]})

    def list_event_log_configurations(self, request: Request) -> Result:
        found, more = self._world.page("event-log", request)
        items = [self._world.pick("EventLogConfigurationSummary", entry) for entry in found]
        return {"EventLogConfigurationList": items, **more}

    def delete_event_log_configuration(self, request: Request) -> None:
        self._world.need("event-log", request["Id"], "Event Log Configuration")
        self._world.records.delete("event-log", request["Id"])

    def line(self, notice: Notice) -> dict[str, Any] | None:
        """The line of an event, None when no configuration asks for it."""
        kind, identifier = _subject(notice)
        found = [entry for entry in self._world.records.all("event-log") if _concerns(entry, kind, identifier)]
        if not found:
            return None
        level, wanted = (
            _level(notice),
            max(found, key=lambda entry: bool(entry.get("ResourceId")) * 2 + (entry["ResourceType"] != EVERY)),
        )
        if LEVELS.index(level) < LEVELS.index(wanted["EventLogLevel"]):
            return None
        line = {"timestamp": self._world.stamp(), "level": level, "resourceType": kind, "resourceId": identifier}
        return {**line, "eventType": notice.event_type, "payload": dict(notice.payload)}


def _subject(notice: Notice) -> tuple[str, str]:
    """What an event is logged of: a task for what it does to its targets, else the first resource."""
    task = notice.payload.get("otaTaskId")
    if notice.event_type == "DEVICE_OTA" and task:
        return "ota-task", str(task)
    kind, _, identifier = notice.resources[0].rpartition(":")[2].partition("/")
    return kind, identifier


def _concerns(entry: dict[str, Any], kind: str, identifier: str) -> bool:
    return entry["ResourceType"] in (EVERY, kind) and entry.get("ResourceId") in (None, EVERY, identifier)


def _level(notice: Notice) -> str:
    if any(notice.payload.get(name) in _FAILED for name in ("status", "result")) or "error" in notice.payload:
        return "ERROR"
    return "DEBUG" if notice.event_type == "DEVICE_STATE" else "INFO"
