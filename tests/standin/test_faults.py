"""The stand-in's bad days, each by its option: what devices and the account's owner then meet."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin_mqtt import Keys, Mqtt, provisioned, wait_until
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

Start = Callable[[str], Cloud]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A stand-in with faults."""
    made: list[Cloud] = []

    def begin(faults: str) -> Cloud:
        made.append(Cloud(tmp_path / f"cloud{len(made)}", "--faults", faults))
        return made[-1]

    yield begin
    for cloud in made:
        assert cloud.stop() == 0


def claimed(cloud: Cloud, folder: Path) -> tuple[Path, Path]:
    """The files of a new profile's claim certificate."""
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="p")
    files = folder / "claim.pem", folder / "claim.key"
    files[0].write_text(made["ClaimCertificate"])
    files[1].write_text(made["ClaimCertificatePrivateKey"])
    return files


def test_a_throttled_request_says_so(start: Start, tmp_path: Path) -> None:
    cloud = start("seed=1,throttle=0.5")
    codes = set()
    for _ in range(30):
        try:
            cloud.api.list_managed_things()
            codes.add(("ok", 200))
        except ClientError as error:
            codes.add((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert codes == {("ok", 200), ("ThrottlingException", 429)}


def test_job_requests_are_throttled_too(start: Start, tmp_path: Path) -> None:
    cloud = start("seed=3,throttle=0.4")
    thing, files = _until_done(lambda number: provisioned(cloud, tmp_path, f"HUB-THROTTLED-{number:02d}"))
    with Mqtt(cloud, files, thing) as device:
        topic = f"$aws/things/{thing}/jobs/get"
        for _ in range(20):
            device.publish(topic, {})
        assert device.waits_for(f"{topic}/rejected")["code"] == "RequestThrottled"
        device.waits_for(f"{topic}/accepted")


def _until_done(work: Callable[[int], Any]) -> Any:
    """Again while the cloud throttles."""
    for number in range(100):
        with contextlib.suppress(ClientError):
            return work(number)
    raise AssertionError("throttled for ever")


def test_what_is_published_above_the_limit_is_discarded(start: Start, tmp_path: Path) -> None:
    cloud = start("publishes_per_second=20")
    thing, files = provisioned(cloud, tmp_path, "HUB-FAULT-0001")
    operator = Mqtt(cloud, tuple(map(Path, cloud.told["operator"])), "operator")
    operator.subscribe(f"north/{thing}/#")
    with Mqtt(cloud, files, thing) as device:
        sent = [device.client.publish(f"north/{thing}/x", b"%d" % number, 1) for number in range(60)]
        wait_until(lambda: len(operator.heard) == 20)
        sent[19].wait_for_publish(10)
        assert not any(one.is_published() for one in sent[20:])
    operator.stop()


def test_messages_to_devices_come_twice_and_late(start: Start, tmp_path: Path) -> None:
    cloud = start("seed=7,duplicate=0.3,reorder=0.3")
    thing, files = provisioned(cloud, tmp_path, "HUB-FAULT-0002")
    with Mqtt(cloud, files, thing) as device:
        device.subscribe(f"south/{thing}/#")
        for number in range(40):
            cloud.api.update_managed_thing(
                Identifier=thing, HubNetworkMode=("STANDARD", "NETWORK_WIDE_EXCLUSION")[number % 2]
            )
        wait_until(lambda: len({body["messageId"] for _, body in device.heard}) == 40)
        came = [body["messageId"] for _, body in device.heard]
        first = {body["messageId"]: body["payload"]["hubNetworkMode"] for _, body in device.heard}
    assert len(came) > 40
    assert any(one == other for one, other in itertools.pairwise(first.values()))


def test_replies_are_lost_and_slow(start: Start, tmp_path: Path) -> None:
    cloud = start("seed=5,drop_reply=0.4,slow_reply=0.3,slow_seconds=0.5")
    thing = cloud.hub("HUB-FAULT-0003")
    files = claimed(cloud, tmp_path)
    topic = "$aws/certificates/create/json"
    with Mqtt(cloud, files, f"claim-{thing}") as client:
        client.subscribe(f"{topic}/accepted")
        for _ in range(20):
            client.publish(topic, {})
        at_once = len(client.heard)
        wait_until(lambda: len(client.heard) > at_once)
        assert at_once < len(client.heard) < 20


def test_subscriptions_are_refused(start: Start, tmp_path: Path) -> None:
    cloud = start("refuse_subscription=1")
    files = claimed(cloud, tmp_path)
    with Mqtt(cloud, files, "claim") as client:
        assert client.subscribe("$aws/certificates/create/json/accepted") == [0x87]


def test_connections_are_dropped(start: Start, tmp_path: Path) -> None:
    cloud = start("drop_connection=1")
    files = claimed(cloud, tmp_path)
    with Mqtt(cloud, files, "claim") as client:
        assert client.connected() == "Success"
        client.client.subscribe("$aws/certificates/create/json/accepted")
        client.ended.result(10)


def test_an_ownership_token_expires(start: Start, tmp_path: Path) -> None:
    cloud = start("token_life=0")
    claim = claimed(cloud, tmp_path)
    create, provision = "$aws/certificates/create-from-csr/json", "$aws/provisioning-templates/p/provision/json"
    with Mqtt(cloud, claim, "claim") as client:
        client.subscribe(f"{create}/+", f"{provision}/+")
        client.publish(create, {"certificateSigningRequest": Keys(tmp_path, "late").csr()})
        token = client.waits_for(f"{create}/accepted")["certificateOwnershipToken"]
        client.publish(provision, {"certificateOwnershipToken": token})
        assert client.waits_for(f"{provision}/rejected")["errorCode"] == "InvalidCertificateOwnershipToken"


def test_a_certificate_expires(start: Start, tmp_path: Path) -> None:
    cloud = start("certificate_life=1")
    thing, files = provisioned(cloud, tmp_path, "HUB-FAULT-0004")
    with Mqtt(cloud, files, thing) as device:
        assert device.connected() == "Success"
        wait_until(lambda: device.client.publish(f"north/{thing}/x", b"", 1) and device.ended.done())
        assert device.ended.result() == "Not authorized"
    with Mqtt(cloud, files, thing) as device:
        assert device.ended.result(10) != "Success"
