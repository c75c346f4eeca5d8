"""What is asked of the radios on the control socket: exclusion, replacement, routes, and the same for several devices."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import until
from console_rig import BULB, BULB_ID, ON, REMOTE, Daemon, Radio, in_thread

from agent.command_book import together
from agent.driver import DeviceUnreachable, DriverError, DriverLost, InvalidParameters, NotNow, UnknownDevice
from agent.errors import HubError, UsageError
from agent.home import RadioRecord
from agent.model import Action, Command, DeviceAwake, DeviceFound, DeviceId, DeviceLost, Exclusion
from agent.requests import Deprovision, Execute, ExpectNoMore, RadioWorkEnded, SetNetworkMode

OTHER_ID = DeviceId("zigbee", "00:12:4b:00:00:00:00:03")


class Mesh(Radio):
    """A radio that can do all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[tuple[str, ...], Action]] = []
        self.preferred: list[Any] = []
        self.verdicts: dict[str, DriverError] = {}
        self.lost = False
        self.opened = 0  # exclusion windows
        self.wanted = ["11111-22222"]

    async def exclude(self, duration: int) -> None:
        self.sink(Exclusion("zigbee", "open", seconds=duration))
        self.opened += 1

    async def stop_discovery(self) -> None:
        await super().stop_discovery()
        self.sink(Exclusion("zigbee", "closed"))

    async def expected(self) -> list[str]:
        if self.error:
            raise DeviceUnreachable(self.error)
        return self.wanted

    async def expect_no_more(self, address: str) -> bool:
        if self.error:
            raise DeviceUnreachable(self.error)
        known = address in self.wanted
        self.wanted = [one for one in self.wanted if one != address]
        return known

    async def rebuild_routes(self, key: str, progress: Callable[[str], None], *, wait: float) -> Mapping[str, Any]:
        progress("neighbors")
        if key != BULB_ID.key:
            raise NotNow(f"the device sleeps, also for {wait:g} s")
        return {"neighbors": [1, 2], "destinations": []}

    async def set_priority_route(self, key: str, repeaters: tuple[str, ...] | None, speed: int) -> None:
        if self.error:
            raise DeviceUnreachable(self.error)
        self.preferred.append((key, repeaters, speed))

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        return {}

    async def details(self, key: str) -> Mapping[str, Any]:
        if key != BULB_ID.key:
            raise DeviceUnreachable("it is not known")
        return {"neighbors": [1, 2], "link": {"route": []}}

    def native_commands(self, key: str) -> Mapping[str, Mapping[str, list[str]]]:
        if key != BULB_ID.key:
            raise UnknownDevice("the radio has no such device")
        return {"0": {"Thing Get": ["number"]}}

    async def native(
        self, key: str, endpoint: str, command: str, values: Mapping[str, Any], *, wait: float
    ) -> list[dict[str, Any]]:
        if command != "Thing Get":
            raise InvalidParameters(f"no command is called {command!r}", remedy="list them")
        return [{"command": "Thing Report", "of": [key, endpoint, wait], **values}]

    async def execute_together(
        self, keys: Iterable[str], action: Action, ended: Callable[[str, DriverError | None], None]
    ) -> None:
        self.told.append((tuple(keys), action))
        for key in keys:
            ended(key, self.verdicts.get(key))
            if self.lost:
                raise DriverLost("unplugged")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with asyncio.TaskGroup() as group:
        made = Daemon(tmp_path, group)
        made.radio = Mesh()
        radio = made.runtime.hub.radios["zigbee"]
        radio.excludes_network_wide = radio.replaces = True
        await made.server.start()
        await made.plug_in(BULB, REMOTE, other())
        yield made
        await made.server.stop()
        await made.store.read(lambda db: db.execute("SELECT 1").fetchone())  # what was under way has been carried out
        made.supervisor.cancel_all()
    await made.store.close()
    assert not made.failures


def other() -> Any:
    return type(BULB)(OTHER_ID, "zb.1A62+0003", BULB.endpoints)


def mesh(daemon: Daemon) -> Mesh:
    assert isinstance(daemon.radio, Mesh)
    return daemon.radio


async def test_an_exclusion_is_told_step_by_step_and_ends(daemon: Daemon) -> None:
    asking = asyncio.ensure_future(daemon.ask("exclude", kind="zigbee", duration=60))
    await until(lambda: mesh(daemon).opened)
    mesh(daemon).sink(Exclusion("zigbee", "found"))
    mesh(daemon).sink(Exclusion("zigbee", "left", device=OTHER_ID))
    mesh(daemon).sink(Exclusion("zigbee", "closed"))
    lines = await asking
    assert [line["stage"] for line in lines] == ["open", "found", "left", "ended"]
    assert lines[2]["device"] == str(OTHER_ID)
    assert (lines[-1]["own"], lines[-1]["foreign"], lines[-1]["done"]) == (1, 0, True)


async def test_the_cloud_hears_of_its_network_mode_and_its_end(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    link = SimpleNamespace(name="main", set_status=said.append, offer=print, offer_live=print)
    monkeypatch.setitem(daemon.runtime.links, "main", link)
    daemon.runtime.dispatch(SetNetworkMode("NETWORK_WIDE_EXCLUSION"))
    await until(lambda: mesh(daemon).opened)
    mesh(daemon).sink(Exclusion("zigbee", "left"))
    await mesh(daemon).stop_discovery()
    told = [(one["networkMode"], one.get("excluded")) for one in said]
    assert told == [
        ("NETWORK_WIDE_EXCLUSION", {"own": 0, "foreign": 0}),
        ("NETWORK_WIDE_EXCLUSION", {"own": 0, "foreign": 1}),
        ("STANDARD", {"own": 0, "foreign": 1}),
    ]
    daemon.runtime.drivers["zigbee"] = Radio()
    daemon.runtime.dispatch(SetNetworkMode("NETWORK_WIDE_EXCLUSION"))
    await until(lambda: said[-1]["networkMode"] == "STANDARD" and said[-1].get("error"))
    assert said[-1]["error"] == {"code": "501", "message": "this radio cannot exclude devices of other networks"}


async def test_who_goes_away_lets_the_window_go(daemon: Daemon) -> None:
    lines = daemon.client.stream("exclude", {"duration": 60})
    assert (await in_thread(next, lines))["stage"] == "open"
    lines.close()
    await until(lambda: mesh(daemon).closed)
    assert daemon.runtime.hub.exclusions.next_deadline() is None


async def test_a_radio_without_exclusion_says_so(daemon: Daemon) -> None:
    daemon.runtime.hub.radios["zigbee"].excludes_network_wide = False
    (line,) = await daemon.ask("exclude")
    assert line["error"] == {"code": "501", "message": "no radio of this hub knows network-wide exclusion"}


async def test_a_new_device_takes_the_place_of_another(daemon: Daemon) -> None:
    thing = daemon.runtime.hub.devices[OTHER_ID].managed_thing_id
    asking = asyncio.ensure_future(daemon.ask("discover", replaces="zb.1A62+0003", auth="34028", duration=60))
    await until(lambda: mesh(daemon).windows)
    window = mesh(daemon).windows[0]
    assert (window.replaces, window.material, window.duration) == (OTHER_ID.key, "34028", 60)
    mesh(daemon).sink(DeviceLost(OTHER_ID, "another device took its place"))
    new = type(BULB)(OTHER_ID, "zb.1A62+0003", BULB.endpoints, address="new")
    mesh(daemon).sink(DeviceFound(new))
    await mesh(daemon).stop_discovery()
    lines = await asking
    steps = [line["what"] for line in lines if line["what"] == "removed" or line.get("address") == "new"]
    assert steps == ["removed", "found"]
    assert lines[-1]["status"] == "SUCCEEDED"
    assert daemon.runtime.hub.devices[OTHER_ID].managed_thing_id not in ("", thing), "it is another thing"


async def test_what_cannot_be_replaced_is_said(daemon: Daemon) -> None:
    (line,) = [line for line in await daemon.ask("discover", replaces="nobody") if line["done"]]
    assert line["error"]["code"] == "404"
    daemon.runtime.hub.radios["zigbee"].replaces = False
    (line,) = [line for line in await daemon.ask("discover", replaces=str(OTHER_ID)) if line["done"]]
    assert line["error"]["code"] == "501"


async def test_routes_are_shown_rebuilt_and_preferred(daemon: Daemon) -> None:
    shown = {one["device"]: one for one in await daemon.get("routes")}
    assert shown[str(BULB_ID)]["neighbors"] == [1, 2]
    assert shown[str(OTHER_ID)]["error"] == "it is not known"
    rebuilt = await daemon.ask("routes", op="rebuild", device=str(BULB_ID))
    assert [line["what"] for line in rebuilt] == ["step", "rebuilt"]
    assert rebuilt[-1]["neighbors"] == [1, 2]
    (_, failed) = await daemon.ask("routes", op="rebuild", device=str(OTHER_ID), wait=2)
    assert failed["error"] == "the device sleeps, also for 2 s"
    via = {"device": str(OTHER_ID), "repeaters": [BULB.node_id], "speed": 40_000}
    assert (await daemon.ask("routes", op="prefer", **via))[-1]["what"] == "preferred"
    await daemon.ask("routes", op="auto", device=str(OTHER_ID))
    assert mesh(daemon).preferred == [(OTHER_ID.key, (BULB_ID.key,), 40_000), (OTHER_ID.key, None, 100_000)]
    daemon.radio.error = "no such way"
    assert (await daemon.ask("routes", op="auto", device=str(OTHER_ID)))[-1]["error"] == "no such way"
    with pytest.raises(HubError, match="no device"):
        await daemon.ask("routes", op="auto", device="nobody")


async def test_a_device_is_told_commands_of_its_own_protocol(daemon: Daemon) -> None:
    assert await daemon.get(f"native/{BULB_ID}") == {"0": {"Thing Get": ["number"]}}
    with pytest.raises(HubError, match="no such device"):
        await daemon.get(f"native/{OTHER_ID}")
    body = {"device": str(BULB_ID), "values": {"number": 3}, "wait": 2}
    (told,) = await daemon.ask("native", command="Thing Get", endpoint="1", **body)
    assert told["reports"] == [{"command": "Thing Report", "of": [BULB_ID.key, "1", 2], "number": 3}]
    (failed,) = await daemon.ask("native", command="Warp", **body)
    assert (failed["error"], failed["remedy"]) == ("no command is called 'Warp'", "list them")
    daemon.runtime.drivers["zigbee"] = Radio()
    with pytest.raises(UsageError, match="no native commands"):
        await daemon.ask("native", command="Thing Get", **body)


async def test_devices_that_are_expected_are_shown_and_forgotten(daemon: Daemon) -> None:
    assert await daemon.get("expected") == [{"radio": "zigbee", "address": "11111-22222"}]
    daemon.radio.error = "it is silent"
    with pytest.raises(HubError, match="silent"):
        await daemon.get("expected")
    (failed,) = await daemon.ask("forget", address="11111-22222")
    assert failed["error"] == "it is silent"
    daemon.radio.error = ""
    (done,) = await daemon.ask("forget", address="11111-22222")
    assert (done["what"], done["radios"]) == ("forgotten", ["zigbee"])
    (failed,) = await daemon.ask("forget", address="11111-22222")
    assert failed["error"] == "no radio expects this device"


@pytest.mark.parametrize("error", ["", "it is silent", "the radio zigbee is away"])
async def test_a_deletion_reaches_the_radios_list_or_fails(daemon: Daemon, error: str) -> None:
    hub = daemon.runtime.hub
    hub.radios["zigbee"].expects, hub.expected["11111-22222"] = True, "thing-9"
    hub.radios["zigbee"].kinds = ("ZIGBEE", "ZWAVE")
    hub.radios["other"] = RadioRecord("other", "zigbee", ("ZIGBEE",), expects=True)  # away, and none that has DSKs
    if "away" in error:
        daemon.runtime.drivers.clear()
    daemon.radio.error = error
    ended: list[RadioWorkEnded] = []
    hub._handlers[RadioWorkEnded] = lambda event, _now: ended.append(event) or []  # type: ignore[func-returns-value]
    daemon.runtime.dispatch(Deprovision("thing-9", False, "main"))
    await until(lambda: [one for one in ended if isinstance(one.effect, ExpectNoMore)])
    (end,) = (one for one in ended if isinstance(one.effect, ExpectNoMore))
    assert end.error == error
    assert bool(mesh(daemon).wanted) is bool(error)


async def test_a_radio_without_a_mesh_has_no_routes(daemon: Daemon) -> None:
    daemon.runtime.drivers["zigbee"] = Radio()
    assert await daemon.get("routes") == []
    with pytest.raises(UsageError, match="by itself"):
        await daemon.ask("routes", op="auto", device=str(BULB_ID))


async def test_several_devices_are_told_at_once_and_each_has_its_outcome(daemon: Daemon) -> None:
    mesh(daemon).verdicts = {OTHER_ID.key: DeviceUnreachable("it is away")}
    devices = [str(BULB_ID), str(OTHER_ID)]
    lines = await daemon.ask("command", devices=devices, actions=[ON])
    assert [(line["device"], line["succeeded"], line["done"]) for line in lines] == [
        (str(BULB_ID), True, False),
        (str(OTHER_ID), False, True),
    ]
    assert lines[1]["results"][0]["error"] == "it is away"
    assert [keys for keys, _ in mesh(daemon).told] == [(BULB_ID.key, OTHER_ID.key)]
    assert not daemon.radio.executed


async def test_one_that_sleeps_is_told_alone_when_it_wakes_up(daemon: Daemon) -> None:
    mesh(daemon).verdicts = {OTHER_ID.key: NotNow("it sleeps")}
    asking = asyncio.ensure_future(daemon.ask("command", devices=[str(BULB_ID), str(OTHER_ID)], actions=[ON]))
    await until(lambda: mesh(daemon).told and daemon.runtime.hub.next_deadline())
    mesh(daemon).sink(DeviceAwake(OTHER_ID))
    assert all(line["succeeded"] for line in await asking)
    assert [command.device for command in daemon.radio.executed] == [OTHER_ID]


async def test_a_radio_that_goes_meanwhile_parks_what_was_not_done(daemon: Daemon) -> None:
    mesh(daemon).lost = True
    asking = asyncio.ensure_future(daemon.ask("command", devices=[str(BULB_ID), str(OTHER_ID)], actions=[ON], ttl=0.3))
    lines = await asking
    assert [line["succeeded"] for line in lines] == [True, False]
    assert lines[1]["code"] == 408


@pytest.mark.parametrize("why", ["reads", "other radio"])
async def test_what_cannot_be_told_at_once_is_told_one_by_one(daemon: Daemon, why: str) -> None:
    action = {**ON, "name": "ReadState", "parameters": {"propertiesToRead": ["*"]}} if why == "reads" else ON
    if why == "other radio":
        daemon.runtime.drivers["zigbee"] = plain = Radio()
    else:
        plain = daemon.radio
    lines = await daemon.ask("command", devices=[str(BULB_ID), str(OTHER_ID)], actions=[action])
    assert all(line["succeeded"] for line in lines)
    assert {command.device for command in plain.executed} == {BULB_ID, OTHER_ID}
    assert not mesh(daemon).told


def test_a_single_command_starts_as_one() -> None:
    one = Execute(Command("t", BULB_ID, (Action("1", "matter.OnOff@1.4", "On"),), 0.0))
    assert together([one]) == [one]
