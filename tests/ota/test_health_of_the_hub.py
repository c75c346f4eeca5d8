"""What a version on trial is asked by the daemon: every item of the list, each well and each wrong."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ota_machine import Still

from agent import settings, updates
from agent.errors import StorageError
from agent.store import BALLAST, Limits, Store
from agent.updates import Updates

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
[uplinks.main]
host = "127.0.0.1"
tls = false
[radios.zigbee]
port = "{folder}/stick"
[radios.zwave]
port = "{folder}/other"
[ota]
health = ["{folder}/check.sh"]
memory = "{memory}"
room = "{room}"
"""


def radio(*, up: bool) -> Any:
    return SimpleNamespace(up=up, reason="" if up else "it does not answer")


def link(*, taken: bool) -> Any:
    return SimpleNamespace(connected=True, proved=taken, last_error="")


async def looked(folder: Path, *, well: bool) -> dict[str, str]:
    """What all checks of a hub say, that is well or not."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "check.sh").write_text("#!/bin/sh\n" + ("exit 0" if well else "echo the lamp does not light; exit 3"))
    (folder / "check.sh").chmod(0o755)
    limits = {"memory": "8GiB", "room": "1KiB"} if well else {"memory": "32MiB", "room": "900GiB"}
    (folder / "agent.toml").write_text(CONFIG.format(folder=folder, **limits))
    loaded = settings.load(folder / "agent.toml", {}, deep=False)
    radios = {"zigbee": radio(up=True), "zwave": radio(up=well)}
    runtime: Any = SimpleNamespace(
        links={"main": link(taken=well)}, hub=SimpleNamespace(radios=radios, hub_id="hub-1"), clock=Still()
    )
    nobody: Any = None  # a supervisor, which has nothing to do with health
    store = Store.open(folder / "state", Limits(ballast=4096))
    takes: Any = store if well else SimpleNamespace(submit=_full)
    try:
        return await Updates(loaded, runtime, takes, nobody)._health(loaded.ota).look()
    finally:
        await store.close()


async def _full(_statements: object) -> None:
    raise StorageError("the disk is full")


async def test_the_ballast_that_was_given_back_is_no_room(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    told = {"hub": {"id": "hub-1", "state_dir": str(tmp_path)}, "ota": {"room": 0}}
    runtime: Any = SimpleNamespace(links={}, hub=SimpleNamespace(radios={}, hub_id="hub-1"), clock=Still())
    nobody: Any = None

    async def disk() -> str:
        loaded = settings.Settings.model_validate(told | {"store": {"ballast": 1 << 50}}, strict=False)
        return (await Updates(loaded, runtime, nobody, nobody)._health(loaded.ota).look(["disk"]))["disk"]

    assert free.f_bavail * free.f_frsize < 1 << 50
    assert "of disk are free" in await disk()
    (tmp_path / BALLAST).touch()
    assert await disk() == ""


async def test_a_store_that_takes_nothing_holds_no_look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "STORE_TIME", 0.01)
    waits: Any = SimpleNamespace(submit=lambda _rows: asyncio.Event().wait())
    runtime: Any = SimpleNamespace(links={}, hub=SimpleNamespace(radios={}, hub_id="hub-1"), clock=Still())
    loaded = settings.Settings.model_validate({"hub": {"id": "hub-1", "state_dir": str(tmp_path)}}, strict=False)
    nobody: Any = None
    told = await Updates(loaded, runtime, waits, nobody)._health(loaded.ota).look(["store"])
    assert told["store"].startswith("nothing was written")


async def test_each_item_is_asked_and_can_be_wrong(tmp_path: Path) -> None:
    program = f"program {tmp_path}/check.sh"
    names = {"uplink main", "radio zigbee", "radio zwave", "store", "memory", "disk", program}
    assert await looked(tmp_path, well=True) == dict.fromkeys(names, "")
    wrong = await looked(tmp_path, well=False)
    assert {name for name, text in wrong.items() if not text} == {"radio zigbee"}
    assert wrong["store"] == "the disk is full"
    assert (wrong["radio zwave"], wrong[program]) == ("it does not answer", "the lamp does not light")
    assert "32 are allowed" in wrong["memory"]
    assert "of disk are free" in wrong["disk"]
    assert "taken" in wrong["uplink main"]
