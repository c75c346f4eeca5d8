"""Files that are replaced whole, and the hub's keys and certificates, under power cuts."""

import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any

from certificates import Authority
from faults.power_fs import Tell
from faults.power_scenario import LostError, Scenario

from agent.files import make_folder, sync_folder, write_atomic
from agent.identity.keys import KeyTroubleError
from agent.identity.record import KEEP, Record
from agent.identity.slots import Slots
from agent.identity.stores.file import FileKeys

NAMES = ("first", "second", "deep/third", "deep/fourth")
ANY = "any key"  # or none yet
GONE = 0  # the version of a file that is not there


def content(version: int) -> bytes:
    """Of any size up to some pages, and different in each sector."""
    rng = random.Random(version)
    data = rng.randbytes(rng.choice((0, 100, 511, 512, 513, 4096, 20_000)))
    return f"{version} {hashlib.sha256(data).hexdigest()} ".encode() + data


class Files(Scenario):
    """Files that are replaced with `write_atomic`, and removed."""

    name, most, reach = "files", 60, (10, 150)

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        self.kept = dict.fromkeys(NAMES, GONE)
        self.tried: dict[str, int] = {}
        self.version = 0

    def take(self, word: str, *told: Any) -> None:
        if word == "tried":
            self.tried, self.version = {told[0]: told[1]}, max(told[1], self.version)
        else:
            self.kept |= dict(told[0])
            self.tried = {}

    def live(self, tell: Tell) -> None:
        found = {name: self._version(name) for name in NAMES}
        for name, version in found.items():
            if version not in {self.kept[name], self.tried.get(name, self.kept[name])}:
                raise LostError(f"{name}: {version} where {self.kept[name]} was promised")
        tell("found", found)
        if self.last:
            return
        rng, version = random.Random(self.seed), self.version
        while True:
            path = self.folder / rng.choice(NAMES)
            name, version = str(path.relative_to(self.folder)), version + 1
            if rng.random() < 0.15 and path.exists():
                tell("tried", name, GONE)
                path.unlink()
                sync_folder(path.parent)
                tell("kept", {name: GONE})
            else:
                tell("tried", name, version)
                make_folder(path.parent)
                write_atomic(path, content(version))
                tell("kept", {name: version})

    def _version(self, name: str) -> int:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return GONE
        version = data.split(b" ", 1)[0]
        if not version.isdigit() or content(int(version)) != data:
            raise LostError(f"{name} is torn: {data[:80]!r}")
        return int(version)


class Certificates(Scenario):
    """Rotation after rotation: ask, certificate, connection, the old one goes; some are given up, some are rolled back."""

    name, most, reach = "certificates", 40, (20, 150)

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        self._outside = tempfile.TemporaryDirectory(prefix="power-cuts-ca-")
        self._authority = Authority(Path(self._outside.name))
        self.kept: list[str] = ["", "", "", "", ""]
        self.tried: list[list[str]] = []

    def take(self, word: str, *told: Any) -> None:
        if word == "tried":
            self.tried = told[0]
        else:
            self.kept, self.tried = told[0], []

    def live(self, tell: Tell) -> None:
        identity = self.folder / "state" / "identity"
        slots = Slots(identity, FileKeys(identity / "keys"))
        found = self._look(slots)
        tell("found", found)
        slots.tidy()
        if self._look(slots) != found:
            raise LostError("what a power cut left was tidied away, and more")
        rng = random.Random(self.seed)
        while not self.last:
            self._step(slots, rng, tell)

    def _look(self, slots: Slots) -> list[str]:
        """Which certificates are there, whole, each with its key: current, candidate, fallback; and the key that one was asked for."""
        record = slots.record
        for slot in record.held:
            if slot in record.used and not slots.sound(slot):
                raise LostError(f"slot {slot} is not whole: {record}")
        found = _summary(slots, record)
        if not any(
            found == one or (one[3] == ANY and [*found[:3], ANY, found[4]] == one) for one in (self.kept, *self.tried)
        ):
            raise LostError(f"{found} where {self.kept} was promised and {self.tried} tried")
        return found

    def _step(self, slots: Slots, rng: random.Random, tell: Tell) -> None:
        record = slots.record
        before = _summary(slots, record)
        if rng.random() < 0.2:
            tell("tried", [[*before[:4], "" if before[4] else "spare"]])
            (slots.keys.destroy if before[4] else slots.keys.generate)("spare")
            tell("kept", self._now(slots))
        elif record.asked:
            self._arrives(slots, record, before, tell)
        elif record.candidate:
            candidate = record.candidate
            if rng.random() < 0.3:
                self._change(slots, tell, record, record.given_up("refused"))
            else:
                self._change(slots, tell, record, record.connected(candidate, 1.0))
        elif record.fallback:
            after = record.rolled_back("refused") if rng.random() < 0.3 else record.lived(KEEP + 1.0)
            self._change(slots, tell, record, after)
        else:
            tell("tried", [[*before[:3], ANY, before[4]]])
            slots.ask("its age")
            tell("kept", _summary(slots, slots.record))

    def _arrives(self, slots: Slots, record: Record, before: list[str], tell: Tell) -> None:
        slot = record.asked or record.free
        if not slots.keys.has(slots.key(slot)):  # the cut came between the record and the key
            tell("tried", [[*before[:3], ANY, before[4]]])
            slots.ask("its age")
            tell("kept", self._now(slots))
        path = Path(self._outside.name) / "leaf.pem"
        self._authority.certify(slots.keys.public_key(slots.key(slot)), path, begins=-1, ends=30)
        chain = path.read_text()
        identifier = slots.check(chain, slot).certificate_id
        wanted = [before[0] or identifier, identifier if before[0] else "", "", "", before[4]]
        tell("tried", [wanted])
        slots.arrived(chain, "hub-1", {}, "local-ca")
        tell("kept", wanted)

    @staticmethod
    def _now(slots: Slots) -> list[str]:
        return _summary(slots, slots.record)

    @staticmethod
    def _change(slots: Slots, tell: Tell, before: Record, after: Record) -> None:
        wanted = _summary(slots, after)
        tell("tried", [wanted])
        if slots.change(lambda found: after if found == before else found) == after:
            tell("kept", wanted)


def _summary(slots: Slots, record: Record) -> list[str]:
    ids = [
        record.held[slot].certificate_id if slot else "" for slot in (record.current, record.candidate, record.fallback)
    ]
    key = ""
    if record.asked:
        try:
            key = slots.keys.public_key(slots.key(record.asked))
        except KeyTroubleError:
            key = "none"
    return [*ids, key, "spare" if slots.keys.has("spare") else ""]
