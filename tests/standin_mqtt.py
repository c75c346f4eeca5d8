"""paho as a device of the stand-in cloud: what it hears, how it ends, and certificates from fleet provisioning or a CA of its own."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from standin_rig import UPC, Cloud

PATIENCE = 10.0


def wait_until(condition: Callable[[], object], what: Callable[[], str] | str = "") -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.01)


class Mqtt:
    """A client that does not come back by itself. `heard`: (topic, body or bytes) in order; `ended`: the broker's reason."""

    def __init__(
        self, cloud: Cloud, files: tuple[Path, Path], name: str, *, v5: bool = True, keep_alive: int = 60
    ) -> None:
        version = paho.MQTTv5 if v5 else paho.MQTTv311
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=version, reconnect_on_failure=False
        )
        self.client.tls_set(cloud.told["ca"], str(files[0]), str(files[1]))
        self.heard: list[tuple[str, Any]] = []
        self.ended: Future[str] = Future()
        self._connected: Future[str] = Future()
        self._granted: dict[int, Future[list[int]]] = {}
        self.client.on_message = lambda _c, _u, message: self.heard.append((message.topic, _body(message.payload)))
        self.client.on_connect = lambda _c, _u, _f, reason, _p: _set(self._connected, str(reason))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self._end(str(reason))
        self.client.on_subscribe = lambda _c, _u, mid, codes, _p: self._granted_by(mid).set_result(
            [code.value for code in codes]
        )
        host, _, port = cloud.told["mqtt"].partition(":")
        self.client.connect(host, int(port), keep_alive)
        self.client.loop_start()

    def _end(self, reason: str) -> None:
        _set(self._connected, reason)
        _set(self.ended, reason)

    def _granted_by(self, mid: int) -> "Future[list[int]]":
        return self._granted.setdefault(mid, Future())

    def connected(self) -> str:
        """The broker's word on CONNECT."""
        return self._connected.result(PATIENCE)

    def subscribe(self, *topics: str) -> list[int]:
        """Reason codes by topic."""
        _, mid = self.client.subscribe([(topic, 1) for topic in topics])
        assert mid is not None
        return self._granted_by(mid).result(PATIENCE)

    def publish(self, topic: str, body: Any) -> None:
        """At QoS 1; waits for PUBACK."""
        payload = body if isinstance(body, bytes) else json.dumps(body)
        self.client.publish(topic, payload, 1).wait_for_publish(PATIENCE)

    def waits_for(self, topic: str, count: int = 1) -> Any:
        """The newest message on a topic, once there are `count`."""
        wait_until(lambda: len(self.on(topic)) >= count, lambda: f"{count} on {topic}, heard {self.heard}")
        return self.on(topic)[-1]

    def on(self, topic: str) -> list[Any]:
        return [body for at, body in list(self.heard) if at == topic]

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self) -> None:
        """Close the socket without DISCONNECT."""
        self.client.loop_stop()
        sock = self.client.socket()
        assert sock is not None
        sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _set(future: "Future[str]", value: str) -> None:
    if not future.done():
        future.set_result(value)


def _body(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload


class Keys:
    """A CA, or a key pair: private key and certificate as files of `folder`."""

    def __init__(self, folder: Path, name: str, issuer: "Keys | None" = None) -> None:
        self.name, self.key = name, ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        folder.mkdir(parents=True, exist_ok=True)
        self.files = folder / f"{name}.pem", folder / f"{name}.key"
        pem = serialization.Encoding.PEM
        self.files[1].write_bytes(
            self.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        by = issuer or self
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(by._subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .sign(by.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(pem).decode()
        self.files[0].write_text(self.pem)

    @property
    def id(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def csr(self) -> str:
        request = x509.CertificateSigningRequestBuilder().subject_name(self._subject).sign(self.key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def with_certificate(self, pem: str) -> tuple[Path, Path]:
        """The key with another certificate; its files."""
        path = self.files[0].with_name(f"{self.name}-vended.pem")
        path.write_text(pem)
        return path, self.files[1]


def provisioned(cloud: Cloud, folder: Path, serial: str, *, v5: bool = True) -> tuple[str, tuple[Path, Path]]:
    """A hub's thing, and the files of its certificate from fleet provisioning with a claim certificate."""
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name=f"p-{serial}")
    folder.mkdir(parents=True, exist_ok=True)
    claim = folder / "claim.pem", folder / "claim.key"
    claim[0].write_text(made["ClaimCertificate"])
    claim[1].write_text(made["ClaimCertificatePrivateKey"])
    thing, keys = cloud.hub(serial), Keys(folder, serial)
    with Mqtt(cloud, claim, f"claim-{serial}", v5=v5) as client:
        create, provision = (
            "$aws/certificates/create-from-csr/json",
            f"$aws/provisioning-templates/p-{serial}/provision/json",
        )
        assert client.subscribe(f"{create}/+", f"{provision}/+") == [1, 1]
        client.publish(create, {"certificateSigningRequest": keys.csr()})
        certificate = client.waits_for(f"{create}/accepted")
        parameters = {"deviceSerialNumber": serial, "universalProductCode": UPC}
        token = certificate["certificateOwnershipToken"]
        client.publish(provision, {"certificateOwnershipToken": token, "parameters": parameters})
        assert client.waits_for(f"{provision}/accepted")["thingName"] == thing
    return thing, keys.with_certificate(certificate["certificatePem"])
