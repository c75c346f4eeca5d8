"""A simulated stick without a line: requests as values, frames as values, time by hand."""

from typing import Any

from drivers.sim.zwave import control
from drivers.sim.zwave.network import Network
from drivers.sim.zwave.node import Node
from drivers.sim.zwave.stick import Stick
from drivers.zwave.codec import Command, Raw, decode, make
from drivers.zwave.frame import Data, Decoder, Signal, Type, encode
from drivers.zwave.functions import BY_ID, BY_NAME, decode_callback, decode_response

HOME = bytes.fromhex("c0ffee01")


class Bench:
    """One stick with nodes of these profiles, each named as its profile; `joined` puts them into the network from id 2 on."""

    def __init__(self, *profiles: str, kind: str = "800", joined: bool = True, seed: int = 1) -> None:
        self.network = Network(HOME, seed=seed)
        self.stick = Stick(self.network, kind)
        self.now = 100.0
        self.heard: list[tuple[str, dict[str, Any]]] = []  # callbacks and responses by function
        self.signals: list[Signal] = []
        self._decoder = Decoder()
        self._ids = 0
        for number, profile in enumerate(profiles, 2):
            node = Node(profile, profile)
            self.network.add(node)
            if joined:
                self.network.join(node, number, self.now)
                node.groups(0)[1] = [[1, -1]]

    def node(self, name: str) -> Node:
        return self.network.nodes[name]

    def run(self, seconds: float) -> None:
        """Let time pass; the host acknowledges what comes."""
        end = self.now + seconds
        while True:
            for data in self.stick.poll(self.now):
                self._take(data)
            due = self.stick.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
        self.now = end

    def _take(self, data: bytes) -> None:
        for item in self._decoder.feed(data, self.now):
            if isinstance(item, Signal):
                self.signals.append(item)
            elif isinstance(item, Data):
                self.heard.append(self._read(item))
                self.stick.receive(encode(Signal.ACK), self.now)
                for more in self.stick.poll(self.now):
                    self._take(more)

    def _read(self, item: Data) -> tuple[str, dict[str, Any]]:
        reader = decode_response if item.type is Type.RESPONSE else decode_callback
        return BY_ID[item.function].name, reader(item.function, item.payload, self.stick.context)

    def ask(self, name: str, seconds: float = 0.0, **values: Any) -> list[dict[str, Any]]:
        """A request: what the chip says of the same function within `seconds`."""
        if "callback_id" in BY_NAME[name].request.names and "callback_id" not in values:
            self._ids += 1
            values["callback_id"] = self._ids
        before = len(self.heard)
        payload = BY_NAME[name].request.encode(values, self.stick.context)
        self.stick.receive(encode(Data(Type.REQUEST, BY_NAME[name].id, payload)), self.now)
        self.run(seconds)
        return [found for function, found in self.heard[before:] if function == name]

    def send(self, node: int, payload: bytes, seconds: float = 0.1) -> list[Command | Raw]:
        """A command to a node, and the commands that come back."""
        name = "BridgeSendData" if self.stick.profile.bridge else "SendData"
        before = len(self.heard)
        source = {"source": 1} if self.stick.profile.bridge else {}
        self.ask(name, seconds, node=node, payload=payload, options=0x25, **source)
        return [
            decode(values["payload"])
            for function, values in self.heard[before:]
            if function.endswith("ApplicationCommand")
        ]

    def get(self, node: int, name: str, **values: Any) -> Command:
        """A Get, and its one answer."""
        (answer,) = self.send(node, make(name, **values))
        assert isinstance(answer, Command)
        return answer

    def do(self, op: str, **request: Any) -> dict[str, Any]:
        """An operation of the control socket."""
        return control.perform(self.stick, {"op": op, **request}, self.now)
