"""A scripted chip at the far end of a pty: it acknowledges, answers from a table, and misbehaves on request."""

import asyncio
import os
import pty
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers.zwave import functions
from drivers.zwave.frame import Damaged, Data, Decoder, Signal, Type, encode
from drivers.zwave.function_tables import Setup
from drivers.zwave.layout import Context

Say = Callable[[bytes], list[bytes]]


def response(name: str, context: Context | None = None, **values: Any) -> bytes:
    function = functions.BY_NAME[name].id
    return encode(Data(Type.RESPONSE, function, functions.encode_response(function, values, context or Context())))


def callback(name: str, context: Context | None = None, **values: Any) -> bytes:
    function = functions.BY_NAME[name].id
    return encode(Data(Type.REQUEST, function, functions.encode_callback(function, values, context or Context())))


class Peer:
    """`says[function]` makes the frames that follow the ACK; `signals` replaces the next ACKs (None: silence)."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.says: dict[int, Say] = {}
        self.frames: list[Data] = []
        self.raw = bytearray()
        self.signals: deque[bytes | None] = deque()
        self.mute = False
        self.context = Context()
        self._decoder = Decoder()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._master = self._slave = -1
        self.plug()

    def plug(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))
        self._loop.add_reader(self._master, self._readable)

    def unplug(self) -> None:
        if self._master < 0:
            return
        self._loop.remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        self.link.unlink(missing_ok=True)

    def on(self, name: str, *frames: bytes, say: Say | None = None) -> None:
        self.says[functions.BY_NAME[name].id] = say or (lambda _: list(frames))

    def answers(self, name: str, **values: Any) -> None:
        self.on(name, say=lambda _: [response(name, self.context, **values)])

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            os.write(self._master, frame)

    def count(self, name: str) -> int:
        return sum(frame.function == functions.BY_NAME[name].id for frame in self.frames)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that only a frame of the host can bring."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _readable(self) -> None:
        data = os.read(self._master, 4096)
        self.raw += data
        for item in self._decoder.feed(data, self._loop.time()):
            if isinstance(item, Data):
                self._frame(item)
            elif isinstance(item, Damaged):
                self.send(encode(Signal.NAK))
        self._changed.set()

    def _frame(self, frame: Data) -> None:
        self.frames.append(frame)
        if self.mute:
            return
        signal = self.signals.popleft() if self.signals else encode(Signal.ACK)
        if signal is None:
            return
        self.send(signal)
        if signal == encode(Signal.ACK):
            self.send(*self.says.get(frame.function, lambda _: [])(frame.payload))


SENDING = ("ApplicationCommand", "SendData", "SendDataAbort", "RequestNodeInfo", "ApplicationUpdate")
TINY = ("GetInitData", "GetCapabilities", "GetControllerCapabilities", "GetVersion", "GetId", *SENDING)
LEGACY = (*TINY, "SoftReset", "Started", "GetSUCNodeId", "SetSUCNodeId", "SetTimeouts", "GetBackgroundRSSI")
MODERN = (
    *LEGACY, "SerialAPISetup", "GetProtocolVersion", "GetLongRangeNodes", "GetLongRangeChannel",
    "SetApplicationNodeInformation", "BridgeApplicationCommand", "BridgeSendData",
)  # fmt: skip
HOME = bytes.fromhex("c0ffee01")
STARTED = {"reason": 7, "watchdog": 0, "listening": 1, "generic": 2, "specific": 1, "command_classes": b"\x5e"}


def stick(peer: Peer, names: tuple[str, ...], *, nodes: tuple[int, ...] = (1, 2)) -> None:
    """Make `peer` a stick of which only `names` exist, as the profiles of 4.2."""
    known = {functions.BY_NAME[name].id for name in names}
    library = 7 if "BridgeSendData" in names else 1
    peer.answers(
        "GetCapabilities", version=7, revision=23, manufacturer=0, product_type=4, product_id=4, functions=sorted(known)
    )
    peer.answers("GetInitData", api_version=8, nodes=list(nodes), chip_type=8, chip_version=0)
    peer.answers("GetControllerCapabilities", sis_present=1, real_primary=1)
    peer.answers("GetVersion", version="Z-Wave 7.23", library=library)
    peer.on("GetId", say=lambda _: [response("GetId", peer.context, home_id=HOME, node=1)])
    for name, values in {
        "GetSUCNodeId": {"node": 1},
        "SetTimeouts": {"ack": 150, "byte": 15},
        "GetProtocolVersion": {"protocol": 0, "major": 7, "minor": 23, "patch": 2},
        "GetBackgroundRSSI": {"rssi": [-90, 127, -100]},
        "GetLongRangeNodes": {"more": 0, "segment": 0, "mask": [0, 5]},
    }.items():
        if name in names:
            peer.answers(name, **values)
    if "Started" in names:

        def restart(_: bytes) -> list[bytes]:
            peer.context = Context()
            return [callback("Started", **STARTED)]

        peer.on("SoftReset", say=restart)
    if "SerialAPISetup" in names:
        peer.on("SerialAPISetup", say=lambda payload: [_setup(peer, payload)])


def _setup(peer: Peer, payload: bytes) -> bytes:
    setup = functions.decode_request(functions.BY_NAME["SerialAPISetup"].id, payload)
    command = setup["command"]
    wide = Setup.SET_NODE_ID_TYPE
    commands = [
        Setup.SET_TX_STATUS_REPORT, Setup.GET_POWERLEVEL_16, Setup.SET_POWERLEVEL_16, Setup.GET_MAX_PAYLOAD,
        Setup.GET_LR_MAX_PAYLOAD, Setup.GET_REGION, Setup.SET_REGION, wide,
    ]  # fmt: skip
    answers: dict[int, dict[str, Any]] = {
        Setup.GET_SUPPORTED: functions.setup_mask(commands),
        Setup.SET_TX_STATUS_REPORT: {"success": 1},
        Setup.GET_POWERLEVEL_16: {"power": 100, "measured_0dbm": 0},
        Setup.SET_POWERLEVEL_16: {"success": 1},
        Setup.GET_MAX_PAYLOAD: {"size": 46},
        Setup.GET_LR_MAX_PAYLOAD: {"size": 148},
        Setup.GET_REGION: {"region": 0},
        Setup.SET_REGION: {"success": 1},
        wide: {"bytes": 2},
    }
    answer = response("SerialAPISetup", command=command, **answers[command])
    if command == wide:
        peer.context = Context(wide=True)
    return answer
