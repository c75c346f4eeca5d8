"""Managed things: their life from creation through association to deletion (statuses of the vendor's guide, device provisioning)."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.sim.iot.provisioning import ProvisioningError
from agent.sim.managed_integrations import materials
from agent.sim.managed_integrations.world import Request, Result, ToHub, World, new_id
from agent.sim.records import Record
from agent.sim.service_model import AwsError

WHAT = "Managed Thing"
PRE_ASSOCIATION = 900  # seconds that a hub keeps waiting for a device whose code it was given

_GIVEN = ("Owner", "CredentialLockerId", "SerialNumber", "Brand", "Model", "Name", "Classification", "Tags", "MetaData")
_CHANGED = (*(name for name in _GIVEN if name != "Tags"), "HubNetworkMode", "WiFiSimpleSetupConfiguration")
_DESCRIBED = ("CapabilityReport", "CapabilitySchemas", "Capabilities", "WiFiSimpleSetupConfiguration")
_UNPROVISIONED = ("UNASSOCIATED", "PRE_ASSOCIATED")
_FILTERS = {
    "Owner": "OwnerFilter",
    "CredentialLockerId": "CredentialLockerFilter",
    "Role": "RoleFilter",
    "ParentControllerId": "ParentControllerIdentifierFilter",
    "SerialNumber": "SerialNumberFilter",
    "ProvisioningStatus": "ProvisioningStatusFilter",
}
_CONNECTOR_FILTERS = ("ConnectorPolicyIdFilter", "ConnectorDestinationIdFilter", "ConnectorDeviceIdFilter")


class Things:
    """Actions on managed things."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.dropped: Callable[[str], None] = lambda _thing: None  # told of each thing that is gone

    # ---- making -----------------------------------------------------------------------------------------------------

    def create_managed_thing(self, request: Request) -> Result:
        world, identifier, now = self._world, new_id(), self._world.now()
        thing: Record = {name: request[name] for name in (*_GIVEN, *_DESCRIBED) if name in request}
        thing |= {
            "Id": identifier,
            "Arn": world.arn("managed-thing", identifier),
            "Role": request["Role"],
            "CreatedAt": now,
            "UpdatedAt": now,
            "Material": request["AuthenticationMaterial"],
            "MaterialType": request["AuthenticationMaterialType"],
        }
        self._locker(thing.get("CredentialLockerId"))
        thing["ProvisioningStatus"] = self._recognise(thing)
        world.records.put("thing", identifier, thing)
        self.announce(thing)
        if thing["MaterialType"] == materials.DISCOVERED:
            payload = {"nodeId": thing["NodeId"], "managedThingId": identifier}
            world.send(ToHub(thing["ParentControllerId"], "setup", "DEVICE_ONBOARDED", payload))
        self._associate(thing)
        return world.pick("CreateManagedThingResponse", thing)

    def _recognise(self, thing: Record) -> str:
        """Complete the thing from its material; the status that it begins with."""
        kind, material = thing["MaterialType"], thing["Material"]
        if kind == materials.WIFI:
            thing |= materials.product(material)
            self._once(SerialNumber=thing["SerialNumber"])
            return "PRE_ASSOCIATED"
        if kind == materials.DISCOVERED:
            return self._adopt(thing, material)
        if kind == "PRE_ONBOARDED_CLOUD":
            text = "the stand-in cloud has no cloud connectors: PRE_ONBOARDED_CLOUD things cannot exist"
            raise AwsError("AccessDeniedException", text)
        if thing["Role"] != "DEVICE":
            raise AwsError("ValidationException", f"Value at 'AuthenticationMaterialType': {kind} is of a DEVICE")
        materials.check_radio_code(kind, material)
        self._once(Material=material)
        return "PRE_ASSOCIATED" if self._hubs(thing) else "UNASSOCIATED"

    def _adopt(self, thing: Record, material: str) -> str:
        found = self._world.records.get("discovered", material)
        if found is None or thing["Role"] != "DEVICE":
            text = "Value at 'AuthenticationMaterial' is not that of a discovered device (see ListDiscoveredDevices)"
            raise AwsError("ValidationException", text)
        if found.get("ManagedThingId") and self._world.records.get("thing", found["ManagedThingId"]):
            raise AwsError("ConflictException", f"This device is managed thing {found['ManagedThingId']} already.")
        thing |= {"ParentControllerId": found["hub"], "NodeId": found["NodeId"], "MacAddress": found["MacAddress"]}
        for name in ("Brand", "Model"):
            thing.setdefault(name, found.get(name))
        self._world.records.put("discovered", material, {**found, "ManagedThingId": thing["Id"]})
        return "DISCOVERED"

    def _once(self, **member: str) -> None:
        """A serial number and a device's code belong to one thing."""
        other = self._world.records.find("thing", **member)
        if other is not None:
            raise AwsError("ConflictException", f"Managed thing {other['Id']} has the same authentication material.")

    def _locker(self, locker: str | None) -> None:
        if locker is not None:
            self._world.need("locker", locker, "Credential Locker")

    def _hubs(self, thing: Record) -> list[Record]:
        """The hubs that share the thing's locker."""
        locker = thing.get("CredentialLockerId")
        if not locker:
            return []
        return list(self._world.records.all("thing", CredentialLockerId=locker, Role="CONTROLLER"))

    def _associate(self, changed: Record) -> None:
        """Give the codes of a locker's devices to its hubs, once one of the two has come into it."""
        locker = changed.get("CredentialLockerId")
        if not locker or changed["Role"] == "CONTROLLER":
            devices = self._world.records.all("thing", CredentialLockerId=locker, Role="DEVICE") if locker else ()
            hubs = [changed]
        else:
            devices, hubs = iter([changed]), self._hubs(changed)
        for device in list(devices):
            if device["MaterialType"] in materials.RADIO_CODES and device["ProvisioningStatus"] in _UNPROVISIONED:
                self._offer(device, hubs)

    def hub_is_there(self, hub: Record) -> None:
        """Give a hub that has connected the codes that wait for it: the window of the last time may be long closed."""
        if hub.get("CredentialLockerId"):
            self._associate(hub)

    def _offer(self, device: Record, hubs: list[Record]) -> None:
        if hubs and device["ProvisioningStatus"] != "PRE_ASSOCIATED":
            self.change(device, ProvisioningStatus="PRE_ASSOCIATED")
        payload = {
            "managedThingId": device["Id"],
            "authenticationMaterial": device["Material"],
            "authenticationMaterialType": device["MaterialType"],
            "durationSeconds": PRE_ASSOCIATION,
        }
        for hub in hubs:
            self._world.send(ToHub(hub["Id"], "setup", "PRE_ASSOCIATE", payload))

    # ---- changing ---------------------------------------------------------------------------------------------------

    def update_managed_thing(self, request: Request) -> None:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        if thing["ProvisioningStatus"] == "DELETE_IN_PROGRESS":
            raise AwsError("ConflictException", "The managed thing is being deleted.")
        self._locker(request.get("CredentialLockerId"))
        serial = request.get("SerialNumber")
        if serial is not None and serial != thing.get("SerialNumber"):
            self._once(SerialNumber=serial)
        mode = request.get("HubNetworkMode")
        if mode is not None and thing["Role"] != "CONTROLLER":
            raise AwsError("ValidationException", "Value at 'HubNetworkMode': the managed thing is no CONTROLLER")
        changes = {name: request[name] for name in (*_CHANGED, *_DESCRIBED) if name in request}
        moved = request.get("CredentialLockerId") not in (None, thing.get("CredentialLockerId"))
        thing = self.change(thing, announce=False, **changes)
        if mode is not None:
            self._world.send(ToHub(thing["Id"], "setup", "NETWORK_MODE", {"hubNetworkMode": mode}))
        if moved:
            self._associate(thing)

    def change(self, thing: Record, *, announce: bool = True, **members: Any) -> Record:
        """Keep new members; a new status is told to the customer."""
        was = thing["ProvisioningStatus"]
        changed = {**thing, **members, "UpdatedAt": self._world.now()}
        self._world.records.put("thing", thing["Id"], changed)
        if announce and changed["ProvisioningStatus"] != was:
            self.announce(changed)
        return changed

    def announce(self, thing: Record) -> None:
        """DEVICE_LIFE_CYCLE of an onboarding step."""
        details = {"id": thing["Id"], "arn": thing["Arn"]}
        details |= {"createdAt": thing["CreatedAt"], "updatedAt": thing["UpdatedAt"]}
        payload = {"deviceDetails": details, "status": thing["ProvisioningStatus"]}
        self._world.notify("DEVICE_LIFE_CYCLE", thing["Arn"], payload)

    # ---- deleting ---------------------------------------------------------------------------------------------------

    def delete_managed_thing(self, request: Request) -> None:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        force = bool(request.get("Force"))
        if thing["Role"] == "CONTROLLER":
            self._release_children(thing, force=force)
        if force or thing["ProvisioningStatus"] in _UNPROVISIONED:
            self._tell_hub(thing, force=True)
            self.drop(thing)
            return
        if thing["ProvisioningStatus"] == "DELETE_IN_PROGRESS":
            raise AwsError("ConflictException", "The managed thing is being deleted; use Force to drop its records.")
        self.change(thing, ProvisioningStatus="DELETE_IN_PROGRESS")
        self._tell_hub(thing, force=False)

    def _release_children(self, hub: Record, *, force: bool) -> None:
        children = list(self._world.records.all("thing", ParentControllerId=hub["Id"]))
        if children and not force:
            text = f"The controller has {len(children)} managed things; delete them first, or use Force."
            raise AwsError("ConflictException", text)
        for child in children:
            self.change(child, ProvisioningStatus="ISOLATED", ParentControllerId=None)

    def _tell_hub(self, thing: Record, *, force: bool) -> None:
        if thing["Role"] == "CONTROLLER":
            if force:
                return  # only the cloud's records go; the hub, which may not connect any more, is reset at the hub
            self._world.send(ToHub(thing["Id"], "setup", "OFFBOARD_HUB", {"managedThingId": thing["Id"]}))
        elif thing.get("ParentControllerId"):
            payload = {"managedThingId": thing["Id"], "nodeId": thing.get("NodeId"), "force": force}
            self._world.send(ToHub(thing["ParentControllerId"], "setup", "DEPROVISION", payload, thing["Id"]))

    def drop(self, thing: Record) -> None:
        """Forget a thing and what is kept beside it."""
        for kind in ("thing", "state", "runtime-log"):
            self._world.records.delete(kind, thing["Id"])
        self.dropped(thing["Id"])
        self.announce({**thing, "ProvisioningStatus": "DELETED", "UpdatedAt": self._world.now()})

    # ---- provisioning -----------------------------------------------------------------------------------------------

    def claim(self, template: str, parameters: Mapping[str, str], certificate: str) -> tuple[str, Mapping[str, str]]:
        """The thing that a device with this serial number is; what the pre-provisioning hook checks. Raises ProvisioningError."""
        serial = _first(parameters, "deviceSerialNumber", "SN")
        thing = self._world.records.find("thing", SerialNumber=serial)
        code = _first(parameters, "universalProductCode", "UPC", "europeanArticleNumber", "EAN")
        codes = (thing or {}).get("UniversalProductCode"), (thing or {}).get("InternationalArticleNumber")
        if self._world.records.find("profile", Name=template) is None:
            raise ProvisioningError(404, "ResourceNotFound", f"there is no provisioning profile {template}")
        if thing is None or code not in codes or thing["ProvisioningStatus"] not in (*_UNPROVISIONED, "DISCOVERED"):
            raise ProvisioningError(
                403, "ACCESS_DENIED", "no managed thing waits with this serial number and product code"
            )
        self.change(thing, ProvisioningStatus="DISCOVERED", CertificatePem=certificate)
        return thing["Id"], {"clientId": thing["Id"], "managedThingId": thing["Id"]}

    def claim_registered(self, serial: str, certificate: str) -> str:
        """The thing that a certificate that has registered itself is for, "" when none waits with this serial number."""
        thing = self._world.records.find("thing", SerialNumber=serial)
        if thing is None or thing["ProvisioningStatus"] not in (*_UNPROVISIONED, "DISCOVERED"):
            return ""
        self.change(thing, ProvisioningStatus="DISCOVERED", CertificatePem=certificate)
        return str(thing["Id"])

    # ---- reading ----------------------------------------------------------------------------------------------------

    def get_managed_thing(self, request: Request) -> Result:
        return self._world.pick("GetManagedThingResponse", self._world.need("thing", request["Identifier"], WHAT))

    def list_managed_things(self, request: Request) -> Result:
        if any(name in request for name in _CONNECTOR_FILTERS):
            return {"Items": []}  # there are no connectors, so nothing came through one
        where = {member: request.get(name) for member, name in _FILTERS.items()}
        found, more = self._world.page("thing", request, **where)
        return {"Items": [self._world.pick("ManagedThingSummary", entry) for entry in found], **more}

    def get_managed_thing_meta_data(self, request: Request) -> Result:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        return {"ManagedThingId": thing["Id"], "MetaData": thing.get("MetaData", {})}

    def get_managed_thing_certificate(self, request: Request) -> Result:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        if not thing.get("CertificatePem"):
            text = "The managed thing has no certificate: it was not provisioned with one."
            raise AwsError("ResourceNotFoundException", text, ResourceId=thing["Id"], ResourceType="Certificate")
        return {"ManagedThingId": thing["Id"], "CertificatePem": thing["CertificatePem"]}

    def get_managed_thing_connectivity_data(self, request: Request) -> Result:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        answer = {"ManagedThingId": thing["Id"], "Connected": bool(thing.get("Connected"))}
        return {**answer, "Timestamp": thing.get("ConnectivityAt"), "DisconnectReason": thing.get("DisconnectReason")}


def _first(parameters: Mapping[str, str], *names: str) -> str:
    return next((parameters[name] for name in names if parameters.get(name)), "")
