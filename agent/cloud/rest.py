"""The HTTP client of REST calls and small downloads, on aiohttp; files of updates come through agent/ota/fetch.py.

One `Rest` speaks to one base URL. TLS is always verified; plain HTTP goes to loopback only. A token never follows a redirect to another
origin, and no token, key or query (presigned URLs are nothing but query) is ever in a log line or an error. Proxies of the environment
are not used: what a hub talks through is configured.
"""

import asyncio
import errno
import json as json_
import logging
import ssl
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Protocol, Self

import aiohttp

from agent.cloud.rest_answer import Answer, RestError, UnavailableError, UnusableError, clean, failure
from agent.cloud.rest_body import Decoder, Download, EncodingError, Memory, Part, Sink, TooMuchError
from agent.cloud.rest_policy import Policy, http_date, may_pass, retry_after
from agent.cloud.rest_request import AGENT, MOVED, Query, Request, base_url, parts, redirected, segment, url_of
from agent.cloud.tls import remedy_of, tls_context
from agent.errors import ConfigError, UsageError
from agent.settings.secret import Secret

log = logging.getLogger(__name__)

__all__ = [
    "Answer",
    "Authorize",
    "Bearer",
    "Part",
    "Policy",
    "Rest",
    "RestError",
    "UnavailableError",
    "UnusableError",
    "segment",
]

LIMIT = 1 << 20  # bytes of an answer, unless the caller knows better
ERROR_LIMIT = 1 << 16  # bytes of an error's body that are read
DOWNLOAD_LIMIT = 1 << 30
REDIRECTS = 5
DEFAULT = Policy()
_ANYWHERE = ("accept", "accept-encoding", "range", "if-range", "user-agent")  # headers that may go to a foreign host
_UNAUTHORIZED, _REFUSED = 401, 400
_TOO_MANY = 429  # refused before anything was done


class Authorize(Protocol):
    """What proves to a service who calls."""

    async def header(self) -> str:
        """The Authorization header, empty to go without. Raises HubError, also TryAgainError."""

    def seen(self, server: float) -> None:
        """The service's clock (Date header), seconds since the epoch, with every answer that no cache made."""

    def refused(self, server: float | None) -> bool:
        """A 401 came, at this time of the service's clock. Whether `header` now gives something better; then the call is made once more."""


class Bearer:
    """A fixed key or token, as `<scheme> <secret>`."""

    def __init__(self, secret: Secret, scheme: str = "Bearer") -> None:
        text = secret.reveal()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            remedy = "copy it again: one line of ASCII characters without spaces"
            raise ConfigError("the key or token is empty or has characters that no header takes", remedy=remedy)
        self._header = f"{scheme} {text}"

    async def header(self) -> str:
        return self._header

    def seen(self, server: float) -> None:
        """A fixed key knows no time."""

    def refused(self, server: float | None) -> bool:  # noqa: ARG002  the protocol's signature
        return False


class _LostError(UnavailableError):
    """No answer, or a part of one. `sent`: the service may have seen the request."""

    def __init__(self, message: str, *, place: str, sent: bool) -> None:
        super().__init__(message, place=place, remedy="check the network, and that the service is up")
        self.sent = sent


class Rest:
    """REST calls below `base` (https://host/prefix); an async context manager. `ca`: PEM file of the authorities, empty for the system's.

    `certificate` and `key` are PEM files of a client certificate. `headers` go with every call. Raises ConfigError.
    """

    def __init__(
        self,
        base: str,
        *,
        authorize: Authorize | None = None,
        policy: Policy = DEFAULT,
        ca: str = "",
        certificate: str = "",
        key: str = "",
        proxy: str = "",
        headers: Mapping[str, str] | None = None,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base = base_url(base)
        self._authorize, self._policy, self._proxy = authorize, policy, proxy or None
        self._tls = tls_context(ca=ca, certificate=certificate, key=key)
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._random, self._sleep, self._now = random or SystemRandom(), sleep, now
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        policy = self._policy
        self._session = aiohttp.ClientSession(
            auto_decompress=False,  # aiohttp's has no bound
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=8),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=policy.connect, sock_read=policy.stall
            ),
            headers={"User-Agent": AGENT, "Accept-Encoding": "gzip, deflate"},
        )
        # aiohttp would send an idempotent request a second time by itself when a kept connection is lost: Policy counts attempts.
        self._session._retry_connection = False  # noqa: SLF001  there is no public name
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: Any = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        form: Mapping[str, str | Part] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = LIMIT,
        retry: bool | None = None,
        foreign: bool = False,
        follow: bool = True,
        total: float = 0.0,
    ) -> Answer:
        """One call; `path` is below the base, or a whole URL of the same origin. One of `json`, `body` and `form` (with a Part: multipart).

        `follow` false: a redirect is the answer. `retry`: None repeats what is idempotent or was not done (429), True also the rest,
        False nothing. `foreign`: follow redirects to other hosts, without the token. `limit`: bytes of the answer; `total`: seconds of
        one attempt, 0 for the policy's. Raises UnavailableError (also after the retries), UnusableError, RestError (status 400 and
        above), and what `authorize` raises.
        """
        told = dict(headers or {})
        if json is not None:
            body = json_.dumps(json, separators=(",", ":"), allow_nan=False).encode()
            told = {"Content-Type": "application/json", **told}
        request = Request(method, url_of(self._base, path, query), told, body, form, retry, foreign, follow)
        kept = Memory(limit)
        answer = await self._run(request, kept, total or self._policy.total)
        return Answer(answer.status, answer.headers, kept.body, answer.place)

    async def download(
        self,
        path: str,
        file: Path,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = DOWNLOAD_LIMIT,
        total: float = 3600.0,
        foreign: bool = True,
        watch: Callable[[int], Awaitable[None]] | None = None,
    ) -> Download:
        """GET into `file`, which is there whole or not at all; `total` seconds for each attempt.

        `watch` is awaited with the bytes so far, and ends the download by what it raises. Raises as `call`, and NotWrittenError. The result
        tells `size` and `sha256`.
        """
        request = Request(
            "GET",
            url_of(self._base, path, query),
            {"Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})},
            None,
            None,
            None,
            foreign,
        )
        with Download(file, limit, watch) as kept:
            await self._run(request, kept, total)
            await kept.commit()
            return kept

    # ---- attempts ---------------------------------------------------------------------------------------------------

    async def _run(self, request: Request, sink: Sink, total: float) -> Answer:
        waited, attempt, signed_again = 0.0, 0, False
        while True:
            attempt += 1
            try:
                answer, hidden, own = await self._attempt(request, sink, total)
            except _LostError as error:
                trouble: RestError = error
                again = request.may_repeat(sent=error.sent)
            else:
                if answer.status < _REFUSED:
                    return answer
                server = _server_time(answer.headers)
                if (
                    answer.status == _UNAUTHORIZED
                    and own
                    and not signed_again
                    and self._may_sign_again(request, server)
                ):
                    signed_again = True
                    continue
                wait = retry_after(answer.headers.get("retry-after", ""), self._now() if server is None else server)
                trouble = failure(answer, hidden, wait)
                again = may_pass(answer.status) and request.may_repeat(sent=answer.status != _TOO_MANY)
            pause = self._policy.pause(attempt, waited, trouble.retry_after, self._random) if again else None
            if pause is None:
                raise trouble
            log.info("%s; tried again in %.1f s", trouble, pause)
            waited += pause
            await self._sleep(pause)

    async def _attempt(self, request: Request, sink: Sink, total: float) -> tuple[Answer, str, bool]:
        """One attempt: its answer of any status, the secret that went with it, and whether the answer is the service's own.

        Raises _LostError, UnusableError, RestError.
        """
        header = await self._authorize.header() if self._authorize is not None else ""
        hidden = header.rpartition(" ")[2]
        start = time.monotonic()
        try:
            async with asyncio.timeout(total):
                answer, own = await self._follow(request, sink, header)
        except TimeoutError as error:
            sent = not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise _LostError("the service does not answer in time", place=request.place, sent=sent) from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            remedy = remedy_of(f"SSL {error}").replace("the broker", "the service")
            raise RestError(clean(f"TLS fails: {error}"), place=request.place, remedy=remedy) from None
        except aiohttp.ClientConnectorError as error:
            text = clean(str(error.os_error) or type(error).__name__)
            raise _LostError(f"no connection: {text}", place=request.place, sent=False) from None
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            # Its text and its request_info hold the URL and the token.
            raise UnusableError(f"the answer is no HTTP ({type(error).__name__})", place=request.place) from None
        except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as error:
            lost = _LostError(f"the connection was lost ({type(error).__name__})", place=request.place, sent=True)
            lost.closed = _is_closing(error)
            raise lost from None
        except UnicodeError:  # of IDNA: a label of more than 63 characters, or none
            raise UnusableError("the host has no name that can be looked up", place=request.place) from None
        except (TooMuchError, EncodingError) as error:
            raise UnusableError(error.message, place=request.place) from None
        log.debug("%s: %d in %.0f ms", request.place, answer.status, (time.monotonic() - start) * 1000)
        return answer, hidden, own

    async def _follow(self, request: Request, sink: Sink, authorization: str) -> tuple[Answer, bool]:
        """The answer at the end of all redirects, and whether it is the service's own."""
        own = True
        for _ in range(REDIRECTS + 1):
            headers = {**self._headers, **request.headers}
            if request.url.origin() != self._base.origin():
                authorization, own = "", False  # for good: who leads away does not lead back with a token
                headers = {name: value for name, value in headers.items() if name.lower() in _ANYWHERE}
            elif authorization:
                headers["Authorization"] = authorization
            with ExitStack() as files:
                content = _data(request, files)
                async with self._open().request(
                    request.method, request.url, headers=headers, data=content, allow_redirects=False, proxy=self._proxy
                ) as response:
                    if own:
                        self._tell_time(response)
                    if not request.follow or response.status not in MOVED or "location" not in response.headers:
                        return await _read(response, sink, request), own
                    request = redirected(request, response.status, response.headers["location"])
        raise UnusableError(f"more than {REDIRECTS} redirects", place=request.place)

    def _tell_time(self, response: aiohttp.ClientResponse) -> None:
        server = _server_time({name.lower(): value for name, value in response.headers.items()})
        if server is not None and self._authorize is not None:
            self._authorize.seen(server)

    # ---- small things -----------------------------------------------------------------------------------------------

    def _may_sign_again(self, request: Request, server: float | None) -> bool:
        return self._authorize is not None and request.replayable and self._authorize.refused(server)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise UsageError("the REST client is used outside of its context", remedy="async with Rest(...) as rest")
        return self._session


def _data(request: Request, files: ExitStack) -> Any:
    """The body as aiohttp takes it."""
    if request.form is None:
        # Plain bytes of a megabyte and more are written in one go, at which aiohttp warns.
        return BytesIO(request.content) if isinstance(request.content, bytes) else request.content
    form = aiohttp.FormData()
    for name, content, file, kind in parts(request.form, files):
        form.add_field(name, content, filename=file or None, content_type=kind or None)
    return form


async def _read(response: aiohttp.ClientResponse, sink: Sink, request: Request) -> Answer:
    """The answer; the body of a success goes to the sink, of an error the start is kept. Raises TooMuchError, EncodingError."""
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), value)
    refused = response.status >= _REFUSED
    into: Sink = Memory(ERROR_LIMIT) if refused else sink
    into.begin()
    decoder = Decoder(headers.get("content-encoding", ""), into.limit)
    try:
        async for chunk in response.content.iter_any():
            for piece in decoder.feed(chunk):
                await into.write(piece)
        decoder.end()
    except (TooMuchError, EncodingError):
        if not refused:
            raise
    return Answer(response.status, headers, into.body if isinstance(into, Memory) else b"", request.place)


def _is_closing(error: BaseException) -> bool:
    """Whether a lost connection was closed by its other end, with or without a word to TCP; a TLS alert is another thing."""
    reset = isinstance(error, OSError) and error.errno == errno.ECONNRESET
    return isinstance(error, aiohttp.ServerDisconnectedError) or reset


def _server_time(headers: Mapping[str, str]) -> float | None:
    """The service's clock, unless a cache has kept the answer: its Date is then of another time."""
    return None if "age" in headers else http_date(headers.get("date", ""))
