"""A modem with an identity key, as the provisioning service knows it: its tokens, and the commands that it carries out."""

import base64
import hashlib
import secrets
import uuid
from typing import Any

import cbor2
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PEM = serialization.Encoding.PEM


class Modem:
    """`store`: what %CMNG has written, by (security tag, type); `keys`: what %KEYGEN has made, by security tag."""

    def __init__(self) -> None:
        self.uuid = str(uuid.uuid4())
        self._identity = ec.generate_private_key(ec.SECP256R1())
        self.store: dict[tuple[int, int], str] = {}
        self.keys: dict[int, ec.EllipticCurvePrivateKey] = {}
        self.configuration: dict[str, str] = {}
        self.latest = ""

    @property
    def identity(self) -> str:
        """The public key that its maker tells."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._identity.public_key().public_bytes(PEM, form).decode()

    def attestation(self) -> str:
        """%ATTESTTOKEN: type 1, an nRF9160 SICA."""
        message = cbor2.dumps([1, uuid.UUID(self.uuid).bytes, 3, uuid.uuid4().bytes, secrets.token_bytes(16)])
        return f"{_url(message)}.{_url(self._cose(message, detached=True))}"

    def token(self, **claims: Any) -> str:
        """An identity token as the modem makes it while it does not know the time."""
        return jwt.encode({"iss": f"nRF9160.{self.uuid}", "jti": "nRF9160.x.y", **claims}, self._identity, "ES256")

    def cloud_token(self, tag: int, **claims: Any) -> str:
        return jwt.encode({"sub": self.uuid, "exp": 4102444800, **claims}, self.keys[tag], "ES256")

    def carry_out(self, commands: list[list[Any]], fail: int | None = None) -> list[list[Any]]:
        """The responses, as the SDK makes them: the `fail`-th command and what comes after it is not carried out."""
        told = []
        for place, (identifier, kind, *more) in enumerate(commands):
            if place == fail:
                return [*told, [identifier, 99, 513, "ERROR"]]
            match kind, more:
                case 0, ["%KEYGEN", str(parameters), []]:
                    told.append([identifier, 100, self._make(*parameters.split(",", 3))])
                case 0, ["%CMNG", str(parameters), []]:
                    _, tag, place_of, content = parameters.split(",", 3)
                    self.store[int(tag), int(place_of)] = content.strip('"')
                    told.append([identifier, 100, "OK"])
                case 1, [dict(values)]:
                    self.configuration |= values
                    told.append([identifier, 101])
                case 2, []:
                    told.append([identifier, 102])
                case _:
                    raise AssertionError(commands)
            self.latest = identifier
        return told

    def _make(self, tag: str, kind: str, form: str, rest: str = "") -> str:
        assert kind == "2"
        key = self.keys[int(tag)] = ec.generate_private_key(ec.SECP256R1())
        attributes = rest.split('"')[1] if rest else f"CN={self.uuid}"
        subject = x509.Name.from_rfc4514_string(attributes)
        if form == "0":
            made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
            message, payload_kind = made.public_bytes(serialization.Encoding.DER), 9
        else:
            public = key.public_key()
            info = serialization.PublicFormat.SubjectPublicKeyInfo
            message, payload_kind = public.public_bytes(serialization.Encoding.DER, info), 8
        return f'%KEYGEN: "{self.key_message(message, int(tag), payload_kind)}"\r\nOK\r\n'

    def key_message(self, message: bytes, tag: int = 1, kind: int = 9) -> str:
        digest, nonce = hashlib.sha256(message).digest(), secrets.token_bytes(16)
        signed = cbor2.dumps([kind, uuid.UUID(self.uuid).bytes, cbor2.dumps(tag), digest, nonce])
        return f"{_url(message)}.{_url(self._cose(signed, detached=False))}"

    def _cose(self, payload: bytes, *, detached: bool) -> bytes:
        header = cbor2.dumps({1: -7})
        der = self._identity.sign(cbor2.dumps(["Signature1", header, b"", payload]), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
        content = None if detached else payload
        return cbor2.dumps(cbor2.CBORTag(18, [header, {4: cbor2.dumps(-2)}, content, signature]))


def _url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
