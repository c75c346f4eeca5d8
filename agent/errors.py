"""Every error that a person may see: what happened, where, and what to do about it.

A HubError is expected trouble, with the exit code that the command line ends with. Any other exception is a bug (exit code 70).
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `agent` (sysexits.h); systemd does not restart on CONFIG."""

    OK = 0
    USAGE = 64
    UNAVAILABLE = 69
    SOFTWARE = 70
    TEMPFAIL = 75
    NOPERM = 77
    CONFIG = 78


class HubError(Exception):
    """Expected trouble. `place` says where (file:line, port, topic), `remedy` what a person does about it."""

    exit_code = Exit.UNAVAILABLE

    def __init__(self, message: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    @property
    def advice(self) -> str:
        """The whole in one line: place, message, remedy."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class UsageError(HubError):
    """The command line was called in a way that it does not understand."""

    exit_code = Exit.USAGE


class ConfigError(HubError):
    """The configuration cannot be used; `problems` holds one error for each place, each with its own remedy."""

    exit_code = Exit.CONFIG

    def __init__(self, message: str, *, place: str = "", remedy: str = "", problems: tuple[HubError, ...] = ()) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.problems = problems


class PermissionDeniedError(HubError):
    """The operating system refused access to a file, port or socket."""

    exit_code = Exit.NOPERM


class TryAgainError(HubError):
    """The same call can succeed later: busy, starting, timed out."""

    exit_code = Exit.TEMPFAIL


class Anew(HubError):  # noqa: N818  no trouble
    """Something ends on purpose, to begin again at once with what has changed."""


class StorageError(HubError):
    """The database or a file of the hub cannot be used: damaged, newer than this agent, or the disk failed."""


def install_extra(extra: str) -> str:
    """The remedy for a part that is not installed; true for a checkout and for a wheel."""
    return f"pip install '.[{extra}]' in the checkout, or 'WHEEL[{extra}]' with the wheel that hub-agent came from"
