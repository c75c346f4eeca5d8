"""The network keys of one radio: made once, kept among its secrets, never shown."""

import json
from collections.abc import Mapping

from agent.secret_store import Secrets
from drivers.zwave.security.classes import KEY_SIZE, Entropy, SecurityClass
from drivers.zwave.settings import ZwaveSettings

NAME = "networkkeys"
CLASSES = [one for one in SecurityClass if one is not SecurityClass.TEMPORARY]


def network_keys(secrets: Secrets, settings: ZwaveSettings, entropy: Entropy) -> Mapping[SecurityClass, bytes]:
    """A key for every class: the kept one, else the one of the settings, else a new one; kept when this returns.

    Raises what `secrets` raises, ValueError for a damaged store.
    """
    kept: dict[str, str] = json.loads(secrets.get(NAME) or b"{}")
    found: dict[SecurityClass, bytes] = {}
    for one in CLASSES:
        wanted = getattr(settings, f"{one.name.lower()}_key").reveal()
        found[one] = bytes.fromhex(kept.get(one.name) or wanted) or entropy(KEY_SIZE)
        if len(found[one]) != KEY_SIZE:
            raise ValueError(f"the kept key of {one.name} has a wrong size")
    text = {one.name: key.hex() for one, key in found.items()}
    if text != kept:
        secrets.put(NAME, json.dumps(text).encode())
    return found


def forget_keys(secrets: Secrets) -> None:
    """The network is left: the next one gets keys of its own."""
    secrets.delete(NAME)
