"""What lies on the disk may be anything: the record of the slots, and the note of a provisioning that was under way."""

import json
import random
from pathlib import Path

import pytest
from garbage import BYTES, SEED, changed
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.clock import iso
from agent.cloud.mqtt import Endpoint
from agent.errors import HubError
from agent.identity.certificates import CertificateTroubleError
from agent.identity.keys import Subject
from agent.identity.provisioning import Claim, FleetProvisioning
from agent.identity.record import Held, Record
from agent.identity.renewal import age
from agent.identity.slots import Slots
from agent.identity.sources import Asked
from agent.identity.stores.file import FileKeys
from agent.identity.watch import told

HELD = Held(thing="hub", certificate_id="0" * 64, source="claim", begins=1.0, expires=2e9, installed=1.0)
GOOD = Record().ask("first").arrived(HELD).ask("age").arrived(HELD.model_copy(update={"certificate_id": "1" * 64}))


def use(record: Record) -> None:
    """All that the daemon asks of a record that it has read."""
    held = record.identity
    for slot in (record.current, record.candidate, record.fallback):
        assert slot is None or record.held[slot]
    if held is not None:
        assert iso(held.expires)
        assert told(record, age(held, record.offline, 1.8e9))
    for after in (record.cleared(), record.connected("a", 5.0), record.turn_over("x"), record.rolled_back("x")):
        assert Record.model_validate_json(after.model_dump_json()) == after
    assert record.lived(1e6).identity == held


def test_a_record_with_any_part_changed_is_refused_or_can_be_used(tmp_path: Path) -> None:
    slots, taken, refused = Slots(tmp_path, FileKeys(tmp_path / "keys")), 0, 0
    whole = json.loads(GOOD.model_dump_json())
    dice = random.Random(SEED)
    noisy = []
    for _ in range(2000):
        text = bytearray(GOOD.model_dump_json().encode())
        for _ in range(dice.randrange(1, 4)):
            text[dice.randrange(len(text))] = dice.randrange(256)
        noisy.append(bytes(text))
    for what in [*BYTES, *(json.dumps(one).encode() for one in changed(whole)), *noisy]:
        (tmp_path / "identity.json").write_bytes(what)
        try:
            record = slots.record
        except CertificateTroubleError as error:
            refused += 1
            assert str(tmp_path / "identity.json") in error.advice  # noqa: PT017  what is to be mended
        else:
            taken += 1
            use(record)
    assert taken > 100
    assert refused > 1000


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("current", "b"),
        ("current", None),
        ("candidate", "a"),
        ("fallback", "b"),
        ("asked", "a"),
        ("healthy", float("nan")),
        ("healthy", -1),
        ("rounds", -5),
        ("offline", float("inf")),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(part: str, value: object) -> None:
    whole = json.loads(GOOD.model_dump_json())
    with pytest.raises(ValidationError):
        Record.model_validate_json(json.dumps({**whole, part: value}))


@pytest.mark.parametrize("moment", [1e300, -1e300, float("inf"), float("nan"), 253402300800.0])
def test_a_time_that_no_calendar_has_is_refused(moment: float) -> None:
    whole = json.loads(GOOD.model_dump_json())
    whole["held"]["a"]["expires"] = moment
    with pytest.raises(ValidationError):
        Record.model_validate_json(json.dumps(whole))


@given(st.binary(max_size=64) | st.sampled_from(BYTES))
def test_any_bytes_as_the_record_are_an_empty_one_or_refused(
    tmp_path_factory: pytest.TempPathFactory, what: bytes
) -> None:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "identity.json").write_bytes(what)
    try:
        assert Slots(folder, FileKeys(folder / "keys")).record == Record()
    except CertificateTroubleError:
        return


@pytest.mark.parametrize("what", ["folder", "loop"])
def test_a_record_that_is_no_file_is_trouble_with_its_place(tmp_path: Path, what: str) -> None:
    path = tmp_path / "identity.json"
    if what == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()
    with pytest.raises(CertificateTroubleError, match="cannot be read"):
        _ = Slots(tmp_path, FileKeys(tmp_path / "keys")).record


def test_a_note_of_any_bytes_is_none_and_goes(tmp_path: Path) -> None:
    slots = Slots(tmp_path, FileKeys(tmp_path / "keys"))
    slots.ask("the test")
    endpoint = Endpoint("127.0.0.1", 1, "claim", 60, None)
    source = FleetProvisioning(tmp_path, Claim(endpoint, "t", Subject("hub"), {}), lambda: 1000.0)
    created = {"certificateId": "0" * 64, "certificatePem": "no", "certificateOwnershipToken": "t"}
    note = tmp_path / "pending.json"
    for what in [*BYTES, *(json.dumps(one).encode() for one in changed({"at": 1000.0, "created": created}))]:
        note.write_bytes(what)
        assert source._note(Asked(slots, "a", None)) is None
        assert not note.exists()


async def test_a_note_that_cannot_be_read_or_removed_is_trouble_in_words(tmp_path: Path) -> None:
    slots = Slots(tmp_path, FileKeys(tmp_path / "keys"))
    (tmp_path / "pending.json").mkdir()
    from agent.identity.sources import fetch  # noqa: PLC0415  beside its own test only

    source = FleetProvisioning(tmp_path, Claim(Endpoint("127.0.0.1", 1, "x", 60, None), "t", Subject("hub"), {}))
    with pytest.raises(HubError):
        await fetch(slots, source, "the test")
