"""sd_notify at a real socket, by path and in the abstract namespace."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import Notifier, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, Notifier]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@hub-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0"))
        server.settimeout(5)
        notifier = Notifier.from_env({"NOTIFY_SOCKET": name})
        yield server, notifier
        notifier.close()


def test_every_message(manager: tuple[socket.socket, Notifier]) -> None:
    server, notifier = manager
    notifier.ready()
    notifier.ready("2 radios")
    notifier.status("line one\nREADY=1  ä")
    notifier.watchdog()
    notifier.stopping("bye")
    received = [server.recv(4096).decode() for _ in range(5)]
    assert received == [
        "READY=1",
        "READY=1\nSTATUS=2 radios",
        "STATUS=line one READY=1 ä",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=bye",
    ]
    assert notifier.lost == 0


def test_reloading_carries_the_monotonic_time(manager: tuple[socket.socket, Notifier]) -> None:
    server, notifier = manager
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    first, second = server.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_long_status_is_cut_and_an_empty_one_is_not_sent(manager: tuple[socket.socket, Notifier]) -> None:
    server, notifier = manager
    notifier.status("")
    notifier.status("x" * 100_000)
    assert server.recv(200_000) == b"STATUS=" + b"x" * 1024


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_socket_nothing_happens(env: dict[str, str]) -> None:
    notifier = Notifier.from_env(env)
    notifier.ready("x")
    notifier.watchdog()
    notifier.close()
    notifier.stopping()
    assert (notifier.lost, notifier.watchdog_interval) == (0, None)


def test_a_manager_that_is_gone_or_behind_is_counted(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.ready()
    assert notifier.lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        for _ in range(100_000):
            notifier.watchdog()
            if notifier.lost > 1:
                break
        assert notifier.lost == 2
        assert server.recv(100) == b"WATCHDOG=1"
    notifier.close()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
        ({}, None),
    ],
)
def test_watchdog_interval(env: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(env) == seconds
    assert Notifier.from_env(env).watchdog_interval == seconds
