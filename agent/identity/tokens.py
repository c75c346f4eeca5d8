"""JSON Web Tokens of the hub: ES256 through its key store, never with a key in hand.

A Profile says what a cloud wants. nRF Cloud (protocol notes, section 1.1): header `typ`, `alg` and, if wished, `kid` (SHA-256 of the
SubjectPublicKeyInfo, hex); claims `sub` and `exp`, at most seven days ahead. A token is made only while the time is trusted, or told by the
service that takes it: one with a wrong `exp` is refused, or lives too long. Over CoAP nobody tells it, see Profile.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import Algorithm

from agent.clock import BUILD_TIME, TRUSTED, Clock, Moment
from agent.errors import HubError, TryAgainError
from agent.identity.keys import KeyStore

ALGORITHM = "ES256"
LIFE, LONGEST = 600, 604_800  # seconds
RENEW = 0.8  # of a token's life
# Seconds that two clocks may differ. Clocks that are kept by NTP differ by less than one, a time learnt from a Date header by a second and the
# way there: 30 forgives a slow link, and adds no more than a twentieth to the life of a usual token.
LEEWAY = 30
MOST_SKEW = 86_400  # seconds: who says that a synchronised clock is off by more than a day is wrong, or wants a token of next year
# Characters: ours have 700 at most, and what is longer costs time before its signature is looked at.
LONGEST_TOKEN = 8192
_SIZE = 32  # bytes of r and of s


class TokenTroubleError(HubError):
    """A token cannot be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one cloud wants of tokens: their usual and longest life in seconds, and whether the header names the key.

    `guess`: also while the time is only estimated. For a service that tells no time: to wait would be for ever, where a refusal is an answer.
    """

    life: int = LIFE
    longest: int = LONGEST
    kid: bool = False
    guess: bool = False


NRF_CLOUD = Profile()
# Sent once for each DTLS session, which may last; and only within it, so that one of a wrong time is known to the cloud alone.
NRF_CLOUD_COAP = Profile(life=LONGEST, guess=True)


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
        self,
        key: Stored,
        subject: str,
        clock: Clock,
        *,
        bound: Callable[[], int] = lambda: 0,
        profile: Profile = NRF_CLOUD,
    ) -> None:
        self._key, self._subject, self._clock, self._bound, self._profile = key, subject, clock, bound, profile
        self._signer = jwt.PyJWS(algorithms=[])
        self._signer.register_algorithm(ALGORITHM, _StoredES256())
        self._told: tuple[float, float] | None = None  # monotonic stamp, and the service's time then
        self._kept, self._life, self._until = "", 0, 0.0

    def token(self, life: int = 0) -> str:
        """A token, good for a fifth of its life at least (0: the profile's). Raises TryAgainError without a trusted time, KeyTroubleError."""
        life = self.clamp(life)
        mono = self._clock.now().mono  # a wall clock that is set does not make a token older
        if not self._kept or life != self._life or mono >= self._until:
            self._kept, self._life, self._until = self.make(life, {}), life, mono + RENEW * life
        return self._kept

    def make(self, life: int, more: Mapping[str, Any]) -> str:
        """A new token with further claims. Raises as `token`."""
        now = self._time(self._clock.now())
        if now is None:
            remedy = "wait until the time is synchronised: chrony or systemd-timesyncd; `timedatectl` shows it"
            raise TryAgainError("no token is signed while the hub's clock is not trusted", remedy=remedy)
        claims = {"sub": self._subject, "exp": int(now) + self.clamp(life), **more}
        headers = {"kid": key_id(self._key.keys.public_key(self._key.name))} if self._profile.kid else None
        payload = _compact(claims)
        return self._signer.encode(payload, self._key, algorithm=ALGORITHM, headers=headers)  # type: ignore[arg-type]  # our algorithm's key

    def clamp(self, life: int) -> int:
        """Seconds that a token may live: as wished, but no longer than clouds allow."""
        longest = min(self._profile.longest, self._bound() or self._profile.longest)
        return max(1, min(life or self._profile.life, longest))

    def learn(self, server: float) -> bool:
        """The service's time (its Date header), seconds since the epoch; True when what was signed before is worthless."""
        moment = self._clock.now()
        if server < BUILD_TIME or (moment.quality == TRUSTED and abs(server - moment.wall) > MOST_SKEW):
            return False
        before, self._told = self._time(moment), (moment.mono, server)
        after = self._time(moment)
        changed = before is None or after is None or abs(after - before) > LEEWAY
        if changed:
            self._kept = ""
        return changed

    @property
    def knows_the_time(self) -> bool:
        """Whether a token can be signed now."""
        return self._time(self._clock.now()) is not None

    def forget(self) -> None:
        """The kept token was refused: the next is signed anew."""
        self._kept = ""

    def _time(self, moment: Moment) -> float | None:
        """The time by which tokens are judged: the service's where it has told it and ours differs, None when nobody knows it.

        The service's time goes on by the monotonic clock: ours may be set meanwhile, and would count twice.
        """
        trusted = moment.quality == TRUSTED
        if self._told is not None:
            server = self._told[1] + moment.mono - self._told[0]
            if not trusted or LEEWAY < abs(server - moment.wall) <= MOST_SKEW:
                return server
        return moment.wall if trusted or self._profile.guess else None


class DeviceAuthorization:
    """What the REST client (agent/cloud/rest.py, Authorize) is given: device tokens, by the clock of the service that takes them.

    While nobody knows the time, one request goes without a token: its refusal tells the time. A hub without a clock of its own, or behind
    a network without NTP, would wait for ever.
    """

    def __init__(self, tokens: Tokens, life: int = 0) -> None:
        self._tokens, self._life = tokens, life
        self._asked = False

    async def header(self) -> str:
        """Raises as Tokens.token; empty to ask for the time."""
        self._asked = not self._asked and not self._tokens.knows_the_time
        return "" if self._asked else f"Bearer {self._tokens.token(self._life)}"

    def seen(self, server: float) -> None:
        self._tokens.learn(server)

    def refused(self, server: float | None) -> bool:
        """Sign again, whatever was wrong: the clock, or a key that was changed since."""
        if server is not None:
            self._tokens.learn(server)
        self._tokens.forget()
        return True


def verify(token: str, public_key: str, *, now: float, subject: str = "") -> dict[str, Any]:
    """The claims of another's token: ES256 and nothing else, with `sub` (of `subject`, if given) and an `exp` that is not over.

    The form is stricter than RFC 7519 demands, since two readers that differ are a hole: canonical base64url, UTF-8, no member twice, no
    NaN, no `crit`. `exp` may not be further ahead than any token of ours. Raises TokenTroubleError.
    """
    _check_form(token)
    options = {
        "require": ["exp", "sub"],
        "verify_exp": False,
        "verify_nbf": False,
        "verify_aud": False,
        "verify_iat": False,
    }
    try:
        claims: dict[str, Any] = jwt.decode(token, public_key, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]  # older stubs
    except (jwt.InvalidTokenError, UnicodeError, RecursionError) as error:
        raise TokenTroubleError(f"the token is refused: {error}") from None
    if not claims["sub"] or (subject and claims["sub"] != subject):
        raise TokenTroubleError("the token is another's")
    expires, begins = _time_claim(claims, "exp"), max(_time_claim(claims, name) for name in ("nbf", "iat"))
    if expires + LEEWAY < now:
        raise TokenTroubleError("the token has expired")
    if expires > now + LONGEST + LEEWAY or begins > now + LEEWAY:
        raise TokenTroubleError("the token is of another time: it lives too long, or is not valid yet")
    return claims


def _check_form(token: str) -> None:
    """Raises TokenTroubleError for what is not three canonical parts, two of them JSON objects that every reader reads alike."""
    parts = token.split(".") if len(token) <= LONGEST_TOKEN else []
    if len(parts) != 3:  # noqa: PLR2004  header, claims, signature
        raise TokenTroubleError("the token is refused: not of three parts, or too long")
    try:
        decoded = [base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in parts]
        if [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in decoded] != parts:
            raise TokenTroubleError("the token is refused: not in canonical base64url")
        head, claims = (
            json.loads(part.decode(), object_pairs_hook=_unique, parse_constant=_no_number) for part in decoded[:2]
        )
    except (ValueError, RecursionError, binascii.Error) as error:
        raise TokenTroubleError(f"the token is refused: {type(error).__name__}") from None
    if not isinstance(head, dict) or not isinstance(claims, dict) or head.get("alg") != ALGORITHM or "crit" in head:
        raise TokenTroubleError(f"the token is refused: it is no plain {ALGORITHM}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _time_claim(claims: Mapping[str, Any], name: str) -> float:
    """A time of the claims, 0 for none. Raises TokenTroubleError for what is none, also for an infinite one; NaN is no JSON."""
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53:
        raise TokenTroubleError(f"the token is refused: {name} is no time")
    return float(value)


def key_id(public_key: str) -> str:
    """SHA-256 of the DER SubjectPublicKeyInfo in small hex digits."""
    body = "".join(line for line in public_key.splitlines() if "-----" not in line)
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def _compact(claims: Mapping[str, Any]) -> bytes:
    return json.dumps(claims, separators=(",", ":")).encode()
