"""Bindkeys of encrypted devices, among the hub's secrets. Keys of bonds are not here: BlueZ makes, keeps and uses them itself."""

import asyncio
from importlib import import_module

from agent.driver import DriverError
from agent.errors import HubError
from agent.secret_store import Secrets
from drivers.ble.bthome import Decrypt

PREFIX = "bindkey-"


class BindkeyTroubleError(DriverError):
    """The hub's store of secrets cannot be used; the text says why."""


class Bindkeys:
    """The keys of one radio, read once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._keys: dict[str, bytes] = {}
        self._openers: dict[str, Decrypt] = {}

    async def load(self) -> None:
        """Raises BindkeyTroubleError."""
        try:
            self._keys = await asyncio.to_thread(self._read)
        except HubError as error:
            raise BindkeyTroubleError(error.message, place=error.place, remedy=error.remedy) from error

    def _read(self) -> dict[str, bytes]:
        names = [name for name in self._secrets.names() if name.startswith(PREFIX)]
        found = {_address(name): self._secrets.get(name) for name in names}
        return {address: key for address, key in found.items() if key}

    def opener(self, address: str) -> Decrypt | None:
        """What opens the adverts of a device; None when it has no key."""
        key = self._keys.get(address)
        if key is None:
            return None
        known = self._openers.get(address)
        if known is None:
            known = self._openers[address] = opener(key, address)
        return known

    async def keep(self, address: str, key: bytes) -> None:
        """Durable when this returns. Raises BindkeyTroubleError."""
        try:
            await asyncio.to_thread(self._secrets.put, _name(address), key)
        except HubError as error:
            raise BindkeyTroubleError(error.message, place=error.place, remedy=error.remedy) from error
        self._keys[address] = key
        self._openers.pop(address, None)

    async def forget(self, address: str) -> None:
        """Raises BindkeyTroubleError."""
        if self._keys.pop(address, None) is None:
            return
        self._openers.pop(address, None)
        try:
            await asyncio.to_thread(self._secrets.delete, _name(address))
        except HubError as error:
            raise BindkeyTroubleError(error.message, place=error.place, remedy=error.remedy) from error

    def document(self) -> dict[str, str]:
        """For a backup, which is sealed or kept where its owner says."""
        return {address: key.hex() for address, key in sorted(self._keys.items())}


def opener(key: bytes, address: str) -> Decrypt:
    # cryptography takes a moment to load: only who has an encrypted device pays for it.
    made: Decrypt = import_module("drivers.ble.bthome_key").opener(key, address)
    return made


def _name(address: str) -> str:
    return PREFIX + address.replace(":", "")


def _address(name: str) -> str:
    digits = name.removeprefix(PREFIX)
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
