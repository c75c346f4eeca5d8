"""sd_notify(3): tells systemd that the agent is ready, busy, stopping and alive. Without $NOTIFY_SOCKET every call does nothing."""

import os
import re
import socket
import time
from collections.abc import Mapping

MAX_STATUS = 1024  # characters; a datagram with one line

_USEC = re.compile(r"[0-9]{1,20}", re.ASCII)  # uint64


class Notifier:
    """The socket of the service manager. `address` is a path, or a name in the abstract namespace that begins with @."""

    def __init__(self, address: str = "", watchdog_interval: float | None = None) -> None:
        self.lost = 0
        self.watchdog_interval = watchdog_interval  # seconds; systemd kills after this time without watchdog()
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Notifier":
        return cls(env.get("NOTIFY_SOCKET", ""), watchdog_interval(env))

    def ready(self, status: str = "") -> None:
        """Start-up or a reload is complete."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", *_status(status))

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def watchdog(self) -> None:
        """Every unit has made progress."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> None:
        if self._socket is None or not assignments:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)
        except OSError:  # the manager is away or behind: the agent runs on without it
            self.lost += 1


def watchdog_interval(env: Mapping[str, str]) -> float | None:
    """Seconds of $WATCHDOG_USEC when it is meant for this process (sd_watchdog_enabled(3)), else None."""
    usec, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    if not _USEC.fullmatch(usec) or int(usec) == 0 or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 1_000_000


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())[:MAX_STATUS]}",) if text else ()
