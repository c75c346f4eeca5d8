"""Fleet provisioning by claim, with the stand-in cloud's broker: the certificate, and each way to be refused."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from standin_rig import UPC, Cloud

from agent.cloud.mqtt import Endpoint, MqttLost
from agent.cloud.tls import tls_context
from agent.errors import TryAgainError
from agent.identity import keys, provisioning
from agent.identity.provisioning import ProvisioningRefusedError, by_claim

SERIAL = "HUB-CLAIM-0001"
PARAMETERS = {"deviceSerialNumber": SERIAL, "universalProductCode": UPC}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data")
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="module")
def endpoint(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    """With the claim certificate of the profile "claims"."""
    return claiming(cloud, tmp_path_factory.mktemp("claim"))


def claiming(cloud: Cloud, folder: Path) -> Endpoint:
    profile = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="claims")
    files = folder / "claim.pem", folder / "claim.key"
    files[0].write_text(profile["ClaimCertificate"])
    files[1].write_text(profile["ClaimCertificatePrivateKey"])
    host, _, port = cloud.told["mqtt"].partition(":")
    tls = tls_context(ca=cloud.told["ca"], certificate=str(files[0]), key=str(files[1]))
    return Endpoint(host, int(port), "claim", 60, tls)


async def test_a_key_that_stays_here_gets_its_certificate(cloud: Cloud, endpoint: Endpoint) -> None:
    thing, key = await asyncio.to_thread(cloud.hub, SERIAL), keys.generate()
    identity = await by_claim(endpoint, "claims", keys.certificate_request(key, SERIAL), PARAMETERS)
    assert identity.thing == thing
    assert identity.configuration["clientId"] == thing
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    asked = x509.load_pem_x509_csr(keys.certificate_request(key, SERIAL).encode())
    assert certificate.public_key() == asked.public_key()


@pytest.mark.parametrize(
    ("template", "request_", "parameters", "code"),
    [
        ("claims", "", {"deviceSerialNumber": "NOBODY-0000001", "universalProductCode": UPC}, "ACCESS_DENIED"),
        ("claims", "", {}, "ACCESS_DENIED"),
        ("claims", "no request", PARAMETERS, "InvalidCertificateSigningRequest"),
    ],
)
async def test_a_refusal_has_the_clouds_word(
    endpoint: Endpoint, template: str, request_: str, parameters: Any, code: str
) -> None:
    text = request_ or keys.certificate_request(keys.generate(), SERIAL)
    with pytest.raises(ProvisioningRefusedError, match=code) as refused:
        await by_claim(endpoint, template, text, parameters)
    assert refused.value.code == code
    assert refused.value.remedy


async def test_a_template_of_another_claim_is_refused_by_the_broker(endpoint: Endpoint) -> None:
    text = keys.certificate_request(keys.generate(), SERIAL)
    with pytest.raises(MqttLost, match="refused to subscribe to"):
        await by_claim(endpoint, "others", text, PARAMETERS)


async def test_a_cloud_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Cloud(tmp_path / "data", "--faults", "drop_reply=1")
    monkeypatch.setattr(provisioning, "ANSWER", 0.3)
    text = keys.certificate_request(keys.generate(), SERIAL)
    with pytest.raises(TryAgainError, match="no answer on"):
        await by_claim(claiming(silent, tmp_path), "claims", text, PARAMETERS)
    assert silent.stop() == 0
