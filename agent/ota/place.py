"""Where updates keep what they need on the disk, and what of it is given back where the disk is full."""

import os
import shutil
from pathlib import Path

from agent.settings import Settings
from agent.store import BALLAST

ROOM_TO_OPEN = 1 << 20  # bytes; with less free, an open of the store that fails has failed for want of room
FETCHED = "ota/files"  # in the state folder


def slots_folder(settings: Settings) -> Path:
    """The launcher and the slots: that of the configuration, or the one in the state folder."""
    return Path(settings.ota.slots) if settings.ota.slots else settings.hub.state_dir / "slots"


def give_room(folder: Path) -> str:
    """Give back what a full disk holds for such a time, or what is fetched again: its name, "" where there is room or nothing to give.

    The ballast, then the files of updates. Raises OSError.
    """
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize >= ROOM_TO_OPEN:
        return ""
    for name in (BALLAST, FETCHED):
        held = folder / name
        if held.is_dir():
            shutil.rmtree(held)
        elif held.exists():
            held.unlink()
        else:
            continue
        return name
    return ""
