"""The certificate vendor of AWS Connected Device Framework over MQTT (protocol notes, section 7.3). PURE.

A job document names topics in three forms, one of them nonsense with wildcards to publish to. Whatever it says, a device may only use the
conventional ones, so those are what is used.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

OPERATION = "RotateCertificates"
# These end a request at once; every other failure is tried again by the vendor, and may still be followed by a certificate.
FINAL = frozenset(
    {"CERTIFICATE_NOT_FOUND", "UNABLE_TO_ACTIVATE_CERTIFICATE", "NotFound", "ResourceNotFound", "ArgumentError"}
)


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Get(_Body):
    """Never with deviceId, action or certId: the rule fills those in."""

    csr: str | None = Field(default=None, min_length=1)
    previous_certificate_id: str | None = None


class Acknowledge(_Body):
    previous_certificate_id: str | None = None


class Vended(_Body):
    """`get/accepted`: a certificate for a request, or the address of a package, which is good for 300 s."""

    certificate: str = ""
    certificate_id: str = ""
    location: str = Field(default="", repr=False)


class Told(_Body):
    """`…/rejected`, and `ack/accepted`."""

    message: str = ""


GET, ACK = "cdf/certificates/{thing}/get", "cdf/certificates/{thing}/ack"


def correlation_of(document: Mapping[str, Any]) -> str:
    """What the job's answers name it by; empty in the form that has none."""
    told = document.get("correlationId")
    return told if isinstance(told, str) else ""
