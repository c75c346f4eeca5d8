"""The provisioning service: nrfcloud-utils as the owner, a modem with the SDK's formats as the device, over HTTP and CoAP."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cbor2
import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from nrf_modem import Modem
from nrf_mqtt_rig import press
from nrf_rig import CoapDevice, ask
from standin_mqtt import Keys, wait_until
from standin_rig import Cloud

from agent.sim.nrf.answers import NrfError
from agent.sim.nrf.identities import Identities
from agent.sim.nrf.provisioning import Provisioning
from agent.sim.records import Records

TAG = 16842753
KEY = {"cloudAccessKeyGeneration": {"secTag": TAG}}
# What nrfcloud-utils needs of nrfcredstore is a driver of debug probes and serial ports: the device here answers over the air.
OWNER = """
import sys, time, types
comms, interface = types.ModuleType("nrfcredstore.comms"), types.ModuleType("nrfcredstore.command_interface")
class Port:
    shell = False
    def __init__(self, *_, **__): pass
    def detect_shell_mode(self): pass
    def get_imei(self): return "351358811330130"
comms.Comms = comms.list_ports = interface.ATCommandInterface = interface.TLSCredShellInterface = Port
sys.modules |= {"nrfcredstore": types.ModuleType("nrfcredstore"), "nrfcredstore.comms": comms}
sys.modules["nrfcredstore.command_interface"] = interface
from nrfcloud_utils import claim_and_provision_device, claim_devices, nrf_cloud_diap, nrf_cloud_onboard
addresses = {nrf_cloud_diap: sys.argv[1] + "/", nrf_cloud_onboard: sys.argv[2] + "/"}
for module, address in addresses.items():
    module.api_url = address
    module.set_dev_stage = lambda stage="", address=address: address
claim_and_provision_device.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 100))
{"claim": claim_devices, "provision": claim_and_provision_device}[sys.argv[3]].main(sys.argv[4:])
"""


def owner(cloud: Cloud, tool: str, *arguments: str) -> str:
    """Run one of nrfcloud-utils' tools; what it logs."""
    command = [sys.executable, "-c", OWNER, cloud.told["nrf_provisioning"], cloud.told["nrf"], tool, *arguments]
    command += ["--api-key", cloud.told["nrf_api_key"], "--plain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def own(cloud: Cloud, method: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {cloud.told['nrf_api_key']}"}
    return urllib3.request(method, cloud.told["nrf_provisioning"] + path, headers=headers, **options)


def fetch(cloud: Cloud, modem: Modem, query: str = "", token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token or modem.token()}", "Accept": "application/cbor"}
    address = f"{cloud.told['nrf_provisioning']}/provisioning/commands?after={modem.latest}&{query}"
    return urllib3.request("GET", address, headers=headers)


def respond(cloud: Cloud, modem: Modem, responses: Any, **more: str) -> int:
    headers = {"Authorization": f"Bearer {modem.token()}", "Content-Type": "application/cbor", **more}
    address = f"{cloud.told['nrf_provisioning']}/provisioning/response"
    return int(urllib3.request("POST", address, body=cbor2.dumps(responses), headers=headers).status)


@pytest.fixture
def modem(cloud: Cloud) -> Modem:
    made = Modem()
    assert press(cloud, do="identity", device=made.uuid, key=made.identity) == 204
    return made


@pytest.fixture
def claimed(cloud: Cloud, modem: Modem) -> Modem:
    assert own(cloud, "POST", "/claimed-devices", json={"claimToken": modem.attestation()}).status == 201
    return modem


@pytest.fixture
def coap(cloud: Cloud, claimed: Modem) -> Iterator[CoapDevice]:
    with CoapDevice(cloud.told["nrf_coap"], cloud.told["ca"]) as made:
        yield made


def add(cloud: Cloud, modem: Modem, *requests: dict[str, Any]) -> list[str]:
    path = f"/claimed-devices/{modem.uuid}/provisioning"
    made = [own(cloud, "POST", path, json={"description": "x", "request": request}) for request in requests]
    assert [answer.status for answer in made] == [201] * len(made), made[-1].data
    return [answer.json()["id"] for answer in made]


def state(cloud: Cloud, modem: Modem, identifier: str) -> tuple[str, Any]:
    found = own(cloud, "GET", f"/claimed-devices/{modem.uuid}/provisioning/{identifier}").json()
    return found["status"], found.get("response")


# ---- nrfcloud-utils -------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_nordics_tool_claims_provisions_and_onboards_a_device(cloud: Cloud, modem: Modem, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "nrfcloud_utils.create_ca_cert", "--cn", "x", "-p", tmp_path], check=True)
    ca, key = next(tmp_path.glob("*_ca.pem")), next(tmp_path.glob("*_prv.pem"))
    over = threading.Event()

    def device() -> None:
        while not over.is_set():
            answer = fetch(cloud, modem)
            if answer.status == 200:
                responses = modem.carry_out(cbor2.loads(answer.data))
                assert respond(cloud, modem, responses) == 200
                if responses[-1][1] == 102:
                    over.set()
            over.wait(0.02)

    thread = threading.Thread(target=device)
    arguments = ("--attest", modem.attestation(), "--ca", str(ca), "--ca-key", str(key), "--tags", "hall", "--unclaim")
    try:
        thread.start()
        log = owner(cloud, "provision", *arguments)
    finally:
        over.set()
        thread.join()
    assert "COSE digest matches payload" in log
    assert "Onboarding API call response: 202" in log
    assert "BEGIN CERTIFICATE" in modem.store[TAG, 0]
    wait_until(lambda: ask(cloud, "GET", f"/devices/{modem.uuid}").status == 200, "the bulk operation's end")
    found = ask(cloud, "GET", f"/devices/{modem.uuid}", modem.cloud_token(TAG)).json()
    assert (found["id"], found["tags"], found["cloudMqttEnabled"]) == (modem.uuid, ["hall"], True)
    assert own(cloud, "GET", f"/claimed-devices/{modem.uuid}").json()["status"] == "FINISHED"
    own(cloud, "DELETE", f"/claimed-devices/{modem.uuid}")
    assert ask(cloud, "GET", f"/devices/{modem.uuid}").status == 404


@pytest.mark.conformance
def test_nordics_tool_has_devices_onboard_themselves_by_a_rule(cloud: Cloud, modem: Modem) -> None:
    tags = ("--provisioning-tags", "nrf-cloud-onboarding")
    log = owner(cloud, "provision", "--attest", modem.attestation(), *tags)
    assert "Create provisioning rule response: 201" in log
    assert own(cloud, "GET", f"/claimed-devices/{modem.uuid}/provisioning").json()["items"] == []  # it was not here yet
    commands = cbor2.loads(fetch(cloud, modem).data)
    assert [command[2] for command in commands] == ["%KEYGEN", "%KEYGEN", "%CMNG"]
    assert respond(cloud, modem, modem.carry_out(commands)) == 200
    assert fetch(cloud, modem).status == 204
    assert ask(cloud, "GET", f"/devices/{modem.uuid}", modem.cloud_token(TAG)).status == 200
    again = owner(cloud, "provision", "--attest", modem.attestation(), *tags, "--unclaim")
    assert "Create provisioning rule response" not in again
    rules = own(cloud, "GET", "/provisioning-rules").json()["items"]
    assert [rule["tags"] for rule in rules] == [["nrf-cloud-onboarding"]]
    assert [tag["tag"] for tag in own(cloud, "GET", "/provisioning/tags").json()["items"]] == ["nrf-cloud-onboarding"]
    assert [own(cloud, "DELETE", f"/provisioning-rules/{rules[0]['id']}").status for _ in range(2)] == [204, 404]


@pytest.mark.conformance
def test_nordics_tool_claims_many_and_is_told_of_those_that_it_may_not(cloud: Cloud, tmp_path: Path) -> None:
    modems = [Modem(), Modem(), Modem()]
    for made in modems[:2]:
        assert press(cloud, do="identity", device=made.uuid, key=made.identity) == 204
    table = tmp_path / "tokens.csv"
    table.write_text("".join(f"35,{made.uuid},{made.attestation()},now\n" for made in modems[:2]))
    assert "2 of 2 devices claimed" in owner(cloud, "claim", "--csv", str(table), "--provisioning-tags", "hall,east")
    assert own(cloud, "GET", f"/claimed-devices/{modems[0].uuid}").json()["tags"] == ["hall", "east"]
    table.write_text("".join(f"35,{made.uuid},{made.attestation()},now\n" for made in modems[1:]))
    log = owner(cloud, "claim", "--csv", str(table))
    assert "Error 422 on 2 rows" in log
    assert "claimed already" in log
    assert "no identity key is known" in log


# ---- claims ---------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_only_who_shows_the_devices_own_token_may_claim_it(cloud: Cloud, modem: Modem) -> None:
    stranger = Modem()
    stranger.uuid = modem.uuid
    token = modem.attestation()
    for wrong, status in (
        (stranger.attestation(), 401),
        (Modem().attestation(), 401),
        (token.partition(".")[0], 400),
        (token[:60] + ("B" if token[60] == "A" else "A") + token[61:], 401),
        (modem.key_message(b"x"), 400),
        ("a.b", 400),
        ("", 400),
    ):
        assert own(cloud, "POST", "/claimed-devices", json={"claimToken": wrong}).status == status, wrong
    assert own(cloud, "POST", "/claimed-devices", json={"claimToken": token, "tags": "x"}).status == 422
    dry = own(cloud, "POST", "/claimed-devices?dryrun=true", json={"claimToken": token})
    assert (dry.status, own(cloud, "GET", f"/claimed-devices/{modem.uuid}").status) == (202, 404)
    made = own(cloud, "POST", "/identities/claimed-devices", json={"claimToken": token, "tags": ["a"]})
    claim = made.json()
    assert (made.status, claim["id"], claim["deviceType"]) == (201, modem.uuid, "nrf9160_SICA")
    assert (claim["tags"], claim["ownershipStatus"], claim["status"]) == (["a"], "IDENTIFIED", "READY")
    again = own(cloud, "POST", "/claimed-devices?dryrun=true", json={"claimToken": token})
    assert (again.status, again.json()["message"]) == (409, "the device is claimed already")
    listed = own(cloud, "GET", "/claimed-devices?pageLimit=100").json()["items"]
    assert claim in listed
    assert urllib3.request("GET", f"{cloud.told['nrf_provisioning']}/claimed-devices").status == 401
    assert own(cloud, "GET", "/nothing").status == 404
    assert press(cloud, do="identity", device="x", key=modem.identity) == 422
    assert press(cloud, do="identity", device=modem.uuid, key="x") == 422


# ---- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_commands_are_given_in_order_and_end_with_their_responses(cloud: Cloud, claimed: Modem) -> None:
    certificate = {"secTag": 42, "content": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"}
    asked = (
        {"clientPrivateKeyGeneration": {"secTag": 41}},
        {"certificateSigningRequest": {"secTag": 42, "attributes": "O=Acme,CN=x", "keyUsage": "101010000"}},
        {"serverCertificate": certificate},
        {"clientCertificate": certificate},
        {"clientPrivateKey": certificate},
        {"config": {"period": "60"}},
        {"finished": {}},
    )
    made = add(cloud, claimed, *asked)
    first = cbor2.loads(fetch(cloud, claimed, "limit=2&rxMaxSize=2048&txMaxSize=2048&mver=x&cver=1").data)
    assert [command[0] for command in first] == made[:2]
    assert [state(cloud, claimed, identifier)[0] for identifier in made[:3]] == [
        "IN_PROGRESS",
        "IN_PROGRESS",
        "PENDING",
    ]
    assert respond(cloud, claimed, claimed.carry_out(first)) == 200
    rest = cbor2.loads(fetch(cloud, claimed).data)
    assert [command[0] for command in rest] == made[2:]
    assert respond(cloud, claimed, claimed.carry_out(rest)) == 200
    assert fetch(cloud, claimed).status == 204
    states = [state(cloud, claimed, identifier) for identifier in made]
    assert {status for status, _ in states} == {"SUCCEEDED"}
    assert list(states[1][1]["certificateSigningRequest"]) == ["csr"]
    assert states[2][1] == {"serverCertificate": {"message": "OK"}}
    assert (claimed.store[42, 0], claimed.configuration) == (certificate["content"], {"period": "60"})
    assert (
        respond(cloud, claimed, [[made[0], 100, "again"]]) == 200
    )  # a response that was lost on its way is sent again


@pytest.mark.conformance
def test_what_fails_holds_up_what_comes_after_it(cloud: Cloud, claimed: Modem) -> None:
    made = add(cloud, claimed, {"config": {"a": "1"}}, {"clientPrivateKeyGeneration": {"secTag": 1}}, {"finished": {}})
    responses = claimed.carry_out(cbor2.loads(fetch(cloud, claimed).data), fail=1)
    assert respond(cloud, claimed, responses) == 200
    failed = ("FAILED", {"error": {"cmeError": 513, "message": "ERROR"}})
    assert state(cloud, claimed, made[1]) == failed
    assert state(cloud, claimed, made[2])[0] == "PENDING"
    assert fetch(cloud, claimed).status == 204
    assert own(cloud, "DELETE", f"/claimed-devices/{claimed.uuid}/provisioning/{made[1]}").status == 204
    assert [command[0] for command in cbor2.loads(fetch(cloud, claimed).data)] == [made[2]]
    claimed.latest = ""
    assert [command[0] for command in cbor2.loads(fetch(cloud, claimed, "rxMaxSize=60").data)] == [made[2]]
    assert fetch(cloud, claimed, "rxMaxSize=5").status == 204
    for query in ("limit=0", "limit=x", "rxMaxSize=-1"):
        assert fetch(cloud, claimed, query).status == 400


@pytest.mark.conformance
@pytest.mark.parametrize(
    "request_",
    [
        None,
        {},
        {"toast": {}},
        {"finished": 1},
        {"finished": {}, "config": {"a": "1"}},
        {"config": {}},
        {"config": {"a": 1}},
        {"serverCertificate": {"secTag": 1}},
        {"serverCertificate": {"secTag": True, "content": "x"}},
        {"serverCertificate": {"secTag": -1, "content": "x"}},
        {"serverCertificate": {"secTag": 1.5e300, "content": "x"}},
        {"serverCertificate": {"secTag": 1, "content": '"AT+CFUN=0'}},
        {"certificateSigningRequest": {"secTag": 1, "attributes": "", "keyUsage": "1" * 10}},
    ],
    ids=str,
)
def test_a_command_that_no_modem_takes_is_refused(cloud: Cloud, claimed: Modem, request_: Any) -> None:
    path = f"/claimed-devices/{claimed.uuid}/provisioning"
    assert own(cloud, "POST", path, json={"request": request_}).status == 422
    rule = {"name": "x", "tags": [], "commands": [{"request": request_}]}
    assert own(cloud, "POST", "/provisioning-rules", json=rule).status == 422


@pytest.mark.conformance
def test_a_device_has_twenty_commands_at_most(cloud: Cloud, claimed: Modem) -> None:
    add(cloud, claimed, *[{"finished": {}}] * 20)
    path = f"/claimed-devices/{claimed.uuid}/provisioning"
    assert own(cloud, "POST", path, json={"request": {"finished": {}}}).status == 422
    assert own(cloud, "POST", f"/claimed-devices/{Modem().uuid}/provisioning", json={"request": KEY}).status == 404


@pytest.mark.conformance
def test_a_rule_waits_until_all_its_commands_have_room(cloud: Cloud, modem: Modem) -> None:
    rule = {"name": "x", "tags": [modem.uuid], "commands": [{"request": {"config": {"a": "1"}}}] * 20}
    assert own(cloud, "POST", "/provisioning-rules", json={**rule, "commands": rule["commands"] * 2}).status == 422
    made = own(cloud, "POST", "/provisioning-rules", json=rule).json()
    claim = {"claimToken": modem.attestation(), "tags": [modem.uuid]}
    assert own(cloud, "POST", "/claimed-devices", json=claim).status == 201
    (own_command,) = add(cloud, modem, {"finished": {}})
    assert [command[0] for command in cbor2.loads(fetch(cloud, modem).data)] == [own_command]
    assert own(cloud, "DELETE", f"/claimed-devices/{modem.uuid}/provisioning/{own_command}").status == 204
    assert len(cbor2.loads(fetch(cloud, modem).data)) == 20
    assert own(cloud, "DELETE", f"/provisioning-rules/{made['id']}").status == 204


@pytest.mark.conformance
def test_a_key_for_the_cloud_is_taken_from_the_modem_that_made_it_only(
    cloud: Cloud, claimed: Modem, tmp_path: Path
) -> None:
    (made,) = add(cloud, claimed, KEY)
    ((identifier, *_),) = cbor2.loads(fetch(cloud, claimed).data)
    other = Modem()
    (forged,) = other.carry_out([[identifier, 0, "%KEYGEN", f"{TAG},2,0", []]])
    assert respond(cloud, claimed, [forged]) == 401
    junk = [identifier, 100, f'%KEYGEN: "{claimed.key_message(b"no CSR")}"']
    assert respond(cloud, claimed, [junk]) == 422
    assert state(cloud, claimed, made)[0] == "IN_PROGRESS"
    good = claimed.carry_out([[identifier, 0, "%KEYGEN", f"{TAG},2,0", []]])
    assert respond(cloud, claimed, good) == 200
    assert ask(cloud, "GET", f"/devices/{claimed.uuid}", claimed.cloud_token(TAG)).status == 200
    before = claimed.cloud_token(TAG)
    (again,) = add(cloud, claimed, KEY)
    assert respond(cloud, claimed, claimed.carry_out(cbor2.loads(fetch(cloud, claimed).data))) == 200
    assert state(cloud, claimed, again)[0] == "SUCCEEDED"
    assert ask(cloud, "GET", f"/devices/{claimed.uuid}", before).status == 401
    now = claimed.cloud_token(TAG)
    assert [ask(cloud, "GET", f"/{path}", now).status for path in (f"devices/{claimed.uuid}", "location/pgps")] == [
        200,
        200,
    ]
    assert own(cloud, "DELETE", f"/claimed-devices/{claimed.uuid}").status == 204
    assert ask(cloud, "GET", "/location/pgps", now).status == 401


# ---- the device plane -----------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_http_wants_an_identity_token_and_responses_in_cbor(cloud: Cloud, claimed: Modem) -> None:
    (made,) = add(cloud, claimed, {"finished": {}})
    unclaimed = Modem()
    assert press(cloud, do="identity", device=unclaimed.uuid, key=unclaimed.identity) == 204
    assert fetch(cloud, unclaimed).status == 403
    tokens = [Modem().token(), claimed.token(exp=1), claimed.token(iss=f"nRF9160.{unclaimed.uuid}"), "x"]
    assert [fetch(cloud, claimed, token=token).status for token in tokens] == [401] * 4
    assert fetch(cloud, claimed, token=claimed.token(sub=claimed.uuid, exp=4102444800)).status == 200
    assert respond(cloud, claimed, [[made, 102]], **{"Content-Type": "application/json"}) == 415
    for wrong in ([], {}, [[made]], [[made, 100, "x"]], [[made, 101]], [[made, 99, "x", "x"]], [["x", 102]], [made]):
        assert respond(cloud, claimed, wrong) in (400, 404), wrong
    assert state(cloud, claimed, made)[0] == "IN_PROGRESS"


@pytest.mark.conformance
def test_coap_has_a_login_of_its_own(cloud: Cloud, claimed: Modem, coap: CoapDevice, tmp_path: Path) -> None:
    def code(*request: Any, **options: Any) -> str:
        return str(coap.ask(*request, **options).code)[:4]

    (made,) = add(cloud, claimed, KEY)
    assert (code("GET", "p/cmd"), code("POST", "p/rsp", b"")) == ("4.01", "4.01")
    assert code("POST", "p/auth-jwt", Keys(tmp_path, "x").pem.encode(), content_format=0) == "4.03"
    login = coap.ask("POST", "p/auth-jwt?mver=1&cver=1", claimed.token().encode(), content_format=60)
    assert (str(login.code), login.opt.max_age) == ("2.01 Created", 2592000)
    assert (code("GET", "state"), code("POST", "p/cmd"), code("GET", "p/x")) == ("4.01", "4.05", "4.04")
    commands = coap.ask("GET", "p/cmd?after=&rxMaxSize=2048&txMaxSize=2048")
    assert str(commands.code) == "2.05 Content"
    responses = cbor2.dumps(claimed.carry_out(cbor2.loads(commands.payload)))
    assert code("POST", "p/rsp", responses, content_format=50) == "4.15"
    assert code("POST", "p/rsp", b"\xff", content_format=60) == "4.00"
    assert code("POST", "p/rsp", responses, content_format=60) == "2.04"
    empty = coap.ask("GET", f"p/cmd?after={claimed.latest}")
    assert (str(empty.code), empty.payload) == ("2.05 Content", b"")
    assert state(cloud, claimed, made)[0] == "SUCCEEDED"
    assert str(coap.login(claimed.cloud_token(TAG)).code) == "2.01 Created"
    assert code("GET", "state") == "2.05"


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=6,
)


@given(
    st.text(max_size=40) | st.binary(max_size=40).map(lambda text: text.decode("latin-1")), st.lists(values, max_size=3)
)
def test_any_token_and_any_response_is_taken_or_refused(token: str, responses: list[Any]) -> None:
    with closing(Records(None, ("claimId",))) as records:
        identities = Identities(records)
        modem = Modem()
        identities.enrol(modem.uuid, modem.identity)
        service = Provisioning(records, lambda: 1.0, identities, lambda _device, _key: None, lambda _device: None)
        service.claim(modem.attestation(), [])
        made = service.add(modem.uuid, {"request": KEY})
        for text in (token, f"{token}.{token}", modem.attestation() + token):
            with pytest.raises(NrfError):
                service.claim(text, [])
        for rows in (responses, [[made["id"], *responses]], [[made["id"], 100, token]]):
            with pytest.raises(NrfError):
                service.respond(modem.uuid, cbor2.dumps(rows))
