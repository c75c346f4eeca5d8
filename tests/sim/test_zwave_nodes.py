"""Simulated nodes: what they answer and report, security, supervision, sleep, endpoints, and what survives a power cut."""

import binascii
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim.zwave_bench import Bench

from drivers.sim.requests import ControlError
from drivers.sim.zwave import persistence
from drivers.sim.zwave.behave_firmware import CRC_START
from drivers.sim.zwave.behaviour import BEHAVIOURS
from drivers.sim.zwave.profiles import PROFILES
from drivers.zwave.codec import Command, decode, encode, layout_of, make
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.encapsulation import Layers, crc_encapsulate, wrap
from drivers.zwave.security.ckdf import network_keys
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.security.s2 import Opened, Security2
from drivers.zwave.transport_service import Sender

KEY = bytes(range(16))


def reports(bench: Bench) -> list[Command]:
    """What nodes have said."""
    heard = [values["payload"] for function, values in bench.heard if function.endswith("ApplicationCommand")]
    return [command for payload in heard if isinstance(command := decode(payload), Command)]


class TestProfiles:
    @pytest.mark.parametrize("name", PROFILES)
    def test_it_tells_the_versions_of_its_classes(self, name: str) -> None:
        bench = Bench(name)
        node = bench.node(name)
        for number, version in node.root.classes.items():
            (told,) = bench.send(2, make("Version Command Class Get", command_class=number))
            assert isinstance(told, Command)
            assert told["version"] == version

    @pytest.mark.parametrize("name", PROFILES)
    def test_every_get_without_arguments_is_answered(self, name: str) -> None:
        bench = Bench(name)
        node = bench.node(name)
        asked = 0
        for behaviour in (one for one in BEHAVIOURS if one.endswith(" Get") and not layout_of(one).names):
            number = Command(behaviour).command_class
            if (
                number in node.root.classes
                and node.allowed(number, None)
                and (number != 0x20 or "battery" not in node.root.values)
            ):
                assert isinstance(bench.send(2, make(behaviour), 0.5)[0], Command), behaviour
                asked += 1
        assert asked > 3

    @pytest.mark.parametrize("name", PROFILES)
    def test_its_state_is_json(self, name: str) -> None:
        bench = Bench(name)
        assert json.loads(json.dumps(persistence.pack(bench.stick)))["nodes"][0]["profile"] == name


class TestControl:
    def test_a_switch_switches_and_reports(self) -> None:
        bench = Bench("switch")
        bench.send(2, make("Binary Switch Set", target_value=0xFF))
        assert reports(bench) == [
            Command("Binary Switch Report", {"current_value": 255, "target_value": 255, "duration": 0})
        ]

    def test_a_dimmer_takes_its_time(self) -> None:
        bench = Bench("dimmer")
        bench.send(2, make("Multilevel Switch Set", target_value=50, duration=10))
        bench.run(4.9)
        level = bench.get(2, "Multilevel Switch Get")
        assert (level["current_value"], level["target_value"], level["duration"]) == (25, 50, 5)
        bench.run(10.0)
        assert reports(bench)[-1]["current_value"] == 50

    def test_values_that_do_not_exist_change_nothing(self) -> None:
        bench = Bench("dimmer", "thermostat")
        bench.send(2, make("Multilevel Switch Set", target_value=120, duration=0))
        assert bench.node("dimmer").root.values["level"] == 0
        bench.send(3, make("Thermostat Setpoint Set", type=1, scale=0, value=55))
        assert bench.node("thermostat").root.values["setpoint/1"] == 21.0

    def test_commands_under_supervision_are_confirmed_once(self) -> None:
        bench = Bench("cover")
        data = wrap(make("Multilevel Switch Set", target_value=99, duration=2), Layers(session=5, status_updates=True))
        (working,) = bench.send(2, data)
        assert isinstance(working, Command)
        assert (working["status"], working["more_updates"], working["session"]) == (SupervisionStatus.WORKING, True, 5)
        bench.run(3.0)
        assert reports(bench)[-1]["status"] is SupervisionStatus.SUCCESS
        before = bench.node("cover").root.values["level"]
        (again,) = bench.send(2, wrap(make("Multilevel Switch Set", target_value=0, duration=0), Layers(session=5)))
        assert isinstance(again, Command)
        assert bench.node("cover").root.values["level"] == before

    def test_a_refusal_is_said_under_supervision(self) -> None:
        bench = Bench("switch")
        bench.do("fail", device="switch")
        (told,) = bench.send(2, wrap(make("Binary Switch Set", target_value=0), Layers(session=1)))
        assert isinstance(told, Command)
        assert told["status"] is SupervisionStatus.FAIL
        (none,) = bench.send(2, wrap(make("Door Lock Operation Set", mode=0), Layers(session=2)))
        assert isinstance(none, Command)
        assert none["status"] is SupervisionStatus.NO_SUPPORT

    def test_endpoints_have_their_own_state(self) -> None:
        bench = Bench("power-strip")
        bench.send(2, wrap(make("Binary Switch Set", target_value=255), Layers(destinations=(2,))))
        assert [place.values.get("switch") for place in bench.node("power-strip").places] == [None, 0, 255, 0]
        bench.send(2, wrap(make("Binary Switch Set", target_value=255), Layers(destinations=(1, 3))))
        assert [place.values.get("switch") for place in bench.node("power-strip").places] == [None, 255, 255, 255]
        (answer,) = bench.send(2, wrap(make("Binary Switch Get"), Layers(destinations=(2,))))
        assert isinstance(answer, Command)
        assert (answer["source"], answer["destination"]) == (2, 0)

    def test_crc_16_is_answered_with_crc_16(self) -> None:
        bench = Bench("switch")
        (answer,) = bench.send(2, crc_encapsulate(make("Binary Switch Get")))
        assert isinstance(answer, Command)
        assert answer.name == "CRC-16 Encapsulation"

    def test_a_long_command_comes_in_segments(self) -> None:
        bench = Bench("protected-switch")
        text = make("Node Naming Name Set", text="x" * 60)
        for effect in Sender(2, text, 3, 46).start(0.0):
            bench.send(2, getattr(effect, "data", b""))
        assert bench.node("protected-switch").root.values["name"] == "x" * 60

    @given(st.lists(st.binary(min_size=1, max_size=60), max_size=15))
    def test_any_bytes_are_survived(self, frames: list[bytes]) -> None:
        bench = Bench("lock", "power-strip", "thermostat")
        for frame in frames:
            for node in (2, 3, 4):
                bench.send(node, frame, 0.5)
        bench.run(60.0)
        assert bench.get(3, "Version Get").name == "Version Report"

    @pytest.mark.parametrize(
        ("device", "name", "value", "report"),
        [
            ("multisensor", "temperature", -3.5, "Multilevel Sensor Report"),
            ("plug", "power", 99.9, "Meter Report"),
            ("door-sensor", "open", True, "Notification Report"),
            ("smoke-alarm", "smoke", True, "Notification Report"),
            ("thermostat", "battery", 5, "Battery Report"),
            ("thermostat", "mode", 2, "Thermostat Mode Report"),
            ("dimmer", "level", 40, "Multilevel Switch Report"),
        ],
    )
    def test_what_is_set_by_hand_is_reported(self, device: str, name: str, value: Any, report: str) -> None:
        bench = Bench(device)
        bench.do("set", device=device, name=name, value=value)
        bench.run(0.1)
        assert [command.name for command in reports(bench)] == [report]

    def test_a_press_is_a_scene(self) -> None:
        bench = Bench("remote")
        bench.do("press", device="remote", button=2, kind="long")
        bench.run(2.0)
        assert [(command["scene"], int(command["key"])) for command in reports(bench)] == [(2, 2), (2, 1)]

    @pytest.mark.parametrize(
        "request_",
        [
            {"op": "dance"},
            {"op": "set", "device": "nobody", "name": "level", "value": 1},
            {"op": "set", "device": "dimmer", "name": "smoke", "value": True},
            {"op": "set", "device": "dimmer", "name": "level", "value": "high"},
            {"op": "set", "device": "dimmer", "name": "level"},
            {"op": "press", "device": "dimmer", "button": 9},
            {"op": "load", "rate": 0, "count": 1},
        ],
    )
    def test_what_cannot_be_done_is_said(self, request_: dict[str, Any]) -> None:
        bench = Bench("dimmer")
        with pytest.raises(ControlError):
            bench.do(**request_)


class TestSecurity:
    def secured(self) -> tuple[Bench, Security2]:
        """A lock with its key, and the controller's end."""
        bench = Bench("lock")
        node = bench.node("lock")
        node.guard.restore({"S2_ACCESS_CONTROL": KEY.hex()})
        ours = Security2(1, bench.network.home_id, bench.network.rng.randbytes)
        ours.add_key(SecurityClass.S2_ACCESS_CONTROL, KEY)
        ours.grant(2, [SecurityClass.S2_ACCESS_CONTROL])
        (report,) = bench.send(2, ours.nonce_get(2), 0.5)
        ours.receive_nonce_report(2, encode(report))
        return bench, ours

    def test_a_plain_command_to_a_secure_class_has_no_answer(self) -> None:
        bench, _ = self.secured()
        before = len(reports(bench))
        for name in ("Door Lock Operation Get", "Battery Get", "Version Get", "Association Groupings Get", "Basic Get"):
            assert not bench.send(2, make(name))
        assert len(reports(bench)) == before
        assert bench.node("lock").refused == 5

    def test_an_encapsulated_one_has(self) -> None:
        bench, ours = self.secured()
        (answer,) = bench.send(2, ours.seal(2, make("Door Lock Operation Get"), bench.now), 0.5)
        opened = ours.open(2, encode(answer), bench.now)
        assert isinstance(opened, Opened)
        assert decode(opened.payload).name == "Door Lock Operation Report"  # type: ignore[union-attr]

    def test_a_replayed_message_does_nothing(self) -> None:
        bench, ours = self.secured()
        sealed = ours.seal(2, make("Door Lock Operation Set", mode=0), bench.now)
        bench.send(2, sealed, 0.5)
        bench.node("lock").root.values["lock"] = 0xFF
        assert not bench.send(2, sealed, 0.5)
        assert bench.node("lock").root.values["lock"] == 0xFF

    def test_a_wrong_key_is_answered_by_a_resynchronisation(self) -> None:
        bench, ours = self.secured()
        ours.keys[SecurityClass.S2_ACCESS_CONTROL] = network_keys(bytes(16))
        (answer,) = bench.send(2, ours.seal(2, make("Door Lock Operation Set", mode=0), bench.now), 0.5)
        assert isinstance(answer, Command)
        assert (answer.name, answer["sos"]) == ("Security 2 Nonce Report", True)
        assert bench.node("lock").root.values["lock"] == 0xFF

    def test_before_it_is_secured_a_lock_is_no_lock(self) -> None:
        bench = Bench("lock")
        assert not bench.send(2, make("Door Lock Operation Get"), 0.5)
        assert not bench.send(2, make("Basic Set", target_value=0), 0.5)
        assert 0x62 not in bench.node("lock").information()


class TestSleep:
    def test_a_node_wakes_by_its_interval_and_sleeps_when_it_is_told(self) -> None:
        bench = Bench("thermostat")
        bench.send(2, make("Wake Up Interval Set", seconds=60, node=1))
        bench.run(59.0)
        assert not bench.node("thermostat").awake(bench.now)
        bench.run(2.0)
        assert reports(bench)[-1].name == "Wake Up Notification"
        assert bench.node("thermostat").awake(bench.now)
        bench.send(2, make("Wake Up No More Information"))
        assert not bench.node("thermostat").awake(bench.now)

    def test_an_interval_that_it_cannot_keep_is_refused(self) -> None:
        bench = Bench("thermostat")
        bench.send(2, make("Wake Up Interval Set", seconds=61, node=1))
        assert bench.node("thermostat").wake_interval == 300


class TestFirmware:
    def test_an_image_with_a_wrong_checksum_is_not_run(self) -> None:
        bench = Bench("switch")
        before = bench.node("switch").firmware
        image = bytes(100)
        values = {"manufacturer": 0, "firmware": 1, "checksum": 0xBEEF, "target": 0, "fragment_size": 40}
        bench.send(2, make("Firmware Update Meta Data Request Get", **values))
        for number in (1, 2, 3):
            part = image[(number - 1) * 40 : number * 40]
            head = make("Firmware Update Meta Data Report", last=number == 3, number=number, data=part)
            bench.send(2, head + binascii.crc_hqx(head, CRC_START).to_bytes(2, "big"))
        status = [command for command in reports(bench) if command.name.endswith("Status Report")]
        assert [command["status"] for command in status] == [0]
        assert bench.node("switch").firmware == before


def test_what_happened_survives_a_power_cut() -> None:
    bench = Bench("dimmer", "lock")
    bench.do("set", device="dimmer", name="level", value=30)
    bench.node("lock").guard.restore({"S2_ACCESS_CONTROL": KEY.hex()})
    saved = json.loads(json.dumps(persistence.pack(bench.stick)))
    again = Bench("dimmer", "lock", joined=False)
    persistence.unpack(again.stick, saved, again.now)
    assert again.ask("GetInitData")[0]["nodes"] == [1, 2, 3]
    assert again.node("dimmer").root.values["level"] == 30
    assert again.node("lock").guard.highest is SecurityClass.S2_ACCESS_CONTROL
    assert again.node("dimmer").groups(0) == {1: [[1, -1]]}


def test_a_load_leaves_at_its_rate() -> None:
    bench = Bench("multisensor", "thermostat")
    bench.do("load", rate=100, count=20, first=10.0)
    bench.run(1.0)
    values = [command["value"].value for command in reports(bench)]
    assert values[:4] == [10.0, 10.0, 10.1, 10.1]
    assert len(bench.do("sent")["times"]) == 20
