"""A hub's uplink to nRF Cloud against the stand-in's MQTT plane, which drops who uses a topic that is not listed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from nrf_link_rig import NrfHub, onboarded
from nrf_mqtt_rig import press, state
from nrf_rig import ask, jitp
from standin_rig import Cloud

from agent.requests import CommandRequest, Kind, RejectedCommand

pytestmark = pytest.mark.conformance
_numbers = count(1)
Make = Callable[..., NrfHub]
COMMAND = {"traceId": "t-1", "device": "d", "endpoint": "1", "capability": "matter.OnOff@1.4", "action": "On"}


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture
async def make(cloud: Cloud, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[NrfHub] = []

    def hub(name: str = "", files: tuple[Path, Path] | None = None) -> NrfHub:
        name = name or f"hub-{next(_numbers)}"
        made.append(NrfHub(tmp_path / "hub", cloud, name, files or onboarded(cloud, tmp_path, name)))
        return made[-1]

    (tmp_path / "hub").mkdir()
    yield hub
    for one in made:
        await one.stop()
        await one.store.close()


@pytest.fixture
async def hub(make: Make) -> NrfHub:
    made = make()
    made.start()
    await until(lambda: made.link.connected, what="the pairing")
    return made


async def test_a_paired_hub_tells_what_it_is_and_every_value(cloud: Cloud, hub: NrfHub) -> None:
    for number in range(20):
        hub.link.offer_live(hub.state(number))
    await hub.durable(*[hub.event(number) for number in range(20)])
    await until(lambda: hub.numbers() == set(range(20)) == hub.pressed(), what="every value and event")
    await until(lambda: not hub.link.waiting)
    shadow = state(cloud, hub.name)
    reported = shadow["reported"]
    assert reported["pairing"] == shadow["desired"]["pairing"], "…/c2d is …/+/r for both"
    assert reported["pairing"]["topics"]["c2d"].endswith("/+/r")
    assert reported["device"]["deviceInfo"] == {"appName": "hub-agent", "appVersion": "1.0"}
    assert reported["device"]["connectionInfo"] == {"protocol": "MQTT"}
    assert reported["device"]["serviceInfo"]["fota_v2"] == ["APP"]
    assert (reported["hub"]["status"], reported["connection"]["status"]) == ("online", "connected")
    assert ask(cloud, "GET", f"/devices/{hub.name}").json()["firmware"]["supports"] == ["APP"]


async def test_a_cloud_killed_in_the_middle_loses_nothing(cloud: Cloud, hub: NrfHub) -> None:
    loop = asyncio.get_running_loop()
    for number in range(150):
        hub.link.offer_live(hub.state(number))
        await hub.durable(hub.event(number))
        if number == 50:
            await loop.run_in_executor(None, lambda: cloud.stop(kill=True))
        if number == 100:
            await loop.run_in_executor(None, cloud.start)
    await until(lambda: hub.link.connected, 20.0, "the connection")
    await until(lambda: not hub.link.waiting and not sum(hub.store.stats.backlog.values()), 20.0, "nothing waits")
    assert hub.numbers() == set(range(150)) == hub.pressed()


async def test_a_hub_of_nobody_waits_says_how_to_mend_it_and_loses_nothing(
    cloud: Cloud, make: Make, tmp_path: Path
) -> None:
    told = ask(cloud, "POST", "/devices/late-hub/certificates", body=b"code", headers={"Content-Type": "text/plain"})
    files = tmp_path / "late.pem", tmp_path / "late.key"
    files[0].write_text(told.json()["clientCert"])
    files[1].write_text(told.json()["privateKey"])
    files[1].chmod(0o600)
    await asyncio.get_running_loop().run_in_executor(None, jitp, cloud, files)
    hub = make("late-hub", files)
    hub.start()
    await until(lambda: "agent onboard" in hub.link.last_error, what="the remedy")
    assert not hub.link.connected
    hub.link.offer_live(hub.state(1))
    await hub.durable(hub.event(1))
    assert ask(cloud, "PUT", "/association/late-hub", body=b"code").status == 202
    await until(lambda: hub.numbers() == {1} == hub.pressed(), what="what has waited")
    assert hub.link.counters["connects"] == 1, "the pairing came on the same connection"
    assert ask(cloud, "DELETE", "/association/late-hub").status == 202
    await until(lambda: not hub.link.connected and "no account" in hub.link.last_error, what="the account gone")
    hub.link.offer_live(hub.state(2))
    assert ask(cloud, "PUT", "/association/late-hub", body=b"code").status == 202
    await until(lambda: hub.numbers() == {1, 2}, what="the account back")


async def test_a_wish_of_the_account_is_accepted_or_taken_back(cloud: Cloud, hub: NrfHub) -> None:
    def wish(**control: Any) -> None:
        desired = {"desired": {"control": control}}
        assert ask(cloud, "PATCH", f"/devices/{hub.name}/state", json=desired).status == 202

    def control(section: str) -> Any:
        return state(cloud, hub.name)[section].get("control")

    assert control("reported") == {"alertsEn": True, "logLvl": 0}
    wish(alertsEn=False, logLvl=3)
    await until(lambda: control("reported") == {"alertsEn": False, "logLvl": 3}, what="the wish, reported")
    assert (hub.dialect.control.alerts, hub.dialect.control.log_level) == (False, 3)
    wish(logLvl=9)
    await until(lambda: control("desired") == {"alertsEn": False}, what="the wish, taken back")
    assert control("reported") == {"alertsEn": False, "logLvl": 3}
    body = {"status": "ACTIVATED", "nodeId": "n", "eventType": "disconnected", "at": 9.0}
    line = {"time": "2026-11-27T10:00:00.000Z", "level": "info", "logger": "agent", "message": "hello"}
    quiet = {"time": "2026-11-27T10:00:00.000Z", "level": "debug", "logger": "agent", "message": "not this"}
    await hub.durable(hub.message(Kind.LIFECYCLE, body), hub.message(Kind.LOG, {"lines": [quiet, line]}))
    await hub.durable(hub.message(Kind.LOG, {"lines": [quiet]}))
    await until(lambda: [one["msg"] for one in hub.messages("LOG")] == ["hello"], what="the line")
    await until(lambda: not sum(hub.store.stats.backlog.values()), what="an empty outbox, also of what nobody wants")
    assert (len(hub.messages("LIFECYCLE")), hub.messages("ALERT")) == (1, [])
    wish(alertsEn=True)
    await until(lambda: hub.dialect.control.alerts)
    await hub.durable(hub.message(Kind.LIFECYCLE, body))
    await until(lambda: [one["type"] for one in hub.messages("ALERT")] == [100], what="the alert")


async def test_commands_arrive_also_those_of_an_absence(cloud: Cloud, hub: NrfHub) -> None:
    def send(**data: Any) -> None:
        message = {"appId": "DEVICE", "messageType": "CMD", "data": {**COMMAND, **data}}
        sent = {"topic": f"d/{hub.name}/c2d", "message": message}
        assert ask(cloud, "POST", f"/devices/{hub.name}/messages", json=sent).status == 202

    send()
    await until(lambda: hub.requests, what="the command")
    assert isinstance(hub.requests[0], CommandRequest)
    await hub.stop()
    send(traceId="t-2")
    send(action=1)
    hub.start()
    await until(lambda: len(hub.requests) == 3, what="what came before the pairing was told")
    assert hub.requests[1].trace_id == "t-2"
    assert isinstance(hub.requests[2], RejectedCommand)
    for message in ({"appId": "MODEM", "messageType": "CMD", "data": "AT"}, {"appId": 3}):
        assert press(cloud, do="c2d", device=hub.name, message=message) == 202
    await until(lambda: hub.link.counters["malformed"] == 2, what="what is not understood, counted")
    assert hub.link.connected


async def test_a_removed_hub_goes_and_begins_anew_when_it_is_onboarded_again(
    cloud: Cloud, make: Make, tmp_path: Path
) -> None:
    hub = make("gone-1")
    hub.start()
    await until(lambda: hub.link.connected, what="the pairing")
    errors: list[str] = []
    hub.session.leave = lambda error: (errors.append(error.advice), hub.link.leave(error))[0]
    assert ask(cloud, "DELETE", "/devices/gone-1").status == 202
    await until(lambda: errors, what="the word that it is removed")
    assert "removed this device" in errors[0]
    assert "agent onboard nrf-device" in errors[0]
    await until(lambda: not hub.link.connected, what="the end")
    assert hub.session.fresh, "what the broker keeps is not asked for any more"
    onboarded(cloud, tmp_path / "again", "gone-1")
    await hub.stop()
    again = NrfHub(tmp_path / "again", cloud, "gone-1", (tmp_path / "again/gone-1.pem", tmp_path / "again/gone-1.key"))
    again.start()
    await until(lambda: again.link.connected, what="the new pairing")
    assert not again.session.fresh
    await again.stop()
    await again.store.close()
