"""nRF Cloud's REST calls that a device makes itself, with a token of its own: state, messages, FOTA executions, location.

Calls and statuses: protocol notes, sections 1.3 to 1.5. The token is `Rest`'s business (agent/identity/tokens.py, DeviceAuthorization).
"""

import base64
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from agent.cloud.nrf_calls import MessageTooLargeError, NrfCalls, Wanted, advised, difference
from agent.cloud.rest import Answer, Rest, RestError, UnusableError, segment
from agent.errors import TryAgainError
from agent.wire.nrf import (
    Assistance,
    Device,
    ExecutionUpdate,
    FilePlace,
    Fix,
    JsonObject,
    Message,
    Predictions,
    StateChange,
    Surroundings,
)

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 128 * 1024  # bytes of a POST: the cloud hands messages on through AWS IoT, which takes no more
CONFLICTS = 5  # attempts at a state that somebody else changes too
FRAGMENT = 32_768  # bytes of assistance data that are asked for at once
MOST_ASSISTANCE = 1 << 20
_PARTIAL = 206
_CONFLICT = (409, 412)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,9})-(\d{1,9})/(\d{1,9})")


class ConflictError(TryAgainError):
    """Somebody else changes the same state all the time."""


class NrfRest(NrfCalls):
    """The calls of one device by REST. `rest` has the API's URL as its base, with /v1."""

    protocol = "REST"
    longest = batch = 100_000  # bytes of messages in one POST, of the 128 KiB that AWS IoT takes

    def __init__(self, rest: Rest, device: str) -> None:
        self._rest, self._id = rest, device
        self._device = segment(device)

    # ---- state ------------------------------------------------------------------------------------------------------

    async def device(self) -> Device:
        """What the cloud knows of this device, with its state and the version of it."""
        return (await self._call("GET", f"/devices/{self._device}")).model(Device)

    async def patch_state(self, change: StateChange, version: str | int = "") -> None:
        """Merge into the state; with `version` only if it is still that one, else RestError 412. The same merge twice does no harm."""
        headers = {"If-Match": str(version)} if version != "" else {}
        await self._call("PATCH", f"/devices/{self._device}/state", json=change.wire(), headers=headers, retry=True)

    async def change_state(self, change: Callable[[Device], StateChange | None]) -> Device:
        """Read, change, write if nobody else has written meanwhile; again with what they wrote. `change` gives None where nothing is to do.

        Returns the device as it was read last. Raises ConflictError after CONFLICTS attempts.
        """
        for _ in range(CONFLICTS):
            found = await self.device()
            wanted = change(found)
            if wanted is None:
                return found
            try:
                await self.patch_state(wanted, found.meta.version)
            except RestError as error:
                if error.status not in _CONFLICT:
                    raise
                log.debug("the state was changed by somebody else: read again")
            else:
                return found
        raise ConflictError(
            f"the state of {self._id} was changed by others {CONFLICTS} times in a row", place="nRF Cloud"
        )

    async def settle(self, wanted: Wanted) -> None:
        """See NrfCalls."""

        def change(found: Device) -> StateChange | None:
            told = wanted(found.state.desired)
            differing = difference(told.reported or {}, found.state.reported)
            return StateChange(reported=differing or None, desired=told.desired) if differing or told.desired else None

        await self.change_state(change)

    async def report(self, reported: JsonObject) -> Device:
        """Have the cloud know this state: only what differs is sent. Raises as `change_state`."""

        def change(found: Device) -> StateChange | None:
            differing = difference(reported, found.state.reported)
            return StateChange(reported=differing) if differing else None

        return await self.change_state(change)

    # ---- messages ---------------------------------------------------------------------------------------------------

    async def send(self, message: Mapping[str, JsonValue], *, again: bool = False) -> None:
        """One message. `again`: also where it may have arrived before a connection was lost. Raises MessageTooLargeError."""
        await self._send("", dict(message), again=again)

    async def send_bulk(self, messages: Sequence[Mapping[str, JsonValue]], *, again: bool = False) -> None:
        """See NrfCalls; else as `send`."""
        await self._send("/bulk", [dict(message) for message in messages], again=again)

    async def send_binary(self, content: bytes, *, again: bool = False) -> None:
        """Octets; else as `send`."""
        await self._send("/bin", base64.b64encode(content).decode(), again=again)

    async def _send(self, form: str, message: JsonValue, *, again: bool) -> None:
        body = Message(topic=f"d/{self._id}/d2c{form}", message=message).model_dump_json().encode()
        if len(body) > LONGEST_MESSAGE:
            remedy = "send less at once"
            raise MessageTooLargeError(f"a message of {len(body)} bytes; {LONGEST_MESSAGE} is the most", remedy=remedy)
        headers = {"Content-Type": "application/json"}
        path = f"/devices/{self._device}/messages"
        await self._call("POST", path, body=body, headers=headers, retry=True if again else None)

    # ---- FOTA -------------------------------------------------------------------------------------------------------

    async def _current_job(self, query: Mapping[str, str]) -> Answer:
        return await self._call("GET", f"/fota-job-executions/{self._device}/current", query=query)

    async def _update_job(self, job: str, update: ExecutionUpdate) -> None:
        path = f"/fota-job-executions/{self._device}/{segment(job)}"
        await self._call("PATCH", path, json=update.wire(), retry=True)

    # ---- location ---------------------------------------------------------------------------------------------------

    async def ground_fix(
        self, seen: Surroundings, *, fallback: bool = True, sure: bool = False, reply: bool = True
    ) -> Fix | None:
        """Where the device is; None without `reply`, where only the account wants to know. What is known nowhere is a RestError 404.

        `fallback`: by the tracking area when nothing else is known; `sure`: the radius is that of 95 %.
        """
        defaults = {"doReply": (reply, True), "fallback": (fallback, True), "hiConf": (sure, False)}
        query = {name: value for name, (value, default) in defaults.items() if value != default}
        found = await self._call("POST", "/location/ground-fix", query=query, json=seen.wire(), retry=True)
        return found.model(Fix) if reply else None

    async def assistance(self, wanted: Assistance) -> bytes:
        """A whole A-GNSS answer in the SDK's binary format, fetched in fragments. Raises UnusableError when they do not fit together."""
        content, size = b"", 1
        while len(content) < size:
            begin = len(content)
            headers = {"Accept": "application/octet-stream", "Range": f"bytes={begin}-{begin + FRAGMENT - 1}"}
            found = await self._call(
                "POST", "/location/agnss", json=wanted.wire(), headers=headers, limit=MOST_ASSISTANCE, retry=True
            )
            if found.status != _PARTIAL and not begin:
                return found.body
            told = _CONTENT_RANGE.fullmatch(found.headers.get("content-range", ""))
            first, last, total = map(int, told.groups()) if told else (-1, 0, 0)
            fits = first == begin and last - first + 1 == len(found.body) and last < total <= MOST_ASSISTANCE
            if not fits or (begin and total != size):
                raise UnusableError("the parts of the assistance data do not fit together", place=found.place)
            content, size = content + found.body, total
        return content

    async def predictions(self, wanted: Predictions) -> FilePlace:
        """Where the file of P-GPS predictions is."""
        return (await self._call("GET", "/location/pgnss", query=wanted.wire())).model(FilePlace)

    # ---- all --------------------------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, **more: Any) -> Answer:
        try:
            return await self._rest.call(method, path, **more)
        except RestError as error:
            raise advised(error) from None
