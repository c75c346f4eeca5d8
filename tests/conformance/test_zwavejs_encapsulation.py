"""Layers and segments against @zwave-js/cc, in both directions."""

from typing import Any

import pytest
from conformance.zwavejs_rig import ask, hexed

from drivers.zwave.codec import make
from drivers.zwave.encapsulation import Layers, unwrap, wrap
from drivers.zwave.transport_service import Datagram, Receiver, Send, Sender

pytestmark = pytest.mark.conformance

SET = make("Basic Set", target_value=99)
OFF = make("Binary Switch Set", target_value=0, duration=0)
CASES: list[tuple[list[bytes], dict[str, Any], Layers]] = [
    ([SET], {}, Layers()),
    ([SET], {"crc16": True}, Layers(crc16=True)),
    ([SET], {"channel": {"source": 0, "destination": 3}}, Layers(destinations=(3,))),
    ([SET], {"channel": {"source": 2, "destination": 0}}, Layers(source=2, destinations=(0,))),
    ([SET], {"channel": {"source": 0, "destination": [1, 3, 7]}}, Layers(destinations=(1, 3, 7))),
    ([SET], {"instance": 2}, Layers(source=2, destinations=(2,), instance_form=True)),
    ([SET], {"supervision": {"sessionId": 63, "requestStatusUpdates": True}}, Layers(session=63, status_updates=True)),
    ([SET, OFF], {}, Layers()),
    (
        [SET, OFF],
        {
            "supervision": {"sessionId": 5, "requestStatusUpdates": False},
            "channel": {"source": 1, "destination": 2},
            "crc16": True,
        },
        Layers(source=1, destinations=(2,), session=5, crc16=True),
    ),
]


def test_layers_are_the_same_bytes() -> None:
    answers = ask(
        [{"op": "wrap", "payloads": [hexed(one) for one in payloads], **options} for payloads, options, _ in CASES]
    )
    for (payloads, options, layers), answer in zip(CASES, answers, strict=True):
        data = wrap(payloads if len(payloads) > 1 else payloads[0], layers)
        assert data.hex() == answer, options
        assert unwrap(bytes.fromhex(answer)).layers == layers


def test_zwavejs_reads_our_layers() -> None:
    layers = Layers(source=1, destinations=(2,), session=5, status_updates=True, crc16=True)
    (answer,) = ask([{"op": "unwrap", "hex": wrap([SET, OFF], layers).hex()}])
    assert [one["name"] for one in answer] == [
        "CRC16CCCommandEncapsulation",
        "MultiChannelCCCommandEncapsulation",
        "SupervisionCCGet",
        "MultiCommandCCCommandEncapsulation",
        "BasicCCSet",
    ]
    assert (answer[1]["destination"], answer[1]["endpoint"]) == (2, 1)
    assert (answer[2]["session"], answer[2]["updates"], answer[3]["count"]) == (5, True, 2)


def test_segments_are_the_same_bytes() -> None:
    datagram = bytes(range(100))
    sent = [one.data.hex() for one in Sender(2, datagram, 9, 46).start(0.0) if isinstance(one, Send)]
    first = {"datagramSize": 100, "sessionId": 9, "partialDatagram": hexed(datagram[:39])}
    asked = [{"op": "segment", "class": "TransportServiceCCFirstSegment", "options": first}]
    asked += [
        {
            "op": "segment",
            "class": "TransportServiceCCSubsequentSegment",
            "options": {**first, "datagramOffset": offset, "partialDatagram": hexed(datagram[offset : offset + 39])},
        }
        for offset in (39, 78)
    ]
    answers = ask(asked)
    assert sent == answers
    receiver, got = Receiver(), []
    for answer in answers:
        got += receiver.receive(2, bytes.fromhex(answer), 0.0)
    assert got[-1] == Datagram(2, datagram)
    (read,) = ask([{"op": "parse_cc", "hex": sent[1]}])
    assert (read["$class"], read["datagramOffset"], read["sessionId"]) == ("TransportServiceCCSubsequentSegment", 39, 9)
