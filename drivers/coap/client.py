"""Requests to devices: confirmable, in blocks, with OSCORE where the device has it, and observations (RFC 7252, 7959, 7641).

Messages, their repetition and their acknowledgement are agent.coap.messages' matter. A request that nobody waits for any more is not
repeated: a command must not arrive after its Outcome has said that it did not.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiocoap import error, oscore
from aiocoap.message import Message
from aiocoap.numbers.codes import CONTENT, GET, UNAUTHORIZED, Code
from aiocoap.numbers.constants import TransportTuning
from aiocoap.pipe import Pipe

from agent.coap.messages import TOKEN, Messenger
from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotSupported
from drivers.coap.availability import fresher
from drivers.coap.wire import Channel

log = logging.getLogger(__name__)

BODY = 64 * 1024  # bytes of an answer that comes in blocks
DIAGNOSTIC = 128  # bytes of a device's own words
_UNKNOWN = {"4.04", "4.05", "4.06", "4.15", "5.01"}
_WRONG_KEY = "compare the key and both ids with the device's, and add it again with --auth"


class Unanswered(DeviceUnreachable):
    """The device took the request and has not answered: it is there, and this resource is slow or broken."""


class UnprotectedAnswer(DeviceRefused):
    """An OSCORE request was answered in clear, with this code: an error, and from whom is not known."""

    def __init__(self, text: str, answer: Code) -> None:
        super().__init__(text, remedy=_WRONG_KEY)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, whole."""

    payload: bytes
    content_format: int | None
    max_age: float
    observed: bool = False


@dataclass(slots=True)
class Target:
    """A device as requests need it: its channel, and its OSCORE context where it has one."""

    channel: Channel
    security: Any = None


class Observation:
    """One resource that is observed. `token` stays when it is renewed, so that the device keeps one entry (RFC 7641, 3.3.1)."""

    def __init__(self, path: str, accept: int | None) -> None:
        self.path, self.accept = path, accept
        self.token = secrets.token_bytes(TOKEN)
        self.number: int | None = None
        self.when = 0.0
        self.stop: Callable[[], None] = lambda: None


class Client:
    """Every request of one radio."""

    def __init__(self, *, ack_timeout: float, retransmissions: int, response_timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tuning = TransportTuning()
        self._tuning.ACK_TIMEOUT, self._tuning.MAX_RETRANSMIT = ack_timeout, retransmissions
        self.limit = self._tuning.MAX_TRANSMIT_WAIT + response_timeout
        self._messenger = Messenger(f"{__name__}.messages")
        self.heard, self.broken = self._messenger.heard, self._messenger.broken

    async def close(self) -> None:
        await self._messenger.close()

    # ---- requests -----------------------------------------------------------------------------------------------------

    async def ask(
        self, target: Target, code: Code, path: str, *, accept: int | None = None, body: tuple[bytes, int] | None = None
    ) -> Answer:
        """The whole answer. Raises DeviceUnreachable, NotSupported, DeviceRefused."""
        message = self._message(code, path, accept)
        if body is not None:
            message.payload, message.opt.content_format = body
        return await self._whole(target, message, await self._once(target, message), path, accept)

    async def observe(self, target: Target, observation: Observation, told: Callable[[Answer], None]) -> Answer:
        """Register, or renew; `told` is called with what the device sends from then on. Raises as `ask`.

        The answer says whether the device has taken it: one that cannot be observed answers like a plain GET.
        """
        message = self._message(GET, observation.path, observation.accept)
        message.opt.observe = 0
        response = await self._once(target, message, lambda m: self._register(target, m, observation, told))
        observed = response.opt.observe is not None and response.code == CONTENT
        if observed:
            self._is_fresh(target, observation, response)
        else:
            observation.stop()
        answer = await self._whole(target, message, response, observation.path, observation.accept)
        return Answer(answer.payload, answer.content_format, answer.max_age, observed)

    async def _register(
        self, target: Target, message: Message, observation: Observation, told: Callable[[Answer], None]
    ) -> Message:
        """The first answer of an observation; what comes after it goes to `told`."""
        observation.stop()
        observation.number = None
        first: asyncio.Future[Message] = self._loop.create_future()

        def heard(response: Message) -> None:
            if not first.done():
                first.set_result(response)
            elif self._is_fresh(target, observation, response):
                _notified(observation, response, told)

        def failed(problem: Exception) -> None:
            if not first.done():
                first.set_exception(problem)
            elif not isinstance(problem, oscore.ProtectionInvalid | oscore.NotAProtectedMessage):
                told(
                    Answer(b"", None, 0.0)
                )  # the device is gone, or has ended its session: it observes nothing any more

        stop = self._send(target, message, heard, failed, observation.token)

        def end() -> None:
            stop()
            _fail(first, error.NetworkError("the observation was given up"))

        observation.stop = end
        try:
            return await self._wait(first)
        except (DriverError, asyncio.CancelledError):
            stop()
            raise

    async def forget(self, target: Target, observation: Observation) -> None:
        """Tell the device that it is not observed any more (RFC 7641, 3.6). Raises as `ask`."""
        observation.stop()
        message = self._message(GET, observation.path, observation.accept)
        message.opt.observe = 1
        done: asyncio.Future[Message] = self._loop.create_future()
        stop = self._send(target, message, lambda r: _deliver(done, r), lambda e: _fail(done, e), observation.token)
        try:
            await self._wait(done)
        finally:
            stop()

    def _is_fresh(self, target: Target, observation: Observation, response: Message) -> bool:
        number, now = response.opt.observe, self._loop.time()
        if number is None:
            return True  # the last word: the device has ended the observation
        if observation.number is not None and not fresher(
            observation.number, observation.when, number, now, counted=target.security is not None
        ):
            return False
        observation.number, observation.when = number, now
        return True

    def _message(self, code: Code, path: str, accept: int | None) -> Message:
        message = Message(code=code, transport_tuning=self._tuning)
        message.opt.uri_path = tuple(unquote(part) for part in path.strip("/").split("/"))
        if accept is not None:
            message.opt.accept = accept
        return message

    async def _once(
        self, target: Target, message: Message, send: Callable[[Message], Awaitable[Message]] | None = None
    ) -> Message:
        """One request, one response.

        With OSCORE a second one, as the first was not carried out, where the device wants an Echo (RFC 8613, B.1.2), or takes the number
        for a replay: it has seen a greater one meanwhile.
        """
        send = send or (lambda m: self._single(target, m))
        if target.security is None:
            return await send(message)
        try:
            response = await send(message)
        except UnprotectedAnswer as problem:
            if problem.answer != UNAUTHORIZED:
                raise
            return await send(message)
        if response.code != UNAUTHORIZED or response.opt.echo is None:
            return response
        return await send(message.copy(echo=response.opt.echo))

    async def _single(self, target: Target, message: Message) -> Message:
        done: asyncio.Future[Message] = self._loop.create_future()
        stop = self._send(target, message, lambda r: _deliver(done, r), lambda e: _fail(done, e))
        try:
            return await self._wait(done)
        finally:
            stop()

    async def _wait(self, done: "asyncio.Future[Message]") -> Message:
        try:
            async with asyncio.timeout(self.limit):
                return await done
        except TimeoutError:
            raise Unanswered("the device took the request and did not answer") from None
        except error.LibraryShutdown:
            raise DriverLost("the driver has ended") from None
        except error.MessageError:
            raise DeviceUnreachable("the device rejects the message (reset)") from None
        except error.NetworkError as problem:
            raise DeviceUnreachable(f"the device does not answer ({problem})") from None
        except oscore.NotAProtectedMessage as problem:
            said = problem.plain_message
            text = f"the device answers without OSCORE: {said.code} {_words(said)}".rstrip()
            raise UnprotectedAnswer(text, said.code) from None
        except oscore.ProtectionInvalid as problem:
            text = f"the device's OSCORE answer cannot be opened: {problem}"
            raise DeviceRefused(text, remedy=_WRONG_KEY) from None

    def _send(
        self,
        target: Target,
        message: Message,
        heard: Callable[[Message], None],
        failed: Callable[[Exception], None],
        token: bytes = b"",
    ) -> Callable[[], None]:
        """Send a request; returns what ends the interest in it."""
        request, binding = message.copy(), None
        if target.security is not None:
            request, binding = target.security.protect(request)
            request.transport_tuning = self._tuning
        request.remote = target.channel
        pipe = Pipe(request, log)

        def event(happened: Any) -> bool:
            if happened.exception is not None:
                problem = happened.exception
                failed(problem() if isinstance(problem, type) else problem)
                return False
            try:
                opened = (
                    happened.message if binding is None else target.security.unprotect(happened.message, binding)[0]
                )
            except (oscore.NotAProtectedMessage, oscore.ProtectionInvalid) as problem:
                failed(problem)  # of a later notification nobody waits: it is as if it had been lost
                return not happened.is_last
            heard(opened)
            return not happened.is_last

        stop: Callable[[], None] = pipe.on_event(event)
        self._messenger.send(pipe, token)
        return stop

    async def _whole(self, target: Target, request: Message, first: Message, path: str, accept: int | None) -> Answer:
        """The rest of an answer that comes in blocks (RFC 7959), if there is more of it."""
        _check(first)
        body, block = bytes(first.payload), first.opt.block2
        while block is not None and block.more:
            follow = self._message(request.code, path, accept)
            follow.opt.block2 = ((len(body)) >> (block.size_exponent + 4), False, block.size_exponent)
            part = await self._once(target, follow)
            _check(part)
            block = part.opt.block2
            if block is None or block.start != len(body) or part.opt.etag != first.opt.etag or not part.payload:
                raise DeviceRefused(f"the blocks of {path} do not fit together: its content has changed meanwhile")
            body += part.payload
            if len(body) > BODY:
                raise DeviceRefused(f"the content of {path} has more than {BODY} bytes")
        answer = _answer(first, observed=False)
        return Answer(body, answer.content_format, answer.max_age)


def _notified(observation: Observation, response: Message, told: Callable[[Answer], None]) -> None:
    block = response.opt.block2
    if response.code == CONTENT and response.opt.observe is not None and (block is None or not block.more):
        told(_answer(response, observed=True))
    else:  # an end, or the first block of more: whoever observes asks again
        observation.stop()
        told(Answer(b"", None, 0.0, observed=False))


def _deliver(done: "asyncio.Future[Message]", response: Message) -> None:
    if not done.done():
        done.set_result(response)


def _fail(done: "asyncio.Future[Message]", problem: Exception) -> None:
    if not done.done():
        done.set_exception(problem)


def _answer(response: Message, *, observed: bool) -> Answer:
    age = response.opt.max_age
    return Answer(bytes(response.payload), response.opt.content_format, 60.0 if age is None else float(age), observed)


def _check(response: Message) -> None:
    """Raises NotSupported or DeviceRefused for an answer that is no success."""
    if response.code.is_successful():
        return
    text = f"the device answers {response.code} {_words(response)}".rstrip()
    if str(response.code)[:4] in _UNKNOWN:
        raise NotSupported(text)
    raise DeviceRefused(text)


def _words(response: Message) -> str:
    return response.payload[:DIAGNOSTIC].decode("utf-8", "replace") if response.opt.content_format is None else ""
