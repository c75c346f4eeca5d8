"""The uplink to nRF Cloud against a mosquitto and an account that says everything wrong: it stays up, and does what it understands."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import Broker, until
from garbage import BYTES, ODD, payloads
from link_rig import Rig
from paho.mqtt.enums import CallbackAPIVersion

from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import Link
from agent.cloud.mqtt import Endpoint
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_jobs import RejectedJob
from agent.cloud.nrf_pairing import About, Conversation
from agent.cloud.nrf_session import NrfSession
from agent.cloud.nrf_wires import FirmwareJob, MqttWire
from agent.requests import CommandRequest, RejectedCommand

pytestmark = pytest.mark.conformance
DEVICE, PREFIX = "hub-1", "prod/account/"
MESSAGES = f"{PREFIX}m/d/{DEVICE}"
TOLD, DELTA = f"{DEVICE}/shadow/get/accepted/tf", f"{DEVICE}/shadow/update/delta/trim"
PAIRING = {"state": "paired", "topics": {"d2c": f"{MESSAGES}/d2c", "c2d": f"{MESSAGES}/c2d"}}
REPLY = {"tf": {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": PAIRING, "control": {"logLvl": 1}}}
COMMAND = {"traceId": "t", "device": "d", "endpoint": "1", "capability": "matter.OnOff@1.4", "action": "On"}


class Account:
    """What answers the question for the pairing, once it may."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.answers: list[bytes] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="account")
        self.client.on_connect = lambda client, *_: client.subscribe(f"{DEVICE}/shadow/get/tf", 1)
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _heard(self, client: paho.Client, _userdata: Any, _message: paho.MQTTMessage) -> None:
        self.asked += 1
        payload = self.answers.pop(0) if self.answers else json.dumps(REPLY).encode()
        client.publish(TOLD, payload, 1)

    def say(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, 1)


class Hub(Rig):
    """The uplink without TLS, for a broker on this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        policy = LinkPolicy(publishes_per_second=0, spool_after=0.3, protocol="3.1.1")
        super().__init__(folder, port, policy)
        channel, conversation = Channel("account"), Conversation(DEVICE, About())
        self.dialect = NrfCloud("main", conversation)
        self.session = NrfSession(self.dialect, conversation, channel)
        self.wire, self.jobs = MqttWire(channel), list[FirmwareJob | RejectedJob]()
        self.wire.bind(self.jobs.append, lambda: None)
        self.session.on_paired.append(self.wire.paired)
        self.link = Link(
            "main",
            lambda: Endpoint("127.0.0.1", port, DEVICE, 60, None),
            policy,
            self.dialect,
            self.outbox,
            self.clock,
            on_request=self._request,
            on_history_told=self._told,
            channel=channel,
            opening=self.session,
        )
        self.session.leave, self.session.counters = self.link.leave, self.link.counters


@pytest.fixture
async def account(broker: Broker) -> AsyncIterator[Account]:
    made = Account(broker.port)
    yield made
    made.client.disconnect()
    made.client.loop_stop()


@pytest.fixture
async def hub(tmp_path: Path, broker: Broker, account: Account) -> AsyncIterator[Hub]:
    made = Hub(tmp_path, broker.port)
    yield made
    await made.stop()
    await made.store.close()


async def test_whatever_the_account_says_the_link_stays_and_does_what_it_understands(
    hub: Hub, account: Account, broker: Broker
) -> None:
    hub.start()
    await until(lambda: hub.link.connected, what="the pairing")
    command = {"appId": "DEVICE", "messageType": "CMD", "data": COMMAND}
    state = {"state": {"pairing": PAIRING, "nrfcloud_mqtt_topic_prefix": PREFIX, "control": {"logLvl": 2}}}
    row = ["job-1", 0, 2048, "files.example.com", "a/b"]
    rows = [json.dumps([*row[:at], odd, *row[at + 1 :]]).encode() for at in range(len(row)) for odd in ODD]
    for payload in payloads(command):
        account.say(f"{MESSAGES}/c2d/r", payload)
    for payload in payloads(state):
        account.say(DELTA, payload)
    for payload in [*BYTES, *rows]:
        account.say(f"{PREFIX}{DEVICE}/jobs/rcv", payload)
    good = {**command, "data": {**COMMAND, "traceId": "the last one"}}
    account.say(f"{MESSAGES}/c2d/r", json.dumps(good).encode())
    account.say(DELTA, json.dumps({"state": {"control": {"alertsEn": False}}}).encode())
    account.say(f"{PREFIX}{DEVICE}/jobs/rcv", json.dumps(["job-2", *row[1:]]).encode())
    await until(
        lambda: any(getattr(one, "trace_id", "") == "the last one" for one in hub.requests), 20.0, "the command"
    )
    await until(lambda: not hub.dialect.control.alerts, 20.0, "the wish")
    await until(lambda: FirmwareJob("job-2", "APP", 2048, *row[3:]) in hub.jobs, 20.0, "the job")
    assert {type(one) for one in hub.requests} == {CommandRequest, RejectedCommand}
    assert all(isinstance(one, FirmwareJob) or one.job == "job-1" for one in hub.jobs)
    assert hub.link.connected
    assert hub.link.counters["connects"] == 1
    assert hub.link.counters["malformed"] > 0


async def test_wrong_answers_keep_a_hub_away_and_the_right_one_lets_it_in(
    hub: Hub, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cloud.nrf_session.ANSWER", 0.05)
    answers = payloads(REPLY)
    account.answers = answers[::8]
    hub.link.offer_live(hub.state(1))
    hub.start()

    def nudged() -> bool:
        """Who waits for its account asks again after a delta."""
        account.say(DELTA, json.dumps({"state": {"pairing": PAIRING}}).encode())
        return not account.answers and hub.link.connected

    await until(nudged, 30.0, "the right answer")
    await until(lambda: not hub.link.waiting and not sum(hub.store.stats.backlog.values()), what="what has waited")
