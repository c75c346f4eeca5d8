"""A hub that nRF Cloud updates over REST, and over CoAP: the same source of updates, polling with tokens of its own key."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from conftest import until
from nrf_client_rig import Device
from nrf_coap_rig import logged_in
from nrf_fota_rig import Updated
from nrf_mqtt_rig import execution
from nrf_rig import Keys, ask, bulk
from slots_rig import tree
from standin_rig import Cloud

from agent.cloud.nrf_calls import NrfCalls
from agent.cloud.nrf_calls_wire import CallsWire
from agent.cloud.nrf_coap import NrfCoap
from agent.cloud.nrf_rest import NrfRest
from agent.ota.engine import Engine
from agent.ota.parts import Policy
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.nrf_fota import NrfFota

pytestmark = pytest.mark.conformance
_numbers = count(1)


class Poller(Updated):
    """Over REST, each 50 ms."""

    def __init__(self, cloud: Cloud, folder: Path, *, coap: bool) -> None:
        super().__init__(cloud, folder, f"poller-{next(_numbers)}")
        self.coap = coap
        self.device = Device(folder / "keys", self.name)
        certificate = Keys(folder, self.name).certificate
        assert bulk(cloud, "/devices", f'{self.name},,,APP,"{certificate}"\n')["status"] == "SUCCEEDED"
        done = bulk(cloud, "/devices/public-keys", f'{self.name},"{self.device.public}"\n')
        assert done["status"] == "SUCCEEDED"

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[NrfCalls]:
        if self.coap:
            async with logged_in(self.device, self.cloud.told["nrf_coap"], self.cloud.told["ca"]) as coap:
                yield NrfCoap(coap)
        else:
            async with self.device.rest(self.cloud.told["nrf"]) as rest:
                yield NrfRest(rest, self.name)

    async def live(self, work: Callable[[Engine], Awaitable[object]]) -> bool:
        """One process; True when it ended for a restart."""

        async def both(engine: Engine) -> None:
            async with self.calls() as nrf:
                wire = CallsWire(nrf, every=0.05, quiet=0.05)
                source = NrfFota("main", wire, engine, asyncio.get_running_loop().time)
                task = asyncio.create_task(source.live())
                try:
                    await work(engine)
                finally:
                    assert not task.done(), task.exception()
                    task.cancel()

        self.machine.board.start()
        return await self.machine.life(both)

    async def to_the_end(self, job: str) -> Task:
        async def work(engine: Engine) -> None:
            key = key_of("main", job, 1)
            await until(lambda: key in engine.tasks and engine.tasks[key].told, 20.0, "the end, heard")

        while await self.live(work):
            pass
        return self.task(job)


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture(params=["rest", "coap"])
def hub(request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path) -> Poller:
    return Poller(cloud, tmp_path, coap=request.param == "coap")


async def test_firmware_goes_from_the_cloud_into_the_hub_over_its_restart(hub: Poller) -> None:
    foreign, job = hub.job(hub.bundle(b"\1" * 100, kind="MODEM", signed=False)), hub.job(hub.bundle(tree("2.0")))
    task = await hub.to_the_end(job)
    assert (task.state, hub.status(job)) == (State.SUCCEEDED, "SUCCEEDED")
    assert execution(hub.cloud, hub.name, foreign) == ("REJECTED", "this hub takes no firmware of type MODEM")
    assert hub.machine.board.start().startswith("2.0")


@pytest.mark.parametrize("hub", ["rest"], indirect=True)
async def test_a_job_that_is_cancelled_meanwhile_is_left_before_its_activation(hub: Poller) -> None:
    hub.machine.policy = Policy(automatic=False, hub="hub-1")
    job = hub.job(hub.bundle(tree("2.0")))

    async def work(engine: Engine) -> None:
        key = key_of("main", job, 1)
        await until(lambda: hub.status(job) == "IN_PROGRESS", 20.0, "what waits for a person")
        await until(lambda: engine.tasks[key].state == State.WAITING, 20.0)
        assert ask(hub.cloud, "PUT", f"/fota-jobs/{job}/cancel").status == 202
        await engine.change(key, approved=True)
        await until(lambda: engine.tasks[key].over and engine.tasks[key].told, 20.0)
        assert engine.tasks[key].state == State.CANCELED

    assert not await hub.live(work)
    assert hub.status(job) == "CANCELLED"
    assert hub.machine.board.start() == "1.0 A"
