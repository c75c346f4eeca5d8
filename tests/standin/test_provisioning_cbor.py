"""Fleet provisioning in CBOR: each call over its `/cbor` topic, what is refused too, and any bytes in either format."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from standin_account import Account
from standin_rig import UPC

PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
PROVISION = "$aws/provisioning-templates/hubs/provision"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    made.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="hubs")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One account for many requests that are all refused."""
    made = Account(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def csr(key: ec.EllipticCurvePrivateKey) -> str:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def cbor(account: Account, topic: str, body: Any = None) -> tuple[str, dict[str, Any]]:
    payload = b"" if body is None else body if isinstance(body, bytes) else cbor2.dumps(body)
    outcome, answer = account.ask(f"{topic}/cbor", payload)
    return outcome, cbor2.loads(answer)


def certificate(account: Account, csr: str) -> dict[str, Any]:
    outcome, made = cbor(account, "$aws/certificates/create-from-csr", {"certificateSigningRequest": csr})
    assert outcome == "accepted", made
    return made


def claim(account: Account, token: Any, serial: str, **more: Any) -> tuple[str, dict[str, Any]]:
    parameters = {"deviceSerialNumber": serial, "universalProductCode": UPC}
    body = {"certificateOwnershipToken": token, "parameters": parameters, **more}
    return cbor(account, PROVISION, {name: value for name, value in body.items() if value is not None})


def test_a_key_and_its_certificate_come_from_create(account: Account) -> None:
    outcome, made = cbor(account, "$aws/certificates/create")
    assert outcome == "accepted"
    assert made.keys() == {"certificateId", "certificatePem", "privateKey", "certificateOwnershipToken"}
    held = serialization.load_pem_private_key(made["privateKey"].encode(), None).public_key()
    found = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    assert found.public_key().public_bytes(*PUBLIC) == held.public_bytes(*PUBLIC)
    assert found.fingerprint(hashes.SHA256()).hex() == made["certificateId"]


def test_a_request_for_a_certificate_leads_to_a_thing(
    account: Account, csr: str, key: ec.EllipticCurvePrivateKey
) -> None:
    (hub,) = account.things(1)
    made = certificate(account, csr)
    assert made.keys() == {"certificateId", "certificatePem", "certificateOwnershipToken"}
    found = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    assert found.public_key().public_bytes(*PUBLIC) == key.public_key().public_bytes(*PUBLIC)
    outcome, answer = claim(account, made["certificateOwnershipToken"], "HUB-000000")
    assert (outcome, answer["thingName"]) == ("accepted", hub)
    assert answer["deviceConfiguration"]["managedThingId"] == hub
    assert account.api.get_managed_thing_certificate(Identifier=hub)["CertificatePem"] == made["certificatePem"]


def test_a_map_of_indefinite_length_is_a_request_too(account: Account, csr: str) -> None:
    """RFC 8949, section 3.2.2: what an encoder that streams sends."""
    text = cbor2.dumps("certificateSigningRequest") + b"\x7f" + cbor2.dumps(csr[:9]) + cbor2.dumps(csr[9:]) + b"\xff"
    outcome, _ = cbor(account, "$aws/certificates/create-from-csr", b"\xbf" + text + b"\xff")
    assert outcome == "accepted"


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        ("certificates/create-from-csr", b"\xff", 400, "InvalidRequest"),
        ("certificates/create-from-csr", b'{"certificateSigningRequest": "x"}', 400, "InvalidRequest"),
        ("certificates/create-from-csr", [1], 400, "InvalidRequest"),
        ("certificates/create-from-csr", {}, 400, "InvalidCertificateSigningRequest"),
        ("certificates/create-from-csr", {"certificateSigningRequest": "x"}, 400, "InvalidCertificateSigningRequest"),
        ("provisioning-templates/hubs/provision", {}, 400, "InvalidRequest"),
        ("provisioning-templates/hubs/provision", {"certificateOwnershipToken": b"x"}, 400, "InvalidRequest"),
        ("provisioning-templates/hubs/provision", {"certificateOwnershipToken": "x", "parameters": {"a": 1}}, 400, ""),
        ("provisioning-templates/hubs/provision", {"certificateOwnershipToken": "x", "parameters": {1: "a"}}, 400, ""),
        (
            "provisioning-templates/hubs/provision",
            {"certificateOwnershipToken": "x"},
            403,
            "InvalidCertificateOwnershipToken",
        ),
        ("certificates/other", None, 400, "InvalidTopic"),
    ],
)
def test_a_refusal_is_cbor_too(account: Account, operation: str, body: Any, status: int, code: str) -> None:
    outcome, answer = cbor(account, f"$aws/{operation}", body)
    assert (outcome, answer.keys()) == ("rejected", {"statusCode", "errorCode", "errorMessage"})
    assert (answer["statusCode"], answer["errorCode"]) == (status, code or "InvalidRequest")


def test_who_is_not_expected_is_refused_and_a_token_is_good_once_and_for_an_hour(account: Account, csr: str) -> None:
    account.things(3)
    token = certificate(account, csr)["certificateOwnershipToken"]
    assert claim(account, token, "HUB-STRANGER")[1]["errorCode"] == "ACCESS_DENIED"
    assert cbor(account, PROVISION, {"certificateOwnershipToken": token})[1]["errorCode"] == "ACCESS_DENIED"
    unknown = PROVISION.replace("hubs", "others")
    parameters = {"deviceSerialNumber": "HUB-000000", "universalProductCode": UPC}
    request = {"certificateOwnershipToken": token, "parameters": parameters}
    assert cbor(account, unknown, request)[1]["errorCode"] == "ResourceNotFound"
    assert claim(account, token, "HUB-000000")[0] == "accepted"
    assert claim(account, token, "HUB-000001")[1]["errorCode"] == "InvalidCertificateOwnershipToken"
    late = certificate(account, csr)["certificateOwnershipToken"]
    account.pass_minutes(60)
    assert claim(account, late, "HUB-000002")[1]["errorCode"] == "InvalidCertificateOwnershipToken"


def test_a_format_that_is_none_is_not_answered(account: Account) -> None:
    account.service.take_leaving()
    account.service.hear("$aws/certificates/create/xml", b"")
    assert account.service.take_leaving() == []


TEXTS = st.text(st.sampled_from("aé\x00\ud800"), max_size=3)
PARAMETERS = st.dictionaries(st.sampled_from(("SN", "UPC")), TEXTS | st.none())
FORMS = st.sampled_from(("json", "cbor"))
TOPICS = st.sampled_from((PROVISION, "$aws/certificates/create-from-csr"))


@given(TOPICS, FORMS, st.binary(max_size=40))
def test_any_bytes_are_answered_in_their_format(shared: Account, topic: str, form: str, payload: bytes) -> None:
    outcome, answer = shared.ask(f"{topic}/{form}", payload)
    assert outcome == "rejected"
    assert {"json": json.loads, "cbor": cbor2.loads}[form](answer)["statusCode"] in (400, 403)


@given(TOPICS, TEXTS, PARAMETERS)
def test_texts_that_are_none_are_refused(
    shared: Account, topic: str, token: str, parameters: dict[str, str | None]
) -> None:
    """JSON can name half of a surrogate pair, which no text has and no database takes."""
    body = {"certificateOwnershipToken": token, "parameters": parameters, "certificateSigningRequest": token}
    assert shared.ask(f"{topic}/json", json.dumps(body).encode())[0] == "rejected"
