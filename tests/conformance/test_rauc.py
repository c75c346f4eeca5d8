"""The applier of whole systems against a real RAUC on a private bus."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import until
from ota_rig import agent, file

from agent.errors import TryAgainError
from agent.ota.appliers.contract import ApplierError, Effect, Image
from agent.ota.appliers.rauc import Rauc, _Installer
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from tests.conformance.rauc_rig import RaucBoard

pytestmark = pytest.mark.conformance
KILLS = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "6"))


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[RaucBoard]:
    made = RaucBoard(tmp_path)
    await made.start()
    yield made
    made.stop()


class Update:
    """A bundle as a component, and the applier in a boot of its own."""

    def __init__(self, board: RaucBoard, bundle: bytes, version: str = "2.0") -> None:
        self.board = board
        self.path = board.folder / "fetched"
        self.path.write_bytes(bundle)
        self.component = Component.model_validate(agent(version, kind="rauc", files=[file("it.raucb", bundle)]))
        self.boot, self.seen = 1, [0]

    @property
    def rauc(self) -> Rauc:
        return Rauc(self.board.folder / "note", f"boot-{self.boot}", self.board.address)

    async def write(self) -> None:
        with self.path.open("rb") as opened:
            told = self.component.files[0]
            await self.rauc.write(self.component, [Image(told.name, opened, told.size, told.sha256)], self.seen.append)

    async def reboot(self, slot: str = "") -> None:
        self.boot += 1
        await self.board.reboot(slot)

    async def runs(self) -> Runs:
        return (await self.rauc.describe(self.component)).runs


async def test_a_bundle_is_installed_tried_and_confirmed(board: RaucBoard) -> None:
    update = Update(board, board.bundle("2.0", os.urandom(1 << 20)))
    assert await update.runs() == Runs.OLD
    await update.write()
    assert max(update.seen) == update.component.files[0].size
    assert await update.rauc.check(update.component)
    assert await update.rauc.activate(update.component) == Effect.REBOOT
    assert await update.runs() == Runs.SELECTED
    await update.reboot()
    found = await update.rauc.describe(update.component)
    assert (found.runs, found.version) == (Runs.ON_TRIAL, "2.0")
    await update.rauc.confirm(update.component)
    assert await update.runs() == Runs.CONFIRMED
    assert (board.booted, board.primary) == ("B", "B")


async def test_a_trial_is_taken_back(board: RaucBoard) -> None:
    update = Update(board, board.bundle("2.0", b"x" * 4096))
    await update.write()
    await update.rauc.activate(update.component)
    await update.reboot()
    assert await update.rauc.roll_back(update.component) == Effect.REBOOT
    assert board.primary == "A"
    await update.reboot()
    assert await update.runs() == Runs.FELL_BACK
    assert await update.rauc.roll_back(update.component) == Effect.DONE


async def test_a_boot_loader_that_fell_back_is_noticed(board: RaucBoard) -> None:
    update = Update(board, board.bundle("2.0", b"x" * 4096))
    await update.write()
    await update.rauc.activate(update.component)
    await update.reboot("A")
    assert await update.runs() == Runs.FELL_BACK


class KilledError(Exception):
    """The agent goes no further."""


async def _installed_and_killed(update: Update, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAUC selects what it has installed, and the agent is killed before it can say no."""

    async def mark(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched, suppress(KilledError):
        patched.setattr("agent.ota.appliers.rauc._Installer.mark", mark)
        await update.write()
    assert update.board.primary == "B"


async def test_what_is_installed_is_not_selected_before_it_is_activated(
    board: RaucBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Update(board, board.bundle("2.0", b"x" * 4096))
    await update.write()
    assert board.primary == "A"
    await _installed_and_killed(update, monkeypatch)
    assert not await update.rauc.check(update.component)
    await update.rauc.clean()
    assert board.primary == "A"
    with pytest.raises(ApplierError, match="does not hold it"):
        await update.rauc.activate(update.component)


async def test_a_board_that_boots_what_nobody_has_activated_keeps_its_way_back(
    board: RaucBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, before = Update(board, board.bundle("2.0", b"x" * 4096)), (board.folder / "slot0").read_bytes()
    await _installed_and_killed(update, monkeypatch)
    await update.reboot()
    assert board.booted == "B"
    await update.write()
    assert (board.folder / "slot0").read_bytes() == before
    assert await update.rauc.check(update.component)
    assert await update.rauc.activate(update.component) == Effect.DONE
    assert await update.runs() == Runs.ON_TRIAL
    assert await update.rauc.roll_back(update.component) == Effect.REBOOT
    await update.reboot()
    assert (board.booted, await update.runs()) == ("A", Runs.FELL_BACK)


async def test_what_rauc_does_for_an_agent_that_was_killed_is_waited_for(board: RaucBoard) -> None:
    update = Update(board, board.bundle("2.0", os.urandom(3 << 20)))
    first = asyncio.create_task(update.write())
    await until(lambda: len(update.seen) > 1, 10.0, "the installation")
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await update.write()
    assert await update.rauc.check(update.component)
    assert board.primary == "A"


@pytest.mark.parametrize("wrong", ["flipped", "cut", "other board"])
async def test_what_rauc_refuses_is_refused_with_its_words(board: RaucBoard, wrong: str) -> None:
    bundle = bytearray(board.bundle("2.0", os.urandom(65536), "another" if wrong == "other board" else "test-hub"))
    if wrong == "flipped":
        bundle[100] ^= 1
    update = Update(board, bytes(bundle[:-500] if wrong == "cut" else bundle))
    with pytest.raises(ApplierError, match="RAUC refuses the bundle: "):
        await update.write()
    assert not await update.rauc.check(update.component)
    with pytest.raises(ApplierError, match="does not hold it"):
        await update.rauc.activate(update.component)
    assert board.primary == "A"


async def test_rauc_that_is_killed_while_it_installs_never_selects_half_an_image(board: RaucBoard) -> None:
    seed = random.randrange(1 << 20)
    rng, killed = random.Random(seed), 0
    bundle = board.bundle("2.0", os.urandom(3 << 20))
    for _ in range(KILLS):
        update = Update(board, bundle)
        task = asyncio.create_task(update.write())
        await asyncio.wait([task], timeout=rng.uniform(0.0, 0.12))
        killed += not task.done()
        board.kill()
        with suppress(TryAgainError):
            await task
        await board.start()
        if board.primary == "B":
            assert (board.folder / "slot1").read_bytes()[: 3 << 20] == (
                board.folder / "bundle-2.0" / "rootfs.img"
            ).read_bytes()
        (board.folder / "loader" / "primary").write_text("A")
    print(f"RAUC killed {killed} times in the middle (seed {seed})")
    await update.write()
    assert await update.rauc.check(update.component)


async def test_rauc_that_is_away_is_tried_again_later(board: RaucBoard) -> None:
    update = Update(board, board.bundle("2.0", b"x" * 4096))
    board.kill()
    with pytest.raises(TryAgainError, match="RAUC does not answer"):
        await update.rauc.describe(update.component)
    await board.start()
    assert await update.runs() == Runs.OLD


async def test_a_component_of_two_bundles_is_refused_before_anything_of_it_is_here(board: RaucBoard) -> None:
    files = [file(name, b"x" * 4096) for name in ("it.raucb", "more.raucb")]
    with pytest.raises(ApplierError, match="2 files, and one is taken"):
        await Update(board, b"x").rauc.judge(Component.model_validate(agent("2.0", kind="rauc", files=files)))


async def test_a_rauc_without_the_newer_method_installs_by_the_older_one(
    board: RaucBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _Installer.open

    async def older(self: _Installer) -> None:
        await opened(self)
        assert {"Install", "InstallBundle"} <= self._methods
        self._methods -= {"InstallBundle"}
        monkeypatch.setattr(self._api, "call_install_bundle", None, raising=False)

    monkeypatch.setattr(_Installer, "open", older)
    update = Update(board, board.bundle("2.0", b"x" * 4096))
    await update.write()
    assert await update.rauc.check(update.component)
    assert board.primary == "A"
