"""Shared by all tests: real brokers, waiting on conditions instead of sleeping, and how many examples a property is tried with."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, settings

# One knob for every property: few examples in `make test`, other ones in each run; many in `make faults`.
# No deadline, no complaint of slowness: a loaded machine is no fault of what is tested.
for _name, _count in (("short", 25), ("long", 500)):
    settings.register_profile(
        _name,
        settings.get_profile("default"),
        max_examples=_count,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("long" if "HUB_AGENT_FAULT_CYCLES" in os.environ else "short")
# Folders of tests are in memory where there is room: a disk's waits at each fsync are most of a run's time. That it is asked is counted
# by the tests of power cuts, and benches use the disk.
_memory = Path("/dev/shm")
if _memory.is_dir() and os.access(_memory, os.W_OK) and shutil.disk_usage(_memory).free > 2 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_memory))
# A shell starts what it runs in the background deaf to Ctrl-C, and so would be all that the tests start and end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
_given: set[int] = set()


def examples(times: float = 1.0, **more: Any) -> settings:
    """So many times the examples of this run: more where one costs next to nothing, fewer where it costs much."""
    return settings(max_examples=max(1, round(settings().max_examples * times)), **more)


def free_port() -> int:
    """A port of loopback that nobody listens on; each is given once, as the kernel may offer it again before it is used."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Tests that share what is made once for their file run in one worker: four would start four clouds for it."""
    for item in items:
        made = item._fixtureinfo.name2fixturedefs.values()
        if any(found[-1].scope == "module" for found in made if found):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


async def until(condition: Callable[[], object], timeout: float = 10.0, what: str = "") -> None:
    """Wait until `condition()` is true, or fail with `what`."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout} s: {what or condition}")
        await asyncio.sleep(0.01)


async def until_async(ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], timeout: float = 10.0) -> None:
    """Ask again until the answer is good, or fail with the last one."""
    end = time.monotonic() + timeout
    while not good(answer := await ask()):
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout} s; last answer {answer!r}")
        await asyncio.sleep(0.02)


class Broker:
    """A real mosquitto on loopback that can be killed and started again on the same port."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.port = free_port()
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\nautosave_interval 1\n"
            f"autosave_on_changes true\npersistence_location {folder}/\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            f"set_tcp_nodelay true\n{extra}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        log = (self._folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen([binary, "-c", str(self._config)], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self._folder / "mosquitto.log").read_text()
            time.sleep(0.01)
        pytest.fail("mosquitto did not listen")

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
                self.thaw()  # a frozen one would not end
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Hold its connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def broker_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def broker(broker_folder: Path) -> Iterator[Broker]:
    with Broker(broker_folder, "user root" if Path("/proc/self").owner() == "root" else "") as made:
        yield made
