"""Serial API messages against @zwave-js/serial, in both directions and with 8- and 16-bit node ids."""

from dataclasses import replace

import pytest
from conformance.zwavejs_messages import FROM_CHIP, READ, REQUESTS
from conformance.zwavejs_rig import ask

from drivers.zwave.frame import Data, Decoder, Type, encode
from drivers.zwave.functions import (
    BY_NAME,
    decode_callback,
    decode_request,
    decode_response,
    encode_callback,
    encode_response,
    long_range_nodes,
    request,
    setup_commands,
    setup_mask,
)
from drivers.zwave.layout import Context

pytestmark = pytest.mark.conformance

CALLBACK = 9


@pytest.mark.parametrize("wide", [False, True], ids=["8bit", "16bit"])
def test_requests_of_the_host(*, wide: bool) -> None:
    context = Context(wide=wide)
    asked = [
        {"op": "message", "class": foreign, "options": options, "callbackId": CALLBACK, "wide": wide}
        for foreign, options, _, _ in REQUESTS
    ]
    for (foreign, _, name, values), answer in zip(REQUESTS, ask(asked), strict=True):
        made = request(name, context, **values)
        payload = bytearray(made.payload)
        if made.callback_at is not None:
            payload[made.callback_at] = CALLBACK
        assert encode(Data(Type.REQUEST, made.function, bytes(payload))).hex() == answer, foreign
        read = decode_request(made.function, bytes(payload), context)
        assert {key: read[key] for key in values} == values, foreign


@pytest.mark.parametrize("wide", [False, True], ids=["8bit", "16bit"])
def test_messages_of_the_chip(*, wide: bool) -> None:
    context = Context(wide=wide)
    asked = [
        {"op": "message", "class": foreign, "options": options, "wide": wide} for foreign, options, _, _ in FROM_CHIP
    ]
    for (foreign, _, name, values), answer in zip(FROM_CHIP, ask(asked), strict=True):
        (frame,) = Decoder().feed(bytes.fromhex(answer), 0.0)
        assert isinstance(frame, Data)
        assert frame.function == BY_NAME[name].id
        decode, make = (
            (decode_response, encode_response) if frame.type is Type.RESPONSE else (decode_callback, encode_callback)
        )
        assert decode(frame.function, frame.payload, context) == values, foreign
        assert encode(replace(frame, payload=make(frame.function, values, context))).hex() == answer, foreign


def test_zwavejs_reads_what_our_chip_says() -> None:
    frames = []
    for name, kind, values, _ in READ:
        function = BY_NAME[name].id
        make = encode_response if kind is Type.RESPONSE else encode_callback
        frames.append(encode(Data(kind, function, make(function, values))))
    answers = ask([{"op": "parse_message", "hex": frame.hex()} for frame in frames])
    for (name, _, _, expected), answer in zip(READ, answers, strict=True):
        assert {key: answer.get(key) for key in expected} == expected, (name, answer)


def test_setup_masks_of_old_and_new_firmware() -> None:
    commands = {1, 2, 0x10, 0x40, 0x80}
    for firmware, shifted in (((7, 18, 3), True), ((7, 19, 1), False)):
        payload = encode_response(0x0B, {"command": 1, **setup_mask(commands, shifted=shifted)})
        (answer,) = ask([
            {
                "op": "parse_message",
                "hex": encode(Data(Type.RESPONSE, 0x0B, payload)).hex(),
                "sdk": ".".join(map(str, firmware)),
            }
        ])  # fmt: skip
        assert set(answer["supportedCommands"]) == commands
        assert setup_commands(decode_response(0x0B, payload), firmware) == commands
    assert long_range_nodes({"segment": 1, "mask": [0, 5]}) == [1280, 1285]
