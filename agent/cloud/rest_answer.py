"""What a REST call gives: an answer, or an error whose text is short, printable and free of secrets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.rest_policy import may_pass
from agent.errors import Exit, HubError, TryAgainError
from agent.redact import STARS, redact
from agent.wire.rest_errors import read_refusal

LONGEST_MESSAGE, LONGEST_START, LONGEST_ERROR = 600, 200, 200  # characters
_SHOWN_ERRORS = 3
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_REMEDIES = {
    401: "check the key or token, and the hub's clock (`agent doctor`)",
    403: "the key or token may not do this: check its permissions",
    413: "send less at once",
    429: "the service asks for fewer calls: try again later",
}

Model = TypeVar("Model", bound=BaseModel)


class RestError(HubError):
    """A service refused a call, or its answer cannot be used.

    `status` is 0 without an answer; `code` is the service's own, `errors` its single complaints, `body_start` the first characters of its body,
    `retry_after` the seconds after which it wants to be asked again (None: it does not say).
    """

    def __init__(
        self,
        message: str,
        *,
        place: str = "",
        remedy: str = "",
        status: int = 0,
        code: str = "",
        errors: tuple[str, ...] = (),
        body_start: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message[:LONGEST_MESSAGE], place=place, remedy=remedy)
        self.status, self.code, self.errors, self.body_start = status, code, errors, body_start
        self.retry_after = retry_after
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            self.exit_code = Exit.NOPERM


class UnavailableError(RestError, TryAgainError):
    """The service cannot be reached, is overloaded or failed, also after the retries. Unless the call is idempotent, it may have been done."""

    sent = True  # the service may have seen the request
    closed = False  # the service has seen it and closed the connection without an answer


class UnusableError(RestError):
    """There is an answer, but not of the declared form: too large, no JSON, another model, a redirect that is not followed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. `headers` has small names; of several headers with one name it holds the first."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    place: str = ""  # method and URL without its query, for errors

    def json(self) -> Any:
        """The body as JSON. Raises UnusableError."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            kind = clean(self.headers.get("content-type", "") or "of no type")[:LONGEST_START]
            raise self._unusable(f"the answer ({self.status}, {kind}, {len(self.body)} bytes) is not JSON") from None

    def model(self, model: type[Model]) -> Model:
        """The body as a declared model. Raises UnusableError naming the first members that are wrong, without their values."""
        found = self.json()
        try:
            return model.model_validate(found)
        except (ValidationError, RecursionError) as error:
            wrong = error.errors(include_input=False, include_url=False) if isinstance(error, ValidationError) else []
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong[:_SHOWN_ERRORS])
            raise self._unusable(clean(f"the answer is no {model.__name__}: {told or 'too deep'}")) from None

    def _unusable(self, message: str) -> UnusableError:
        start = clean(self.body[: 8 * LONGEST_START].decode("utf-8", "replace"))[:LONGEST_START]
        return UnusableError(message, place=self.place, status=self.status, body_start=start)


def failure(answer: Answer, hidden: str = "", wait: float | None = None) -> RestError:
    """The error that an answer of status 400 and above is. `hidden` is what the call's Authorization held."""
    told = read_refusal(answer.body)
    errors = tuple(clean(error, hidden)[:LONGEST_ERROR] for error in told.errors)
    code, start = (clean(text, hidden) for text in (told.code, answer.body.decode("utf-8", "replace")))
    said = clean(told.message, hidden) or ("" if errors else start[:LONGEST_START])
    message = f"the service answers {answer.status}"
    message += f" (code {code})" if code else ""
    message += f": {said}" if said else ""
    message += f" ({'; '.join(errors[:_SHOWN_ERRORS])})" if errors else ""
    remedy = _REMEDIES.get(answer.status, "")
    if told.required_permission:
        remedy = f"the key needs the permission {clean(told.required_permission, hidden)[:LONGEST_ERROR]}"
    kind = UnavailableError if may_pass(answer.status) else RestError
    return kind(
        message,
        place=answer.place,
        remedy=remedy,
        status=answer.status,
        code=code,
        errors=errors,
        body_start=start[:LONGEST_START],
        retry_after=wait,
    )


def clean(text: str, hidden: str = "") -> str:
    """Foreign text for a log or a terminal: one line, printable, no secret. Cut it afterwards, else a cut secret is none that is found."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return redact(text.replace(hidden, STARS) if hidden else text)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
