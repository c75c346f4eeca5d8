"""Secrets that are no keys of our own: network keys of radios, and what else a driver must not lose and nobody may read.

`agent.identity.stores.open_secrets` gives the one that the configuration names; a driver gets its own part of it.
"""

import re
from pathlib import Path
from typing import Protocol

from agent.errors import HubError
from agent.private_files import PrivateFolder

NAME, NAME_RULE = (
    re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}"),
    "1 to 128 of 0-9 A-Z a-z _ . -, the first a letter or digit",
)
SUFFIX = ".secret"


class SecretTroubleError(HubError):
    """A secret cannot be read or kept; the text says why."""


class Secrets(Protocol):
    """Named bytes that survive a restart and are for nobody else. Raises SecretTroubleError, PermissionDeniedError, KeyTroubleError."""

    def put(self, name: str, data: bytes) -> None:
        """Keep `data`, in place of what was there; durable when this returns."""

    def get(self, name: str) -> bytes | None: ...

    def delete(self, name: str) -> None:
        """Nothing happens when there is none."""

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""


class FileSecrets:
    """Secrets as files of `folder` (mode 0700), each 0600."""

    def __init__(self, folder: Path) -> None:
        self._files = secret_folder(folder)

    def put(self, name: str, data: bytes) -> None:
        self._files.write(name, data)

    def get(self, name: str) -> bytes | None:
        return self._files.read(name)

    def delete(self, name: str) -> None:
        self._files.remove(name)

    def names(self) -> tuple[str, ...]:
        return self._files.list()


class ScopedSecrets:
    """The part of a store that belongs to `owner`, the name of a radio: others cannot name what is in it."""

    def __init__(self, secrets: Secrets, owner: str) -> None:
        self._secrets, self._prefix = secrets, f"{owner}."  # a radio's name has no dot

    def put(self, name: str, data: bytes) -> None:
        self._secrets.put(self._prefix + name, data)

    def get(self, name: str) -> bytes | None:
        return self._secrets.get(self._prefix + name)

    def delete(self, name: str) -> None:
        self._secrets.delete(self._prefix + name)

    def names(self) -> tuple[str, ...]:
        found = (name for name in self._secrets.names() if name.startswith(self._prefix))
        return tuple(name.removeprefix(self._prefix) for name in found)


def secret_folder(folder: Path) -> PrivateFolder:
    """The files of a store of secrets."""
    return PrivateFolder(folder, SUFFIX, NAME, NAME_RULE, SecretTroubleError)
