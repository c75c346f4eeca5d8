"""SMP beside libraries that know nothing of ours: `smp` reads each packet, and `smpclient` updates a simulated device over bleak."""

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble import smp as ours
from drivers.ble.bus import give_back, take
from drivers.sim.ble import gatt_calls
from drivers.sim.ble.firmware import Effect, Notify
from tests.ble_update_rig import NEW_VERSION, SMP, UpdateRig, body, house, mcuboot
from tests.conftest import examples
from tests.firmware_rig import nobody

pytestmark = pytest.mark.conformance
pytest.importorskip("smp")
pytest.importorskip("smpclient")

IMAGES, SYSTEM = import_module("smp.image_management"), import_module("smp.os_management")
REQUESTS = {
    (ours.IMAGE, ours.STATE, ours.READ): IMAGES.ImageStatesReadRequest,
    (ours.IMAGE, ours.STATE, ours.READ_ANSWER): IMAGES.ImageStatesReadResponse,
    (ours.IMAGE, ours.STATE, ours.WRITE): IMAGES.ImageStatesWriteRequest,
    (ours.IMAGE, ours.STATE, ours.WRITE_ANSWER): IMAGES.ImageStatesWriteResponse,
    (ours.IMAGE, ours.UPLOAD, ours.WRITE): IMAGES.ImageUploadWriteRequest,
    (ours.IMAGE, ours.UPLOAD, ours.WRITE_ANSWER): IMAGES.ImageUploadWriteResponse,
    (ours.OS, ours.RESET, ours.WRITE): SYSTEM.ResetWriteRequest,
    (ours.OS, ours.RESET, ours.WRITE_ANSWER): SYSTEM.ResetWriteResponse,
}


async def test_the_library_reads_each_packet_of_an_update(tmp_path: Path) -> None:
    """Members that it does not know are refused by it."""
    async with house(tmp_path, SMP) as (rig, _, driver):
        said, heard = _tap(rig.updated(SMP))
        await driver.update_firmware(SMP, rig.file(mcuboot()), progress=nobody)
    pieces, kinds = ours.Reassembly(), set()
    for data in [*heard, *said]:
        for packet in pieces.feed(data):
            kind = (packet.group, packet.command, packet.operation)
            REQUESTS[kind].loads(packet.encoded())
            kinds.add(kind)
    assert kinds == set(REQUESTS)


def _tap(server: Any) -> tuple[list[bytes], list[bytes]]:
    """What a server says and hears."""
    said: list[bytes] = []
    heard: list[bytes] = []
    serve: Callable[[str, bytes, str], list[Effect]] = server.heard

    def tapped(uuid: str, data: bytes, spoilt: str) -> list[Effect]:
        heard.append(data)
        effects = serve(uuid, data, spoilt)
        said.extend(effect.data for effect in effects if isinstance(effect, Notify))
        return effects

    server.heard = tapped
    return said, heard


@examples(0.5)
@given(
    st.binary(min_size=32, max_size=32),
    st.booleans(),
    st.integers(0, 255),
    st.integers(0, 2**31),
    st.binary(min_size=1, max_size=300),
)
def test_what_the_library_writes_is_read(
    sha: bytes,
    confirm: bool,  # noqa: FBT001  drawn
    sequence: int,
    offset: int,
    data: bytes,
) -> None:
    state = ours.decode(IMAGES.ImageStatesWriteRequest(hash=sha, confirm=confirm, sequence=sequence).BYTES)
    assert (state.sequence, state.version) == (sequence, ours.VERSION)
    assert ours.read(ours.SlotRequest, state) == ours.SlotRequest(hash=sha, confirm=confirm)
    upload = IMAGES.ImageUploadWriteRequest(off=offset, data=data, len=offset + 1, sha=sha, image=1, sequence=sequence)
    part = ours.read(ours.Part, ours.decode(upload.BYTES))
    assert part == ours.Part(off=offset, data=data, len=offset + 1, sha=sha, image=1)
    progress = ours.decode(IMAGES.ImageUploadWriteResponse(off=offset, match=confirm, sequence=sequence).BYTES)
    assert ours.read(ours.Progress, progress) == ours.Progress(off=offset, match=confirm)
    slot = {"slot": 1, "version": "1.2.3", "hash": sha, "pending": confirm}
    slots = ours.decode(IMAGES.ImageStatesReadResponse(images=[slot], sequence=sequence).BYTES)
    assert ours.read(ours.Slots, slots).images == [ours.Slot(slot=1, version="1.2.3", hash=sha, pending=confirm)]


def test_errors_of_the_library_have_words() -> None:
    user = 256  # where a maker's own begin
    assert set(ours.IMAGE_ERRORS) == {int(code) for code in IMAGES.IMG_MGMT_ERR if code}
    assert set(ours.ERRORS) == {int(code) for code in import_module("smp.error").MGMT_ERR if 0 < code < user}


# ---- a client -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpdateRig]:
    made = UpdateRig(tmp_path)
    await made.start()
    await made.control("pair", "smp")
    take(made.simulation.port)
    client = import_module("bleak.backends.bluezdbus.client").BleakClientBlueZDBus

    async def mtu(self: Any) -> None:
        """The simulated BlueZ has no AcquireWrite, out of which bleak reads it."""
        self._mtu_size = gatt_calls.MTU

    monkeypatch.setattr(client, "_acquire_mtu", mtu)
    try:
        yield made
    finally:
        await give_back()
        await made.close()


async def test_smpclient_updates_a_simulated_device(rig: UpdateRig) -> None:
    client_type = import_module("smpclient").SMPClient
    transport = import_module("smpclient.transport.ble").SMPBLETransport
    images, system = (import_module(f"smpclient.requests.{one}_management") for one in ("image", "os"))
    content = mcuboot(body(2000))
    async with client_type(transport(), SMP) as client:
        before = await client.request(images.ImageStatesRead())
        assert [(one.slot, one.version, one.active) for one in before.images] == [(0, "1.0.0", True)]
        assert [offset async for offset in client.upload(content)][-1] == len(content)
        (_, other) = (await client.request(images.ImageStatesRead())).images
        assert (other.slot, other.version) == (1, NEW_VERSION)
        assert content.endswith(other.hash)
        tested = await client.request(images.ImageStatesWrite(hash=other.hash))
        assert [one.pending for one in tested.images] == [False, True]
        await client.request(system.ResetWrite())
    async with client_type(transport(), SMP) as client:
        after = (await client.request(images.ImageStatesRead())).images
        assert [(one.version, one.active, one.confirmed) for one in after] == [
            (NEW_VERSION, True, False),
            ("1.0.0", False, True),
        ]
        kept = await client.request(images.ImageStatesWrite(hash=other.hash, confirm=True))
        assert kept.images[0].confirmed
        refused = await client.request(images.ImageStatesWrite(hash=bytes(32)))
        assert refused.err.rc == IMAGES.IMG_MGMT_ERR.NO_IMAGE
