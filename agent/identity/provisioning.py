"""Fleet provisioning by claim: with a claim certificate, the hub gets a certificate of its own for a key that never leaves it.

Every step is kept before the next one: a power cut repeats at most one of them. The key is on disk before it is shown to anybody; the
answer with the ownership token is kept until it is used, for the hour that the token lives.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.channel import Channel, RefusedError
from agent.cloud.mqtt import V5, V311, Endpoint, Inbound, MqttConnection, ProtocolRefused
from agent.errors import HubError
from agent.files import write_atomic
from agent.identity.certificates import CertificateTroubleError
from agent.identity.keys import Subject
from agent.identity.record import Held
from agent.identity.sources import Asked, Obtained
from agent.wire.fleet_provisioning import (
    CREATE_FROM_CSR,
    CREATE_KEYS,
    PROVISION,
    Created,
    CreatedKeys,
    CreateFromCsr,
    Provision,
    Provisioned,
    Refused,
)

Body = TypeVar("Body", bound=BaseModel)

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
    subject: Subject
    parameters: Mapping[str, str]
    own_key: bool = True  # else the cloud makes the key, and sends it


class FleetProvisioning:
    """The source for hubs with a claim. Its notes are in `folder`; `endpoint()` connects with the claim certificate."""

    name = "claim"

    def __init__(self, folder: Path, claim: Claim, now: Callable[[], float] = time.time) -> None:
        self._claim, self._now = claim, now
        self._pending = folder / "pending.json"

    async def obtain(self, asked: Asked) -> Obtained:
        """Raises MqttLost, ProvisioningRefusedError, and TryAgainError without an answer."""
        topic = PROVISION.format(template=self._claim.template)
        create = CREATE_FROM_CSR if self._claim.own_key else CREATE_KEYS
        channel = Channel(f"{self._claim.endpoint.host}:{self._claim.endpoint.port}")
        connection = await connected(self._claim.endpoint, channel, create, topic)
        try:
            try:
                return await self._register(channel, asked, topic)
            except ProvisioningRefusedError as error:
                if error.code != _USED_UP:
                    raise
                self.kept()  # it was used before the power went, or is too old
                return await self._register(channel, asked, topic)
        finally:
            await connection.drain_and_close(2.0)
            channel.unbind()

    async def confirm(self, previous: Held | None) -> None:
        """Fleet provisioning asks for no confirmation."""

    async def _register(self, channel: Channel, asked: Asked, topic: str) -> Obtained:
        created = self._note(asked)
        if created is None:
            created = await self._create(channel, asked)
            self._keep(created)
        body = Provision(
            certificate_ownership_token=created.certificate_ownership_token, parameters=dict(self._claim.parameters)
        )
        made = await _ask(channel, topic, body, Provisioned)
        return Obtained(created.certificate_pem, made.thing_name, made.device_configuration)

    async def _create(self, channel: Channel, asked: Asked) -> Created:
        if self._claim.own_key:
            request = CreateFromCsr(certificate_signing_request=asked.csr(self._claim.subject))
            return await _ask(channel, CREATE_FROM_CSR, request, Created)
        made = await _ask(channel, CREATE_KEYS, b"", CreatedKeys)
        asked.slots.replace_key(made.private_key)
        return Created(**made.model_dump(exclude={"private_key"}))

    def _keep(self, created: Created) -> None:
        note = {"at": self._now(), "created": created.model_dump(by_alias=True)}
        write_atomic(self._pending, json.dumps(note).encode())

    def _note(self, asked: Asked) -> Created | None:
        """The answer of an earlier run, while its token lives and the key is still there; a note that cannot be read is none."""
        try:
            note = json.loads(self._pending.read_bytes())
            created = Created.model_validate(note["created"])
            fresh = 0 <= self._now() - float(note["at"]) < TOKEN_LIFE
            if fresh:
                asked.slots.check(created.certificate_pem, asked.slot)
                return created
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, CertificateTroubleError):
            pass
        self.kept()
        return None

    def kept(self) -> None:
        self._pending.unlink(missing_ok=True)


async def connected(endpoint: Endpoint, channel: Channel, *topics: str) -> MqttConnection:
    """A connection with the answers of `topics` subscribed."""
    wanted = tuple(f"{topic}/{end}" for topic in topics for end in ("accepted", "rejected"))

    def heard(inbound: Inbound) -> None:
        if not channel.hear(inbound):
            inbound.acknowledge()

    def connect(version: int) -> MqttConnection:
        return MqttConnection(endpoint, version=version, will=None, on_message=heard, on_acknowledged=lambda _mid: None)

    connection = connect(V5)
    try:
        await connection.open(wanted)
    except ProtocolRefused:
        connection = connect(V311)
        await connection.open(wanted)
    connection.closed.add_done_callback(lambda _: channel.unbind())
    await channel.bind(connection)
    return connection


async def _ask(channel: Channel, topic: str, body: BaseModel | bytes, answer: type[Body]) -> Body:
    try:
        return await channel.ask(topic, body, answer)
    except RefusedError as error:
        try:
            refused = Refused.model_validate_json(error.payload)
        except ValidationError:
            raise error from None
        raise ProvisioningRefusedError(refused, channel.place) from None
