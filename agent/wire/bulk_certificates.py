"""Bodies of AWS Connected Device Framework's bulk certificates (protocol notes, section 7.1)."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

JSON, ZIP = "application/vnd.aws-cdf-v1.0+json", "application/zip"  # compared letter by letter: */* is refused with 415


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class CertInfo(_Body):
    """The subjects. `common_name` is in the service's own language: `prefix`START${increment(n)|list|static}."""

    common_name: str = Field(min_length=1, max_length=256)
    common_name_list: list[str] | None = None
    organization: str | None = Field(default=None, max_length=64)
    organizational_unit: str | None = Field(default=None, max_length=64)
    state_name: str | None = Field(default=None, max_length=128)
    country: str | None = Field(default=None, min_length=2, max_length=2)
    include_ca: bool | None = Field(default=None, alias="includeCA")
    days_expiry: int | None = Field(default=None, ge=1, le=825)


class TaskRequest(_Body):
    quantity: int = Field(ge=1)
    register_: bool | None = Field(default=None, alias="register")
    cert_info: CertInfo | None = None


class TaskCreated(_Body):
    task_id: str = Field(pattern=r"^[0-9A-Za-z-]{1,64}$")
    status: str = ""


class TaskStatus(TaskCreated):
    """`batch_date`: milliseconds since the epoch. What is not complete is pending, whatever it is called."""

    status: str
    batch_date: float = 0
    chunks_pending: int = Field(default=0, ge=0)
    chunks_total: int = Field(default=0, ge=0)

    @property
    def complete(self) -> bool:
        return self.status == "complete"
