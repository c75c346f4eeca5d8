"""What survives a power cut, as JSON: the chip with its network, and the nodes. PURE."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.sim.zwave.node import Node
    from drivers.sim.zwave.stick import Stick

Json = dict[str, Any]


def pack_chip(stick: "Stick") -> Json:
    """What the stick itself keeps: its identity, and which nodes it knows."""
    network = stick.network
    members = {node.name: node.id for node in network.members()}
    own = {"home_id": network.home_id.hex(), "own": network.own, "sis": network.sis, "last_id": network.last_id}
    return {**own, "members": members, "failed": sorted(network.failed), "settings": stick.snapshot()}


def unpack_chip(stick: "Stick", state: Json) -> None:
    """The stick of a backup: nodes that it knows are in its network again, others are not."""
    network = stick.network
    home_id = bytes.fromhex(state["home_id"])
    for node in network.nodes.values():
        number = state["members"].get(node.name, 0)
        if number:
            node.home_id, node.id = home_id, number
            node.guard.restart()
        elif node.home_id == home_id:
            node.home_id = b"\0\0\0\0"  # it believes to be in a network that this stick knows nothing of
    network.home_id, network.own, network.sis = home_id, state["own"], state["sis"]
    network.last_id, network.failed = state["last_id"], set(state["failed"])
    stick.restore(state["settings"])


def pack(stick: "Stick") -> Json:
    """The whole house."""
    nodes = [pack_node(node) for node in stick.network.nodes.values()]
    return {"chip": pack_chip(stick), "nodes": nodes}


def unpack(stick: "Stick", state: Json, now: float) -> None:
    """Nodes that the state does not name stay as the home file made them."""
    for saved in state["nodes"]:
        node = stick.network.nodes.get(saved["name"])
        if node is not None and node.profile_name == saved["profile"]:
            unpack_node(node, saved, now)
    unpack_chip(stick, state["chip"])


def pack_node(node: "Node") -> Json:
    return {
        "name": node.name,
        "profile": node.profile_name,
        "node": node.id,
        "home_id": node.home_id.hex(),
        "learning": node.learning,
        "powered": node.powered,
        "keys": node.guard.snapshot(),
        "associations": {
            place: {str(number): group for number, group in groups.items()}
            for place, groups in node.associations.items()
        },
        "wake_up": [node.wake_interval, node.wake_target],
        "firmware": list(node.firmware),
        "values": [place.values for place in node.places],
    }


def unpack_node(node: "Node", saved: Json, now: float) -> None:
    node.id, node.home_id = saved["node"], bytes.fromhex(saved["home_id"])
    node.learning, node.powered = saved["learning"], saved["powered"]
    node.associations = {
        place: {int(number): group for number, group in groups.items()}
        for place, groups in saved["associations"].items()
    }
    node.wake_interval, node.wake_target = saved["wake_up"]
    node.firmware = (saved["firmware"][0], saved["firmware"][1])
    for place, values in zip(node.places, saved["values"], strict=False):
        place.values = {**place.part.values, **values}
    node.guard.restore(saved["keys"])
    node.plan_wake_up(now)
