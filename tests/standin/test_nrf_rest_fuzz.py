"""nRF Cloud's REST planes and what strangers ask of them: each request is answered soon, and none meets a bug."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from nrf_modem import Modem

from agent.sim.authority import Authority
from agent.sim.exchange import Ask, Handle
from agent.sim.iot.shadows import Shadows
from agent.sim.managed_integrations.world import INDEXED
from agent.sim.nrf.provisioning_api import ProvisioningApi
from agent.sim.nrf.rest import NrfCloud
from agent.sim.objects import Objects
from agent.sim.records import Records

BUNDLE, KEY, TAG = "APP*0123abcd*v1", "key", 1
NUMBERS = [0, 1, -1, 244, 3.5, 1e308, 2**70, True]

Plane = tuple[Handle, Handle, dict[str, str]]

values = st.recursive(
    st.none()
    | st.sampled_from(NUMBERS)
    | st.text(max_size=8)
    | st.sampled_from(["a", BUNDLE, "00:21:55:61:F3:0A", "GNSS"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def some(good: Any) -> st.SearchStrategy[Any]:
    return st.just(good) | values


def members(**good: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these members, each of them good or not."""
    return st.fixed_dictionaries({}, optional={name: some(value) for name, value in good.items()})


cell = members(mcc=244, mnc=91, eci=1, tac=1, adv=3, nmr=[{"earfcn": 1, "pci": 1}])
points = st.lists(members(macAddress="00:21:55:61:F3:0A", signalStrength=-40), max_size=3)
commands = st.one_of(
    some({"finished": {}}),
    st.fixed_dictionaries({"config": members(a="1")}),
    st.fixed_dictionaries({"serverCertificate": members(secTag=1, content="{0} %s")}),
    st.fixed_dictionaries({"cloudAccessKeyGeneration": members(secTag=1)}),
)
info = members(appName="x", modemFirmware="y")
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "/location/ground-fix": st.fixed_dictionaries(
        {}, optional={"lte": st.lists(cell, max_size=2) | values, "wifi": points | values}
    ),
    "/location/agnss": st.builds(dict.__or__, cell, members(types=[1, 2], filtered=True, mask=5)),
    "/location/gnss": members(lat=1, lon=1, acc=2, alt=3),
    "/location/pgps": values,
    "/location/history": values,
    "/devices": values,
    "/devices/{id}": values,
    "/devices/{id}/tags": some(["a"]),
    "/devices/{id}/state": st.fixed_dictionaries(
        {"reported": st.fixed_dictionaries({"device": st.fixed_dictionaries({"deviceInfo": info | values})})}
    ),
    "/devices/{id}/messages": st.fixed_dictionaries({"message": members(appId="GNSS", data={"lat": 1, "lng": 1})}),
    "/firmwares": values,
    "/fota-jobs": members(bundleId=BUNDLE, deviceIds=["{id}"], tags=["a"], autoApply="false", name="x"),
    "/fota-job-executions/{id}": values,
    "/claimed-devices": members(claimToken="a.b", tags=["a"]),
    "/claimed-devices/{id}/provisioning": st.fixed_dictionaries({"request": commands}),
    "/provisioning-rules": st.fixed_dictionaries(
        {"commands": st.lists(st.fixed_dictionaries({"request": commands}), max_size=2) | values},
        optional={"name": some("x"), "tags": some(["a"]), "active": values},
    ),
    "/provisioning/tags": members(tag="a"),
    "/provisioning/commands": values,
    "/provisioning/response": st.lists(values, max_size=3),
}
names = st.sampled_from(
    [
        "pageLimit",
        "pageNextToken",
        "pageSort",
        "deviceId",
        "start",
        "inclusiveEnd",
        "latest",
        "tags",
        "doReply",
        "fallback",
        "hiConf",
        "types",
        "mcc",
        "mnc",
        "tac",
        "eci",
        "mask",
        "filtered",
        "predictionCount",
        "predictionIntervalMinutes",
        "startGpsDay",
        "includeState",
        "deviceIds",
        "firmwareSupport",
        "modemOnly",
        "dryrun",
        "after",
        "limit",
    ]
)
texts = st.sampled_from(
    ["1", "0", "-1", "true", "", "a,b", "3.5", "nan", "1e400", "9" * 30, "\u0663", "0001-01-01", "9999-99"]
)
asked = st.sampled_from(sorted(BODIES)).flatmap(lambda path: st.tuples(st.just(path), BODIES[path] | values))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The two APIs over one device that is claimed and onboarded, and its tokens by what they are for."""
    folder = tmp_path_factory.mktemp("plane")
    bundle: Path = folder / "s3" / "nrf-bundles" / BUNDLE
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(b"x")
    records = Records(None, INDEXED)
    shadows = Shadows(records, lambda: 1.8e9, lambda _topic, _body: None)
    objects = Objects(folder / "s3", "http://x")
    cloud = NrfCloud(records, lambda: 1.8e9, objects, Authority(folder), shadows, KEY, lambda _topic, _payload: None)
    modem = Modem()
    cloud.enrol(modem.uuid, modem.identity)
    cloud.provisioning.claim(modem.attestation(), ["a"])
    cloud.provisioning.add(modem.uuid, {"request": {"cloudAccessKeyGeneration": {"secTag": TAG}}})
    responses = modem.carry_out(cbor2.loads(cloud.provisioning.fetch(modem.uuid, {})))
    cloud.provisioning.respond(modem.uuid, cbor2.dumps(responses))
    provisioning = ProvisioningApi(records, cloud.provisioning, cloud.identities, KEY)
    yield (
        cloud.handle,
        provisioning.handle,
        {"id": modem.uuid, "device": modem.cloud_token(TAG), "identity": modem.token()},
    )
    records.close()


@examples(2)
@given(
    what=asked,
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "HEAD"]),
    query=st.dictionaries(names, texts.map(lambda text: [text]), max_size=3),
    span=st.sampled_from(["bytes=0-", "bytes=5-1", "bytes=-3", "bytes=" + "9" * 30 + "-", "x"]),
    by_device=st.booleans(),
)
def test_any_request_is_answered_and_meets_no_bug(
    plane: Plane, what: tuple[str, Any], method: str, query: dict[str, list[str]], span: str, *, by_device: bool
) -> None:
    nrf, provisioning, told = plane
    path, body = what
    provisions = path.startswith(("/claimed", "/provisioning"))
    device = told["identity"] if provisions else told["device"]
    content = cbor2.dumps(body) if path.endswith("/response") else json.dumps(body).replace("{id}", told["id"]).encode()
    headers = {
        "authorization": f"Bearer {device if by_device or path.startswith('/location/g') else KEY}",
        "content-type": "application/cbor",
        "range": span,
    }
    handle = provisioning if provisions else nrf
    answer = handle(Ask(method, f"/v1{path.replace('{id}', told['id'])}", query, headers, content))
    assert answer.status < 500, answer.body
