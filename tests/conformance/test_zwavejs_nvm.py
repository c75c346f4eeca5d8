"""Memory images: what zwave-js's nvmedit reads in ours, and what we read in those that it writes for other chips."""

from collections.abc import Iterator

import pytest
from conformance.zwavejs_rig import ZWaveJs, hexed
from sim.zwave_bench import Bench

from drivers.sim.zwave import chip_files, nvm500
from drivers.zwave.nvm_parse import Memory, parse

pytestmark = pytest.mark.conformance

OLD = [
    ("static", "4.33"),
    ("static", "5.03"),
    ("static", "6.07"),
    ("bridge", "4.62"),
    ("bridge", "6.01"),
    ("bridge", "6.10"),
]
NEW = [(False, "7.0.0"), (False, "7.12.0"), (False, "7.19.0"), (True, "7.19.0")]
NODES = tuple(range(1, 8))


def images() -> tuple[bytes, bytes]:
    """One network as our 500 and our 800 keep it, the latter with a node of Long Range more."""
    profiles = ("switch", "lock", "thermostat", "plug", "cover", "old-switch")
    old, new = Bench(*profiles, kind="500"), Bench(*profiles, "smart-start-sensor")
    new.network.join(new.node("smart-start-sensor"), 300, new.now)
    return nvm500.image(old.stick), chip_files.image(new.stick)


@pytest.fixture(scope="module")
def foreign() -> Iterator[ZWaveJs]:
    with ZWaveJs() as running:
        yield running


def test_both_read_the_same_network(foreign: ZWaveJs) -> None:
    old, new = images()
    told = [foreign("nvm", image=hexed(old), old=True), foreign("nvm", image=hexed(new))]
    assert [answer["nodes"] for answer in told] == [list(NODES), [*NODES, 300]]
    for answer, ours in zip(told, (parse(old), parse(new)), strict=True):
        assert (int(answer["home"], 16), answer["node"], tuple(answer["nodes"])) == (
            ours.home_id,
            ours.node,
            ours.nodes,
        )


@pytest.mark.parametrize(("library", "protocol"), OLD)
def test_we_read_every_layout_of_the_500_series(foreign: ZWaveJs, library: str, protocol: str) -> None:
    made = foreign("nvm_converted", image=hexed(images()[0]), old=True, library=library, to=protocol)
    assert parse(bytes.fromhex(made)) == Memory(0xC0FFEE01, 1, NODES, 500)


@pytest.mark.parametrize(("shared", "sdk"), NEW)
def test_we_read_every_layout_of_the_700_and_800_series(foreign: ZWaveJs, sdk: str, *, shared: bool) -> None:
    made = foreign("nvm_converted", image=hexed(images()[1]), shared=shared, to=sdk)
    found = parse(bytes.fromhex(made))
    assert (found.home_id, found.node, found.kind) == (0xC0FFEE01, 1, 800 if shared else 700)
    assert found.nodes[: len(NODES)] == NODES


def test_the_youngest_object_counts_where_pages_were_erased_and_used_again(foreign: ZWaveJs) -> None:
    new = images()[1]
    values = [hexed(bytes((at,)) * 700) for at in range(60)]
    rewritten = foreign("nvm_rewritten", image=hexed(new), key=0x51000, values=values)
    assert parse(bytes.fromhex(rewritten)) == parse(new)
    nodes = chip_files.files(Bench("switch", "plug").stick)[chip_files.NODE_LIST]
    last = foreign("nvm_rewritten", image=hexed(rewritten), key=chip_files.NODE_LIST, values=[hexed(nodes)])
    assert tuple(foreign("nvm", image=hexed(last))["nodes"]) == (1, 2, 3, 300)
    assert parse(bytes.fromhex(last)).nodes == (1, 2, 3, 300)
