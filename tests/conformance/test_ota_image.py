"""Our reader of Zigbee OTA files beside those of zigpy and of zigbee-herdsman: the same fields, and the same bytes for the device."""

import base64
import json
import subprocess
from typing import Any

import pytest
from zigbee_ota_rig import body, element, image

from drivers.zigbee.ota_image import ImageError, OtaImage, parse
from tests.conformance.test_herdsman import CLIENT, installed

zigpy_image = pytest.importorskip("zigpy.ota.image")
pytestmark = pytest.mark.conformance
__all__ = ["installed"]  # a fixture: herdsman by its lock file

SIGNED = element(0, body(400)) + element(1, body(48, 2)) + element(2, body(48, 3)) + element(3, body(16, 4))
PLAIN = image()
ENCRYPTED = b"\x00\xf0" + (300).to_bytes(4, "little") + b"\x01\x02" + body(300)
FILES: dict[str, bytes] = {
    "plain": PLAIN,
    "every field": image(security=2, destination=0x00124B0001000101, hardware=(0x0102, 0x0301)),
    "signed": image(elements=SIGNED, hardware=(1, 5)),
    "no elements": image(elements=b""),
    "Telink's encryption": image(elements=ENCRYPTED),
    "padded": PLAIN + b"\xff" * 100,
    "IKEA's container": b"NGIS"
    + bytes(12)
    + (24).to_bytes(4, "little")
    + len(PLAIN).to_bytes(4, "little")
    + PLAIN
    + body(64, 5),
    "Legrand's frame": len(PLAIN).to_bytes(4, "little") + PLAIN + body(17, 6),
}
BROKEN = {
    "cut short": PLAIN[:-1],
    "an element beyond the end": image(elements=element(0, body(64))[:-1]),
    "half an element": image(elements=element(0, body(64)) + b"\x00\x00\x01"),
    "no magic": b"\0" + PLAIN[1:],
}


def herdsman(files: list[bytes]) -> list[dict[str, Any]]:
    lines = "".join(base64.b64encode(file).decode() + "\n" for file in files)
    done = subprocess.run(["node", "ota.js"], cwd=CLIENT, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_zigpy_reads_the_same() -> None:
    for name, file in FILES.items():
        ours = parse(file)
        theirs, _ = zigpy_image.parse_ota_image(file)
        assert theirs.serialize() == ours.data, name
        head = theirs.header
        fields = (head.manufacturer_id, head.image_type, head.file_version, head.stack_version, head.image_size)
        mine = ours.header
        assert fields == (mine.manufacturer, mine.image_type, mine.file_version, mine.stack_version, mine.size), name
        assert (head.security_credential_version, head.header_string) == (mine.security, mine.text), name
        assert (head.minimum_hardware_version, head.maximum_hardware_version) == (mine.hardware or (None, None)), name
        wanted = None if mine.destination is None else mine.destination.to_bytes(8, "little")
        assert (head.upgrade_file_destination and head.upgrade_file_destination.serialize()) == wanted, name
        assert [(part.tag_id, part.data) for part in theirs.subelements] == elements(ours), name


def test_zigpy_reads_a_body_without_elements() -> None:
    """Of Signify's sbl-ota files."""
    file = image(manufacturer=0x100B, elements=b"\x2a\x00\x01" + body(200))
    assert parse(file).data == zigpy_image.parse_ota_image(file)[0].serialize() == file
    assert parse(file).elements == ()


def test_herdsman_reads_the_same() -> None:
    for (name, file), theirs in zip(FILES.items(), herdsman(list(FILES.values())), strict=True):
        ours, head = parse(file), theirs["header"]
        mine = ours.header
        assert bytes.fromhex(theirs["raw"]) == ours.data, name
        fields = ("manufacturerCode", "imageType", "fileVersion", "zigbeeStackVersion", "totalImageSize")
        wanted = (mine.manufacturer, mine.image_type, mine.file_version, mine.stack_version, mine.size)
        assert tuple(head[field] for field in fields) == wanted, name
        assert (head["otaHeaderLength"], head["otaHeaderFieldControl"]) == (mine.length, mine.control), name
        assert head.get("securityCredentialVersion") == mine.security, name
        hardware = (head.get("minimumHardwareVersion"), head.get("maximumHardwareVersion"))
        assert hardware == (mine.hardware or (None, None)), name
        assert [(tag, bytes.fromhex(data)) for tag, data in theirs["elements"]] == elements(ours), name


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_as_zigpy_refuses_it(name: str) -> None:
    with pytest.raises(ImageError):
        parse(BROKEN[name])
    with pytest.raises(ValueError):
        zigpy_image.parse_ota_image(BROKEN[name])


def elements(ours: OtaImage) -> list[tuple[int, bytes]]:
    return [(part.tag, part.data) for part in ours.elements]


def test_the_reader_finds_the_image_where_the_magic_number_is() -> None:
    assert parse(FILES["IKEA's container"]).offset == 24
    assert parse(b"\x1e\xf1\xee\x0bno image" + PLAIN).data == PLAIN
