"""Releases from a TUF repository, over HTTP: what a hub takes from it, and how a job, a person and the configuration name it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ota_rig as rig
import pytest
from conftest import until
from ota_machine import KEY, Machine, Still
from securesystemslib.signer import CryptoSigner
from slots_rig import tree
from tuf_rig import Repository, served

from agent.cli import main
from agent.console_ota import ConsoleOta, OtaBody
from agent.errors import Exit, StorageError, TryAgainError
from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.floors import Floors
from agent.ota.plan import State
from agent.ota.refusals import (
    ExpiredError,
    MalformedError,
    RefusedError,
    RollbackError,
    ThresholdError,
    UnsignedError,
    WrongProductError,
)
from agent.ota.tuf_offer import Repository as Configured
from agent.ota.tuf_offer import TufOffers
from agent.ota.tuf_source import TufSource

pytestmark = pytest.mark.conformance
IMAGE = tree("2.0")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def address(repository: Repository) -> Iterator[str]:
    with served(repository.folder) as found:
        yield found


@pytest.fixture
def source(repository: Repository, address: str, tmp_path: Path) -> TufSource:
    folders = f"{address}/metadata/", f"{address}/targets/"
    return TufSource(*folders, repository.root, tmp_path / "tuf", "hub", FetchPolicy())


def take(source: TufSource, floor: Any = rig.FLOOR) -> Any:
    return source.release(rig.HUB, floor, rig.at()).verified


def test_a_release_says_the_same_as_in_an_envelope(source: TufSource, repository: Repository, address: str) -> None:
    repository.release()
    found = source.release(rig.HUB, rig.FLOOR, rig.at())
    ours = rig.check(rig.release())
    parts = [(one.release, one.hub, one.devices, one.digest) for one in (found.verified, ours)]
    assert parts[0] == parts[1]
    (image,) = (repository.folder / "targets").glob("*.agent.whl")
    assert found.addresses["agent.whl"] == f"{address}/targets/{image.name}"


def test_what_comes_after_the_signatures_is_checked_too(source: TufSource, repository: Repository) -> None:
    repository.release()
    with pytest.raises(RollbackError):
        take(source, replace(rig.FLOOR, number=8))
    with pytest.raises(ExpiredError):
        take(source, replace(rig.FLOOR, time=rig.NOW + 91 * rig.DAY))
    repository.release(rig.release_document(product="oven"))
    with pytest.raises(WrongProductError):
        take(source)


def test_roots_hand_over(source: TufSource, repository: Repository) -> None:
    repository.release()
    root, new = repository.parts["root"], CryptoSigner.generate_ed25519()
    root.revoke_key(repository.signers["targets"].public_key.keyid, "targets")
    root.add_key(new.public_key, "targets")
    root.version = 2
    repository.write("root", "2.root.json")
    repository.publish()
    with pytest.raises(ThresholdError):
        take(source)
    repository.publish(targets=new)
    assert take(source).release.number == 7


def test_a_repository_without_a_release(source: TufSource, repository: Repository) -> None:
    repository.publish()
    with pytest.raises(UnsignedError):
        take(source)


def test_metadata_that_is_none(source: TufSource, repository: Repository) -> None:
    repository.release()
    (repository.folder / "metadata/timestamp.json").write_bytes(b"{}")
    with pytest.raises(MalformedError):
        take(source)


def test_a_repository_that_is_away(source: TufSource) -> None:
    with pytest.raises(TryAgainError):
        take(source)


def test_a_folder_that_is_none(source: TufSource, tmp_path: Path) -> None:
    (tmp_path / "tuf").write_text("a file")
    with pytest.raises(StorageError):
        take(source)


def test_without_python_tuf_it_says_what_to_install(source: TufSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tuf.ngclient", None)
    with pytest.raises(RefusedError) as caught:
        take(source)
    assert "tuf" in caught.value.remedy


# ---- from the job to what runs -----------------------------------------------------------------------------------------


class TufMachine(Machine):
    """A hub that has a TUF root pinned."""

    def __init__(self, folder: Path, repository: Repository, address: str) -> None:
        super().__init__(folder)
        (folder / "tuf-root.json").write_bytes(repository.root)
        self.configured = Configured(
            folder / "tuf-root.json", f"{address}/metadata", f"{address}/targets", rig.root_document()["product"]
        )

    def tuf_offers(self, floors: Floors) -> TufOffers:
        return TufOffers(self.configured, self.state / "tuf", rig.HUB, floors, Still(), FetchPolicy())


def publish(repository: Repository, number: int = 7, version: str = "2.0", folder: str = "") -> None:
    """A release of the agent alone."""
    content = tree(version)
    part = rig.agent(version, files=[rig.file("agent.tar.gz", content, 1 << 20)])
    document = rig.release_document(number, release=version, components=[part])
    repository.release(document, folder=folder, **{"agent.tar.gz": content})


@pytest.fixture
def machine(tmp_path: Path, repository: Repository, address: str) -> TufMachine:
    return TufMachine(tmp_path / "hub", repository, address)


@pytest.mark.parametrize("folder", ["", "hubs/"], ids=["at the top", "in a folder"])
async def test_a_target_that_a_job_names_is_installed(machine: TufMachine, repository: Repository, folder: str) -> None:
    publish(repository, folder=folder)
    task = await machine.to_the_end({"tuf": {"target": f"{folder}release.json"}})
    assert (task.state, task.release, machine.starts) == (State.SUCCEEDED, "2.0", ["1.0 A", "2.0 B"])
    assert Floors(machine.board.folder, "").under(None).number == 7


async def test_a_job_may_name_another_place_of_the_same_repository(
    machine: TufMachine, repository: Repository, address: str
) -> None:
    publish(repository)
    machine.configured = replace(machine.configured, metadata="", targets="")
    task = await machine.to_the_end({"tuf": {}})
    assert (task.state, task.code) == (State.REJECTED, "malformed")
    places = {"metadata": f"{address}/metadata", "targets": f"{address}/targets"}

    async def named(engine: Engine) -> None:
        await engine.offer("main", "2", 1, {"tuf": places})
        await until(lambda: engine.tasks["main/2/1"].state == State.ACTIVATING)

    await machine.life(named)


async def test_a_release_that_was_replaced_while_it_waited_is_not_installed_in_its_place(
    machine: TufMachine, repository: Repository
) -> None:
    publish(repository)

    async def work(engine: Engine) -> None:
        await engine.offer("main", "1", 1, {"tuf": {}})
        await until(lambda: engine.tasks["main/1/1"].over)

    publish(repository)
    machine.policy = replace(machine.policy, automatic=False)

    async def waits(engine: Engine) -> None:
        await engine.offer("main", "1", 1, {"tuf": {}})
        await until(lambda: engine.tasks["main/1/1"].state == State.WAITING)

    await machine.life(waits)
    publish(repository, 8, "2.1")
    await machine.life(work)
    assert machine.journal is not None
    found = machine.journal.tasks["main/1/1"]
    assert (found.state, found.code) == (State.FAILED, "mix-and-match")
    assert "the repository has release 2.1 now" in found.detail


async def test_a_hub_without_a_tuf_root_takes_nothing_of_it(tmp_path: Path) -> None:
    task = await Machine(tmp_path).to_the_end({"tuf": {"target": "release.json"}})
    assert (task.state, task.code) == (State.REJECTED, "unsigned")
    assert "no root is pinned" in task.detail


async def test_a_person_asks_for_a_target(machine: TufMachine, repository: Repository) -> None:
    publish(repository)

    async def work(engine: Engine) -> None:
        told: Any = ConsoleOta(lambda: engine, lambda: rig.NOW).ask(OtaBody(op="apply", tuf="release.json"))
        first = await anext(told)
        assert engine.tasks[first["key"]].document == {"tuf": {"target": "release.json"}}
        await until(lambda: engine.tasks[first["key"]].state == State.ACTIVATING)

    await machine.life(work)
    assert machine.journal is not None
    assert KEY not in machine.journal.tasks


@pytest.mark.parametrize("arguments", [[], ["release.json", "--tuf", "x"]])
def test_the_command_wants_a_file_or_a_target(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ota", "apply", *arguments]) == Exit.USAGE
    assert "--tuf" in capsys.readouterr().err
