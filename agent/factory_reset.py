"""`agent factory-reset`: by the daemon, which leaves the radio networks first, or without it; and the proof that no private key is left."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from agent import offboard, offboard_mark
from agent.client import Client, NotRunningError
from agent.clock import SystemClock
from agent.errors import HubError, PermissionDeniedError, TryAgainError
from agent.files import as_owner, make_folder
from agent.offboard_mark import Mark
from agent.settings import Settings
from agent.wipe import wipe

PATIENCE = offboard.PATIENCE + offboard.LEAVING + 60.0  # seconds until the daemon has done it


def factory_reset(settings: Settings) -> dict[str, Any]:
    """Delete all that this hub is and knows, but the configuration and what it names.

    Returns `{"keys_destroyed": [{"name", "public_key_sha256"}], "files_scanned", "private_keys_left", "left": [{"where", "kind", "matches"}],
    "kept": [path], "copies_gone": [path], "radios_at_next_start": [name], "radios_kept": [name]}`. Raises HubError; what is begun is finished
    at the next start.
    """
    try:
        with closing(Client(settings.hub.runtime_dir).stream("factory-reset", {})) as lines:
            line = next(lines)
    except NotRunningError:
        return _told(_without_daemon(settings))
    if line["what"] != "resetting":
        raise HubError(line["error"], remedy=line["remedy"])
    return _told(_awaited(settings.hub.state_dir, line["at"]))


def _without_daemon(settings: Settings) -> Mark:
    folder, now = settings.hub.state_dir, SystemClock().now().iso
    try:
        make_folder(folder)
        owner = folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise PermissionError(0, "it belongs to another user")
        with as_owner(folder):
            offboard.order_reset(settings, now)
            wipe(settings)
            told = offboard_mark.read(folder)
    except OSError as error:
        remedy = f"sudo -u {_user(folder)} agent factory-reset"
        raise PermissionDeniedError(
            f"cannot be deleted: {error.strerror}", place=str(error.filename or folder), remedy=remedy
        ) from error
    if told is None or told.proof is None:
        raise TryAgainError("the mark of the reset has gone", place=str(folder), remedy="reset again")
    return told


def _user(folder: Path) -> str:
    try:
        return folder.owner()
    except (KeyError, OSError):
        return "hub-agent"


def _awaited(folder: Path, at: str) -> Mark:
    """The mark of the reset ordered `at`, once the daemon has done it and ends."""
    end = time.monotonic() + PATIENCE
    while True:
        told = offboard_mark.read(folder)
        if told is not None and told.at == at and told.wiped and not told.radios:
            return told
        if time.monotonic() > end:
            remedy = "the agent's log says why; it is finished at its next start: systemctl restart agent"
            raise TryAgainError("the factory reset is not finished yet", place=str(folder), remedy=remedy)
        time.sleep(0.1)


def _told(mark: Mark) -> dict[str, Any]:
    proof = mark.proof
    if proof is None:
        raise TryAgainError("the reset has left no proof", remedy="reset again")
    return {
        **proof.model_dump(),
        "radios_at_next_start": mark.radios,
        "radios_kept": mark.radios_kept,
    }


def words(told: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    for key in told["keys_destroyed"]:
        yield f"destroyed: key {key['name']}, SHA-256 of its public key {key['public_key_sha256'] or 'not readable'}"
    if not told["keys_destroyed"]:
        yield "there was no key to destroy"
    for path in told["copies_gone"]:
        yield f"gone too: {path}, a copy of one of these keys"
    for path in told["kept"]:
        yield f"kept, since the configuration names it: {path}"
    for left in told["left"]:
        same = f", it is {left['matches']}" if left["matches"] else ""
        yield f"LEFT: {left['where']}: {left['kind']}{same}"
    for radio in told["radios_kept"]:
        yield f"radio {radio} was away and keeps its network: plug it in and reset again"
    for radio in told["radios_at_next_start"]:
        yield f"radio {radio} keeps its network until the agent starts: it leaves it then, before anything else"
    yield f"{told['files_scanned']} files scanned, {told['private_keys_left']} private keys left"
