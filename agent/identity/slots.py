"""The hub's two slots on disk: `hub-a.pem`, `hub-b.pem`, their keys in the store, and `identity.json`, which is written last and counts.

Every change takes the folder's lock, reads the record, and ends with one atomic write of it; keys and certificates that no record
names are removed at the next `tidy`. A power cut costs at most the step that it hit.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from agent.clock import plausible
from agent.errors import ConfigError, Exit, HubError, TryAgainError
from agent.files import disk_trouble, locked, make_folder, sync_folder, write_atomic
from agent.identity.certificates import CertificateTroubleError, Checked, check, public_of
from agent.identity.keys import KeyStore, KeyStoreAwayError, public_pem
from agent.identity.record import Held, Record, Slot
from agent.identity.stores.file import parse
from agent.wire.fleet_provisioning import THING_NAME

log = logging.getLogger(__name__)

SLOTS: tuple[Slot, Slot] = ("a", "b")
LOCK_WAIT = 10.0  # seconds; a change takes milliseconds, a key in a slow TPM some seconds
Now = Callable[[], float | None]  # seconds since 1970, None while the clock was never set


class DamagedRecordError(CertificateTroubleError):
    """The record is no record: no start mends that, so that the service manager shall not try (exit code 78)."""

    exit_code = Exit.CONFIG


class Slots:
    """Keys and certificates of one identity in `folder`. Raises KeyTroubleError, CertificateTroubleError, StorageError."""

    def __init__(
        self, folder: Path, keys: KeyStore, now: Now = lambda: plausible(time.time()), *, kind: str = "P-256"
    ) -> None:
        self.folder, self.keys, self._now, self._kind = folder, keys, now, kind
        self.on_record: list[Callable[[Record], None]] = []  # told what is written, while the folder is locked
        self._path = folder / "identity.json"

    @property
    def record(self) -> Record:
        """What is there. Raises DamagedRecordError for a record that is none, CertificateTroubleError for one that cannot be read."""
        remedy = "`agent restore` of a backup puts it back; or delete it: the hub is then provisioned again"
        try:
            found = Record.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise CertificateTroubleError(f"cannot be read: {error}", place=str(self._path), remedy=remedy) from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise DamagedRecordError(f"cannot be read: {first}", place=str(self._path), remedy=remedy) from None
        if "version" not in found.model_fields_set:  # `{}` would be a hub without keys, whose keys are then tidied away
            raise DamagedRecordError("cannot be read: it has no version", place=str(self._path), remedy=remedy)
        return found

    @staticmethod
    def key(slot: Slot) -> str:
        """The name of a slot's key in the store."""
        return f"hub-{slot}"

    def chain(self, slot: Slot) -> Path:
        return self.folder / f"hub-{slot}.pem"

    def tls_files(self, slot: Slot) -> tuple[str, str]:
        """Certificate chain and key as TLS takes them."""
        return self.keys.tls_files(self.key(slot), self.chain(slot))

    # ---- changes ----------------------------------------------------------------------------------------------------

    def ask(self, reason: str) -> Slot:
        """A slot with a key for which a certificate can be asked for: the one of an earlier attempt, or a new one."""
        with self._locked():
            record = self.record
            if record.asked is None:
                self._write(record.cleared())
                self._tidy()
                self._write(self.record.ask(reason))
            slot = self.record.asked or self.record.free
            if not self.keys.has(self.key(slot)):
                self.keys.generate(self.key(slot), self._kind)
            return slot

    def arrived(self, pem: str, thing: str, configuration: Mapping[str, str], source: str) -> Held:
        """Keep the certificate that was asked for. Raises CertificateTroubleError when it does not fit."""
        with self._locked():
            record = self.record
            slot = record.asked or record.free
            checked = self.check(pem, slot)
            held = _held(checked, thing, configuration, source, self._wall())
            write_atomic(self.chain(slot), checked.pem.encode())
            self._write(record.arrived(held))
            if checked.mended:
                log.warning(
                    "the certificate came with its line breaks as the characters \\n, as JSON has them; they are mended"
                )
            return held

    def replace_key(self, key: str) -> None:
        """Take a private key, PEM, that comes with the certificate that was asked for. Raises KeyTroubleError."""
        with self._locked():
            slot = self.record.asked or self.record.free
            self.keys.destroy(self.key(slot))
            self.keys.adopt(self.key(slot), key)

    def adopt(
        self, pem: str, public_key: str, key: str, thing: str, configuration: Mapping[str, str], source: str
    ) -> Held:
        """Keep a chain and its key, PEM, that were made elsewhere: as the first ones, or as a candidate beside those in use.

        `public_key`: of `key`. Raises CertificateTroubleError, KeyTroubleError, and TryAgainError while another candidate is tried.
        """
        checked = check(pem, public_key, self._now())
        with self._locked():
            record = self.record
            for slot in (record.current, record.candidate):
                if slot and record.held[slot].certificate_id == checked.certificate_id:
                    return record.held[slot]
            if record.candidate is not None:
                remedy = "wait until it is in use or given up: `agent identity show`"
                raise TryAgainError("another new certificate is being tried", place=str(self.folder), remedy=remedy)
            cleared = record.cleared()
            if cleared != record:
                self._write(cleared)
            self._tidy()
            asked = cleared.ask(f"import of {checked.certificate_id}")  # not written: nobody waits for an answer
            self.keys.adopt(self.key(asked.free), key)
            held = _held(checked, thing, configuration, source, self._wall())
            write_atomic(self.chain(asked.free), checked.pem.encode())
            self._write(asked.arrived(held))
            return held

    # ---- backups ----------------------------------------------------------------------------------------------------

    def usable(self) -> Held | None:
        """The certificate in use, if it and its key are there and belong together. Raises KeyStoreAwayError, ConfigError."""
        try:
            record = self.record
        except CertificateTroubleError:
            return None
        return record.identity if record.current and self.sound(record.current) else None

    def slot_of(self, chain: str) -> Slot | None:
        """The slot whose key in the store is this chain's."""
        for slot in SLOTS:
            if self.keys.has(self.key(slot)):
                with suppress(CertificateTroubleError):
                    check(chain, self.keys.public_key(self.key(slot)), None)
                    return slot
        return None

    def check_whole(self, held: Held, chain: str, key: str) -> None:
        """Whether the parts of an identity are of one certificate; `key` may be empty. Raises CertificateTroubleError, KeyTroubleError."""
        public = public_pem(parse(key.encode(), "the backup").public_key()) if key else public_of(chain)
        if check(chain, public, None).certificate_id != held.certificate_id:
            remedy = "try again; if it stays so: `agent identity show`"
            raise CertificateTroubleError("the chain is not the certificate that the record names", remedy=remedy)

    def give_back(self, chain: str, key: str, held: Held) -> None:
        """Put an identity back, in the place of one that cannot be used. May be repeated. Raises KeyTroubleError."""
        slot = self.slot_of(chain)
        with self._locked():
            if slot is None:
                slot = "a"
                self._write(
                    Record()
                )  # a record that names no key: a power cut before the next one leaves none that is wrong
                self._tidy()
                self.keys.adopt(self.key(slot), key)
            write_atomic(self.chain(slot), chain.encode())
            self._write(Record(held={slot: held}, current=slot))
            self._tidy()

    def tell(self) -> None:
        """Tell `on_record` what is there: a power cut may have come between a write and its telling."""
        with self._locked():
            self._told(self.record)

    def check(self, pem: str, slot: Slot) -> Checked:
        """Whether a chain fits a slot's key and this day. Raises CertificateTroubleError."""
        return check(pem, self.keys.public_key(self.key(slot)), self._now())

    def sound(self, slot: Slot) -> bool:
        """Whether a slot's key and chain are there and belong together, be they expired or not. Raises KeyStoreAwayError, ConfigError."""
        try:
            check(self.chain(slot).read_text(), self.keys.public_key(self.key(slot)), None)
        except (KeyStoreAwayError, ConfigError):
            raise
        except (HubError, OSError, ValueError):
            return False
        return True

    def forget_asked(self) -> None:
        """The certificate that was asked for will not come."""
        self.change(lambda record: record.model_copy(update={"asked": None, "reason": ""}))

    def change(self, arrow: Callable[[Record], Record]) -> Record:
        """Go along one arrow of the record, then remove what nothing holds any more."""
        with self._locked():
            before = self.record
            after = arrow(before)
            if after != before:
                self._write(after)
            if after.used != before.used:
                self._tidy()
            return after

    def tidy(self) -> None:
        """Remove keys and certificates that a power cut has left behind."""
        if self.folder.exists():
            with self._locked():
                self._tidy()

    def _tidy(self) -> None:
        used = self.record.used
        for slot in SLOTS:
            if slot in used:
                continue
            self.keys.destroy(self.key(slot))
            if self.chain(slot).exists():
                self.chain(slot).unlink()
                sync_folder(self.folder)

    def _write(self, record: Record) -> None:
        write_atomic(self._path, record.model_dump_json().encode())
        self._told(record)

    def _told(self, record: Record) -> None:
        for told in self.on_record:
            told(record)

    def _wall(self) -> float:
        now = self._now()
        return time.time() if now is None else now

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The command line and the daemon change one folder."""
        busy = "another process is changing the hub's identity"
        with disk_trouble():
            make_folder(self.folder)
            with locked(self.folder / "lock", wait=LOCK_WAIT, busy=busy):
                yield


def _thing(thing: str, checked: Checked) -> str:
    """The name that becomes a part of topics; a certificate's own name only where it can be one."""
    if not thing:
        return checked.common_name if re.fullmatch(THING_NAME, checked.common_name) else ""
    if not re.fullmatch(THING_NAME, thing):
        raise CertificateTroubleError(f"{thing[:64]!r} is no name of a thing", remedy="1 to 128 of a-z A-Z 0-9 : _ -")
    return thing


def _held(checked: Checked, thing: str, configuration: Mapping[str, str], source: str, now: float) -> Held:
    return Held(
        thing=_thing(thing, checked),
        certificate_id=checked.certificate_id,
        configuration=dict(configuration),
        source=source,
        begins=checked.begins,
        expires=checked.expires,
        installed=now,
    )
