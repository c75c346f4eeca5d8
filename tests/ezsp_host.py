"""The host's end of EZSP for tests: an ASH link, a sequence number, and values that fit any layout."""

from hypothesis import strategies as st

from drivers.sim.zigbee import ash
from drivers.sim.zigbee.ash import Frame, Kind, Link, ResetCode
from drivers.sim.zigbee.ezsp import Ezsp
from drivers.sim.zigbee.ezsp_tables import (
    CALLBACKS,
    COMMANDS,
    STRUCTURES,
    Command,
    EmberStatus,
    SecurityBits,
    Values,
    blank,
    build_command,
    decode,
    encode,
)

IEEE = 0x00124B00_01020304
NETWORK_KEY = bytes(range(16))
SECRET = bytes(range(100, 116))
LAYOUTS = sorted(
    {layout for _id, request, response in COMMANDS.values() for layout in (request, response)}
    | {layout for _id, layout in CALLBACKS.values()}
    | set(STRUCTURES.values())
)


def values_of(layout: str) -> st.SearchStrategy[Values]:
    """Any values that fit a layout."""
    fields: dict[str, st.SearchStrategy[object]] = {}
    counted: dict[str, str] = {}
    for field in layout.split():
        name, _, kind = field.partition(":")
        element, bracket, count = kind.partition("[")
        if bracket:
            fields[name] = st.lists(element_of(element), max_size=4)
            if count not in ("]", "*]"):
                counted[count[:-1]] = name
        else:
            fields[name] = element_of(element)
    strategy = st.fixed_dictionaries(fields)
    return strategy.map(lambda values: {**values, **{count: len(values[name]) for count, name in counted.items()}})


def element_of(kind: str) -> st.SearchStrategy[object]:
    if kind == "key":
        return st.binary(min_size=16, max_size=16)
    if kind in ("lv", "lv32"):
        return st.binary(max_size=40)
    if kind in STRUCTURES:
        return values_of(STRUCTURES[kind])
    bits = {"i8": 8, "u8": 8, "u16": 16, "u32": 32, "eui64": 64}[kind]
    return st.integers(-128, 127) if kind == "i8" else st.integers(0, 2**bits - 1)


class Host:
    """The other end of the line: an ASH link and the EZSP sequence number."""

    def __init__(self, stick: Ezsp) -> None:
        self.stick = stick
        self.link = Link()
        self.now = 100.0
        self.sequence = 0
        self.callbacks: list[tuple[str, Values]] = []

    def restart(self) -> None:
        """RST, and the version that every host begins with."""
        self.stick.receive(b"\x1a" + ash.encode(Frame(Kind.RST)), self.now)
        self.link = Link()
        rstack = b"".join(self.stick.poll(self.now))
        assert rstack == ash.encode(Frame(Kind.RSTACK, data=bytes((2, ResetCode.SOFTWARE))))
        self.callbacks.clear()

    def connect(self) -> None:
        self.restart()
        legacy = self.exchange(Command(7, 0, b"\x04", extended=False))
        assert legacy == [bytes((7, 0x80, 0, 13, 2)) + b"\x40\x74"]
        assert self.call("version", desired=13)["protocol"] == 13

    def exchange(self, command: Command) -> list[bytes]:
        """Send one command; its answers, callbacks taken out."""
        return self.raw(build_command(command))

    def raw(self, payload: bytes) -> list[bytes]:
        self.link.send(payload)
        return self.pump()

    def pump(self) -> list[bytes]:
        """Let the line and the network run until both are quiet."""
        answers: list[bytes] = []
        for _ in range(50):
            for frame in self.link.poll(self.now):
                self.stick.receive(frame, self.now)
            for frame in self.stick.poll(self.now):
                for payload in self.link.receive(frame, self.now):
                    assert isinstance(payload, bytes)
                    self.take(payload, answers)
            self.now += 0.01
        return answers

    def take(self, payload: bytes, answers: list[bytes]) -> None:
        if not payload[1] & 0x10:
            answers.append(payload)
            return
        frame_id = int.from_bytes(payload[3:5], "little")
        name, layout = next((name, layout) for name, (number, layout) in CALLBACKS.items() if number == frame_id)
        self.callbacks.append((name, decode(layout, payload[5:])))

    def call(self, name: str, **values: object) -> Values:
        frame_id, request, response = COMMANDS[name]
        self.sequence = (self.sequence + 1) % 256
        (answer,) = self.exchange(Command(self.sequence, frame_id, encode(request, values), extended=True))
        assert answer[:5] == bytes((self.sequence, 0x80, 1)) + frame_id.to_bytes(2, "little")
        return decode(response, answer[5:])

    def statuses(self) -> list[int]:
        return [values["status"] for name, values in self.callbacks if name == "stack_status_handler"]

    def form(self, **changes: object) -> int:
        bits = SecurityBits.HASHED_LINK_KEY | SecurityBits.HAVE_NETWORK_KEY | SecurityBits.NO_FRAME_COUNTER_RESET
        state = {
            "bitmask": bits,
            "preconfigured_key": SECRET,
            "network_key": NETWORK_KEY,
            "key_sequence": 3,
            "trust_centre": 0,
        }
        assert self.call("set_initial_security_state", state=state)["status"] == EmberStatus.SUCCESS
        parameters = {
            **blank(STRUCTURES["parameters"]),
            "extended_pan_id": 0x1122334455667788,
            "pan_id": 0x1A62,
            "channel": 20,
            "tx_power": 8,
            "channels": 0x07FFF800,
            **changes,
        }
        return int(self.call("form_network", parameters=parameters)["status"])
