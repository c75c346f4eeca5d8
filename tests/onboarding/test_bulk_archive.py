"""Zip files that are not what they should be: a typed error for each, and nothing outside of memory; and pairs with their devices."""

import base64
import json
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from agent.identity.bulk_archive import (
    LARGEST_MEMBER,
    MEMBERS,
    ArchiveTroubleError,
    Pair,
    decoded,
    file_names,
    members,
    pairs,
)
from agent.identity.bulk_folder import TaskFolder

Fill = Callable[[zipfile.ZipFile], None]


def made(folder: Path, name: str, *, traditional: bool = False) -> tuple[bytes, bytes]:
    """(certificate, key) by OpenSSL; with `traditional` the key is PKCS #1."""
    key, certificate = folder / "k.pem", folder / "c.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    if traditional:
        subprocess.run(["openssl", "rsa", "-in", key, "-traditional", "-out", key], check=True, capture_output=True)
    return certificate.read_bytes(), key.read_bytes()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return made(tmp_path_factory.mktemp("one"), b64("tmpl::A1"), traditional=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return made(tmp_path_factory.mktemp("other"), "plain-name")


def archive(folder: Path, fill: Fill) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        fill(file)
    return path


def entry(name: str, mode: int = stat.S_IFREG | 0o600) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


@pytest.mark.parametrize(
    ("fill", "word"),
    [
        (lambda z: z.writestr("../../etc/cron.d/x", "x"), "leaves its folder"),
        (lambda z: z.writestr("certs/../../x", "x"), "leaves its folder"),
        (lambda z: z.writestr("/etc/passwd", "x"), "absolute"),
        (lambda z: z.writestr("C:/x", "x"), "absolute"),
        (lambda z: z.writestr("certs\\..\\x", "x"), "leaves its folder"),
        (lambda z: z.writestr("certs//x", "x"), "leaves its folder"),
        (lambda z: z.writestr("certs/a\nb", "x"), "control characters"),
        (lambda z: z.writestr(entry("certs/x", stat.S_IFLNK | 0o777), "/etc/passwd"), "link"),
        (lambda z: z.writestr(entry("certs/x", stat.S_IFIFO | 0o600), ""), "link"),
        (lambda z: z.writestr("certs/x", b"0" * (LARGEST_MEMBER + 1)), "bytes"),
        (lambda z: z.writestr("certs/x", b"0" * LARGEST_MEMBER), "grows"),
        (lambda z: [z.writestr(f"certs/{n}", "x") for n in range(MEMBERS + 1)], "members"),
        (lambda z: (z.writestr("certs/a", "x"), z.writestr("a", "y")), "two members"),
        (lambda z: (z.writestr("certs/a", "x"), z.writestr("certs/A", "y")), "two members"),
        (lambda z: z.writestr(zipfile.ZipInfo("certs/x"), "x", zipfile.ZIP_LZMA), "compressed"),
    ],
)
def test_what_is_no_archive_of_the_service_is_refused(tmp_path: Path, fill: Fill, word: str) -> None:
    with pytest.raises(ArchiveTroubleError, match=word):
        members(archive(tmp_path, fill), "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveTroubleError, match="two members"):
        members(archive(tmp_path, lambda z: [z.writestr("certs/a_cert.pem", str(n)) for n in range(2)]), "a.zip")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, lambda z: z.writestr("certs/x", "secret"))
    data = bytearray(path.read_bytes())
    data[6] |= 1  # general purpose bit 0, in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)
    with pytest.raises(ArchiveTroubleError, match="encrypted"):
        members(path, "a.zip")


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, lambda z: z.writestr(entry("certs/x"), bytes(1_000_000)))
    small = (100).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace((1_000_000).to_bytes(4, "little"), small))
    with pytest.raises(ArchiveTroubleError):
        members(path, "a.zip")


def test_many_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A zip bomb without nesting: every entry of the directory points to the same compressed bytes."""
    path = archive(tmp_path, lambda z: z.writestr(entry("certs/00"), bytes(60_000)))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    record = data[start:end]
    directory = b"".join(record.replace(b"certs/00", f"certs/{number:02}".encode()) for number in range(60))
    tail = bytearray(data[end:])
    tail[8:10] = tail[10:12] = (60).to_bytes(2, "little")
    tail[12:16] = len(directory).to_bytes(4, "little")
    path.write_bytes(data[:start] + directory + bytes(tail))
    with pytest.raises(ArchiveTroubleError):
        members(path, "a.zip")


@examples(2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_members_or_a_typed_error(tmp_path: Path, data: st.DataObject) -> None:
    whole = archive(
        tmp_path, lambda z: (z.writestr("certs/a_cert.pem", "x" * 50), z.writestr("certs/b", "y"))
    ).read_bytes()
    changed = bytearray(data.draw(st.one_of(st.just(whole), st.binary(max_size=200))))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)):
        if place < len(changed):
            changed[place] = value
    path = tmp_path / "fuzz.zip"
    path.write_bytes(changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed)
    before = sorted(tmp_path.rglob("*"))
    try:
        found = members(path, "fuzz.zip")
        pairs({"fuzz": found})
    except ArchiveTroubleError:
        pass
    assert sorted(tmp_path.rglob("*")) == before


@examples(2)
@given(
    st.dictionaries(
        st.sampled_from(["a_cert.pem", "a_key.pem", "b_cert.pem", "certificate_manifest.json"]), st.binary(max_size=80)
    )
)
def test_any_content_is_pairs_or_a_typed_error(found: dict[str, bytes]) -> None:
    with pytest.raises(ArchiveTroubleError):
        pairs({"a": found})


# ---- pairs --------------------------------------------------------------------------------------------------------------


def chunk(identifier: str, pair: tuple[bytes, bytes], **manifest: str) -> dict[str, bytes]:
    named = {"certificate_manifest.json": json.dumps(manifest).encode()} if manifest else {}
    return {f"{identifier}_cert.pem": pair[0], f"{identifier}_key.pem": pair[1], **named}


def test_devices_come_from_the_manifest_or_else_from_the_subject(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes]
) -> None:
    arn = "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/12ab/certificate/34cd"
    both = {**chunk("x", one), **chunk(arn, other, **{"plain-name": arn})}
    found = {pair.id: (pair.device, pair.source) for pair in pairs({"a": both})}
    assert found == {"x": ("tmpl::A1", "subject"), arn: ("plain-name", "manifest")}


def test_manifests_of_all_chunks_count(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    found = pairs({"0": chunk("x", one, **{"tmpl::A1": "x"}), "1": chunk("y", other, **{"plain-name": "y"})})
    assert [(pair.device, pair.source) for pair in found] == [("tmpl::A1", "manifest"), ("plain-name", "manifest")]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda one, other: {"x_cert.pem": one[0], "x_key.pem": other[1]}, "not that of the certificate"),
        (lambda one, _: {"x_cert.pem": one[0]}, "has no key"),
        (lambda one, other: {**chunk("x", one), "y_key.pem": other[1]}, "no certificate"),
        (lambda one, _: chunk("x", one, **{"tmpl::OTHER": "x"}), "the manifest says"),
        (lambda one, _: chunk("x", one, a="x", b="x"), "two devices"),
        (lambda one, _: chunk("0" * 64, one), "not the one of its name"),
        (lambda one, _: {**chunk("x", one), "certificate_manifest.json": b"["}, "not JSON"),
        (lambda one, _: {**chunk("x", one), "certificate_manifest.json": b'{"\\ud800": "x"}'}, "no text"),
        (lambda one, _: {"x_cert.pem": one[0], "x_key.pem": b"-----BEGIN PRIVATE KEY-----"}, "no PEM private key"),
        (lambda one, _: {"x_cert.pem": b"nonsense", "x_key.pem": one[1]}, "no PEM certificate"),
        (lambda *_: {}, "no certificate in it"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes], spoil: Callable[..., dict[str, bytes]], word: str
) -> None:
    with pytest.raises(ArchiveTroubleError, match=word):
        pairs({"a": spoil(one, other)})


@pytest.mark.parametrize(
    ("subject", "device"),
    [
        ("dGVtcGxhdGVGb286OkFCMUNENzlFRg==", "templateFoo::AB1CD79EF"),
        ("AB1CD79EF000", "AB1CD79EF000"),
        ("a-b", "a-b"),
        ("", ""),
    ],
)
def test_a_subject_is_base64_where_that_makes_a_text(subject: str, device: str) -> None:
    assert decoded(subject) == device


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_any_device_has_a_file_name_of_its_own_in_its_folder(devices: list[str]) -> None:
    found = [
        Pair(str(n), device.encode("utf-8", "replace").decode(), "subject", b"", b"", f"{n:064x}"[::-1], 0.0)
        for n, device in enumerate(devices)
    ]
    names = file_names(found)
    assert len({name.casefold() for name in names.values()}) == len(found)
    for name in names.values():
        assert Path("/folder", f"{name}.pem").resolve().parent == Path("/folder")
        assert not name.startswith(".")
        assert len(name) < 240


@examples()
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_any_device_is_laid_out_inside_of_its_folder_and_privately(
    tmp_path_factory: pytest.TempPathFactory, devices: list[str]
) -> None:
    outside = tmp_path_factory.mktemp("lay")
    folder = TaskFolder(outside / "task")
    folder.folder.mkdir()
    texts = [device.encode("utf-8", "replace").decode() for device in devices]
    found = [Pair(str(n), text, "subject", b"c", b"k", f"{n:064x}"[::-1], 0.0) for n, text in enumerate(texts)]
    for _ in range(2):  # the second time over the first
        told = folder.lay_out(found)
        assert {path for path in outside.rglob("*") if path.is_file()} == {
            folder.devices / "devices.json",
            *(folder.devices / entry[what] for entry in told for what in ("certificate", "key")),
        }
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.devices.rglob("*"))
    assert [entry["device"] for entry in folder.index()] == texts
