"""What a managed thing can do, how it is, and what it is told to do: capabilities, schemas, state, commands."""

from collections.abc import Iterator
from typing import Any

from agent.capabilities import CapabilityError, document, known
from agent.clock import iso
from agent.sim.managed_integrations.things import WHAT
from agent.sim.managed_integrations.world import PAGE, Request, Result, ToHub, World, new_id
from agent.sim.records import Record
from agent.sim.service_model import AwsError

COMMAND_LIFE = 120.0  # seconds: a door does not open an hour after somebody pressed the button
_REACHABLE = ("DISCOVERED", "ACTIVATED")


class Control:
    """Actions on capabilities, schemas, state and commands."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ---- commands and state -----------------------------------------------------------------------------------------

    def send_managed_thing_command(self, request: Request) -> Result:
        world = self._world
        thing = world.need("thing", request["ManagedThingId"], WHAT)
        hub = thing.get("ParentControllerId")
        if thing["ProvisioningStatus"] not in _REACHABLE or not hub:
            status = thing["ProvisioningStatus"]
            raise AwsError("ValidationException", f"The managed thing cannot be controlled: it is {status}.")
        trace, now = new_id(), world.now()
        command = {"Id": trace, "ManagedThingId": thing["Id"], "SentAt": now, "Endpoints": request["Endpoints"]}
        world.records.put("command", trace, command)
        payload = {"Endpoints": request["Endpoints"]}
        message = ToHub(hub, "control", "COMMAND", payload, thing["Id"], trace, iso(now + COMMAND_LIFE))
        world.send(message)
        return {"TraceId": trace}

    def get_managed_thing_state(self, request: Request) -> Result:
        thing = self._world.need("thing", request["ManagedThingId"], WHAT)
        state = self._world.records.get("state", thing["Id"]) or {}
        return {"Endpoints": [_endpoint(name, capabilities) for name, capabilities in state.items()]}

    # ---- capabilities and schemas -----------------------------------------------------------------------------------

    def get_managed_thing_capabilities(self, request: Request) -> Result:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        described = {name: thing.get(name) for name in ("Capabilities", "CapabilityReport")}
        return {"ManagedThingId": thing["Id"], **described}

    def list_managed_thing_schemas(self, request: Request) -> Result:
        thing = self._world.need("thing", request["Identifier"], WHAT)
        endpoint, capability = request.get("EndpointIdFilter"), request.get("CapabilityIdFilter")
        items = [
            item
            for item in _schemas(thing)
            if endpoint in (None, item["EndpointId"])
            and capability in (None, item["CapabilityId"], item["CapabilityId"].partition("@")[0])
        ]
        return _slice(items, request, "Items")

    def list_schema_versions(self, request: Request) -> Result:
        wanted = {
            name: request[name]
            for name in ("SchemaId", "Namespace", "Visibility", "SemanticVersion")
            if name in request
        }
        found = (_described(item) for item in self._documents()) if request["Type"] == "capability" else ()
        items = [item for item in found if all(item[name] == value for name, value in wanted.items())]
        return _slice(items, request, "Items")

    def get_schema_version(self, request: Request) -> Result:
        identifier = request["SchemaVersionedId"]
        if identifier.endswith("$latest"):
            raise AwsError("ValidationException", "Value at 'SchemaVersionedId' must name a version")
        if request["Type"] == "capability" and request.get("Format", "AWS") == "AWS":
            for item in self._documents():
                if item["$id"].rpartition("/")[2] == identifier:
                    return {**_described(item), "Schema": item}
        raise AwsError(
            "ResourceNotFoundException",
            "Schema version resource not found.",
            ResourceId=identifier,
            ResourceType="Schema",
        )

    def _documents(self) -> Iterator[Record]:
        """The shipped documents, then those that things brought with them."""
        for identifier in known():
            yield document(identifier)
        seen: set[str] = set()
        for thing in self._world.records.all("thing"):
            for item in thing.get("CapabilitySchemas") or ():
                if isinstance(item["Schema"], dict) and item["CapabilityId"] not in seen and item["Format"] == "AWS":
                    seen.add(item["CapabilityId"])
                    yield {
                        "$id": f"/schema-versions/capability/{item['CapabilityId']}",
                        "private": True,
                        **item["Schema"],
                    }


def _described(item: Record) -> Result:
    identifier, _, version = item["$id"].rpartition("/")[2].partition("@")
    return {
        "SchemaId": identifier,
        "Type": "capability",
        "Description": item.get("description") or item.get("title") or item.get("name", identifier),
        "Namespace": identifier.partition(".")[0],
        "SemanticVersion": version,
        "Visibility": "PRIVATE" if item.get("private") else "PUBLIC",
    }


def _schemas(thing: Record) -> Iterator[Result]:
    own = {item["CapabilityId"]: item["Schema"] for item in thing.get("CapabilitySchemas") or ()}
    for endpoint in (thing.get("CapabilityReport") or {}).get("endpoints", ()):
        for capability in endpoint["capabilities"]:
            identifier = capability["id"]
            try:
                schema = own.get(identifier) or document(identifier)
            except CapabilityError:
                continue  # a capability that nobody has published
            yield {"EndpointId": endpoint["id"], "CapabilityId": identifier, "Schema": schema}


def _slice(items: list[Any], request: Request, member: str) -> Result:
    """A page of a short list that is made anew for each request."""
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise AwsError("ValidationException", "Value at 'NextToken' is not a token of this list")
    start, size = int(token), request.get("MaxResults") or PAGE
    more = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return {member: items[start : start + size], **more}


def _endpoint(name: str, capabilities: Record) -> Result:
    shown = [
        {
            "id": identifier,
            "name": held["name"],
            "version": held["version"],
            "properties": [{"name": key, "value": value} for key, value in held["properties"].items()],
        }
        for identifier, held in capabilities.items()
    ]
    return {"endpointId": name, "capabilities": shown}
