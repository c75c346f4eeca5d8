"""Roots that follow the pinned one: taken on from beside a release, kept on the hub, and fetched again where the disk has damaged them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import Machine, update
from ota_rig import root
from slots_rig import tree

from agent.ota import verifier
from agent.ota.engine import Engine
from agent.ota.parts import Policy
from agent.ota.plan import State, Task
from agent.ota.roots import LONGEST_CHAIN
from agent.ota.verifier import LOCAL
from agent.ota.windows import Window

NEW = ("agent.tar.gz", tree("2.0"))
SECOND = root(2, releases=("new-r", "ed-s"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_newer_root_beside_the_release_is_taken_on_for_good(machine: Machine) -> None:
    document = machine.offer_files(labels=("new-r", "ed-s"), **update(NEW))
    folder = Path(document["path"]).parent
    releases = ("new-r", "ed-s")
    (folder / "2.root.json").write_bytes(root(2, labels=("ed-a", "ed-b"), releases=releases))
    (folder / "3.root.json").write_bytes(root(3, labels=("p-t",), releases=releases))  # signed by nobody that counts
    assert (await machine.to_the_end(document)).state == State.SUCCEEDED
    assert [path.name for path in (machine.state / "roots").iterdir()] == ["2.root.json"]

    async def old_keys(engine: Engine) -> None:
        later = update(("agent.tar.gz", tree("2.1")), "2.1")
        await engine.offer(LOCAL, "2", 1, machine.offer_files(8, **later))
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 10.0)
        assert engine.tasks[f"{LOCAL}/2/1"].state == State.REJECTED

    assert not await machine.life(old_keys)


async def judged(machine: Machine, document: dict[str, Any]) -> Task:
    """What becomes of it before its window, which is far away."""
    machine.policy = Policy(window=Window("0 3 1 1 *", 3600.0), hub="hub-1")

    def offered(document: dict[str, Any]) -> Callable[[Engine], Awaitable[None]]:
        async def work(engine: Engine) -> None:
            task = await engine.offer(LOCAL, "1", 1, document)
            await until(lambda: engine.tasks[task.key].state not in {State.RECEIVED, State.CHECKED}, 10.0)

        return work

    machine.board.start()
    await machine.life(offered(document))
    return machine.task


@pytest.mark.parametrize("beside", [True, False], ids=["healed", "refused"])
async def test_a_root_that_the_disk_has_damaged_is_fetched_again_and_not_gone_behind(
    machine: Machine,
    beside: bool,  # noqa: FBT001
) -> None:
    """Under the root before it, keys count that it may have revoked."""
    labels = ("new-r", "ed-s") if beside else ("p-r", "ed-s")
    document = machine.offer_files(labels=labels, **update(NEW))
    kept = machine.state / "roots" / "2.root.json"
    kept.parent.mkdir()
    kept.write_bytes(SECOND[:-40])
    if beside:
        Path(document["path"]).with_name(kept.name).write_bytes(SECOND)
    task = await judged(machine, document)
    if beside:
        assert task.state not in {State.REJECTED, State.FAILED}, task.detail
        assert kept.read_bytes() == SECOND
    else:
        assert (task.state, task.code) == (State.REJECTED, "root-chain")
        assert "put 2.root.json beside the release" in task.detail


async def test_roots_without_end_are_followed_so_far_and_no_further(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONGEST_CHAIN == 256
    monkeypatch.setattr(verifier, "LONGEST_CHAIN", 5)
    document = machine.offer_files(**update(NEW))
    for version in range(2, 9):
        Path(document["path"]).with_name(f"{version}.root.json").write_bytes(root(version))
    task = await judged(machine, document)
    assert task.state not in {State.REJECTED, State.FAILED}, task.detail
    assert len(list((machine.state / "roots").iterdir())) == 5
