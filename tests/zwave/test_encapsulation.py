"""The order of layers, answers to endpoints, checksums, supervision sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.codec import Command, Raw, decode, make
from drivers.zwave.encapsulation import EncapsulationError, Layers, crc16, overhead, unwrap, wrap
from drivers.zwave.supervision import REPORT_TIMEOUT, SESSIONS, Answered, Asked, NoSessionError, Outcome

SET = make("Basic Set", target_value=99)
ENDPOINTS = st.one_of(
    st.tuples(st.integers(0, 127)),
    st.lists(st.integers(1, 7), min_size=2, unique=True).map(lambda found: tuple(sorted(found))),
)
LAYERS = st.builds(
    Layers,
    source=st.integers(0, 127),
    destinations=ENDPOINTS,
    session=st.one_of(st.none(), st.integers(0, 63)),
    crc16=st.booleans(),
)


@given(LAYERS, st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_layers_come_back(layers: Layers, values: list[int]) -> None:
    commands = [make("Basic Set", target_value=value) for value in values]
    found = unwrap(wrap(commands if len(commands) > 1 else commands[0], layers))
    assert found.layers == layers
    assert found.commands == tuple(decode(command) for command in commands)


def test_an_answer_goes_back_where_the_question_came_from() -> None:
    assert Layers(source=0, destinations=(3,), session=4, crc16=True).answer() == Layers(3, (0,), crc16=True)
    assert Layers(source=2, destinations=(1, 3)).answer() == Layers(0, (2,))
    assert Layers(2, (2,), instance_form=True, session=1).answer() == Layers(2, (2,), instance_form=True)
    assert Layers().answer() == Layers()


def test_a_command_of_nobody_we_know_is_kept() -> None:
    assert unwrap(bytes.fromhex("600d0001c701")).commands == (Raw(0xC7, 1),)


@pytest.mark.parametrize(
    "data",
    [
        wrap(wrap(SET, Layers(crc16=True)), Layers(destinations=(1,))),
        wrap(wrap(SET, Layers(crc16=True)), Layers(crc16=True)),
        wrap(wrap(SET, Layers(destinations=(1,))), Layers(destinations=(1,))),
        wrap(wrap(SET, Layers(destinations=(1,))), Layers(session=1)),
        wrap(wrap(SET, Layers(session=1)), Layers(session=1)),
        wrap([wrap(SET, Layers(session=1)), SET], Layers()),
        wrap([SET] * 33, Layers()),
        wrap(SET, Layers(crc16=True))[:-1] + b"\0",
        wrap(b"", Layers(session=1)),
        b"",
        wrap([b"", SET], Layers()),
    ],
)
def test_wrong_orders_and_checksums_are_refused(data: bytes) -> None:
    with pytest.raises(EncapsulationError):
        unwrap(data)


def test_crc_16_is_not_allowed_inside_security() -> None:
    with pytest.raises(EncapsulationError):
        unwrap(wrap(SET, Layers(crc16=True)), secured=True)
    assert unwrap(wrap(SET, Layers(destinations=(1,))), secured=True).layers.destinations == (1,)


def test_what_cannot_be_said() -> None:
    for layers in (
        Layers(destinations=(1, 8)),
        Layers(destinations=()),
        Layers(destinations=(128,)),
        Layers(destinations=(1, 2), instance_form=True),
        Layers(session=64),
    ):
        with pytest.raises(EncapsulationError):
            wrap(SET, layers)


def test_the_overhead_is_known_before() -> None:
    layers = Layers(destinations=(1,), session=1, crc16=True)
    assert overhead(layers) == len(wrap(SET, layers)) - len(SET) == 12


def test_the_checksum_of_the_specification() -> None:
    """SDS13783: Basic Get in CRC-16 encapsulation ends with 4D 26."""
    assert wrap(make("Basic Get"), Layers(crc16=True)).hex() == "560120024d26"
    assert crc16(b"123456789") == 0xE5CC, "CRC-16/AUG-CCITT's check value"


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_raise_only_the_typed_error(data: bytes, secured: bool) -> None:  # noqa: FBT001  a drawn value
    for head in (b"", b"\x60\x0d", b"\x6c\x01", b"\x8f\x01", b"\x56\x01"):
        try:
            unwrap(head + data, secured=secured)
        except EncapsulationError:
            continue


def report(session: int, status: int, *, more: bool = False, duration: int | None = 0) -> Command:
    command = decode(make("Supervision Report", session=session, more_updates=more, status=status, duration=duration))
    assert isinstance(command, Command)
    return command


def test_a_session_works_and_ends() -> None:
    asked = Asked()
    session = asked.open(5, 0.0)
    assert asked.report(5, report(session, 1, more=True, duration=30), 1.0) == Outcome(
        session, 1, final=False, duration=30
    )
    assert asked.deadline == 36.0
    assert asked.report(6, report(session, 0xFF), 2.0) is None
    assert asked.report(5, report(session, 0xFF), 2.0) == Outcome(session, 0xFF, final=True, duration=0)
    assert asked.report(5, report(session, 0xFF), 2.0) is None
    assert asked.deadline is None


def test_sessions_end_in_time_and_ids_are_not_used_twice() -> None:
    asked = Asked()
    ids = [asked.open(5, float(number)) for number in range(SESSIONS)]
    assert sorted(ids) == list(range(SESSIONS))
    with pytest.raises(NoSessionError):
        asked.open(5, 70.0)
    assert asked.open(6, 70.0) == 0
    assert asked.expire(REPORT_TIMEOUT) == [(5, 0)]
    assert asked.open(5, 70.0) == 0
    asked.close(5, 9)
    assert asked.open(5, 70.0) == 9


def test_a_repeated_get_has_the_same_answer() -> None:
    answered = Answered()
    assert answered.repeated(5, 0, 7, 0.0) is None
    answered.answered(5, 0, 7, b"report", 0.0)
    assert answered.repeated(5, 0, 7, 1.0) == b"report"
    assert (
        answered.repeated(5, 1, 7, 1.0) is answered.repeated(5, 0, 8, 1.0) is answered.repeated(5, 0, 7, 60.0) is None
    )
    answered.forget(5)
    assert answered.repeated(5, 0, 7, 1.0) is None
