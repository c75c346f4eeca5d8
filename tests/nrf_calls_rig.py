"""A hub whose uplink to the stand-in's nRF Cloud calls, by REST or by CoAP: a link with its store, and a device with a key of its own."""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from link_rig import Rig
from nrf_client_rig import Device
from nrf_coap_rig import QUICK, logged_in
from nrf_link_rig import ABOUT, flat
from nrf_rig import Keys, bulk
from rest_rig import FAST
from standin_rig import Cloud

from agent.cloud.lane import LinkPolicy
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_calls import NrfCalls
from agent.cloud.nrf_calls_link import NrfCallsLink
from agent.cloud.nrf_coap import NrfCoap
from agent.cloud.nrf_pairing import Conversation
from agent.cloud.nrf_rest import NrfRest
from agent.errors import HubError

_numbers = count(1)
Client = tuple[AbstractAsyncContextManager[object], NrfCalls]


class Caller(Rig):
    """A hub that calls; `start` and `stop` are lives of its uplink, as the supervisor has them."""

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        super().__init__(folder, 1, LinkPolicy(spool_after=0.3))
        self.cloud, self.name = cloud, f"caller-{next(_numbers)}"
        self.device = Device(folder / "keys", self.name)
        certificate = Keys(folder, self.name).certificate
        assert bulk(cloud, "/devices", f'{self.name},,,APP,"{certificate}"\n')["status"] == "SUCCEEDED"
        done = bulk(cloud, "/devices/public-keys", f'{self.name},"{self.device.public}"\n')
        assert done["status"] == "SUCCEEDED"
        self._holding: asyncio.Task[None] | None = None
        self.url = cloud.told["nrf"]

    def open(self, interval: float = 0.2) -> None:
        conversation = Conversation(self.name, ABOUT)
        self.dialect = NrfCloud("main", conversation)
        self.calls = NrfCallsLink(
            "main",
            *self.client(),
            self.link.policy,
            self.dialect,
            conversation,
            self.outbox,
            self.clock,
            place=self.url,
            interval=interval,
        )
        self.link = self.calls  # type: ignore[assignment]  it is offered to like the other
        self.calls.set_status({"status": "online"})
        self._holding = asyncio.create_task(self.calls.hold())

    def client(self) -> Client:
        rest = self.device.rest(self.url, policy=FAST)
        return rest, NrfRest(rest, self.name)

    async def _keep(self) -> None:
        while True:
            with suppress(HubError):
                await self.calls.run()
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await super().stop()
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.gather(self._holding, return_exceptions=True)

    def said(self, app: str) -> list[dict[str, Any]]:
        return [one for one in flat(self.cloud, self.name) if one["appId"] == app]

    def numbers(self) -> list[int]:
        return [round(float(one["data"]) * 100) for one in self.said("TEMP")]

    def pressed(self) -> list[int]:
        return [one["data"]["NewPosition"] for one in self.said("EVENT")]


class CoapCaller(Caller):
    """By CoAP; `url` may lead through a proxy."""

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        super().__init__(folder, cloud)
        self.url = cloud.told["nrf_coap"]

    def client(self) -> Client:
        self.coap = logged_in(self.device, self.url, self.cloud.told["ca"], limits=QUICK)
        return self.coap, NrfCoap(self.coap)
