"""The link against a peer that loses, damages, repeats and delays: one result for each command, one frame in flight."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drivers.zwave.frame import Damaged, Data, Decoder, Signal, Type, encode
from drivers.zwave.session import Abort, Done, Lost, Received, Request, Session, Submit, Tick, Write

REQUESTS = (
    Request(0x15),
    Request(0x03, b"\x01", responds=False),
    Request(0x13, b"\x02\x01\x00\x25\x00", callback_at=4, transmits=True, accepted=lambda p: p == b"\x01"),
    Request(0x4A, b"\xc1\x00", responds=False, callback_at=1, final=lambda p: p[:1] in (b"\x05", b"\x07")),
)


class BadLine(RuleBasedStateMachine):
    """Hypothesis chooses what the peer says and what the line does to it."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session()
        self.peer = Decoder()
        self.now = 0.0
        self.next_tag = 0
        self.open: set[int] = set()
        self.ids: dict[tuple[int, int], int] = {}
        self.unacknowledged: bytes | None = None
        self.sent_at = float("-inf")

    def step(self, event: object) -> None:
        for effect in self.session.handle(event, self.now):  # type: ignore[arg-type]
            if isinstance(effect, Done):
                assert isinstance(effect.tag, int)
                self.open.remove(effect.tag)
            elif isinstance(effect, Write):
                self.written(effect.data)

    def written(self, data: bytes) -> None:
        for item in self.peer.feed(data, self.now):
            assert not isinstance(item, Damaged)
            if isinstance(item, Data):
                assert self.now >= self.sent_at + 0.1 or self.unacknowledged is None, "two frames in flight"
                self.unacknowledged, self.sent_at = data, self.now

    def receive(self, data: bytes) -> None:
        self.step(Received(data))

    @rule(request=st.sampled_from(REQUESTS))
    def submit(self, request: Request) -> None:
        self.next_tag += 1
        self.open.add(self.next_tag)
        self.step(Submit(self.next_tag, request))

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.step(Abort(data.draw(st.integers(1, self.next_tag + 1))))

    @rule(signal=st.sampled_from(Signal), times=st.integers(1, 2))
    def signal(self, signal: Signal, times: int) -> None:
        self.unacknowledged = None
        self.receive(encode(signal) * times)

    @rule(
        kind=st.sampled_from(Type),
        function=st.sampled_from((0x15, 0x13, 0x4A, 0x04)),
        payload=st.tuples(st.integers(0, 4), st.sampled_from((0, 1, 5))).map(bytes),
        times=st.integers(1, 2),
        damage=st.one_of(st.none(), st.integers(0, 5)),
    )
    def data(self, kind: Type, function: int, payload: bytes, times: int, damage: int | None) -> None:
        wire = bytearray(encode(Data(kind, function, payload)))
        if damage is not None:
            wire[damage] ^= 0x10
        self.unacknowledged = None
        self.receive(bytes(wire) * times)

    @rule(noise=st.binary(max_size=6))
    def noise(self, noise: bytes) -> None:
        self.unacknowledged = None  # it may hold an ACK
        self.receive(noise)

    @rule(seconds=st.sampled_from((0.01, 0.3, 1.0, 6.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.step(Tick())

    @precondition(lambda self: self.session.deadline is not None)
    @rule()
    def due(self) -> None:
        assert self.session.deadline is not None
        self.now = max(self.now, self.session.deadline)
        self.step(Tick())

    @rule()
    def lost(self) -> None:
        self.step(Lost())
        self.unacknowledged = None
        assert not self.open

    @invariant()
    def ids_are_unique(self) -> None:
        ids = [open_.callback_id for open_ in self.session._waiting]
        assert len(ids) == len(set(ids))
        assert sum(open_.request.transmits for open_ in self.session._waiting) <= 1

    @invariant()
    def something_is_due_while_something_is_open(self) -> None:
        assert not self.open or self.session.deadline is not None

    def teardown(self) -> None:
        for _ in range(2000):
            if self.session.idle:
                break
            assert self.session.deadline is not None
            self.now = max(self.now, self.session.deadline)
            self.step(Tick())
        assert not self.open, "every command ends, also against a silent peer"


TestBadLine = BadLine.TestCase
TestBadLine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
