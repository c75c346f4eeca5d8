"""Fleet provisioning by claim: with a claim certificate, the hub gets a certificate of its own for a key that never leaves it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.dialect import Publication
from agent.cloud.mqtt import V5, Endpoint, Inbound, MqttConnection
from agent.errors import HubError, TryAgainError
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


class ProvisioningRefusedError(HubError):
    """The cloud has refused; `code` is its word."""

    def __init__(self, refused: Refused, place: str) -> None:
        remedy = "compare serial number and product code with the managed thing, which must wait for its hub"
        super().__init__(f"{refused.error_code}: {refused.error_message}", place=place, remedy=remedy)
        self.code = refused.error_code


@dataclass(frozen=True, slots=True)
class Identity:
    """What the hub has become. `configuration`: of the provisioning template, for example the client id to use."""

    thing: str
    certificate: str  # PEM
    certificate_id: str
    configuration: Mapping[str, str]


async def by_claim(endpoint: Endpoint, template: str, request: str, parameters: Mapping[str, str]) -> Identity:
    """Have a certificate request (PEM) signed, and the thing for `parameters` bound to it.

    `endpoint` connects with the claim certificate. Raises MqttLost, ProvisioningRefusedError, TryAgainError without an answer.
    """
    provision = PROVISION.format(template=template)
    conversation = _Conversation(endpoint)
    try:
        await conversation.open(CREATE_FROM_CSR, provision)
        created = await conversation.ask(CREATE_FROM_CSR, CreateFromCsr(certificate_signing_request=request), Created)
        body = Provision(certificate_ownership_token=created.certificate_ownership_token, parameters=dict(parameters))
        made = await conversation.ask(provision, body, Provisioned)
    finally:
        await conversation.close()
    return Identity(made.thing_name, created.certificate_pem, created.certificate_id, made.device_configuration)


class _Conversation:
    """Questions and their answers on <topic>/accepted and <topic>/rejected."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = f"{endpoint.host}:{endpoint.port}"
        self._answers: asyncio.Queue[Inbound] = asyncio.Queue()
        self._connection = MqttConnection(
            endpoint, version=V5, will=None, on_message=self._answers.put_nowait, on_acknowledged=lambda _mid: None
        )

    async def open(self, *topics: str) -> None:
        await self._connection.open(tuple(f"{topic}/{end}" for topic in topics for end in ("accepted", "rejected")))

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
