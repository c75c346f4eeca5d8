"""`agent backup FILE` and `agent restore FILE`: the radios' networks as one file, sealed with a passphrase, readable by its owner only.

Whoever has a network's key can listen and join: in clear the file is written on demand only (`--plain`). Sealed or not, its content is one
JSON text; each network is a document of its radio's own kind (Zigbee: the open coordinator format), so that a part of it is useful elsewhere.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import files
from agent.client import Client
from agent.errors import HubError, PermissionDeniedError, UsageError
from agent.settings import Secret

VERSION = 1
FORMAT, SEALED = "hub-agent-backup", "hub-agent-backup-sealed"


def take(client: Client, file: Path, passphrase: Secret | None) -> list[str]:
    """Write a backup, in clear without a passphrase; returns the names of the radios in it. Raises HubError."""
    lines = list(_lines(client, "backup", {}))
    radios = {line["radio"]: {"kind": line["kind"], "network": line["network"]} for line in lines}
    whole = {"format": FORMAT, "version": VERSION, "hub": lines[0]["hub"], "radios": radios}
    content = json.dumps(whole, indent=2).encode() + b"\n"
    if passphrase is not None:
        from agent.identity.stores.passphrase import seal  # noqa: PLC0415  cryptography is not read for a plain one

        content = seal(passphrase, SEALED, VERSION, content)
    try:
        files.write_atomic(file, content)
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        raise PermissionDeniedError(text, place=str(file), remedy="name a file in a folder of yours") from error
    return list(radios)


def restore(client: Client, file: Path, only: str, passphrase: Secret | None) -> list[str]:
    """Write the networks of a backup to the radios of the same names. Raises UsageError for a file that is none, HubError."""
    radios = _read(file, passphrase)
    if only and only not in radios:
        raise UsageError(f"the backup has no radio {only!r}", place=str(file), remedy=f"it has {', '.join(radios)}")
    names = [only] if only else list(radios)
    for name in names:
        list(_lines(client, "restore", {"radio": name, "network": radios[name]["network"]}))
    return names


def _lines(client: Client, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for line in client.stream(path, body):
        if line["what"] == "failed":
            raise HubError(line["error"], remedy=line["remedy"])
        yield line


def _read(file: Path, passphrase: Secret | None) -> dict[str, Any]:
    remedy = "name a file that `agent backup` has written"
    try:
        content = file.read_bytes()
        whole = json.loads(content)
        if isinstance(whole, dict) and whole.get("format") == SEALED:
            whole = json.loads(_unseal(content, file, passphrase))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", place=str(file), remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"is no JSON: {error}", place=str(file), remedy=remedy) from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise UsageError("is no backup of a hub", place=str(file), remedy=remedy)
    if whole.get("version") != VERSION:
        text = f"has version {whole.get('version')}, this agent knows {VERSION}"
        raise UsageError(text, place=str(file), remedy="use the agent that wrote it")
    radios = whole.get("radios")
    sound = isinstance(radios, dict) and all(isinstance(r, dict) and "network" in r for r in radios.values())
    if not isinstance(radios, dict) or not radios or not sound:
        raise UsageError("holds no networks", place=str(file), remedy=remedy)
    return radios


def _unseal(content: bytes, file: Path, passphrase: Secret | None) -> bytes:
    if passphrase is None:
        remedy = "give --passphrase-file with the one that it was sealed with"
        raise UsageError("is sealed with a passphrase", place=str(file), remedy=remedy)
    from agent.identity.stores.passphrase import unseal  # noqa: PLC0415  as above

    return unseal(passphrase, content, str(file))
