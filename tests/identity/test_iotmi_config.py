"""AWS's `iotmi_config.json`: what is read, what is refused and where, and that another `rw` changes nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.identity import iotmi_config as form
from agent.identity.iotmi_config import IotmiConfigError

RO: dict[str, Any] = {
    "iot_provisioning_method": "FLEET_PROVISIONING",
    "iot_claim_cert_path": "/data/aws/iotmi/certs/claim_cert.pem",
    "iot_claim_pk_path": "/data/aws/iotmi/certs/claim_pk.key",
    "fp_template_name": "my-profile",
    "endpoint_url": "abc123-ats.iot.eu-west-1.amazonaws.com",
    "SN": "HUB0001",
    "UPC": "829576019524",
    "mqtt_keep_alive_interval": 300,
}
RW: dict[str, Any] = {
    "iot_provisioning_state": "PROVISIONED",
    "client_id": "X_Y",
    "managed_thing_id": "thing-1",
    "iot_permanent_cert_path": "/data/aws/iotmi/iot_cert.pem",
    "iot_permanent_pk_path": "/data/aws/iotmi/iot_pk.pem",
    "metadata": {"last_updated_epoch_time": 1747766125},
}
NEW = {"iot_provisioning_state": "NOT_PROVISIONED"}


def read(ro: dict[str, Any] | None = None, rw: dict[str, Any] | None = None) -> form.IotmiConfig:
    return form.read(json.dumps({"ro": RO if ro is None else ro, "rw": RW if rw is None else rw}).encode(), "FILE")


def test_the_sample_of_the_documentation_is_read() -> None:
    told = read()
    assert (told.ro.SN, told.ro.UPC, told.ro.EAN, told.ro.fp_template_name) == (
        "HUB0001",
        "829576019524",
        "",
        "my-profile",
    )
    assert (told.rw.managed_thing_id, told.rw.client_id) == ("thing-1", "X_Y")


@pytest.mark.parametrize("name", form.ENDPOINTS)
def test_each_spelling_of_the_endpoint_is_read(name: str) -> None:
    ro = {key: value for key, value in RO.items() if key != "endpoint_url"} | {name: "one.example.com"}
    assert read(ro).ro.endpoint_url == "one.example.com"
    assert read({**ro, "endpoint_url": "one.example.com"}).ro.endpoint_url == "one.example.com"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in RO.items() if key != name}


@pytest.mark.parametrize(
    ("ro", "rw", "where", "words"),
    [
        ({**RO, "UPC": 829576019524}, NEW, "ro.UPC", "must be a text"),
        ({**RO, "UPC": "82957601952"}, NEW, "ro.UPC", "digits"),
        ({**without("UPC"), "EAN": "829576019524"}, NEW, "ro.EAN", "digits"),
        ({**RO, "EAN": "4006381333931"}, NEW, "ro", "both given"),
        (without("UPC"), NEW, "ro", "missing"),
        (without("SN"), NEW, "ro.SN", "missing"),
        ({**RO, "SN": ""}, NEW, "ro.SN", "at least 1"),
        ({**RO, "SN": "a\nb"}, NEW, "ro.SN", "printed"),
        (without("endpoint_url"), NEW, "ro.endpoint_url", "missing"),
        ({**RO, "endpoint_url": "https://x.example.com"}, NEW, "ro.endpoint_url", "host"),
        ({**without("endpoint_url"), "sh_endpoint_url": "x y"}, NEW, "ro.sh_endpoint_url", "host"),
        ({**RO, "iot_endpoint_url": "other.example.com"}, NEW, "ro", "given twice"),
        ({**RO, "mqtt_keep_alive_interval": 29}, NEW, "ro.mqtt_keep_alive_interval", "out of range"),
        ({**RO, "mqtt_keep_alive_interval": 1201}, NEW, "ro.mqtt_keep_alive_interval", "out of range"),
        ({**RO, "mqtt_keep_alive_interval": "300"}, NEW, "ro.mqtt_keep_alive_interval", "whole number"),
        ({**RO, "iot_claim_cert_path": "SECURE_STORAGE"}, NEW, "ro", "one half"),
        ({**RO, "iot_claim_pk_path": "certs/claim.key"}, NEW, "ro.iot_claim_pk_path", "absolute"),
        ({**RO, "fp_template_name": "no good"}, NEW, "ro.fp_template_name", "provisioning profile"),
        ({**RO, "iot_provisioning_method": "JITP"}, NEW, "ro.iot_provisioning_method", "not one of"),
        (RO, {"iot_provisioning_state": "MAYBE"}, "rw.iot_provisioning_state", "not one of"),
        (RO, {"iot_provisioning_state": "PROVISIONED"}, "rw", "client_id, managed_thing_id"),
        (RO, {**RW, "iot_permanent_pk_path": "SECURE_STORAGE"}, "rw", "one half"),
    ],
)
def test_what_is_wrong_is_named_by_its_json_path(
    ro: dict[str, Any], rw: dict[str, Any], where: str, words: str
) -> None:
    with pytest.raises(IotmiConfigError) as caught:
        read(ro, rw)
    (problem,) = caught.value.problems
    assert problem.place == f"FILE: {where}"
    assert words in problem.message
    assert problem.remedy


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(IotmiConfigError) as caught:
        read({**without("SN"), "UPC": "1"}, {"iot_provisioning_state": 1})
    places = [problem.place for problem in caught.value.problems]
    assert places == ["FILE: ro.SN", "FILE: ro.UPC", "FILE: rw.iot_provisioning_state"]


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (b"", "FILE:1:1", "no JSON"),
        (b'{"ro": {},\n "rw" }', "FILE:2:7", "no JSON"),
        (b"\xff", "FILE", "no JSON"),
        (b"[1]", "FILE", "no JSON object"),
        (b'{"ro": 1, "ro": 2}', "FILE", "stands twice"),
        (b'{"ro": NaN}', "FILE", "no number"),
        (b"[" * 100_000, "FILE", "no JSON"),
        (b" " * 2_000_000, "FILE", "larger than"),
    ],
)
def test_what_is_no_json_is_refused(content: bytes, place: str, words: str) -> None:
    with pytest.raises(IotmiConfigError, match=words) as caught:
        form.read(content, "FILE")
    assert caught.value.place == place
    assert caught.value.remedy


def test_an_object_is_asked_for_where_there_is_none() -> None:
    with pytest.raises(IotmiConfigError) as caught:
        form.read(b'{"ro": 1, "rw": []}', "FILE")
    assert [problem.place for problem in caught.value.problems] == ["FILE: ro", "FILE: rw"]
    assert all("object" in problem.message for problem in caught.value.problems)


# ---- another rw -----------------------------------------------------------------------------------------------------

OWN = {"iot_provisioning_state": "PROVISIONED", "client_id": "c"}
AWKWARD = """{ "extra" : [1.10, 1E400, {"rw": "\\u007d {"}],
  "ro": {"SN": "}\\"{", "n": 12345678901234567890 },
"rw" :  {"iot_provisioning_state": "PROVISIONED", "vendor": 1.0 , "managed_thing_id":"x",
 "metadata": {"by": "me", "last_updated_epoch_time": 1}}
  , "last": null}
"""


def test_only_rw_changes_and_its_unknown_members_stay() -> None:
    after = form.with_rw(AWKWARD, OWN, 7, bare=False)
    before, behind = AWKWARD.split('"rw" :  {', maxsplit=1)[0], AWKWARD[AWKWARD.index('\n  , "last"') :]
    assert after.startswith(before + '"rw" :  {')
    assert after.endswith(behind)
    assert json.loads(after)["rw"] == {**OWN, "vendor": 1.0, "metadata": {"by": "me", "last_updated_epoch_time": 7}}
    assert '"vendor": 1.0' in after


def test_after_offboarding_only_state_and_time_are_left() -> None:
    after = json.loads(form.with_rw(AWKWARD, NEW, 7, bare=True))
    assert after["rw"] == {**NEW, "metadata": {"by": "me", "last_updated_epoch_time": 7}}
    assert after["ro"] == json.loads(AWKWARD)["ro"]
    assert json.loads(form.with_rw('{"ro": {}, "rw": {}}', NEW, None, bare=True))["rw"] == NEW


@pytest.mark.parametrize("text", ['{"ro": {"a": 1}}', "{}", ' {\n"ro": {}\n}\n\n'])
def test_a_file_without_rw_gets_one(text: str) -> None:
    assert json.loads(form.with_rw(text, NEW, None, bare=True)) == {**json.loads(text), "rw": NEW}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    st.dictionaries(st.text(), json_values, max_size=4),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
)
def test_whatever_else_is_there_is_not_touched(
    whole: dict[str, Any],
    rw: dict[str, Any],
    indent: int | None,
    bare: bool,  # noqa: FBT001  one of two forms
) -> None:
    text = json.dumps({**whole, "rw": rw}, indent=indent)
    after = json.loads(form.with_rw(text, OWN, None, bare=bare))
    assert {key: value for key, value in after.items() if key != "rw"} == {k: v for k, v in whole.items() if k != "rw"}
    kept = {} if bare else {key: value for key, value in rw.items() if key not in form.OWN}
    metadata = {"metadata": rw["metadata"]} if rw.get("metadata") is not None else {}
    assert after["rw"] == {**kept, **OWN, **metadata}


def test_a_new_file_has_what_is_configured(tmp_path: Path) -> None:
    told = form.read(form.fresh(RO).encode(), "FILE")
    assert told.ro.endpoint_url == RO["endpoint_url"]
    assert told.rw.iot_provisioning_state == "NOT_PROVISIONED"
