"""The Z-Wave radios of a home file. PURE.

[radios.zwave]
kind = "zwave"
stick = "800"                # or "500", "tiny"
home_id = "c0ffee01"
reenumerates = false         # true: each soft reset unplugs it for a moment, as some sticks do
keys = { S2_ACCESS_CONTROL = "00112233445566778899aabbccddeeff" }   # of a network that exists already

[[radios.zwave.devices]]
name = "front door"
profile = "lock"
node = 5                     # it is in the network from the start, with this id; without, it waits to be added
granted = ["S2_ACCESS_CONTROL"]
pairing = false              # nobody has pressed its button yet

[[radios.zwave.devices]]
name = "used plug"
profile = "plug"
node = 9                     # in somebody else's network: it joins none before it is excluded
home_id = "deadbeef"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.zwave.network import LAST_NODE, Network
from drivers.sim.zwave.node import Node
from drivers.sim.zwave.profiles import PROFILES
from drivers.sim.zwave.sticks import STICKS
from drivers.zwave.security.classes import KEY_SIZE, SecurityClass

RADIO_KEYS = frozenset({"kind", "stick", "home_id", "port", "devices", "keys", "reenumerates"})
DEVICE_KEYS = frozenset(
    {"name", "profile", "pairing", "node", "granted", "count", "script", "repeat", "wake_up", "home_id"}
)
HOME_ID = "c0ffee01"
_HOME_ID_SIZE = 4
_EXAMPLE = "see config/examples/home.toml"


@dataclass(frozen=True, slots=True)
class Played:
    """A device that does something by itself."""

    node: Node
    steps: tuple[Mapping[str, Any], ...]
    repeat: bool
    place: str


def stick(radio: str, spec: Mapping[str, Any]) -> str:
    """The name of the stick's profile. Raises ConfigError, for keys that no radio has as well."""
    home.known(spec, RADIO_KEYS, f"radios.{radio}")
    name = str(spec.get("stick", "800"))
    if name not in STICKS:
        names = ", ".join(f'"{kind}"' for kind in STICKS)
        raise ConfigError(f"no simulated stick {name!r}", place=f"radios.{radio}.stick", remedy=f"known: {names}")
    return name


def build(radio: str, spec: Mapping[str, Any], *, seed: int) -> tuple[Network, list[Played]]:
    """The network with its devices. Raises ConfigError."""
    network = Network(_hex(spec.get("home_id", HOME_ID), _HOME_ID_SIZE, f"radios.{radio}.home_id"), seed=seed)
    keys = _keys(spec.get("keys", {}), f"radios.{radio}.keys")
    played = []
    for entry in home.entries(radio, spec, PROFILES, DEVICE_KEYS):
        if entry.name in network.nodes:
            raise ConfigError(f"two devices are called {entry.name!r}", place=entry.place, remedy="give each its name")
        node = Node(entry.name, str(entry.values["profile"]))
        network.add(node)
        _place(network, node, entry, keys)
        steps = home.script(entry.values, entry.place)
        if steps:
            repeat = home.truth(entry.values, "repeat", entry.place, default=False)
            played.append(Played(node, steps, repeat, entry.place))
    return network, played


def _place(network: Network, node: Node, entry: home.Entry, keys: Mapping[SecurityClass, bytes]) -> None:
    values, place = entry.values, entry.place
    least, most, default, _ = node.profile.interval
    node.wake_interval = int(home.number(values, "wake_up", default, least, most, place, whole=True))
    node.learning = home.truth(values, "pairing", place, default=True)
    if "node" not in values:
        return
    number = int(home.number(values, "node", 0, 2, LAST_NODE, place, whole=True)) + entry.copy
    if "home_id" in values:
        node.home_id, node.id, node.learning = _hex(values["home_id"], _HOME_ID_SIZE, f"{place}.home_id"), number, False
        return
    if network.member(number) is not None or number > LAST_NODE:
        raise ConfigError(
            f"there is no node id {number} left", place=place, remedy="give each device a node of its own"
        )
    node.home_id, node.id, node.learning = network.home_id, number, False
    network.last_id = max(network.last_id, number)
    node.wake_target = network.own
    node.groups(0)[1] = [[network.own, -1]]
    node.guard.restore({name.name: keys[name].hex() for name in _granted(values, place, keys)})


def _granted(values: Mapping[str, Any], place: str, keys: Mapping[SecurityClass, bytes]) -> list[SecurityClass]:
    names = values.get("granted", [])
    known = {one.name: one for one in keys}
    if not isinstance(names, list) or not set(names) <= set(known):
        raise ConfigError(
            f"granted cannot be {names!r}", place=place, remedy=f"a list of: {', '.join(known) or 'see keys'}"
        )
    return [known[name] for name in names]


def _keys(table: Any, place: str) -> dict[SecurityClass, bytes]:
    names = [one.name for one in SecurityClass if one is not SecurityClass.TEMPORARY]
    if not isinstance(table, dict) or not set(table) <= set(names):
        raise ConfigError(f"keys cannot be {table!r}", place=place, remedy=f"a table with: {', '.join(names)}")
    return {SecurityClass[name]: _hex(key, KEY_SIZE, f"{place}.{name}") for name, key in table.items()}


def _hex(value: Any, size: int, place: str) -> bytes:
    try:
        data = bytes.fromhex(value)
    except (TypeError, ValueError):
        data = b""
    if len(data) != size:
        raise ConfigError(
            f"this is no number of {size} bytes: {value!r}",
            place=place,
            remedy=f"write {2 * size} hex digits; {_EXAMPLE}",
        )
    return data
