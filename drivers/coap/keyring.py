"""The keys of the devices, among the radio's secrets, and the OSCORE contexts that they make."""

import hashlib
from pathlib import Path
from typing import Any

from agent.driver import DeviceUnreachable, DriverError
from agent.errors import HubError
from agent.redact import register
from agent.secret_store import Secrets
from drivers.coap.book import Record
from drivers.coap.keys import DtlsKey, Key, OscoreKey, pack, unpack
from drivers.coap.oscore import Numbers, SecurityContext

FOLDER = "oscore"  # of the state folder: what the sequence numbers have come to
_REMEDY = "add it again: agent discover coap --auth"


class Keyring:
    """A key for each protected device. Raises DriverError for a store that fails."""

    def __init__(self, secrets: Secrets, folder: Path) -> None:
        self._secrets, self._folder = secrets, folder / FOLDER
        self._contexts: dict[str, Any] = {}  # a context counts its messages: one for each key, whatever the channel

    def key(self, record: Record) -> Key | None:
        """None for a device that never had one. Raises DeviceUnreachable when it is lost: it is not spoken to in clear."""
        if not record.protection:
            return None
        found = self.find(record.key)
        if found is None or found.kind != record.protection:
            text = f"the key of {record.key} is not among the secrets any more; without it the device is not spoken to"
            raise DeviceUnreachable(text, remedy=_REMEDY)
        return found

    def find(self, device: str) -> Key | None:
        """The key that is kept for a device."""
        try:
            data = self._secrets.get(_name(device))
            found = None if data is None else unpack(data)
        except ValueError as error:
            raise DriverError(f"the key of {device} is damaged: {error}", remedy=_REMEDY) from error
        except HubError as error:
            raise DriverError(error.message, place=error.place, remedy=error.remedy) from error
        if found is not None:
            register(found.psk if isinstance(found, DtlsKey) else found.secret)
        return found

    def keep(self, record: Record, key: Key | None) -> None:
        """Keep the key of a device that has joined; durable when this returns."""
        try:
            if key is None:
                self._secrets.delete(_name(record.key))
            else:
                self._secrets.put(_name(record.key), pack(key))
        except HubError as error:
            raise DriverError(f"the key cannot be kept: {error}", remedy=error.remedy) from error

    def drop(self, device: str) -> None:
        """Forget the key. What its sequence numbers have come to stays: the same key may be given again."""
        try:
            self._secrets.delete(_name(device))
        except HubError as error:
            raise DriverError(f"the key cannot be forgotten: {error}", remedy=error.remedy) from error

    def begin(self, key: OscoreKey, wall: float, past: int = 0) -> None:
        """A key is taken into use, anew or again; one that is in use goes on counting. No number up to `past` is used."""
        register(key.secret)
        try:
            if _known(key) in self._contexts:
                self._contexts[_known(key)].skip(past)
            else:
                Numbers.of(self._folder, key).begin(wall, past)
        except OSError as error:
            text = f"the sequence numbers cannot be kept: {error.strerror}"
            raise DriverError(text, place=str(self._folder), remedy="free the disk") from error

    def security(self, key: OscoreKey) -> SecurityContext:
        """The context of a key, the same one each time."""
        name = _known(key)
        found = self._contexts.get(name)
        if found is None:
            found = self._contexts[name] = SecurityContext(key, Numbers.of(self._folder, key))
        return found


def _known(key: OscoreKey) -> str:
    return f"{key.secret}|{key.salt}|{key.context}|{key.sender}"


def _name(device: str) -> str:
    return f"device-{hashlib.sha256(device.encode()).hexdigest()[:24]}"
