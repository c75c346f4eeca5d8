"""Destinations and notification configurations: which events the customer is told, and where."""

from agent.sim.managed_integrations.world import Notice, Request, Result, World
from agent.sim.records import Record
from agent.sim.service_model import AwsError

SOURCE = "aws.iotmanagedintegrations"


class Notifications:
    """Actions on destinations and configurations; `deliveries` turns a notice into what its destination gets."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ---- destinations -----------------------------------------------------------------------------------------------

    def create_destination(self, request: Request) -> Result:
        world, name = self._world, request["Name"]
        if world.records.get("destination", name) is not None:
            raise AwsError("ConflictException", f"A destination named {name} exists already.")
        now = world.now()
        destination = {**request, "CreatedAt": now, "UpdatedAt": now}
        world.records.put("destination", name, destination)
        return {"Name": name}

    def get_destination(self, request: Request) -> Result:
        return self._world.pick(
            "GetDestinationResponse", self._world.need("destination", request["Name"], "Destination")
        )

    def update_destination(self, request: Request) -> None:
        found = self._world.need("destination", request["Name"], "Destination")
        self._world.records.put("destination", request["Name"], {**found, **request, "UpdatedAt": self._world.now()})

    def list_destinations(self, request: Request) -> Result:
        found, more = self._world.page("destination", request)
        return {"DestinationList": [self._world.pick("DestinationSummary", entry) for entry in found], **more}

    def delete_destination(self, request: Request) -> None:
        self._world.need("destination", request["Name"], "Destination")
        self._world.records.delete("destination", request["Name"])

    # ---- notification configurations --------------------------------------------------------------------------------

    def create_notification_configuration(self, request: Request) -> Result:
        world, event = self._world, request["EventType"]
        if world.records.get("notification", event) is not None:
            raise AwsError("ConflictException", f"A notification configuration for {event} exists already.")
        world.need("destination", request["DestinationName"], "Destination")
        now = world.now()
        world.records.put("notification", event, {**request, "CreatedAt": now, "UpdatedAt": now})
        return {"EventType": event}

    def get_notification_configuration(self, request: Request) -> Result:
        return self._world.pick("GetNotificationConfigurationResponse", self._need(request))

    def update_notification_configuration(self, request: Request) -> None:
        found = self._need(request)
        self._world.need("destination", request["DestinationName"], "Destination")
        changed = {**found, "DestinationName": request["DestinationName"], "UpdatedAt": self._world.now()}
        self._world.records.put("notification", request["EventType"], changed)

    def list_notification_configurations(self, request: Request) -> Result:
        found, more = self._world.page("notification", request)
        items = [self._world.pick("NotificationConfigurationSummary", entry) for entry in found]
        return {"NotificationConfigurationList": items, **more}

    def delete_notification_configuration(self, request: Request) -> None:
        self._need(request)
        self._world.records.delete("notification", request["EventType"])

    def _need(self, request: Request) -> Record:
        return self._world.need("notification", request["EventType"], "Notification Configuration")

    # ---- delivery ---------------------------------------------------------------------------------------------------

    def delivery(self, notice: Notice) -> tuple[str, Record] | None:
        """(stream name, record) of a notice; None when no configuration asks for it."""
        wanted = self._world.records.get("notification", notice.event_type)
        destination = wanted and self._world.records.get("destination", wanted["DestinationName"])
        if not destination:
            return None
        stream = destination["DeliveryDestinationArn"].rpartition("/")[2]
        return stream, {
            "version": "1.0.0",
            "messageId": notice.message_id,
            "messageType": notice.event_type,
            "source": SOURCE,
            "customerAccountId": self._world.account,
            "timestamp": self._world.stamp(),
            "region": self._world.region,
            "resources": list(notice.resources),
            "payload": dict(notice.payload),
        }
