"""scapy, which knows nothing of our codec, reads the ZCL and APS frames that simulated devices send."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from agent.model import DeviceFound, Report
from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.model import PROFILE_HOME, Aps
from drivers.sim.zigbee.node import Node
from tests.conformance.driver_contract import JOIN, command, joined, running
from tests.conformance.zigbee_rig import SENSOR, ZigbeeRig

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


@pytest.fixture
def zigbee() -> Iterator[Any]:
    """scapy's layers, told that 802.15.4 carries Zigbee."""
    import_module("scapy.layers.dot15d4")
    config = import_module("scapy.config").conf
    before, config.dot15d4_protocol = config.dot15d4_protocol, "zigbee"
    yield import_module("scapy.layers.zigbee")
    config.dot15d4_protocol = before


@pytest.mark.parametrize("stick", ["ezsp", "znp"])
async def test_every_frame_on_the_air_of_a_home_is_what_scapy_says_it_is(
    tmp_path: Path, zigbee: Any, stick: str
) -> None:
    rig = ZigbeeRig(tmp_path, stick)
    await rig.start()
    said: list[Aps] = []
    rig.simulation.record(tmp_path / "air.pcap")
    recorded = rig.simulation.network.overheard

    def overheard(aps: Aps) -> None:
        said.append(aps)
        recorded(aps)

    rig.simulation.network.overheard = overheard
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("pair", "sensor")
        await watched.wait(DeviceFound, lambda f: f.device.id.key == SENSOR, timeout=JOIN)
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded
        await rig.control("set", "sensor", name="temperature", value=2345, report=True)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == 2345)
    await rig.close()
    with import_module("scapy.utils").RawPcapReader(str(tmp_path / "air.pcap")) as reader:
        frames = list(reader)
    assert len(frames) == len(said) > 50
    mac = import_module("scapy.layers.dot15d4").Dot15d4
    commands = set()
    for (data, _), aps in zip(frames, said, strict=True):
        packet = mac(data)
        nwk, app = packet[zigbee.ZigbeeNWK], packet[zigbee.ZigbeeAppDataPayload]
        assert (nwk.source, app.cluster, app.profile, app.src_endpoint) == (
            aps.src,
            aps.cluster,
            aps.profile,
            aps.src_ep,
        )
        assert app.counter == aps.sequence & 0xFF
        assert (nwk.destination, app.dst_endpoint) == (aps.dst, aps.dst_ep) or aps.broadcast or aps.group is not None
        if aps.profile == PROFILE_HOME:
            library = packet[zigbee.ZigbeeClusterLibrary]
            assert bytes(library) == aps.data
            commands.add((library.zcl_frametype, library.command_identifier))
    assert {(0, zcl.REPORT), (0, zcl.READ_RSP), (0, zcl.CONFIGURE_RSP), (1, 1)} <= commands
