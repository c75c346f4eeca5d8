"""A hub's updates without the rest of the hub: real journal, verifier, slots and engine; a life is that of one process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from conftest import until
from ota_rig import HUB, agent, at, file, release, root
from slots_rig import Board

from agent.clock import Clock, Moment
from agent.ota.appliers.contract import Applier, Effect
from agent.ota.desk import Desk
from agent.ota.downloads import Downloads
from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.floors import Floors
from agent.ota.health import Health, Terms
from agent.ota.journal import Journal
from agent.ota.parts import Policy
from agent.ota.plan import Task, key_of
from agent.ota.steps import Steps
from agent.ota.trust import REFUSE
from agent.ota.trust import Policy as Unsigned
from agent.ota.tuf_offer import TufOffers
from agent.ota.verifier import LOCAL, Trust, Verifier
from agent.store import Limits, Store

QUICK = Terms(trial=0.05, patience=0.1, limit=2.0, look=0.01)
KEY = key_of(LOCAL, "1", 1)


class Still:
    """A clock that stands at the rig's time."""

    def now(self) -> Moment:
        return at()


async def well() -> str:
    return ""


class Machine:
    """`board` has the slots; `checks` are the health of the version that runs."""

    def __init__(self, folder: Path, *, checks: Mapping[str, Callable[[], Awaitable[str]]] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.board = folder, Board(folder)
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        (folder / "root.json").write_bytes(root())
        self.checks = checks or {"uplink": well}
        self.terms, self.policy = QUICK, Policy(hub="hub-1")
        self.fetch = FetchPolicy()
        self.unsigned: Unsigned = REFUSE
        self.appliers: dict[str, Applier] = {}
        self.clock: Clock = Still()
        self.again = 0.02  # seconds after trouble that may pass
        self.starts: list[str] = []
        self.engine: Engine | None = None
        self.journal: Journal | None = None

    def offer_files(self, number: int = 7, **changes: Any) -> dict[str, Any]:
        """Lay a signed release into a folder; the document that asks for it. `images`: name -> content, for the files beside it."""
        made = self.folder / f"release-{number}"
        made.mkdir(exist_ok=True)
        for name, content in changes.pop("images", {}).items():
            (made / name).write_bytes(content)
        (made / "it.release.json").write_bytes(release(number, **changes))
        return {"path": str(made / "it.release.json")}

    async def life(self, work: Callable[[Engine], Awaitable[object]], seconds: float = 30.0) -> bool:
        """One process: `work` with a live engine; True when the engine ended it for a restart first."""
        store = Store.open(self.state, Limits(ballast=4096))
        try:
            self.prepare(store)
            self.journal = Journal(store, self.clock)
            floors = Floors(self.board.folder, await self.journal.load())
            desk = Desk(self.journal)
            trust = Trust(self.folder / "root.json", self.state / "roots")
            tuf = self.tuf_offers(floors)
            files = self.state / "ota" / "files"
            verifier = Verifier(trust, HUB, "1.0", floors, self.clock, self.unsigned, self.fetch, tuf, files)
            fetcher = Downloads(files, self.fetch)
            ended: asyncio.Future[Effect] = asyncio.get_running_loop().create_future()
            appliers = {"agent": self.board.slots, **self.appliers}
            health = Health(self.checks, self.terms)

            def restart(effect: Effect, _reason: str) -> None:
                ended.set_result(effect)

            steps = Steps(desk, self.clock, verifier, fetcher, appliers, health, self.policy, restart)
            self.engine = Engine(desk, steps, self.clock, again=self.again)
            tasks = [asyncio.ensure_future(one) for one in (self.engine.live(), work(self.engine), ended)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
            assert done, f"nothing moves: {self.task}"
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in done:
                one.result()
            return tasks[2] in done
        finally:
            await store.close()

    def tuf_offers(self, _floors: Floors) -> TufOffers | None:
        """Where a TUF root is pinned."""
        return None

    def prepare(self, store: Store) -> None:
        """Make the appliers that need the store of this life."""

    async def work_on(self, document: Mapping[str, Any]) -> bool:
        """One process that is told to do it; True when that ended for a restart, False at the end."""

        async def work(engine: Engine) -> None:
            await engine.offer(LOCAL, "1", 1, document)
            await until(lambda: engine.tasks[KEY].over, 25.0)

        return await self.life(work)

    async def to_the_end(self, document: Mapping[str, Any], lives: int = 12, *, start: bool = True) -> Task:
        """Have it done, over as many processes as it takes; the task at its end. Without `start` the launcher has chosen already."""
        for _ in range(lives):
            said = self.board.start() if start else "started"
            self.starts.append(said)
            if said and not await self.work_on(document):
                return self.task
        raise AssertionError(f"not at its end after {lives} starts: {self.task}")

    async def begin(self, document: Mapping[str, Any]) -> None:
        """The first process alone: up to the restart for the new version."""

        async def work(engine: Engine) -> None:
            await engine.offer(LOCAL, "1", 1, document)
            await until(lambda: engine.tasks[KEY].over, 600.0)

        self.board.start()
        assert await self.life(work, 600.0), self.task

    @property
    def task(self) -> Task:
        assert self.journal is not None
        return self.journal.tasks[KEY]


def update(image: tuple[str, bytes], version: str = "2.0", *more: tuple[str, bytes]) -> dict[str, Any]:
    """What `offer_files` takes for an update of the agent alone."""
    images = (image, *more)
    files = [file(name, content, 4096 if len(content) < 1 << 20 else 1 << 20) for name, content in images]
    return {"images": dict(images), "components": [agent(version, files=files)], "release": version}
