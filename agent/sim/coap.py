"""CoAP over DTLS: aiocoap carries out messages, duplicates, acknowledgements and blocks; a service sees requests, replies and peers."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiocoap import error, interfaces, resource
from aiocoap.message import Message
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import BlockOption
from aiocoap.pipe import Pipe
from aiocoap.protocol import Context
from aiocoap.tokenmanager import TokenManager

from agent.sim.dtls import DtlsDoor, Session

log = logging.getLogger(__name__)

TEXT, OCTETS, JSON, CBOR = 0, 42, 50, 60  # content formats
BODY = 64 * 1024  # bytes of a request that comes in blocks
_BLOCK = 6  # size exponent: 1024 bytes
_METHODS = {Code.GET: "GET", Code.POST: "POST", Code.PUT: "PUT", Code.DELETE: "DELETE", Code.FETCH: "FETCH"}
_METHODS |= {Code.PATCH: "PATCH", Code.iPATCH: "iPATCH"}
_UNDERSTOOD = {
    OptionNumber.URI_HOST,
    OptionNumber.URI_PORT,
    OptionNumber.URI_PATH,
    OptionNumber.URI_QUERY,
    OptionNumber.ACCEPT,
    OptionNumber.BLOCK1,
    OptionNumber.BLOCK2,
    OptionNumber.PROXY_URI,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; of a query name that is given twice the last one counts."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_format: int | None = None
    accept: int | None = None
    proxy_uri: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `code` as 205 for 2.05; `max_age` in seconds."""

    code: int
    body: bytes = b""
    content_format: int | None = None
    max_age: int | None = None


class Peer(interfaces.EndpointAddress):  # type: ignore[misc]  # aiocoap is not typed
    """One DTLS session. The service notes here as whom it has logged in, and until when (Unix seconds).

    `attested` is who has logged in with its identity key, for the provisioning service.
    """

    is_multicast = is_multicast_locally = False
    scheme = "coaps"
    maximum_block_size_exp = _BLOCK
    hostinfo_local = "localhost"
    uri_base_local = "coaps://localhost"
    hostinfo = uri_base = ""
    blockwise_key = 0

    def __init__(self, session: Session) -> None:
        self.session = session
        self.identity = self.attested = ""
        self.until = self.attested_until = 0.0
        self.hostinfo = f"{session.peer[0]}:{session.peer[1]}"
        self.uri_base = f"coaps://{self.hostinfo}"
        self.blockwise_key = id(self)


Serve = Callable[[Request, Peer], Reply]


class CoapServer:
    """Serves `serve` at a DTLS door of its own; `certificate` and `key` are PEM."""

    def __init__(self, serve: Serve, certificate: str, key: str) -> None:
        self._serve = serve
        self._door = DtlsDoor(certificate, key, self._heard, self._ended)
        self._peers: dict[Session, Peer] = {}

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; returns the port. Raises OSError."""
        messages = log.getChild("messages")
        messages.setLevel(logging.ERROR)  # a stranger's mistakes are no news
        self._context = Context(asyncio.get_running_loop(), _Site(self._serve), loggername=messages.name)
        tokens = TokenManager(self._context)
        self._messages = MessageManager(tokens)
        self._messages.message_interface = _Outward()
        tokens.token_interface = self._messages
        self._context.request_interfaces.append(tokens)
        return await self._door.start(port)

    async def stop(self) -> None:
        self._door.stop()
        await self._context.shutdown()

    def _heard(self, session: Session, datagram: bytes) -> None:
        peer = self._peers.get(session)
        if peer is None:
            peer = self._peers[session] = Peer(session)
        try:
            message = Message.decode(datagram, remote=peer)
        except (error.UnparsableMessage, ValueError) as problem:
            log.debug("%s sends what is no message: %s", peer.hostinfo, problem)
            return
        self._messages.dispatch_message(message)

    def _ended(self, session: Session) -> None:
        peer = self._peers.pop(session, None)
        if peer is not None:
            self._messages.dispatch_error(error.NetworkError("the session has ended"), peer)


class _Outward(interfaces.MessageInterface):  # type: ignore[misc]  # aiocoap is not typed
    """The way of aiocoap's messages into the session; requests of our own do not exist."""

    def send(self, message: Message) -> None:
        message.remote.session.send(message.encode())

    async def shutdown(self) -> None:
        """The door is closed by its owner."""

    async def determine_remote(self, message: Message) -> None:  # noqa: ARG002  the library's signature
        return None

    async def recognize_remote(self, remote: interfaces.EndpointAddress) -> bool:
        return isinstance(remote, Peer)


class _Site(resource.Resource):  # type: ignore[misc]  # aiocoap is not typed
    """All paths. A GET is answered anew for each block, so that a download goes on in another session; its ETag tells of a change."""

    def __init__(self, serve: Serve) -> None:
        super().__init__()
        self._serve = serve

    async def render_to_pipe(self, pipe: Pipe) -> None:
        request = pipe.request
        unknown = {option.number for option in request.opt.option_list() if option.number.is_critical()} - _UNDERSTOOD
        if unknown:
            raise error.BadOption(f"critical options that are not understood: {sorted(map(int, unknown))}")
        block = request.opt.block1
        if request.code == Code.GET:
            pipe.add_response(_cut(await self.render(request), request.opt.block2), is_last=True)
            return
        if block is not None and block.start + block.size > BODY:
            raise error.RequestEntityTooLarge(f"a request has at most {BODY} bytes")
        try:
            await super().render_to_pipe(pipe)
        except ValueError:  # what aiocoap says of a gap between blocks
            raise error.RequestEntityIncomplete("a block is missing") from None

    async def render(self, request: Message) -> Message:
        options = request.opt
        pairs = (entry.partition("=") for entry in options.uri_query)
        asked = Request(
            _METHODS.get(request.code, str(request.code)),
            tuple(options.uri_path),
            {name: value for name, _, value in pairs},
            request.payload,
            options.content_format,
            options.accept,
            options.proxy_uri or "",
        )
        reply = self._serve(asked, request.remote)
        code = Code(reply.code // 100 << 5 | reply.code % 100)
        answer = Message(code=code, payload=reply.body)
        answer.opt.no_response = options.no_response
        if reply.content_format is not None:
            answer.opt.content_format = reply.content_format
        if reply.max_age is not None:
            answer.opt.max_age = reply.max_age
        return answer


def _cut(whole: Message, wanted: BlockOption.BlockwiseTuple | None) -> Message:
    """The block of an answer that is wanted, or all of it when it fits into one and none is. Raises BadRequest."""
    size, start = (1024, 0) if wanted is None else (wanted.size, wanted.start)
    length = len(whole.payload)
    if not whole.code.is_successful() or (wanted is None and length <= size):
        return whole
    if start and start >= length:
        raise error.BadRequest(f"the content has {length} bytes")
    part = whole.copy(payload=whole.payload[start : start + size])
    number, exponent = (0, _BLOCK) if wanted is None else (wanted.block_number, min(wanted.size_exponent, _BLOCK))
    part.opt.block2 = (number, start + size < length, exponent)
    part.opt.etag = hashlib.sha256(whole.payload).digest()[:8]
    if not number:
        part.opt.size2 = length
    return part
