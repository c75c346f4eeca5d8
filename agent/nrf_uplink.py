"""The parts of one uplink to nRF Cloud, by MQTT or by calls: dialect, pairing, log lines as the account sets them, jobs, BLE gateway."""

import logging
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_gateway import GatewayDialect, dialect_of
from agent.cloud.nrf_pairing import About, Control, Conversation
from agent.cloud.nrf_session import NrfSession
from agent.cloud.nrf_wires import MqttWire
from agent.driver import load_driver
from agent.errors import ConfigError, install_extra
from agent.gatt import OffersGatt, RawGatt
from agent.outbox import Outbox
from agent.requests import ApplyLogs, Kind, Publish
from agent.runtime import Runtime
from agent.runtime_logs import UploadedLogs
from agent.settings import Settings, UplinkSettings
from agent.settings.values import coap_place
from agent.supervise import Supervisor, Unit
from agent.updates import Updates, boards

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from agent.cloud.nrf_calls import NrfCalls
    from agent.cloud.nrf_calls_link import NrfCallsLink
    from agent.identity.hub_identity import HubIdentity
    from agent.identity.tokens import Profile, Tokens

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
        self._gateway = dialect_of(uplink.gateway, uplink.client_id) if uplink.gateway != "off" else None
        self._gatt = gatt_radio(settings) if self._gateway is not None else ""
        self.dialect = NrfCloud(name, self.conversation, largest=uplink.max_payload, gateway=self._gateway)
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
        if self._gateway is not None:
            self._open_gateway(self._gateway, session, channel)
        return session

    def _open_gateway(self, dialect: GatewayDialect, session: NrfSession, channel: Channel) -> None:
        from agent.gateway.gateway import Gateway  # noqa: PLC0415  few hubs are one
        from agent.gateway.outlet import Outlet  # noqa: PLC0415

        def count(what: str) -> None:
            session.counters[what] += 1

        runtime = self._runtime
        outlet = Outlet(dialect, channel, partial(_publish_event, runtime, self._name), runtime.clock, count)
        radio = partial(_raw_gatt, runtime, self._gatt)
        gateway = Gateway(dialect, channel, outlet, radio, self._supervisor.spawn)
        session.taps.append(gateway.hear)
        session.on_paired.append(gateway.paired)
        channel.on_up.append(gateway.up)
        self._supervisor.spawn(f"BLE gateway of {self._name}", gateway.live())

    def calls_link(self, identity: "HubIdentity | None", policy: LinkPolicy, outbox: Outbox) -> "NrfCallsLink":
        """The uplink by calls. Raises ConfigError where the hub has no key for tokens, or lacks a library."""
        from agent.cloud.nrf_calls_link import NrfCallsLink  # noqa: PLC0415  only such an uplink needs a client of its own
        from agent.cloud.nrf_calls_wire import CallsWire  # noqa: PLC0415

        uplink = self._uplink
        client, nrf = self._by_coap(identity) if uplink.transport == "coap" else self._by_rest(identity)
        link = NrfCallsLink(
            self._name,
            client,
            nrf,
            policy,
            self.dialect,
            self.conversation,
            outbox,
            self._runtime.clock,
            place=uplink.service,
            interval=uplink.interval,
        )
        link.on_control.append(self.logs.apply)
        if self._takes:
            self._updates.take_nrf_jobs(self._name, CallsWire(nrf, ready=link.ready.wait))
        self._supervisor.spawn(f"client of {self._name}", link.hold())
        self._supervisor.add(Unit(f"uplink {self._name}", link.run, first=1.1, longest=300.0))
        return link

    def _by_rest(self, identity: "HubIdentity | None") -> "tuple[AbstractAsyncContextManager[object], NrfCalls]":
        from agent.cloud.nrf_rest import NrfRest  # noqa: PLC0415
        from agent.cloud.rest import Rest  # noqa: PLC0415
        from agent.identity.tokens import DeviceAuthorization  # noqa: PLC0415

        uplink = self._uplink
        rest = Rest(uplink.service, authorize=DeviceAuthorization(self._tokens(identity)), ca=uplink.ca)
        return rest, NrfRest(rest, uplink.client_id)

    def _by_coap(self, identity: "HubIdentity | None") -> "tuple[AbstractAsyncContextManager[object], NrfCalls]":
        from agent.identity.tokens import NRF_CLOUD_COAP  # noqa: PLC0415

        try:
            from agent.cloud.coap import Coap  # noqa: PLC0415
            from agent.cloud.nrf_coap import Login, NrfCoap  # noqa: PLC0415
        except ImportError as error:
            text = f"CoAP needs {error.name}, which is not installed"
            raise ConfigError(text, place=f"uplinks.{self._name}", remedy=install_extra("coap")) from error
        uplink, tokens = self._uplink, self._tokens(identity, NRF_CLOUD_COAP)
        coap = Coap(coap_place(uplink.service), self._runtime.clock, enter=Login(tokens), ca=uplink.ca)
        return coap, NrfCoap(coap)

    def _tokens(self, identity: "HubIdentity | None", profile: "Profile | None" = None) -> "Tokens":
        from agent.identity.tokens import NRF_CLOUD, Stored, Tokens  # noqa: PLC0415

        slots = identity.slots if identity is not None else None
        slot = (slots.record.current or slots.record.asked) if slots is not None else None
        if slots is None or slot is None:
            remedy = "make one with `agent identity csr`, and register it: `agent onboard nrf-device --self`"
            raise ConfigError("the hub has no key for its tokens", place=f"uplinks.{self._name}", remedy=remedy)
        key, own = Stored(slots.keys, slots.key(slot)), self._runtime.hub.own
        clock, device = self._runtime.clock, self._uplink.client_id
        return Tokens(key, device, clock, bound=lambda: own.token_seconds, profile=profile or NRF_CLOUD)


def gatt_radio(settings: Settings) -> str:
    """The first radio that speaks raw GATT; the check of the settings has seen that there is one."""
    return next(name for name, radio in settings.radios.items() if load_driver(radio.kind).raw_gatt)


async def _raw_gatt(runtime: Runtime, radio: str) -> RawGatt:
    """Once the radio is up. Raises DriverLost."""
    return cast("OffersGatt", await runtime.driver_up(radio)).gatt  # its DriverInfo has said so


def _publish_event(runtime: Runtime, name: str, device: str, body: dict[str, Any], written: Callable[[], None]) -> None:
    runtime.apply([Publish(Kind.GATEWAY, device, body, uplink=name)], runtime.clock.now(), written)


def _publish_logs(runtime: Runtime, name: str, lines: list[Any], done: Callable[[], None]) -> None:
    runtime.apply([Publish(Kind.LOG, "", {"lines": lines}, uplink=name)], runtime.clock.now(), done)
