"""Onboarding files: what the cloud refuses is found before it is sent, with its place; what can be tidied is."""

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HubError
from agent.identity.onboarding_csv import (
    CERTIFICATES,
    DEVICES,
    KINDS,
    LONGEST_ROW,
    PUBLIC_KEYS,
    ROWS,
    Row,
    RowsTroubleError,
    common_name,
    one_block,
    read,
    tidy,
    write,
)


def made(folder: Path, curve: str = "prime256v1") -> tuple[str, str]:
    """(certificate, public key) by OpenSSL."""
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes"]
    key, certificate = folder / f"{curve}.key", folder / f"{curve}.pem"
    subprocess.run(
        [*make, "-subj", "/CN=device-1", "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True, text=True)
    return certificate.read_text(), public.stdout


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return made(tmp_path_factory.mktemp("keys"))


def line(device: str, pem: str, middle: str = ",,,") -> bytes:
    return f'{device},{middle}"{pem}"\n'.encode()


def reasons(data: bytes, kind: str = DEVICES) -> list[str]:
    with pytest.raises(RowsTroubleError) as caught:
        read(data, kind, "f.csv")
    return [f"{found.place}: {found.message}" for found in caught.value.problems]


def test_what_is_written_is_read_again_and_has_the_described_form(pems: tuple[str, str]) -> None:
    certificate, public = pems
    rows = [
        Row("device-1", certificate, "my-gateway,1", ("a", "b"), ("APP", "MODEM")),
        Row("device-2", public),
    ]
    (file,) = write(rows, DEVICES)
    assert file == (f'device-1,"my-gateway,1",a|b,APP|MODEM,"{certificate}"\ndevice-2,,,,"{public}"\n'.encode())
    assert read(file, DEVICES, "f.csv") == rows
    assert read(write([Row("a", public)], PUBLIC_KEYS)[0], PUBLIC_KEYS, "f.csv") == [Row("a", public)]
    assert common_name(certificate) == "device-1"


def test_more_than_a_thousand_rows_are_split(pems: tuple[str, str]) -> None:
    rows = [Row(f"d-{number}", pems[1]) for number in range(2 * ROWS + 1)]
    files = write(rows, PUBLIC_KEYS)
    assert [len(read(file, PUBLIC_KEYS, "f")) for file in files] == [ROWS, ROWS, 1]
    whole = b"".join(files)
    assert reasons(whole, PUBLIC_KEYS) == ["f.csv: 2001 rows: a file has 1 to 1000"]
    assert tidy(whole, PUBLIC_KEYS, "f.csv") == rows


def test_every_row_that_is_wrong_is_named_with_its_place(pems: tuple[str, str]) -> None:
    certificate, public = pems
    lines = len(public.splitlines()) + 1
    data = line("a", public) + line("b c", public) + line("c", public, ",t g,,") + line("d", public, ",,TOASTER,")
    data += line("a", public) + line("e", certificate + certificate) + line("f", public.rstrip("\n"))
    data += line("g", public.replace("PUBLIC", "PRIVATE")) + line(
        "h", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    )
    found = reasons(data)
    assert [reason.partition(", ")[2].partition(":")[0] for reason in found] == [f"row {n}" for n in range(2, 10)]
    assert found[0].startswith(f"f.csv:{lines + 1}, row 2: the device id")
    words = (
        "tag",
        "firmware",
        "there already, at f.csv:1, row 1",
        "chain",
        "line break",
        "private key",
        "no PUBLIC KEY",
    )
    for word, reason in zip(words, found[1:], strict=True):
        assert word in reason, reason


def test_the_kind_of_a_file_is_held(pems: tuple[str, str]) -> None:
    certificate, public = pems
    assert "a CERTIFICATE stands where a PUBLIC KEY" in reasons(line("a", certificate, ""), PUBLIC_KEYS)[0]
    assert "a PUBLIC KEY stands where a CERTIFICATE" in reasons(line("a", public, ""), CERTIFICATES)[0]
    assert "2 columns instead of 5" in reasons(line("a", public, ""))[0]


def test_another_curve_is_refused(tmp_path: Path) -> None:
    for pem in made(tmp_path, "secp384r1"):
        assert "P-256" in reasons(line("a", pem))[0]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda data: b"\xef\xbb\xbf" + data, "byte order mark"),
        (lambda data: data.replace(b"\n", b"\r\n"), "CR LF"),
        (lambda data: data + b"\n", "blank line"),
        (lambda data: b"deviceId,subType,tags,fwTypes,certPem\n" + data, "header"),
        (lambda data: data.replace(b'-----\n"', b'-----"'), "line break"),
    ],
)
def test_what_a_spreadsheet_does_is_refused_and_tidied(
    pems: tuple[str, str], spoil: Callable[[bytes], bytes], word: str
) -> None:
    data = spoil(line("a", pems[1]))
    assert word in reasons(data)[0]
    assert write(tidy(data, DEVICES, "f.csv"), DEVICES) == [line("a", pems[1])]


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b'a,b,c,d,"e', b'a,,,,""x"\n', b"," * 500_000, b'"\n",' * 200_000, b"\n" * 5000, b"\0"]
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    assert 1 <= len(reasons(data)) <= 100
    assert len(data) < LONGEST_ROW or "characters" in reasons(data)[0]


def test_the_leaf_of_a_chain_is_one_block(pems: tuple[str, str]) -> None:
    certificate, _ = pems
    assert one_block("leaf:\r\n" + (certificate + certificate).replace("\n", "\r\n")) == certificate


@examples(4)
@given(
    st.one_of(st.binary(max_size=400), st.text(alphabet='a,"\n\r|-\ufeff ', max_size=200).map(str.encode)),
    st.sampled_from(KINDS),
)
def test_any_bytes_are_rows_or_a_typed_error(data: bytes, kind: str) -> None:
    for function in (read, tidy):
        try:
            rows = function(data, kind, "f.csv")
        except HubError:
            continue
        assert write(rows, kind) if rows else function is tidy


@examples(2)
@given(
    st.from_regex(r"[a-z0-9:_-]{1,20}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9_.,@/:#-]{0,20}", fullmatch=True),
    st.lists(st.from_regex(r"[a-zA-Z0-9_.@:#-]{1,5}", fullmatch=True), max_size=3),
)
def test_what_is_written_is_what_a_csv_reader_reads(device: str, sub_type: str, tags: list[str]) -> None:
    row = Row(device, PUBLIC, sub_type, tuple(tags))
    (file,) = write([row], DEVICES)
    assert list(csv.reader(io.StringIO(file.decode(), newline=""))) == [list(row.cells(DEVICES))]
    assert read(file, DEVICES, "f.csv") == [row]


PUBLIC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""
