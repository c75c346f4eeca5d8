"""One request of the REST client: what it carries, whether it may be sent again, and where a redirect may take it."""

from collections.abc import AsyncIterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from ipaddress import ip_address
from string import punctuation
from typing import BinaryIO
from urllib.parse import quote

from yarl import URL

from agent.cloud.rest_answer import UnusableError, clean
from agent.cloud.rest_body import NotReadError, Part
from agent.cloud.rest_policy import IDEMPOTENT
from agent.errors import ConfigError, UsageError
from agent.redact import redact

MOVED, SEE_OTHER = (301, 302, 303, 307, 308), 303
_CHANGES_METHOD = (301, 302)  # some clients turn a POST into a GET here, some do not
_SAFE = ("GET", "HEAD")
_NO_URL = (ValueError, IndexError)  # yarl 1.25 raises IndexError for "//[]@"
AGENT = "hub-agent"  # how this client calls itself
LONGEST_PLACE = 300  # characters

Query = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | AsyncIterable[bytes] | None = field(repr=False)
    form: Mapping[str, str | Part] | None = field(repr=False)
    retry: bool | None
    foreign: bool
    follow: bool = True

    @property
    def place(self) -> str:
        """Method and URL for people: the query may be a signature."""
        return redact(f"{self.method} {self.url.with_query(None).with_fragment(None)}"[:LONGEST_PLACE])

    @property
    def replayable(self) -> bool:
        """Whether its body can be sent a second time."""
        return self.content is None or isinstance(self.content, bytes)

    def may_repeat(self, *, sent: bool) -> bool:
        """What never left the hub may always be sent again; else only what does no harm twice, or as the caller says."""
        if not self.replayable or self.retry is False:
            return False
        return bool(self.retry) or self.method in IDEMPOTENT or not sent


def segment(text: str) -> str:
    """One segment of a path, with everything escaped that would make it more. Raises UsageError for one that a path does not take."""
    if text in ("", ".", ".."):
        raise UsageError(f"{text!r} is no name that a path can have")
    return quote(text, safe="", errors="surrogatepass")


def base_url(text: str, *, plain: bool = False) -> URL:
    """`plain`: also without encryption to any host. Raises ConfigError."""
    try:
        url = URL(text.rstrip("/"), encoded=True)
        bare = (url.scheme in ("http", "https") and url.host) and not (url.user or url.query_string or url.fragment)
    except _NO_URL:
        bare = None
    if not bare:
        remedy = "https://host or https://host/prefix; a key has its own setting"
        raise ConfigError("the service's URL is none that can be used", remedy=remedy)
    if url.scheme == "http" and not plain and not is_loopback(url.host or ""):
        raise ConfigError("the service's URL is not encrypted", place=text, remedy="use https, or a loopback address")
    return url


def origin_of(url: str) -> str:
    """The base of a client for a whole URL of another service, for example a presigned one. Raises ConfigError."""
    return str(base_url(url.partition("?")[0]).origin())


def file_request(url: str, *, plain: bool = False) -> Request:
    """A GET of a whole URL, presigned or not, that goes without a token and may be led to other hosts. Raises ConfigError, UsageError."""
    base = base_url(url.partition("?")[0].partition("#")[0], plain=plain)
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": AGENT}
    return Request("GET", url_of(base, url, None).with_fragment(None), headers, None, None, None, foreign=True)


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine without asking DNS."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_of(base: URL, path: str, query: Query | None) -> URL:
    """The URL of a path below `base`, or of a whole URL of the same origin. Raises UsageError."""
    whole = str(base) + path if path.startswith("/") or not path else path
    try:
        url = URL(whole, encoded=True)
        own = url.absolute and url.origin() == base.origin() and url.user is None
    except _NO_URL:
        own = False
    if not own or not whole.isascii() or not whole.isprintable() or " " in whole:
        raise UsageError("the URL is not of this service, or not escaped", place=str(base.origin()))
    words = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (query or {}).items()
    }
    return url.update_query(words) if words else url


def redirected(request: Request, status: int, location: str) -> Request:
    """Where to go on. Raises UnusableError where that is not safe."""
    try:
        escaped = quote(location, safe=punctuation, errors="replace")  # what should have been
        target = request.url.join(URL(escaped, encoded=True)).with_fragment(None)
        trouble = _trouble(request, status, target)
        origin = str(target.origin())[:100]
    except _NO_URL:
        trouble, origin, target = ", which is no URL", "what it calls a place", request.url
    if trouble:
        message = clean(f"redirected to {origin}{trouble}: not followed")
        raise UnusableError(message, place=request.place, status=status, remedy="check the service's URL")
    if status == SEE_OTHER and request.method != "HEAD":
        kept = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
        return replace(request, method="GET", url=target, headers=kept, content=None, form=None)
    return replace(request, url=target)


def _trouble(request: Request, status: int, target: URL) -> str:
    """Why a redirect is not followed; "" when it is. Raises ValueError for what is no URL of a host."""
    origin, empty = target.origin(), request.content is None and request.form is None
    safe = status == SEE_OTHER or (request.method in _SAFE and empty)  # no body goes there
    if origin.scheme not in ("http", "https") or target.user is not None:
        return ", which is not HTTP"
    if origin.scheme != "https" and (request.url.scheme == "https" or not is_loopback(origin.host or "")):
        return " without encryption"
    if origin != request.url.origin() and not (request.foreign and safe):
        return ", another host"
    if request.method not in _SAFE and status in _CHANGES_METHOD:
        return f" by a {status}, which leaves open whether the body goes there"
    return "" if safe or request.replayable else ", and the body cannot be sent twice"


def parts(form: Mapping[str, str | Part], files: ExitStack) -> list[tuple[str, str | BinaryIO, str, str]]:
    """The fields of a form as (name, content, file name, type), files opened. Raises NotReadError."""
    found: list[tuple[str, str | BinaryIO, str, str]] = []
    for name, value in form.items():
        if isinstance(value, str):
            found.append((name, value, "", ""))
            continue
        try:
            source: BinaryIO = BytesIO(value.content) if isinstance(value.content, bytes) else value.content.open("rb")
        except OSError as error:
            raise NotReadError(f"cannot be read: {error.strerror}", place=str(value.content)) from None
        found.append((name, files.enter_context(source), value.name, value.kind))
    return found
