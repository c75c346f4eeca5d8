"""One GET at a time on the standard library's HTTP client, for one worker thread: each wait has an end, and `cancel` ends it from any thread.

http.client reads a body straight into a buffer of ours, at twice the speed of an event loop. It knows no deadlines and no bound of a head,
so it is given a file to read from instead of a socket, and that file keeps them. No token goes with a request; a URL's query never leaves
in an error.
"""

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from agent.cloud.rest_answer import RestError, UnavailableError, UnusableError, clean
from agent.cloud.rest_request import MOVED, Request, redirected
from agent.cloud.tls import remedy_of, tls_context
from agent.errors import HubError
from agent.ota.ranges import Head
from agent.ota.source import FetchPolicy
from agent.ota.trouble import CanceledError, DeadlineError, StalledError

REDIRECTS = 5
HEAD_LIMIT = 1 << 16  # bytes of heads of one answer, informational ones (1xx) included
_NETWORK = "check the network, and that the file server is up"


class Line:
    """The connection of one download. `trouble` is what ended it, where http.client saw only an end."""

    def __init__(self, policy: FetchPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._deadline = clock() + policy.total
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._head_end: float | None = None  # while a head is read
        self._head_left = 0
        self._window_time, self._window_bytes = 0.0, 0
        self.trouble: HubError | None = None
        self.place = ""  # method and URL of the request, without its query

    # ---- time and its end -------------------------------------------------------------------------------------------

    def start(self, since: float | None = None) -> None:
        """The whole time runs from now on, or since then."""
        self._deadline = (self._clock() if since is None else since) + self._policy.total

    def cancel(self) -> None:
        """End all waiting, now and later; from any thread."""
        with self._lock:
            self._stop.set()
            if self._socket is not None:
                with suppress(OSError):
                    # Not SSLSocket's own: that turns the encryption off under the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def check(self) -> float:
        """The seconds that are left. Raises CanceledError, DeadlineError."""
        if self._stop.is_set():
            raise CanceledError("the download was canceled", place=self.place)
        left = self._deadline - self._clock()
        if left <= 0:
            text = f"the download took longer than {self._policy.total:.0f} s"
            raise DeadlineError(text, place=self.place, remedy="what came is kept: start it again, with more time")
        return left

    def pause(self, seconds: float) -> None:
        """Wait, unless it is canceled meanwhile or goes past the deadline. Raises CanceledError, DeadlineError."""
        self._stop.wait(min(seconds, self.check()))
        self.check()

    # ---- requests ---------------------------------------------------------------------------------------------------

    @contextmanager
    def get(self, request: Request, headers: Mapping[str, str]) -> Iterator[tuple[Head, http.client.HTTPResponse]]:
        """The answer at the end of all redirects, of any status; its body must be read inside.

        Raises UnavailableError (also StalledError), UnusableError, RestError (a certificate), CanceledError, DeadlineError.
        """
        request = replace(request, headers={**request.headers, **headers})
        try:
            for _ in range(REDIRECTS + 1):
                self.place, self.trouble = request.place, None
                response = self._ask(request)
                location = response.headers.get("location")
                if response.status not in MOVED or location is None:
                    yield _head(response, request.place), response
                    return
                self._close()
                request = redirected(request, response.status, location)
            raise UnusableError(
                f"more than {REDIRECTS} redirects", place=request.place, remedy="check the file server's URL"
            )
        finally:
            self._close()

    def read(self, response: http.client.HTTPResponse, view: memoryview) -> int:
        """Bytes of the body into `view`, as many as it takes unless the body ends before. Raises what ended it where nothing came."""
        try:
            count = response.readinto(view)
        except http.client.IncompleteRead as error:  # of a chunked body; what is in the view is good
            count = len(error.partial)
            if not count:
                raise self._ended() from None
        except (http.client.HTTPException, ValueError) as error:
            raise self.trouble or _no_http(error, self.place) from None
        if not count:
            raise self._ended()
        return count

    def _ended(self) -> HubError:
        return self.trouble or UnavailableError("the body ended too early", place=self.place, remedy=_NETWORK)

    def _ask(self, request: Request) -> http.client.HTTPResponse:
        url = request.url
        self._head_left = HEAD_LIMIT
        self._window_time, self._window_bytes = 0.0, 0
        connection = http.client.HTTPConnection("unused")
        connection.sock = self._connect(request)
        self._head_end = self._clock() + self._policy.head
        try:
            connection.putrequest("GET", url.raw_path_qs, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", url.raw_authority)
            for name, value in {**request.headers, "Connection": "close"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            text = f"the connection was lost ({type(error).__name__})"
            raise self.trouble or UnavailableError(text, place=self.place, remedy=_NETWORK) from None
        except (http.client.HTTPException, ValueError) as error:
            raise self.trouble or _no_http(error, self.place) from None
        except OSError as error:
            raise self._failed(error) from None
        if self.trouble is not None:  # http.client takes an end for the end of the head
            raise self.trouble
        self._head_end = None
        return response

    # ---- the socket -------------------------------------------------------------------------------------------------

    def _connect(self, request: Request) -> Any:
        """What http.client takes for a socket. Raises UnavailableError, RestError, UnusableError."""
        host, port = request.url.raw_host or "", request.url.port or 0
        end = self._clock() + self._policy.connect
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # of IDNA: a label of more than 63 characters, or none
            text = "the host has no name that can be looked up"
            raise UnusableError(text, place=self.place, remedy="check the URL") from None
        except OSError as error:
            raise self._failed(error) from None
        trouble: HubError | None = None
        for number, (family, kind, protocol, _, address) in enumerate(found):
            now = self._clock()
            share = now + (end - now) / (len(found) - number)  # an address that is silent leaves time for the others
            try:
                self._hold(socket.socket(family, kind, protocol))
                if request.url.scheme == "https":
                    self._hold(self._encrypted(self._limit(share), host))
                self._limit(share).connect(address)
                if isinstance(held := self._limit(share), ssl.SSLSocket):
                    held.do_handshake()
            except (ssl.SSLError, OSError) as error:
                self._close()
                trouble = self._failed(error)
            else:
                return _Channel(self)
        raise trouble or UnavailableError("the host has no address", place=self.place, remedy=_NETWORK)

    def _encrypted(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """Before it connects: Python 3.11 does not close what it wraps after a reset."""
        if self._tls is None:
            self._tls = tls_context(ca=self._policy.ca, certificate="", key="")
        return self._tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)

    def _hold(self, found: socket.socket) -> None:
        with self._lock:
            self._socket = found
        self.check()  # canceled before there was anything to close

    def _limit(self, end: float) -> socket.socket:
        if self._socket is None:
            raise ConnectionAbortedError
        left = min(self.check(), end - self._clock())
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket

    def _close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def send(self, data: bytes) -> None:
        self._limit(self._head_end or self._deadline).sendall(data)

    def receive(self, view: memoryview) -> int:
        """Bytes from the socket, 0 at its end or with `trouble`: http.client would throw away what it had when this raises."""
        try:
            return self._receive(view)
        except HubError as error:
            self.trouble = error
        except OSError as error:
            self.trouble = self._failed(error)
        return 0

    def _receive(self, view: memoryview) -> int:
        begin = self._clock()
        end = begin + self._policy.stall
        if self._head_end is not None:
            if self._head_left <= 0:
                text = f"the answer's head is longer than {HEAD_LIMIT} bytes"
                raise UnusableError(text, place=self.place, remedy="see what answers at this URL")
            end = min(end, self._head_end)
        count = self._limit(end).recv_into(view)
        self.check()
        self._head_left -= count
        self._window_time += self._clock() - begin
        self._window_bytes += count
        if self._window_time >= self._policy.stall:
            if self._window_bytes < self._policy.slowest * self._window_time:
                raise StalledError(
                    f"{self._window_bytes} bytes came in {self._window_time:.0f} s", place=self.place, remedy=_NETWORK
                )
            self._window_time, self._window_bytes = 0.0, 0
        return count

    def _failed(self, error: OSError) -> HubError:
        """What an error of a socket means."""
        try:
            self.check()
        except HubError as over:
            return over
        if isinstance(error, TimeoutError):
            return StalledError("the file server does not answer in time", place=self.place, remedy=_NETWORK)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError | ssl.SSLZeroReturnError):
            return UnavailableError("the connection was lost inside TLS", place=self.place, remedy=_NETWORK)
        if isinstance(error, ssl.SSLError):
            remedy = remedy_of(f"SSL {error}").replace("the broker", "the file server").replace(" as `host`", "")
            return RestError(clean(f"TLS fails: {error}"), place=self.place, remedy=remedy)
        text = clean(error.strerror or type(error).__name__)
        return UnavailableError(f"no connection: {text}", place=self.place, remedy=_NETWORK)


class _Channel:
    """The part of a socket that http.client uses."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.sendall = line.send

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._line))

    def close(self) -> None:
        """The line closes what it holds."""


class _Raw(io.RawIOBase):
    """What comes from a line, as a file."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive(memoryview(buffer).cast("B"))


def _head(response: http.client.HTTPResponse, place: str) -> Head:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), value)
    lengths = tuple(response.headers.get_all("content-length", []))
    return Head(response.status, headers, lengths, bool(response.chunked), place)


def _no_http(error: Exception, place: str) -> UnusableError:
    """Its text may hold what the server sent, or the URL."""
    text = f"the answer is no HTTP ({type(error).__name__})"
    return UnusableError(text, place=place, remedy="see what answers at this URL")
