"""Device discoveries: what StartDeviceDiscovery asks of a hub, and what the hub finds."""

from typing import Any

from agent.clock import parse_iso
from agent.sim.managed_integrations.things import WHAT
from agent.sim.managed_integrations.world import Request, Result, ToHub, World, new_id
from agent.sim.records import Record
from agent.sim.service_model import AwsError

WINDOW = 180  # seconds that a hub listens
GRACE = 120  # seconds more until a silent hub counts as timed out: what joins in the last second is still interviewed
STUCK = 930  # seconds until a rediscovery does: a hub gives up after 15 minutes, and says so
REDISCOVERY = "CONTROLLER_CAPABILITY_REDISCOVERY"
_MODIFICATIONS = ("DISCOVERED", "UPDATED", "NO_CHANGE")


class Discoveries:
    """Actions on discoveries; `found`, `status` and `tick` are the hub's side of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start_device_discovery(self, request: Request) -> Result:
        world, identifier, now = self._world, new_id(), self._world.now()
        kind = request["DiscoveryType"]
        if kind == "CLOUD":
            raise AwsError("ResourceNotFoundException", "Account Association resource not found.")
        hub = self._hub(request)
        self._check(kind, request)
        discovery: Record = {
            "Id": identifier,
            "Arn": world.arn("device-discovery", identifier),
            "DiscoveryType": kind,
            "Status": "RUNNING",
            "StartedAt": now,
            "ControllerId": hub["Id"],
            "Tags": request.get("Tags", {}),
            "deadline": now + (STUCK if kind == REDISCOVERY else WINDOW + GRACE),
        }
        world.records.put("discovery", identifier, discovery)
        world.send(ToHub(hub["Id"], "setup", "START_DISCOVERY", _task(identifier, request)))
        return world.pick("StartDeviceDiscoveryResponse", discovery)

    def _hub(self, request: Request) -> Record:
        identifier = request.get("ControllerIdentifier")
        if identifier is None:
            raise AwsError(
                "ValidationException", "Value at 'ControllerIdentifier' must not be null for this DiscoveryType"
            )
        hub = self._world.need("thing", identifier, WHAT)
        if hub["Role"] != "CONTROLLER":
            raise AwsError("ValidationException", "Value at 'ControllerIdentifier': the managed thing is no CONTROLLER")
        return hub

    def _check(self, kind: str, request: Request) -> None:
        if kind == "CUSTOM" and not request.get("CustomProtocolDetail", {}).get("Name"):
            text = "Value at 'CustomProtocolDetail' must have a Name that is not empty for CUSTOM"
            raise AwsError("ValidationException", text)
        if kind == REDISCOVERY and "EndDeviceIdentifier" in request:
            self._world.need("thing", request["EndDeviceIdentifier"], WHAT)
        if ("AuthenticationMaterial" in request) != ("AuthenticationMaterialType" in request):
            text = "Value at 'AuthenticationMaterialType' and 'AuthenticationMaterial' are given together"
            raise AwsError("ValidationException", text)

    def get_device_discovery(self, request: Request) -> Result:
        found = self._world.need("discovery", request["Identifier"], "Device Discovery")
        return self._world.pick("GetDeviceDiscoveryResponse", found)

    def list_device_discoveries(self, request: Request) -> Result:
        where = {"DiscoveryType": request.get("TypeFilter"), "Status": request.get("StatusFilter")}
        found, more = self._world.page("discovery", request, **where)
        return {"Items": [self._world.pick("DeviceDiscoverySummary", entry) for entry in found], **more}

    def list_discovered_devices(self, request: Request) -> Result:
        self._world.need("discovery", request["Identifier"], "Device Discovery")
        found, more = self._world.page("discovered", request, discovery=request["Identifier"])
        return {"Items": [self._world.pick("DiscoveredDeviceSummary", entry) for entry in found], **more}

    # ---- what the hub says ------------------------------------------------------------------------------------------

    def found(self, hub: str, body: dict[str, Any]) -> None:
        """DEVICE_DISCOVERED: a device has joined, or is known already."""
        discovery = self._world.records.get("discovery", str(body.get("deviceDiscoveryId")))
        if discovery is None or discovery["ControllerId"] != hub:
            return
        known = self._known(discovery["Id"], str(body["nodeId"]))
        material = known["AuthenticationMaterial"] if known else new_id()
        thing = self._world.records.find("thing", ParentControllerId=hub, NodeId=str(body["nodeId"]))
        modification = body.get("modification")
        entry = {
            "AuthenticationMaterial": material,
            "DeviceTypes": [str(kind) for kind in body.get("deviceTypes", ())],
            "Modification": modification if modification in _MODIFICATIONS else "DISCOVERED",
            "DiscoveredAt": parse_iso(body["discoveredAt"]),
            "Brand": body.get("manufacturer") or None,
            "Model": body.get("model") or None,
            "ManagedThingId": thing["Id"] if thing else None,
            "NodeId": str(body["nodeId"]),
            "MacAddress": body.get("macAddress"),
            "hub": hub,
            "discovery": discovery["Id"],
        }
        self._world.records.put("discovered", material, entry)

    def _known(self, discovery: str, node: str) -> Record | None:
        return self._world.records.find("discovered", discovery=discovery, NodeId=node)

    def status(self, hub: str, body: dict[str, Any], message_id: str, device: str) -> None:
        """DISCOVERY_STATUS: the end of a discovery is told to the customer, and of a rediscovery each device that was read or not."""
        discovery = self._world.records.get("discovery", str(body.get("deviceDiscoveryId")))
        if discovery is None or discovery["ControllerId"] != hub or discovery["Status"] != "RUNNING":
            return
        status = body.get("status")
        if status in ("SUCCEEDED", "FAILED", "TIMED_OUT"):
            self._end(discovery, status, int(body.get("deviceCount", 0)), body.get("error"), message_id)
        elif status == "RUNNING" and discovery["DiscoveryType"] == REDISCOVERY:
            self._read(discovery, body, message_id, device)

    def _read(self, discovery: Record, body: dict[str, Any], message_id: str, device: str) -> None:
        """A device of a rediscovery; a failed one does not end it."""
        count, error = int(body.get("deviceCount", 0)), body.get("error")
        thing = self._world.records.get("thing", device)
        if thing is not None and thing.get("ParentControllerId") != discovery["ControllerId"]:
            thing = None
        if thing is not None and isinstance(error, dict):
            error = {**error, "managedThingId": thing["Id"]}
        if thing is not None or error:
            self._tell(discovery, "RUNNING", count, error, message_id, (thing["Arn"],) if thing else ())

    def tick(self) -> None:
        """Time out the discoveries of hubs that have said nothing."""
        for discovery in list(self._world.records.all("discovery", Status="RUNNING")):
            if discovery["deadline"] <= self._world.now():
                self._end(discovery, "TIMED_OUT", 0, {"code": "504", "message": "the controller has not answered"})

    def _end(self, discovery: Record, status: str, count: int, error: Any, message_id: str = "") -> None:
        ended = {**discovery, "Status": status, "FinishedAt": self._world.now()}
        self._world.records.put("discovery", discovery["Id"], ended)
        self._tell(discovery, status, count, error, message_id)

    def _tell(
        self,
        discovery: Record,
        status: str,
        count: int,
        error: Any = None,
        message_id: str = "",
        about: tuple[str, ...] = (),
    ) -> None:
        """DEVICE_DISCOVERY_STATUS; that of a rediscovery is about the hub, and the device that it is told of."""
        payload: dict[str, Any] = {"deviceDiscoveryId": discovery["Id"], "status": status, "deviceCount": count}
        if error:
            payload["error"] = error
        hub = self._world.arn("managed-thing", discovery["ControllerId"])
        resources = (hub, *about) if discovery["DiscoveryType"] == REDISCOVERY else (discovery["Arn"],)
        self._world.notify("DEVICE_DISCOVERY_STATUS", resources, payload, message_id)


def _task(identifier: str, request: Request) -> Result:
    """START_DISCOVERY for the hub."""
    task = {
        "deviceDiscoveryId": identifier,
        "discoveryType": request["DiscoveryType"],
        "durationSeconds": WINDOW,
        "authenticationMaterial": request.get("AuthenticationMaterial"),
        "authenticationMaterialType": request.get("AuthenticationMaterialType"),
        "protocol": request.get("Protocol"),
        "endDeviceIdentifier": request.get("EndDeviceIdentifier"),
        "customProtocolDetail": request.get("CustomProtocolDetail"),
    }
    return {name: value for name, value in task.items() if value is not None}
