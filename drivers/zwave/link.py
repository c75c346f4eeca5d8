"""The pure session on a real port: calls that wait, a listener for what nobody waits for, and one timer.

Errors: DriverLost when the port goes; StickSilent, StickRefused, StickBusy and CallAborted for a single command.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.driver import DriverError, DriverLost
from drivers.serial import Port, open_port
from drivers.zwave import functions
from drivers.zwave.frame import Signal, encode
from drivers.zwave.layout import Context, LayoutError, Values
from drivers.zwave.session import (
    Abort,
    Done,
    Effect,
    Event,
    Lost,
    Outcome,
    Progress,
    Received,
    Request,
    Session,
    Submit,
    Tick,
    Unsolicited,
    Write,
)

HEARD = 512  # bytes kept of what came last: a boot loader and a command line say what they are in plain text
REOPEN_PAUSE = 0.1  # seconds between two looks for a port that went away with a reset


class StickSilent(DriverError):  # noqa: N818
    """The stick did not acknowledge, answer or call back. `outcome` says which."""

    code = 503

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class StickRefused(DriverError):  # noqa: N818
    """The stick answered that it does not start. `response` is what it said."""

    code = 502

    def __init__(self, message: str, response: bytes) -> None:
        super().__init__(message)
        self.response = response


class StickBusy(DriverError):  # noqa: N818
    """Too much waits for the stick already."""

    code = 503


class CallAborted(DriverError):  # noqa: N818
    """The call was given up by its own side, or the stick restarted before it was done."""

    code = 503


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a call: the values of the response and of the last callback, empty where the function has none."""

    response: Values = field(default_factory=dict)
    callback: Values = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Call:
    """The tag of one command in the session."""

    done: asyncio.Future[Done]
    progress: Callable[[bytes], None] | None


Listener = Callable[[int, bytes], None]


class Link:
    """One open stick. `lost` ends with the reason, or with the bug of a listener.

    `context` says how wide node ids are on this line; whoever changes that writes it. `heard` is the last that came, as it came.
    """

    def __init__(self, name: str, baudrate: int = 115_200) -> None:
        self.name = name
        self.context = Context()
        self.heard = bytearray()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.unreadable = 0  # requests of the stick that no layout fits
        self._baudrate = baudrate
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()  # the port went while a reset was under way
        self._resetting = False
        self._session = Session()
        self._port: Port | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listener: Listener = lambda _function, _payload: None

    # ---- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the port. Raises DriverLost."""
        self._port = await open_port(self.name, self._received, self._port_lost, baudrate=self._baudrate)

    def close(self, reason: str = "the driver was stopped") -> None:
        """End everything that is open, and let go of the port. May be called twice."""
        if not self.lost.done():
            self.lost.set_result(reason)
        self._handle(Lost())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._port is not None:
            self._port.close()

    def drop_calls(self) -> None:
        """The stick restarted and knows nothing of what it was asked: every open call ends as CallAborted."""
        self._handle(Lost())

    def expect_reset(self) -> asyncio.Future[None]:
        """From now until `reopen` the port may go away: many sticks re-enumerate when their chip restarts. Done when it went."""
        self._resetting = True
        self._gone = self._loop.create_future()
        return self._gone

    @property
    def went_away(self) -> bool:
        """The port went since `expect_reset`."""
        return self._gone.done()

    async def reopen(self, limit: float) -> None:
        """Take the port again after `expect_reset`, for at most `limit` seconds where it went away. Raises DriverLost."""
        try:
            async with asyncio.timeout(limit):
                while self._port is None or self._port.closed:
                    with suppress(DriverLost):
                        await self.open()
                        break
                    await asyncio.sleep(REOPEN_PAUSE)
        except TimeoutError:
            self.close(f"{self.name} did not come back after a reset")
            raise DriverLost(self.lost.result()) from None
        finally:
            self._resetting = False

    # ---- calls ------------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """`listener(function, payload)` gets what no call waits for, from now on in place of the one before."""
        self._listener = listener

    async def call(
        self, name: str, *, progress: Callable[[Values], None] | None = None, called_back: bool = True, **values: Any
    ) -> Answer:
        """Run one function of the Serial API by its name. `progress` gets the callbacks before the last.

        Raises DriverLost, StickSilent, StickRefused, StickBusy; LayoutError for wrong values.
        """
        request = functions.request(name, self.context, called_back=called_back, **values)
        known, context = functions.BY_ID[request.function], self.context

        def tell(payload: bytes) -> None:
            if progress is not None:
                progress(functions.decode_callback(known.id, b"\0" + payload, context))

        response, callback = await self.exchange(request, tell if progress is not None else None)
        try:
            return Answer(
                functions.decode_response(known.id, response, context) if response is not None else {},
                functions.decode_callback(known.id, b"\0" + callback, context) if callback is not None else {},
            )
        except LayoutError as error:
            raise StickRefused(f"{name}: the answer cannot be read ({error})", response or b"") from error

    async def exchange(
        self, request: Request, progress: Callable[[bytes], None] | None = None
    ) -> tuple[bytes | None, bytes | None]:
        """The payloads of the response and of the last callback, after its id. A cancelled call is aborted on the stick."""
        if self.lost.done():
            raise DriverLost(self._reason())
        call = _Call(self._loop.create_future(), progress)
        self._handle(Submit(call, request))
        try:
            done = await asyncio.shield(call.done)
        except asyncio.CancelledError:
            self._handle(Abort(call))
            raise
        if done.outcome is not Outcome.DONE:
            raise self._meaning(done, request)
        return done.response, done.callback

    def signal(self, signal: Signal) -> None:
        """Send a single byte outside the session: the NAK that makes the stick drop half a frame from before."""
        self.write(encode(signal))

    def write(self, data: bytes) -> None:
        """Bytes outside the session: a boot loader reads keys."""
        if self._port is not None:
            self.sent_bytes += len(data)
            self._port.write(data)

    def figures(self) -> Mapping[str, int]:
        """What the link counted since it was opened."""
        counters, problems = self._session.counters, self._session.decoder.problems
        return {
            **asdict(counters),
            **{f"bad_{name}": count for name, count in asdict(problems).items()},
            "unreadable": self.unreadable,
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
        }

    def bug(self, error: BaseException) -> None:
        """A listener failed: that is the end, and said as what it is."""
        if not self.lost.done():
            self.lost.set_exception(error)

    # ---- the session ------------------------------------------------------------------------------------------------

    def _reason(self) -> str:
        error = self.lost.exception()
        return self.lost.result() if error is None else f"a bug ended it: {error!r}"

    def _meaning(self, done: Done, request: Request) -> DriverError:
        known = functions.BY_ID.get(request.function)
        name = known.name if known is not None else f"function {request.function:#04x}"
        match done.outcome:
            case Outcome.REFUSED:
                return StickRefused(f"the stick refused {name}", done.response or b"")
            case Outcome.BUSY:
                return StickBusy(f"too much waits for the stick: {name} was not sent")
            case Outcome.ABORTED:
                return CallAborted(f"{name} was given up")
            case Outcome.LOST:
                return DriverLost(self._reason()) if self.lost.done() else CallAborted("the stick restarted meanwhile")
            case _:
                return StickSilent(f"the stick is silent: {name}, {done.outcome.name.lower()}", done.outcome)

    def _received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self.heard += data
        del self.heard[:-HEARD]
        self._handle(Received(data))

    def _port_lost(self, reason: str) -> None:
        if self._resetting:
            self._gone.set_result(None)
            self._handle(Lost())
        else:
            self.close(reason)

    def _handle(self, event: Event) -> None:
        for effect in self._session.handle(event, self._loop.time()):
            self._perform(effect)
        self._set_timer()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Write(data):
                self.write(data)
            case Done(tag) if isinstance(tag, _Call):
                if not tag.done.done():
                    tag.done.set_result(effect)
            case Progress(tag, payload) if isinstance(tag, _Call):
                if (progress := tag.progress) is not None:
                    self._guarded(lambda: progress(payload))
            case Unsolicited(function, payload):
                self._guarded(lambda: self._listener(function, payload))
            case _:
                pass

    def _guarded(self, step: Callable[[], object]) -> None:
        """What a listener raises is a bug; what the stick sends that cannot be read is not."""
        try:
            step()
        except LayoutError:
            self.unreadable += 1
        except Exception as error:  # noqa: BLE001  handed on to the session, which ends with it
            self.bug(error)

    def _set_timer(self) -> None:
        deadline = self._session.deadline
        if self._timer is not None:
            if deadline is not None and self._timer.when() == deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not (self._port is None or self._port.closed):
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._handle(Tick())
