"""scapy, which knows nothing of our codec, reads the ZCL frames that simulated devices send."""

from importlib import import_module

import pytest

from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.node import Node

pytestmark = pytest.mark.conformance
pytest.importorskip("scapy")


@pytest.fixture
def node() -> Node:
    return Node(0x00124B00_00000001, "climate", "climate")


def test_a_report_is_a_report(node: Node) -> None:
    layers = import_module("scapy.layers.zigbee")
    node.set(1, 0x0402, 0, 2345)
    frame = layers.ZigbeeClusterLibrary(node.report(1, 0x0402, (0,)))
    assert (frame.zcl_frametype, frame.command_direction, frame.disable_default_response) == (0, 1, 1)
    assert frame.command_identifier == zcl.REPORT
    record = bytes(frame.payload)
    assert record == b"\x00\x00\x29" + (2345).to_bytes(2, "little")


def test_an_answer_to_a_read_has_the_records_that_were_asked_for(node: Node) -> None:
    layers = import_module("scapy.layers.zigbee")
    answer = node.handle(1, 0x0000, b"\x00\x2a\x00\x05\x00\xee\xee", unicast=True)
    assert answer is not None
    frame = layers.ZigbeeClusterLibrary(answer)
    assert (frame.command_identifier, frame.transaction_sequence) == (zcl.READ_RSP, 0x2A)
    good, bad = frame[layers.ZCLGeneralReadAttributesResponse].read_attribute_status_record
    assert (good.attribute_identifier, good.status, good.attribute_data_type) == (5, 0, 0x42)
    assert bytes(good.attribute_value) == b"\x0bSIM-CLIMATE", "a string begins with its length"
    assert (bad.attribute_identifier, bad.status) == (0xEEEE, zcl.UNSUPPORTED_ATTRIBUTE)
