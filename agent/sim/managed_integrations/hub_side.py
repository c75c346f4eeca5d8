"""What hubs say: status, capability reports, state, events, outcomes and discoveries become records and notifications."""

import logging
from collections.abc import Callable
from typing import Any

from agent.clock import parse_iso
from agent.sim.gate.policy import Presence
from agent.sim.managed_integrations.discoveries import Discoveries
from agent.sim.managed_integrations.things import Things
from agent.sim.managed_integrations.world import Logged, World
from agent.sim.records import Record
from agent.sim.service_model import AwsError
from agent.wire.managed_integrations import Envelope

log = logging.getLogger(__name__)

_UNPROVISIONED = ("UNASSOCIATED", "PRE_ASSOCIATED", "DISCOVERED")
_REASONS = {"connection lost": "CONNECTION_LOST", "stopped": "CLIENT_INITIATED_DISCONNECT"}


class HubSide:
    """The cloud's end of a hub's topics. `ignored` counts messages that fit nothing, by reason."""

    def __init__(self, world: World, things: Things, discoveries: Discoveries) -> None:
        self._world = world
        self._things = things
        self._discoveries = discoveries
        self.ignored: dict[str, int] = {}
        self._of_hub: dict[str, Callable[[Record, Envelope], None]] = {
            "HUB_STATUS": self._status,
            "RUNTIME_LOG": self._runtime_log,
            "DEVICE_DISCOVERED": lambda hub, message: discoveries.found(hub["Id"], message.payload),
            "DISCOVERY_STATUS": lambda hub, message: discoveries.status(
                hub["Id"], message.payload, message.message_id, message.managed_thing_id or ""
            ),
        }
        self._of_device: dict[str, Callable[[Record, Record, Envelope], None]] = {
            "CAPABILITY_REPORT": self._capability_report,
            "DEVICE_STATE": self._state,
            "DEVICE_EVENT": self._event,
            "DEVICE_COMMAND": self._outcome,
            "DEVICE_LIFE_CYCLE": self._life_cycle,
        }

    def heard(self, hub_id: str, message: Envelope) -> None:
        """Take a message of a hub. What does not fit is counted and changes nothing."""
        hub = self._world.records.get("thing", hub_id)
        if hub is None or hub["Role"] != "CONTROLLER":
            self._ignore("unknown hub", hub_id)
            return
        try:
            if message.message_type in self._of_hub:
                self._of_hub[message.message_type](hub, message)
            elif message.message_type in self._of_device:
                self._from_device(hub, message)
            else:
                self._ignore("unknown message", message.message_type)
        except (KeyError, TypeError, ValueError, AttributeError, AwsError) as error:
            self._ignore("malformed message", f"{message.message_type} {error}")

    def _from_device(self, hub: Record, message: Envelope) -> None:
        thing = self._world.records.get("thing", message.managed_thing_id or "")
        if thing is None or not self._is_of(thing, hub):
            self._ignore("unknown device", message.managed_thing_id or "")
            return
        self._of_device[message.message_type](hub, thing, message)

    def _is_of(self, thing: Record, hub: Record) -> bool:
        """A hub speaks for its own devices, and for those that its locker lets it take."""
        if thing.get("ParentControllerId"):
            return bool(thing["ParentControllerId"] == hub["Id"])
        shared = thing.get("CredentialLockerId")
        return bool(
            shared and shared == hub.get("CredentialLockerId") and thing["ProvisioningStatus"] in _UNPROVISIONED
        )

    def _ignore(self, reason: str, detail: str) -> None:
        self.ignored[reason] = self.ignored.get(reason, 0) + 1
        log.warning("%s: %s", reason, detail[:200])

    # ---- the hub itself ---------------------------------------------------------------------------------------------

    def _status(self, hub: Record, message: Envelope) -> None:
        body = message.payload
        if body["status"] == "offboarded":
            self._offboarded(hub)
            return
        online = body["status"] == "online"
        changes: dict[str, Any] = {}
        if online and hub["ProvisioningStatus"] in _UNPROVISIONED:
            changes |= {"ProvisioningStatus": "ACTIVATED", "ActivatedAt": self._world.now()}
        if body.get("networkMode") in ("STANDARD", "NETWORK_WIDE_EXCLUSION"):
            changes["HubNetworkMode"] = body["networkMode"]
        reason = "NONE" if online else _REASONS.get(str(body.get("reason")), "UNKNOWN")
        new = not hub.get("Connected") or hub.get("Greeted") != hub.get("Session")
        if online:
            changes["Greeted"] = hub.get("Session")
        hub = self._things.change(hub, **changes) if changes else hub
        if online and new:
            self._things.hub_is_there(hub)
        if not hub.get("Session"):  # no gate knows it better
            self._connection(hub, online, reason, message)

    def present(self, event: Presence) -> None:
        """A client of the gate has come or gone; what a claim certificate or a second client of the hub does is not its connectivity."""
        thing = self._world.records.get("thing", event.principal.name)
        if thing is None or event.client_id != thing["Id"] or (event.reason and thing.get("Session") != event.session):
            return  # an old session's end, told after the new one's start
        self._things.change(
            thing,
            Connected=not event.reason,
            ConnectivityAt=event.at,
            DisconnectReason=event.reason or "NONE",
            Session=None if event.reason else event.session,
            ConnectionNumber=event.number,
        )
        told = event.document()
        payload = {
            "managedThingId": thing["Id"],
            "managedThingArn": thing["Arn"],
            **told,
            "timestamp": str(told["timestamp"]),
        }
        payload.pop("clientInitiatedDisconnect", None)
        identifier = f"{event.session}-{'disconnected' if event.reason else 'connected'}"
        self._world.notify("DEVICE_LIFE_CYCLE", thing["Arn"], payload, identifier)

    def _offboarded(self, hub: Record) -> None:
        if hub["ProvisioningStatus"] == "DELETE_IN_PROGRESS":
            self._things.drop(hub)

    def _connection(self, thing: Record, connected: bool, reason: str, message: Envelope) -> None:  # noqa: FBT001  both ways
        if thing.get("Connected") is connected:
            return
        at, number = parse_iso(message.timestamp), thing.get("ConnectionNumber", 0) + 1
        known = {"Connected": connected, "ConnectivityAt": at, "DisconnectReason": reason, "ConnectionNumber": number}
        self._things.change(thing, **known)
        payload = {
            "managedThingId": thing["Id"],
            "managedThingArn": thing["Arn"],
            "clientId": thing.get("ParentControllerId") or thing["Id"],
            "timestamp": str(int(at * 1000)),
            "eventType": "connected" if connected else "disconnected",
            "versionNumber": number,
        }
        if not connected:
            payload["disconnectReason"] = reason
        self._world.notify("DEVICE_LIFE_CYCLE", thing["Arn"], payload, message.message_id)

    def _runtime_log(self, hub: Record, message: Envelope) -> None:
        self._world.leaving.append(Logged(hub["Id"], tuple(message.payload["lines"])))

    # ---- its devices ------------------------------------------------------------------------------------------------

    def _capability_report(self, hub: Record, thing: Record, message: Envelope) -> None:
        report = message.payload
        self._world.api.check("CapabilityReport", report)
        members: dict[str, Any] = {"CapabilityReport": report, "NodeId": report.get("nodeId")}
        members["ParentControllerId"] = hub["Id"]
        if thing["ProvisioningStatus"] in _UNPROVISIONED:
            members |= {"ProvisioningStatus": "ACTIVATED", "ActivatedAt": self._world.now()}
        self._things.change(thing, **members)

    def _state(self, _hub: Record, thing: Record, message: Envelope) -> None:
        state = self._world.records.get("state", thing["Id"]) or {}
        for endpoint in message.payload["addedStates"]["endpoints"]:
            capabilities = state.setdefault(str(endpoint["endpointId"]), {})
            for told in endpoint["capabilities"]:
                held = capabilities.setdefault(str(told["id"]), {"properties": {}})
                held |= {"name": told["name"], "version": told["version"]}
                _merge(held["properties"], told["properties"])
        self._world.records.put("state", thing["Id"], state)
        self._world.notify("DEVICE_STATE", thing["Arn"], message.payload, message.message_id)

    def _event(self, _hub: Record, thing: Record, message: Envelope) -> None:
        self._world.notify("DEVICE_EVENT", thing["Arn"], message.payload, message.message_id)

    def _outcome(self, _hub: Record, thing: Record, message: Envelope) -> None:
        trace = str(message.payload["traceId"])
        command = self._world.records.get("command", trace)
        if command is not None and command["ManagedThingId"] == thing["Id"]:
            self._world.records.put("command", trace, {**command, "Outcome": message.payload})
        self._world.notify("DEVICE_COMMAND", thing["Arn"], message.payload, message.message_id)

    def _life_cycle(self, _hub: Record, thing: Record, message: Envelope) -> None:
        body = message.payload
        status = body["status"]
        if status == "DELETED":
            if thing["ProvisioningStatus"] == "DELETE_IN_PROGRESS":
                self._things.drop(thing)
            else:  # it has left its hub, and nobody here asked for that: the record stays
                self._things.change(thing, ProvisioningStatus="ISOLATED", Connected=False)
        elif status == "DELETION_FAILED":
            self._things.change(thing, ProvisioningStatus="DELETION_FAILED")
        elif body.get("eventType") in ("connected", "disconnected"):
            connected = body["eventType"] == "connected"
            self._connection(thing, connected, "NONE" if connected else "CONNECTION_LOST", message)


def _merge(held: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """Keep the newer value of each property: a message may come twice, and late."""
    for entry in told:
        value, before = entry["value"], held.get(entry["name"])
        if before is None or parse_iso(before["lastChangedAt"]) <= parse_iso(value["lastChangedAt"]):
            held[str(entry["name"])] = {
                "propertyValue": value["propertyValue"],
                "lastChangedAt": value["lastChangedAt"],
            }
