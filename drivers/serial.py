"""Serial ports: which may hold a stick, who holds one, and `Port`: bytes in, bytes out, lost. Knows no radio protocol.

A device path, a pty and socket://host:port are alike: one descriptor, read and written on the event loop. Which port a stick has after it
was plugged in again is the caller's to find out, by the stick's identity.
"""

import asyncio
import errno
import fcntl
import getpass
import glob
import grp
import os
import socket
import stat
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from agent.driver import DriverLost

PROC = Path("/proc")
READ_SIZE = 4096
UNSENT = 65_536  # bytes that may wait for the line; a port that takes none of them hangs
CONNECT_TIMEOUT = 5.0  # seconds


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


class Port:
    """An open port. `lost` is called once, with the reason, when the far end goes; never after `close`."""

    def __init__(
        self, name: str, descriptor: int, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self.name = name
        self._descriptor = descriptor
        self._received = received
        self._lost = lost
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._readable)

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def write(self, data: bytes) -> None:
        """Send `data` as soon as the line takes it. Never blocks or raises; after the end it does nothing."""
        if self.closed:
            return
        waited = bool(self._unsent)
        self._unsent += data
        if not waited:
            self._writable()
        if len(self._unsent) > UNSENT:
            self._lose("it takes no bytes any more")

    def close(self) -> None:
        """Let go of the port. May be called twice."""
        if self.closed:
            return
        descriptor, self._descriptor = self._descriptor, -1
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        os.close(descriptor)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if data:
            self._received(data)
        else:
            self._lose("the far end closed it")

    def _writable(self) -> None:
        try:
            sent = os.write(self._descriptor, self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._descriptor, self._writable)
        else:
            self._loop.remove_writer(self._descriptor)

    def _lose(self, reason: str) -> None:
        if not self.closed:
            self.close()
            self._lost(f"{self.name}: {reason}")


async def open_port(
    name: str, received: Callable[[bytes], None], lost: Callable[[str], None], *, baudrate: int = 115_200
) -> Port:
    """Open a device path, a pty or socket://host:port, for us alone. Raises DriverLost with the remedy."""
    try:
        descriptor = await _connect(name) if is_url(name) else _open_device(name, baudrate)
    except (OSError, TimeoutError, ValueError) as error:
        raise unusable(name, error) from error
    return Port(name, descriptor, received, lost)


async def _connect(url: str) -> int:
    parts = urlsplit(url)
    if parts.scheme != "socket" or not parts.hostname or not parts.port:
        raise ValueError("a port on the network is written socket://host:port")
    loop = asyncio.get_running_loop()
    failure = OSError(errno.EHOSTUNREACH, "no address")
    async with asyncio.timeout(CONNECT_TIMEOUT):
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            parts.hostname, parts.port, type=socket.SOCK_STREAM
        ):
            line = socket.socket(family, kind, protocol)
            try:
                line.setblocking(False)
                await loop.sock_connect(line, address)
                # Without this an ACK waits for the far end's next segment, and leaves together with the frame after it.
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                line.close()
                failure = error
            except BaseException:
                line.close()
                raise
            else:
                return line.detach()
    raise failure


def _open_device(path: str, baudrate: int) -> int:
    """A terminal as a raw line of 8 bits. Raises OSError, ValueError for a speed that Linux does not name."""
    speed = getattr(termios, f"B{baudrate}", None)
    if speed is None:
        raise ValueError(f"no such speed: {baudrate}")
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Not TIOCEXCL: it outlives a killed process as long as anybody has the port open, as the far end of a pty has.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        control = termios.tcgetattr(descriptor)[-1]
        control[termios.VMIN], control[termios.VTIME] = 1, 0
        flags = termios.CS8 | termios.CREAD | termios.CLOCAL
        termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])
        termios.tcflush(descriptor, termios.TCIOFLUSH)
    except (OSError, termios.error) as error:
        os.close(descriptor)
        raise OSError(*error.args) from error
    return descriptor
