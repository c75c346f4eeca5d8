"""Which ports may hold a stick, who holds a port, and what to do when it cannot be opened. Knows no radio protocol."""

import errno
import getpass
import glob
import grp
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from agent.driver import DriverLost

PROC = Path("/proc")


def is_url(port: str) -> bool:
    """True for socket://host:port and its kin, False for a path."""
    return "://" in port


def candidates(patterns: Iterable[str]) -> list[str]:
    """Character devices that match, each once: the first of its names, in the order of the patterns."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):  # noqa: PTH207  absolute patterns
            with suppress(OSError):
                if stat.S_ISCHR(os.stat(path).st_mode):  # noqa: PTH116
                    found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def holders(port: str, proc: Path = PROC) -> list[str]:
    """Other processes that hold `port` open, as `name (pid 12)`. Those of other users are seen only by root."""
    target = os.path.realpath(port)
    own = str(os.getpid())
    names = []
    for process in _processes(proc):
        if process.name != own and _holds(process, target):
            name = _name(process)
            names.append(f"{name} (pid {process.name})")
    return names


def _processes(proc: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted((p for p in proc.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def _holds(process: Path, target: str) -> bool:
    try:
        return any(os.readlink(fd) == target for fd in (process / "fd").iterdir())  # noqa: PTH115  a link's text, not its end
    except OSError:
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process that just ended"


def unusable(port: str, error: BaseException) -> DriverLost:
    """Why `port` cannot be used, and the one command that helps where there is one."""
    busy = [] if is_url(port) else holders(port)
    if busy:
        return DriverLost(f"{port} is held by {', '.join(busy)}", remedy=_release(busy))
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return DriverLost(f"no permission to open {port}", remedy=_permit(port))
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return DriverLost(
            f"{port} is not there", remedy="plug the stick in; `ls -l /dev/serial/by-id` shows what is there"
        )
    if isinstance(error, TimeoutError):
        text = f"nothing answers on {port} in the expected protocol"
        return DriverLost(text, remedy="check `radio` and `baudrate`, or plug the stick out and in")
    return DriverLost(f"{port} cannot be used: {str(error) or type(error).__name__}")


def _release(busy: list[str]) -> str:
    if any(name.startswith("ModemManager") for name in busy):
        return "sudo systemctl disable --now ModemManager"
    return "stop that process, or give it another port"


def _permit(port: str) -> str:
    try:
        group = grp.getgrgid(os.stat(port).st_gid).gr_name  # noqa: PTH116
    except (OSError, KeyError):
        group = "dialout"
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"sudo usermod -aG {group} {user}   # and start again"
