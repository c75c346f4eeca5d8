"""The network keys of one radio: made once, kept among its secrets, never shown."""

import json
import logging
from collections.abc import Iterable, Mapping

from agent.secret_store import Secrets
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.security.classes import KEY_SIZE, Entropy, SecurityClass
from drivers.zwave.settings import ZwaveSettings

log = logging.getLogger(__name__)

NAME = "networkkeys"
CLASSES = [one for one in SecurityClass if one is not SecurityClass.TEMPORARY]


def network_keys(
    secrets: Secrets, settings: ZwaveSettings, entropy: Entropy, nodes: Iterable[NodeRecord] = ()
) -> Mapping[SecurityClass, bytes]:
    """A key for every class: the kept one, the one of the settings, or a new one; kept when this returns.

    A key of the settings takes the place of a kept one that none of `nodes` has. Nodes without security may have one of the new keys: they
    are to be asked again. Raises what `secrets` raises, ValueError for a damaged store.
    """
    kept: dict[str, str] = json.loads(secrets.get(NAME) or b"{}")
    known = list(nodes)
    used = {one for node in known for one in node.granted}
    found: dict[SecurityClass, bytes] = {}
    for one in CLASSES:
        name = f"{one.name.lower()}_key"
        wanted, own = bytes.fromhex(getattr(settings, name).reveal()), bytes.fromhex(kept.get(one.name, ""))
        if own and wanted and own != wanted and one in used:
            log.warning("%s is not taken: devices of this network have the radio's own key of that class", name)
            wanted = own
        found[one] = wanted or own or entropy(KEY_SIZE)
        if len(found[one]) != KEY_SIZE:
            raise ValueError(f"the kept key of {one.name} has a wrong size")
    if {one.name: key.hex() for one, key in found.items()} != kept:
        keep_keys(secrets, found)
        for node in known:
            if not node.security:
                node.security, node.done = None, [stage for stage in node.done if stage == "protocol"]
                node.refused.clear()
    return found


def keep_keys(secrets: Secrets, keys: Mapping[SecurityClass, bytes]) -> None:
    """These are the keys from the next start on. Raises what `secrets` raises."""
    secrets.put(NAME, json.dumps({one.name: key.hex() for one, key in keys.items()}).encode())


def forget_keys(secrets: Secrets) -> None:
    """The network is left: the next one gets keys of its own."""
    secrets.delete(NAME)
