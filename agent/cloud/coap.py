"""A CoAP client of one service (RFC 7252): DTLS with its certificate verified, a session that is entered once, and made anew when it is lost.

The counterpart of agent.cloud.rest, with its errors and answers: `status` is the CoAP code, 404 for 4.04. What CoAP repeats itself (a message
without acknowledgement) is not repeated here. A session that no longer answers is dropped, and the request made once more in a new one:
without Connection IDs (OpenSSL has none) a NAT that gives the hub another port, or a service that starts again, does not know the old one.
Plain CoAP goes to loopback only.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random, SystemRandom
from typing import Self

from agent.clock import Clock
from agent.cloud.rest_answer import Answer, RestError, UnavailableError, UnusableError, clean, failure
from agent.cloud.rest_policy import Policy, may_pass
from agent.cloud.tls import remedy_of
from agent.coap.channel import Channel, NotOpenedError
from agent.coap.dtls import verified, verifying
from agent.coap.exchange import Ask, NoAnswerError, NoSenseError, Timing, exchange
from agent.coap.messages import Messenger
from agent.errors import UsageError
from agent.settings.values import Place

log = logging.getLogger(__name__)

HANDSHAKE = 30.0  # seconds: five flights of DTLS
IDLE = 30.0  # seconds after which a NAT may have forgotten the way back: then fewer repetitions tell that a session is lost
HASTY = 2  # repetitions in such a session
POLICY = Policy()
IDEMPOTENT = frozenset({"GET", "FETCH", "PUT", "DELETE"})  # RFC 7252, 5.1; RFC 8132, 2.1
_UNAUTHORIZED, _REFUSED, _BUSY = 401, 400, 503
_TOO_MANY = 429  # RFC 8516: refused before anything was done
_WAYS = "check the network, that UDP to this port is let through, and that the service is up"

Send = Callable[[Ask], Awaitable[Answer]]
Enter = Callable[[Send], Awaitable[None]]  # what makes a new session worth something: a login. Raises RestError


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one client: CoAP's own timing, and the seconds of a handshake."""

    timing: Timing = field(default_factory=Timing)
    handshake: float = HANDSHAKE


LIMITS = Limits()


class _LostError(UnavailableError):
    """No session, or no answer in it. `sent`: the service may have seen the request."""

    def __init__(self, message: str, *, place: str, sent: bool) -> None:
        super().__init__(message, place=place, remedy=_WAYS)
        self.sent = sent


class Coap:
    """Requests to `place`, one at a time; an async context manager. `ca`: PEM file of the authorities, empty for the system's.

    `sessions` is the number of those that were made. Raises ConfigError for a `ca` that cannot be used, UsageError for a way in clear.
    """

    def __init__(
        self,
        place: Place,
        clock: Clock,
        *,
        enter: Enter | None = None,
        ca: str = "",
        policy: Policy = POLICY,
        limits: Limits = LIMITS,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not place.secure and not place.is_here:
            raise UsageError("plain CoAP goes to this machine only", place=str(place), remedy="write coaps://")
        self._place, self._clock, self._enter = place, clock, enter
        self._trust = verifying(ca) if place.secure else None
        self._policy, self._limits = policy, limits
        self._random, self._sleep = random or SystemRandom(), sleep
        self._messenger: Messenger | None = None
        self._channel: Channel | None = None
        self._answered = 0.0  # monotonic
        self._missed = 0  # sessions that did not come about
        self._turn = asyncio.Lock()
        self.sessions = 0

    async def __aenter__(self) -> Self:
        self._messenger = Messenger(f"{__name__}.messages")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()
        if self._messenger is not None:
            await self._messenger.close()
            self._messenger = None

    async def call(self, ask: Ask, *, retry: bool | None = None) -> Answer:
        """A successful answer. `retry`: None repeats what is idempotent or was not done, True also the rest, False nothing.

        Raises UnavailableError (also after the retries), UnusableError, RestError (4.00 and above), and what entering raises.
        """
        repeats = retry if retry is not None else ask.method in IDEMPOTENT
        waited, attempt = 0.0, 0
        while True:
            attempt += 1
            answer = await self._attempt(ask, repeats=repeats)
            if answer.status < _REFUSED:
                return answer
            trouble = refused(answer)
            again = may_pass(answer.status) and (repeats or (retry is None and answer.status == _TOO_MANY))
            pause = self._policy.pause(attempt, waited, trouble.retry_after, self._random) if again else None
            if pause is None:
                raise trouble
            log.info("%s; tried again in %.1f s", trouble, pause)
            waited += pause
            await self._sleep(pause)

    # ---- sessions ---------------------------------------------------------------------------------------------------

    async def _attempt(self, ask: Ask, *, repeats: bool) -> Answer:
        """An answer of any code. A session of before that is lost now costs one more attempt, in a new one."""
        async with self._turn:
            known = self._channel is not None and not self._channel.closed
            try:
                return await self._in_session(ask)
            except _LostError as error:
                if not known or (error.sent and not repeats):
                    raise
                log.info("%s; a new session is made", error)
            return await self._in_session(ask)

    async def _in_session(self, ask: Ask) -> Answer:
        channel = self._channel
        if channel is None or channel.closed:
            channel = await self._open()
        answer = await self._exchange(channel, ask)
        if answer.status == _UNAUTHORIZED and self._enter is not None:  # the login has ended before the session
            await self._enter_into(channel)
            answer = await self._exchange(channel, ask)
        return answer

    async def _open(self) -> Channel:
        """A new session that is entered."""
        self._drop()
        if self._messenger is None:
            raise UsageError("the CoAP client is used outside of its context", remedy="async with Coap(...) as coap")
        dtls = None if self._trust is None else partial(verified, self._place.host, self._trust)
        address = await self._address()
        channel = Channel(address, self._place.port, dtls, self._messenger.heard, self._messenger.broken)
        try:
            await channel.open(self._limits.handshake)
        except NotOpenedError as error:
            self._missed += 1
            raise self._not_opened(error) from None
        self._channel, self._answered = channel, self._clock.now().mono
        self.sessions += 1
        if self._enter is not None:
            await self._enter_into(channel)
        return channel

    async def _address(self) -> str:
        """Each of the service's addresses in turn, until one answers: a hub may have an IPv6 address and no way out with it."""
        host, port = self._place.host, self._place.port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            text = f"the name cannot be looked up: {clean(str(error))}"
            raise _LostError(text, place=str(self._place), sent=False) from None
        return str(found[self._missed % len(found)][4][0])

    async def _enter_into(self, channel: Channel) -> None:
        """A session that could not be entered is worth nothing."""
        try:
            if self._enter is not None:
                await self._enter(partial(self._exchange, channel))
        except BaseException:
            self._drop()
            raise

    def _not_opened(self, error: NotOpenedError) -> RestError:
        if not error.distrust:
            return _LostError(clean(error.message), place=str(self._place), sent=False)
        text = f"the service's certificate is refused: {error.distrust}"
        remedy = (
            remedy_of(f"TLS CERTIFICATE_VERIFY_FAILED: {error.distrust}")
            .replace("the broker", "the service")
            .replace("`host`", "`url`")
        )
        return RestError(clean(text), place=str(self._place), remedy=remedy)

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # ---- requests ---------------------------------------------------------------------------------------------------

    async def _exchange(self, channel: Channel, ask: Ask) -> Answer:
        place = f"{ask.method} {self._place}{ask.path}"
        if self._messenger is None or channel.closed:
            raise _LostError("the session has ended", place=place, sent=False)
        timing = self._limits.timing
        if self._clock.now().mono - self._answered > IDLE:
            timing = replace(timing, repetitions=min(HASTY, timing.repetitions))
        try:
            reply = await exchange(self._messenger, channel, ask, timing)
        except NoAnswerError as error:
            self._drop()
            raise _LostError(f"no answer: {clean(str(error))}", place=place, sent=True) from None
        except NoSenseError as error:
            raise UnusableError(str(error), place=place) from None
        self._answered = self._clock.now().mono
        headers = {"content-format": "" if reply.content_format is None else str(int(reply.content_format))}
        if reply.max_age is not None:
            headers["max-age"] = str(reply.max_age)
        log.debug("%s: %d", place, reply.code)
        return Answer(reply.code, headers, reply.body, place)


def refused(answer: Answer, hidden: str = "") -> RestError:
    """The error that an answer of 4.00 and above is. `hidden` is the secret that the request had."""
    age = answer.headers.get("max-age", "")
    wait = float(age) if age and answer.status in (_BUSY, _TOO_MANY) else None  # RFC 7252, 5.9.3.4; RFC 8516, 3
    return failure(answer, hidden, wait)
