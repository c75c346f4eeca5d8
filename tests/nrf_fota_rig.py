"""A hub's updates as nRF Cloud's jobs: bundles and jobs of the stand-in's account, and a machine with real slots."""

from itertools import count
from pathlib import Path

from nrf_mqtt_rig import execution
from nrf_rig import ask
from ota_machine import Machine, update
from ota_rig import release
from standin_rig import Cloud

from agent.ota.plan import Task, key_of
from agent.ota.trust import beside

_numbers = count(1)


class Updated:
    """One hub of the account. `machine` lives as often as a test wants; its jobs come through the uplink `main`."""

    def __init__(self, cloud: Cloud, folder: Path, name: str) -> None:
        self.cloud, self.name, self.machine = cloud, name, Machine(folder / "machine")
        self.bucket = cloud.folder / "s3" / "nrf-bundles"
        self.bucket.mkdir(parents=True, exist_ok=True)

    def bundle(self, content: bytes, *, signed: bool = True, kind: str = "APP") -> str:
        """A bundle, with its release beside it."""
        name = f"{kind}*{next(_numbers):08d}*v2"
        (self.bucket / name).write_bytes(content)
        if signed:
            told = update(("agent.tar.gz", content))
            told.pop("images")
            Path(beside(str(self.bucket / name))).write_bytes(release(7, **told))
        return name

    def job(self, bundle: str) -> str:
        made = ask(self.cloud, "POST", "/fota-jobs", json={"bundleId": bundle, "deviceIds": [self.name]})
        assert made.status == 201, made.data
        return str(made.json()["jobId"])

    def status(self, job: str) -> str:
        return execution(self.cloud, self.name, job)[0]

    def task(self, job: str) -> Task:
        assert self.machine.journal is not None
        return self.machine.journal.tasks[key_of("main", job, 1)]
