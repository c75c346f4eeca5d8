"""What ends a download, beside what any HTTP service answers (agent/cloud/rest_answer.py). PURE."""

from agent.cloud.rest_answer import UnavailableError
from agent.errors import HubError, StorageError


class SourceError(HubError):
    """What is to be fetched is described in a way that cannot be: no URL, no such hash, chunks that do not cover the size."""


class CorruptError(HubError):
    """What came, or what the disk holds, is not what was signed. `chunk` is its number from 0, None for the whole file."""

    def __init__(self, message: str, *, place: str = "", remedy: str = "", chunk: int | None = None) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.chunk = chunk


class CanceledError(HubError):
    """The download was canceled; what was verified of it stays on the disk."""


class NoSpaceError(StorageError):
    """The disk has no room for the file; `missing` is how many bytes more it needs."""

    def __init__(self, message: str, *, place: str = "", remedy: str = "", missing: int = 0) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.missing = missing


class StalledError(UnavailableError):
    """The server holds the connection and sends nothing, or next to nothing."""


class DeadlineError(UnavailableError):
    """The time for the whole download is over; what was verified stays on the disk."""
