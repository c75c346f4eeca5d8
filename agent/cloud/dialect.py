"""What an uplink needs to know of a cloud's language. PURE.

A dialect turns neutral messages into publications, and publications of the cloud into requests. It does no I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agent.requests import Message, Request


@dataclass(frozen=True, slots=True)
class Publication:
    """One MQTT PUBLISH at QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


class MalformedMessage(Exception):  # noqa: N818  a count, not a fault of ours
    """A message of the cloud that cannot be used; the text says where and why. Nothing else comes of it."""


class Dialect(Protocol):
    @property
    def subscriptions(self) -> tuple[str, ...]: ...

    def will(self, message_id: str, iso: str) -> Publication | None:
        """The last will: what the broker says of this hub when it vanishes; None where the cloud finds out by itself."""

    def status(self, message_id: str, iso: str, status: Mapping[str, Any]) -> Publication:
        """The hub's own status, told after each connect and at each change."""

    def encode(self, message: Message, message_id: str, shift: float) -> list[Publication]:
        """The publications of one message, none for what this cloud does not want; `shift` seconds are added to its times (back-dating)."""

    def decode(self, topic: str, payload: bytes, *, retained: bool) -> Request:
        """The request in a publication. Raises MalformedMessage."""
