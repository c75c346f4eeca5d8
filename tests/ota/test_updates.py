"""Updates in the daemon: whom the engine asks is there before it moves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ota_machine import Still
from ota_rig import root

from agent.settings import Settings
from agent.store import Limits, Store
from agent.supervise import Unit
from agent.updates import Updates


class Supervisor:
    def __init__(self) -> None:
        self.units: list[str] = []

    def add(self, unit: Unit) -> None:
        self.units.append(unit.name)


async def test_the_engine_moves_once_the_sources_of_its_tasks_are_there(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(root())
    told = {"hub": {"state_dir": tmp_path / "state"}, "ota": {"root": str(tmp_path / "root.json")}}
    hub = SimpleNamespace(hub_id="hub-1", radios={})
    runtime: Any = SimpleNamespace(clock=Still(), hub=hub, links={}, drivers={}, listeners=set())
    supervisor: Any = Supervisor()
    (tmp_path / "state").mkdir()
    store = Store.open(tmp_path / "state", Limits(ballast=4096))
    try:
        updates = Updates(Settings.model_validate(told), runtime, store, supervisor)
        await updates.start()
        jobs: Any = SimpleNamespace(standing={})
        updates.take_jobs("main", jobs)
        updates.live()
        assert supervisor.units[-2:] == ["updates of main", "updates"]
        assert updates.engine is not None
        assert set(updates.engine.desk.sources) == {"main"}
    finally:
        await store.close()
