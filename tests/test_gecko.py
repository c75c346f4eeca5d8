"""Images and transfers for the Gecko bootloader: what is read, what is sent, and how a bad line is borne."""

import binascii
from collections import deque

import pytest
from conftest import examples
from gbl_rig import gbl, tag
from hypothesis import given
from hypothesis import strategies as st

from drivers import gbl as images
from drivers.gbl import Gbl, GblError
from drivers.sim.gecko import Bootloader
from drivers.xmodem import BLOCK, TRIES, Sender, Signal

READY = bytes((Signal.READY,))


class TestImages:
    def test_one_that_is_whole_says_its_version(self) -> None:
        whole = gbl(b"program", version=0x07180000)
        assert images.read(whole) == Gbl(len(whole), 0x07180000)
        assert images.read(whole + bytes(BLOCK)) == Gbl(len(whole), 0x07180000), "padding of a transfer"
        assert images.read(gbl()).version is None

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "ends before"),
            (bytes(200), "no .gbl"),
            (gbl(b"x")[:-1], "reaches over"),
            (gbl(b"x")[:-12], "ends before"),
            (gbl(b"x", spoilt=1), "checksum"),
            (tag(images.HEADER, bytes(8)) + tag(images.END, b"123"), "checksum"),
        ],
    )
    def test_one_that_is_none_is_refused(self, data: bytes, words: str) -> None:
        with pytest.raises(GblError, match=words):
            images.read(data)

    @given(st.binary(max_size=300), st.data())
    def test_a_changed_octet_is_seen(self, content: bytes, data: st.DataObject) -> None:
        whole = bytearray(gbl(content, version=1))
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(GblError):
            images.read(bytes(whole))


def carried(sender: Sender, bootloader: Bootloader, lost: deque[int], damaged: deque[int]) -> bytes:
    """A transfer over a line that loses and damages blocks; what the bootloader said in the end."""
    heard, frames = deque(b"".join(bootloader.receive(b"1"))[-1:]), 0
    said = b""
    while not (sender.done or sender.failed):
        out = sender.heard(heard.popleft()) if heard else sender.silent()
        if out:
            frames += 1
            if lost and lost[0] == frames:
                lost.popleft()
                continue
            if damaged and damaged[0] == frames:
                damaged.popleft()
                out = out[:-1] + bytes((out[-1] ^ 1,))
            answers = b"".join(bootloader.receive(out))
            said = answers or said
            heard.extend(answers[:1])
    return said


class TestTransfer:
    def test_a_block_is_as_xmodem_has_it(self) -> None:
        sender = Sender(b"123456789")
        block = sender.heard(Signal.READY)
        assert block[:3] == bytes((Signal.SOH, 1, 0xFE))
        assert block[3:131] == b"123456789".ljust(128, b"\0")
        assert binascii.crc_hqx(b"123456789", 0) == 0x31C3, "the check value of CRC-16/XMODEM"
        assert int.from_bytes(block[131:]) == binascii.crc_hqx(block[3:131], 0)
        assert (sender.heard(Signal.ACK), sender.acknowledged) == (bytes((Signal.EOT,)), 9)
        assert not sender.done
        assert (sender.heard(Signal.ACK), sender.done) == (b"", True)

    def test_noise_before_and_between_says_nothing(self) -> None:
        sender = Sender(bytes(10))
        assert [sender.heard(octet) for octet in (0, Signal.ACK, Signal.NAK)] == [b""] * 3
        assert sender.silent() == b""
        sender.heard(Signal.READY)
        assert sender.heard(Signal.READY) == b"", "it has begun already"
        sender.heard(Signal.ACK)
        sender.heard(Signal.ACK)
        assert (sender.heard(Signal.CAN), sender.silent(), sender.failed) == (b"", b"", "")

    def test_a_block_that_is_never_taken_ends_it(self) -> None:
        sender = Sender(bytes(300))
        first = sender.heard(Signal.READY)
        assert [sender.heard(Signal.NAK) for _ in range(TRIES)] == [first] * TRIES
        assert sender.silent() == bytes((Signal.CAN,)) * 2
        assert sender.failed == "block 1 was not taken, 10 times"

    def test_a_receiver_that_breaks_off_ends_it(self) -> None:
        sender = Sender(bytes(300))
        sender.heard(Signal.READY)
        assert (sender.heard(Signal.CAN), sender.failed) == (b"", "the receiver has broken off")

    @given(
        st.binary(min_size=1, max_size=40 * BLOCK),
        st.sets(st.integers(1, 60), max_size=8),
        st.sets(st.integers(1, 60), max_size=8),
    )
    @examples(0.3)
    def test_what_arrives_is_what_was_sent_over_a_bad_line(self, content: bytes, lost: set[int], bad: set[int]) -> None:
        whole = gbl(content)
        sender, bootloader = Sender(whole), Bootloader()
        carried(sender, bootloader, deque(sorted(lost)), deque(sorted(bad - lost)))
        assert sender.done
        assert bootloader.image.startswith(whole)
        assert sender.acknowledged == len(whole)


class TestBootloader:
    def test_an_upload_that_breaks_off_leaves_no_application(self) -> None:
        bootloader, sender = Bootloader(), Sender(gbl(bytes(1000)))
        bootloader.receive(b"1")
        bootloader.receive(sender.heard(Signal.READY))
        bootloader.receive(bytes((Signal.CAN,)))
        assert b"BL >" in b"".join(bootloader.receive(b"2"))
        assert (bootloader.run, bootloader.whole) == (False, False)

    def test_a_damaged_image_is_not_started(self) -> None:
        bootloader = Bootloader()
        carried(Sender(gbl(bytes(1000), spoilt=1)), bootloader, deque(), deque())
        bootloader.receive(b"2")
        assert not bootloader.run
        carried(Sender(gbl(bytes(1000))), bootloader, deque(), deque())
        bootloader.receive(b"2")
        assert bootloader.run
