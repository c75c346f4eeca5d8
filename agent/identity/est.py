"""Enrolment over Secure Transport (RFC 7030, with RFC 8951's clearer encodings): certificates from a company's own authority.

A hub without a certificate enrols with a name and password; one with a certificate re-enrols by it. After that has expired, it enrols anew.
"""

import asyncio
import base64
import logging
import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.cloud.rest import Answer, Bearer, Policy, Rest
from agent.errors import ConfigError, HubError, TryAgainError
from agent.identity.keys import NAMES, Subject
from agent.identity.record import Held, Slot
from agent.identity.sources import Asked, Obtained
from agent.settings.secret import Secret

log = logging.getLogger(__name__)

PATIENCE = 3600.0  # seconds that a request may wait for somebody's approval, before it is made anew
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # seconds, where the server names none
_ACCEPTED = 202
_LARGEST = 65536  # bytes of an answer


class EstTroubleError(HubError):
    """An answer of the EST server cannot be used."""


@dataclass(frozen=True, slots=True)
class EstServer:
    """`url`: https://host[:port][/.well-known/est[/label]]. `ca`: PEM file of who signed its TLS certificate, empty for the system's."""

    url: str
    ca: str = ""
    username: str = ""
    password: Secret = Secret()  # noqa: RUF009  it is immutable


class Est:
    """The source. `subject` is asked for at the first enrolment; later requests repeat the certificate's own (RFC 7030, 4.2.2)."""

    name = "est"

    def __init__(self, server: EstServer, subject: Subject) -> None:
        self._server, self._subject = server, subject

    async def obtain(self, asked: Asked) -> Obtained:
        """Raises RestError and its kinds, EstTroubleError, and TryAgainError while nobody has approved the request."""
        files = self._in_use(asked)
        again = bool(files[0])
        operation = "simplereenroll" if again else "simpleenroll"
        request = x509.load_pem_x509_csr(asked.csr(self._asks_for(asked)).encode())
        body = base64.encodebytes(request.public_bytes(serialization.Encoding.DER))
        authorize = None if again else self._basic()
        async with Rest(
            _base(self._server.url),
            authorize=authorize,
            ca=self._server.ca,
            certificate=files[0],
            key=files[1],
            policy=Policy(),
            headers={"Accept": "application/pkcs7-mime"},
        ) as rest:
            answer = await self._enrol(rest, operation, body)
        return Obtained(_chain(answer, request.public_key()))

    async def _enrol(self, rest: Rest, operation: str, body: bytes) -> Answer:
        """The certificate's answer; 202 means that somebody has yet to approve the request."""
        headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        end, wait = time.monotonic() + PATIENCE, FIRST_WAIT
        while True:
            answer = await rest.call("POST", f"/{operation}", body=body, headers=headers, limit=_LARGEST)
            if answer.status != _ACCEPTED:
                return answer
            told = answer.headers.get("retry-after", "")
            pause = min(LONGEST_WAIT, float(told)) if told.isascii() and told.isdigit() else wait
            wait = min(LONGEST_WAIT, 2 * wait)
            if time.monotonic() + pause > end:
                raise TryAgainError("nobody has approved the request yet", place=self._server.url)
            log.info("the request waits for approval; asked again in %.0f s", pause)
            await asyncio.sleep(pause)

    async def confirm(self, previous: Held | None) -> None:
        """Nobody waits for it."""

    def kept(self) -> None:
        """Nothing was kept."""

    @staticmethod
    def _in_use(asked: Asked) -> tuple[str, str]:
        """Certificate and key to re-enrol by; empty when the hub enrols anew: it has none, or none that is of use any more."""
        if asked.current is None or asked.current.expires <= time.time():
            return "", ""
        if not asked.slots.sound(_other(asked)):
            log.warning("the key or certificate in use is lost: the hub enrols anew")
            return "", ""
        return asked.slots.tls_files(_other(asked))

    def _asks_for(self, asked: Asked) -> Subject:
        if asked.current is None:
            return self._subject
        try:
            leaf = x509.load_pem_x509_certificates(asked.slots.chain(_other(asked)).read_bytes())[0]
        except (OSError, ValueError):
            return self._subject
        names = {name.rfc4514_attribute_name: str(name.value) for name in leaf.subject}
        common_name = names.pop("CN", self._subject.common_name)
        return Subject(common_name, {name: value for name, value in names.items() if name in NAMES})

    def _basic(self) -> Bearer | None:
        if not self._server.username:
            return None
        pair = f"{self._server.username}:{self._server.password.reveal()}".encode()
        return Bearer(Secret(base64.b64encode(pair).decode()), "Basic")


def _other(asked: Asked) -> Slot:
    """The slot in use."""
    return "a" if asked.slot == "b" else "b"


def _base(url: str) -> str:
    if not url.startswith("https://"):
        raise ConfigError("EST is spoken over TLS only", place="identity.est", remedy="write https://…")
    return url if "/.well-known/est" in url else f"{url.rstrip('/')}/.well-known/est"


def _chain(answer: Answer, key: object) -> str:
    """The certificates of a certs-only CMS, which are a set, as a chain: ours, then each authority, without the root."""
    try:
        held = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body, validate=False))
        leaf = next((one for one in held if _is_for(one, key)), None)
        if leaf is None:
            raise EstTroubleError("the answer holds no certificate for this hub's key", place=answer.place)
        chain = [leaf]
        while above := next((one for one in held if one.subject == chain[-1].issuer and one not in chain), None):
            if above.subject == above.issuer:
                break
            chain.append(above)
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise EstTroubleError(f"the answer is no CMS with certificates: {error}", place=answer.place) from None


def _is_for(certificate: x509.Certificate, key: object) -> bool:
    """An authority's key may be of a kind that the library does not know."""
    try:
        return bool(certificate.public_key() == key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
