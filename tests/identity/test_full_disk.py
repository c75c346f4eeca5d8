"""A disk that takes nothing while connections stand and end: the hub stays on line, and writes what they say when it can."""

import asyncio
import errno
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import until
from power_cut import refusing

from agent.errors import StorageError
from agent.identity import watch as watch_module
from agent.identity.record import KEEP
from agent.identity.sources import fetch
from tests.identity.test_clocks import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


@pytest.fixture(params=[errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "broken", "read-only"])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


async def test_a_connection_stands_and_is_written_later(hub: Hub, number: int) -> None:
    await hub.first()
    await fetch(hub.slots, hub.source, "age")
    swapped: list[str] = []
    hub.credentials.on_swap.append(swapped.append)
    with refusing(1, number, stays=True):
        hub.connect("b")
        assert hub.credentials.unjudged
        with pytest.raises(StorageError):
            hub.credentials.settle()
        assert hub.slots.record.candidate == "b"
        assert not swapped
    hub.credentials.settle()
    assert (hub.slots.record.current, hub.slots.record.fallback) == ("b", "a")
    assert swapped == ["main"]
    assert not hub.credentials.unjudged


async def test_a_verdict_that_could_not_be_written_is_not_lost(hub: Hub, number: int) -> None:
    """Three refusals of the new certificate, and then the old one's connection: its turn is over, once."""
    await hub.first()
    await fetch(hub.slots, hub.source, "age")
    for _ in range(3):
        assert hub.credentials.choose("main") == "b"
        hub.credentials.lost("main", "b", "refused", stood=False)
    with refusing(1, number, stays=True):
        hub.connect("a")
        for _ in range(2):
            with suppress(StorageError):
                hub.credentials.settle()
        assert hub.slots.record.rounds == 0
    hub.credentials.settle()
    assert hub.slots.record.rounds == 1
    assert hub.slots.record.trouble == "refused"


async def test_the_day_of_health_is_counted_when_the_disk_is_back(hub: Hub, number: int) -> None:
    await hub.first()
    await fetch(hub.slots, hub.source, "age")
    hub.connect("b")
    with refusing(1, number, stays=True):
        hub.live(KEEP / 2)
    assert hub.slots.record.healthy == 0
    hub.live(KEEP / 2 + 1)
    assert hub.slots.record.fallback is None


async def test_the_watch_lives_through_it_and_settles_by_itself(
    hub: Hub, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "FIRST", 0.01)
    await hub.first()
    await fetch(hub.slots, hub.source, "age")
    living = asyncio.create_task(hub.watch.live())
    with refusing(1, number, stays=True) as disk:
        hub.connect("b")
        seen = disk.seen
        await until(lambda: disk.seen > seen + 3, what="the disk tried again")
        assert not living.done()
    await until(lambda: hub.slots.record.current == "b", what="the connection written")
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living
