"""The radio's backup: its devices and their keys in one document. `agent backup` seals it.

An OSCORE key that comes back must not use a number again. It begins far past where the backup found it, and past the clock's number (see
oscore.Numbers), whichever is more: a hub that has lost the time is safe for MARGIN messages, one that has it for 256 a second.
"""

import json
from typing import Any

from agent.driver import InvalidParameters
from drivers.coap.book import Record, document, records
from drivers.coap.keyring import Keyring
from drivers.coap.keys import OscoreKey, pack, unpack

MARGIN = 1 << 20  # sequence numbers
BIGGEST = 16 * 1024 * 1024  # bytes


def write(devices: dict[str, Record], keyring: Keyring) -> bytes:
    """Raises DriverError when a key cannot be read."""
    content = document(devices)
    content["keys"], content["numbers"] = {}, {}
    for record in devices.values():
        found = keyring.key(record)
        if found is not None:
            content["keys"][record.key] = json.loads(pack(found))
        if isinstance(found, OscoreKey):
            content["numbers"][record.key] = keyring.security(found).next_number
    return json.dumps(content, indent=1).encode()


def read(data: bytes, keyring: Keyring, wall: float) -> dict[str, Record]:
    """The devices of a backup, their keys kept. Raises InvalidParameters for what is none, and DriverError."""
    try:
        if len(data) > BIGGEST:
            raise ValueError(f"more than {BIGGEST} bytes")
        content: Any = json.loads(data)
        found = records(content)
        keys = {device: unpack(json.dumps(key).encode()) for device, key in content.get("keys", {}).items()}
        numbers = {device: int(number) + MARGIN for device, number in content.get("numbers", {}).items()}
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
            keyring.begin(key, wall, numbers.get(record.key, MARGIN))
    return found
