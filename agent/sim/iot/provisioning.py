"""Fleet provisioning by claim: certificates for devices, the one-hour ownership token, and the check that a device is expected.

Topics, bodies and errors: AWS IoT developer guide, "Device provisioning MQTT API".
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import cbor2

from agent.sim.authority import Authority, common_name, fingerprint
from agent.sim.exchange import read_json
from agent.sim.records import Record, Records

TOKEN_LIFE = 3600.0  # seconds
PENDING, ACTIVE = "PENDING_ACTIVATION", "ACTIVE"

Body = dict[str, Any]
Claim = Callable[[str, Mapping[str, str], str], tuple[str, Mapping[str, str]]]


class ProvisioningError(Exception):
    """A request that ends in `…/rejected`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Provisioning:
    """Certificates in the records of kind `certificate`. `claim(template, parameters, certificate)` names thing and configuration."""

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        publish: Callable[[str, bytes], None],
        authority: Authority,
        claim: Claim,
        token_life: float = TOKEN_LIFE,
    ) -> None:
        self._records = records
        self._token_life = token_life
        self._now = now
        self._publish = publish
        self._authority = authority
        self._claim = claim

    def request(self, topic: str, payload: bytes) -> None:
        """Answer a request on the same topic with /accepted or /rejected, in the format that its last part names."""
        words = topic.split("/")
        form = words[-1]
        if form not in _READ:
            return
        try:
            answer = self._answer(words[1:-1], _body(form, payload))
        except ProvisioningError as error:
            refused = {"statusCode": error.status, "errorCode": error.code, "errorMessage": str(error)}
            self._publish(f"{topic}/rejected", _WRITE[form](refused))
            return
        self._publish(f"{topic}/accepted", _WRITE[form](answer))

    def _answer(self, words: list[str], body: Body) -> Body:
        match words:
            case ["certificates", "create"]:
                return self._with_key()
            case ["certificates", "create-from-csr"]:
                return self._from_csr(body)
            case ["provisioning-templates", template, "provision"]:
                return self._provision(template, body)
        raise ProvisioningError(400, "InvalidTopic", "no such operation")

    def _with_key(self) -> Body:
        certificate, key = self._authority.issue_with_key(_name())
        return {**self._pending(certificate), "privateKey": key}

    def _from_csr(self, body: Body) -> Body:
        csr = body.get("certificateSigningRequest")
        try:
            return self._pending(self._authority.issue_from_csr(str(csr), _name()))
        except ValueError as error:
            raise ProvisioningError(400, "InvalidCertificateSigningRequest", str(error)) from None

    def _pending(self, pem: str) -> Body:
        token, identifier = secrets.token_urlsafe(48), fingerprint(pem)
        record = {
            "Id": identifier,
            "pem": pem,
            "commonName": common_name(pem),
            "status": PENDING,
            "deadline": self._now() + self._token_life,
        }
        self._records.put("certificate", identifier, record)
        # The token is a bearer secret: only its digest is kept.
        self._records.put("ownership", _digest(token), {"certificate": identifier})
        return {"certificateId": identifier, "certificatePem": pem, "certificateOwnershipToken": token}

    def _provision(self, template: str, body: Body) -> Body:
        token, parameters = body.get("certificateOwnershipToken"), body.get("parameters", {})
        if not isinstance(token, str) or not _are_texts(parameters):
            raise ProvisioningError(400, "InvalidRequest", "certificateOwnershipToken, and parameters that are texts")
        certificate = self._owned(token)
        thing, configuration = self._claim(template, parameters, certificate["pem"])
        active = {**certificate, "status": ACTIVE, "thing": thing, "activatedAt": self._now(), "deadline": None}
        self._records.put("certificate", certificate["Id"], active)
        self._records.delete("ownership", _digest(token))
        return {"deviceConfiguration": dict(configuration), "thingName": thing}

    def _owned(self, token: str) -> Record:
        owned = self._records.get("ownership", _digest(token))
        certificate = self._records.get("certificate", owned["certificate"]) if owned else None
        if certificate is None or certificate["status"] != PENDING or certificate["deadline"] <= self._now():
            raise ProvisioningError(
                403, "InvalidCertificateOwnershipToken", "the token is unknown, used or older than an hour"
            )
        return certificate

    def tick(self) -> None:
        """Delete the certificates that nobody has claimed within their hour."""
        for certificate in list(self._records.all("certificate", status=PENDING)):
            if certificate.get("deadline", float("inf")) <= self._now():
                self._records.delete("certificate", certificate["Id"])

    def revoke(self, thing: str) -> None:
        """A thing that is gone has no certificate any more."""
        for certificate in list(self._records.all("certificate", thing=thing)):
            self._records.delete("certificate", certificate["Id"])


def _name() -> str:
    return f"device-{secrets.token_hex(16)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _are_texts(parameters: Any) -> bool:
    return isinstance(parameters, dict) and all(isinstance(text, str) for pair in parameters.items() for text in pair)


def _body(form: str, payload: bytes) -> Body:
    if not payload:
        return {}
    try:
        body = _READ[form](payload)
    except (ValueError, RecursionError, cbor2.CBORDecodeError):
        raise ProvisioningError(400, "InvalidRequest", f"the payload is not {form}") from None
    if not isinstance(body, dict):
        raise ProvisioningError(400, "InvalidRequest", "the payload is not a map")
    return body


_READ: Mapping[str, Callable[[bytes], Any]] = {"json": read_json, "cbor": cbor2.loads}
_WRITE: Mapping[str, Callable[[Body], bytes]] = {"json": lambda body: json.dumps(body).encode(), "cbor": cbor2.dumps}
