"""`agent restore FILE`: the hub of a backup in the place of what is there, all of it or nothing.

Everything is checked first. Then the backup is written among the hub's secrets, in one step: before it nothing has changed, after it
the restore is done, by this command or, after a power cut, by the next start of the agent. Each of its steps may be repeated. The radios'
networks are another matter: sticks are written by the running agent (`--radios`).
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent import files, offboard_mark, saved
from agent.backup_form import Backup, Identity, Kept, read
from agent.client import Client, NotRunningError
from agent.errors import HubError, PermissionDeniedError, TryAgainError, UsageError
from agent.identity.stores import open_secrets
from agent.settings import Settings
from agent.uplinks import DEVICES

PENDING = "restore"  # the secret: a radio's own begin with its name and a dot
_PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done. `identity`: what became of the certificate, for people; `elsewhere`: radios that are not configured here."""

    devices: int
    radios: tuple[str, ...]
    elsewhere: tuple[str, ...]
    identity: str


def restore(settings: Settings, client: Client, backup: Backup, *, with_identity: bool, take_over: bool) -> Restored:
    """Take a backup over. Raises UsageError, TryAgainError while the agent runs, and HubError, all before anything is written."""
    kept, identity, folder = backup.kept, backup.identity if with_identity else None, settings.hub.state_dir
    if kept is None:
        remedy = "`agent restore --radios`, while the agent runs"
        raise UsageError("the backup holds nothing but networks of radios", remedy=remedy)
    _not_running(client)
    try:
        files.make_folder(folder)
        if os.geteuid() not in (0, folder.stat().st_uid):
            raise PermissionError(0, "it belongs to another user")
        with files.as_owner(folder), files.locked(folder, wait=_PATIENCE, busy="another process is at work there"):
            _not_resetting(folder)
            finish(settings)  # an earlier one first
            told = _judge(settings, kept, identity, take_over=take_over)
            whole = backup.model_copy(update={"identity": identity, "radios": {}})
            open_secrets(settings).put(PENDING, whole.model_dump_json(exclude_none=True).encode())
            finish(settings)
    except OSError as error:
        place = str(error.filename or folder)
        remedy = "run it as the service's user: sudo -u hub-agent agent restore"
        raise PermissionDeniedError(f"cannot be written: {error.strerror}", place=place, remedy=remedy) from error
    here, elsewhere = _sorted(kept.files, settings)
    return Restored(len(kept.devices), here, elsewhere, told)


def finish(settings: Settings) -> bool:
    """Do what was written down to be done; whether there was something. Raises HubError; it is then done at the next start."""
    if not (settings.hub.state_dir / "secrets").exists():
        return False
    secrets = open_secrets(settings)
    if PENDING not in secrets.names():
        return False
    text, folder = secrets.get(PENDING) or b"", settings.hub.state_dir
    try:
        backup = read(json.loads(text), f"secret {PENDING}")
    except ValueError:
        raise UsageError("is no backup", place=f"secret {PENDING}", remedy="delete it, and restore again") from None
    with files.disk_trouble():
        if backup.identity is not None:
            _take_identity(settings, backup.identity)
        if backup.kept is not None:
            for radio in _sorted(backup.kept.files, settings)[0]:
                _put_files(folder / "radios" / radio, backup.kept.files[radio])
            saved.replace(folder, backup.kept.settings, backup.kept.devices, backup.kept.state)
    secrets.delete(PENDING)
    return True


def _not_running(client: Client) -> None:
    try:
        client.get("status")
    except NotRunningError:
        return
    except HubError:
        pass  # it is there, and does not answer: no matter why
    remedy = "`systemctl stop agent` first; the networks of its radios alone: --radios"
    raise TryAgainError("the agent runs, and holds what is to be replaced", remedy=remedy)


def _not_resetting(folder: Path) -> None:
    mark = offboard_mark.read(folder)
    if mark is not None and not mark.wiped:
        text = "a factory reset is not finished: it would delete what is restored"
        raise TryAgainError(text, place=str(folder), remedy="start the agent, which finishes it, and stop it again")


def _sorted(names: Iterable[str], settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Radios that are configured here, and those that are not."""
    known = sorted(names)
    return tuple(n for n in known if n in settings.radios), tuple(n for n in known if n not in settings.radios)


def _put_files(folder: Path, content: dict[str, bytes]) -> None:
    """What was there goes: a driver's log beside another's database would be replayed into it. Raises OSError."""
    files.make_folder(folder)
    for path in folder.iterdir():
        if path.is_file() and path.name not in content:
            path.unlink()
    files.sync_folder(folder)
    for name, data in content.items():
        files.write_atomic(folder / name, data)


# ---- the identity -----------------------------------------------------------------------------------------------------


def _judge(settings: Settings, kept: Kept, backup: Identity | None, *, take_over: bool) -> str:
    """What will become of the identity. Raises UsageError, KeyTroubleError, CertificateTroubleError where it cannot be."""
    if backup is None:
        return ""
    from agent.identity.hub_identity import HubIdentity  # noqa: PLC0415  a hub without one does not pay for it
    from agent.identity.keys import refused_to_adopt  # noqa: PLC0415  as above

    slots, held = HubIdentity(settings).slots, backup.held
    current = slots.usable()
    if current is not None and current.thing != held.thing:
        text = f"the hub is {current.thing or 'somebody'} already, and the backup is of {held.thing}"
        remedy = "--without-identity; or `agent factory-reset` first"
        raise UsageError(text, place="identity", remedy=remedy)
    if current is not None:
        same = current.certificate_id == held.certificate_id
        return f"{held.thing}: " + ("in use already" if same else "the hub has another certificate, which stays")
    slot = slots.slot_of(backup.chain)
    if slot is not None:
        return f"{held.thing}: taken back, with the key that the store still has"
    if not backup.key:
        text = f"the backup has no private key of {held.thing}: the hub's key store gave it to nobody, or it was taken --plain"
        remedy = "--without-identity, and provision the hub anew"
        raise UsageError(text, place="identity", remedy=remedy)
    slots.check_whole(held, backup.chain, backup.key)
    if settings.identity.store in DEVICES:
        raise refused_to_adopt("identity.store")
    here = saved.meta(settings.hub.state_dir).get(saved.DATABASE_ID, "")
    if not take_over and (here != kept.database or not here):
        text = f"this is another installation than the one that is {held.thing}: two hubs of one identity throw each other out"
        remedy = "--take-over if the other one never runs again; else --without-identity"
        raise UsageError(text, place="identity", remedy=remedy)
    return f"{held.thing}: taken over with its key"


def _take_identity(settings: Settings, backup: Identity) -> None:
    from agent.identity.hub_identity import HubIdentity  # noqa: PLC0415  as above

    slots, held = HubIdentity(settings).slots, backup.held
    if slots.usable() is None:
        slots.give_back(backup.chain, backup.key, held)
