"""Nodes as the controller knows them: protocol information, adding and removing, failed nodes, routes, SUC. PURE."""

from functools import partial
from typing import TYPE_CHECKING

from drivers.sim.zwave.inclusion import Kind
from drivers.sim.zwave.network import FLIGHT, UNACKNOWLEDGED
from drivers.sim.zwave.node import END_NODE
from drivers.sim.zwave.serve_send import Transmission
from drivers.zwave.function_tables import AddMode, NeighborStatus, UpdateStatus
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.layout import Values

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Handler, Stick

SURVEY = 0.05  # seconds of a node's search for its neighbours
CONTROLLER = 0x02
NODE_OK, REMOVED = 0, 1
NOT_FAILED = 0x08  # the node is not in the list of failed ones
SUC_FAILED = 0x06


def protocol_info(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("GetNodeProtocolInfo", **protocol_information(stick, values["node"]))


def protocol_information(stick: "Stick", number: int) -> Values:
    """What a controller knows of a node; all zeros for one that it does not know."""
    network = stick.network
    node = network.member(number)
    speeds = {"speed_40k": True, "speed_9600": True, "speed_100k": True, "protocol_version": 3}
    speeds["long_range_100k"] = number >= FIRST_LONG_RANGE
    if number == network.own:
        flags = {"listening": stick.listening, "routing": True, "beam": True, "controller": True, "has_specific": True}
        classes = {"basic": CONTROLLER, "generic": stick.information[0], "specific": stick.information[1]}
        return {**speeds, **_flags(flags), **classes}
    if node is None:
        return {**_flags({}), **dict.fromkeys((*speeds, "basic", "generic", "specific"), 0)}
    flags = {"listening": node.listening, "routing": node.listening, "sensor_1000ms": node.profile.power == "beam"}
    more = {
        "beam": True,
        "optional": True,
        "routing_end_node": True,
        "has_specific": True,
        "security": bool(node.profile.keys),
    }
    classes = {"basic": END_NODE, "generic": node.root.part.generic, "specific": node.root.part.specific}
    return {**speeds, **_flags({**flags, **more}), **classes}


def _flags(given: dict[str, bool]) -> dict[str, bool]:
    names = (
        "listening",
        "routing",
        "optional",
        "sensor_1000ms",
        "sensor_250ms",
        "beam",
        "routing_end_node",
        "has_specific",
    )
    return {**dict.fromkeys((*names, "controller", "security"), False), **given}


def request_information(stick: "Stick", values: Values, now: float) -> None:
    """The node sends its information; where it does not acknowledge, the chip says that it failed."""
    if stick.sending:
        stick.respond("RequestNodeInfo", started=0)
        return
    stick.respond("RequestNodeInfo", started=1)
    node = stick.network.member(values["node"])

    def ended(acked: bool, _then: float) -> None:  # noqa: FBT001  as the network says it
        if acked and node is not None:
            told = node.frame()
            stick.call_back("ApplicationUpdate", status=UpdateStatus.NODE_INFO, node=node.id, **told)
        else:
            stick.call_back("ApplicationUpdate", status=UpdateStatus.NODE_INFO_FAILED, node=0, **_NO_INFORMATION)

    stick.network.send(values["node"], b"", now, ended)


_NO_INFORMATION = {"command_classes": b"", "basic": 0, "generic": 0, "specific": 0}


# ---- adding and removing -------------------------------------------------------------------------------------------------------


def add_node(stick: "Stick", values: Values, now: float) -> None:
    mode, callback_id = values["mode"], values["callback_id"]
    _asked(stick, values)
    inclusion = stick.inclusion
    if mode in (AddMode.STOP, AddMode.STOP_REPLICATION):
        inclusion.stop(Kind.ADD, callback_id, now)
    elif mode == AddMode.SMART_START_LISTEN:
        inclusion.listen(now)
    elif mode == AddMode.SMART_START:
        ids = (values["nwi_home_id"], values["auth_home_id"])
        inclusion.start(Kind.ADD, callback_id, now, ids=ids, long_range=bool(values["long_range"]))
    else:
        inclusion.start(Kind.ADD, callback_id, now)


def _asked(stick: "Stick", values: Values) -> None:
    if values["mode"] not in (AddMode.STOP, AddMode.STOP_REPLICATION):
        stick.inclusion.asked = {name: bool(values[name]) for name in ("high_power", "network_wide")}


def remove_node(stick: "Stick", values: Values, now: float) -> None:
    _asked(stick, values)
    if values["mode"] in (AddMode.STOP, AddMode.STOP_REPLICATION):
        stick.inclusion.stop(Kind.REMOVE, values["callback_id"], now)
    else:
        stick.inclusion.start(Kind.REMOVE, values["callback_id"], now)


def is_failed(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("IsFailedNode", failed=int(values["node"] in stick.network.failed))


def remove_failed(stick: "Stick", values: Values, now: float) -> None:
    node = stick.network.member(values["node"])
    if node is None or node.id not in stick.network.failed:
        stick.respond("RemoveFailedNode", problem=NOT_FAILED)
        return
    stick.respond("RemoveFailedNode", problem=0)
    callback_id = values["callback_id"]

    def try_it(then: float) -> None:
        if node.reachable(then):
            stick.network.failed.discard(node.id)
            status = NODE_OK
        else:
            stick.network.leave(node, then)
            status = REMOVED
        if callback_id:
            stick.call_back("RemoveFailedNode", callback_id=callback_id, status=status)

    stick.network.timers.at(now + UNACKNOWLEDGED, try_it)


def replace_failed(stick: "Stick", values: Values, now: float) -> None:
    node = stick.network.member(values["node"])
    if node is None or node.id not in stick.network.failed:
        stick.respond("ReplaceFailedNode", problem=NOT_FAILED)
        return
    stick.respond("ReplaceFailedNode", problem=0)
    stick.inclusion.replace(node, values["callback_id"], now)


# ---- routes --------------------------------------------------------------------------------------------------------------------


def neighbor_update(stick: "Stick", values: Values, now: float) -> None:
    callback_id = values["callback_id"]
    node = stick.network.member(values["node"])
    told = partial(stick.call_back, "RequestNodeNeighborUpdate", callback_id=callback_id)
    there = node is not None and node.reachable(now)
    stick.network.timers.at(now + FLIGHT, lambda _: told(status=NeighborStatus.STARTED))
    last = NeighborStatus.DONE if there else NeighborStatus.FAILED
    stick.network.timers.at(now + (SURVEY if there else UNACKNOWLEDGED), lambda _: told(status=last))


def routing_info(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("GetRoutingInfo", nodes=stick.network.neighbors(values["node"]))


def priority_route(stick: "Stick", values: Values, _now: float) -> None:
    route = stick.priority_routes.get(values["node"])
    if route is None:
        stick.respond("GetPriorityRoute", node=values["node"], kind=0, repeaters=bytes(4), speed=3)
    else:
        stick.respond("GetPriorityRoute", node=values["node"], kind=0x10, repeaters=route[0], speed=route[1])


def set_priority_route(stick: "Stick", values: Values, _now: float) -> None:
    if "repeaters" in values:
        stick.priority_routes[values["node"]] = (values["repeaters"], values["speed"])
    else:
        stick.priority_routes.pop(values["node"], None)
    stick.respond("SetPriorityRoute", node=values["node"], success=1)


def _told(name: str) -> "Handler":
    """A function that sends one frame to a node and says how that went; the node keeps the routes that it is given."""

    def handler(stick: "Stick", values: Values, now: float) -> None:
        if stick.sending:
            stick.respond(name, started=0)
            return
        stick.respond(name, started=1)
        sending = Transmission(stick, name, values["callback_id"], now, values["node"])
        routes = stick.network.routes.setdefault(values["node"], set())

        def ended(acked: bool, then: float) -> None:  # noqa: FBT001  as the network says it
            if acked and name.startswith("Delete"):
                to_suc = {stick.network.sis} if "SUC" in name else routes - {stick.network.sis}
                routes.difference_update(to_suc)
            elif acked and name.startswith("Assign"):
                routes.add(values.get("destination", stick.network.sis))
            sending.end(acked, then)

        stick.network.send(values["node"], b"", now, ended)

    return handler


# ---- SUC -----------------------------------------------------------------------------------------------------------------------


def suc_id(stick: "Stick", _: Values, _now: float) -> None:
    stick.respond("GetSUCNodeId", node=stick.network.sis)


def set_suc_id(stick: "Stick", values: Values, now: float) -> None:
    own = values["node"] == stick.network.own
    stick.respond("SetSUCNodeId", started=1)
    if own:
        stick.network.sis = values["node"] if values["enable"] else 0
    if values["callback_id"] and not own:  # there is nothing to wait for at home
        told = partial(stick.call_back, "SetSUCNodeId", callback_id=values["callback_id"], status=SUC_FAILED)
        stick.network.timers.at(now + FLIGHT, lambda _: told())


NETWORK: dict[str, "Handler"] = {
    "GetNodeProtocolInfo": protocol_info,
    "RequestNodeInfo": request_information,
    "AddNode": add_node,
    "RemoveNode": remove_node,
    "IsFailedNode": is_failed,
    "RemoveFailedNode": remove_failed,
    "ReplaceFailedNode": replace_failed,
    "RequestNodeNeighborUpdate": neighbor_update,
    "GetRoutingInfo": routing_info,
    "GetPriorityRoute": priority_route,
    "SetPriorityRoute": set_priority_route,
    "AssignReturnRoute": _told("AssignReturnRoute"),
    "DeleteReturnRoute": _told("DeleteReturnRoute"),
    "AssignSUCReturnRoute": _told("AssignSUCReturnRoute"),
    "DeleteSUCReturnRoute": _told("DeleteSUCReturnRoute"),
    "AssignPriorityReturnRoute": _told("AssignPriorityReturnRoute"),
    "AssignPrioritySUCReturnRoute": _told("AssignPrioritySUCReturnRoute"),
    "SendSUCId": _told("SendSUCId"),
    "GetSUCNodeId": suc_id,
    "SetSUCNodeId": set_suc_id,
}
