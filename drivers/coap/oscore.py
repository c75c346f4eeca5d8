"""OSCORE (RFC 8613): the security context of one device, and the sequence numbers that no crash may bring back.

A sequence number that is used twice under one key gives the key's secrets away. So numbers are reserved ahead in a durable file: what the
file says was used up, also when fewer were. The file is named by the key, and stays when the device is removed: the same key given again
goes on where it was. A file that is gone is refused, for a key that has been in use.
"""

import hashlib
import re
from pathlib import Path

from aiocoap import oscore

from agent.driver import DriverError
from agent.files import write_atomic
from drivers.coap.keys import OscoreKey

CHUNK = 256  # numbers that one write reserves; a crash costs as many of 2^40
ALGORITHM, HASH = "AES-CCM-16-64-128", "sha256"  # what is used where nothing was agreed (RFC 8613, 3.2)
SUFFIX = ".seq"
_CLOCK_SHIFT = 8  # a new file begins at Unix seconds times 256: past whatever a lost file may have said
_WINDOW = 32
_REMEDY = "give the device a new key and add it again: agent discover coap --auth"


class Numbers:
    """The numbers that one key has used, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved = 0

    @classmethod
    def of(cls, folder: Path, key: OscoreKey) -> "Numbers":
        """The numbers of a key; the name tells nothing of it."""
        text = f"{key.secret}|{key.salt}|{key.context}|{key.sender}"
        return cls(folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{SUFFIX}")

    def begin(self, wall: float, past: int = 0) -> None:
        """A key is taken into use, anew or again; no number up to `past` is used. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self._read() if self._path.exists() else 0
        self._write(max(known or 0, past, int(max(0.0, wall)) << _CLOCK_SHIFT))

    def first(self) -> int:
        """The first number that was certainly never used. Raises DriverError when nobody can tell."""
        try:
            found = self._read()
        except OSError as error:
            found = None
            reason = f"cannot be read: {error.strerror}"
        else:
            reason = "is damaged"
        if found is None:
            text = f"the file of the key's sequence numbers {reason}; without it a number could be used twice"
            raise DriverError(text, place=str(self._path), remedy=_REMEDY)
        self._reserved = found
        return found

    def use(self, number: int) -> None:
        """`number` is about to be used: it is on the disk as used when this returns. Raises OSError."""
        if number >= self._reserved:
            self._write(number + CHUNK)

    def _read(self) -> int | None:
        text = self._path.read_text(encoding="ascii", errors="replace")
        return int(text) if re.fullmatch(r"\d{1,13}\n", text, re.ASCII) else None

    def _write(self, reserved: int) -> None:
        write_atomic(self._path, f"{reserved}\n".encode())
        self._reserved = reserved


class SecurityContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]  # aiocoap is not typed
    """The context of one device, as its client."""

    echo_recovery = None  # a server's
    authenticated_claims = ()
    external_aad_is_group = False
    is_signing = False
    responses_send_kid = False

    def __init__(self, key: OscoreKey, numbers: Numbers) -> None:
        self._numbers = numbers
        self.alg_aead = oscore.algorithms[ALGORITHM]
        self.hashfun = oscore.hashfunctions[HASH]
        self.sender_id, self.recipient_id = bytes.fromhex(key.sender), bytes.fromhex(key.recipient)
        self.id_context = bytes.fromhex(key.context) or None
        self.derive_keys(bytes.fromhex(key.salt), bytes.fromhex(key.secret))
        self.recipient_replay_window = oscore.ReplayWindow(_WINDOW, lambda: None)
        self.recipient_replay_window.initialize_empty()
        self.sender_sequence_number = numbers.first()

    def new_sequence_number(self) -> int:
        """A number that was never used and never will be again. Raises DriverError when the disk does not take it."""
        try:
            self._numbers.use(self.sender_sequence_number)
        except OSError as error:
            text = f"a sequence number cannot be reserved: {error.strerror}"
            raise DriverError(text, place=str(error.filename or ""), remedy="free the disk") from error
        return int(super().new_sequence_number())

    @property
    def next_number(self) -> int:
        return int(self.sender_sequence_number)

    def skip(self, past: int) -> None:
        """Use no number up to `past`. Raises OSError."""
        if past > self.sender_sequence_number:
            self._numbers.use(past)
            self.sender_sequence_number = past

    def post_seqnoincrease(self) -> None:
        """The number is on the disk already."""
