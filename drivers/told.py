"""What a device says, in the words of the hub, whatever its radio. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Values:
    """Properties of one capability of one endpoint."""

    endpoint: str
    capability: str  # its id
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of one capability of one endpoint."""

    endpoint: str
    capability: str
    event: str
    fields: Mapping[str, Any]
