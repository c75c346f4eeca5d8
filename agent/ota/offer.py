"""A release that may be installed here, with where its files are. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from agent.ota.manifest import Component, File, Release
from agent.ota.trust import Verified


@dataclass(frozen=True, slots=True)
class Offer:
    """`base` is the address or path of the manifest, which its files lie beside; `envelope` is what was verified."""

    verified: Verified
    base: str
    envelope: bytes
    addresses: Mapping[str, str] = field(
        default_factory=dict
    )  # of files by name, where a job has them: presigned ones, each its own
    permission: bytes | None = None  # to go back, as it was verified
    floor: str = ""  # what it raises the floor to once it is confirmed, JSON; "" for one that is read again

    @property
    def release(self) -> Release:
        return self.verified.release

    @property
    def components(self) -> tuple[Component, ...]:
        """Those for this hub, and then those for its devices, in their order."""
        return self.verified.hub + self.verified.devices

    def address(self, file: File) -> str:
        """Where a file is: an address, or a path on this machine."""
        name = self.addresses.get(file.name) or file.url or file.name
        if "://" in name or "://" in self.base:
            return urljoin(self.base, name)
        return f"{self.base.rpartition('/')[0]}/{name}"
