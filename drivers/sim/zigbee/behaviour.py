"""What simulated devices do when they are commanded: (cluster, command) -> behaviour. PURE.

A behaviour changes attributes of the node and returns (response command, payload), or None for a default response.
"""

from collections.abc import Callable

from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.zcl import u16

Answer = tuple[int, bytes] | None
Behaviour = Callable[[Node, int, bytes], Answer]

ON_OFF, LEVEL, COLOR, COVERING, THERMOSTAT, LOCK = 0x0006, 0x0008, 0x0300, 0x0102, 0x0201, 0x0101
TRAVEL = 1.0  # seconds a covering moves
TENTH = 0.1


def _on_off(node: Node, endpoint: int, value: bool) -> None:  # noqa: FBT001  On/Off is a truth value
    node.set(endpoint, ON_OFF, 0x0000, value)


def _toggle(node: Node, endpoint: int, _body: bytes) -> None:
    _on_off(node, endpoint, not node.get(endpoint, ON_OFF, 0x0000))


def _timed(node: Node, endpoint: int, body: bytes) -> None:
    on_time = int.from_bytes(body[1:3], "little")
    if body[0] & 1 and not node.get(endpoint, ON_OFF, 0x0000):
        return
    _on_off(node, endpoint, True)
    node.set(endpoint, ON_OFF, 0x4001, on_time)
    node.later(on_time * TENTH, lambda: _on_off(node, endpoint, False))


def _after(node: Node, transition: int, act: Callable[[], None]) -> None:
    """At the end of a transition in tenths of a second; 0xFFFF is the device's own, which is at once."""
    if transition in (0, 0xFFFF):
        act()
    else:
        node.later(transition * TENTH, act)


def _level(node: Node, endpoint: int, level: int, *, with_on_off: bool) -> None:
    node.set(endpoint, LEVEL, 0x0000, max(0, min(254, level)))
    if with_on_off and (endpoint, ON_OFF) in node.tables:
        _on_off(node, endpoint, level > 0)


def _move_to_level(with_on_off: bool) -> Behaviour:  # noqa: FBT001  the two commands differ in this alone
    def behave(node: Node, endpoint: int, body: bytes) -> None:
        level, transition = body[0], int.from_bytes(body[1:3], "little")
        _after(node, transition, lambda: _level(node, endpoint, level, with_on_off=with_on_off))

    return behave


def _move(with_on_off: bool) -> Behaviour:  # noqa: FBT001
    def behave(node: Node, endpoint: int, body: bytes) -> None:
        _level(node, endpoint, 0 if body[0] else 254, with_on_off=with_on_off)

    return behave


def _step(with_on_off: bool) -> Behaviour:  # noqa: FBT001
    def behave(node: Node, endpoint: int, body: bytes) -> None:
        change = -body[1] if body[0] else body[1]
        level = node.get(endpoint, LEVEL, 0x0000) + change
        _after(
            node, int.from_bytes(body[2:4], "little"), lambda: _level(node, endpoint, level, with_on_off=with_on_off)
        )

    return behave


def _nothing(_node: Node, _endpoint: int, _body: bytes) -> None:
    return None


def _colour(places: tuple[tuple[int, int, int], ...], mode: int, transition_at: int) -> Behaviour:
    """`places` are (attribute, offset, octets) in the command."""

    def behave(node: Node, endpoint: int, body: bytes) -> None:
        values = [(attribute, int.from_bytes(body[at : at + size], "little")) for attribute, at, size in places]
        transition = int.from_bytes(body[transition_at : transition_at + 2], "little")

        def arrive() -> None:
            for attribute, value in values:
                node.set(endpoint, COLOR, attribute, value)
            node.set(endpoint, COLOR, 0x0008, mode)
            node.set(endpoint, COLOR, 0x4001, mode)

        _after(node, transition, arrive)

    return behave


def _cover(node: Node, endpoint: int, percent: int) -> None:
    node.later(TRAVEL, lambda: node.set(endpoint, COVERING, 0x0008, percent))


def _setpoint(node: Node, endpoint: int, body: bytes) -> None:
    change = int.from_bytes(body[1:2], "little", signed=True) * 10
    for attribute, modes in ((0x0012, (0, 2)), (0x0011, (1, 2))):
        if body[0] in modes:
            node.set(endpoint, THERMOSTAT, attribute, node.get(endpoint, THERMOSTAT, attribute) + change)


def _lock(state: int, response: int) -> Behaviour:
    def behave(node: Node, endpoint: int, _body: bytes) -> Answer:
        node.set(endpoint, LOCK, 0x0000, state)
        return response, b"\x00"

    return behave


def _unlock_for(node: Node, endpoint: int, body: bytes) -> Answer:
    node.set(endpoint, LOCK, 0x0000, 2)
    node.later(float(int.from_bytes(body[:2], "little")), lambda: node.set(endpoint, LOCK, 0x0000, 1))
    return 0x03, b"\x00"


def _identify(node: Node, endpoint: int, body: bytes) -> None:
    seconds = int.from_bytes(body[:2], "little")
    node.set(endpoint, 0x0003, 0x0000, seconds)
    node.later(float(seconds), lambda: node.set(endpoint, 0x0003, 0x0000, 0))


def _identify_query(node: Node, endpoint: int, _body: bytes) -> Answer:
    left = node.get(endpoint, 0x0003, 0x0000)
    return (0x00, u16(left)) if left else None


def _add_group(node: Node, endpoint: int, body: bytes) -> Answer:
    node.groups.setdefault(endpoint, set()).add(int.from_bytes(body[:2], "little"))
    return 0x00, b"\x00" + body[:2]


def _remove_group(node: Node, endpoint: int, body: bytes) -> Answer:
    group, members = int.from_bytes(body[:2], "little"), node.groups.setdefault(endpoint, set())
    found = group in members
    members.discard(group)
    return 0x03, bytes([0x00 if found else 0x8B]) + body[:2]


def _membership(node: Node, endpoint: int, body: bytes) -> Answer:
    asked = {int.from_bytes(body[i : i + 2], "little") for i in range(1, len(body) - 1, 2)}
    members = node.groups.get(endpoint, set())
    found = sorted(members & asked if asked else members)
    return 0x02, bytes([0xFF, len(found)]) + b"".join(u16(group) for group in found)


def _enrol(node: Node, endpoint: int, body: bytes) -> None:
    if body[0] == 0:
        node.set(endpoint, 0x0500, 0x0000, 1)
        node.set(endpoint, 0x0500, 0x0011, body[1])


COMMANDS: dict[tuple[int, int], Behaviour] = {
    (0x0003, 0x00): _identify,
    (0x0003, 0x01): _identify_query,
    (0x0003, 0x40): _nothing,
    (0x0004, 0x00): _add_group,
    (0x0004, 0x02): _membership,
    (0x0004, 0x03): _remove_group,
    (ON_OFF, 0x00): lambda node, endpoint, _body: _on_off(node, endpoint, False),
    (ON_OFF, 0x01): lambda node, endpoint, _body: _on_off(node, endpoint, True),
    (ON_OFF, 0x02): _toggle,
    (ON_OFF, 0x40): lambda node, endpoint, _body: _on_off(node, endpoint, False),
    (ON_OFF, 0x42): _timed,
    (LEVEL, 0x00): _move_to_level(False),
    (LEVEL, 0x01): _move(False),
    (LEVEL, 0x02): _step(False),
    (LEVEL, 0x03): _nothing,
    (LEVEL, 0x04): _move_to_level(True),
    (LEVEL, 0x05): _move(True),
    (LEVEL, 0x06): _step(True),
    (LEVEL, 0x07): _nothing,
    (COLOR, 0x00): _colour(((0x0000, 0, 1),), 0, 2),
    (COLOR, 0x03): _colour(((0x0001, 0, 1),), 0, 1),
    (COLOR, 0x06): _colour(((0x0000, 0, 1), (0x0001, 1, 1)), 0, 2),
    (COLOR, 0x07): _colour(((0x0003, 0, 2), (0x0004, 2, 2)), 1, 4),
    (COLOR, 0x0A): _colour(((0x0007, 0, 2),), 2, 2),
    (COLOR, 0x47): _nothing,
    (COVERING, 0x00): lambda node, endpoint, _body: _cover(node, endpoint, 0),
    (COVERING, 0x01): lambda node, endpoint, _body: _cover(node, endpoint, 100),
    (COVERING, 0x02): _nothing,
    (COVERING, 0x05): lambda node, endpoint, body: _cover(node, endpoint, body[0]),
    (THERMOSTAT, 0x00): _setpoint,
    (LOCK, 0x00): _lock(1, 0x00),
    (LOCK, 0x01): _lock(2, 0x01),
    (LOCK, 0x03): _unlock_for,
    (0x0500, 0x00): _enrol,
}
