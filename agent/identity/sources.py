"""Where a certificate comes from: one interface for fleet provisioning, certificate vendor, EST and an authority of one's own."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent.files import disk_trouble
from agent.identity.keys import Subject
from agent.identity.record import Held, Slot
from agent.identity.slots import Slots


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source is given. `slot` has the key; `current` is the certificate in use, if there is one."""

    slots: Slots
    slot: Slot
    current: Held | None

    def csr(self, subject: Subject) -> str:
        """The request for the slot's key, PEM."""
        return self.slots.keys.csr(self.slots.key(self.slot), subject)


@dataclass(frozen=True, slots=True)
class Obtained:
    """A certificate chain, PEM, leaf first. `thing` is empty where the source names none."""

    pem: str
    thing: str = ""
    configuration: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Raises HubError: TryAgainError and MqttLost where the same call can succeed later."""

    @property
    def name(self) -> str: ...

    async def obtain(self, asked: Asked) -> Obtained: ...

    async def confirm(self, previous: Held | None) -> None:
        """The new certificate has connected: asked of sources in `credentials.CONFIRMING`, until it has returned once."""

    def kept(self) -> None:
        """What `obtain` returned is installed, or does not fit: what was kept of it can go."""


async def fetch(slots: Slots, source: Source, reason: str, *, told: Callable[[str], None] = lambda _text: None) -> Held:
    """Get a certificate into the free slot. Raises what the source does, CertificateTroubleError for one that does not fit, StorageError."""
    with disk_trouble():
        return await _fetch(slots, source, reason, told)


async def _fetch(slots: Slots, source: Source, reason: str, told: Callable[[str], None]) -> Held:
    slot = await asyncio.to_thread(slots.ask, reason)
    record = slots.record
    told(f"asking {source.name} for a certificate for slot {slot}")
    obtained = await source.obtain(Asked(slots, slot, record.identity))
    current = record.identity
    thing = obtained.thing or (current.thing if current else "")
    configuration = obtained.configuration or (current.configuration if current else {})
    try:
        return slots.arrived(obtained.pem, thing, configuration, source.name)
    finally:
        source.kept()
