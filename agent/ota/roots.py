"""Whose signatures count: the root document, and how one root hands over to the next (TUF, sections 5.3 and 6.1). PURE.

The first root is pinned on the hub. Each later one is signed by a threshold of the root before it and by its own: whoever holds fewer old
keys than the threshold cannot bring in new ones. A key is revoked by a root that no longer names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.ota.documents import Count, Document, KeyId, Many, Name, Part, read
from agent.ota.refusals import RootChainError, WrongProductError
from agent.ota.signatures import Key, Signed, Verifier, open_envelope

LARGEST_ROOT = 512_000  # bytes, python-tuf's limit
LONGEST_CHAIN = 256  # roots that are followed at once, python-tuf's limit
ROOT, RELEASE, DOWNGRADE = "root", "release", "downgrade"  # roles, each of which signs the document type of its name


class Role(Part):
    """Which keys may sign, and how many of them must."""

    keys: Annotated[Many[KeyId], Field(min_length=1, max_length=64)]
    threshold: int = Field(ge=1, le=64)

    @model_validator(mode="after")
    def _can_be_met(self) -> "Role":
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key twice")
        if self.threshold > len(self.keys):
            raise ValueError("a threshold that its keys cannot meet")
        return self


class Roles(Part):
    root: Role
    release: Role
    downgrade: Role | None = Field(None, description="without it no downgrade is ever permitted")


class Recovery(Part):
    """After a compromise whose holder has signed absurdly high numbers (fast-forward): floors from then count as these at most.

    What they say of the time counts for nothing: it was learned from dates of the same hands.
    """

    root: int = Field(
        ge=2, le=2**53 - 1, description="floors that were raised under a root before this version are meant"
    )
    number: Count = Field(description="of the last release that was really ours")
    security_epochs: dict[Name, Count] = Field(default={}, max_length=64, description="the same for components")


class RootDocument(Document):
    type: Literal["root"]
    schema_version: Literal[1]
    version: int = Field(ge=1, le=2**53 - 1)
    keys: dict[KeyId, Key] = Field(min_length=1, max_length=64)
    roles: Roles
    recovery: Recovery | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "RootDocument":
        if wrong := [kid for kid, key in self.keys.items() if key.thumbprint != kid]:
            raise ValueError(f"{wrong[0]} is not the thumbprint of its key")
        roles = (self.roles.root, self.roles.release, self.roles.downgrade)
        if {kid for role in roles if role for kid in role.keys} - set(self.keys):
            raise ValueError("a role names a key that is not there")
        if self.recovery is not None and self.recovery.root > self.version:
            raise ValueError("a recovery under a root that is yet to come")
        return self


@dataclass(frozen=True)
class Root:
    """A root that is trusted, with its keys ready to verify."""

    document: RootDocument
    verifiers: Mapping[str, Verifier]

    @property
    def version(self) -> int:
        return self.document.version


def trust(document: RootDocument) -> Root:
    """A root whose document is believed already."""
    roles = {ROOT: document.roles.root, RELEASE: document.roles.release, DOWNGRADE: document.roles.downgrade}
    verifiers = {
        name: Verifier({kid: document.keys[kid] for kid in role.keys}, role.threshold)
        for name, role in roles.items()
        if role is not None
    }
    return Root(document, verifiers)


def pinned(data: bytes, place: str = "") -> Root:
    """The root that the hub begins with. That it lies on the hub makes it trusted; its own signatures show that it is whole.

    Raises RefusedError.
    """
    signed = open_envelope(data, LARGEST_ROOT, place)
    root = trust(_read(signed, place))
    root.verifiers[ROOT].check(signed, ROOT, place)
    return root


def rotated(root: Root, data: bytes, place: str = "") -> Root:
    """The next root: its version one higher, signed by the thresholds of both. Raises RefusedError."""
    signed = open_envelope(data, LARGEST_ROOT, place)
    root.verifiers[ROOT].check(signed, ROOT, place)
    following = trust(_read(signed, place))
    if following.document.product != root.document.product:
        text = f"a root of {following.document.product}, and this hub is a {root.document.product}"
        raise WrongProductError(text, place=place, remedy="give the hub the roots of its own product")
    if following.version != root.version + 1:
        text = f"root {following.version} does not follow root {root.version}"
        raise RootChainError(text, place=place, remedy=f"give root {root.version + 1}, and the later ones after it")
    following.verifiers[ROOT].check(signed, ROOT, place)
    return following


def _read(signed: Signed, place: str) -> RootDocument:
    return read(RootDocument, signed.payload, LARGEST_ROOT, place)
