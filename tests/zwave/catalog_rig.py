"""Nodes for the tests of the catalogue: what their interviews answered, as commands."""

from typing import Any

from agent import capabilities
from agent.model import Action
from drivers.told import Happened, Values
from drivers.zwave.catalog import NodeMap, Step, ZWaveEndpoint, ZWaveNode, ZWaveSet, learnt
from drivers.zwave.codec import Command, decode, encode
from drivers.zwave.layout_values import Scaled


def told(name: str, /, **values: Any) -> Command:
    return Command(name, values)


def sensor(kind: int, *scales: int) -> list[Command]:
    return [
        told("Multilevel Sensor Supported Report", types=[kind]),
        told("Multilevel Sensor Supported Scale Report", type=kind, scales=list(scales)),
    ]


def alarm(**events: list[int]) -> list[Command]:
    """notification_7=[3, 8]: types and their states and events."""
    types = {int(name.removeprefix("n")): found for name, found in events.items()}
    asked = [told("Notification Event Supported Report", type=kind, events=found) for kind, found in types.items()]
    return [told("Notification Supported Report", v1_alarm=False, types=list(types)), *asked]


def endpoint(
    classes: dict[int, int], device: tuple[int, int] = (0, 0), answers: list[Command] | None = None, **more: Any
) -> ZWaveEndpoint:
    # Through the wire, as an interview hears them.
    heard = [decode(encode(answer)) for answer in answers or []]
    return ZWaveEndpoint(
        more.pop("id", 0),
        classes,
        *device,
        facts=learnt([answer for answer in heard if isinstance(answer, Command)]),
        **more,
    )


def node(*endpoints: ZWaveEndpoint, **more: Any) -> NodeMap:
    return NodeMap(ZWaveNode(5, endpoints, **{"plus": 2, **more}))


def one(classes: dict[int, int], device: tuple[int, int] = (0, 0), answers: list[Command] | None = None) -> NodeMap:
    return node(endpoint(classes, device, answers))


def offered(made: NodeMap) -> dict[str, list[str]]:
    """Endpoint -> names of its capabilities."""
    return {
        found.id: [capability.id.removeprefix("matter.").removesuffix("@1.4") for capability in found.capabilities]
        for found in made.endpoints
    }


def heard(made: NodeMap, name: str, place: int = 0, /, **values: Any) -> dict[str, Any]:
    """What a report tells, through the wire: "endpoint.Property" -> value; every value is checked against its document."""
    return properties(made.heard(place, decode(encode(Command(name, values)))))


def properties(said: tuple[Values | Happened, ...]) -> dict[str, Any]:
    found = {}
    for what in said:
        if isinstance(what, Values):
            capabilities.validate_report(what.capability, what.properties)
            found |= {f"{what.endpoint}.{name}": value for name, value in what.properties.items()}
        else:
            capabilities.validate_event(what.capability, what.event, what.fields)
    return found


def events(made: NodeMap, name: str, place: int = 0, /, **values: Any) -> list[tuple[str, dict[str, Any]]]:
    said = made.heard(place, decode(encode(Command(name, values))))
    return [(what.event, what.fields) for what in said if isinstance(what, Happened)]


def act(made: NodeMap, capability: str, name: str, place: str = "0", **parameters: Any) -> tuple[Step, ...]:
    return made.translate(Action(place, f"matter.{capability}@1.4", name, parameters))


def sent(made: NodeMap, capability: str, name: str, place: str = "0", **parameters: Any) -> list[str]:
    """The bytes of the steps, in hexadecimal digits."""
    return [encode(step.command).hex() for step in act(made, capability, name, place, **parameters)]


def written(made: NodeMap, capability: str, place: str = "0", **values: Any) -> dict[str, Any]:
    """What the node reports after an UpdateState, as `proves` says, through the wire both ways."""
    found: dict[str, Any] = {}
    for step in act(made, capability, "UpdateState", place, **values):
        assert isinstance(step, ZWaveSet)
        assert decode(encode(step.command)).name == step.command.name  # type: ignore[union-attr]
        for report in step.proves:
            answer = decode(encode(report))
            assert isinstance(answer, Command)
            assert any(get.answered_by(answer) for get in step.confirm)
            found |= properties(made.heard(step.endpoint, answer))
    return found


def number(value: float, precision: int | None = None, size: int = 0) -> Scaled:
    return Scaled.of(value, precision, size)


BULB = one({0x26: 4, 0x20: 2, 0x86: 3, 0x72: 2}, (0x11, 0x01))
SPECTRUM = [told("Color Switch Supported Report", components=[0, 1, 2, 3, 4])]
SETPOINTS = [
    told("Thermostat Mode Supported Report", modes=[0, 1, 2, 3, 6]),
    told("Thermostat Fan Mode Supported Report", modes=[0, 1, 3]),
    told("Thermostat Setpoint Supported Report", types=[1, 2]),
    told("Thermostat Setpoint Report", type=1, scale=0, value=number(21.5, 1, 2)),
    told("Thermostat Setpoint Report", type=2, scale=1, value=number(75, 0, 1)),
    told(
        "Thermostat Setpoint Capabilities Report",
        type=1, min_scale=0, min_value=number(5), max_scale=0, max_value=number(30),
    ),
    *sensor(1, 0, 1),
]  # fmt: skip
LOCK = [
    told(
        "Door Lock Capabilities Report",
        operation_types=[1, 2], modes=bytes((0x00, 0x01, 0xFF)), outside_handles=1, inside_handles=0,
        latch=False, bolt=True, door=True, auto_relock=True, hold_and_release=False, twist_assist=False, block_to_block=False,
    ),
    told(
        "Door Lock Configuration Report",
        operation_type=1, outside_handles=1, inside_handles=0, timeout_minutes=0xFE, timeout_seconds=0xFE,
        auto_relock_seconds=30, hold_and_release_seconds=0, block_to_block=False, twist_assist=False,
    ),
    told(
        "User Code Capabilities Report",
        admin_code=False, admin_code_deactivation=False, statuses=[0, 1], checksum=False, multiple_report=False,
        multiple_set=False, keypad_modes=[0, 1, 2], characters=[48],
    ),
    *alarm(n6=[1, 2, 5, 6, 7, 9, 11, 16]),
]  # fmt: skip
