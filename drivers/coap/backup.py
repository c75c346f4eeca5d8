"""The radio's backup: its devices and their keys in one document. `agent backup` seals it.

An OSCORE key that comes back begins at a sequence number past whatever it can have reached since: see oscore.Numbers.begin.
"""

import json
from typing import Any

from agent.driver import InvalidParameters
from drivers.coap.book import Record, document, records
from drivers.coap.keyring import Keyring
from drivers.coap.keys import OscoreKey, pack, unpack

BIGGEST = 16 * 1024 * 1024  # bytes


def write(devices: dict[str, Record], keyring: Keyring) -> bytes:
    """Raises DriverError when a key cannot be read."""
    content = document(devices)
    content["keys"] = {}
    for record in devices.values():
        found = keyring.key(record)
        if found is not None:
            content["keys"][record.key] = json.loads(pack(found))
    return json.dumps(content, indent=1).encode()


def read(data: bytes, keyring: Keyring, wall: float) -> dict[str, Record]:
    """The devices of a backup, their keys kept. Raises InvalidParameters for what is none, and DriverError."""
    try:
        if len(data) > BIGGEST:
            raise ValueError(f"more than {BIGGEST} bytes")
        content: Any = json.loads(data)
        found = records(content)
        keys = {device: unpack(json.dumps(key).encode()) for device, key in content.get("keys", {}).items()}
        for record in found.values():
            key = keys.get(record.key)
            if record.protection != (key.kind if key is not None else ""):
                raise ValueError(f"the key of {record.key} is missing, or is another")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidParameters(f"not a backup of CoAP devices: {error}") from error
    for record in found.values():
        key = keys.get(record.key)
        keyring.keep(record, key)
        if isinstance(key, OscoreKey):
            keyring.begin(key, wall)
    return found
