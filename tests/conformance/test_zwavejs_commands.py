"""Every command of our tables against @zwave-js/cc: it writes and we read, we write and it reads."""

from typing import Any

import pytest
from conformance.zwavejs_climate import HEATING
from conformance.zwavejs_commands import ACTING, TELLING, Row
from conformance.zwavejs_credentials import USERS
from conformance.zwavejs_firmware import UPDATING
from conformance.zwavejs_locks import CARRYING, LOCKING
from conformance.zwavejs_management import MANAGING
from conformance.zwavejs_rig import ask

from drivers.zwave.codec import COMMAND_CLASSES, CodecError, Command, decode, encode
from drivers.zwave.commands.notification_tables import NOTIFICATIONS
from drivers.zwave.commands.sensor_tables import METER_TYPES, SENSOR_TYPES

pytestmark = pytest.mark.conformance

ROWS: list[Row] = [*ACTING, *TELLING, *HEATING, *LOCKING, *MANAGING, *UPDATING, *CARRYING, *USERS]
# What zwave-js itself gets wrong, or shows in another form.
NOT_WRITTEN = {
    "BatteryCCReport": "writes level 0 whatever the level is",
    "CentralSceneCCSupportedReport": "raises: it has no serializer",
    "ConfigurationCCBulkReport": "raises: it has no serializer",
}
NOT_READ = {
    "ColorSwitchCCSet": "raises on its own bytes",
    "UserCodeCCSet": "shows the code as bytes",
    "UserCodeCCReport": "shows the code as bytes",
}
HEADER = 4  # hexadecimal digits: all that it writes where it has no serializer
VERSION = 20  # of every command class: the newest of all


def test_what_zwavejs_writes_we_read_and_write_alike() -> None:
    answers = ask([{"op": "cc", "class": row[0], "options": row[1], "version": VERSION} for row in ROWS])
    wrong: list[Any] = []
    for (foreign, _, name, values), answer in zip(ROWS, answers, strict=True):
        if foreign in NOT_WRITTEN or (len(answer) == HEADER and values):
            continue  # the other direction proves it
        if isinstance(answer, dict):
            wrong.append((foreign, answer))
            continue
        try:
            read = decode(bytes.fromhex(answer))
        except CodecError as error:
            wrong.append((foreign, answer, error))
            continue
        padding = answer.removeprefix(encode(read).hex())
        if read != Command(name, values) or padding.strip("0"):
            wrong.append((foreign, answer, read))
    assert not wrong, "\n".join(map(str, wrong))


def test_what_we_write_zwavejs_reads() -> None:
    asked = [
        {"op": "parse_cc", "hex": encode(Command(name, values)).hex(), "version": VERSION}
        for _, _, name, values in ROWS
    ]
    wrong = []
    for (foreign, options, name, _), answer in zip(ROWS, ask(asked), strict=True):
        if foreign in NOT_READ or "not implemented" in answer.get("$error", ""):
            continue
        found: dict[str, Any] = {key: answer[key] for key in options if key in answer}
        if answer.get("$class") != foreign or found != {key: options[key] for key in found}:
            wrong.append((name, options, answer))
    assert not wrong, "\n".join(map(str, wrong))


def test_units_and_events_are_those_of_the_registry() -> None:
    registry = ask([{"op": "registry"}])[0]
    for sensor in registry["sensors"]:
        units = SENSOR_TYPES[sensor["key"]][1]
        assert len(units) == len(sensor["units"])
        same = {"Lux": "lx", "Mph": "mph", "bq/m³": "Bq/m³"}
        assert [same.get(unit, unit) for unit in sensor["units"] if unit] == [
            unit for unit, foreign in zip(units, sensor["units"], strict=True) if foreign
        ]
    assert {meter["key"] for meter in registry["meters"]} == set(METER_TYPES)
    for entry in registry["notifications"]:
        ours = NOTIFICATIONS[entry["type"]]
        assert sorted(sorted(states) for states in ours.states.values()) == sorted(sorted(s) for s in entry["states"])
        assert sorted(ours.events) == sorted(entry["events"])
        assert len(ours.never_idle) == entry["never_idle"]
    assert len(registry["notifications"]) == len(NOTIFICATIONS)


def test_no_command_of_a_class_is_missing() -> None:
    missing = []
    for number, command, foreign in ask([{"op": "commands"}])[0]:
        declared = COMMAND_CLASSES.get(number)
        if declared is not None and number != 0 and command not in declared.commands:
            missing.append((foreign, hex(number), hex(command)))
    assert not missing
