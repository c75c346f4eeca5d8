"""Starts the agent from the slot that is selected, and from the one before when a new one does not stay up. Needs Python alone.

`agent ota slots` puts a copy of this file, as `launch`, into the folder of the slots; the service starts that copy. It imports nothing of
the agent: a build that cannot even be imported falls back like any other. Files beside it:
    A/ B/        the slots; current -> A or B
    trial        {"slot": "B", "left": 3}: B may be started so often, then A is selected again
    fell-back    {"slot": "B"}: that this has happened
"""

import json
import os
import sys
from pathlib import Path

SLOTS = ("A", "B")


def write(root: Path, name: str, told: dict[str, object]) -> None:
    """Replace a file, durably. Raises OSError."""
    temporary = root / f".{name}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(root / name)
    sync(root)


def select(root: Path, slot: str) -> None:
    """Have the next start be of this slot. Raises OSError."""
    temporary = root / ".current.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(slot)
    temporary.replace(root / "current")
    sync(root)


def sync(root: Path) -> None:
    """Make renames durable. Raises OSError."""
    descriptor = os.open(root, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def other(slot: str) -> str:
    return SLOTS[1 - SLOTS.index(slot)]


def selected(root: Path) -> str:
    """The slot to start from, after counting a start on trial; "" when there is none."""
    try:
        slot = os.readlink(root / "current")  # noqa: PTH115  its text is the name
    except OSError:
        slot = ""
    if slot not in SLOTS or not (root / slot / "site").is_dir():
        return next(name for name in (*SLOTS, "") if not name or (root / name / "site").is_dir())
    try:
        trial = json.loads((root / "trial").read_text(encoding="utf-8"))
        of, left = trial["slot"], int(trial["left"])
    except FileNotFoundError:
        return slot
    except (ValueError, KeyError, TypeError):
        of, left = slot, 0  # damaged: what was selected last is what is doubted
    if of != slot or not (root / other(slot) / "site").is_dir():
        return slot
    try:
        if left > 0:
            write(root, "trial", {"slot": slot, "left": left - 1})
            return slot
        write(root, "fell-back", {"slot": slot})
        select(root, other(slot))
        (root / "trial").unlink(missing_ok=True)
        sync(root)
    except OSError:
        pass  # a full or read-only disk: a start that cannot be counted is not made
    return other(slot)


def main() -> None:
    """Become the agent. Only `run` counts as a start: other commands are a person's."""
    root = Path(__file__).resolve().parent
    slot = selected(root) if sys.argv[1:2] == ["run"] else (root / "current").resolve().name
    environment = {**os.environ, "HUB_AGENT_SLOT": slot, "PYTHONPATH": str(root / slot / "site")}
    os.execve(sys.executable, [sys.executable, "-P", "-s", "-m", "agent.cli", *sys.argv[1:]], environment)  # noqa: S606


if __name__ == "__main__":
    main()
