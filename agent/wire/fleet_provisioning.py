"""Fleet provisioning's MQTT bodies (AWS IoT developer guide, "Device provisioning MQTT API")."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

CREATE_KEYS = "$aws/certificates/create/json"
CREATE_FROM_CSR = "$aws/certificates/create-from-csr/json"
PROVISION = "$aws/provisioning-templates/{template}/provision/json"
THING_NAME = r"^[a-zA-Z0-9:_-]{1,128}$"  # AWS IoT's own rule; it becomes a part of topics


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class CreateFromCsr(_Body):
    certificate_signing_request: str


class Created(_Body):
    """The certificate is pending until its ownership token is used, within an hour."""

    certificate_id: str = Field(pattern="^[0-9a-f]{64}$")
    certificate_pem: str
    certificate_ownership_token: str = Field(repr=False)


class CreatedKeys(Created):
    """The same, with a key that the cloud has made."""

    private_key: str = Field(repr=False)


class Provision(_Body):
    certificate_ownership_token: str = Field(repr=False)
    parameters: dict[str, str]


class Provisioned(_Body):
    thing_name: str = Field(pattern=THING_NAME)
    device_configuration: dict[str, Annotated[str, Field(max_length=1024)]] = Field(default_factory=dict)


class Refused(_Body):
    status_code: int
    error_code: str
    error_message: str = ""
