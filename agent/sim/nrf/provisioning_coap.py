"""The provisioning service over CoAP: a login of its own, commands and responses. PURE.

Resources: protocol notes, section 6.4, and the CoAP endpoints of nRF Cloud's documentation.
"""

from collections.abc import Callable

from agent.sim.coap import CBOR, TEXT, Peer, Reply, Request
from agent.sim.nrf.answers import DENIED, NOT_FOUND, NrfError
from agent.sim.nrf.provisioning import Provisioning

LIFE = 30 * 24 * 3600  # seconds of a login


class CoapProvisioning:
    """Serves `p/…`. `who` gives the device of an identity token."""

    def __init__(self, provisioning: Provisioning, who: Callable[[str], str], now: Callable[[], float]) -> None:
        self._provisioning, self._who, self._now = provisioning, who, now

    def serve(self, request: Request, peer: Peer) -> Reply:
        """Answer one request. Raises NrfError."""
        if (request.method, request.path) == ("POST", ("p", "auth-jwt")):
            return self._login(request, peer)
        if not peer.attested or peer.attested_until <= self._now():
            raise NrfError(DENIED, "log in with p/auth-jwt first")
        match request.method, request.path:
            case "GET", ("p", "cmd"):
                return Reply(205, self._provisioning.fetch(peer.attested, request.query), CBOR)
            case "POST", ("p", "rsp"):
                if request.content_format not in (None, CBOR):
                    raise NrfError(41500, f"the content format is none of {CBOR}")
                self._provisioning.respond(peer.attested, request.body)
                return Reply(204)
            case _, ("p", ("auth-jwt" | "cmd" | "rsp")):
                raise NrfError(40500, "another method is wanted here")
        raise NrfError(NOT_FOUND, "nothing is here")

    def _login(self, request: Request, peer: Peer) -> Reply:
        if request.content_format not in (None, TEXT, CBOR):  # the SDK says CBOR of all that it sends
            raise NrfError(41500, "the token is a text")
        try:
            peer.attested = self._who(request.body.decode())
        except (NrfError, UnicodeDecodeError) as error:
            raise NrfError(DENIED, str(error), status=403) from None
        peer.attested_until = self._now() + LIFE
        return Reply(201, max_age=LIFE)
