"""The signed release: everything that one version of the product consists of, in one document, so that nothing can be mixed. PURE.

A component for the hub (`agent`, `rauc`, `command`) names the boards that it is for; one for devices or for the radio stick names them by
`device`. Versions are texts for people and dependencies; devices also have the integer that they compare themselves:
Zigbee: the file version of the OTA header; Z-Wave: major << 16 | minor << 8 | patch; MCUboot: major << 24 | minor << 16 | revision.
A radio stick (kind `radio`): Z-Wave as its devices, of the protocol; Zigbee: EmberZNet's major << 24 | minor << 16 | patch << 8 | special.
"""

import graphlib
import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from agent.ota.documents import (
    Count,
    Digest,
    Document,
    Instant,
    Many,
    Name,
    Part,
    Pattern,
    Version,
    Word32,
    read,
)
from agent.ota.refusals import ContentError

LARGEST = 65_536  # bytes of a release or of a permission
CHUNK = 1_048_576  # bytes; what is fetched again when it is wrong
LARGEST_FILE = 2**40
HUB_KINDS = ("agent", "rauc", "command")
Kind = Literal["agent", "rauc", "command", "zigbee", "zwave", "radio", "ble", "coap"]
Code = Annotated[int, Field(ge=0, le=0xFFFFFFFF)] | Pattern


class File(Part):
    """An image. It lies beside the manifest under its name, unless `url` says otherwise: absolute, or relative to the manifest."""

    name: Name
    url: str = Field("", pattern=r"^[!-~]{0,2048}$")
    size: int = Field(ge=1, le=LARGEST_FILE, description="bytes")
    sha256: Digest = Field(description="of the whole file, hex digits")
    chunk_size: int = Field(CHUNK, ge=4096, le=67_108_864, multiple_of=4096, description="bytes")
    chunks: Many[Digest] = Field(description="SHA-256 of each chunk, hex digits; the last one may be shorter")

    @model_validator(mode="after")
    def _all_chunks(self) -> "File":
        if len(self.chunks) != -(-self.size // self.chunk_size):
            raise ValueError("not one hash for each chunk")
        return self

    def span(self, index: int) -> tuple[int, int]:
        """Offset and length of a chunk, bytes. Raises IndexError."""
        if not 0 <= index < len(self.chunks):
            raise IndexError(index)
        offset = index * self.chunk_size
        return offset, min(self.chunk_size, self.size - offset)

    def check(self, index: int, data: bytes | memoryview) -> None:
        """Raises ContentError unless `data` is the chunk `index`; IndexError."""
        if len(data) != self.span(index)[1] or hashlib.sha256(data).hexdigest() != self.chunks[index]:
            remedy = "fetch it again; if that does not help, the server has another file than was signed"
            raise ContentError(
                "the bytes are not those that were signed", place=f"{self.name}, chunk {index}", remedy=remedy
            )


class Range(Part):
    """From `min` to `max`, both inside."""

    min: Word32 = 0
    max: Word32 = 0xFFFFFFFF

    def holds(self, number: int | None) -> bool:
        return number is not None and self.min <= number <= self.max


class HubMatch(Part):
    """Names of boards, as the hub has them; `*` and `?` stand for any characters. One that matches is enough."""

    boards: Annotated[Many[Pattern], Field(min_length=1, max_length=32)]


class DeviceMatch(Part):
    """Which devices an image is for. What a range asks for and a device does not tell does not match."""

    manufacturer: Code = Field(description="Zigbee and Z-Wave: the code; others: the name")
    products: Annotated[Many[Code], Field(min_length=1, max_length=64)] = Field(
        description="Zigbee: image types; Z-Wave: product type << 16 | product id; others: names of models"
    )
    target: int = Field(
        0, ge=0, le=255, description="which of the device's images (Z-Wave firmware target, MCUboot image)"
    )
    hardware: Range | None = Field(None, description="hardware version")
    current: Range | None = Field(None, description="file version that the device has now")


class Requirement(Part):
    """The version that another component must have, here or in the same release; of the component itself: here."""

    component: Name
    minimum: Version


class Component(Part):
    name: Name
    kind: Kind
    version: Version
    security_epoch: Count = Field(0, description="goes up when older versions have holes; the hub never goes below")
    file_version: Word32 | None = Field(None, description="devices: the version that they compare")
    files: Annotated[Many[File], Field(min_length=1, max_length=16)]
    hub: HubMatch | None = None
    device: DeviceMatch | None = None
    requires: Annotated[Many[Requirement], Field(max_length=32)] = ()
    options: dict[Name, StrictBool | StrictInt | StrictStr] = Field(
        default={}, max_length=32, description="for the applier"
    )

    @property
    def for_hub(self) -> bool:
        """Whether it is installed on the hub itself."""
        return self.kind in HUB_KINDS

    @model_validator(mode="after")
    def _of_its_kind(self) -> "Component":
        if self.for_hub != (self.hub is not None) or self.for_hub == (self.device is not None):
            raise ValueError("a component for the hub names `hub`, one for devices `device`, and not the other")
        if self.for_hub == (self.file_version is not None):
            raise ValueError("a component for devices has a `file_version`, one for the hub has none")
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("two files of the same name")
        return self


class Release(Document):
    """`number` counts the releases of a product: the hub never goes back, whatever the versions are called."""

    type: Literal["release"]
    schema_version: Literal[1]
    release: Version
    number: int = Field(ge=1, le=2**53 - 1)
    created: Instant
    not_before: Instant | None = None
    emergency: bool = Field(False, description="may be installed outside of maintenance windows")
    components: Annotated[Many[Component], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _one_whole(self) -> "Release":
        if len({component.name for component in self.components}) != len(self.components):
            raise ValueError("two components of the same name")
        if not self.created < self.expires:
            raise ValueError("it expires before it is made")
        if self.not_before is not None and not self.not_before < self.expires:
            raise ValueError("it expires before it may be installed")
        files = [file for component in self.components for file in component.files]
        if len({file.name for file in files}) != len({(file.name, file.sha256) for file in files}):
            raise ValueError("one name for two files")
        try:
            in_order(self.components)
        except graphlib.CycleError:
            raise ValueError("components that require each other") from None
        return self


class Downgrade(Document):
    """A planned step back: the hubs named, from one release to another, until it expires. Its role is its own: who releases may not.

    `to` is an older release, or a later one with older components in it, which is the better way: all hubs end at the same number.
    """

    type: Literal["downgrade"]
    schema_version: Literal[1]
    hubs: Annotated[Many[Pattern], Field(min_length=1, max_length=1000)] = Field(
        description='ids of hubs; "*" alone: all'
    )
    devices: Annotated[Many[Pattern], Field(max_length=1000)] = Field((), description='ids of devices; "*" alone: all')
    from_: int = Field(ge=1, le=2**53 - 1, alias="from", description="number of the release that is confirmed now")
    to: int = Field(ge=1, le=2**53 - 1, description="number of the release that may be installed")


def in_order(components: Iterable[Component]) -> tuple[Component, ...]:
    """Those that others require first, else as they are listed. Raises graphlib.CycleError."""
    named = {component.name: component for component in components}
    graph = {
        name: [r.component for r in component.requires if r.component in named and r.component != name]
        for name, component in named.items()
    }
    return tuple(named[name] for name in graphlib.TopologicalSorter(graph).static_order())


def read_release(data: bytes, place: str = "") -> Release:
    """The release in `data`, whose signatures are checked already. Raises as documents.read."""
    return read(Release, data, LARGEST, place)


def read_downgrade(data: bytes, place: str = "") -> Downgrade:
    """As read_release, for a permission."""
    return read(Downgrade, data, LARGEST, place)


def schema(model: type[Part]) -> dict[str, Any]:
    """The JSON schema that is published for a document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}
