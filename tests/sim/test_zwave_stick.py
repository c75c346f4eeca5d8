"""The simulated stick's Serial API: the link's rules, functions by profile, transmissions, adding and removing, memory."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim.zwave_bench import HOME, Bench

from drivers.sim.zwave import nvm3
from drivers.sim.zwave.link import Link
from drivers.sim.zwave.sticks import STICKS
from drivers.zwave.codec import make
from drivers.zwave.frame import Data, Signal, Type, encode
from drivers.zwave.function_tables import AddStatus, Nvm, Setup, TransmitStatus, UpdateStatus
from drivers.zwave.functions import BY_NAME, setup_commands
from drivers.zwave.security.dsk import auth_home_id, nwi_home_id

REQUEST = encode(Data(Type.REQUEST, 0x07))


class TestLink:
    def test_a_frame_is_sent_again_until_it_is_acknowledged_and_given_up_after_three_tries(self) -> None:
        link = Link()
        link.send(Data(Type.REQUEST, 0x0A, b"\1"))
        sent = []
        now = 0.0
        while link.deadline is not None or not sent:
            sent += [(now, frame) for frame in link.poll(now)]
            now = link.deadline if link.deadline is not None else now
        assert len(sent) == 3
        assert [round(at, 1) for at, _ in sent] == [0.0, 1.7, 4.4]
        assert link.given_up == 1

    def test_frames_wait_for_the_acknowledgement_of_the_one_before(self) -> None:
        link = Link()
        link.send(Data(Type.REQUEST, 1))
        link.send(Data(Type.REQUEST, 2))
        assert len(link.poll(0.0)) == 1
        assert not link.poll(0.1)
        link.receive(b"\x06", 0.2)
        assert link.poll(0.2) == [encode(Data(Type.REQUEST, 2))]

    def test_a_frame_that_crosses_ours_is_answered_by_can(self) -> None:
        link = Link()
        link.send(Data(Type.REQUEST, 1))
        link.poll(0.0)
        assert not link.receive(REQUEST, 0.1)
        assert link.poll(0.1) == [bytes((Signal.CAN,))]

    def test_a_damaged_frame_is_answered_by_nak(self) -> None:
        link = Link()
        assert not link.receive(REQUEST[:-1] + b"\0", 0.0)
        assert link.poll(0.0) == [bytes((Signal.NAK,))]

    @pytest.mark.parametrize(("storm", "answer"), [("nak", [b"\x15"]), ("can", [b"\x18"]), ("deaf", [])])
    def test_storms_end(self, storm: str, answer: list[bytes]) -> None:
        link = Link()
        link.storms[storm] = 1
        assert not link.receive(REQUEST, 0.0)
        assert link.poll(0.0) == answer
        assert link.receive(REQUEST, 0.1)

    @given(st.lists(st.binary(max_size=40), max_size=20))
    def test_any_bytes_in_any_pieces_are_survived(self, pieces: list[bytes]) -> None:
        bench = Bench("switch")
        for piece in pieces:
            bench.stick.receive(piece, bench.now)
            bench.run(2.0)
        bench.stick.receive(b"\x06" * 2, bench.now)
        bench.run(20.0)
        if bench.stick.bootloader is None:
            assert bench.ask("GetCapabilities", 0.5) or not bench.stick.has("GetCapabilities")


@pytest.mark.parametrize("kind", STICKS)
class TestProfiles:
    def test_the_mask_of_functions_is_what_it_answers(self, kind: str) -> None:
        bench = Bench("switch", kind=kind)
        (found,) = bench.ask("GetCapabilities")
        assert found["functions"] == sorted(BY_NAME[name].id for name in STICKS[kind].functions)

    def test_functions_that_it_has_not_are_acknowledged_and_have_no_answer(self, kind: str) -> None:
        bench = Bench(kind=kind)
        assert not bench.ask("ReplicationCommandComplete", 1.0)
        assert bench.signals == [Signal.ACK]
        assert bench.stick.unknown == {"ReplicationCommandComplete": 1}

    def test_it_knows_its_nodes(self, kind: str) -> None:
        bench = Bench("switch", "lock", kind=kind)
        assert bench.ask("GetInitData")[0]["nodes"] == [1, 2, 3]
        assert bench.ask("GetId") == [{"home_id": HOME, "node": 1}]
        info = bench.ask("GetNodeProtocolInfo", node=3)[0]
        assert (info["listening"], info["sensor_1000ms"], info["generic"]) == (False, True, 0x40)


def test_node_ids_have_two_bytes_until_a_soft_reset() -> None:
    bench = Bench("switch")
    bench.ask("SerialAPISetup", command=Setup.SET_NODE_ID_TYPE, bytes=2)
    assert bench.stick.context.wide
    bench.ask("SoftReset", 1.0)
    assert not bench.stick.context.wide
    assert [function for function, _ in bench.heard][-1] == "Started"


def test_setup_commands_are_told_and_others_refused() -> None:
    bench = Bench()
    (found,) = bench.ask("SerialAPISetup", command=Setup.GET_SUPPORTED)
    assert setup_commands(found, (7, 23, 2)) == set(STICKS["800"].setup)
    assert bench.ask("SerialAPISetup", command=0x33, data=b"") == [{"command": Setup.UNSUPPORTED, "unsupported": 0x33}]


# ---- sending ------------------------------------------------------------------------------------------------------------


def test_a_transmission_is_called_back_with_its_report_only_where_reports_are_on() -> None:
    bench = Bench("switch")
    sent: dict[str, Any] = {"source": 1, "node": 2, "payload": b"\0", "options": 1}
    assert bench.ask("BridgeSendData", 0.1, **sent)[1] == {"callback_id": 1, "status": TransmitStatus.OK}
    bench.ask("SerialAPISetup", command=Setup.SET_TX_STATUS_REPORT, enable=1)
    assert bench.ask("BridgeSendData", 0.1, **sent)[1]["tx_report"]["ack_rssi"] == -62


def test_one_transmission_at_a_time_and_it_can_be_aborted() -> None:
    bench = Bench("switch", kind="500")
    bench.node("switch").powered = False
    assert bench.ask("SendData", node=2, payload=b"\0", options=1) == [{"started": 1}]
    assert bench.ask("SendData", node=2, payload=b"\0", options=1) == [{"started": 0}]
    before = len(bench.heard)
    bench.ask("SendDataAbort")
    assert bench.heard[before:] == [("SendData", {"callback_id": 1, "status": TransmitStatus.NO_ACK})]


def test_a_sleeping_node_does_not_acknowledge_and_one_that_is_beamed_does() -> None:
    bench = Bench("multisensor", "lock")
    bench.run(30.0)
    sent: dict[str, Any] = {"source": 1, "payload": b"\0", "options": 1}
    assert bench.ask("BridgeSendData", 2.0, node=2, **sent)[1]["status"] == TransmitStatus.NO_ACK
    assert bench.ask("BridgeSendData", 2.0, node=3, **sent)[1]["status"] == TransmitStatus.OK


def test_on_a_jammed_channel_nothing_is_sent() -> None:
    bench = Bench("switch")
    bench.do("jam")
    assert (
        bench.ask("BridgeSendData", 1.0, source=1, node=2, payload=b"\0", options=1)[1]["status"] == TransmitStatus.FAIL
    )
    assert max(bench.ask("GetBackgroundRSSI")[0]["rssi"]) > -60


def test_a_broadcast_and_a_multicast_reach_who_listens() -> None:
    bench = Bench("switch", "plug")
    on = make("Binary Switch Set", target_value=0xFF)
    bench.ask("BridgeSendDataMulti", 0.1, source=1, nodes=[2, 3], payload=on, options=0)
    assert [bench.node(name).root.values["switch"] for name in ("switch", "plug")] == [0xFF, 0xFF]


# ---- adding and removing ------------------------------------------------------------------------------------------------


def statuses(found: list[dict[str, Any]]) -> list[int]:
    return [values["status"] for values in found]


def test_adding_goes_through_its_steps() -> None:
    bench = Bench("switch", joined=False)
    bench.do("pair", device="switch")
    found = bench.ask("AddNode", 1.0, mode=1)
    assert statuses(found) == [AddStatus.READY, AddStatus.NODE_FOUND, AddStatus.END_NODE, AddStatus.PROTOCOL_DONE]
    assert found[2]["node"] == 2
    assert 0x25 in found[2]["command_classes"]
    assert statuses(bench.ask("AddNode", 1.0, mode=5)) == [AddStatus.DONE]
    assert bench.ask("GetInitData")[0]["nodes"] == [1, 2]


def test_removing_mirrors_it_and_frees_the_node() -> None:
    bench = Bench("switch")
    found = bench.ask("RemoveNode", 1.0, mode=1)
    assert statuses(found) == [AddStatus.READY]
    before = len(bench.heard)
    bench.do("pair", device="switch")
    bench.run(1.0)
    told = [values for function, values in bench.heard[before:] if function == "RemoveNode"]
    assert [(one["status"], one["node"]) for one in told] == [(2, 0), (3, 2), (6, 2)]
    assert bench.node("switch").id == 0


def test_an_inclusion_can_fail() -> None:
    bench = Bench("switch", joined=False)
    bench.stick.inclusion.failing = 1
    bench.do("pair", device="switch")
    assert statuses(bench.ask("AddNode", 1.0, mode=1)) == [AddStatus.READY, AddStatus.NODE_FOUND, AddStatus.FAILED]


def test_a_smart_start_device_announces_itself_and_is_added_by_its_dsk() -> None:
    bench = Bench("smart-start-sensor", joined=False)
    node = bench.node("smart-start-sensor")
    bench.do("pair", device=node.name)
    bench.ask("AddNode", 1.0, mode=9, network_wide=True, callback_id=0)
    announced = [values for function, values in bench.heard if function == "ApplicationUpdate"]
    assert announced[0]["status"] is UpdateStatus.SMART_START_HOME_ID
    assert announced[0]["nwi_home_id"] == nwi_home_id(node.dsk)
    ids = {"nwi_home_id": nwi_home_id(node.dsk), "auth_home_id": auth_home_id(node.dsk)}
    assert statuses(bench.ask("AddNode", 1.0, mode=8, **ids))[-1] is AddStatus.PROTOCOL_DONE
    assert node.id == 2


def test_long_range_nodes_have_ids_from_256_on() -> None:
    bench = Bench("smart-start-sensor", joined=False)
    bench.ask("SerialAPISetup", command=Setup.SET_NODE_ID_TYPE, bytes=2)
    node = bench.node("smart-start-sensor")
    ids = {"nwi_home_id": nwi_home_id(node.dsk), "auth_home_id": auth_home_id(node.dsk)}
    assert bench.ask("AddNode", 1.0, mode=8, long_range=True, **ids)[-1]["node"] == 256
    assert bench.ask("GetLongRangeNodes", segment=0)[0]["mask"] == [0]
    assert bench.ask("GetInitData")[0]["nodes"] == [1]


def test_only_a_failed_node_is_removed_or_replaced() -> None:
    bench = Bench("switch", "plug")
    assert bench.ask("RemoveFailedNode", 1.0, node=2) == [{"problem": 8}]
    bench.do("power", device="switch", on=False)
    bench.ask("BridgeSendData", 1.0, source=1, node=2, payload=b"\0", options=1)
    assert bench.ask("IsFailedNode", node=2) == [{"failed": 1}]
    assert bench.ask("RemoveFailedNode", 1.0, node=2)[1]["status"] == 1
    assert bench.ask("GetInitData")[0]["nodes"] == [1, 3]


def test_another_node_takes_the_id_of_a_failed_one() -> None:
    bench = Bench("switch", "plug")
    bench.network.leave(bench.node("plug"), bench.now)
    bench.do("power", device="switch", on=False)
    bench.ask("BridgeSendData", 1.0, source=1, node=2, payload=b"\0", options=1)
    bench.do("pair", device="plug")
    assert [one.get("status", one.get("problem")) for one in bench.ask("ReplaceFailedNode", 1.0, node=2)] == [0, 3, 4]
    assert bench.node("plug").id == 2


# ---- memory -------------------------------------------------------------------------------------------------------------


def image(bench: Bench) -> bytes:
    size = bench.ask("NvmOperationExtended", command=Nvm.OPEN)[0]["offset"]
    data = b""
    while len(data) < size:
        data += bench.ask("NvmOperationExtended", command=Nvm.READ, size=255, offset=len(data))[0]["payload"]
    bench.ask("NvmOperationExtended", command=Nvm.CLOSE)
    return data


def test_a_backup_brings_back_the_network() -> None:
    bench = Bench("switch", "lock")
    kept = image(bench)
    bench.ask("SetDefault", 1.0)
    assert bench.ask("GetInitData")[0]["nodes"] == [1]
    bench.ask("NvmOperationExtended", command=Nvm.OPEN)
    for at in range(0, len(kept), 128):
        bench.ask("NvmOperationExtended", command=Nvm.WRITE, offset=at, payload=kept[at : at + 128])
    bench.ask("NvmOperationExtended", command=Nvm.CLOSE)
    bench.ask("SoftReset", 1.0)
    assert bench.ask("GetInitData")[0]["nodes"] == [1, 2, 3]
    assert bench.ask("GetId") == [{"home_id": HOME, "node": 1}]


def test_an_older_chip_reads_and_writes_without_opening() -> None:
    bench = Bench("switch", kind="500")
    data = bench.ask("NvmReadBuffer", offset=0, size=64)[0]["payload"]
    assert len(data) == 64
    assert bench.ask("NvmWriteBuffer", offset=0, payload=data) == [{"success": 1}]
    assert bench.ask("NvmReadByte", offset=1) == [{"byte": data[1]}]


def test_the_bootloader_shows_its_menu_until_it_runs_the_application() -> None:
    bench = Bench()
    bench.do("bootloader")
    assert b"BL >" in b"".join(bench.stick.poll(bench.now))
    bench.stick.receive(b"2", bench.now)
    bench.run(1.0)
    assert bench.heard[-1][0] == "Started"


@given(st.dictionaries(st.integers(1, 0xFFFFF), st.binary(max_size=4000), max_size=5))
def test_a_store_gives_back_its_objects(objects: dict[int, bytes]) -> None:
    assert nvm3.decode(nvm3.encode(objects, 0xA000)) == objects


@settings(max_examples=40)  # each reads a whole store
@given(st.binary(max_size=200), st.integers(0, 0x9FFF))
def test_a_damaged_store_is_refused_or_read(damage: bytes, at: int) -> None:
    data = bytearray(nvm3.encode({7: b"x" * 50, 8: b"y" * 500}, 0xA000))
    data[at : at + len(damage)] = damage
    with contextlib.suppress(nvm3.StoreError):
        assert set(nvm3.decode(bytes(data))) <= set(range(1 << 20))


def test_a_priority_route_is_kept_and_reported() -> None:
    bench = Bench("switch", "plug")
    bench.ask("SerialAPISetup", command=Setup.SET_TX_STATUS_REPORT, enable=1)
    assert bench.ask("SetPriorityRoute", node=2, repeaters=b"\3\0\0\0", speed=3) == [{"node": 2, "success": 1}]
    assert bench.ask("GetPriorityRoute", node=2)[0]["repeaters"] == b"\3\0\0\0"
    told = bench.ask("BridgeSendData", 0.1, source=1, node=2, payload=b"\0", options=1)[1]["tx_report"]
    assert (told["repeater_count"], told["repeaters"], told["repeater_rssi"][0]) == (1, b"\3\0\0\0", -62)


def test_neighbours_are_surveyed_and_the_suc_is_set() -> None:
    bench = Bench("switch", "plug", "thermostat")
    assert [one["status"] for one in bench.ask("RequestNodeNeighborUpdate", 1.0, node=2)] == [0x21, 0x22]
    assert bench.ask("GetRoutingInfo", node=2)[0]["nodes"] == [1, 3]
    assert bench.ask("SetSUCNodeId", 0.5, node=1, enable=0, options=0, sis=0, callback_id=0) == [{"started": 1}]
    assert bench.ask("GetSUCNodeId") == [{"node": 0}]
    assert bench.ask("AssignSUCReturnRoute", 1.0, node=2)[1]["status"] is TransmitStatus.OK


def test_with_the_radio_off_nothing_is_sent_or_heard() -> None:
    bench = Bench("switch")
    assert bench.ask("SetRFReceiveMode", on=0) == [{"success": 1}]
    assert bench.ask("BridgeSendData", 0.1, source=1, node=2, payload=b"\0", options=1) == [{"started": 0}]
    bench.do("set", device="switch", name="on_off", value=True)
    before = len(bench.heard)
    bench.run(1.0)
    assert len(bench.heard) == before
    bench.ask("SetRFReceiveMode", on=1)
    assert len(bench.ask("GetRandom", count=8)[0]["random"]) == 8
