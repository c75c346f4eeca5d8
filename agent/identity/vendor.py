"""Rotation by the certificate vendor of AWS Connected Device Framework, as a job of the cloud asks for it (protocol notes, section 7.3)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from agent.cloud.channel import Channel, RefusedError
from agent.cloud.jobs import Ended, Job
from agent.cloud.mqtt import Inbound
from agent.errors import HubError, TryAgainError
from agent.identity.certificates import CertificateTroubleError
from agent.identity.keys import Subject
from agent.identity.record import Held
from agent.identity.sources import Asked, Obtained, Source
from agent.wire.certificate_vendor import ACK, FINAL, GET, Acknowledge, Get, Told, Vended, correlation_of

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds: a failed request is tried twice more by AWS Lambda, after one minute and after two more
Over = Callable[[], str]  # the id of the certificate that the connection was made with


class VendorRefusedError(HubError):
    """The vendor has refused; the text holds its code."""


@dataclass(frozen=True, slots=True)
class _Package:
    location: str = field(repr=False)  # whoever has the address has the key


class CertificateVendor:
    """The source for a hub whose certificates are vended over its own connection. `over`: what that was made with.

    With `own_key` false a package is asked for that the operator has made, with its key.
    """

    name = "vendor"

    def __init__(
        self,
        channel: Channel,
        thing: str,
        subject: Subject,
        over: Over,
        *,
        own_key: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self._own_key = own_key
        self._channel, self._subject, self._over, self._patience = channel, subject, over, patience
        self._get, self._ack = GET.format(thing=thing), ACK.format(thing=thing)

    async def obtain(self, asked: Asked) -> Obtained:
        """The first certificate that is for our key. Raises VendorRefusedError, MqttLost, TryAgainError without an answer."""
        heard: asyncio.Queue[Inbound] = asyncio.Queue()
        await self._channel.subscribe(f"{self._get}/+", heard.put_nowait)
        request = self._request(asked)
        self._channel.publish(self._get, request.model_dump_json(by_alias=True, exclude_none=True).encode())
        last = "no answer"
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    told = self._judge(await heard.get(), asked)
                    if isinstance(told, Obtained):
                        return told
                    if isinstance(told, _Package):
                        return await self._unpack(told.location, asked)
                    last = told
        except TimeoutError:
            raise TryAgainError(
                f"the certificate vendor: {last} within {self._patience:.0f} s", place=self._channel.place
            ) from None

    def _request(self, asked: Asked) -> Get:
        if not self._own_key:
            return Get()
        previous = asked.current.certificate_id if asked.current else None
        return Get(csr=asked.csr(self._subject), previous_certificate_id=previous)

    async def _unpack(self, location: str, asked: Asked) -> Obtained:
        from agent.identity.vendor_package import fetch_package  # noqa: PLC0415  most hubs make their keys themselves

        chain, key = await fetch_package(location, asked.slots.folder)
        asked.slots.replace_key(key)
        return Obtained(chain)

    def _judge(self, inbound: Inbound, asked: Asked) -> "Obtained | _Package | str":
        """A certificate, or why this message was none. Raises VendorRefusedError for a refusal that nothing follows."""
        try:
            if inbound.topic.endswith("/rejected"):
                code = Told.model_validate_json(inbound.payload).message
                if code in FINAL:
                    raise VendorRefusedError(f"the certificate vendor refuses: {code}", place=self._channel.place)
                log.warning("the certificate vendor has failed (%s); it tries again by itself", code)
                return code
            vended = Vended.model_validate_json(inbound.payload)
            if not self._own_key and vended.location:
                return _Package(vended.location)
            asked.slots.check(vended.certificate, asked.slot)
        except ValidationError:
            return "an answer that cannot be read"
        except CertificateTroubleError as error:
            log.warning("a certificate of the vendor is not used: %s", error)
            return str(error)
        return Obtained(vended.certificate)

    async def confirm(self, previous: Held | None) -> None:
        """Acknowledge, over the new certificate's connection alone: over the old one, the vendor would delete the new one."""
        await self._over_new(previous)
        body = Acknowledge(previous_certificate_id=previous.certificate_id if previous else None)
        await self._channel.subscribe(f"{self._ack}/+", lambda _late: None)
        try:
            await self._channel.ask(self._ack, body, Told)
        except RefusedError as error:
            raise VendorRefusedError(f"the certificate vendor takes no acknowledgement: {error}") from None

    async def _over_new(self, previous: Held | None) -> None:
        old = previous.certificate_id if previous else ""
        await self._channel.wait(lambda: self._over() != old)

    def kept(self) -> None:
        """The key stays in its slot; there is nothing else."""


class RotationJobs:
    """Handles the jobs: `renew(source, reason)` is the certificate watch's."""

    def __init__(self, renew: Callable[[Source, str], Awaitable[None]], vendor: CertificateVendor) -> None:
        self._renew, self._vendor = renew, vendor

    async def __call__(self, job: Job) -> Ended:
        correlation = correlation_of(job.document)
        told = {"correlationId": correlation} if correlation else {}
        await job.progress(told)
        try:
            await self._renew(self._vendor, f"job {job.key}")
        except HubError as error:
            return Ended("FAILED", {**told, "reason": str(error)})
        return Ended("SUCCEEDED", told)
