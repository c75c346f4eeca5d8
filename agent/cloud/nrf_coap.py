"""nRF Cloud's CoAP resources that a device uses itself: a login for each session, state, messages and FOTA executions.

Resources, methods and formats: protocol notes, sections 3.6 and 4. Errors are a code and a text. There is no resource that fetches a
command, and files of firmware jobs come over HTTPS as with REST.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent.cloud.coap import Coap, Send, refused
from agent.cloud.nrf_calls import MessageTooLargeError, NrfCalls, Wanted, advised, difference
from agent.cloud.rest_answer import Answer, RestError, UnusableError
from agent.coap.exchange import CBOR, JSON, OCTETS, TEXT, Ask
from agent.wire import nrf_coap
from agent.wire.nrf import ExecutionUpdate, JsonObject

log = logging.getLogger(__name__)

JWT = "/auth/jwt"
SENML_CBOR = 112  # content format (RFC 8428, 12.3)
_PAIRING = ("pairing", "nrfcloud_mqtt_topic_prefix")
_BAD_LOGIN = (401, 403)
_LOGIN_REMEDY = (
    "register the hub's public key with the account (`agent onboard nrf-csv write public-keys hub.csv --self`), "
    "onboard the hub with the id of its tokens, and check its clock"
)
_OBJECT = TypeAdapter(JsonObject)


class Signer(Protocol):
    """agent.identity.tokens.Tokens."""

    def token(self, life: int = 0) -> str:
        """A token for `life` seconds, 0 for the usual ones. Raises HubError."""

    def forget(self) -> None:
        """It was refused."""


class Login:
    """What opens a session: a token that is sent once in it. One that is refused is signed anew, once."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def __call__(self, send: Send) -> None:
        """Raises RestError, and what signing raises."""
        answer, token = await self._try(send)
        if answer.status in _BAD_LOGIN:
            self._signer.forget()
            answer, token = await self._try(send)
        if answer.status >= 400:  # noqa: PLR2004  4.00 and above are errors
            error = refused(answer, token)
            if answer.status in _BAD_LOGIN:
                error.remedy = _LOGIN_REMEDY
            raise error

    async def _try(self, send: Send) -> tuple[Answer, str]:
        token = self._signer.token()
        return await send(Ask("POST", JWT, body=token.encode(), content_format=TEXT)), token


class NrfCoap(NrfCalls):
    """The calls of one device by CoAP; `coap` is entered by a Login."""

    protocol = "CoAP"
    longest = 60_000  # bytes of one message: 64 KiB with what is around it, in 1024 blocks of 64 bytes at the worst
    batch = 8_192  # bytes of messages in one POST: a block that is lost costs seconds

    def __init__(self, coap: Coap) -> None:
        self._coap = coap
        self._told: JsonObject | None = None  # what the cloud has of us; None: nobody knows
        self._taken_back: JsonObject | None = None

    # ---- state ------------------------------------------------------------------------------------------------------

    async def state(self, *, whole: bool = False, cbor: bool = False) -> JsonObject:
        """What is desired and not yet reported, or the `whole` that is desired; empty when there is none."""
        query, accept = ({"delta": "false"} if whole else {}), CBOR if cbor else JSON
        answer = await self._call(Ask("GET", "/state", query, accept=accept))
        return _object(answer) if answer.body else {}

    async def report(self, reported: JsonObject) -> None:
        """Merge into what is reported; a null removes a member."""
        await self._patch("reported", reported)

    async def desire(self, desired: JsonObject) -> None:
        """Merge into what is desired; a null removes a member."""
        await self._patch("desired", desired)

    async def _patch(self, section: str, content: JsonObject) -> None:
        await self._call(Ask("PATCH", f"/state/{section}", body=_json(content), content_format=JSON), retry=True)

    async def settle(self, wanted: Wanted) -> None:
        """See NrfCalls. CoAP does not tell what is reported: who has just begun, or finds the pairing unreported, reports all of it.

        The pairing is the cloud's own wish, and must be echoed for the delta to end. What is taken back of `control` may have no effect
        by CoAP (Nordic's SDK), so that is said once for each wish.
        """
        before, self._told = self._told, None
        desired = await self.state(whole=before is None)
        told = wanted(desired)
        reported = {**{name: desired[name] for name in _PAIRING if name in desired}, **(told.reported or {})}
        fresh = before is None or any(name in desired for name in _PAIRING)
        change = reported if fresh else difference(reported, before or {})
        if change:
            await self.report(change)
        if told.desired and told.desired != self._taken_back:
            await self.desire(told.desired)
        self._taken_back = told.desired
        self._told = reported

    # ---- messages ---------------------------------------------------------------------------------------------------

    async def send(self, message: Mapping[str, JsonValue], *, again: bool = False) -> None:
        """One message, in CBOR where that says all of it. `again`: also where it may have arrived. Raises MessageTooLargeError."""
        short = nrf_coap.message(message)
        await self._post("", _json(message) if short is None else short, JSON if short is None else CBOR, again=again)

    async def send_bulk(self, messages: Sequence[Mapping[str, JsonValue]], *, again: bool = False) -> None:
        """See NrfCalls. There is no list in CBOR."""
        if len(messages) == 1:
            await self.send(messages[0], again=again)
        else:
            await self._post("/bulk", _json([dict(message) for message in messages]), JSON, again=again)

    async def send_binary(self, content: bytes, *, again: bool = False) -> None:
        """Octets for the account's binary topic (dictionary logs); else as `send`."""
        await self._post("/bin", content, OCTETS, again=again)

    async def send_raw(self, content: bytes, content_format: int = SENML_CBOR, *, again: bool = False) -> None:
        """Content of a format that the account knows itself; else as `send`."""
        await self._post("/raw", content, content_format, again=again)

    async def _post(self, form: str, body: bytes, content_format: int, *, again: bool) -> None:
        if len(body) > self.longest:
            remedy = "send less at once"
            raise MessageTooLargeError(f"a message of {len(body)} bytes; {self.longest} is the most", remedy=remedy)
        ask = Ask("POST", f"/msg/d2c{form}", body=body, content_format=content_format)
        await self._call(ask, retry=True if again else None)

    # ---- FOTA -------------------------------------------------------------------------------------------------------

    async def _current_job(self, query: Mapping[str, str]) -> Answer:
        return await self._call(Ask("GET", "/fota/exec/current", query, accept=JSON))

    async def _update_job(self, job: str, update: ExecutionUpdate) -> None:
        body = _json(update.wire())
        await self._call(Ask("PATCH", f"/fota/exec/{job}", body=body, content_format=JSON), retry=True)

    # ---- all --------------------------------------------------------------------------------------------------------

    async def _call(self, ask: Ask, *, retry: bool | None = None) -> Answer:
        try:
            return await self._coap.call(ask, retry=retry)
        except RestError as error:
            raise advised(error) from None


def _object(answer: Answer) -> JsonObject:
    """Raises UnusableError."""
    try:
        if answer.headers.get("content-format") == str(CBOR):
            return nrf_coap.state(answer.body)
        found = _OBJECT.validate_python(answer.json(), strict=True)
        json.dumps(found, allow_nan=False)  # 1e999 is read as infinity, and must not be echoed
    except (ValidationError, nrf_coap.NotCborError, ValueError, RecursionError):
        raise UnusableError("the state is no object", place=answer.place, status=answer.status) from None
    return found


def _json(content: JsonValue | Mapping[str, JsonValue]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
