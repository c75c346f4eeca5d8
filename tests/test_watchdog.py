"""systemd's watchdog is fed while every part makes progress, and only then."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import until

from agent import run, store
from agent.errors import HubError
from agent.notify import Notifier
from agent.settings import Settings
from agent.store import Limits, Store
from agent.supervise import Pulse, Supervisor, Unit

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
"""


class Manager:
    """The service manager's end of $NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)
        self.heard: list[str] = []

    def fed(self) -> int:
        """How often the watchdog has been fed so far."""
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return sum("WATCHDOG=1" in text for text in self.heard)

    def close(self) -> None:
        self._socket.close()


async def test_a_running_daemon_feeds_it_and_a_hung_one_does_not(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    (tmp_path / "agent.toml").write_text(CONFIG.format(folder=tmp_path))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "run", "-c", str(tmp_path / "agent.toml")], env=environment
    )
    try:
        await until(lambda: manager.fed() >= 4, 15.0, "a fed watchdog")
        assert any("READY=1" in text for text in manager.heard)
        process.send_signal(signal.SIGSTOP)
        before = manager.fed()
        await asyncio.sleep(0.6)
        assert manager.fed() - before <= 1
        process.send_signal(signal.SIGCONT)
        await until(lambda: manager.fed() > before + 1, 5.0, "fed again")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        manager.close()


async def test_a_writer_that_hangs_starves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STALLED_AFTER", 0.1)
    manager = Manager(tmp_path)
    opened = Store.open(tmp_path, Limits(ballast=4096))
    release = threading.Event()
    settings = Settings.model_validate({"hub": {"id": "hub-1", "runtime_dir": str(tmp_path / "run")}}, strict=False)
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        notifier = Notifier(manager.address, 0.05)
        daemon = run.Daemon(settings, opened, supervisor, notifier)
        supervisor.spawn("watchdog", daemon._watchdog(0.02))
        await until(lambda: manager.fed() > 2, what="a fed watchdog")
        hung = opened.read(lambda _db: release.wait(30))
        await until(opened.stalled, what="the hung writer noticed")
        await asyncio.sleep(0.05)
        before = manager.fed()
        await asyncio.sleep(0.2)
        assert manager.fed() == before, "fed although the writer hangs"
        release.set()
        await hung
        await until(lambda: manager.fed() > before, what="fed again")
        supervisor.cancel_all()
    await opened.close()
    notifier.close()
    manager.close()


async def test_a_unit_that_hangs_is_named() -> None:
    hangs = False

    async def live() -> None:
        await asyncio.Event().wait()
        raise HubError("never")

    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.add(Unit("radio zigbee", live, stalled=lambda: hangs))
        supervisor.watch("store", lambda: False)
        assert supervisor.stalled == []
        hangs = True
        assert supervisor.stalled == ["radio zigbee"]
        supervisor.cancel_all()


async def test_work_that_moves_is_not_stalled_and_idleness_never_is() -> None:
    pulse = Pulse(0.05)
    await asyncio.sleep(0.1)
    assert not pulse.stalled(), "nothing to do"
    with pulse.work():
        assert not pulse.stalled()
        await asyncio.sleep(0.1)
        assert pulse.stalled()
        pulse.beat()
        assert not pulse.stalled()
    assert not pulse.stalled()
