"""Units live again after expected trouble; a bug is told once and ends the process with its own code."""

import asyncio

import pytest

from agent.errors import ConfigError, HubError
from agent.supervise import Supervisor, Unit


async def test_a_unit_lives_again_after_expected_trouble() -> None:
    lives: list[int] = []
    reasons: list[str] = []
    lived_thrice = asyncio.Event()

    async def live() -> None:
        lives.append(1)
        if len(lives) == 3:
            lived_thrice.set()
            await asyncio.Event().wait()
        raise HubError("the stick is gone")

    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group, seed=1)
        supervisor.add(Unit("radio", live, reasons.append, first=0.01, longest=0.02))
        async with asyncio.timeout(5):
            await lived_thrice.wait()
        supervisor.cancel_all()
    assert reasons == ["the stick is gone"] * 2


@pytest.mark.parametrize("error", [ValueError("a bug"), ConfigError("a wrong key")])
async def test_what_a_new_life_cannot_mend_is_told_to_the_one_who_ends_the_process(error: Exception) -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    other = asyncio.Event()

    async def live() -> None:
        raise error

    async def goes_on() -> None:
        await other.wait()

    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.on_end = ended.set_result
        neighbour = supervisor.spawn("neighbour", goes_on())
        supervisor.add(Unit("radio", live, first=0.01))
        async with asyncio.timeout(5):
            assert await ended is error
        assert not neighbour.done(), "the others run on until they are stopped in order"
        other.set()


async def test_a_stalled_unit_is_named() -> None:
    async with asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.add(Unit("hung", asyncio.Event().wait, stalled=lambda: True))  # type: ignore[arg-type]
        supervisor.add(Unit("well", asyncio.Event().wait))  # type: ignore[arg-type]
        assert supervisor.stalled == ["hung"]
        supervisor.cancel_all()
