"""The parts of one uplink to nRF Cloud: dialect, pairing, log lines as the account sets them, and firmware jobs."""

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from agent.cloud.channel import Channel
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_pairing import About, Control, Conversation
from agent.cloud.nrf_session import NrfSession
from agent.cloud.nrf_wires import MqttWire
from agent.requests import ApplyLogs, Kind, Publish
from agent.runtime import Runtime
from agent.runtime_logs import UploadedLogs
from agent.settings import Settings, UplinkSettings
from agent.supervise import Supervisor
from agent.updates import Updates, boards

Attach = Callable[[logging.Handler], Callable[[], None]]
LEVELS = {1: "ERROR", 2: "WARN", 3: "INFO", 4: "DEBUG"}  # logLvl -> what a store of lines is asked for
UPLOAD = 1 / 6  # minutes between two uploads of lines: who raises the level is looking at the messages


@dataclass(frozen=True, slots=True)
class NrfUplink:
    """What a link needs to speak with nRF Cloud."""

    dialect: NrfCloud
    session: NrfSession


class AccountLogs:
    """The hub's log lines for one account: kept and uploaded while its `logLvl` is above 0."""

    def __init__(self, store: UploadedLogs) -> None:
        self._store, self._level = store, 0

    def apply(self, control: Control) -> None:
        if control.log_level != self._level:
            self._level = control.log_level
            wishes: dict[str, Any] = {"UploadLog": True, "UploadPeriodMinutes": UPLOAD}
            self._store.apply(ApplyLogs(wishes | {"LogLevel": LEVELS[self._level]} if self._level else {}))


def nrf_uplink(
    name: str,
    uplink: UplinkSettings,
    channel: Channel,
    settings: Settings,
    runtime: Runtime,
    supervisor: Supervisor,
    updates: Updates,
    attach: Attach,
) -> NrfUplink:
    """`uplink.client_id` is the device's id."""
    takes = uplink.jobs and updates.engine is not None
    info = {"appName": "hub-agent", "appVersion": version("hub-agent"), "hwVer": platform.machine()}
    about = About(info | {"board": boards()[0]}, ("APP",) if takes else (), uplink.keep_alive)
    conversation = Conversation(uplink.client_id, about)
    dialect = NrfCloud(name, conversation, largest=uplink.max_payload)
    session = NrfSession(dialect, conversation, channel)
    if takes:
        wire = MqttWire(channel)
        session.on_paired.append(wire.paired)
        updates.take_nrf_jobs(name, wire)
    folder = settings.hub.state_dir / "logs" / name
    store = UploadedLogs(folder, attach, partial(_publish_logs, runtime, name), supervisor)
    session.on_control.append(AccountLogs(store).apply)
    return NrfUplink(dialect, session)


def _publish_logs(runtime: Runtime, name: str, lines: list[Any], done: Callable[[], None]) -> None:
    runtime.apply([Publish(Kind.LOG, "", {"lines": lines}, uplink=name)], runtime.clock.now(), done)
