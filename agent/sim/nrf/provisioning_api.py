"""The provisioning service over HTTP, for owners and for devices: paths, statuses and who may ask. PURE.

One address has what the vendor has at two: `api.provisioning.nrfcloud.com` for owners, who ask with the account's key, and
`provisioning-http.nrfcloud.com` for devices, who ask with a token of their identity key.
"""

import csv
import io
import logging
from typing import Any
from urllib.parse import unquote

from agent.sim.exchange import Answer, Ask
from agent.sim.nrf.answers import DENIED, INTERNAL, INVALID, NOT_FOUND, NrfError, answer, object_body, refusal
from agent.sim.nrf.devices import token_device
from agent.sim.nrf.identities import Identities
from agent.sim.nrf.onboarding import ROWS
from agent.sim.nrf.pages import flag, page
from agent.sim.nrf.provisioning import Provisioning, shown
from agent.sim.records import Records

log = logging.getLogger(__name__)

_CBOR = {"Content-Type": "application/cbor"}


class ProvisioningApi:
    """Answers over `provisioning`; `api_key` is the account's."""

    def __init__(self, records: Records, provisioning: Provisioning, identities: Identities, api_key: str) -> None:
        self._records, self._provisioning, self._identities, self._api_key = records, provisioning, identities, api_key

    def handle(self, ask: Ask) -> Answer:
        """Answer one request."""
        words = tuple(unquote(word) for word in ask.path.removeprefix("/v1").strip("/").split("/"))
        try:
            with self._records.transaction():
                return self._of_device(ask, words) or self._of_owner(ask, words)
        except NrfError as error:
            return refusal(error)
        except Exception:  # a bug costs this request only: told once with its traceback, answered as the service does
            log.exception("%s %s", ask.method, ask.path)
            return refusal(NrfError(INTERNAL, "Internal server error"))

    def who(self, token: str) -> str:
        """The device of an identity token, which need not end: a modem may not know the time yet. Raises NrfError."""
        return token_device(token, self._identities.key, ends=False)

    def _of_device(self, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        match ask.method, words:
            case "GET", ("provisioning", "commands"):
                query = {name: values[-1] for name, values in ask.query.items()}
                content = self._provisioning.fetch(self.who(_token(ask)), query)
                return Answer(200, content, _CBOR) if content else answer(204)
            case "POST", ("provisioning", "response"):
                device = self.who(_token(ask))
                if ask.headers.get("content-type", "") != _CBOR["Content-Type"]:
                    raise NrfError(41500, "responses are application/cbor")
                self._provisioning.respond(device, ask.body)
                return answer(200)
        return None

    def _of_owner(self, ask: Ask, words: tuple[str, ...]) -> Answer:
        if _token(ask) != self._api_key:
            raise NrfError(DENIED, "Access denied")
        service = self._provisioning
        match ask.method, words[1:] if words[0] == "identities" else words:
            case "POST", ("claimed-devices",):
                return self._claim(ask)
            case "GET", ("claimed-devices",):
                return answer(200, page(service.claims(), ask.query))
            case "GET", ("claimed-devices", device):
                return answer(200, shown(service.claimed(device)))
            case "DELETE", ("claimed-devices", device):
                service.unclaim(device)
                return answer(204)
            case method, ("claimed-devices", device, "provisioning", *more):
                return self._commands(method, device, tuple(more), ask)
        return self._of_rules(ask, words)

    def _of_rules(self, ask: Ask, words: tuple[str, ...]) -> Answer:
        service = self._provisioning
        match ask.method, words:
            case "POST", ("provisioning-rules",):
                return answer(201, service.add_rule(object_body(ask.body)))
            case "GET", ("provisioning-rules",):
                return answer(200, page(service.rules(), ask.query))
            case "DELETE", ("provisioning-rules", identifier):
                service.remove_rule(identifier)
                return answer(204)
            case "POST", ("provisioning", "tags"):
                return answer(201, service.add_tag(object_body(ask.body)))
            case "GET", ("provisioning", "tags"):
                return answer(200, page(service.tags(), ask.query))
        raise NrfError(NOT_FOUND, "nothing is here")

    def _commands(self, method: str, device: str, words: tuple[str, ...], ask: Ask) -> Answer:
        service = self._provisioning
        match method, words:
            case "POST", ():
                return answer(201, service.add(device, object_body(ask.body)))
            case "GET", ():
                return answer(200, page(service.commands(device), ask.query))
            case "GET", (identifier,):
                return answer(200, shown(service.command(device, identifier)))
            case "DELETE", (identifier,):
                service.discard(device, identifier)
                return answer(204)
        raise NrfError(NOT_FOUND, "nothing is here")

    def _claim(self, ask: Ask) -> Answer:
        # nrfcloud-utils sends CSV under the header `contentType`, which says nothing to HTTP
        if not ask.body.lstrip().startswith(b"{"):
            return self._claim_many(ask.body)
        body = object_body(ask.body)
        dry = flag(ask.query, "dryrun", default=False)
        made = self._provisioning.claim(str(body.get("claimToken", "")), body.get("tags", []), dry=dry)
        return answer(202) if dry else answer(201, made)

    def _claim_many(self, text: bytes) -> Answer:
        """Rows of a token and, perhaps, tags. Those that are good are claimed; any other makes the answer a refusal."""
        try:
            rows = [row for row in csv.reader(io.StringIO(text.decode(), newline=""), strict=True) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise NrfError(INVALID, f"not a CSV file: {error}") from None
        if not 1 <= len(rows) <= ROWS:
            raise NrfError(INVALID, f"a CSV file has 1 to {ROWS} rows")
        claimed: list[str] = []
        failed: list[dict[str, Any]] = []
        for place, row in enumerate(rows):
            try:
                claimed.append(self._provisioning.claim(row[0], [tag for tag in row[1:] if tag])["id"])
            except NrfError as error:
                failed.append({"row": place, "code": error.code, "message": str(error)})
        return answer(422 if failed else 201, {"claimedIds": claimed, "failed": failed})


def _token(ask: Ask) -> str:
    kind, _, token = ask.headers.get("authorization", "").partition(" ")
    if kind != "Bearer" or not token:
        raise NrfError(DENIED, "Access denied")
    return token
