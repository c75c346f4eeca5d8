"""Deletes what the hub is and knows: keys through their store, the state folder, the word of AWS's file; and proves it.

Every step can be repeated: the mark is written first and last, and a power cut between costs nothing but the time to do it again.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from agent import offboard_mark
from agent.errors import HubError
from agent.files import locked, sync_folder
from agent.identity import copies, stores
from agent.identity.hub_identity import FOLDER, HubIdentity
from agent.identity.iotmi_file import IotmiFile
from agent.identity.keys import KeyStore
from agent.identity.remains import fingerprint, scan, search
from agent.offboard_mark import MARK, Destroyed, Left, Mark, Proof
from agent.ota.place import slots_folder
from agent.settings import Settings

log = logging.getLogger(__name__)

LOCK_WAIT = 60.0  # seconds; the deletion itself takes one or two


def wipe(settings: Settings) -> None:
    """Delete all local data of a state folder with a mark that says so. Raises OSError, ConfigError.

    A key store that is away keeps nobody from the rest: a hub whose token is lost must start again. The proof says that it proves less.
    """
    folder = settings.hub.state_dir.resolve()
    with locked(
        folder, wait=LOCK_WAIT, busy="another process is deleting the hub's data"
    ):  # or a daemon that starts has found the mark
        told = offboard_mark.read(folder)
        if told is None or told.wiped:
            return  # another process has done it meanwhile
        told, left = _destroy(settings, folder, _with_copies(folder, told))
        kept = _kept(settings, folder)
        gone = _delete_copies(told)
        _empty(folder, {folder / MARK, *kept})
        IotmiFile(settings, settings.hub.state_dir / FOLDER).forget()
        proof = _proof(settings, folder, told, kept, gone, left)
        offboard_mark.write(folder, told.model_copy(update={"wiped": True, "proof": proof}))
    log.info("%d keys are destroyed, and %d files searched for others", len(proof.keys_destroyed), proof.files_scanned)
    for one in proof.left:
        log.error("a private key is left: %s: %s; delete it, and reset again", one.where, one.kind)


def _with_copies(folder: Path, told: Mark) -> Mark:
    """The mark with the places of copies, whose note is deleted with the rest."""
    paths = [*told.copies, *(path for path in copies.known(folder / FOLDER) if path not in told.copies)]
    return _written(folder, told, told.model_copy(update={"copies": paths}))


def _written(folder: Path, before: Mark, after: Mark) -> Mark:
    if after != before:
        offboard_mark.write(folder, after)
    return after


def _destroy(settings: Settings, folder: Path, told: Mark) -> tuple[Mark, list[Left]]:
    """Destroy all keys in their store: the mark with their public halves, and what the store has still, or may have."""
    try:
        keys = HubIdentity(settings).keys
        told = _with_keys(folder, told, keys)
        for name in keys.names():
            keys.destroy(name)
        stores.forget(settings)
        return told, [Left(where="the key store", kind="key", matches=name) for name in keys.names()]
    except HubError as error:
        log.error("the hub's key stays in its token, or in what else the store is: %s", error.advice)  # noqa: TRY400  no bug
        return told, [Left(where="the key store", kind=f"perhaps a key: it cannot be asked ({error.message})")]


def _with_keys(folder: Path, told: Mark, keys: KeyStore) -> Mark:
    """The mark with what nobody can tell afterwards: the public halves of all keys, also of those that an earlier attempt destroyed."""
    before = told.keys or []
    there = [Destroyed(name=name, public_key_sha256=_public(keys, name)) for name in keys.names()]
    whole = [*before, *(key for key in there if key not in before)]
    return _written(folder, told, told.model_copy(update={"keys": whole}))


def _public(keys: KeyStore, name: str) -> str:
    try:
        return fingerprint(keys.public_key(name))
    except HubError:
        return ""  # it is damaged, or others could read it: it is destroyed all the same


def _kept(settings: Settings, folder: Path) -> set[Path]:
    """What stays of the state folder: what the configuration names (claim, authorities, secrets), itself, and the program in its slots."""
    origins = {Path(origin.rpartition(":")[0]) for origin in settings.origins.values() if origin.startswith("/")}
    found = {path.resolve() for path in settings.named | origins}
    slots = slots_folder(
        settings
    ).resolve()  # they hold no data, and the service starts from them; and the version floor
    return {path for path in found if path.is_relative_to(folder) and path.is_file()} | (
        {slots} if slots.is_dir() else set()
    )


def _empty(folder: Path, kept: set[Path]) -> bool:
    """Delete what is in a folder but `kept`; whether that leaves it empty. Raises OSError."""
    empty = True
    for path in sorted(folder.iterdir()):
        if path in kept:
            empty = False
        elif path.is_dir() and not path.is_symlink():
            if _empty(path, kept):
                path.rmdir()
            else:
                empty = False
        else:
            path.unlink(missing_ok=True)
    sync_folder(folder)
    return empty


def _delete_copies(told: Mark) -> list[str]:
    """Delete the files outside that hold a key that is destroyed, and nothing else; which are gone. What cannot be deleted is told later."""
    names, gone = _names(told), []
    for path in map(Path, told.copies):
        with suppress(OSError, HubError):
            if path.is_file() and any(left.matches for left in search(path, names)):
                path.unlink()
                sync_folder(path.parent)
            if not path.exists():
                gone.append(str(path))
    return gone


def _names(told: Mark) -> dict[str, str]:
    return {key.public_key_sha256: key.name for key in told.keys or [] if key.public_key_sha256}


def _proof(
    settings: Settings, folder: Path, told: Mark, kept: set[Path], gone: list[str], in_store: list[Left]
) -> Proof:
    folders = [folder]
    runtime = settings.hub.runtime_dir.resolve()
    if runtime.exists() and not runtime.is_relative_to(folder):
        folders.append(runtime)
    files, left = scan(folders, kept, _names(told))
    for path in (path for path in map(Path, told.copies) if os.path.lexists(path)):
        files += 1
        left += _copy(path, _names(told))
    left += in_store
    there = {one.matches for one in in_store}
    return Proof(
        keys_destroyed=[key for key in told.keys or [] if key.name not in there],
        files_scanned=files,
        private_keys_left=len(left),
        left=left,
        kept=sorted(map(str, kept)),
        copies_gone=gone,
    )


def _copy(path: Path, names: dict[str, str]) -> list[Left]:
    """What is left of a copy; another key that has taken its place since is not this hub's."""
    try:
        return [left for left in search(path, names) if left.matches]
    except HubError as error:
        return [Left(where=str(path), kind=f"a copy of a key, perhaps: {error.message}")]
