"""Who a device is by the key that its maker has put into it: attestation tokens, key messages, and identity tokens. PURE.

A token of the modem is `<base64url message>.<base64url COSE_Sign1>` (RFC 9052, ES256). An attestation message is the CBOR list
[1, device UUID, device type, firmware UUID, nonce] (the SDK's `modem_attest_token.h`), and what is signed is the message itself. A key
message is a CSR or a public key in DER, and what is signed is the list [8 or 9, device UUID, security tag, SHA-256 of the message,
nonce] within the COSE object (nrfcloud-utils' `modem_credentials_parser`). The service knows identity keys from the maker; the stand-in
is told them with `enrol`.
"""

import base64
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from agent.sim.authority import p256_public_key, signed_by
from agent.sim.nrf.answers import BAD_REQUEST, DENIED, INVALID, NrfError
from agent.sim.nrf.cbor import dumps, loads, loads_tagged
from agent.sim.records import Records

SIGN1 = 18  # the CBOR tag of COSE_Sign1
ATTESTATION, PUBLIC_KEY, CSR = 1, 8, 9
TYPES = {
    1: "nrf9160_SIAA",
    2: "nrf9160_SIBA",
    3: "nrf9160_SICA",
    4: "nrf9161_LACA",
    5: "nrf9131_LACA",
    6: "nrf9151_LACA",
}
_UUID = 16  # bytes


@dataclass(frozen=True, slots=True)
class Attested:
    """What an attestation token says."""

    device: str  # UUID
    kind: str
    firmware: str  # UUID


class Identities:
    """Identity keys in the records of kind `nrf-identity`, by the UUID of their device."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def enrol(self, device: str, key: str) -> None:
        """What the maker does: tell the public key (PEM) of a device. Raises NrfError."""
        try:
            self._records.put("nrf-identity", str(uuid.UUID(device)), {"key": p256_public_key(key)})
        except ValueError as error:
            raise NrfError(INVALID, f"a UUID and a public key are wanted: {error}") from None

    def key(self, device: str) -> str | None:
        found = self._records.get("nrf-identity", device)
        return None if found is None else str(found["key"])

    def attested(self, token: str) -> Attested:
        """Verify an attestation token. Raises NrfError."""
        message, cose = _halves(token)
        match loads(message):
            case [1, bytes(device), int(kind), bytes(firmware), *_] if len(device) == len(firmware) == _UUID:
                found = Attested(
                    str(uuid.UUID(bytes=device)), TYPES.get(kind, "unknown"), str(uuid.UUID(bytes=firmware))
                )
            case _:
                raise NrfError(BAD_REQUEST, "the token is no device identity message")
        self._check(found.device, cose, message)
        return found

    def made_key(self, device: str, text: str) -> bytes:
        """Verify a key message of a device; the CSR or the public key, DER. Raises NrfError."""
        message, cose = _halves(text)
        match self._check(device, cose, None):
            case [int(kind), bytes(owner), _, bytes(digest), *_] if kind in (PUBLIC_KEY, CSR):
                if owner == uuid.UUID(device).bytes and digest == hashlib.sha256(message).digest():
                    return message
        raise NrfError(DENIED, "the key message is not signed for this key and device")

    def _check(self, device: str, cose: bytes, detached: bytes | None) -> Any:
        """Verify a signature; the content that is signed. Raises NrfError."""
        key = self.key(device)
        if key is None:
            raise NrfError(DENIED, f"no identity key is known for {device}")
        match loads_tagged(cose, SIGN1):
            case [bytes(header), _, (bytes() | None) as content, bytes(signature)]:
                payload = detached if content is None else content
                signed = dumps(["Signature1", header, b"", payload or b""])
                if payload is not None and signed_by(key, signature, signed):
                    return loads(payload)
        raise NrfError(DENIED, "the token is not signed by the device's identity key")


def _halves(token: str) -> tuple[bytes, bytes]:
    message, _, cose = token.strip().strip('"').partition(".")
    return _decoded(message), _decoded(cose)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise NrfError(BAD_REQUEST, "a token is two parts in base64url with a dot between them") from None
