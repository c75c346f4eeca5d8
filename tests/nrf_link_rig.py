"""A hub's uplink to the stand-in's nRF Cloud: a link with its store, the nrf-cloud dialect and its session, and a device's certificate."""

from pathlib import Path
from typing import Any

from link_rig import Rig
from nrf_rig import ask, bulk
from standin_mqtt import Keys
from standin_rig import Cloud

from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import Link
from agent.cloud.mqtt import Endpoint
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_pairing import About, Conversation
from agent.cloud.nrf_session import NrfSession
from agent.cloud.tls import tls_context

ABOUT = About({"appName": "hub-agent", "appVersion": "1.0"}, ("APP",), 60)
Files = tuple[Path, Path]


def onboarded(cloud: Cloud, folder: Path, name: str, sub_type: str = "") -> Files:
    """A device of the account; the files of its certificate and key."""
    keys = Keys(folder, name, Keys(folder, f"{name}-ca"))
    done = bulk(cloud, "/devices", f'{name},{sub_type},,APP,"{keys.pem}"\n')
    assert done["status"] == "SUCCEEDED", done
    keys.files[1].chmod(0o600)
    return keys.files


class NrfHub(Rig):
    """`name` is the device's id. The address is looked up for each connection: the stand-in has another after a restart."""

    def __init__(
        self, folder: Path, cloud: Cloud, name: str, files: Files, gateway: GatewayDialect | None = None
    ) -> None:
        policy = LinkPolicy(publishes_per_second=0, spool_after=0.3, protocol="3.1.1")
        super().__init__(folder, 1, policy)
        context = tls_context(ca=cloud.told["ca"], certificate=str(files[0]), key=str(files[1]))

        def endpoint() -> Endpoint:
            host, _, port = cloud.told["mqtt"].partition(":")
            return Endpoint(host, int(port), name, 60, context)

        self.cloud, self.name = cloud, name
        self.channel = Channel("nrf")
        conversation = Conversation(name, ABOUT)
        self.dialect = NrfCloud("main", conversation, gateway=gateway)
        self.session = NrfSession(self.dialect, conversation, self.channel)
        self.link = Link(
            "main",
            endpoint,
            policy,
            self.dialect,
            self.outbox,
            self.clock,
            on_request=self._request,
            on_history_told=self._told,
            channel=self.channel,
            opening=self.session,
        )
        self.session.leave, self.session.counters = self.link.leave, self.link.counters
        self.link.set_status({"status": "online"})

    def messages(self, app: str) -> list[dict[str, Any]]:
        """What the account has got with this appId, in order: alone or in a list."""
        return [one for one in flat(self.cloud, self.name) if one["appId"] == app]

    def numbers(self) -> set[int]:
        """The values of `Rig.state` that have arrived."""
        return {round(float(one["data"]) * 100) for one in self.messages("TEMP")}

    def pressed(self) -> set[int]:
        return {one["data"]["NewPosition"] for one in self.messages("EVENT")}


def pages(cloud: Cloud, device: str) -> list[dict[str, Any]]:
    """All messages of a device, oldest first."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        more = f"&pageNextToken={token}" if token else ""
        page = ask(cloud, "GET", f"/messages?deviceId={device}&pageSort=asc&pageLimit=100{more}").json()
        found += page["items"]
        token = page.get("pageNextToken", "")
        if not token:
            return found


def flat(cloud: Cloud, device: str) -> list[dict[str, Any]]:
    """The same, those of lists one by one."""
    found = [entry["message"] for entry in pages(cloud, device)]
    return [one for entry in found for one in (entry if isinstance(entry, list) else [entry])]
