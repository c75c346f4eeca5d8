"""Deletes what the hub is and knows: keys through their store, the state folder, the word of AWS's file; and proves it.

Every step can be repeated: the mark is written first and last, and a power cut between costs nothing but the time to do it again.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import offboard_mark
from agent.errors import HubError, TryAgainError
from agent.files import sync_folder
from agent.identity.hub_identity import HubIdentity
from agent.identity.keys import KeyStore
from agent.identity.remains import fingerprint, scan
from agent.offboard_mark import MARK, Destroyed, Left, Mark, Proof
from agent.settings import Settings

LOCK_WAIT = 60.0  # seconds; the deletion itself takes one or two


def wipe(settings: Settings) -> None:
    """Delete all local data of a state folder with a mark that says so. Raises OSError, and HubError where a key store cannot be opened."""
    folder = settings.hub.state_dir.resolve()
    with _alone(folder):
        told = offboard_mark.read(folder)
        if told is None or told.wiped:
            return  # another process has done it meanwhile
        identity = HubIdentity(settings)
        told = _with_keys(folder, told, identity.keys)
        for name in identity.keys.names():
            identity.keys.destroy(name)
        kept = _kept(settings, folder)
        _empty(folder, {folder / MARK, *kept})
        identity.iotmi.forget()
        proof = _proof(settings, folder, identity.keys, told, kept)
        offboard_mark.write(folder, told.model_copy(update={"wiped": True, "proof": proof}))


def _with_keys(folder: Path, told: Mark, keys: KeyStore) -> Mark:
    """The mark with the public halves of all keys, which nobody can tell afterwards: also of those that an earlier attempt destroyed."""
    known = told.keys or []
    named = {(key.name, key.public_key_sha256) for key in known}
    there = [Destroyed(name=name, public_key_sha256=_public(keys, name)) for name in keys.names()]
    added = [key for key in there if (key.name, key.public_key_sha256) not in named]
    if told.keys is not None and not added:
        return told
    whole = told.model_copy(update={"keys": [*known, *added]})
    offboard_mark.write(folder, whole)
    return whole


def _public(keys: KeyStore, name: str) -> str:
    try:
        return fingerprint(keys.public_key(name))
    except HubError:
        return ""  # it is damaged, or others could read it: it is destroyed all the same


def _kept(settings: Settings, folder: Path) -> set[Path]:
    """Files of the operator's that lie in the state folder: what the configuration names (claim, authorities, secrets), and itself."""
    origins = {Path(origin.rpartition(":")[0]) for origin in settings.origins.values() if origin.startswith("/")}
    found = {path.resolve() for path in settings.named | origins}
    return {path for path in found if path.is_relative_to(folder) and path.is_file()}


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


def _proof(settings: Settings, folder: Path, keys: KeyStore, told: Mark, kept: set[Path]) -> Proof:
    destroyed = told.keys or []
    names = {key.public_key_sha256: key.name for key in destroyed if key.public_key_sha256}
    folders = [folder]
    runtime = settings.hub.runtime_dir.resolve()
    if runtime.exists() and not runtime.is_relative_to(folder):
        folders.append(runtime)
    files, left = scan(folders, {folder / MARK, *kept}, names)
    left += [Left(where="the key store", kind="key", matches=name) for name in keys.names()]
    return Proof(
        keys_destroyed=destroyed,
        files_scanned=files,
        private_keys_left=len(left),
        left=left,
        kept=sorted(map(str, kept)),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The command line and a daemon that starts may both find the mark."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TryAgainError("another process is deleting the hub's data", place=str(folder)) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
