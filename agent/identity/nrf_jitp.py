"""Just-in-time provisioning at nRF Cloud, for a hub whose key and certificate Nordic's authority makes.

Three steps, each of which may be repeated: the certificate goes into the hub's slot; its first connection, to `/topics/jitp`, is closed
without an answer and has the device made; then the ownership code takes the device into the account. So nothing needs to be noted: who
runs it again after a power cut goes through the same steps, and those that are done answer so.
"""

import asyncio
import json
import time
from collections.abc import Callable

from agent.cloud.rest import Rest, RestError, UnavailableError, UnusableError
from agent.errors import TryAgainError, UsageError
from agent.identity.hub_identity import HubIdentity
from agent.identity.nrf_onboarding import FIRST, LONGEST, NrfAccount, Tell
from agent.identity.record import Held
from agent.identity.sources import Asked, Obtained, fetch

NAME = "nrf-jitp"
_NOT_YET = ("40410", "40411", "40412", "40413", "40414")  # the device is not there, as long as it is being made
_FORBIDDEN = 403
_STEPS = 3


class _Certificate:
    """The source of the certificate: CreateDeviceCertificate, whose answer has the private key as well."""

    name = NAME

    def __init__(self, account: NrfAccount, device: str, code: str) -> None:
        self._account, self._device, self._code = account, device, code

    async def obtain(self, asked: Asked) -> Obtained:
        made = await self._account.certificate(self._device, self._code)
        asked.slots.replace_key(made.private_key)
        return Obtained(made.client_cert, self._device)

    async def confirm(self, previous: Held | None) -> None:
        """Nobody waits for it."""

    def kept(self) -> None:
        """Nothing was kept: another certificate is asked for, until the device is there."""


class Jitp:
    """Of one hub. `url`: the origin of the broker's HTTPS port, `ca`: PEM file of its authorities, `deadline`: seconds of the last step."""

    def __init__(
        self,
        identity: HubIdentity,
        account: NrfAccount,
        url: str,
        tell: Tell,
        *,
        ca: str = "",
        deadline: float = 180.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity, self._account, self._url = identity, account, url
        self._ca, self._tell, self._deadline, self._now = ca, tell, deadline, now

    async def run(self, device: str, code: str, sub_type: str = "") -> bool:
        """Whether the device was made now; false: it was there before.

        Raises RestError, KeyTroubleError, CertificateTroubleError, UsageError for a hub that is somebody else, TryAgainError at the deadline.
        """
        await self._certificate(device, code)
        self._tell("first connection", 1, _STEPS)
        made = await self._connect()
        self._tell("waiting for the device", 2, _STEPS)
        await self._associate(device, code, sub_type)
        self._tell("", _STEPS, _STEPS)
        return made

    async def _certificate(self, device: str, code: str) -> None:
        current = self._identity.current()
        if current is None:
            self._tell("asking for a certificate", 0, _STEPS)
            await fetch(self._identity.slots, _Certificate(self._account, device, code), "JITP")
        elif current.thing != device:
            text = f"the hub has a certificate already, as {current.thing}"
            remedy = f"name {current.thing} as `hub.id`, or factory-reset the hub"
            raise UsageError(text, place="identity", remedy=remedy)

    async def _connect(self) -> bool:
        """The first connection; whether it has the device made now."""
        slots = self._identity.slots
        slot = slots.record.current
        if slot is None:
            raise TryAgainError("the certificate has gone meanwhile", place=str(slots.folder), remedy="run it again")
        certificate, key = slots.tls_files(slot)
        async with Rest(self._url, ca=self._ca, certificate=certificate, key=key) as rest:
            try:
                answer = await rest.call("POST", "/topics/jitp", query={"qos": 1}, body=b"", retry=False)
            except UnavailableError as error:
                if not error.closed:
                    raise
                return True
            except RestError as error:
                if error.status != _FORBIDDEN or not _says_nothing(error.body_start):
                    raise
                return False
        remedy = "is --jitp-url the HTTPS port (8443) of the account's MQTT host?"
        raise UnusableError(f"the answer {answer.status} is none of JITP", place=answer.place, remedy=remedy)

    async def _associate(self, device: str, code: str, sub_type: str) -> None:
        """Until the device is there, which takes about half a minute."""
        end, pause = self._now() + self._deadline, FIRST
        while True:
            try:
                await self._account.associate(device, code, sub_type)
            except RestError as error:
                if error.code not in _NOT_YET:
                    raise
                if self._now() + pause > end:
                    text = f"{device} is not there {self._deadline:.0f} s after its first connection: {error.message}"
                    raise TryAgainError(text, place=error.place, remedy="run the same command again") from None
                await asyncio.sleep(pause)
                pause = min(LONGEST, pause * 1.5)
            else:
                return


def _says_nothing(body: str) -> bool:
    """`{"message": null}`: the device was provisioned before. Other refusals have a text."""
    try:
        told = json.loads(body)
    except ValueError:
        return False
    return isinstance(told, dict) and "message" in told and told["message"] is None
