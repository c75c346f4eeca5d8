"""The link against a chip that keeps the protocol, over a line that loses, damages and repeats."""

import heapq
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.zwave.frame import Damaged, Data, Decoder, Signal, Type, encode
from drivers.zwave.functions import encode_callback, encode_response, request
from drivers.zwave.session import Done, Outcome, Received, Session, Submit, Tick, Unsolicited, Write

STEP = 0.02  # seconds on the line


class Chip:
    """Answers queries at once and transmissions after a while; repeats what was not acknowledged, as the host does."""

    def __init__(self, line: "Line") -> None:
        self.line = line
        self.decoder = Decoder()
        self.out: list[bytes] = []
        self.tries = 0
        self.started: list[int] = []  # callback ids of transmissions in the air
        self.most = 0  # of them at once

    def receive(self, data: bytes) -> None:
        for item in self.decoder.feed(data, self.line.now):
            if isinstance(item, Damaged):
                self.line.to_host(encode(Signal.NAK))
            elif isinstance(item, Data):
                self.line.to_host(encode(Signal.ACK))
                self.execute(item)
            elif item is Signal.ACK and self.out:
                self.out.pop(0)
                self.tries = 0
                self.send()
            elif self.out:
                self.line.after(0.1, self.send)

    def execute(self, item: Data) -> None:
        if item.function == 0x13:
            self.started.append(item.payload[-1])
            self.most = max(self.most, len(set(self.started)))
            self.say(Type.RESPONSE, 0x13, encode_response(0x13, {"started": 1}))
            self.line.after(0.5, self.finish)
        elif item.function == 0x20:
            self.say(Type.RESPONSE, 0x20, encode_response(0x20, {"home_id": bytes(4), "node": 1}))

    def finish(self) -> None:
        number = self.started.pop(0)
        self.say(Type.REQUEST, 0x13, encode_callback(0x13, {"callback_id": number, "status": 0}))

    def say(self, kind: Type, function: int, payload: bytes) -> None:
        self.out.append(encode(Data(kind, function, payload)))
        if len(self.out) == 1:
            self.send()

    def send(self) -> None:
        if not self.out:
            return
        frame, self.tries = self.out[0], self.tries + 1
        if self.tries > 4:
            self.out.pop(0)
            self.tries = 0
            self.send()
            return
        self.line.to_host(frame)
        self.line.after(1.6, lambda: self.send() if self.out and self.out[0] is frame else None)


class Line:
    def __init__(self, seed: int, trouble: float) -> None:
        self.random = random.Random(seed)
        self.trouble = trouble
        self.now = 0.0
        self.count = 0
        self.events: list[tuple[float, int, Any]] = []
        self.session = Session()
        self.chip = Chip(self)
        self.done: dict[object, Done] = {}
        self.unsolicited = 0

    def after(self, seconds: float, action: Any) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now + seconds, self.count, action))

    def disturbed(self, data: bytes) -> list[bytes]:
        chance = self.random.random()
        if chance < self.trouble / 3:
            return []
        if chance < self.trouble * 2 / 3:
            damaged = bytearray(data)
            damaged[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
            return [bytes(damaged)]
        return [data, data] if chance < self.trouble else [data]

    def to_host(self, data: bytes) -> None:
        for one in self.disturbed(data):
            self.after(STEP, lambda one=one: self.handle(Received(one)))

    def handle(self, event: Any) -> None:
        for effect in self.session.handle(event, self.now):
            if isinstance(effect, Write):
                for one in self.disturbed(effect.data):
                    self.after(STEP, lambda one=one: self.chip.receive(one))
            elif isinstance(effect, Done):
                assert effect.tag not in self.done
                self.done[effect.tag] = effect
            elif isinstance(effect, Unsolicited):
                self.unsolicited += 1

    def run(self) -> None:
        for _ in range(20000):
            due = self.session.deadline
            if self.events and (due is None or self.events[0][0] <= due):
                self.now, _, action = heapq.heappop(self.events)
                action()
            elif due is not None:
                self.now = max(self.now, due)
                self.handle(Tick())
            else:
                return
        raise AssertionError("it does not end")


def traffic(line: Line, count: int) -> None:
    for number in range(count):
        made = request("SendData", node=2, payload=b"\x20\x02", options=1) if number % 2 else request("GetId")
        line.handle(Submit(number, made))
    line.run()


def test_on_a_good_line_everything_succeeds_at_once() -> None:
    line = Line(0, 0.0)
    traffic(line, 40)
    assert {done.outcome for done in line.done.values()} == {Outcome.DONE}
    assert line.session.counters.retransmissions == 0
    assert line.chip.most == 1, "never a second transmission before the callback of the first"
    assert line.now < 40


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 30), st.sampled_from([0.05, 0.2, 0.6]))
def test_on_a_bad_line_every_command_has_exactly_one_end(seed: int, trouble: float) -> None:
    line = Line(seed, trouble)
    traffic(line, 12)
    assert sorted(line.done) == list(range(12))
    assert line.session.idle


@pytest.mark.parametrize("seed", range(5))
def test_with_one_frame_in_ten_disturbed_retransmission_repairs_it(seed: int) -> None:
    line = Line(seed, 0.1)
    traffic(line, 40)
    failed = [done for done in line.done.values() if done.outcome is not Outcome.DONE]
    assert len(failed) <= 4, failed
    assert line.session.counters.retransmissions
