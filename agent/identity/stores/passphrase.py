"""Bytes sealed with a person's passphrase, as text that says how: scrypt (RFC 7914) makes the key, `Box` seals."""

import base64
import binascii
import json
import os
from typing import Annotated

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import UsageError
from agent.identity.stores.box import Box
from agent.settings import Secret

SHORTEST = 12  # characters of a passphrase
_SALT, _MIB = 16, 1 << 20
_N, _R, _P = 1 << 16, 8, 1  # 64 MiB for a moment: what a small hub has, and a guesser needs for each guess
_MOST = 1024 * _MIB  # a file may not make us take more


class _Scrypt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    n: Annotated[int, Field(ge=2, le=1 << 24)]
    r: Annotated[int, Field(ge=1, le=64)]
    p: Annotated[int, Field(ge=1, le=16)]
    salt: str


class Sealed(BaseModel):
    """The text. What it is for (`format`) and its version are bound to its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str
    version: int
    scrypt: _Scrypt
    sealed: str = Field(repr=False)


def check(passphrase: Secret) -> None:
    """Raises UsageError for one that is too short."""
    if len(passphrase.reveal()) < SHORTEST:
        remedy = "`openssl rand -base64 24` makes a good one; keep it elsewhere than the file that it opens"
        raise UsageError(f"the passphrase has less than {SHORTEST} characters", remedy=remedy)


def seal(passphrase: Secret, form: str, version: int, content: bytes) -> bytes:
    """Raises UsageError for a passphrase that is too short."""
    check(passphrase)
    parameters = _Scrypt(n=_N, r=_R, p=_P, salt=base64.b64encode(os.urandom(_SALT)).decode())
    box, name = _box(passphrase, parameters), _name(form, version, parameters)
    text = base64.b64encode(box.seal(name, content)).decode()
    whole = Sealed(format=form, version=version, scrypt=parameters, sealed=text)
    return json.dumps(whole.model_dump(), indent=2).encode() + b"\n"


def unseal(passphrase: Secret, text: bytes, place: str) -> bytes:
    """The content. Raises UsageError: damaged, or another passphrase."""
    try:
        whole = Sealed.model_validate_json(text)
        sealed = base64.b64decode(whole.sealed, validate=True)
        if 128 * whole.scrypt.n * whole.scrypt.r > _MOST:
            raise ValueError("it wants too much memory")
        box = _box(passphrase, whole.scrypt)
    except (ValidationError, ValueError, binascii.Error):
        raise UsageError("is damaged", place=place, remedy="take another copy of it") from None
    return box.open(_name(whole.format, whole.version, whole.scrypt), sealed, place)


def _box(passphrase: Secret, parameters: _Scrypt) -> Box:
    salt = base64.b64decode(parameters.salt, validate=True)
    derive = Scrypt(salt=salt, length=32, n=parameters.n, r=parameters.r, p=parameters.p)
    return Box(derive.derive(passphrase.reveal().encode()), "passphrase", _WrongError)


def _name(form: str, version: int, parameters: _Scrypt) -> str:
    return json.dumps([form, version, parameters.model_dump()])


class _WrongError(UsageError):
    """In the words of a file with a passphrase: a box speaks of stores and their backups."""

    def __init__(self, message: str, *, place: str = "", remedy: str = "") -> None:  # noqa: ARG002  the box's own
        if "another secret" in message:
            super().__init__(
                "was sealed with another passphrase", place=place, remedy="give the file with the right one"
            )
        else:
            super().__init__("is damaged", place=place, remedy="take another copy of it")
