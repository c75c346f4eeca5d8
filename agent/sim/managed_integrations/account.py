"""Settings of the account and of single hubs: logs, hub configuration, encryption, tags; and the connectors that there are none of."""

from typing import Any, ClassVar
from urllib.parse import unquote

from agent.sim.managed_integrations.things import WHAT
from agent.sim.managed_integrations.world import Request, Result, ToHub, World
from agent.sim.records import Record
from agent.sim.service_model import AwsError

_DEFAULT_ENCRYPTION = {"encryptionType": "MANAGED_INTEGRATIONS_DEFAULT_ENCRYPTION"}
_TAGGED = {
    "managed-thing": "thing",
    "provisioning-profile": "profile",
    "credential-locker": "locker",
    "ota-task": "ota-task",
}
_TAGS = 50


class Account:
    """Actions on settings."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ---- runtime logs of a hub --------------------------------------------------------------------------------------

    def put_runtime_log_configuration(self, request: Request) -> None:
        thing = self._world.need("thing", request["ManagedThingId"], WHAT)
        wanted = request["RuntimeLogConfigurations"]
        self._world.records.put("runtime-log", thing["Id"], {"RuntimeLogConfigurations": wanted})
        self._tell(thing, wanted)

    def get_runtime_log_configuration(self, request: Request) -> Result:
        thing = self._world.need("thing", request["ManagedThingId"], WHAT)
        found = self._world.need("runtime-log", thing["Id"], "Runtime Log Configuration")
        return {"ManagedThingId": thing["Id"], **found}

    def reset_runtime_log_configuration(self, request: Request) -> None:
        thing = self._world.need("thing", request["ManagedThingId"], WHAT)
        self._world.records.delete("runtime-log", thing["Id"])
        self._tell(thing, {})

    def _tell(self, thing: Record, wanted: dict[str, Any]) -> None:
        """An empty configuration means the hub's own defaults."""
        hub = thing["Id"] if thing["Role"] == "CONTROLLER" else thing.get("ParentControllerId")
        if hub:
            payload = {"RuntimeLogConfigurations": wanted}
            self._world.send(ToHub(hub, "control", "RUNTIME_LOG_CONFIGURATION", payload, thing["Id"]))

    # ---- hub configuration, encryption ------------------------------------------------------------------------------

    def put_hub_configuration(self, request: Request) -> Result:
        seconds = request["HubTokenTimerExpirySettingInSeconds"]
        setting = {"HubTokenTimerExpirySettingInSeconds": seconds, "UpdatedAt": self._world.now()}
        self._world.records.put("setting", "hub", setting)
        for hub in self._world.records.all("thing", Role="CONTROLLER"):
            payload = {"HubTokenTimerExpirySettingInSeconds": seconds}
            self._world.send(ToHub(hub["Id"], "control", "HUB_CONFIGURATION", payload))
        return {"HubTokenTimerExpirySettingInSeconds": seconds}

    def get_hub_configuration(self, _request: Request) -> Result:
        return self._world.need("setting", "hub", "Hub Configuration")

    def put_default_encryption_configuration(self, request: Request) -> Result:
        own_key = request["encryptionType"] == "CUSTOMER_KEY_ENCRYPTION"
        if own_key != ("kmsKeyArn" in request):
            raise AwsError(
                "ValidationException", "Value at 'kmsKeyArn' goes with CUSTOMER_KEY_ENCRYPTION, and only with it"
            )
        self._world.records.put("setting", "encryption", request)
        return self.get_default_encryption_configuration({})

    def get_default_encryption_configuration(self, _request: Request) -> Result:
        found = self._world.records.get("setting", "encryption") or _DEFAULT_ENCRYPTION
        return {"configurationStatus": {"state": "ENABLED"}, **found}

    # ---- tags -------------------------------------------------------------------------------------------------------

    def tag_resource(self, request: Request) -> Result:
        kind, record = self._tagged(request)
        tags = {**record.get("Tags", {}), **request["Tags"]}
        if len(tags) > _TAGS:
            raise AwsError("InvalidRequestException", f"A resource has at most {_TAGS} tags.")
        self._world.records.put(kind, record["Id"], {**record, "Tags": tags})
        return {}

    def untag_resource(self, request: Request) -> Result:
        kind, record = self._tagged(request)
        tags = {key: value for key, value in record.get("Tags", {}).items() if key not in request["TagKeys"]}
        self._world.records.put(kind, record["Id"], {**record, "Tags": tags})
        return {}

    def list_tags_for_resource(self, request: Request) -> Result:
        return {"tags": self._tagged(request)[1].get("Tags", {})}

    def _tagged(self, request: Request) -> tuple[str, Record]:
        arn = unquote(request["ResourceArn"])
        resource, _, identifier = arn.rpartition(":")[2].partition("/")
        kind = _TAGGED.get(resource, "")
        found = self._world.records.get(kind, identifier)
        if found is None or found["Arn"] != arn:
            raise AwsError("ResourceNotFoundException", "Resource not found.", ResourceId=arn, ResourceType=resource)
        return kind, found


class NoConnectors:
    """Cloud-to-cloud connectors belong to other vendors' clouds: lists are empty, nothing is found, nothing can be made."""

    _LISTS: ClassVar = {
        "list_account_associations": "Items",
        "list_cloud_connectors": "Items",
        "list_connector_destinations": "ConnectorDestinationList",
        "list_managed_thing_account_associations": "Items",
    }
    _CREATES = ("create_account_association", "create_cloud_connector", "create_connector_destination")
    _OTHERS = (
        "delete_account_association",
        "delete_cloud_connector",
        "delete_connector_destination",
        "deregister_account_association",
        "get_account_association",
        "get_cloud_connector",
        "get_connector_destination",
        "register_account_association",
        "send_connector_event",
        "start_account_association_refresh",
        "update_account_association",
        "update_cloud_connector",
        "update_connector_destination",
    )

    def actions(self) -> dict[str, Any]:
        """Action by name."""
        lists = {name: _empty(member) for name, member in self._LISTS.items()}
        return {**lists, **dict.fromkeys(self._CREATES, _denied), **dict.fromkeys(self._OTHERS, _missing)}


def _empty(member: str) -> Any:
    return lambda _request: {member: []}


def _denied(_request: Request) -> Result:
    raise AwsError("AccessDeniedException", "The stand-in cloud has no cloud-to-cloud connectors.")


def _missing(request: Request) -> Result:
    identifier = next((str(value) for name, value in request.items() if name.endswith(("Id", "Identifier"))), "")
    raise AwsError("ResourceNotFoundException", "Connector resource not found.", ResourceId=identifier)
