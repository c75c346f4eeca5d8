"""The AWS IoT Device SDK, unmodified, as a device of the stand-in cloud."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from awscrt import mqtt5
from awsiot import iotidentity, mqtt5_client_builder
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standin_rig import UPC, Cloud

PATIENCE = 15.0
QOS = mqtt5.QoS.AT_LEAST_ONCE


class Device:
    """The SDK's MQTT 5 client with a certificate; `stop` ends it."""

    def __init__(self, cloud: Cloud, certificate: str, key: str, name: str) -> None:
        host, _, port = cloud.told["mqtt"].partition(":")
        connected: Future[None] = Future()
        self._stopped: Future[None] = Future()
        self.client = mqtt5_client_builder.mtls_from_bytes(
            certificate.encode(),
            key.encode(),
            endpoint=host,
            port=int(port),
            ca_bytes=Path(cloud.told["ca"]).read_bytes(),
            client_id=name,
            on_lifecycle_connection_success=lambda _data: connected.done() or connected.set_result(None),
            on_lifecycle_stopped=lambda _data: self._stopped.set_result(None),
        )
        self.client.start()
        connected.result(PATIENCE)
        self.connection = self.client.new_connection()

    def stop(self) -> None:
        self.client.stop()
        self._stopped.result(PATIENCE)


def listen(subscribe: Callable[..., Any], request: Any) -> "Future[Any]":
    """Subscribe with one of the SDK's calls; the first message."""
    heard: Future[Any] = Future()
    done, _topic = subscribe(
        request=request, qos=QOS, callback=lambda message: heard.done() or heard.set_result(message)
    )
    done.result(PATIENCE)
    return heard


def from_csr(identity: iotidentity.IotIdentityClient) -> tuple[Any, str]:
    """A certificate for a key that stays here."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    wanted = iotidentity.CreateCertificateFromCsrSubscriptionRequest()
    heard = listen(identity.subscribe_to_create_certificate_from_csr_accepted, wanted)
    text = csr.public_bytes(serialization.Encoding.PEM).decode()
    identity.publish_create_certificate_from_csr(
        iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=text), QOS
    ).result(PATIENCE)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return heard.result(PATIENCE), pem.decode()


def register(identity: Any, template: str, token: str, serial: str) -> tuple["Future[Any]", "Future[Any]"]:
    wanted = iotidentity.RegisterThingSubscriptionRequest(template_name=template)
    accepted = listen(identity.subscribe_to_register_thing_accepted, wanted)
    rejected = listen(identity.subscribe_to_register_thing_rejected, wanted)
    parameters = {"deviceSerialNumber": serial, "universalProductCode": UPC}
    request = iotidentity.RegisterThingRequest(
        template_name=template, certificate_ownership_token=token, parameters=parameters
    )
    identity.publish_register_thing(request, QOS).result(PATIENCE)
    return accepted, rejected
