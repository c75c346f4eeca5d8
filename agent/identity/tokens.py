"""JSON Web Tokens of the hub: ES256 through its key store, never with a key in hand.

nRF Cloud (protocol notes, section 1.1): header `typ`, `alg` and, if wished, `kid` (SHA-256 of the SubjectPublicKeyInfo, hex); claims `sub` and
`exp`, at most seven days ahead. A token is made only while the time is trusted: one with a wrong `exp` is refused, or lives too long.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import Algorithm

from agent.clock import TRUSTED, Clock
from agent.errors import HubError, TryAgainError
from agent.identity.keys import KeyStore

ALGORITHM = "ES256"
LIFE, LONGEST = 600, 604_800  # seconds
RENEW = 0.8  # of a token's life
LEEWAY = 30  # seconds that two clocks may differ when a token is verified
_SIZE = 32  # bytes of r and of s


class TokenTroubleError(HubError):
    """A token cannot be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A key by its store and name, which is what signs."""

    keys: KeyStore
    name: str


class _StoredES256(Algorithm):
    """PyJWT's ES256 where the key stays in its store. It signs; what else an algorithm of the library can do is refused."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def sign(self, msg: bytes, key: Any) -> bytes:
        try:
            r, s = decode_dss_signature(key.keys.sign(key.name, msg))
            return r.to_bytes(_SIZE) + s.to_bytes(_SIZE)
        except (ValueError, OverflowError):  # no ECDSA signature, or one of a larger curve
            raise TokenTroubleError(f"the key {key.name!r} is not P-256, which {ALGORITHM} needs") from None

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:  # noqa: ARG002  the library's signature
        raise TokenTroubleError("tokens of others are verified with their public key")

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:  # noqa: ARG004, FBT001, FBT002  as above
        raise TokenTroubleError("a key does not leave its store")

    @staticmethod
    def from_jwk(jwk: Any) -> Any:  # noqa: ARG004  as above
        raise TokenTroubleError("a key does not come from outside")


class Tokens:
    """Tokens of `subject`, each used until most of its life is over. `bound()`: a cloud's limit of their life in seconds, 0 for none."""

    def __init__(
        self, key: Stored, subject: str, clock: Clock, *, bound: Callable[[], int] = lambda: 0, kid: bool = False
    ) -> None:
        self._key, self._subject, self._clock, self._bound, self._kid = key, subject, clock, bound, kid
        self._signer = jwt.PyJWS(algorithms=[])
        self._signer.register_algorithm(ALGORITHM, _StoredES256())
        self._skew: float | None = None  # the server's clock less ours, once it has told it
        self._kept, self._until = "", 0.0

    def token(self, life: int = LIFE) -> str:
        """A token that is still good for a fifth of its life. Raises TryAgainError without a trusted time, KeyTroubleError."""
        now = self._now()
        if not self._kept or now >= self._until:
            life = self.clamp(life)
            self._kept, self._until = self.make(life, {}), now + RENEW * life
        return self._kept

    def make(self, life: int, more: Mapping[str, Any]) -> str:
        """A new token with further claims. Raises as `token`."""
        claims = {"sub": self._subject, "exp": int(self._now()) + self.clamp(life), **more}
        headers = {"kid": key_id(self._key.keys.public_key(self._key.name))} if self._kid else None
        payload = _compact(claims)
        return self._signer.encode(payload, self._key, algorithm=ALGORITHM, headers=headers)  # type: ignore[arg-type]  # our algorithm's key

    def clamp(self, life: int) -> int:
        """Seconds that a token may live: as wished, but no longer than clouds allow."""
        longest = min(LONGEST, self._bound() or LONGEST)
        return max(1, min(life or LIFE, longest))

    def learn(self, server: float) -> bool:
        """The server's time (its Date header), seconds since the epoch; True when what was signed before is worthless."""
        skew = server - self._clock.now().wall
        changed = abs(skew - (self._skew or 0.0)) > LEEWAY
        self._skew = skew
        if changed:
            self._kept = ""
        return changed

    def _now(self) -> float:
        moment = self._clock.now()
        if self._skew is not None:
            return moment.wall + self._skew
        if moment.quality != TRUSTED:
            remedy = "wait for the time to be synchronised (chrony or systemd-timesyncd), or ask the server for it"
            raise TryAgainError("no token is signed while the hub's clock is not trusted", remedy=remedy)
        return moment.wall


def verify(token: str, public_key: str, *, now: float) -> dict[str, Any]:
    """The claims of another's token: ES256 and nothing else, with `sub` and an `exp` that is not over. Raises TokenTroubleError."""
    options = {"require": ["exp", "sub"], "verify_exp": False, "verify_aud": False, "verify_iat": False}
    try:
        claims: dict[str, Any] = jwt.decode(token, public_key, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]  # older stubs
    except (jwt.InvalidTokenError, UnicodeError, RecursionError) as error:
        raise TokenTroubleError(f"the token is refused: {error}") from None
    expires = claims["exp"]
    if not isinstance(expires, int | float) or isinstance(expires, bool) or expires + LEEWAY < now:
        raise TokenTroubleError("the token has expired")
    return claims


def key_id(public_key: str) -> str:
    """SHA-256 of the DER SubjectPublicKeyInfo in small hex digits."""
    body = "".join(line for line in public_key.splitlines() if "-----" not in line)
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def _compact(claims: Mapping[str, Any]) -> bytes:

    return json.dumps(claims, separators=(",", ":")).encode()
