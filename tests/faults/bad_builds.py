"""Builds of this checkout that are really broken, the hub that is to get rid of them, and what its cloud has heard meanwhile."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from conftest import until
from standin_rig import Cloud
from update_rig import CONNECTS, CRASHES, LINK, RUN, Hub, patched

TRIAL, PATIENCE, LIMIT = 5.0, 8.0, 30.0  # seconds: of the configuration below
PROMISE = 60.0  # seconds beyond the limit
MEMORY, ROOM = 192 << 20, 8 << 20  # bytes
FINAL = frozenset({"SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "CANCELED", "REMOVED"})
TERMS = f"""
trial = "{TRIAL:.0f}s"
patience = "{PATIENCE:.0f}s"
trial_limit = "{LIMIT:.0f}s"
memory = {MEMORY}
room = {ROOM}
[radios.zigbee]
kind = "zigbee"
port = "{{folder}}/stick"
radio = "ezsp"
"""
JUNK = "junk"  # in the state folder
SOON = 1.0  # seconds after its start, or after what is good has begun, that a build turns bad

HEALTH, DRIVER = "agent/ota/health.py", "drivers/zigbee/driver.py"
RUNS = '        log.info("hub %s is running", self.runtime.hub.hub_id)\n'
IS_UP = '        self.counters["connects"] += 1\n'
SERVES = "            await self.session.serve()\n"
LIVES = "    async def live(self, sink: Sink) -> None:\n"
LOOKED = "            await progress(spent)\n"


def beside(body: str) -> Mapping[str, str]:
    """A build that runs this, in a thread of its own, once the daemon is up."""
    start = f"{RUNS}        import threading\n        threading.Thread(target=_turns_bad, daemon=True).start()\n"
    made = patched(RUN, (RUNS, start))
    return {RUN: f"{made[RUN]}\n\ndef _turns_bad() -> None:\n    import time\n    time.sleep({SOON})\n{body}"}


HANGS = f"{RUNS}        import time\n        asyncio.get_running_loop().call_later({SOON}, time.sleep, 1e6)\n"
LEAKS = """\
    leaked = []
    while len(leaked) < 50:  # and no more: it is this machine's memory
        leaked.append(b"leak" * (2 << 20))
        time.sleep(0.1)
    time.sleep(1e6)
"""
FILLS = """\
    with open("{junk}", "ab", buffering=0) as file:
        while True:
            try:
                file.write(bytes(65536))
            except OSError:
                {full}
"""
ELSEWHERE = """\
endpoint = self._endpoint()
        if self.counters["connects"]:
            endpoint = replace(endpoint, port=1)  # nobody listens there
        connection = self._connect(endpoint)"""
LOSES = f"{IS_UP}        asyncio.get_running_loop().call_later({SOON}, self.reconnect)\n"
KILLS = f"""\
            _killed.append(self)
            try:
                async with asyncio.timeout({SOON}):
                    await self.session.serve()
            except TimeoutError:
                raise DriverLost("the stick does not answer any more") from None
"""
KILLED = f"""\
{LIVES}        if _killed:
            raise DriverLost("the stick does not answer any more")
"""
DIES = f"""\
{LOOKED}            if not wrong:
                asyncio.get_running_loop().call_later(0.3, os._exit, 70)
"""


@dataclass(frozen=True, slots=True)
class Build:
    """What is wrong with it, and how the cloud is told: the code, and a word of the reason."""

    replaced: Mapping[str, str]
    code: str
    reason: str


def builds(state: Path) -> Mapping[str, Build]:
    """All of them, for a hub whose state is in this folder. One that fills the disk leaves what is freed then, or takes it too."""
    driver = patched(DRIVER, (SERVES, KILLS), (LIVES, KILLED))
    driver = {DRIVER: f"{driver[DRIVER]}\n_killed: list[object] = []\n"}
    stays, junk = "did not stay up", state / JUNK
    return {
        "crashes at import": Build(CRASHES, "fell-back", "did not start"),
        "hangs": Build(patched(RUN, (RUNS, HANGS)), "fell-back", stays),
        "leaks memory": Build(beside(LEAKS), "unhealthy", "memory: "),
        "loses its uplink": Build(patched(LINK, (CONNECTS, ELSEWHERE), (IS_UP, LOSES)), "unhealthy", "uplink main: "),
        "kills a radio": Build(driver, "unhealthy", "radio zigbee: the stick does not answer"),
        "fills the disk": Build(beside(FILLS.format(junk=junk, full="return")), "unhealthy", "MiB of disk are free"),
        "goes on filling the disk": Build(beside(FILLS.format(junk=junk, full="time.sleep(0.05)")), "fell-back", stays),
        "dies in its trial": Build(patched(HEALTH, (LOOKED, DIES)), "fell-back", stays),
    }


class SpiedCloud(Cloud):
    """It writes down what it hears of jobs; see jobs_spy.py."""

    program = ("-c", (Path(__file__).parent / "jobs_spy.py").read_text())

    def heard(self, task: str) -> list[dict[str, Any]]:
        """Each update of the task's job that a device has asked for, in order."""
        file = self.folder.with_suffix(".jobs")
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in map(json.loads, lines) if line["job"] == f"ota-{task}"]

    def ends(self, task: str) -> list[dict[str, Any]]:
        """Those that have ended it."""
        return [line for line in self.heard(task) if line["taken"] and line["asked"] in FINAL]


class PatientHub(Hub):
    """A hub with a radio and a watchdog."""

    more: ClassVar[str] = TERMS
    cloud_kind: ClassVar[type[Cloud]] = SpiedCloud
    watchdog: ClassVar[float] = 4.0

    @property
    def spied(self) -> SpiedCloud:
        assert isinstance(self.cloud, SpiedCloud)
        return self.cloud

    @property
    def selected(self) -> str:
        return str((self.folder / "state" / "slots" / "current").readlink())

    async def well(self, version: str) -> bool:
        """This version runs, with its uplink and its radio."""
        told = await self.status()
        parts = [*told["uplinks"].values(), *told.get("radios", {"": {"status": "away"}}).values()]
        return told["version"] == version and all(part["status"] == "online" for part in parts)

    async def carries_out(self, task: str) -> float:
        """Seconds from the activation to the moment at which the cloud holds the end."""
        before = self.selected
        await until(lambda: self.selected != before, 60.0, "the activation")
        begun = time.monotonic()
        bound = LIMIT + PROMISE
        await until(lambda: self.spied.ends(task), bound, f"the end within the limit + {PROMISE:.0f} s")
        return time.monotonic() - begun

    async def publishes(self, version: str, replaced: Mapping[str, str] | None = None) -> str:
        """A task for a release of this build; its id."""

        def made() -> str:
            return self.task({"manifestUrl": self.publish(version, replaced)})

        return await asyncio.to_thread(made)
