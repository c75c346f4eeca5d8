"""`agent backup FILE`: what a hub is and knows, as one file, sealed with a passphrase, readable by its owner only.

In it: the radios' networks, the devices with their last state, what clouds have set, the discoveries, and the certificate. Whoever has a
network's key can listen and join: in clear the file is written on demand only (`--plain`), and a private key of the hub's own is never
in such a file. Sealed or not, its content is one JSON text; each network is a document of its radio's own kind (Zigbee: the open
coordinator format), so that a part of it is useful elsewhere. `agent.restore` puts it back.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import files, saved
from agent.backup_form import FORMAT, SEALED, SETTINGS, VERSION, Backup, read
from agent.client import Client
from agent.errors import HubError, PermissionDeniedError, UsageError
from agent.settings import Secret, Settings
from agent.uplinks import identity_of

LARGEST = 64 * 1024 * 1024  # bytes of a backup
_BESIDE = ("-wal", "-shm", "-journal")  # SQLite's own, of a database that is copied whole


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was written, and the radios whose network cannot be in one: why, and what to do."""

    whole: Backup
    without: dict[str, dict[str, str]]


def take(settings: Settings, client: Client, file: Path, passphrase: Secret | None) -> Taken:
    """Write a backup, in clear without a passphrase; returns it. Raises HubError."""
    lines = list(_lines(client, "backup", {})) if settings.radios else []
    given = [line for line in lines if line["network"] is not None]
    radios = {line["radio"]: {"kind": line["kind"], "network": line["network"]} for line in given}
    refused = [line for line in lines if line["network"] is None]
    if passphrase is not None:
        from agent.identity.stores.passphrase import check  # noqa: PLC0415  cryptography is not read for a plain one

        check(passphrase)
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "hub": lines[0]["hub"] if lines else settings.hub.id,
        "radios": radios,
    }
    with files.as_owner(settings.hub.state_dir):
        whole |= {"kept": _kept(settings), "identity": _identity(settings, with_key=passphrase is not None)}
    made = read(whole, "this hub")
    content = json.dumps(whole, indent=2).encode() + b"\n"
    if len(content) > LARGEST // 2:
        text = f"the backup would have {len(content)} bytes"
        raise HubError(text, place=str(settings.hub.state_dir), remedy="look for what is large in its folder radios")
    if passphrase is not None:
        from agent.identity.stores.passphrase import seal  # noqa: PLC0415  as above

        content = seal(passphrase, SEALED, VERSION, content)
    try:
        files.write_atomic(file, content)
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        raise PermissionDeniedError(text, place=str(file), remedy="name a file in a folder of yours") from error
    return Taken(made, {line["radio"]: {"error": line["error"], "remedy": line["remedy"]} for line in refused})


def _lines(client: Client, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for line in client.stream(path, body):
        if line["what"] == "failed":
            raise HubError(line["error"], remedy=line["remedy"])
        yield line


def _kept(settings: Settings) -> dict[str, Any]:
    folder = settings.hub.state_dir
    meta, devices, state = saved.home(folder)
    return {
        "database": meta.get(saved.DATABASE_ID, ""),
        "settings": {name: value for name, value in meta.items() if name in SETTINGS},
        "devices": devices,
        "state": state,
        "files": {name: _files(folder / "radios" / name) for name in settings.radios},
    }


def _files(folder: Path) -> dict[str, str]:
    """What a driver keeps of its network: the book of its nodes, its database."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_file() or path.name.startswith(".") or path.name.endswith(_BESIDE):
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            remedy = "run it as the service's user"
            raise PermissionDeniedError(f"cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error
        if content.startswith(saved.MAGIC):
            content = saved.copy(path)
        found[path.name] = base64.b64encode(content).decode()
    return found


def _identity(settings: Settings, *, with_key: bool) -> dict[str, Any] | None:
    """The certificate in use. Only a store of files gives a key out: what is sealed or in a device is not for elsewhere."""
    identity = identity_of(settings)
    slots = identity.slots if identity is not None else None
    record = slots.record if slots is not None else None
    if slots is None or record is None or record.current is None:
        return None
    slot, key = record.current, ""
    try:
        chain = slots.chain(slot).read_text(encoding="ascii")
        if with_key and settings.identity.store == "file":
            key = Path(slots.tls_files(slot)[1]).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        text = f"the hub's certificate cannot be read: {error}"
        raise HubError(text, place=str(slots.folder), remedy="`agent identity show` says what is there") from None
    slots.check_whole(record.held[slot], chain, key)
    return {"held": record.held[slot].model_dump(), "chain": chain, "key": key}


def load(file: Path, passphrase: Secret | None) -> Backup:
    """The content of a file. Raises UsageError for one that is none, is damaged, or opens with another passphrase."""
    remedy = "name a file that `agent backup` has written"
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"has more than {LARGEST} bytes", place=str(file), remedy=remedy)
        whole = json.loads(content)
        if isinstance(whole, dict) and whole.get("format") == SEALED:
            whole = json.loads(_unseal(content, file, passphrase))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", place=str(file), remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"is no JSON: {error}", place=str(file), remedy=remedy) from error
    return read(whole, str(file))


def _unseal(content: bytes, file: Path, passphrase: Secret | None) -> bytes:
    if passphrase is None:
        remedy = "give --passphrase-file with the one that it was sealed with"
        raise UsageError("is sealed with a passphrase", place=str(file), remedy=remedy)
    from agent.identity.stores.passphrase import unseal  # noqa: PLC0415  as above

    return unseal(passphrase, content, str(file))


def write_networks(client: Client, backup: Backup, file: Path, only: str) -> list[str]:
    """Write the networks to the radios of the same names, by the daemon. Raises HubError."""
    if only and only not in backup.radios:
        text, has = f"the backup has no radio {only!r}", ", ".join(backup.radios) or "none"
        raise UsageError(text, place=str(file), remedy=f"it has {has}")
    names = [only] if only else list(backup.radios)
    for name in names:
        list(_lines(client, "restore", {"radio": name, "network": backup.radios[name].network}))
    return names
