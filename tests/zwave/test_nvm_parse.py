"""Memory images as they are read: those of our simulated sticks, and damaged ones. Foreign ones: conformance/test_zwavejs_nvm.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim.zwave_bench import Bench

from drivers.sim.zwave import chip_files, nvm500
from drivers.zwave.nvm_parse import Memory, NvmError, UnknownLayoutError, parse


def image(kind: str, *profiles: str) -> bytes:
    return (nvm500 if kind == "500" else chip_files).image(Bench(*profiles, kind=kind).stick)


SOUND = {kind: image(kind, "switch", "plug") for kind in ("500", "800")}


@pytest.mark.parametrize("kind", ["500", "800"])
def test_a_network_is_read(kind: str) -> None:
    assert parse(SOUND[kind]) == Memory(0xC0FFEE01, 1, (1, 2, 3), int(kind))


def test_long_range_nodes_are_read() -> None:
    bench = Bench("switch")
    bench.network.join(bench.node("switch"), 261, bench.now)
    assert parse(chip_files.image(bench.stick)).nodes == (1, 261)


@pytest.mark.parametrize("foreign", [b"", b"\xff" * 0x4000, b"\0" * 0x4000, SOUND["500"][:1000]])
def test_what_is_no_memory_is_said_to_be_unknown(foreign: bytes) -> None:
    with pytest.raises(UnknownLayoutError):
        parse(foreign)


@pytest.mark.parametrize(("kind", "at"), [("500", 21), ("500", 12_238), ("800", 4), ("800", 8192 + 2), ("800", 20)])
def test_a_damaged_image_is_refused(kind: str, at: int) -> None:
    damaged = bytearray(SOUND[kind])
    damaged[at] ^= 0x40
    with pytest.raises(NvmError) as refused:
        parse(bytes(damaged))
    assert not isinstance(refused.value, UnknownLayoutError)


@settings(deadline=None, max_examples=60)  # a loaded machine is no fault of the parser
@given(st.sampled_from(["500", "800"]), st.integers(0, 0x3FFF), st.binary(max_size=60), st.integers(0, 0xA000))
def test_any_damage_is_refused_or_read(kind: str, at: int, damage: bytes, cut: int) -> None:
    damaged = bytearray(SOUND[kind])
    damaged[at : at + len(damage)] = damage
    for data in (bytes(damaged), bytes(damaged[:cut])):
        try:
            assert parse(data).home_id >= 0
        except NvmError:
            continue
