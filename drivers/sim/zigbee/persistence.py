"""What of a simulated network survives a power cut, as JSON. PURE."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from drivers.sim.zigbee.model import Json, LinkKey, Params
from drivers.sim.zigbee.node import Node, Reporting
from drivers.sim.zigbee.zdo import Binding

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network


def pack(network: "Network") -> Json:
    params = None
    if network.params is not None:
        params = asdict(network.params)
        params["network_key"] = network.params.network_key.hex()
        params["tc_link_key"] = network.params.tc_link_key.hex()
    return {
        "ieee": network.ieee,
        "params": params,
        "frame_counter": network.frame_counter,
        "link_keys": {str(ieee): [k.key.hex(), k.tx_counter, k.rx_counter] for ieee, k in network.link_keys.items()},
        "nodes": [_pack_node(node) for node in network.nodes.values()],
    }


def unpack(network: "Network", state: Json) -> None:
    """Nodes that the state does not name stay as the home file made them."""
    params = state["params"]
    network.ieee = state["ieee"]
    network.params = None
    if params is not None:
        keys = {name: bytes.fromhex(params[name]) for name in ("network_key", "tc_link_key")}
        network.params = Params(**{**params, **keys})
    network.frame_counter = state["frame_counter"]
    network.link_keys = {
        int(ieee): LinkKey(bytes.fromhex(key), tx, rx) for ieee, (key, tx, rx) in state["link_keys"].items()
    }
    for saved in state["nodes"]:
        node = network.nodes.get(saved["ieee"])
        if node is not None:
            _unpack_node(node, saved)


def _pack_node(node: Node) -> Json:
    return {
        "ieee": node.ieee,
        "nwk": node.nwk,
        "parent": node.parent,
        "joined": node.joined,
        "pairing": node.pairing,
        "powered": node.powered,
        "bindings": [asdict(binding) for binding in node.bindings],
        "firmware": node.ota.firmware.version if node.ota is not None else None,
        "groups": {str(endpoint): sorted(groups) for endpoint, groups in node.groups.items()},
        "values": [[*place, a, cell[1]] for place, table in node.tables.items() for a, cell in table.items()],
        "reporting": [[*key, r.kind, r.minimum, r.maximum, r.change] for key, r in node.reporting.items()],
    }


def _unpack_node(node: Node, saved: Json) -> None:
    node.nwk, node.joined, node.parent = saved["nwk"], saved["joined"], saved.get("parent", 0x0000)
    node.pairing, node.powered = saved["pairing"], saved["powered"]
    node.bindings = {Binding(**binding) for binding in saved["bindings"]}
    node.groups = {int(endpoint): set(groups) for endpoint, groups in saved["groups"].items()}
    if node.ota is not None and saved.get("firmware") is not None:
        node.ota.firmware.version = saved["firmware"]
    for endpoint, cluster, attribute, value in saved["values"]:
        cell = node.tables.get((endpoint, cluster), {}).get(attribute)
        if cell is not None:
            cell[1] = value
    for endpoint, cluster, attribute, kind, minimum, maximum, change in saved["reporting"]:
        value = node.get(endpoint, cluster, attribute)
        node.reporting[(endpoint, cluster, attribute)] = Reporting(kind, minimum, maximum, change, value)
