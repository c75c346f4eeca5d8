"""Where the version floor is kept: in the journal, and in a file beside the slots that outlives a lost database. The highest wins."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from agent.errors import StorageError
from agent.files import disk_trouble, make_folder, write_atomic
from agent.ota.floor import Floor, decoded, encoded, merged
from agent.ota.refusals import MalformedError
from agent.ota.roots import Root

log = logging.getLogger(__name__)

NAME = "floor.json"
HOUR = 3600.0  # seconds
SLOW = 0.999  # of what the kernel counts: before it is synchronised, it may count too fast


class Floors:
    """`journal` is the text that the journal holds."""

    def __init__(self, folder: Path, journal: str) -> None:
        self._path = folder / NAME
        self._floors = [_read(journal, "the journal"), self._file()]

    def _file(self) -> Floor:
        try:
            return _read(self._path.read_text(encoding="utf-8"), str(self._path))
        except FileNotFoundError:
            return Floor()
        except OSError as error:
            raise StorageError(f"the version floor cannot be read: {error}", place=str(self._path)) from error

    def under(self, root: Root | None) -> Floor:
        """The floor, with what this root says of a compromise."""
        return merged(self._floors, root)

    def raise_to(self, text: str) -> None:
        """From now on it is this one, in the file too. Raises StorageError, MalformedError."""
        floor = decoded(text.encode(), "the journal")
        self._write(floor)
        self._floors = [floor]

    def grown(self, seconds: float) -> None:
        """The hub has run for so long: it certainly is that much later, whatever its clock says, and was said before. Raises StorageError."""
        time = max(floor.time for floor in self._floors) + seconds
        floor = replace(self._floors[-1], time=time)  # nothing else: what the journal has is healed by roots of its own
        self._write(floor)
        self._floors[-1] = floor

    def _write(self, floor: Floor) -> None:
        with disk_trouble():
            make_folder(self._path.parent, 0o755)
            write_atomic(self._path, encoded(floor), mode=0o644)


def _read(text: str, place: str) -> Floor:
    """A damaged one counts for nothing, which is said: the other place has it too."""
    if not text:
        return Floor()
    try:
        return decoded(text.encode(), place)
    except MalformedError as error:
        log.error("%s", error.advice)  # noqa: TRY400  no bug
        return Floor()


async def grow(floors: Floors, every: float = HOUR) -> None:
    """For as long as the hub runs. Raises StorageError."""
    while True:
        await asyncio.sleep(every)
        floors.grown(every * SLOW)
