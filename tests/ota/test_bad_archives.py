"""Archives that a maker's tools have damaged: signed all the same, and refused as what they are. No reader breaks, and none fills memory."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from slots_rig import tar_of, wheel

from agent.ota.appliers import unpack
from agent.ota.appliers.contract import ApplierError

FILES = {f"agent/part{number}.py": Random(number).randbytes(3000) + bytes(3000) for number in range(4)}
SEEDS = 120


def packed(kind: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def encrypted() -> bytes:
    found = bytearray(wheel("2.0"))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        found[found.index(mark) + at] |= 1
    return bytes(found)


def displaced() -> bytes:
    """A wheel whose list of files begins before the file itself."""
    found = bytearray(wheel("2.0"))
    end = found.rindex(b"PK\x05\x06")
    found[end + 16 : end + 20] = (1 << 30).to_bytes(4, "little")
    return bytes(found)


def flood() -> bytes:
    """Folders without end: not one byte of a file."""
    info = tarfile.TarInfo("agent")
    info.type = tarfile.DIRTYPE
    return info.tobuf() * 200


BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "encrypted": ("a.whl", encrypted),
    "displaced": ("a.whl", displaced),
    "a file that is a folder too": ("a.tar", lambda: tar_of({"a": b"1", "a/b": b"2"})),
    "a folder that is a file too": ("a.tar", lambda: tar_of({"a/b": b"2", "a": b"1"})),
    "a name that no disk takes": ("a.tar", lambda: tar_of({"a" * 300: b"1"})),
    "nothing but folders": ("a.tar", flood),
}


@pytest.mark.parametrize("what", BAD)
def test_an_archive_that_makes_no_sense_is_a_bad_image(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MOST_MEMBERS", 100)
    name, made = BAD[what]
    with pytest.raises(ApplierError, match="the image cannot be used") as caught:
        unpack.unpack(io.BytesIO(made()), name, tmp_path / "site", lambda _: None)
    assert caught.value.code == "bad-image"


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_no_damage_breaks_a_reader(tmp_path: Path, kind: str) -> None:
    good, chance, refused = packed(kind) if kind != "zip" else _zip(), Random(6), 0
    for number in range(SEEDS):
        wrong = bytearray(good)
        for _ in range(chance.choice((1, 2, 8))):
            wrong[chance.randrange(len(wrong))] = chance.randrange(256)
        try:
            unpack.unpack(io.BytesIO(wrong), f"a.{kind}".replace("zip", "whl"), tmp_path / str(number), lambda _: None)
        except ApplierError:
            refused += 1
    print(f"{kind}: {SEEDS} damaged archives, {refused} refused, no reader broke")
    assert refused


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return made.getvalue()
