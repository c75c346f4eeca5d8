"""The codec of legacy DFU and its packages: strict, bounded, and with words for what is wrong."""

import io
import json
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble import dfu, dfu_package
from drivers.ble.dfu import Answer, DfuError, Receipt
from drivers.ble.dfu_package import PackageError
from drivers.ble.gatt import Service
from tests.ble_update_rig import application, init_packet, package
from tests.conftest import examples


def test_what_a_control_point_says() -> None:
    assert dfu.parse(bytes.fromhex("100101")) == Answer(dfu.START, dfu.SUCCESS)
    assert Answer(dfu.VALIDATE, dfu.CRC_ERROR).refusal == "the image's checksum is wrong"
    assert dfu.parse(bytes.fromhex("11c8000000")) == Receipt(200)
    assert Answer(dfu.START, 77).refusal == "status 77"
    assert dfu.sizes(0x10203) == bytes(8) + bytes.fromhex("03020100")
    assert dfu.receipts(10) == bytes.fromhex("080a00")


@examples(4)
@given(st.binary(max_size=24))
def test_anything_else_is_refused(data: bytes) -> None:
    with suppress(DfuError):
        assert dfu.parse(data) is not None
        assert data[0] in (dfu.ANSWER, dfu.RECEIPT)


@pytest.mark.parametrize(
    ("address", "following"),
    [("A4:C1:38:00:01:21", "A4:C1:38:00:01:22"), ("A4:C1:38:00:01:FF", "A4:C1:38:00:01:00")],
)
def test_the_boot_loader_is_at_the_next_address(address: str, following: str) -> None:
    assert dfu.next_address(address) == following


def test_a_device_that_offers_nothing_but_dfu_is_in_its_boot_loader() -> None:
    generic, ours = Service("00001800-0000-1000-8000-00805f9b34fb", 1, ()), Service(dfu.SERVICE, 2, ())
    lamp = Service("00001815-0000-1000-8000-00805f9b34fb", 3, ())
    found = [dfu.looks_like_bootloader(services) for services in ((generic, ours), (generic, ours, lamp), (generic,))]
    assert found == [True, False, False]


def test_a_package_has_an_image_and_its_init_packet() -> None:
    image = application()
    told = dfu_package.parse(package(image))
    assert (told.image, told.init) == (image, init_packet(image))
    old = dfu_package.parse(package(image, init_packet(image)[-2:]))  # before SDK 7: the checksum alone
    assert len(old.init) == 2


def test_what_nrfutil_packs_is_read() -> None:
    """As adafruit-nrfutil 0.5.3 made it of a hundred times "A", for device type 0x0052, version 7 and SoftDevice 0x00B6."""
    facts = {"device_type": 82, "device_revision": 65535, "application_version": 7, "firmware_crc16": 12632}
    part = {"bin_file": "a.bin", "dat_file": "a.dat", "init_packet_data": {**facts, "softdevice_req": [182]}}
    manifest = json.dumps({"manifest": {"application": part, "dfu_version": 0.5}}).encode()
    members = {"manifest.json": manifest, "a.bin": b"A" * 100, "a.dat": bytes.fromhex("5200ffff070000000100b6005831")}
    told = dfu_package.parse(package(**{"app.bin": None, "app.dat": None, **members}))
    assert (told.image, told.init) == (members["a.bin"], members["a.dat"])
    members["a.bin"] = b"A" * 99 + b"B"
    with pytest.raises(PackageError, match="not the one"):
        dfu_package.parse(package(**{"app.bin": None, "app.dat": None, **members}))


WRONG = {
    "no manifest.json": package(**{"manifest.json": None}),
    "no app.bin": package(**{"app.bin": None}),
    "is empty": package(**{"app.dat": b""}),
    "manifest.json: ": package(**{"manifest.json": b"{"}),
    "manifest.application: Field required": package(**{"manifest.json": b'{"manifest": {}}'}),
    "manifest.bootloader": package(
        **{
            "manifest.json": json.dumps(
                {"manifest": {"application": {"bin_file": "app.bin", "dat_file": "app.dat"}, "bootloader": {}}}
            ).encode()
        }
    ),
    "bin_file: String should match": package(
        **{"manifest.json": b'{"manifest": {"application": {"bin_file": "../app.bin", "dat_file": "app.dat"}}}'}
    ),
    "not the one that its init packet is for": package(init=init_packet(application("9.9.9"))),
    "damaged": b"PK\3\4 and no more",
    "more than 16 members": package(**{f"more-{number}": b"x" for number in range(16)}),
}


@pytest.mark.parametrize("says", WRONG)
def test_a_wrong_package_is_refused_with_its_reason(says: str) -> None:
    with pytest.raises(PackageError, match=says):
        dfu_package.parse(WRONG[says])


def test_a_bomb_is_not_unpacked() -> None:
    """Also one that lies: what it says of its size is not believed."""
    bomb = package(**{"app.bin": bytes(8 << 20)})
    assert len(bomb) < 50_000
    with pytest.raises(PackageError, match="more than"):
        dfu_package.parse(bomb)
    lying = bytearray(bomb)
    size = struct.pack("<I", 8 << 20)
    while (at := lying.find(size)) >= 0:
        lying[at : at + 4] = struct.pack("<I", 1000)
    with pytest.raises(PackageError):
        dfu_package.parse(bytes(lying))
    with pytest.raises(PackageError, match="are more than"):
        dfu_package.parse(bytes(dfu_package.LARGEST + 1))


def test_members_that_are_packed_otherwise_or_come_twice_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("manifest.json", b"{}")
    with pytest.raises(PackageError, match="packed"):
        dfu_package.parse(file.getvalue())
    encrypted = bytearray(package())
    encrypted[encrypted.find(b"PK\1\2") + 8] |= 1
    with pytest.raises(PackageError, match="packed"):
        dfu_package.parse(bytes(encrypted))


@examples(1)
@given(st.data())
def test_a_package_with_any_octet_changed_or_cut_off_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(package(application(size=60)))
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = bytes(whole[:place])
    whole[place] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(whole), cut):
        with suppress(PackageError):
            assert dfu_package.parse(wrong).image
