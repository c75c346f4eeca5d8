"""Folders of files that only our own user may read: keys and secrets. What others could read is refused, not used."""

import os
import re
from pathlib import Path

from agent.errors import HubError, PermissionDeniedError
from agent.files import make_folder, sync_folder, write_atomic


class PrivateFolder:
    """Files `NAME + suffix` of one folder (mode 0700), each 0600 and of our own user.

    `names`: what a name may be, `rule`: the same for people; `trouble`: the error of whoever keeps the folder, raised for a name that is
    none and for a file that cannot be read or written.
    """

    def __init__(self, folder: Path, suffix: str, names: re.Pattern[str], rule: str, trouble: type[HubError]) -> None:
        self.folder = folder
        self._suffix, self._names, self._rule, self._trouble = suffix, names, rule, trouble

    def path(self, name: str) -> Path:
        """Where the file of this name is, or would be."""
        if not self._names.fullmatch(name):
            raise self._trouble(f"{name!r} is no name here", remedy=self._rule)
        return self.folder / f"{name}{self._suffix}"

    def holds(self, name: str) -> bool:
        return os.path.lexists(self.path(name))

    def list(self) -> tuple[str, ...]:
        """All names, sorted."""
        found = (path.name.removesuffix(self._suffix) for path in self.folder.glob(f"*{self._suffix}"))
        return tuple(sorted(name for name in found if self._names.fullmatch(name)))

    def read(self, name: str) -> bytes | None:
        """The content; None where there is none. Raises PermissionDeniedError for what others could read or have written."""
        path = self.path(name)
        try:
            # O_NONBLOCK: a pipe in its place would block for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble(f"the file cannot be read: {error.strerror}", place=str(path)) from error
        with os.fdopen(descriptor, "rb") as file:
            _private(path, os.fstat(descriptor))
            try:
                return file.read()
            except OSError as error:
                raise self._trouble(f"the file cannot be read: {error.strerror}", place=str(path)) from error

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, wholly or not at all."""
        path = self.path(name)
        try:
            make_folder(self.folder)
            self._clear_remains(path)
            write_atomic(path, data)
        except OSError as error:
            remedy = "free the disk, or give the folder to the agent's user"
            raise self._trouble(
                f"the file cannot be written: {error.strerror}", place=str(path), remedy=remedy
            ) from error

    def remove(self, name: str) -> None:
        """Nothing happens when there is none."""
        path = self.path(name)
        try:
            gone = self._clear_remains(path)
            if os.path.lexists(path):
                path.unlink()
                gone = True
            if gone:
                sync_folder(self.folder)
        except OSError as error:
            raise self._trouble(f"the file cannot be removed: {error.strerror}", place=str(path)) from error

    def _clear_remains(self, path: Path) -> bool:
        """Take away what a power cut in the middle of a write has left: it may hold a whole key."""
        remains = [*self.folder.glob(f".{path.name}.*.tmp")]
        for one in remains:
            one.unlink(missing_ok=True)
        return bool(remains)


def _private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        remedy = f"chown it to uid {os.geteuid()}"
        raise PermissionDeniedError("the file belongs to another user", place=str(path), remedy=remedy)
    if status.st_mode & 0o077:
        text = f"others may read the file (mode {status.st_mode & 0o777:04o}): it is not used"
        remedy = "make a new key or secret; if nobody has read this one: chmod 600"
        raise PermissionDeniedError(text, place=str(path), remedy=remedy)
