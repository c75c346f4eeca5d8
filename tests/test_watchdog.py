"""systemd's watchdog is fed while every part makes progress, and only then."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from agent_wheel import Manager
from conftest import until

from agent import run, store
from agent.clock import SystemClock
from agent.driver import Driver
from agent.errors import HubError, StorageError
from agent.hub import Hub
from agent.model import Command, DeviceId, Outcome
from agent.notify import Notifier
from agent.requests import Execute
from agent.runtime import Runtime
from agent.settings import Settings
from agent.store import Limits, Statement, Store
from agent.supervise import Pulse, Supervisor, Unit

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
"""


@asynccontextmanager
async def running_watchdog(folder: Path, manager: Manager) -> AsyncIterator[Store]:
    """A daemon's watchdog and store, and nothing else of it."""
    opened = Store.open(folder, Limits(ballast=4096))
    settings = Settings.model_validate({"hub": {"id": "hub-1", "runtime_dir": str(folder / "run")}}, strict=False)
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        notifier = Notifier(manager.address, 0.05)
        daemon = run.Daemon(settings, opened, supervisor, notifier, lambda _handler: lambda: None)
        supervisor.spawn("watchdog", daemon._watchdog(0.02))
        yield opened
        supervisor.cancel_all()
    await opened.close()
    notifier.close()


async def test_a_running_daemon_feeds_it_and_a_hung_one_does_not(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    (tmp_path / "agent.toml").write_text(CONFIG.format(folder=tmp_path))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "run", "-c", str(tmp_path / "agent.toml")], env=environment
    )
    try:
        await until(lambda: manager.fed() >= 6, 15.0, "a fed watchdog")
        gaps = [after - before for before, after in pairwise(manager.meals)]
        assert 0.15 <= statistics.median(gaps) <= 0.3, "every half of WATCHDOG_USEC"
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
    release = threading.Event()
    async with running_watchdog(tmp_path, manager) as opened:
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
    manager.close()


async def test_a_loop_that_is_blocked_starves_it(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    async with running_watchdog(tmp_path, manager):
        await until(lambda: manager.fed() > 2, what="a fed watchdog")
        before = manager.fed()
        threading.Event().wait(0.2)  # in the loop's own thread
        assert manager.fed() == before, "fed although the loop hangs"
        await until(lambda: manager.fed() > before, what="fed again")
    manager.close()


async def test_a_writer_that_died_ends_the_store_and_starves_it(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Limits(ballast=4096))
    assert not opened.stalled()
    with pytest.raises(StorageError, match="the writer failed"):
        await opened.submit([Statement("INSERT INTO meta VALUES (?, ?)", [("key", "\ud800")])])
    assert "the writer failed" in await opened.failed
    await until(opened.stalled, what="the dead writer noticed")
    with pytest.raises(StorageError):
        await opened.submit([])
    await opened.close()


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


async def test_work_is_stalled_long_after_its_own_deadline_only() -> None:
    pulse = Pulse(0.05)
    end = asyncio.get_running_loop().time() + 0.1
    with pulse.until(end), pulse.until(end + 60.0):
        assert not pulse.stalled()
        await until(pulse.stalled, what="the late work noticed")
        assert asyncio.get_running_loop().time() >= end + 0.05
        pulse.beat()
        assert pulse.stalled(), "other work does not excuse it"
    assert not pulse.stalled()


async def test_a_command_that_outlives_its_deadline_is_a_radio_that_hangs(tmp_path: Path) -> None:
    release = asyncio.Event()

    class Stubborn:
        async def execute(self, command: Command) -> Outcome:
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()
            return Outcome(command.trace_id, ())

    opened = Store.open(tmp_path, Limits(ballast=4096))
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        hub = Hub("hub-1", onboarding="local", default_ttl=60.0)
        runtime = Runtime(hub, opened, SystemClock(), supervisor)
        pulse = runtime.pulses["zigbee"] = Pulse(0.05)
        runtime.drivers["zigbee"] = cast("Driver", Stubborn())
        command = Command("trace", DeviceId("zigbee", "bulb"), (), SystemClock().now().mono + 0.1)
        runtime.apply([Execute(command)], SystemClock().now())
        await until(lambda: pulse.ends, what="the command under way")
        assert not pulse.stalled()
        await until(pulse.stalled, what="the hung command noticed")
        release.set()
        await until(lambda: not pulse.stalled(), what="the radio well again")
    await opened.close()
