"""Keys of a device in the shape of the library's keys, so that it builds requests and certificates which the device signs.

The library has no way to other people's keys but this: its builders take any subclass of its key classes and call `sign`
(pyca/cryptography issues 12525 and 9654 advise it).
"""

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from agent.identity.keys import KeyTroubleError, digest_of

Sign = Callable[[bytes], bytes]


def facade(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, sign: Sign) -> "EcFacade | RsaFacade":
    """A private key that signs by `sign`, which does what `KeyStore.sign` says."""
    return EcFacade(public, sign) if isinstance(public, ec.EllipticCurvePublicKey) else RsaFacade(public, sign)


class EcFacade(ec.EllipticCurvePrivateKey):
    """ECDSA with the curve's own SHA-2; all else is refused."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public, self._sign = public, sign

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        wanted, own = signature_algorithm.algorithm, digest_of(self._public)
        if (
            own is None or getattr(wanted, "name", "") != own.name
        ):  # Prehashed has no name: what it stands for is not seen
            raise KeyTroubleError("an ECDSA key signs data with the SHA-2 of its own curve only")
        return self._sign(bytes(data))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        _refuse(algorithm, peer_public_key)

    def private_numbers(self) -> NoReturn:
        _refuse()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:  # noqa: A002  the library's name
        _refuse(encoding, format, encryption_algorithm)

    def __copy__(self) -> "EcFacade":
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> "EcFacade":
        return self


class RsaFacade(rsa.RSAPrivateKey):
    """RSA PKCS #1 v1.5 with SHA-256; all else is refused."""

    def __init__(self, public: rsa.RSAPublicKey, sign: Sign) -> None:
        self._public, self._sign = public, sign

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        if padding.name != "EMSA-PKCS1-v1_5" or not isinstance(algorithm, SHA256):
            raise KeyTroubleError("the key signs with PKCS #1 v1.5 and SHA-256 only")
        return self._sign(bytes(data))

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: Any) -> NoReturn:
        _refuse(ciphertext, padding)

    def private_numbers(self) -> NoReturn:
        _refuse()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:  # noqa: A002  the library's name
        _refuse(encoding, format, encryption_algorithm)

    def __copy__(self) -> "RsaFacade":
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> "RsaFacade":
        return self


def _refuse(*_arguments: object) -> NoReturn:
    raise KeyTroubleError("a key does not leave its store, and does nothing there but sign")
