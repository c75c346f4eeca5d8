"""What the stand-in's page shows, and what its buttons do: they call the same actions as any client. PURE."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from agent.sim.exchange import Answer, Ask, Handle
from agent.sim.records import Record, Records

ROWS = 200  # of each table
KINDS = (  # what the page is made of
    "thing",
    "state",
    "execution",
    "discovery",
    "discovered",
    "command",
    "nrf-device",
    "nrf-execution",
    "shadow",
)

_HEADERS = {"Content-Type": "application/json"}


def version(records: Records) -> int:
    """Another number once the page may have changed."""
    return sum(records.changes(kind) for kind in KINDS)


def snapshot(records: Records, told: Iterable[Record]) -> dict[str, Any]:
    """The page's content; `told` are the last notifications, newest first."""
    hubs, _ = records.page("thing", ROWS, Role="CONTROLLER")
    devices, _ = records.page("thing", ROWS, Role="DEVICE")
    running = {found["ControllerId"] for found in records.all("discovery", Status="RUNNING")}
    executions, _ = records.page("execution", ROWS)
    waiting = {hub["Id"]: _found(records, hub["Id"]) for hub in hubs if hub["Id"] in running}
    return {
        "hubs": [
            {**_shown(hub), "discovering": hub["Id"] in running, "found": waiting.get(hub["Id"], [])} for hub in hubs
        ],
        "devices": [{**_shown(device), "state": _state(records, device["Id"])} for device in devices],
        "jobs": [{name: entry[name] for name in ("jobId", "thing", "status")} for entry in executions],
        "nrf": [_nrf(records, device) for device in records.page("nrf-device", ROWS)[0]],
        "fota": [_fota(entry) for entry in records.page("nrf-execution", ROWS)[0]],
        "notifications": [{name: entry[name] for name in ("timestamp", "messageType", "payload")} for entry in told],
    }


def _shown(thing: Record) -> dict[str, Any]:
    return {
        "id": thing["Id"],
        "name": thing.get("Name") or thing.get("SerialNumber") or thing.get("Model") or thing["Id"],
        "status": thing["ProvisioningStatus"],
        "connected": bool(thing.get("Connected")),
        "hub": thing.get("ParentControllerId"),
    }


def _nrf(records: Records, device: Record) -> dict[str, Any]:
    """A device of nRF Cloud, with its shadow in two parts."""
    state = (records.get("shadow", f"{device['id']}/") or {}).get("state", {})
    reported = state.get("reported", {})
    connection = reported.get("connection")
    return {
        "id": device["id"],
        "name": device.get("name", device["id"]),
        "type": device["type"],
        "associated": device["associated"],
        "connection": connection.get("status", "") if isinstance(connection, dict) else "",
        "desired": state.get("desired", {}),
        "reported": reported,
    }


def _fota(execution: Record) -> dict[str, Any]:
    document = execution["jobDocument"]
    shown = {name: execution.get(name, "") for name in ("jobId", "deviceId", "status", "statusDetail")}
    return {**shown, "firmware": f"{document['firmwareType']} {document.get('version', '')}".strip()}


def _found(records: Records, hub: str) -> list[dict[str, Any]]:
    """What a running discovery has found and nobody has taken."""
    found, _ = records.page("discovered", ROWS, hub=hub)
    new = [entry for entry in found if not entry.get("ManagedThingId")]
    return [
        {"material": entry["AuthenticationMaterial"], "model": entry.get("Model") or entry["NodeId"]} for entry in new
    ]


def _state(records: Records, thing: str) -> dict[str, Any]:
    """Property to value, with the endpoint before it where there are several."""
    endpoints = records.get("state", thing) or {}
    values: dict[str, Any] = {}
    for endpoint, capabilities in endpoints.items():
        for held in capabilities.values():
            for name, value in held["properties"].items():
                values[name if len(endpoints) == 1 else f"{endpoint} {name}"] = value["propertyValue"]
    return values


def do(
    body: bytes,
    api: Handle,
    rotate: Callable[..., str],
    send: Callable[[str, Any], Answer],
    enrol: Callable[[str, str], Answer],
) -> Answer:
    """A button: `{"do": "discover", "hub"}`, `{"do": "adopt", "material"}` or `{"do": "command", "thing", "action"}`.

    Also `{"do": "rotate", "hub", "form"?}`: the certificate vendor's rotation; the answer is `{"job"}`. And
    `{"do": "c2d", "device", "message"}`: an object for a device of nRF Cloud. And `{"do": "identity", "device", "key"}`: what a maker
    tells the provisioning service, the UUID of a device and its public identity key (PEM).
    """
    try:
        wanted = json.loads(body)
        if isinstance(wanted, dict) and wanted.get("do") == "rotate":
            form = {"form": str(wanted["form"])} if "form" in wanted else {}
            return Answer(200, json.dumps({"job": rotate(str(wanted["hub"]), **form)}).encode(), _HEADERS)
        if isinstance(wanted, dict) and wanted.get("do") == "c2d":
            return send(str(wanted["device"]), wanted["message"])
        if isinstance(wanted, dict) and wanted.get("do") == "identity":
            return enrol(str(wanted["device"]), str(wanted["key"]))
        ask = _request(wanted) if isinstance(wanted, dict) else None
    except (ValueError, KeyError, RecursionError):
        ask = None
    if ask is None:
        return Answer(400, b'{"Message": "no such button"}', _HEADERS)
    return api(ask)


def _request(wanted: dict[str, Any]) -> Ask | None:
    match wanted.get("do"):
        case "discover":
            return _post("/device-discoveries", DiscoveryType="ZIGBEE", ControllerIdentifier=wanted["hub"])
        case "adopt":
            material = {"AuthenticationMaterialType": "DISCOVERED_DEVICE", "AuthenticationMaterial": wanted["material"]}
            return _post("/managed-things", Role="DEVICE", **material)
        case "command":
            on_off = {
                "id": "matter.OnOff@1.4",
                "name": "On/Off",
                "version": "6",
                "actions": [{"name": wanted["action"]}],
            }
            endpoints = [{"endpointId": "1", "capabilities": [on_off]}]
            return _post(f"/managed-things-command/{wanted['thing']}", Endpoints=endpoints)
    return None


def _post(path: str, **body: Any) -> Ask:
    return Ask("POST", path, body=json.dumps(body).encode())
