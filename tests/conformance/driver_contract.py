"""The meaning of agent/driver.py: what every driver must do. A driver's own test subclasses DriverContract and gives it a `rig`."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from agent.clock import SystemClock
from agent.driver import Driver, DriverLost, InvalidParameters, UnknownDevice
from agent.model import (
    Action,
    Command,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    DeviceLost,
    Discovery,
    DriverEvent,
    JoinWindow,
    RadioUp,
    Report,
)

E = TypeVar("E", bound=DriverEvent)

NODE_ID = re.compile(r"[a-zA-Z0-9=_.,@+/-]{1,64}")  # AWS IoT managed integrations, NodeId
START, ANSWER, JOIN = 20.0, 20.0, 60.0  # seconds that a step may take at most; none waits longer than it must


class Rig(Protocol):
    """A driver and the simulated radio at its far end. `radio` is its name in the config, `kind` its discovery kind."""

    radio: str
    kind: str
    state_dir: Path
    key: str  # of the device that joins
    good: Action  # changes the state of that device
    proof: tuple[str, str, str, Any]  # endpoint, capability, property and value that it reports then
    bad: Action  # the same with a parameter out of range

    def driver(self) -> Driver:
        """A new driver on the same state folder and port."""
        ...

    async def join(self) -> None:
        """The device asks to join, now."""
        ...

    async def change(self) -> tuple[str, str, str, Any]:
        """The device changes by itself; what it then reports."""
        ...

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        """The device stops hearing and speaking, or starts again."""
        ...

    async def unplug(self) -> None: ...

    async def plug(self) -> None: ...


class Watched:
    """A running driver and everything that it said."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.events: list[DriverEvent] = []
        self._said = asyncio.Event()
        self.task = asyncio.create_task(driver.run(self._sink))

    def _sink(self, event: DriverEvent) -> None:
        self.events.append(event)
        self._said.set()

    async def wait(
        self, kind: type[E], matches: Callable[[E], bool] = lambda _: True, *, after: int = 0, timeout: float = ANSWER
    ) -> E:
        """The first event of `kind` that matches, at or after position `after`. The end of the driver ends the wait."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for event in self.events[after:]:
                        if isinstance(event, kind) and matches(event):
                            return event
                    if self.task.done():
                        await self.task
                        pytest.fail(f"the driver ended before {kind.__name__}")
                    self._said.clear()
                    said = asyncio.create_task(self._said.wait())
                    await asyncio.wait({said, self.task}, return_when=asyncio.FIRST_COMPLETED)
                    said.cancel()
        except TimeoutError:
            pytest.fail(f"no {kind.__name__} within {timeout} s; the driver said: {self.events[after:]}")

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError, DriverLost):
            await self.task


@asynccontextmanager
async def running(driver: Driver) -> AsyncIterator[Watched]:
    """`driver`, running and up; stopped at the end."""
    watched = Watched(driver)
    try:
        await watched.wait(RadioUp, timeout=START)
        yield watched
    finally:
        await watched.stop()


def command(rig: Rig, *actions: Action, key: str | None = None, ttl: float = ANSWER) -> Command:
    return Command("trace-1", DeviceId(rig.radio, key or rig.key), actions, SystemClock().now().mono + ttl)


def shows(proof: tuple[str, str, str, Any]) -> Callable[[Report], bool]:
    endpoint, capability, name, value = proof
    return lambda r: (r.endpoint, r.capability, r.properties.get(name)) == (endpoint, capability, value)


async def joined(rig: Rig, watched: Watched) -> DeviceFound:
    """Let the rig's device join."""
    await watched.driver.discover(Discovery("d1", rig.kind, 60))
    await rig.join()
    return await watched.wait(DeviceFound, lambda f: f.device.id.key == rig.key, timeout=JOIN)


def open_files() -> set[str]:
    names = set()
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            names.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")  # noqa: PTH115
    return names


class DriverContract:
    """Subclass it, and define a fixture `rig`."""

    async def test_nothing_can_be_asked_before_the_run_and_after_it(self, rig: Rig) -> None:
        driver = rig.driver()
        taker: Any = driver  # what some drivers can besides
        optional: dict[str, Callable[[], Any]] = {
            "firmware": lambda: taker.firmware(rig.key),
            "update_firmware": lambda: taker.update_firmware(rig.key, Path("it"), progress=lambda *_: None),
            "reply": lambda: taker.reply(rig.key, ""),
            "expected": lambda: taker.expected(),  # noqa: PLW0108  not every driver has it
            "expect_no_more": lambda: taker.expect_no_more("11111-22222"),
            "exclude": lambda: taker.exclude(10),
            "rebuild_routes": lambda: taker.rebuild_routes(rig.key, lambda _: None, wait=0),
            "set_priority_route": lambda: taker.set_priority_route(rig.key, None, 0),
            "execute_together": lambda: taker.execute_together([rig.key], rig.good, lambda *_: None),
            "details": lambda: taker.details(rig.key),
        }
        more = [call for name, call in optional.items() if hasattr(driver, name)]

        async def nothing_works() -> None:
            calls = (
                *(call() for call in more),
                driver.execute(command(rig, rig.good)),
                driver.discover(Discovery("d1", rig.kind, 10)),
                driver.stop_discovery(),
                driver.interview(rig.key),
                driver.refresh(rig.key),
                driver.remove(rig.key, force=True),
                driver.backup(),
                driver.restore(b"{}"),
                driver.reset(),
            )
            for call in calls:
                with pytest.raises(DriverLost):
                    await call

        await nothing_works()
        async with running(driver):
            pass
        await nothing_works()

    async def test_a_reset_ends_the_run(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await watched.driver.reset()
            with pytest.raises(DriverLost):
                await watched.task

    async def test_a_window_opens_and_closes(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            before = len(watched.events)
            await watched.driver.discover(Discovery("d1", rig.kind, 30))
            assert (await watched.wait(JoinWindow, after=before)).seconds > 0
            await watched.driver.stop_discovery()
            await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=before)
            await watched.driver.stop_discovery()  # closing twice is nothing special
            before = len(watched.events)
            await watched.driver.discover(Discovery("d2", rig.kind, 1))
            await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=before)

    async def test_bad_material_opens_nothing(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            before = len(watched.events)
            with pytest.raises(InvalidParameters):
                await watched.driver.discover(Discovery("d1", rig.kind, 30, material="this is no code"))
            assert [e for e in watched.events[before:] if isinstance(e, JoinWindow) and e.seconds] == []

    async def test_a_device_joins_obeys_reports_and_is_known_after_a_restart(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            found = await joined(rig, watched)
            stages = [e.stage for e in watched.events if isinstance(e, DeviceJoining) and e.id.key == rig.key]
            assert stages[0] == "joined"
            assert "failed" not in stages
            assert not found.known
            assert NODE_ID.fullmatch(found.device.node_id)
            before = len(watched.events)
            outcome = await watched.driver.execute(command(rig, rig.good))
            assert outcome.succeeded, outcome
            await watched.wait(Report, shows(rig.proof), after=before)
            before = len(watched.events)
            await watched.wait(Report, shows(await rig.change()), after=before)
        async with running(rig.driver()) as watched:
            again = await watched.wait(DeviceFound, lambda f: f.device.id.key == rig.key)
            assert again.known
            assert again.device == found.device
            before = len(watched.events)
            await watched.driver.refresh(rig.key)
            await watched.wait(Report, after=before)

    async def test_what_cannot_be_done_has_an_outcome_that_says_why(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            outcome = await watched.driver.execute(command(rig, rig.good, key="no-such-device"))
            assert [r.code for r in outcome.results] == [404]
            outcome = await watched.driver.execute(command(rig, Action("no-such", rig.good.capability, rig.good.name)))
            assert [r.code for r in outcome.results] == [404]
            outcome = await watched.driver.execute(command(rig, rig.bad, rig.good))
            assert [r.code for r in outcome.results] == [400, 424]
            outcome = await watched.driver.execute(
                command(rig, Action(rig.good.endpoint, rig.good.capability, "NoSuchAction"))
            )
            assert outcome.results[0].code in (400, 404, 501)
            with pytest.raises(UnknownDevice):
                await watched.driver.refresh("no-such-device")
            with pytest.raises(UnknownDevice):
                await watched.driver.interview("no-such-device")
            with pytest.raises(UnknownDevice):
                await watched.driver.remove("no-such-device", force=False)

    async def test_a_silent_device_ends_in_one_outcome_before_the_deadline(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            await rig.silence(True)
            started = asyncio.get_running_loop().time()
            outcome = await watched.driver.execute(command(rig, rig.good, ttl=3.0))
            assert asyncio.get_running_loop().time() - started < 4.0
            assert outcome.trace_id == "trace-1"
            assert not outcome.succeeded
            assert outcome.results[0].code in (408, 502, 503, 504)
            await rig.silence(False)
            assert (await watched.driver.execute(command(rig, rig.good))).succeeded

    async def test_a_removed_device_is_gone_for_good(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            await watched.driver.remove(rig.key, force=False)
            await watched.wait(DeviceLost, lambda e: e.id.key == rig.key)
            outcome = await watched.driver.execute(command(rig, rig.good))
            assert [r.code for r in outcome.results] == [404]
        async with running(rig.driver()) as watched:
            assert [e for e in watched.events if isinstance(e, DeviceFound)] == []

    async def test_force_removes_a_silent_device(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            await rig.silence(True)
            await watched.driver.remove(rig.key, force=True)
            await watched.wait(DeviceLost, lambda e: e.id.key == rig.key)

    async def test_an_unplugged_radio_ends_the_run_and_a_second_driver_goes_on(self, rig: Rig) -> None:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            await rig.unplug()
            async with asyncio.timeout(ANSWER):
                with pytest.raises(DriverLost):
                    await watched.task
            with pytest.raises(DriverLost):
                await watched.driver.refresh(rig.key)
        with pytest.raises(DriverLost):
            await rig.driver().run(lambda _: None)
        await rig.plug()
        async with running(rig.driver()) as watched:
            assert (await watched.wait(DeviceFound, lambda f: f.device.id.key == rig.key)).known
            assert (await watched.driver.execute(command(rig, rig.good))).succeeded

    async def test_a_run_that_is_cancelled_leaves_nothing_behind(self, rig: Rig) -> None:
        async with running(rig.driver()):
            pass  # what is opened once for the whole process is open now
        tasks, files = asyncio.all_tasks(), open_files()
        for _ in range(2):
            async with running(rig.driver()) as watched:
                await watched.driver.discover(Discovery("d1", rig.kind, 30))
        assert asyncio.all_tasks() <= tasks
        assert len(open_files()) <= len(files), open_files() - files

    async def test_a_driver_is_used_once(self, rig: Rig) -> None:
        driver = rig.driver()
        async with running(driver):
            pass
        with pytest.raises(RuntimeError):
            await driver.run(lambda _: None)
