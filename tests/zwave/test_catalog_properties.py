"""The Z-Wave catalogue against any node that says anything."""

import contextlib
from typing import Any

from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from zwave.catalog_rig import LOCK, SETPOINTS, SPECTRUM, alarm, told

from agent import capabilities
from agent.driver import DriverError
from agent.model import Action
from drivers.told import Values
from drivers.zwave.catalog import NodeMap, ZWaveEndpoint, ZWaveNode, learn, learnt, needs, supersedes
from drivers.zwave.catalog_facts import LEARN
from drivers.zwave.catalog_tables import APPLICATIONS, ROWS
from drivers.zwave.catalog_types import Facts
from drivers.zwave.codec import COMMAND_CLASSES, CodecError, Command, decode, encode, layout_of

NUMBERS = {
    f"{entry.name} {declared[0]}": (entry.id, number)
    for entry in COMMAND_CLASSES.values()
    for number, declared in entry.commands.items()
}
HEARD = sorted({report for row in ROWS for report in row.reports})
CLASSES = sorted({*APPLICATIONS, *(row.command_class for row in ROWS)})
GENERIC = [0x00, 0x01, 0x07, 0x08, 0x10, 0x11, 0x12, 0x18, 0x20, 0x21, 0x31, 0x40, 0xA1]


# What fields hold, so that most commands say something; a value that does not fit its field is no command.
LEVELS = st.sampled_from([0, 1, 50, 99, 100, 0xFC, 0xFE, 0xFF])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("current_value", "target_value", "level"), LEVELS | st.integers(0, 255)),
    "state": LEVELS | st.integers(0, 15),
    "mode": st.integers(0, 31) | LEVELS,
    "type": st.integers(0, 0x58) | st.integers(1, 9),
    "event": st.integers(0, 0x18) | st.just(0xFE),
    "parameters": st.binary(max_size=4),
    "status": st.sampled_from([0xFF, 0xFF, 0xFE]),
    "value": st.sampled_from([0, 255, 21.5, -4.25, 2**31 - 1, -(2**31)]) | st.integers(0, 100),
    "previous_value": st.integers(0, 100),
    "scale": st.integers(0, 3),
    "scale_2": st.integers(0, 2),
    "rate_type": st.integers(0, 3),
    "key": st.integers(0, 7),
    "component": st.integers(0, 8),
    "parameter": st.integers(0, 23),
    **dict.fromkeys(
        ("sequence", "scene", "volume", "tone", "locked", "seconds", "timeout_minutes"), st.integers(0, 255)
    ),
}


def read(data: bytes) -> Command | None:
    try:
        found = decode(data)
    except CodecError:
        return None
    return found if isinstance(found, Command) else None


def made_of(name: str, values: dict[str, Any]) -> Command | None:
    try:
        return read(encode(Command(name, values)))
    except CodecError:
        return None


def commands(names: list[str]) -> st.SearchStrategy[Command | None]:
    """One of the commands, of values that are likely or of any bytes, through the wire; None where the bytes are none."""

    def likely(name: str) -> st.SearchStrategy[Command | None]:
        fields = {field: FIELDS.get(field, st.integers(0, 1)) for field in sorted(layout_of(name).names)}
        return st.fixed_dictionaries(fields).map(lambda values: made_of(name, values))

    any_bytes = st.builds(
        lambda name, payload: read(bytes(NUMBERS[name]) + payload), st.sampled_from(names), st.binary(max_size=16)
    )
    return st.sampled_from(names).flatmap(likely) | any_bytes


EVERY_NOTIFICATION = {f"n{kind}": [*range(1, 0x1A)] for kind in range(1, 0x17)}
EVERY_SENSOR = [
    told("Multilevel Sensor Supported Report", types=[*range(1, 0x59)]),
    *(told("Multilevel Sensor Supported Scale Report", type=kind, scales=[0, 1]) for kind in range(1, 0x59)),
]
ANSWERS = (
    SPECTRUM,
    SETPOINTS,
    LOCK,
    [told("Meter Supported Report", reset=True, rate_types=3, type=1, scales=0b1110101)],
    [told("Binary Sensor Supported Report", types=[*range(1, 14)])],
    [told("Alarm Sensor Supported Report", types=[*range(6)])],
    [told("Window Covering Supported Report", parameters=[13, 23])],
    [told("Indicator Supported Report", indicator=0x50, next_indicator=0, properties=[3, 4, 5])],
    alarm(**EVERY_NOTIFICATION),
    EVERY_SENSOR,
)


RICH = learnt([answer for answers in ANSWERS for answer in answers])


@st.composite
def nodes(draw: st.DrawFn) -> NodeMap:
    def one(number: int) -> ZWaveEndpoint:
        some = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 11), min_size=1, max_size=12)
        classes = draw(st.sampled_from([dict.fromkeys(CLASSES, 11), dict.fromkeys(CLASSES, 1), {}])) or draw(some)
        facts = draw(st.sampled_from([RICH, Facts()]))
        for answer in draw(st.lists(commands(sorted(LEARN)), max_size=3)):
            if answer is not None:
                with contextlib.suppress(ValueError):
                    facts = learn(facts, answer)
        assert all(encode(command) for command in needs(classes, facts))
        generic, specific = draw(st.sampled_from(GENERIC)), draw(st.integers(0, 8))
        return ZWaveEndpoint(number, classes, generic, specific, facts=facts)

    endpoints = tuple(one(number) for number in range(draw(st.integers(1, 3))))
    return NodeMap(ZWaveNode(5, endpoints, plus=draw(st.integers(0, 2)), listening=draw(st.booleans())))


@examples()
@given(nodes(), st.data())
def test_any_command_gives_values_that_fit_their_documents_or_nothing(made: NodeMap, data: st.DataObject) -> None:
    places = sorted(made._heard) or [(0, "Basic Set")]
    heard = st.sampled_from(places).flatmap(
        lambda place: st.tuples(st.just(place[0]), commands([place[1]]), st.booleans())
    )
    foreign = st.tuples(st.integers(0, 2), commands(HEARD), st.booleans())
    said = data.draw(st.lists(heard | heard | foreign, min_size=5, max_size=30))
    known = {(found.id, capability.id): capability for found in made.endpoints for capability in found.capabilities}
    for place, command, asked in said:
        if command is None:
            continue
        try:
            found = made.heard(place, command, asked=asked)
        except ValueError:
            continue
        assert len(found) <= 40
        for what in found:
            capability = known[(what.endpoint, what.capability)]
            if isinstance(what, Values):
                capabilities.validate_report(what.capability, what.properties)
                assert what.properties.keys() <= set(capability.properties), (what, capability)
            else:
                capabilities.validate_event(what.capability, what.event, what.fields)
                assert what.event in capability.events, (what, capability)


@examples()
@given(nodes())
def test_any_node_has_a_report_that_fits_its_limits(made: NodeMap) -> None:
    assert len({found.id for found in made.endpoints}) == len(made.endpoints)
    for found in made.endpoints:
        assert found.id.isalnum()
        assert len(found.capabilities) == len({capability.id for capability in found.capabilities}) <= 40
        assert 0 < len(found.device_types) <= 50
    for values in made.constants:
        capabilities.validate_report(values.capability, values.properties)
    gets = made.refresh()
    assert all(encode(get.command) for get in gets)
    assert len({supersedes(get) for get in gets}) == len(gets)
    assert all(poll.get in gets for poll in made.polls)


def parameter(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum", 0), schema.get("maximum", 255))
    return {"boolean": st.booleans(), "string": st.text(max_size=4)}[schema["type"]]


@examples()
@given(nodes(), st.data())
def test_any_action_is_bytes_or_a_refusal(made: NodeMap, data: st.DataObject) -> None:
    offered = [
        (found.id, capability, name)
        for found in made.endpoints
        for capability in found.capabilities
        for name in (*capability.actions, "ReadState", "UpdateState")
    ]
    if not offered:
        return
    place, capability, name = data.draw(st.sampled_from(offered))
    document = capabilities.document(capability.id)
    schemas = {key: body["value"] for key, body in document["properties"].items() if body["mutable"]}
    for action in document["actions"]:
        if action["name"] == name:
            schemas = {key: body["value"] for key, body in action["request"]["parameters"].items()}
    parameters = {} if name == "ReadState" else {key: data.draw(parameter(schema)) for key, schema in schemas.items()}
    if name == "UpdateState" and parameters:
        chosen = data.draw(st.sets(st.sampled_from(sorted(parameters)), min_size=1, max_size=2))
        parameters = {key: parameters[key] for key in chosen}
    try:
        steps = made.translate(Action(place, capability.id, name, parameters))
    except DriverError:
        return
    for step in steps:
        assert len(encode(step.command)) <= 46
        assert supersedes(step) is not None


def test_every_sensor_every_meter_and_every_notification_fits_or_says_nothing() -> None:
    made = NodeMap(ZWaveNode(5, (ZWaveEndpoint(0, dict.fromkeys(CLASSES, 11), facts=RICH),)))
    extremes = (-(2**31), -274, -40, 0, 0.5, 1, 100, 101, 32767, 65535, 2**31 - 1)
    said = [
        Command("Multilevel Sensor Report", {"type": kind, "scale": scale, "value": value})
        for kind in range(256)
        for scale in range(4)
        for value in extremes
    ]
    said += [
        Command(
            "Meter Report",
            {"type": kind, "scale": scale, "rate_type": rate, "value": value, "delta_time": 0, "scale_2": 1},
        )
        for kind in range(7)
        for scale in range(8)
        for rate in range(4)
        for value in extremes
    ]
    said += [
        Command("Notification Report", {"v1_type": 0, "v1_level": 0, "status": 255, "type": kind, "event": event, "parameters": data})
        for kind in range(0x20)
        for event in (*range(0x4E), 0xFE)
        for data in (b"", b"\x00", bytes((event or 1,)), b"\xff", bytes.fromhex("63030201"))
    ]  # fmt: skip
    filled: set[tuple[str, str]] = set()
    for command in said:
        with contextlib.suppress(ValueError):
            for what in made.heard(0, decode(encode(command))):
                if isinstance(what, Values):
                    capabilities.validate_report(what.capability, what.properties)
                    filled |= {(what.capability, name) for name in what.properties}
                else:
                    capabilities.validate_event(what.capability, what.event, what.fields)
    assert len(filled) >= 30
