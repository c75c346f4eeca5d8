"""EZSP: the front end as a host on the other end of ASH sees it."""

import pytest
from ezsp_host import IEEE, NETWORK_KEY, SECRET, Host, values_of
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.sim.zigbee import ash, ezsp_tables
from drivers.sim.zigbee.ash import Frame, Kind, ResetCode
from drivers.sim.zigbee.ezsp import Ezsp
from drivers.sim.zigbee.ezsp_tables import (
    COMMANDS,
    STRUCTURES,
    Command,
    EmberStatus,
    EzspStatus,
    JoinPolicy,
    SecurityBits,
    SlStatus,
    Values,
    blank,
    decode,
    encode,
)
from drivers.sim.zigbee.model import GLOBAL_LINK_KEY, NO_IEEE, JoinKind
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node


@pytest.fixture
def host() -> Host:
    host = Host(Ezsp(Network(IEEE, seed=1)))
    host.connect()
    return host


# --- hostile hosts --------------------------------------------------------------------------------


def leave_the_bootloader(host: Host) -> None:
    """Where one of the payloads was the order to go there."""
    host.now += 1.0
    host.stick.poll(host.now)
    if host.stick.boot.bootloader is not None:
        host.stick.receive(b"2", host.now)
        host.stick.poll(host.now)


@given(st.lists(st.binary(min_size=3, max_size=60), max_size=8))
@example([b"\x00\x00\x8f\x00"])
def test_any_payload_gets_an_answer_and_none_stops_the_stick(payloads: list[bytes]) -> None:
    host = Host(Ezsp(Network(IEEE, seed=1)))
    host.connect()
    for payload in payloads:
        host.raw(payload)
    leave_the_bootloader(host)
    host.connect()
    assert host.call("echo", data=b"still here")["data"] == b"still here"


@given(st.sampled_from(sorted(COMMANDS)).flatmap(lambda name: st.tuples(st.just(name), values_of(COMMANDS[name][1]))))
@example(("launch_standalone_bootloader", {"mode": 0}))
def test_any_command_with_any_values_is_answered(case: tuple[str, Values]) -> None:
    host = Host(Ezsp(Network(IEEE, seed=1)))
    host.connect()
    for formed in (False, True):
        if formed:
            host.form()
        frame_id, request, _response = COMMANDS[case[0]]
        (answer,) = host.exchange(Command(1, frame_id, encode(request, case[1]), extended=True))
        assert int.from_bytes(answer[3:5], "little") == frame_id
        if case[0] == "launch_standalone_bootloader":
            leave_the_bootloader(host)
            host.connect()


def test_commands_before_the_version_are_refused() -> None:
    host = Host(Ezsp(Network(IEEE, seed=1)))
    host.restart()
    (answer,) = host.exchange(Command(1, COMMANDS["nop"][0], b"", extended=True))
    assert answer == bytes((1, 0x80, 1, 0x58, 0, EzspStatus.VERSION_NOT_SET))
    assert host.call("version", desired=14)["protocol"] == 13
    (answer,) = host.exchange(Command(1, COMMANDS["nop"][0], b"", extended=True))
    assert answer[-1] == EzspStatus.VERSION_NOT_SET


def test_unknown_and_cut_frames_are_invalid_commands_and_counted(host: Host) -> None:
    (answer,) = host.exchange(Command(5, 0x0ABC, b"\x01", extended=True))
    assert answer == bytes((5, 0x80, 1, 0x58, 0, EzspStatus.INVALID_FRAME_ID))
    (answer,) = host.exchange(Command(6, COMMANDS["get_value"][0], b"", extended=True))
    assert answer == bytes((6, 0x80, 1, 0x58, 0, EzspStatus.TRUNCATED))
    assert host.stick.counters.unknown == {"0x0ABC": 1}
    assert host.stick.counters.bad_frames == 1


# --- set-up ---------------------------------------------------------------------------------------


def test_configuration_and_values_are_kept_until_a_restart(host: Host) -> None:
    before = host.call("get_configuration_value", config_id=0x1E)["value"]
    assert host.call("set_configuration_value", config_id=0x1E, value=40)["status"] == EzspStatus.SUCCESS
    assert host.call("get_configuration_value", config_id=0x1E) == {"status": 0, "value": 40}
    assert host.call("set_value", value_id=0x15, value=b"\x05")["status"] == EzspStatus.SUCCESS
    assert host.call("get_value", value_id=0x15) == {"status": 0, "value": b"\x05"}
    host.connect()
    assert host.call("get_configuration_value", config_id=0x1E)["value"] == before
    assert host.call("get_value", value_id=0x15)["value"] == b"\x00"
    assert host.call("set_configuration_value", config_id=0xEE, value=1)["status"] == EzspStatus.INVALID_ID
    assert host.call("get_value", value_id=0xEE) == {"status": EzspStatus.INVALID_ID, "value": b""}


def test_an_unknown_extended_value_still_has_two_bytes(host: Host) -> None:
    answer = host.call("get_extended_value", value_id=0, characteristics=1)
    assert answer == {"status": EzspStatus.INVALID_ID, "value": b"\x00\x00"}
    endpoint = {"endpoint": 1, "profile": 0x0104, "device": 5, "version": 0, "input_count": 1, "output_count": 2}
    assert host.call("add_endpoint", **endpoint, inputs=[0], outputs=[3, 6])["status"] == EzspStatus.SUCCESS
    assert host.call("add_endpoint", **endpoint, inputs=[0], outputs=[3, 6])["status"] == EzspStatus.INVALID_VALUE
    assert host.call("get_extended_value", value_id=0, characteristics=1)["status"] == EzspStatus.SUCCESS


def test_custom_frames_of_other_firmware_are_unknown(host: Host) -> None:
    assert host.call("custom_frame", payload=b"\x00\x00") == {"status": EmberStatus.LIBRARY_NOT_PRESENT, "reply": b""}


def test_the_custom_eui64_burns_once(host: Host) -> None:
    assert host.call("get_mfg_token", token=0x0C)["data"] == b"\xff" * 8
    assert host.call("set_mfg_token", token=0x0C, data=bytes(range(8)))["status"] == EmberStatus.SUCCESS
    assert host.call("set_mfg_token", token=0x0C, data=bytes(8))["status"] == EmberStatus.INVALID_CALL
    host.connect()
    assert host.call("get_eui64")["eui64"] == int.from_bytes(bytes(range(8)), "little")


def test_multicast_entries_are_the_groups_of_the_coordinator(host: Host) -> None:
    entry = {"group": 0x1234, "endpoint": 1, "network": 0}
    assert host.call("set_multicast_table_entry", index=2, entry=entry)["status"] == EmberStatus.SUCCESS
    assert host.call("get_multicast_table_entry", index=2)["entry"] == entry
    assert host.stick.network.groups == {0x1234}
    host.call("set_multicast_table_entry", index=2, entry={**entry, "endpoint": 0})
    assert host.stick.network.groups == set()
    assert host.call("set_multicast_table_entry", index=200, entry=entry)["status"] == EmberStatus.INDEX_OUT_OF_RANGE


def test_counters_are_cleared_on_demand(host: Host) -> None:
    assert len(host.call("read_counters")["values"]) == ezsp_tables.COUNTERS
    assert host.call("read_and_clear_counters")["values"] == host.call("read_counters")["values"]


# --- network life ---------------------------------------------------------------------------------


def test_a_blank_stick_is_not_joined(host: Host) -> None:
    assert host.call("network_state")["status"] == 0
    assert host.call("network_init", bitmask=0)["status"] == EmberStatus.NOT_JOINED
    assert host.call("get_network_parameters")["status"] == EmberStatus.NOT_JOINED
    assert host.call("leave_network")["status"] == EmberStatus.INVALID_CALL
    assert host.call("permit_joining", duration=10)["status"] == EmberStatus.NOT_JOINED
    context = {**blank(STRUCTURES["context"]), "type": 1}
    assert host.call("export_key", context=context)["status"] == SlStatus.NOT_JOINED


def test_form_with_given_parameters(host: Host) -> None:
    assert host.call("set_value", value_id=0x23, value=(70000).to_bytes(4, "little"))["status"] == EzspStatus.SUCCESS
    assert host.form() == EmberStatus.SUCCESS
    assert host.statuses() == [EmberStatus.NETWORK_UP]
    parameters = host.call("get_network_parameters")["parameters"]
    assert (parameters["pan_id"], parameters["channel"], parameters["extended_pan_id"]) == (
        0x1A62,
        20,
        0x1122334455667788,
    )
    context = blank(STRUCTURES["context"])
    assert host.call("export_key", context={**context, "type": 1})["key"] == NETWORK_KEY
    assert host.call("export_key", context={**context, "type": 2})["key"] == SECRET
    info = host.call("get_network_key_info")["info"]
    assert (info["set"], info["sequence"]) == (1, 3)
    assert info["frame_counter"] >= 70000
    state = host.call("get_current_security_state")["state"]
    assert state["bitmask"] & SecurityBits.HASHED_LINK_KEY == SecurityBits.HASHED_LINK_KEY
    assert state["trust_centre"] == IEEE
    params = host.stick.network.params
    assert params is not None
    assert params.tc_link_key == GLOBAL_LINK_KEY
    assert host.call("set_value", value_id=0x23, value=bytes(4))["status"] == EzspStatus.INVALID_VALUE


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"channel": 27}, EmberStatus.INVALID_CHANNEL),
        ({"tx_power": 30}, EmberStatus.INVALID_POWER),
    ],
)
def test_impossible_networks_are_not_formed(host: Host, changes: Values, status: EmberStatus) -> None:
    assert host.form(**changes) == status
    assert host.call("network_state")["status"] == 0


def test_a_network_needs_a_security_state_and_forms_once(host: Host) -> None:
    parameters = {**blank(STRUCTURES["parameters"]), "channel": 11}
    assert host.call("form_network", parameters=parameters)["status"] == EmberStatus.SECURITY_STATE_NOT_SET
    assert host.form() == EmberStatus.SUCCESS
    assert host.call("form_network", parameters=parameters)["status"] == EmberStatus.INVALID_CALL


def test_the_network_comes_back_after_a_restart_and_a_power_cut(host: Host) -> None:
    host.form()
    host.connect()
    assert host.call("network_state")["status"] == 0
    assert host.call("network_init", bitmask=0)["status"] == EmberStatus.SUCCESS
    assert host.statuses() == [EmberStatus.NETWORK_UP]
    key = {"index": 1, "eui64": 0xABCDEF, "key": bytes(16)}
    assert host.call("import_link_key", **key)["status"] == SlStatus.OK
    network, stick = host.stick.network.snapshot(), host.stick.snapshot()

    other = Network(IEEE, seed=1)
    other.restore(network, host.now)
    front = Ezsp(other)
    front.restore(stick)
    again = Host(front)
    again.connect()
    assert again.call("network_init", bitmask=0)["status"] == EmberStatus.SUCCESS
    assert again.call("get_network_parameters")["parameters"]["pan_id"] == 0x1A62
    context = blank(STRUCTURES["context"])
    assert again.call("export_key", context={**context, "type": 2})["key"] == SECRET
    assert again.call("export_link_key_by_index", index=1)["eui64"] == 0xABCDEF


def test_leaving_forgets_the_network_and_its_keys(host: Host) -> None:
    host.form()
    host.call("import_link_key", index=0, eui64=5, key=bytes(16))
    host.callbacks.clear()
    assert host.call("leave_network")["status"] == EmberStatus.SUCCESS
    assert host.statuses() == [EmberStatus.NETWORK_DOWN]
    assert host.call("export_link_key_by_index", index=0)["status"] == SlStatus.NOT_FOUND
    host.connect()
    assert host.call("network_init", bitmask=0)["status"] == EmberStatus.NOT_JOINED


def test_devices_follow_their_own_network_only(host: Host) -> None:
    network = host.stick.network
    plug = Node(0x00124B00_0A0B0C0D, "plug", "plug")
    network.add(plug)
    host.form()
    network.joining.enter(plug, 0x1234, JoinKind.ASSOCIATION, host.now)
    host.call("leave_network")
    assert host.form() == EmberStatus.SUCCESS
    assert host.call("lookup_node_id_by_eui64", eui64=plug.ieee)["node"] == 0x1234
    host.call("leave_network")
    kept = host.stick.snapshot()
    host.stick.restore(kept)
    assert host.form(pan_id=0x2222) == EmberStatus.SUCCESS
    assert host.call("lookup_node_id_by_eui64", eui64=plug.ieee)["node"] == 0xFFFF
    assert not plug.joined


def test_a_broadcast_changes_the_channel_and_the_host_hears_of_it(host: Host) -> None:
    host.form()
    aps = {**blank(STRUCTURES["aps"]), "cluster": 0x0038}
    message = b"\x01" + (1 << 25).to_bytes(4, "little") + b"\xfe\x01"
    host.callbacks.clear()
    host.call("send_broadcast", destination=0xFFFF, aps=aps, radius=30, tag=1, message=message)
    assert host.statuses() == [EmberStatus.CHANNEL_CHANGED]
    assert host.call("get_network_parameters")["parameters"]["channel"] == 25


def test_a_stick_that_restarts_by_itself_says_so() -> None:
    front = Ezsp(Network(IEEE, seed=1))
    front.reset(5.0)
    assert front.poll(5.0) == [ash.encode(Frame(Kind.RSTACK, data=bytes((2, ResetCode.POWER_ON))))]


def test_the_restored_eui64_takes_effect_at_the_next_restart(host: Host) -> None:
    blank_token = host.call("get_token_data", token=0xE12A, index=0)
    assert blank_token == {"status": EmberStatus.SUCCESS, "value": NO_IEEE.to_bytes(8, "little")}
    wanted = 0x0011223344556677
    token = wanted.to_bytes(8, "little")
    assert host.call("set_token_data", token=0xE12A, index=0, value=token)["status"] == EmberStatus.SUCCESS
    assert host.call("get_eui64")["eui64"] == IEEE
    host.connect()
    assert host.call("get_eui64")["eui64"] == wanted
    host.call("set_token_data", token=0xE12A, index=0, value=b"\xff" * 8)
    host.connect()
    assert host.call("get_eui64")["eui64"] == IEEE
    assert host.call("set_token_data", token=0xE12A, index=0, value=b"\x01")["status"] == EmberStatus.BAD_ARGUMENT
    assert host.call("get_token_data", token=0xBEEF, index=0)["status"] == EmberStatus.NOT_FOUND


def test_the_update_id_is_written_as_a_token(host: Host) -> None:
    assert host.call("get_token_data", token=0x1E125, index=0)["status"] == EmberStatus.NOT_FOUND
    host.form(update_id=9)
    layout = STRUCTURES["management_token"]
    token = decode(layout, host.call("get_token_data", token=0x1E125, index=0)["value"])
    assert token["update_id"] == 0
    value = encode(layout, {**token, "update_id": 9})
    assert host.call("set_token_data", token=0x1E125, index=0, value=value)["status"] == EmberStatus.SUCCESS
    assert host.call("get_network_parameters")["parameters"]["update_id"] == 9


def test_the_child_table_can_be_written(host: Host) -> None:
    host.form()
    child = {**blank(STRUCTURES["child"]), "eui64": 77, "type": 4, "node": 0x4455}
    assert host.call("set_child_data", index=0, child=child)["status"] == EmberStatus.SUCCESS
    assert host.call("get_child_data", index=0)["child"] == child
    layout = STRUCTURES["child_token"]
    token = decode(layout, host.call("get_token_data", token=0x10580, index=0)["value"])
    assert token == {"eui64": 77, "node": 0x4455, "flags": 0}
    value = encode(layout, {**token, "flags": 0x80})
    assert host.call("set_token_data", token=0x10580, index=0, value=value)["status"] == EmberStatus.SUCCESS
    assert host.call("get_token_data", token=0x10580, index=0)["value"] == value
    assert host.call("get_child_data", index=1)["status"] == EmberStatus.NOT_JOINED


def test_key_table(host: Host) -> None:
    host.form()
    assert host.call("import_link_key", index=2, eui64=42, key=SECRET)["status"] == SlStatus.OK
    assert host.call("import_link_key", index=250, eui64=42, key=SECRET)["status"] == SlStatus.INVALID_INDEX
    assert host.call("find_key_table_entry", eui64=42, link_key=1)["index"] == 2
    assert host.call("find_key_table_entry", eui64=43, link_key=1)["index"] == 0xFF
    assert host.call("export_link_key_by_eui64", eui64=42)["key"] == SECRET
    assert host.stick.network.link_keys[42].key == SECRET
    assert host.call("erase_key_table_entry", index=2)["status"] == EmberStatus.SUCCESS
    assert host.call("export_link_key_by_index", index=2)["status"] == SlStatus.NOT_FOUND


def test_permit_opens_and_closes_and_the_policies_say_who_may_come(host: Host) -> None:
    host.form()
    network = host.stick.network
    assert network.install_code_required, "the well-known key is in nobody's hands yet"
    host.call("import_transient_key", eui64=NO_IEEE, key=GLOBAL_LINK_KEY, flags=0)
    assert not network.install_code_required
    host.callbacks.clear()
    assert host.call("permit_joining", duration=60)["status"] == EmberStatus.SUCCESS
    assert host.call("permit_joining", duration=0)["status"] == EmberStatus.SUCCESS
    assert host.statuses() == [EmberStatus.NETWORK_OPENED, EmberStatus.NETWORK_CLOSED]
    host.call("set_policy", policy_id=0, decision=JoinPolicy.ALLOW_JOINS | JoinPolicy.INSTALL_CODES_ONLY)
    assert (network.joins_allowed, network.install_code_required) == (True, True)
    host.call("set_policy", policy_id=0, decision=JoinPolicy.ALLOW_UNSECURED_REJOINS)
    assert not network.joins_allowed
    host.call("import_transient_key", eui64=99, key=SECRET, flags=0)
    assert network.transient_keys == {99: SECRET}
    host.call("clear_transient_link_keys")
    assert network.transient_keys == {}


def test_energy_scan_reports_each_channel_and_its_end(host: Host) -> None:
    host.form()
    host.callbacks.clear()
    assert host.call("start_scan", type=0, channels=1 << 11 | 1 << 15, duration=3)["status"] == EmberStatus.SUCCESS
    names = [name for name, _values in host.callbacks]
    assert names == ["energy_scan_result_handler"] * 2 + ["scan_complete_handler"]
    assert [values["channel"] for _name, values in host.callbacks[:2]] == [11, 15]
    assert all(-100 <= values["rssi"] <= -5 for _name, values in host.callbacks[:2])


# --- messages -------------------------------------------------------------------------------------

NODE_DESCRIPTOR_REQUEST = {
    "type": 0,
    "destination": 0,
    "aps": {**blank(STRUCTURES["aps"]), "cluster": 0x0002, "options": 0x0140},
    "tag": 17,
    "message": b"\x21\x00\x00",
}


def test_the_stick_answers_its_own_zdo(host: Host) -> None:
    host.form()
    host.callbacks.clear()
    sent = host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)
    assert sent["status"] == EmberStatus.SUCCESS
    got = dict(host.callbacks)
    outcome = got["message_sent_handler"]
    assert (outcome["tag"], outcome["status"], outcome["message"]) == (17, EmberStatus.SUCCESS, b"")
    assert outcome["aps"]["sequence"] == sent["sequence"]
    message = got["incoming_message_handler"]
    assert (message["sender"], message["aps"]["cluster"]) == (0, 0x8002)
    assert message["message"][:4] == b"\x21\x00\x00\x00"


def test_contents_come_back_when_the_policy_says_so(host: Host) -> None:
    host.form()
    host.call("set_policy", policy_id=4, decision=ezsp_tables.TAG_AND_CONTENTS)
    host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)
    assert dict(host.callbacks)["message_sent_handler"]["message"] == b"\x21\x00\x00"


def test_messages_that_cannot_go(host: Host) -> None:
    assert host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)["status"] == EmberStatus.NETWORK_DOWN
    host.form()
    long = {**NODE_DESCRIPTOR_REQUEST, "message": bytes(83)}
    assert host.call("send_unicast", **long)["status"] == EmberStatus.MESSAGE_TOO_LONG
    binding = {**NODE_DESCRIPTOR_REQUEST, "type": 2}
    assert host.call("send_unicast", **binding)["status"] == EmberStatus.INVALID_BINDING_INDEX
    address = {**NODE_DESCRIPTOR_REQUEST, "type": 1}
    assert host.call("send_unicast", **address)["status"] == EmberStatus.ADDRESS_TABLE_INDEX_OUT_OF_RANGE
    host.call("replace_address_table_entry", index=0, eui64=IEEE, node=0, extended=1)
    assert host.call("send_unicast", **address)["status"] == EmberStatus.SUCCESS
    assert host.call("get_extended_timeout", eui64=IEEE)["extended"] == 1
    assert host.call("get_address_table_remote_eui64", index=0)["eui64"] == IEEE


@pytest.mark.parametrize("kind", ["no-ack", "expired", "no-route"])
def test_an_armed_fault_fails_the_next_message_only(host: Host, kind: str) -> None:
    host.form()
    host.callbacks.clear()
    host.stick.fault(kind, host.now)
    assert host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)["status"] == EmberStatus.SUCCESS
    assert [values["status"] for _name, values in host.callbacks] == [EmberStatus.DELIVERY_FAILED]
    host.callbacks.clear()
    host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)
    assert dict(host.callbacks)["message_sent_handler"]["status"] == EmberStatus.SUCCESS


def test_a_full_table_refuses_the_next_message(host: Host) -> None:
    host.form()
    host.stick.fault("table-full", host.now)
    assert host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)["status"] == EmberStatus.MAX_MESSAGE_LIMIT_REACHED
    assert host.call("send_unicast", **NODE_DESCRIPTOR_REQUEST)["status"] == EmberStatus.SUCCESS
    with pytest.raises(ValueError, match="nonsense"):
        host.stick.fault("nonsense", host.now)
