"""The simulated OTA client by itself: what the home file may say of it, what it heeds, and what of it survives a power cut."""

import random
from typing import Any

import pytest
from zigbee_ota_rig import IMAGE_TYPE, MANUFACTURER, NEW, QUICK, body, image

from agent.errors import ConfigError
from drivers.sim.zigbee import ota, zcl
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.ota import Client, Doing, Firmware
from drivers.sim.zigbee.zcl import u16

IDENTITY = u16(MANUFACTURER) + u16(IMAGE_TYPE)
NEWER = IDENTITY + NEW.to_bytes(4, "little")


class Bench:
    """A client with a server of hand-made frames; time passes by `wait`."""

    def __init__(self, **firmware: Any) -> None:
        self.said: list[zcl.Frame] = []
        self.timers: list[tuple[float, Any]] = []
        self.rebooted: list[float] = []
        made = Firmware(**{**QUICK, **firmware})
        self.client = Client(made, self._say, self._later, self.rebooted.append, random.Random(1))

    def _say(self, _cluster: int, data: bytes) -> None:
        self.said.append(zcl.parse(data))

    def _later(self, delay: float, act: Any) -> None:
        self.timers.append((delay, act))

    def wait(self) -> None:
        """Let the newest timer be due."""
        self.timers.pop()[1]()

    def tell(self, command: int, payload: bytes) -> None:
        control = zcl.CLUSTER_SPECIFIC | zcl.FROM_SERVER | zcl.NO_DEFAULT
        self.client.heard(zcl.Frame(control, 1, command, payload))

    def block(self, offset: int, data: bytes) -> None:
        self.tell(ota.BLOCK_RSP, b"\0" + NEWER + offset.to_bytes(4, "little") + bytes([len(data)]) + data)

    def begin(self, size: int) -> None:
        self.client.query()
        self.tell(ota.QUERY_RSP, b"\0" + NEWER + size.to_bytes(4, "little"))

    @property
    def asked(self) -> tuple[int, int]:
        """The last request, and the offset in it."""
        return self.said[-1].command, int.from_bytes(self.said[-1].payload[9:13], "little")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (5, "no table"),
        ({"versoin": 1}, "unknown key 'versoin'"),
        ({"version": -1}, "version cannot be -1"),
        ({"lose": 2}, "lose cannot be 2"),
        ({"falls_back": 1}, "neither true nor false"),
    ],
)
def test_a_home_file_with_a_mistake_in_it(told: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        ota.read(told, "radios.zigbee.devices[0]")
    assert caught.value.place == "radios.zigbee.devices[0].firmware"


def test_only_what_is_asked_for_is_taken() -> None:
    content = image(body(60))
    bench = Bench(block=50)
    bench.begin(len(content))
    assert bench.asked == (ota.BLOCK, 0)
    bench.block(50, content[50:100])
    bench.tell(ota.BLOCK_RSP, b"\0" + IDENTITY + b"\x63\0\0\0" + bytes(4) + b"\x32" + content[:50])
    assert bench.client.have == b""
    bench.block(0, content[:50])
    bench.block(0, content[:50])
    bench.wait()
    assert bench.asked == (ota.BLOCK, 50)
    assert bench.client.have == content[:50]
    for _ in range(3):  # lost: it asks for the same again
        bench.wait()
        assert bench.asked == (ota.BLOCK, 50)


def test_it_waits_as_it_is_told_and_drops_what_it_has_as_it_is_told() -> None:
    content = image(body(60))
    bench = Bench(period=0)
    bench.begin(len(content))
    bench.block(0, content[:50])
    bench.tell(ota.BLOCK_RSP, bytes([ota.WAIT_FOR_DATA]) + bytes(4) + (7).to_bytes(4, "little") + u16(200))
    assert (bench.timers[-1][0], bench.client.period) == (7, 200)
    bench.wait()
    assert bench.asked == (ota.BLOCK, 50)
    bench.tell(ota.BLOCK_RSP, bytes([ota.ABORT]))
    assert (bench.client.doing, bench.client.have) == (Doing.NOTHING, b"")


def test_it_starts_the_image_when_it_is_told_to_and_not_another() -> None:
    content = image(body(10))
    bench = Bench(block=255)
    bench.begin(len(content))
    bench.block(0, content)
    assert (bench.said[-1].command, bench.said[-1].payload) == (ota.END, b"\0" + NEWER)
    bench.tell(ota.END_RSP, NEWER + bytes(4) + (30).to_bytes(4, "little"))
    assert bench.timers[-1][0] == 30
    assert not bench.rebooted
    bench.wait()
    assert (bench.rebooted, bench.client.firmware.version) == ([QUICK["restart"]], NEW)
    wrong = Bench(block=255)
    wrong.begin(len(content))
    wrong.block(0, image(body(10), image_type=IMAGE_TYPE + 1))
    assert (wrong.said[-1].command, wrong.said[-1].payload[0]) == (ota.END, ota.INVALID_IMAGE)


@pytest.mark.parametrize(
    ("notify", "heeded"),
    [
        (b"\x00\x64", True),
        (b"\x00\x00", False),
        (b"\x01\x64" + u16(MANUFACTURER), True),
        (b"\x01\x64" + u16(MANUFACTURER + 1), False),
        (b"\x02\x64" + u16(MANUFACTURER) + b"\xff\xff", True),
        (b"\x02\x64" + IDENTITY[:2] + u16(IMAGE_TYPE + 1), False),
        (b"\x03\x64" + NEWER, True),
        (b"\x03\x64" + IDENTITY + int(QUICK["version"]).to_bytes(4, "little"), False),
    ],
)
def test_which_notices_it_heeds(notify: bytes, heeded: bool) -> None:  # noqa: FBT001
    bench = Bench()
    bench.tell(ota.NOTIFY, notify)
    assert bool(bench.said) is heeded


def test_the_version_survives_a_power_cut() -> None:
    def home() -> tuple[Network, Node]:
        network = Network(1)
        node = Node(2, "bulb", "dimmable-bulb")
        network.add(node)
        network.equip(node, Firmware(**QUICK))
        return network, node

    network, node = home()
    assert node.ota is not None
    node.ota.firmware.version = NEW
    again, twin = home()
    again.restore(network.snapshot(), 0.0)
    assert twin.ota is not None
    assert twin.ota.firmware.version == NEW
