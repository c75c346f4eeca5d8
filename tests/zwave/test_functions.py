"""Serial API functions: frames seen on the line, the session's view of them, and arbitrary bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.function_tables import FUNCTIONS_TABLE, Region, Setup
from drivers.zwave.functions import (
    BY_ID,
    BY_NAME,
    decode_callback,
    decode_request,
    decode_response,
    encode_callback,
    encode_response,
    first_available,
    request,
    rssi,
    setup_commands,
)
from drivers.zwave.layout import Context, LayoutError, Values

WIDE = Context(wide=True)


def test_names_and_numbers_are_unique() -> None:
    assert len(BY_ID) == len(BY_NAME) == len(FUNCTIONS_TABLE)


@pytest.mark.parametrize(
    ("name", "values", "payload"),
    [  # seen from the zwave-js driver
        (
            "SetApplicationNodeInformation",
            {"listening": True, "generic": 0, "specific": 8, "command_classes": b"^"},
            "01000801 5e",
        ),
        ("SerialAPISetup", {"command": Setup.SET_NODE_ID_TYPE, "bytes": 2}, "8002"),
        ("SetTimeouts", {"ack": 160, "byte": 15}, "a00f"),
        ("AddNode", {"mode": 9, "network_wide": True}, "4900"),
    ],
)
def test_requests_seen(name: str, values: Values, payload: str) -> None:
    assert request(name, **values).payload == bytes.fromhex(payload)


def test_the_place_of_the_callback_id() -> None:
    assert request("AddNode", mode=1).callback_at == 1
    assert request("AddNode", mode=8, nwi_home_id=b"\xc0\0\0\0", auth_home_id=b"\0\0\0\1").callback_at == 1
    assert request("SendData", node=2, payload=b"\x20\x02", options=0x25).callback_at == 5
    assert request("SendData", WIDE, node=2, payload=b"\x20\x02", options=0x25).callback_at == 6
    assert request("AddNode", called_back=False, mode=5).callback_at is None
    assert request("GetId").callback_at is None


def test_responses_tell_whether_a_callback_follows() -> None:
    send = request("SendData", node=2, payload=b"\0", options=1)
    assert send.transmits
    assert send.accepted(b"\x01")
    assert not send.accepted(b"\x00")
    remove = request("RemoveFailedNode", node=2)
    assert remove.accepted(b"\x00")
    assert not remove.accepted(b"\x08")
    assert send.accepted(b""), "unreadable: not a refusal"


@pytest.mark.parametrize(
    ("name", "stages", "last"),
    [
        ("AddNode", "0100 02 030503041001", "05"),
        ("AddNode", "01", "07"),
        ("RemoveNode", "0100 02 03", "06"),
        ("RequestNodeNeighborUpdate", "21", "22"),
        ("ReplaceFailedNode", "03", "04"),
    ],
)
def test_the_last_stage_of_a_callback(name: str, stages: str, last: str) -> None:
    values: Values = {"mode": 1} if "mode" in BY_NAME[name].request.names else {"node": 2}
    final = request(name, **values).final
    assert not any(final(bytes.fromhex(stage)) for stage in stages.split())
    assert final(bytes.fromhex(last))


def test_a_started_callback_of_a_foreign_stick() -> None:
    values = decode_callback(0x0A, bytes.fromhex("070080020101 5e01"))
    assert (values["reason"], values["listening"], values["long_range"]) == (7, True, True)


def test_a_transmit_report_cut_short_is_left_out() -> None:
    assert decode_callback(0x13, bytes.fromhex("0900 0005 00"))["status"] == 0
    assert "tx_report" not in decode_callback(0x13, bytes.fromhex("0900000500"))


def test_a_received_command_of_both_kinds() -> None:
    single = decode_callback(0x04, bytes.fromhex("0002032503ffba00"))
    assert (single["source"], single["payload"], single["rssi"]) == (2, b"\x25\x03\xff", -70)
    bridge = decode_callback(0xA8, bytes.fromhex("08 0001 0102 03 2503ff 01 05 ba"), WIDE)
    assert (bridge["destination"], bridge["source"], bridge["multicast"]) == (1, 258, [1, 3])
    assert (bridge["rssi"], bridge["cast"]) == (-70, 2)
    assert decode_callback(0x04, encode_callback(0x04, {"source": 2, "payload": b"\0"}))["payload"] == b"\0"


def test_availability_follows_the_mask() -> None:
    assert first_available({0x13, 0xA9}, "BridgeSendData", "SendData") == BY_NAME["BridgeSendData"]
    assert first_available([0x13], "BridgeSendData", "SendData") == BY_NAME["SendData"]
    assert first_available([], "SendData") is None


def test_setup_commands_of_chips_without_a_mask() -> None:
    values = decode_response(0x0B, bytes.fromhex("01 62"))
    assert setup_commands(values, (7, 0, 0)) == {1, 2, 0x20, 0x40}


def test_codes_are_no_signal_strength() -> None:
    assert [rssi(value) for value in (-70, 125, 126, 127)] == [-70, None, None, None]


def test_unknown_enumerations_stay_numbers() -> None:
    assert decode_response(0x0B, b"\x20\x77")["region"] == 0x77
    assert decode_response(0x0B, b"\x20\x01")["region"] is Region.USA


def test_what_has_no_table_is_refused() -> None:
    for decode in (decode_request, decode_response, decode_callback):
        with pytest.raises(LayoutError):
            decode(0xFE, b"")
    with pytest.raises(LayoutError):
        encode_response(0x08, {})
    with pytest.raises(LayoutError, match="nod"):
        request("SendData", nod=2)


@given(function=st.sampled_from(sorted(BY_ID)), data=st.binary(max_size=64), wide=st.booleans())
def test_any_bytes_raise_only_the_typed_error_and_what_was_read_can_be_written(
    function: int, data: bytes, *, wide: bool
) -> None:
    context = Context(wide=wide)
    entry = BY_ID[function]
    for layout in (entry.request, entry.response, entry.callback):
        if layout is None:
            continue
        try:
            values, _ = layout.decode(data, context)
        except LayoutError:
            continue
        assert layout.decode(layout.encode(values, context), context)[0] == values
