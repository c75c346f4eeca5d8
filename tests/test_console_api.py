"""Every question that the hub answers on its control socket, asked with the client of the command line and with raw HTTP."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port, until
from console_rig import BULB, BULB_ID, ON, ON_OFF, REMOTE, Daemon, Radio, raw

from agent.clock import SystemClock
from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import Link
from agent.cloud.managed_integrations import ManagedIntegrations
from agent.cloud.mqtt import Endpoint, MqttLost
from agent.control import SOCKET
from agent.driver import NotSupported, UnknownDevice
from agent.errors import HubError, UsageError
from agent.home import RadioRecord
from agent.model import (
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    JoinWindow,
    RadioUp,
    Report,
)
from agent.outbox import Outbox


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with asyncio.TaskGroup() as group:
        made = Daemon(tmp_path, group)
        await made.server.start()
        yield made
        await made.server.stop()
        await made.store.read(lambda db: db.execute("SELECT 1").fetchone())  # what was under way has been carried out
        made.supervisor.cancel_all()
    await made.store.close()
    assert not made.failures


# ---- questions --------------------------------------------------------------------------------------------------------


async def test_status_tells_the_radio_before_and_after_it_is_there(daemon: Daemon) -> None:
    status = await daemon.get("status")
    assert (status["hub"], status["version"], status["devices"]) == ("hub-1", "1.2.3", 0)
    assert status["radios"]["zigbee"]["status"] == "away"
    assert status["radios"]["zigbee"]["reason"] == "starting"
    await daemon.bulb()
    status = await daemon.get("status")
    assert status["radios"]["zigbee"] == {
        "kind": "zigbee",
        "status": "online",
        "reason": "",
        "identity": "00:aa",
        "joinWindow": 0,
        "channel": "15",
    }
    assert (status["devices"], status["openCommands"], status["uplinks"]) == (2, 0, {})
    await until(lambda: daemon.store.stats.commits)
    assert (await daemon.get("status"))["store"]["commits"] > 0


async def test_status_tells_an_uplink_that_is_away_and_what_waits_for_it(daemon: Daemon) -> None:
    port = free_port()
    link = Link(
        "main",
        lambda: Endpoint("127.0.0.1", port, "hub-1", 60, None),
        LinkPolicy(),
        ManagedIntegrations("main", "hub-1"),
        Outbox(daemon.store),
        SystemClock(),
        on_request=daemon.runtime.dispatch,
        on_history_told=lambda: None,
        channel=Channel(f"127.0.0.1:{port}"),
    )
    daemon.runtime.links["main"] = link
    await daemon.bulb()
    with pytest.raises(MqttLost):
        await link.run()
    await until(lambda: sum(daemon.store.stats.backlog.values()) == 6, what="both devices on disk for the cloud")
    uplink = (await daemon.get("status"))["uplinks"]["main"]
    assert (uplink["status"], uplink["inMemory"], uplink["onDisk"]) == ("away", 0, 6)
    assert "cannot connect" in uplink["reason"]


async def test_devices_and_one_device_by_each_of_its_names(daemon: Daemon) -> None:
    assert await daemon.get("devices") == []
    await daemon.bulb()
    daemon.runtime.dispatch(Report(BULB_ID, "1", ON_OFF, {"OnOff": True}))
    bulb, remote = await daemon.get("devices")
    assert (bulb["nodeId"], bulb["model"], bulb["deviceTypes"]) == (BULB.node_id, "bulb ü", ["On/Off Light"])
    assert (bulb["status"], remote["battery"]) == ("ACTIVATED", True)
    for name in (BULB.node_id, BULB.address.upper(), bulb["managedThingId"], str(BULB_ID)):
        whole = await daemon.get(f"devices/{name}")
        assert whole["endpoints"][0]["capabilities"][0]["state"] == {"OnOff": True}
        assert whole["unmapped"] == ["0xfc00"]
        assert whole["radio"] == {}  # this one does not tell


async def test_a_device_shows_the_way_to_it_where_its_radio_knows(daemon: Daemon) -> None:
    class Observant(Radio):
        def figures(self) -> dict[str, dict[str, float]]:
            return {"rssi": {"7": -61}}

        async def details(self, key: str) -> dict[str, Any]:
            if key != BULB_ID.key:
                raise UnknownDevice(key)
            return {"neighbors": [1, 2]}

    daemon.radio = Observant()
    await daemon.bulb()
    assert (await daemon.get(f"devices/{BULB_ID}"))["radio"] == {"neighbors": [1, 2]}
    assert (await daemon.get(f"devices/{REMOTE.id}"))["radio"] == {}
    assert (await daemon.get("status"))["radios"]["zigbee"]["figures"] == {"rssi": {"7": -61}}


@pytest.mark.parametrize("name", ["nobody", "a b", "ü/ö?x=1#y", "..", "%41", "x" * 5000])
async def test_a_device_that_is_not_there_is_named_as_it_was_asked_for(daemon: Daemon, name: str) -> None:
    with pytest.raises(HubError) as caught:
        await daemon.get(f"devices/{name}")
    assert repr(name) in caught.value.message
    assert "agent devices" in caught.value.remedy


# ---- what is no request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/status/x", "/command/x", "/Status", "/devicesx"])
async def test_unknown_paths_are_404(daemon: Daemon, path: str) -> None:
    for method in ("GET", "POST", "BREW"):
        status, _, answer = await raw(daemon.folder, method, path)
        assert status == 404
        assert path in answer["error"]


@pytest.mark.parametrize("path", ["status", "devices", "discover", "command", "remove"])
async def test_wrong_methods_are_405_and_name_the_right_one(daemon: Daemon, path: str) -> None:
    right = "GET" if path in ("status", "devices") else "POST"
    for method in ("GET", "POST", "PUT", "DELETE"):
        if method != right:
            assert (await raw(daemon.folder, method, f"/{path}"))[:2] == (405, right)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("discover", {"duration": 0}, "duration"),
        ("discover", {"duration": 255}, "duration"),
        ("discover", {"duration": "long"}, "duration"),
        ("discover", {"auth": "x" * 513}, "auth"),
        ("discover", {"who": "me"}, "who"),
        ("command", {}, "actions"),
        ("command", {"actions": [ON]}, "device"),
        ("command", {"device": "d", "devices": ["e"], "actions": [ON]}, "either device or devices"),
        ("exclude", {"duration": 901}, "duration"),
        ("routes", {"op": "burn", "device": "d"}, "op"),
        ("routes", {"op": "prefer", "device": "d", "repeaters": ["a"] * 5}, "repeaters"),
        ("command", {"device": "d", "actions": []}, "actions"),
        ("command", {"device": "d", "actions": [ON] * 6}, "actions"),
        ("command", {"device": "d", "actions": [{**ON, "name": 5}]}, "actions.0.name"),
        ("command", {"device": "d", "actions": [ON], "ttl": 0}, "ttl"),
        ("command", {"device": "d", "actions": [ON], "ttl": 86401}, "ttl"),
        ("remove", {}, "device"),
        ("remove", {"device": "d", "force": "perhaps"}, "force"),
        ("remove", {"device": ["d"]}, "device"),
    ],
)
async def test_a_wrong_body_is_400_and_names_its_key(daemon: Daemon, path: str, body: Any, words: str) -> None:
    await daemon.bulb()
    status, _, answer = await raw(daemon.folder, "POST", f"/{path}", body)
    assert status == 400
    assert words in answer["error"]
    with pytest.raises(UsageError, match=words):
        await daemon.ask(path, **body)
    assert not daemon.radio.windows
    assert len(daemon.runtime.hub.devices) == 2


# ---- discover ---------------------------------------------------------------------------------------------------------


async def test_discover_tells_each_step_and_ends_with_the_window(daemon: Daemon) -> None:
    await daemon.plug_in()
    asked = asyncio.ensure_future(daemon.ask("discover", kind="zigbee", duration=30, auth="code"))
    await until(lambda: daemon.radio.windows)
    assert (daemon.radio.windows[0].duration, daemon.radio.windows[0].material) == (30, "code")
    daemon.runtime.dispatch(DeviceFound(BULB))
    daemon.runtime.dispatch(JoinWindow("zigbee", 0))
    lines = await asked
    steps = [(line["what"], line.get("status")) for line in lines if line["what"] in ("discovery", "found")]
    discovery = [("discovery", status) for status in ("RUNNING", "RUNNING", "SUCCEEDED")]
    assert steps == [discovery[0], ("found", None), *discovery[1:]]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["count"] == 1


async def test_a_question_of_a_radio_is_answered_by_whoever_is_there(daemon: Daemon) -> None:
    await daemon.plug_in()
    asked = asyncio.ensure_future(daemon.ask("discover", duration=30, attended=True))
    await until(lambda: daemon.radio.windows)
    assert daemon.radio.windows[0].attended
    daemon.runtime.dispatch(DeviceJoining(BULB_ID, "pin", "the digits of its label", "zw.1+2", 240))
    mistyped = (await daemon.ask("pin", device=str(BULB_ID), pin="bad"))[-1]
    assert (mistyped["error"], mistyped["again"]) == ("no PIN", True)
    late = (await daemon.ask("pin", device="zigbee/", pin="12345"))[-1]
    assert (late["error"], late["again"]) == ("nothing is asked", False)
    assert (await daemon.ask("pin", device=str(BULB_ID), pin="12345"))[-1]["what"] == "answered"
    assert daemon.radio.answers == [(BULB_ID.key, "12345")]
    daemon.runtime.dispatch(JoinWindow("zigbee", 0))
    daemon.runtime.dispatch(DeviceFound(BULB))
    assert [line["what"] for line in await asked][-3:] == ["found", "discovery", "discovery"], (
        "it is told before the end"
    )
    steps = [line for line in await asked if line["what"] == "joining"]
    assert [(step["stage"], step["seconds"]) for step in steps] == [("pin", 240)]


async def test_a_radio_that_asks_nothing_takes_no_answer(daemon: Daemon) -> None:
    await daemon.plug_in()
    daemon.runtime.drivers["coap"] = object()  # type: ignore[assignment]
    status, _, answer = await raw(daemon.folder, "POST", "/pin", {"device": "coap/1", "pin": "12345"})
    assert (status, answer["error"]) == (400, "the radio 'coap' asks for no PIN")
    status, _, answer = await raw(daemon.folder, "POST", "/pin", {"device": "zwave/1", "pin": "12345"})
    assert (status, answer["error"]) == (503, "the radio 'zwave' is away")


async def test_discover_waits_for_a_radio_that_starts(daemon: Daemon) -> None:
    asked = asyncio.ensure_future(daemon.ask("discover"))
    await until(lambda: daemon.runtime.watchers, what="the question")
    await daemon.plug_in()
    await until(lambda: daemon.radio.windows)
    daemon.runtime.dispatch(JoinWindow("zigbee", 0))
    assert (await asked)[-1]["status"] == "TIMED_OUT"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"kind": "zwave"}, "404", "no radio for ZWAVE"),
        ({"radio": "other"}, "404", "no radio"),
        ({"auth": "bad"}, "400", "not an install code"),
    ],
)
async def test_a_discovery_that_cannot_run_says_why(
    daemon: Daemon, body: dict[str, Any], code: str, words: str
) -> None:
    await daemon.plug_in()
    last = (await daemon.ask("discover", **body))[-1]
    assert (last["status"], last["error"]["code"]) == ("FAILED", code)
    assert words in last["error"]["message"]


async def test_the_window_closes_when_the_person_goes(daemon: Daemon) -> None:
    await daemon.plug_in()
    reader, writer = await asyncio.open_unix_connection(daemon.folder / SOCKET)
    writer.write(b"POST /discover HTTP/1.1\r\nhost: hub\r\ncontent-length: 0\r\n\r\n")
    assert b"RUNNING" in await reader.readuntil(b"RUNNING")
    await until(lambda: daemon.radio.windows)
    writer.close()
    await until(lambda: daemon.radio.closed == 1, what="the closed window")
    assert not daemon.runtime.watchers
    assert daemon.runtime.hub.discoveries.active("zigbee") is None


# ---- command ----------------------------------------------------------------------------------------------------------


async def test_a_command_ends_with_its_outcome(daemon: Daemon) -> None:
    await daemon.bulb()
    (outcome,) = await daemon.ask("command", device=BULB.node_id, actions=[ON], ttl=5)
    assert (outcome["succeeded"], outcome["done"]) == (True, True)
    assert [(r["action"], r["code"]) for r in outcome["results"]] == [("On", 200)]
    assert daemon.radio.executed[0].trace_id == outcome["traceId"]


@pytest.mark.parametrize(
    ("device", "action", "code"),
    [
        (BULB.node_id, {**ON, "endpoint": "9"}, 404),
        (BULB.node_id, {**ON, "name": "Explode"}, 400),
        (BULB.node_id, {**ON, "parameters": {"x": 1}}, 400),
    ],
)
async def test_a_command_that_cannot_be_is_a_failed_outcome(
    daemon: Daemon, device: str, action: dict[str, Any], code: int
) -> None:
    await daemon.bulb()
    (outcome,) = await daemon.ask("command", device=device, actions=[action])
    assert (outcome["succeeded"], outcome["code"]) == (False, code)
    assert not daemon.radio.executed


async def test_a_command_waits_for_a_radio_that_is_away_until_its_deadline(daemon: Daemon) -> None:
    daemon.runtime.dispatch(DeviceFound(BULB, known=True))
    (outcome,) = await daemon.ask("command", device=BULB.node_id, actions=[ON], ttl=0.1)
    assert (outcome["succeeded"], outcome["code"]) == (False, 408)


async def test_commands_of_many_clients_get_each_its_own_outcome(daemon: Daemon) -> None:
    await daemon.bulb()
    asked = [daemon.ask("command", device=BULB.node_id, actions=[ON]) for _ in range(20)]
    outcomes = [lines[-1] for lines in await asyncio.gather(*asked)]
    assert len({outcome["traceId"] for outcome in outcomes}) == 20
    assert all(outcome["succeeded"] for outcome in outcomes)
    assert not daemon.runtime.watchers


async def test_a_command_goes_on_when_its_person_goes(daemon: Daemon) -> None:
    await daemon.bulb()
    daemon.radio.answer.clear()
    body = json.dumps({"device": BULB.node_id, "actions": [ON]}).encode()
    _, writer = await asyncio.open_unix_connection(daemon.folder / SOCKET)
    writer.write(b"POST /command HTTP/1.1\r\nhost: hub\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await until(lambda: daemon.radio.executed)
    writer.close()
    await until(lambda: not daemon.runtime.watchers, what="nobody watching")
    assert len(daemon.runtime.hub.commands) == 1
    daemon.radio.answer.set()
    await until(lambda: len(daemon.runtime.hub.commands) == 0, what="the Outcome")


# ---- remove -----------------------------------------------------------------------------------------------------------


async def test_a_removed_device_is_gone(daemon: Daemon) -> None:
    await daemon.bulb()
    (line,) = await daemon.ask("remove", device=BULB.address)
    assert (line["what"], line["nodeId"], line["done"]) == ("removed", BULB.node_id, True)
    assert [d["nodeId"] for d in await daemon.get("devices")] == [REMOTE.node_id]


async def test_a_device_that_does_not_answer_stays_unless_forced(daemon: Daemon) -> None:
    await daemon.bulb()
    daemon.radio.error = "no answer"
    (line,) = await daemon.ask("remove", device=BULB.node_id)
    assert (line["what"], line["error"], line["code"]) == ("remove_failed", "no answer", 504)
    assert len(await daemon.get("devices")) == 2
    (line,) = await daemon.ask("remove", device=BULB.node_id, force=True)
    assert line["what"] == "removed"


@pytest.mark.parametrize(("path", "more"), [("remove", {}), ("command", {"actions": [ON]})])
async def test_what_is_not_there_is_an_error_with_its_remedy_before_any_line(
    daemon: Daemon, path: str, more: dict[str, Any]
) -> None:
    status, _, answer = await raw(daemon.folder, "POST", f"/{path}", {"device": "nobody", **more})
    assert (status, "nobody" in answer["error"]) == (404, True)
    with pytest.raises(HubError, match="no device 'nobody'") as caught:
        await daemon.ask(path, device="nobody", **more)
    assert "agent devices" in caught.value.remedy


# ---- backup and restore -----------------------------------------------------------------------------------------------


async def test_a_backup_has_the_network_of_each_radio_and_a_restore_gives_it_back(daemon: Daemon) -> None:
    with pytest.raises(HubError, match="is away"):
        await daemon.ask("backup")
    await daemon.bulb()
    (line,) = await daemon.ask("backup")
    assert (line["radio"], line["kind"], line["network"]) == ("zigbee", "zigbee", {"network_key": "k"})
    assert await daemon.ask("restore", radio="zigbee", network=line["network"]) == [
        {"what": "restored", "radio": "zigbee", "done": True}
    ]
    assert daemon.radio.restored == [b'{"network_key": "k"}']


async def test_what_the_radio_refuses_is_the_last_line(daemon: Daemon) -> None:
    await daemon.bulb()
    (line,) = await daemon.ask("restore", radio="zigbee", network={})
    assert (line["what"], line["error"]) == ("failed", "not a network backup")
    daemon.radio.error = "no answer"
    (line,) = await daemon.ask("backup")
    assert (line["what"], line["error"]) == ("failed", "no answer")
    with pytest.raises(HubError, match="'other' is away"):
        await daemon.ask("restore", radio="other", network={})


async def test_a_radio_that_cannot_give_its_network_does_not_keep_the_others_from_it(daemon: Daemon) -> None:
    await daemon.bulb()
    radios, refusing = daemon.runtime.hub.radios, Radio()
    refusing.refusal = NotSupported("the stick does not give its memory", remedy="another does")
    daemon.runtime.drivers["old"] = refusing  # type: ignore[assignment]
    known = {**radios, "old": RadioRecord("old", "zwave", ("ZWAVE",))}
    for order in (("old", "zigbee"), ("zigbee", "old")):
        radios.clear()
        radios.update({name: known[name] for name in order})
        lines = await daemon.ask("backup")
        assert [(line["radio"], line["done"]) for line in lines] == [(order[0], False), (order[1], True)]
        told = {line["radio"]: (line["network"], line.get("error"), line.get("remedy")) for line in lines}
        assert told["old"] == (None, "the stick does not give its memory", "another does")
        assert told["zigbee"] == ({"network_key": "k"}, None, None)


async def test_a_hub_without_radios_has_nothing_to_back_up(daemon: Daemon) -> None:
    daemon.runtime.hub.radios.clear()
    with pytest.raises(HubError, match="no radio to back up"):
        await daemon.ask("backup")


# ---- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_tells_of_radios_that_are_back_and_of_devices_that_come_and_go(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await daemon.plug_in(BULB)
    daemon.runtime.dispatch(DeviceFound(BULB))  # interviewed again: no news
    daemon.runtime.dispatch(DeviceFound(REMOTE))
    daemon.runtime.dispatch(DeviceLost(BULB_ID, "left the network"))
    daemon.runtime.radio_lost("zigbee", "unplugged")
    daemon.runtime.sink(RadioUp("zigbee", "00:aa"))
    await until(lambda: len(caplog.messages) >= 5)
    assert sorted(caplog.messages) == [  # what is written is told once it is on disk, the radio at once
        f"device {BULB.node_id} is gone: left the network",
        f"new device {REMOTE.node_id}: ; nobody asked for it, so it is quarantined",
        f"new device {BULB.node_id}: {BULB.model}",
        "radio zigbee is online",
        "radio zigbee is online",
    ]
