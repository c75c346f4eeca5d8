"""The parts of one uplink to nRF Cloud, by MQTT or by calls: dialect, pairing, log lines as the account sets them, firmware jobs."""

import logging
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_ble_wire import BleWire
from agent.cloud.nrf_pairing import About, Control, Conversation
from agent.cloud.nrf_session import NrfSession
from agent.cloud.nrf_wires import MqttWire
from agent.errors import ConfigError
from agent.model import Availability
from agent.outbox import Outbox
from agent.requests import ApplyLogs, Kind, Publish
from agent.runtime import Runtime
from agent.runtime_logs import UploadedLogs
from agent.settings import Settings, UplinkSettings
from agent.supervise import Supervisor, Unit
from agent.updates import Updates, boards

if TYPE_CHECKING:
    from agent.cloud.nrf_rest_link import NrfRestLink
    from agent.identity.hub_identity import HubIdentity
    from agent.identity.tokens import DeviceAuthorization
    from agent.ota.sources.nrf_ble_fota import NrfBleFota

Attach = Callable[[logging.Handler], Callable[[], None]]
LEVELS = {1: "ERROR", 2: "WARN", 3: "INFO", 4: "DEBUG"}  # logLvl -> what a store of lines is asked for
UPLOAD = 1 / 6  # minutes between two uploads of lines: who raises the level is looking at the messages


class AccountLogs:
    """The hub's log lines for one account: kept and uploaded while its `logLvl` is above 0."""

    def __init__(self, store: UploadedLogs) -> None:
        self._store, self._level = store, 0

    def apply(self, control: Control) -> None:
        if control.log_level != self._level:
            self._level = control.log_level
            wishes: dict[str, Any] = {"UploadLog": True, "UploadPeriodMinutes": UPLOAD}
            self._store.apply(ApplyLogs(wishes | {"LogLevel": LEVELS[self._level]} if self._level else {}))


class NrfParts:
    """Makes the parts of one uplink; `uplink.client_id` is the device's id."""

    def __init__(
        self,
        name: str,
        uplink: UplinkSettings,
        settings: Settings,
        runtime: Runtime,
        supervisor: Supervisor,
        updates: Updates,
        attach: Attach,
    ) -> None:
        self._name, self._uplink, self._runtime = name, uplink, runtime
        self._supervisor, self._updates = supervisor, updates
        self._takes = uplink.jobs and updates.engine is not None
        info = {"appName": "hub-agent", "appVersion": version("hub-agent"), "hwVer": platform.machine()}
        about = About(info | {"board": boards()[0]}, ("APP",) if self._takes else (), uplink.keep_alive)
        self.conversation = Conversation(uplink.client_id, about)
        self.dialect = NrfCloud(name, self.conversation, largest=uplink.max_payload)
        folder = settings.hub.state_dir / "logs" / name
        self.logs = AccountLogs(UploadedLogs(folder, attach, partial(_publish_logs, runtime, name), supervisor))

    def session(self, channel: Channel) -> NrfSession:
        """What speaks first on each MQTT connection."""
        session = NrfSession(self.dialect, self.conversation, channel)
        session.on_control.append(self.logs.apply)
        if self._takes:
            wire = MqttWire(channel)
            session.on_paired.append(wire.paired)
            self._updates.take_nrf_jobs(self._name, wire)
        if self._takes and self._uplink.gateway != "off":
            self._take_ble_jobs(session, channel)
        return session

    def _take_ble_jobs(self, session: NrfSession, channel: Channel) -> "NrfBleFota | None":
        """Have the firmware jobs of the BLE devices behind this hub done."""
        wire = BleWire(channel, partial(_connected, self._runtime))
        session.on_paired.append(wire.paired)
        return self._updates.take_nrf_ble_jobs(self._name, wire)

    def rest_link(self, identity: "HubIdentity | None", policy: LinkPolicy, outbox: Outbox) -> "NrfRestLink":
        """The uplink by calls. Raises ConfigError where the hub has no key for tokens."""
        from agent.cloud.nrf_rest_link import NrfRestLink  # noqa: PLC0415  only such an uplink needs an HTTP client
        from agent.cloud.nrf_rest_wire import RestWire  # noqa: PLC0415
        from agent.cloud.rest import Rest  # noqa: PLC0415

        uplink, clock = self._uplink, self._runtime.clock
        link = NrfRestLink(
            self._name,
            Rest(uplink.url, authorize=self._authorization(identity), ca=uplink.ca),
            policy,
            self.dialect,
            self.conversation,
            outbox,
            clock,
            place=uplink.url,
            interval=uplink.interval,
        )
        link.on_control.append(self.logs.apply)
        if self._takes:
            self._updates.take_nrf_jobs(self._name, RestWire(link.nrf, ready=link.ready.wait))
        self._supervisor.spawn(f"client of {self._name}", link.hold())
        self._supervisor.add(Unit(f"uplink {self._name}", link.run, first=1.1, longest=300.0))
        return link

    def _authorization(self, identity: "HubIdentity | None") -> "DeviceAuthorization":
        from agent.identity.tokens import DeviceAuthorization, Stored, Tokens  # noqa: PLC0415

        slots = identity.slots if identity is not None else None
        slot = (slots.record.current or slots.record.asked) if slots is not None else None
        if slots is None or slot is None:
            remedy = "make one with `agent identity csr`, and register it: `agent onboard nrf-device --self`"
            raise ConfigError("the hub has no key for its tokens", place=f"uplinks.{self._name}", remedy=remedy)
        key, own = Stored(slots.keys, slots.key(slot)), self._runtime.hub.own
        tokens = Tokens(key, self._uplink.client_id, self._runtime.clock, bound=lambda: own.token_seconds)
        return DeviceAuthorization(tokens)


def _connected(runtime: Runtime) -> set[str]:
    """The addresses of the BLE devices that can be reached."""
    radios = {name for name, radio in runtime.hub.radios.items() if radio.kind == "ble"}
    found = (record for one, record in runtime.hub.devices.items() if one.radio in radios and not record.quarantined)
    return {record.device.id.key for record in found if record.availability is Availability.ONLINE}


def _publish_logs(runtime: Runtime, name: str, lines: list[Any], done: Callable[[], None]) -> None:
    runtime.apply([Publish(Kind.LOG, "", {"lines": lines}, uplink=name)], runtime.clock.now(), done)
