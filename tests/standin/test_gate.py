"""The stand-in's gate with paho as the client: what AWS IoT Core does that no broker of one's own can."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from standin_mqtt import Keys, Mqtt, provisioned, wait_until
from standin_rig import Cloud

from agent.errors import UsageError
from agent.sim.gate.faults import Faults
from agent.sim.gate.packets import Connect, Framer, Kind, MalformedPacketError, Packet, Publish, Subscribe, varint
from agent.sim.gate.policy import covers

WORDS = st.sampled_from(["a", "b", "+", "#"])
FILTERS = st.lists(WORDS, min_size=1, max_size=4).map("/".join).filter(lambda text: "#" not in text[:-1])
TOPICS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map("/".join)


# ---- pure -----------------------------------------------------------------------------------------------------------


@given(FILTERS, FILTERS, TOPICS)
def test_what_a_rule_covers_it_matches(rule: str, wanted: str, topic: str) -> None:
    if covers(rule, wanted) and topic_matches_sub(wanted, topic):
        assert topic_matches_sub(rule, topic)


@given(FILTERS, TOPICS)
def test_a_topic_is_covered_as_paho_matches_it(rule: str, topic: str) -> None:
    parent = rule.endswith("/#") and topic_matches_sub(rule.removesuffix("/#"), topic)
    assert covers(rule, topic) is (topic_matches_sub(rule, topic) and not parent)


@given(st.binary(max_size=300), st.sampled_from([True, False]))
def test_any_bytes_are_packets_or_a_clear_error(data: bytes, v5: bool) -> None:  # noqa: FBT001  hypothesis gives it
    framer = Framer()
    with suppress(MalformedPacketError):
        list(framer.feed(data))
    for kind in Kind:
        packet = Packet(kind, data[0] & 15 if data else 0, data)
        for decode in (Connect.decode, partial(Publish.decode, v5=v5), partial(Subscribe.decode, v5=v5)):
            with suppress(MalformedPacketError):
                decode(packet)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.data())
def test_packets_come_out_of_any_pieces(bodies: list[bytes], data: st.DataObject) -> None:
    packets = [Packet(Kind.PUBLISH, 2, body) for body in bodies]
    stream, framer, found = b"".join(packet.encode() for packet in packets), Framer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += list(framer.feed(stream[:cut]))
        stream = stream[cut:]
    assert found == packets


@given(st.text(max_size=20), st.binary(max_size=50), st.integers(0, 1), st.booleans())
def test_a_publish_survives_its_encoding(topic: str, payload: bytes, qos: int, v5: bool) -> None:  # noqa: FBT001  hypothesis gives it
    made = Publish(topic, payload, qos, 7 * qos, properties=b"\0" if v5 else b"")
    (packet,) = Framer().feed(made.encode(v5=v5))
    assert Publish.decode(packet, v5=v5) == made


def test_a_login_replaces_the_clients_own() -> None:
    will = struct.pack(">H", 1) + b"w" + struct.pack(">H", 2) + b"by"
    body = b"\0\x04MQTT\x05\xc6\0\x3c\0\0\x02me" + b"\0" + will + b"\0\x01u\0\x01p"
    connect = Connect.decode(Packet(Kind.CONNECT, 0, body))
    assert (connect.client_id, connect.rest) == ("me", b"\0" + will)
    (packet,) = Framer().feed(connect.encode("broker", "secret"))
    assert packet.body == body[:-6] + b"\0\x06broker\0\x06secret"


@pytest.mark.parametrize("text", ["bogus=1", "throttle=2", "throttle=-1", "throttle=x", "seed=1.5", "duplicate=nan"])
def test_a_fault_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=text.partition("=")[0]):
        Faults.parse(text)


def test_a_length_of_five_bytes_is_no_packet() -> None:
    with pytest.raises(MalformedPacketError, match="length"):
        list(Framer().feed(b"\x30\xff\xff\xff\xff\x01"))
    with pytest.raises(MalformedPacketError, match="longer"):
        list(Framer().feed(b"\x30" + varint(200000)))


# ---- with a client --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[Path, Path]]:
    return provisioned(cloud, tmp_path_factory.mktemp("hub"), "HUB-GATE-0001")


@pytest.fixture
def operator(cloud: Cloud) -> Iterator[Mqtt]:
    """The account's owner, who listens in."""
    certificate, key = map(Path, cloud.told["operator"])
    with Mqtt(cloud, (certificate, key), "operator") as client:
        assert client.connected() == "Success"
        yield client


@pytest.fixture(scope="module")
def lives(cloud: Cloud) -> str:
    """The stream of life-cycle notifications."""
    cloud.ask_for("lives", "DEVICE_LIFE_CYCLE")
    return "lives"


def connectivity(cloud: Cloud, thing: str) -> tuple[bool, str]:
    found = cloud.api.get_managed_thing_connectivity_data(Identifier=thing)
    return found["Connected"], found["DisconnectReason"]


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("level", [5, 4])
def test_the_cloud_knows_who_is_there_and_why_not(
    cloud: Cloud, hub: Any, operator: Mqtt, lives: str, level: int
) -> None:
    (thing, files), v5 = hub, level == 5
    before = len(cloud.stream(lives))
    presence = "$aws/events/presence"
    operator.subscribe(f"{presence}/connected/{thing}", f"{presence}/disconnected/{thing}")
    with Mqtt(cloud, files, thing, v5=v5) as first:
        assert first.connected() == "Success"
        there = operator.waits_for(f"{presence}/connected/{thing}")
        assert there["clientId"] == thing
        assert connectivity(cloud, thing) == (True, "NONE")
    gone = operator.waits_for(f"{presence}/disconnected/{thing}")
    assert gone["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT"
    assert gone["versionNumber"] == there["versionNumber"] + 1
    assert gone["sessionIdentifier"] == there["sessionIdentifier"]
    second = Mqtt(cloud, files, thing, v5=v5)
    assert second.connected() == "Success"
    with Mqtt(cloud, files, thing, v5=v5) as third:
        assert third.connected() == "Success"
        assert operator.waits_for(f"{presence}/disconnected/{thing}", 2)["disconnectReason"] == "DUPLICATE_CLIENTID"
        assert second.ended.result(10) == ("Session taken over" if v5 else "Unspecified error")
        wait_until(lambda: connectivity(cloud, thing) == (True, "NONE"))
        third.vanish()
        assert operator.waits_for(f"{presence}/disconnected/{thing}", 3)["disconnectReason"] == "CONNECTION_LOST"
    wait_until(lambda: connectivity(cloud, thing) == (False, "CONNECTION_LOST"))
    reasons = [entry["payload"].get("disconnectReason") for entry in cloud.stream(lives)[before:]]
    assert [reason for reason in reasons if reason] == [
        "CLIENT_INITIATED_DISCONNECT",
        "DUPLICATE_CLIENTID",
        "CONNECTION_LOST",
    ]


def test_an_answer_of_jobs_reaches_the_asker_without_a_subscription_and_nobody_else(
    cloud: Cloud, hub: Any, operator: Mqtt
) -> None:
    thing, files = hub
    prefix = f"$aws/things/{thing}/jobs"
    operator.subscribe(f"{prefix}/#")
    with Mqtt(cloud, files, thing) as device:
        device.publish(f"{prefix}/get", {"clientToken": "t"})
        assert device.waits_for(f"{prefix}/get/accepted")["clientToken"] == "t"
        device.publish(f"{prefix}/get", {})
        device.waits_for(f"{prefix}/get/accepted", 2)
    assert not operator.heard


def test_an_answer_of_fleet_provisioning_needs_the_askers_subscription(cloud: Cloud, tmp_path: Path) -> None:
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="two-claims")
    files = tmp_path / "claim.pem", tmp_path / "claim.key"
    files[0].write_text(made["ClaimCertificate"])
    files[1].write_text(made["ClaimCertificatePrivateKey"])
    topic = "$aws/certificates/create/json"
    with Mqtt(cloud, files, "one") as one, Mqtt(cloud, files, "two") as two:
        two.subscribe(f"{topic}/accepted")
        one.publish(topic, {})
        one.subscribe(f"{topic}/accepted")
        one.publish(topic, {})
        one.waits_for(f"{topic}/accepted")
        two.publish(topic, {})
        two.waits_for(f"{topic}/accepted")
        assert len(one.heard) == len(two.heard) == 1


def test_the_fifty_first_subscription_is_refused(cloud: Cloud, hub: Any) -> None:
    thing, files = hub
    with Mqtt(cloud, files, thing) as device:
        codes = [device.subscribe(f"south/{thing}/{number}")[0] for number in range(51)]
        assert codes == [1] * 50 + [0x87]
        assert device.subscribe("south/another/control", f"south/{thing}/0") == [0x87, 1]


@pytest.mark.parametrize("topic", ["north/another/state", "a/b", "north/{thing}/" + "/".join("abcdefgh"), "x" * 300])
def test_a_forbidden_publish_ends_the_connection(cloud: Cloud, hub: Any, topic: str) -> None:
    thing, files = hub
    with Mqtt(cloud, files, thing) as device:
        assert device.connected() == "Success"
        device.client.publish(topic.format(thing=thing), "x", 1)
        assert device.ended.result(10) == "Not authorized"
    wait_until(lambda: connectivity(cloud, thing) == (False, "FORBIDDEN_ACCESS"))


def test_another_hubs_client_id_is_refused(cloud: Cloud, hub: Any) -> None:
    thing, files = hub
    with Mqtt(cloud, files, f"{thing}x") as device:
        assert device.connected() == "Not authorized"


def test_a_deleted_hub_is_cut_off(cloud: Cloud, tmp_path: Path) -> None:
    thing, files = provisioned(cloud, tmp_path, "HUB-GATE-0002")
    with Mqtt(cloud, files, thing) as device:
        assert device.connected() == "Success"
        cloud.api.delete_managed_thing(Identifier=thing, Force=True)
        assert device.ended.result(10) == "Not authorized"
    with Mqtt(cloud, files, thing) as device:
        assert device.ended.result(10) != "Success"


def test_jitr_refuses_the_first_connection_and_lets_in_the_next(cloud: Cloud, tmp_path: Path, operator: Mqtt) -> None:
    maker = Keys(tmp_path, "maker CA")
    cloud.api.create_provisioning_profile(ProvisioningType="JITR", Name="jitr", CaCertificate=maker.pem)
    thing = cloud.hub("HUB-JITR-0001")
    device, stranger = Keys(tmp_path, "HUB-JITR-0001", maker), Keys(tmp_path, "HUB-JITR-0002", maker)
    event = f"$aws/events/certificates/registered/{maker.id}"
    operator.subscribe(event)
    with Mqtt(cloud, device.files, thing) as first:
        assert first.ended.result(10) != "Success"
    assert operator.waits_for(event)["certificateId"] == device.id
    wait_until(lambda: cloud.api.get_managed_thing(Identifier=thing)["ProvisioningStatus"] == "DISCOVERED")
    with Mqtt(cloud, device.files, thing) as second:
        assert second.connected() == "Success"
    for number in (2, 3):  # nobody waits for this one: it stays pending, and is told each time
        with Mqtt(cloud, stranger.files, thing) as client:
            assert client.ended.result(10) != "Success"
        assert operator.waits_for(event, number)["certificateId"] == stranger.id


def test_a_certificate_of_a_strange_ca_gets_no_handshake(cloud: Cloud, hub: Any, tmp_path: Path) -> None:
    thing, _ = hub
    with Mqtt(cloud, Keys(tmp_path, thing).files, thing) as client:
        assert client.ended.result(10) != "Success"
