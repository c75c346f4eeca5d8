"""The chip's end of the Serial API link (Host Application Programming Guide, chapters 6 and 7). PURE.

One frame is under way to the host until it is acknowledged. A data frame of the host that crosses it is lost and answered by CAN.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.zwave.frame import Damaged, Data, Decoder, Frame, Signal, encode

ACK_TIMEOUT = 1.6  # seconds
RETRY_AFTER = 0.1  # seconds, and one more for each further try
TRIES = 3
DAMAGE = 0x80


@dataclass(slots=True)
class Link:
    """Bytes in, requests out; frames in, bytes out."""

    frames_in: int = 0
    frames_out: int = 0
    given_up: int = 0  # frames that the host never acknowledged
    storms: dict[str, int] = field(default_factory=lambda: {"nak": 0, "can": 0, "deaf": 0, "ack": 0})
    overheard: Callable[[bytes], None] = lambda _: None  # whole data frames, both ways
    decoder: Decoder = field(default_factory=Decoder)
    _signals: list[bytes] = field(default_factory=list)
    _queue: deque[bytes] = field(default_factory=deque)
    _tries: int = 0
    _acked_by: float | None = None  # when the frame under way is given up
    _retry_at: float | None = None

    def receive(self, data: bytes, now: float) -> list[Data]:
        """The host's requests in `data`; each is acknowledged."""
        requests = []
        for item in self.decoder.feed(data, now):
            if isinstance(item, Signal):
                self._answered(item, now)
            elif isinstance(item, Damaged):
                self._signals.append(encode(Signal.NAK))
            elif not self._stormy(crossing=self._acked_by is not None):
                self.frames_in += 1
                self.overheard(encode(item))
                self._signals.append(self._acknowledgement())
                requests.append(item)
        return requests

    def _acknowledgement(self) -> bytes:
        """Firmware 7.19 damages the high nibble of some (zwave-js issue 6399)."""
        if not self.storms["ack"]:
            return encode(Signal.ACK)
        self.storms["ack"] -= 1
        return bytes((Signal.ACK | DAMAGE,))

    def _stormy(self, *, crossing: bool) -> bool:
        """The frame is not taken: a fault says so, or it crosses one of ours."""
        for kind, answer in (("deaf", None), ("nak", Signal.NAK), ("can", Signal.CAN)):
            if self.storms[kind]:
                self.storms[kind] -= 1
                if answer is not None:
                    self._signals.append(encode(answer))
                return True
        if crossing:
            self._signals.append(encode(Signal.CAN))
        return crossing

    def _answered(self, signal: Signal, now: float) -> None:
        if self._acked_by is None:
            return
        self._acked_by = None
        if signal is Signal.ACK:
            self._queue.popleft()
            self._tries = 0
        else:
            self._failed(now)

    def _failed(self, now: float) -> None:
        self._acked_by = None
        if self._tries >= TRIES:
            self._queue.popleft()
            self._tries = 0
            self.given_up += 1
        else:
            self._retry_at = now + RETRY_AFTER + (self._tries - 1)

    def send(self, frame: Frame) -> None:
        """To the host, after what is queued already."""
        self._queue.append(encode(frame))

    def poll(self, now: float) -> list[bytes]:
        """What goes onto the line now."""
        if self._acked_by is not None and now >= self._acked_by:
            self._failed(now)
        out, self._signals = self._signals, []
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        if self._queue and self._acked_by is None and self._retry_at is None:
            out.append(self._queue[0])
            self.frames_out += 1
            self.overheard(self._queue[0])
            self._tries += 1
            self._acked_by = now + ACK_TIMEOUT
        return out

    @property
    def deadline(self) -> float | None:
        """When poll() has work again."""
        return self._acked_by if self._acked_by is not None else self._retry_at

    def reset(self) -> None:
        """The chip restarts: what was queued is gone."""
        self._signals.clear()
        self._queue.clear()
        self.decoder = Decoder(self.decoder.problems)
        self._tries = 0
        self._acked_by = self._retry_at = None
