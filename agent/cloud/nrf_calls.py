"""What a hub calls nRF Cloud for, by REST (agent.cloud.nrf_rest) or by CoAP (agent.cloud.nrf_coap): state, messages and firmware jobs.

Both refuse with the same numbers: 404 is also CoAP's 4.04.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from agent.cloud.rest_answer import Answer, RestError
from agent.errors import HubError
from agent.wire.nrf import ENDED, Execution, ExecutionUpdate, FotaStatus, JsonObject, StateChange

log = logging.getLogger(__name__)

LONGEST_DETAIL = 1024  # characters
_NOT_FOUND = 404
_ENDED_ALREADY = (400, 404, 409, 422)
_UNTAKEN = (400, 413, 415, 422)
_REMEDIES = {  # the cloud's own codes
    "40001": "onboard the device with the certificate that it has now",
    "40005": "the account's limit of this service is reached: see its plan",
    "40100": "register the hub's public key with the account, or onboard the hub again (`agent identity show` has the key)",
    "40101": "the hub belongs to another account: have it removed there",
    "40103": "the hub is not in the account: onboard it",
    "40410": "onboard the hub first, or check its id",
    "40412": "the hub is still being provisioned: try again in a minute",
}

Wanted = Callable[
    [JsonObject], StateChange
]  # what is desired -> all that is reported then, and what of the desired is taken back


class MessageTooLargeError(HubError):
    """A message is larger than the cloud takes."""


class NrfCalls(ABC):
    """The calls of one device. `protocol` is its name in the shadow; `longest`: bytes of one message, `batch`: of several at once.

    All raise RestError with the cloud's code, UnavailableError and UnusableError, and what signing a token raises.
    """

    protocol: str
    longest: int
    batch: int

    @abstractmethod
    async def settle(self, wanted: Wanted) -> None:
        """Tell what `wanted` reports and the cloud does not know; take back what it takes back. Raises TryAgainError while others write too."""

    @abstractmethod
    async def send_bulk(self, messages: Sequence[Mapping[str, JsonValue]], *, again: bool = False) -> None:
        """Several messages at once. `again`: also where they may have arrived before a connection was lost. Raises MessageTooLargeError."""

    @abstractmethod
    async def _current_job(self, query: Mapping[str, str]) -> Answer:
        """The current execution, whatever the answer is."""

    @abstractmethod
    async def _update_job(self, job: str, update: ExecutionUpdate) -> None:
        """Once or more often: an update may be repeated."""

    async def current_job(self, firmware_type: str = "") -> Execution | None:
        """The oldest job that has not ended, None when there is nothing to do."""
        try:
            found = await self._current_job({"firmwareType": firmware_type} if firmware_type else {})
        except RestError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return found.model(Execution)

    async def tell_job(self, job: str, status: FotaStatus, details: str = "") -> bool:
        """Report on a job. False when it is no longer there: it was cancelled, or had ended (also by an earlier report that was lost)."""
        update = ExecutionUpdate(status=status, details=details[:LONGEST_DETAIL] or None)
        try:
            await self._update_job(job, update)
        except RestError as error:
            if error.status not in _ENDED_ALREADY:
                raise
            current = await self.current_job()
            if current is not None and current.job_id == job:
                raise
            log.info("job %s has ended in the cloud: it did not take %s", job, status)
            return False
        if status in ENDED:
            log.info("job %s: %s %s", job, status, details[:LONGEST_DETAIL])
        return True


def is_untaken(error: RestError) -> bool:
    """Whether it is what was sent that the cloud does not take: the same again would be refused again."""
    return error.status in _UNTAKEN


def advised(error: RestError) -> RestError:
    """The same error, with what to do about the cloud's own code."""
    error.remedy = _REMEDIES.get(error.code, error.remedy)
    return error


def difference(wanted: JsonObject, found: Mapping[str, JsonValue]) -> JsonObject:
    """What must be merged into `found` so that it has all of `wanted`; empty when it has."""
    changed: JsonObject = {}
    for name, value in wanted.items():
        there = found.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = difference(value, there)
            if inner:
                changed[name] = inner
        elif json.dumps(value, sort_keys=True) != json.dumps(there, sort_keys=True):  # true is not 1 here
            changed[name] = value
    return changed
