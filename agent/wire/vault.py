"""Bodies of the business certificate vault (protocol notes, section 8): documents, not X.509."""

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "business/certificate-vault"
STATUSES = ("pending", "processing", "generated", "failed", "revoked")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Entry(_Body):
    """One certificate of a bulk. `issue_date`: YYYY-MM-DD."""

    certificate_title: str
    full_name: str
    applicant_email: str
    file_id: str
    issue_date: str | None = None
    details: str | None = None


class Bulk(_Body):
    entries: list[Entry]


class UploadedFile(_Body):
    file_id: str = Field(min_length=1, max_length=128)
    file_name: str = ""
    size: int = 0


class Uploaded(_Body):
    data: UploadedFile


class Batch(_Body):
    """The service's own example of a batch id is no UUID: any text is one."""

    batch_id: str = Field(min_length=1, max_length=128)
    total: int
    status: str = ""


class Accepted(_Body):
    data: Batch


class Labelled(_Body):
    value: str
    label: str | None = None


class Certificate(_Body):
    uuid: str
    status: Labelled
    reference_id: str | None = None
    certificate_title: str | None = None
    full_name: str | None = None
    applicant_email: str | None = None
    issue_date: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class Meta(_Body):
    current_page: int = 1
    last_page: int = 1
    total: int = 0


class Listed(_Body):
    data: list[Certificate]
    meta: Meta = Meta()
