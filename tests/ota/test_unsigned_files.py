"""Files that nobody has signed: refused, unless a manifest lies beside them, or the owner has said that anyone may replace the firmware."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import until
from hostile_files import Server, Talk, good
from ota_machine import Machine, update
from slots_rig import CRASHES, tree, wheel

from agent.ota.appliers.contract import Image, Progress
from agent.ota.appliers.slots import Slots
from agent.ota.engine import Engine
from agent.ota.floor import Floor, decoded
from agent.ota.floors import NAME
from agent.ota.manifest import Component
from agent.ota.plan import State, Task
from agent.ota.trust import ACCEPT

JOB = "cloud/1/1"
NEW = tree("2.0")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@contextmanager
def served(**files: bytes) -> Iterator[Server]:
    """Files by the ends of their names, each without its dots; what is not among them is not there."""

    def answer(server: Server, talk: Talk) -> None:
        name = urlsplit(talk.path).path.rpartition("/")[2].replace(".", "_")
        if name in files:
            good(server, talk, data=files[name])
        else:
            talk.head(404, "Content-Length: 0")

    with Server(b"", answer) as server:
        yield server


def named(server: Server, name: str, **more: Any) -> dict[str, Any]:
    """As nRF Cloud's jobs name a file."""
    return {"host": urlsplit(server.url).netloc, "path": name, **more}


async def to_the_end(machine: Machine, document: dict[str, Any]) -> Task:
    def work(job: dict[str, Any]) -> Callable[[Engine], Awaitable[None]]:
        async def offered(engine: Engine) -> None:
            await engine.offer("cloud", "1", 1, job)
            await until(lambda: engine.tasks[JOB].over, 10.0)

        return offered

    for _ in range(6):
        if machine.board.start() and not await machine.life(work(document)):
            break
    assert machine.journal is not None
    return machine.journal.tasks[JOB]


async def test_a_url_without_a_manifest_beside_it_is_refused(machine: Machine) -> None:
    with served(agent_tar_gz=NEW) as server:
        task = await to_the_end(machine, {"url": f"{server.url}/agent.tar.gz?signature=1"})
    assert (task.state, task.code) == (State.REJECTED, "unsigned")


async def test_a_url_with_a_manifest_beside_it_is_installed(machine: Machine) -> None:
    manifest = Path(machine.offer_files(**update(("agent.tar.gz", NEW)))["path"]).read_bytes()
    with served(agent_tar_gz=NEW, agent_tar_gz_release_json=manifest) as server:
        task = await to_the_end(machine, {"url": f"{server.url}/agent.tar.gz?signature=1"})
    assert (task.state, task.release) == (State.SUCCEEDED, "2.0")


@pytest.mark.parametrize(
    ("name", "content"), [("agent.tar.gz", NEW), ("agent.whl", wheel("2.0"))], ids=["tree", "wheel"]
)
async def test_who_lets_anyone_replace_the_firmware_gets_it_on_trial_and_keeps_the_floor(
    machine: Machine, name: str, content: bytes
) -> None:
    machine.unsigned = ACCEPT
    with served(**{name.replace(".", "_"): content}) as server:
        task = await to_the_end(machine, named(server, name, fileSize=len(content)))
    assert (task.state, task.code) == (State.SUCCEEDED, "")
    assert machine.board.start() == "2.0 B"
    floor = decoded((machine.board.folder / NAME).read_bytes())
    assert (floor.number, floor.digest, floor.installed) == (Floor().number, "", {})


async def test_a_build_that_crashes_falls_back_all_the_same(machine: Machine) -> None:
    machine.unsigned = ACCEPT
    with served(agent_tar_gz=tree("2.0", CRASHES)) as server:
        task = await to_the_end(machine, {"url": f"{server.url}/agent.tar.gz", "version": "2.0"})
    assert (task.state, task.code, task.release) == (State.FAILED, "fell-back", "2.0")
    assert machine.board.start() == "1.0 A"


@pytest.mark.parametrize("more", [{"device": "bulb"}, {"fileSize": 5}], ids=["of a device", "of another size"])
async def test_what_is_for_devices_or_larger_than_it_says_is_refused_all_the_same(
    machine: Machine, more: dict[str, Any]
) -> None:
    machine.unsigned = ACCEPT
    with served(agent_tar_gz=NEW) as server:
        task = await to_the_end(machine, named(server, "agent.tar.gz", **more))
    assert (task.state, task.code) == (State.REJECTED, "unsigned" if "device" in more else "too-large")


async def test_a_manifest_that_is_badly_signed_is_refused_all_the_same(machine: Machine) -> None:
    machine.unsigned = ACCEPT
    manifest = Path(machine.offer_files(labels=("p-r",), **update(("agent.tar.gz", NEW)))["path"]).read_bytes()
    with served(agent_tar_gz=NEW, agent_tar_gz_release_json=manifest) as server:
        task = await to_the_end(machine, named(server, "agent.tar.gz"))
    assert (task.state, task.code) == (State.REJECTED, "too-few-signatures")


async def test_who_writes_to_a_file_after_the_check_changes_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that a person names may be somebody else's, who keeps it open."""
    document = machine.offer_files(**update(("agent.tar.gz", NEW)))
    image, write = Path(document["path"]).with_name("agent.tar.gz"), Slots.write

    async def late(slots: Slots, component: Component, images: list[Image], progress: Progress) -> None:
        with image.open("r+b") as file:
            file.write(tree("6.6"))
        await write(slots, component, images, progress)

    monkeypatch.setattr(Slots, "write", late)
    assert (await machine.to_the_end(document)).state == State.SUCCEEDED
    assert machine.board.start() == "2.0 B"
    assert not list((machine.state / "ota" / "files").glob("*.copy"))
