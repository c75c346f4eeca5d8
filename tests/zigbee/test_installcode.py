import pytest
import zigpy.util
from hypothesis import given
from hypothesis import strategies as st

from drivers.zigbee.installcode import SIZES, InstallCode, InstallCodeError, crc16_x25, parse

# Zigbee Base Device Behaviour 1.0, 10.1.1: code with CRC, and the link key that follows from it.
CODE = "83FED3407A939723A5C639B26916D505C3B5"
KEY = "66B6900981E1EE3CA4206B6B861C02BB"
QR = f"Z:000D6F0000B1A2C3$I:{CODE}"


def test_the_standards_own_vector() -> None:
    code = parse(QR)
    assert code == InstallCode("00:0d:6f:00:00:b1:a2:c3", bytes.fromhex(CODE))
    assert zigpy.util.convert_install_code(code.code).serialize().hex().upper() == KEY


@pytest.mark.parametrize(
    "material",
    [
        QR,
        f"  {QR}  ",
        QR.lower().replace("z:", "Z:").replace("$i:", "$I:"),
        QR + "%G$M:Acme$D:1234",
        f"000D6F0000B1A2C3:{CODE}",
        f"00:0d:6f:00:00:b1:a2:c3 {CODE}",
        "00-0D-6F-00-00-B1-A2-C3;83FE D340 7A93 9723 A5C6 39B2 6916 D505 C3B5",
    ],
)
def test_forms_that_people_and_cameras_give(material: str) -> None:
    assert parse(material) == parse(QR)


@pytest.mark.parametrize(
    ("material", "reason"),
    [
        ("", "expected Z:"),
        ("Z:000D6F0000B1A2C3", "expected Z:"),
        ("Z:000D6F0000B1A2C$I:" + CODE, "expected Z:"),
        (QR[:-1] + "6", "checksum"),
        (QR[:-2], "34 hex digits"),
        (QR.replace("83FE", "83FF"), "checksum"),
        (QR + "00", "38 hex digits"),
    ],
)
def test_what_is_wrong_is_said(material: str, reason: str) -> None:
    with pytest.raises(InstallCodeError, match=reason):
        parse(material)


@given(st.binary(min_size=8, max_size=8), st.sampled_from(SIZES).flatmap(lambda n: st.binary(min_size=n, max_size=n)))
def test_every_valid_code_is_read_back(eui64: bytes, code: bytes) -> None:
    whole = code + crc16_x25(code).to_bytes(2, "little")
    parsed = parse(f"Z:{eui64.hex()}$I:{whole.hex()}")
    assert parsed == InstallCode(eui64.hex(":"), whole)


@given(st.text(max_size=80))
def test_garbage_is_an_error_and_nothing_else(text: str) -> None:
    with pytest.raises(InstallCodeError):
        parse(text)


@given(st.integers(0, 17), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(byte: int, bit: int) -> None:
    broken = bytearray.fromhex(CODE)
    broken[byte] ^= 1 << bit
    with pytest.raises(InstallCodeError, match="checksum"):
        parse(f"Z:000D6F0000B1A2C3$I:{broken.hex()}")
