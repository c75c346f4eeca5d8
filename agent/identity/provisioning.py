"""Fleet provisioning by claim: with a claim certificate, the hub gets a certificate of its own for a key that never leaves it.

Every step is kept before the next one: a power cut repeats at most one of them. The key is on disk before it is shown to anybody; the
answer with the ownership token is kept until it is used, for the hour that the token lives.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.dialect import Publication
from agent.cloud.mqtt import V5, V311, Endpoint, Inbound, MqttConnection, ProtocolRefused
from agent.errors import HubError, TryAgainError
from agent.files import write_atomic
from agent.identity.certificates import KEY, Certificates, Identity
from agent.identity.keys import KeyStore, Subject
from agent.wire.fleet_provisioning import (
    CREATE_FROM_CSR,
    PROVISION,
    Created,
    CreateFromCsr,
    Provision,
    Provisioned,
    Refused,
)

Body = TypeVar("Body", bound=BaseModel)

ANSWER = 30.0  # seconds; the pre-provisioning check alone may take five
TOKEN_LIFE = 3600.0  # seconds
_USED_UP = "InvalidCertificateOwnershipToken"


class ProvisioningRefusedError(HubError):
    """The cloud has refused; `code` is its word."""

    def __init__(self, refused: Refused, place: str) -> None:
        remedy = "compare serial number and product code with the managed thing, which must wait for its hub"
        super().__init__(f"{refused.error_code}: {refused.error_message}", place=place, remedy=remedy)
        self.code = refused.error_code


@dataclass(frozen=True, slots=True)
class Claim:
    """`endpoint` connects with the claim certificate; `parameters` are the template's, for example the serial number."""

    endpoint: Endpoint
    template: str
    common_name: str
    parameters: Mapping[str, str]


class Provisioner:
    """Brings a hub from its claim to its identity, which is installed in `certificates`; its notes are in `folder`."""

    def __init__(
        self, folder: Path, keys: KeyStore, certificates: Certificates, now: Callable[[], float] = time.time
    ) -> None:
        self._keys, self._certificates, self._now = keys, certificates, now
        self._pending = folder / "pending.json"
        self._folder = folder

    async def run(self, claim: Claim) -> Identity:
        """Raises MqttLost, ProvisioningRefusedError, CertificateTroubleError, and TryAgainError without an answer."""
        if not self._keys.has(KEY):
            self._keys.generate(KEY)
        conversation = _Conversation(claim.endpoint)
        provision = PROVISION.format(template=claim.template)
        try:
            await conversation.open(CREATE_FROM_CSR, provision)
            try:
                created, made = await self._register(conversation, claim, provision)
            except ProvisioningRefusedError as error:
                if error.code != _USED_UP:
                    raise
                self._forget()  # it was used before the power went, or is too old
                created, made = await self._register(conversation, claim, provision)
        finally:
            await conversation.close()
        try:
            return self._certificates.install(
                created.certificate_pem, made.thing_name, made.device_configuration, self._now()
            )
        finally:
            self._forget()  # also when it does not fit: the next run asks for another

    async def _register(self, conversation: "_Conversation", claim: Claim, topic: str) -> tuple[Created, Provisioned]:
        created = self._kept()
        if created is None:
            request = CreateFromCsr(certificate_signing_request=self._keys.csr(KEY, Subject(claim.common_name)))
            created = await conversation.ask(CREATE_FROM_CSR, request, Created)
            self._keep(created)
        body = Provision(
            certificate_ownership_token=created.certificate_ownership_token, parameters=dict(claim.parameters)
        )
        return created, await conversation.ask(topic, body, Provisioned)

    def _keep(self, created: Created) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = {"at": self._now(), "created": created.model_dump(by_alias=True)}
        write_atomic(self._pending, json.dumps(note).encode())

    def _kept(self) -> Created | None:
        """The answer of an earlier run, while its token lives; a note that cannot be read is none."""
        try:
            note = json.loads(self._pending.read_bytes())
            if 0 <= self._now() - float(note["at"]) < TOKEN_LIFE:
                return Created.model_validate(note["created"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            self._forget()
        return None

    def _forget(self) -> None:
        self._pending.unlink(missing_ok=True)


class _Conversation:
    """Questions and their answers on <topic>/accepted and <topic>/rejected."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = f"{endpoint.host}:{endpoint.port}"
        self._answers: asyncio.Queue[Inbound] = asyncio.Queue()
        self._endpoint = endpoint
        self._connection = self._connect(V5)

    def _connect(self, version: int) -> MqttConnection:
        return MqttConnection(
            self._endpoint,
            version=version,
            will=None,
            on_message=self._answers.put_nowait,
            on_acknowledged=lambda _mid: None,
        )

    async def open(self, *topics: str) -> None:
        wanted = tuple(f"{topic}/{end}" for topic in topics for end in ("accepted", "rejected"))
        try:
            await self._connection.open(wanted)
        except ProtocolRefused:
            self._connection = self._connect(V311)
            await self._connection.open(wanted)

    async def ask(self, topic: str, body: BaseModel, answer: type[Body]) -> Body:
        self._connection.publish(Publication(topic, body.model_dump_json(by_alias=True).encode()))
        try:
            async with asyncio.timeout(ANSWER):
                while not (heard := await self._answers.get()).topic.startswith(f"{topic}/"):
                    heard.acknowledge()
        except TimeoutError:
            raise TryAgainError(f"no answer on {topic} within {ANSWER:.0f} s", place=self._place) from None
        heard.acknowledge()
        try:
            if heard.topic.endswith("/rejected"):
                raise ProvisioningRefusedError(Refused.model_validate_json(heard.payload), self._place)
            return answer.model_validate_json(heard.payload)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise HubError(f"the answer on {topic} cannot be read: {first['msg']}", place=self._place) from None

    async def close(self) -> None:
        await self._connection.drain_and_close(2.0)
