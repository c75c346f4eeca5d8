"""Command classes: versions, tails, unknown commands, decimals and units, and any bytes at all."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.zwave.codec import CodecError, Command, Raw, class_bytes, class_list, decode, encode, make, names
from drivers.zwave.commands.climate import setpoint_bits, setpoint_types
from drivers.zwave.commands.management import grouped_commands
from drivers.zwave.commands.notification_tables import NOTIFICATIONS, PARAMETERS, event_name, variable_of
from drivers.zwave.commands.sensor_tables import SENSOR_TYPES, meter_unit, sensor_unit
from drivers.zwave.commands.sensors import KeyAttribute, meter_scale, meter_scales, scene_keys
from drivers.zwave.layout import Context
from drivers.zwave.layout_values import Scaled

VERSION_1 = Context(version=1)


def read(hexadecimal: str) -> Command:
    command = decode(bytes.fromhex(hexadecimal))
    assert isinstance(command, Command)
    return command


def test_fields_of_later_versions_are_absent_or_left_out() -> None:
    assert read("2503ff").values == {"current_value": 255}
    assert read("2503ff0005").values == {"current_value": 255, "target_value": 0, "duration": 5}
    assert make("Binary Switch Set", VERSION_1, target_value=255, duration=5).hex() == "2501ff"
    assert make("Binary Switch Set", Context(version=2), target_value=255, duration=5).hex() == "2501ff05"


def test_bytes_of_versions_that_we_do_not_know_are_kept() -> None:
    command = read("2503ff00050102")
    assert command.tail == b"\1\2"
    assert encode(command).hex() == "2503ff00050102"
    assert read("2503ff00").tail == b"\0", "half a tail counts as none"


def test_unknown_commands_are_raw_and_come_back_as_they_were() -> None:
    for text, raw in (
        ("25aa0102", Raw(0x25, 0xAA, b"\1\2")),
        ("c7010203", Raw(0xC7, 1, b"\2\3")),
        ("f1000405", Raw(0xF100, 4, b"\5")),
        ("25", Raw(0x25, None)),
        ("f100", Raw(0xF100, None)),
    ):
        assert decode(bytes.fromhex(text)) == raw
        assert encode(raw).hex() == text
    assert decode(b"\0") == Command("No Operation")
    assert encode(Command("No Operation")) == b"\0"


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(CodecError, match="empty"):
        decode(b"")
    with pytest.raises(CodecError, match="Multilevel Sensor Report: value"):
        decode(bytes.fromhex("3105012200"))
    with pytest.raises(CodecError, match="no command is called 'Basic Sat'"):
        make("Basic Sat")
    with pytest.raises(CodecError, match="target_value is missing"):
        make("Basic Set")
    with pytest.raises(CodecError, match="no field is called colour"):
        make("Basic Set", target_value=1, colour=2)
    with pytest.raises(CodecError, match="256 does not fit"):
        make("Basic Set", target_value=256)
    with pytest.raises(CodecError, match="does not fit 3 bits"):
        make("Configuration Set", parameter=1, size=9, value=1)
    with pytest.raises(CodecError, match="wrong type"):
        make("Color Switch Set", colors=[3])
    with pytest.raises(CodecError, match="needs duration"):
        make("Multilevel Switch Start Level Change", direction=0, start_level=0, step_size=3)


def test_decimals() -> None:
    assert read("3105012200d7")["value"].value == 21.5
    assert read("310501220028")["value"].value == 4
    assert read("31050122ffd8")["value"].value == -4
    assert Scaled.of(21.5) == Scaled(215, 1)
    assert Scaled.of(-0.125).value == -0.125
    assert Scaled.of(20, precision=1) == Scaled(200, 1)
    assert Scaled(1, 0, 4).least == 4
    assert [Scaled(raw).least for raw in (127, -128, 128, -129, 32768)] == [1, 1, 2, 2, 4]
    for wrong in (float("nan"), float("inf"), 1e12):
        with pytest.raises(CodecError):
            Scaled.of(wrong)
    assert make("Thermostat Setpoint Set", type=1, scale=0, value=21.5).hex() == "430101 2200d7".replace(" ", "")


def test_two_values_share_precision_and_size() -> None:
    wire = make("Meter Report", type=1, rate_type=1, scale=0, value=1000, delta_time=9, previous_value=0.25)
    command = decode(wire)
    assert isinstance(command, Command)
    assert (command["value"].value, command["previous_value"].value) == (1000, 0.25)
    assert command["value"].size == command["previous_value"].size == 4


def test_durations() -> None:
    for raw, duration in ((0, 0), (127, 127), (0x80, 60), (0xFD, 7560), (0xFE, None), (0xFF, "default")):
        assert read(f"2501ff{raw:02x}")["duration"] == duration
    for duration, raw in ((127, 0x7F), (128, 0x81), (7560, 0xFD), (99999, 0xFD), (None, 0xFE), ("default", 0xFF)):
        assert make("Binary Switch Set", target_value=0, duration=duration)[-1] == raw


def test_scales_beyond_the_first_seven() -> None:
    command = read("3202 a1 3a 0064 0000 01")
    assert (command["scale"], meter_scale(dict(command.values))) == (7, 8)
    assert meter_unit(command["type"], 8) == "kvarh"
    supported = read("3204 e1 a5 01 03")
    assert meter_scales(dict(supported.values)) == [0, 2, 5, 7, 8]


def test_units() -> None:
    assert sensor_unit(0x01, 0) == "°C"
    assert sensor_unit(0x01, 3) is None
    assert sensor_unit(0xEE, 0) is None
    assert len({name for name, _ in SENSOR_TYPES.values()}) == len(SENSOR_TYPES)


def test_notifications() -> None:
    motion = read("7105000000ff07080000")
    assert (event_name(motion["type"], motion["event"]), variable_of(7, 8)) == (
        "motion_detection",
        "motion_sensor_status",
    )
    idle = read("7105000000ff07000108")
    assert (idle["event"], idle["parameters"]) == (0, b"\x08")
    assert read("71050000 00ff070880 09")["sequence"] == 9
    assert (
        make("Notification Report", v1_type=0, v1_level=0, status=255, type=7, event=8, parameters=b"", sequence=9)[
            -2:
        ].hex()
        == "8009"
    )
    assert read("71050611").values == {"v1_type": 6, "v1_level": 17}, "an alarm of version 1"
    assert event_name(6, 5) == "keypad_lock_operation"
    assert variable_of(6, 5) is None
    assert event_name(7, 0xFE) is event_name(0xEE, 1) is variable_of(0xEE, 1) is None
    assert PARAMETERS[6, 0x16][1].endswith("tilt_position")
    for kind, entry in NOTIFICATIONS.items():
        numbers = [number for states in entry.states.values() for number in states] + list(entry.events)
        assert len(numbers) == len(set(numbers)), kind
        assert entry.never_idle <= entry.states.keys()


def test_buttons() -> None:
    assert scene_keys(dict(read("5b0203").values))[3] == [
        KeyAttribute.PRESSED,
        KeyAttribute.RELEASED,
        KeyAttribute.HELD_DOWN,
    ]
    assert scene_keys(dict(read("5b02020207 01".replace(" ", "")).values))[2] == [KeyAttribute.PRESSED]
    assert scene_keys(dict(read("5b02 02 03 7f").values))[2] == list(KeyAttribute)


def test_setpoint_bits_skip_missing_types() -> None:
    assert setpoint_types([1, 2, 3, 7]) == [1, 2, 7, 11]
    assert setpoint_bits([1, 2, 7, 11]) == [1, 2, 3, 7]


def test_command_lists_of_a_group() -> None:
    assert grouped_commands(bytes.fromhex("2503f100055a")) == [(0x25, 3), (0xF100, 5)]


def test_lists_of_command_classes() -> None:
    data = bytes.fromhex("5e25f100ef20f101")
    assert class_list(data) == ([0x5E, 0x25, 0xF100], [0x20, 0xF101])
    assert class_bytes([0x5E, 0x25, 0xF100], [0x20, 0xF101]) == data
    assert class_bytes([0x25]) == b"\x25"
    assert class_list(b"\x25\xf1") == ([0x25], [])


def test_names_are_unique() -> None:
    assert len(names()) == len(set(names())) > 330


@given(st.sampled_from(range(256)), st.sampled_from(range(256)), st.binary(max_size=40))
@example(0x8E, 0x01, b"\x01\x02\x00\x05")
@example(0x5B, 0x02, b"\x02\x00")
def test_any_bytes_raise_only_the_typed_error(number: int, command: int, body: bytes) -> None:
    with contextlib.suppress(CodecError):
        decode(bytes((number, command)) + body)


@settings(max_examples=1500)
@given(st.sampled_from(names()), st.binary(max_size=48))
def test_what_was_read_is_written_so_that_it_reads_the_same(name: str, body: bytes) -> None:
    head = header(name)
    try:
        command = decode(
            head[:-1] + bytes((head[-1] | (body[:1] or b"\0")[0] & 7,)) + body if head[0] == 0x55 else head + body
        )
    except CodecError:
        return
    assert isinstance(command, Command)
    assert command.name == name
    assert decode(encode(command)) == command


def header(name: str) -> bytes:
    from drivers.zwave.codec import _BY_NAME  # noqa: PLC0415  the tests alone want numbers

    entry = _BY_NAME[name]
    return bytes((entry.command_class.id, entry.number))
