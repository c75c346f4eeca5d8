"""A node's mailbox and its liveness; the files that nodes are kept in."""

import asyncio
import itertools
from pathlib import Path

import pytest

from agent.driver import UnknownDevice
from agent.model import Availability
from drivers.zwave.catalog import Poll, ZWaveGet
from drivers.zwave.codec import Command
from drivers.zwave.node import WAITING, Expired, Mailbox, MailboxFull, Node, Polls, Superseded
from drivers.zwave.nodes import EndpointRecord, NodeBook, NodeRecord, node_id


async def nothing() -> None:
    pass


async def test_only_the_last_of_a_kind_waits() -> None:
    box = Mailbox()
    first, other, last = box.put("level", nothing, 10), box.put("mode", nothing, 10), box.put("level", nothing, 10)
    with pytest.raises(Superseded):
        await first
    jobs = [box.take(0), box.take(0), box.take(0)]
    assert [job and job.done for job in jobs] == [other, last, None]


async def test_a_job_waits_until_its_deadline() -> None:
    box = Mailbox()
    late, good = box.put("a", nothing, 5), box.put("b", nothing, 50)
    job = box.take(6)
    assert job is not None
    assert job.done is good
    with pytest.raises(Expired):
        await late


async def test_who_waits_no_longer_costs_nothing() -> None:
    box = Mailbox()
    box.put("a", nothing, 5).cancel()
    assert box.take(0) is None


async def test_a_mailbox_is_bounded_and_ends_with_its_node() -> None:
    box = Mailbox()
    waiting = [box.put(str(number), nothing, 5) for number in range(WAITING)]
    with pytest.raises(MailboxFull):
        await box.put("one more", nothing, 5)
    box.clear(UnknownDevice("gone"))
    assert len(box) == 0
    assert all(isinstance(end, UnknownDevice) for end in await asyncio.gather(*waiting, return_exceptions=True))


def test_a_node_is_offline_after_failures_in_a_row_only() -> None:
    node = Node(NodeRecord(2, ""))
    assert node.heard(1.0)
    assert not node.unacknowledged(jammed=False)
    assert not node.heard(2.0)
    assert not node.unacknowledged(jammed=False)
    assert not any(node.unacknowledged(jammed=True) for _ in range(5))
    assert node.unacknowledged(jammed=False)
    assert node.state is Availability.OFFLINE
    assert not node.unacknowledged(jammed=False)
    assert node.heard(3.0)


def test_a_sleeping_node_is_offline_after_three_intervals_of_silence() -> None:
    node = Node(NodeRecord(2, "", listening=False, wake_up_interval=600))
    node.heard(100.0)
    node.awake_until = 110.0
    assert (node.awake(105.0), node.awake(110.0)) == (True, False)
    assert not node.unacknowledged(jammed=False)
    assert not node.silent(1899.0)
    assert node.silent(1900.0)
    assert not node.silent(2000.0)


def test_a_node_that_woke_up_while_it_was_tried_in_vain_is_awake() -> None:
    node = Node(NodeRecord(2, "", listening=False))
    node.sent_at = 100.0
    node.heard(100.5)
    node.awake_until = 110.5
    assert not node.unacknowledged(jammed=False)
    assert node.awake(101.0)
    node.sent_at = 101.0
    assert not node.unacknowledged(jammed=False)
    assert not node.awake(101.5)


def test_nodes_outlive_a_restart(tmp_path: Path) -> None:
    book = NodeBook(tmp_path, 0xC0FFEE01)
    assert book.load() == []
    node = book.node(5)
    node.endpoints[2] = EndpointRecord(generic=16, classes={0x25: 2, 0x62: 0}, secure=[0x62])
    node.security = ["S0", "S2_ACCESS_CONTROL"]
    book.save(5)
    book.node(6)
    book.save(6)
    book.forget(6)
    again = NodeBook(tmp_path, 0xC0FFEE01)
    assert again.load() == []
    assert again.nodes == {5: node}
    assert [one.name for one in node.granted] == ["S2_ACCESS_CONTROL", "S0"]
    assert (node.version(0x62, 2), node.version(0x25, 2), node.version(0x25)) == (1, 2, 0)
    assert node.is_secure(0x62, 2)
    other = NodeBook(tmp_path, 0xDEADBEEF)
    other.load()
    assert other.nodes == {}
    assert node_id(0xC0FFEE01, 261) == "zw.C0FFEE01+105"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "id": "x", "node_id": "", "endpoints": {}}']
)
def test_a_damaged_file_is_named_and_left(tmp_path: Path, text: str) -> None:
    book = NodeBook(tmp_path, 1)
    book.load()
    path = tmp_path / "00000001" / "7.json"
    path.write_text(text)
    assert [one.split(":")[0] for one in book.load()] == ["7.json"]
    assert path.read_text() == text
    assert book.nodes == {}


def test_a_node_that_is_away_is_looked_for_ever_less_often() -> None:
    node, looks, now = Node(NodeRecord(2, "")), [], 0.0
    while now < 4000:
        if node.look(now):
            looks.append(now)
        now += 30
    assert [b - a for a, b in itertools.pairwise(looks)] == [60, 120, 240, 480, 900, 900, 900]
    node.heard(now)
    assert node.pause == 60


def test_what_is_not_reported_is_asked_for_in_its_time() -> None:
    level = ZWaveGet(0, Command("Multilevel Switch Get"), "Multilevel Switch Report", {}, ("CurrentLevel",))
    energy = ZWaveGet(0, Command("Meter Get"), "Meter Report", {}, ("CumulativeEnergyImported",))
    declared, polls = (Poll(level, 300), Poll(energy, 1800)), Polls()
    assert polls.due(declared, 1000) == []  # it was just interviewed
    assert polls.due(declared, 1299) == []
    assert polls.due(declared, 1300) == [level]
    assert polls.due(declared, 1599) == []
    assert polls.due(declared, 2800) == [level, energy]
