"""One simulated device: a socket on loopback, aiocoap's message layer, and a server that observes, blocks, protects and misbehaves."""

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from aiocoap import error, interfaces, oscore
from aiocoap.message import Message
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers import codes
from aiocoap.numbers.constants import Unreliable
from aiocoap.numbers.types import NON
from aiocoap.pipe import Pipe
from aiocoap.tokenmanager import TokenManager

from drivers.sim.coap import updating
from drivers.sim.coap.firmware import FirmwareObject
from drivers.sim.coap.profiles import LINK_FORMAT, TEXT, Profile, Resource, content, link, parse
from drivers.sim.coap.security import AHEAD, DeviceContext, Door
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
BLOCK = 512  # bytes: a small device's
EXPONENT = 5
_NUMBERS = 1 << 24
# Each fifth notification is confirmable, as libcoap has it; without any a dead observer would be told for ever.
CONFIRMED = 5
_MEMORY = 8  # datagrams that a replay can bring back
Json = dict[str, Any]


class Remote(interfaces.EndpointAddress):  # type: ignore[misc]  # aiocoap is not typed
    """Where a request came from."""

    is_multicast = is_multicast_locally = False
    scheme, hostinfo, uri_base, uri_base_local, hostinfo_local, blockwise_key = "coap", "", "", "", "", None
    maximum_block_size_exp = 6

    def __init__(self, at: Any) -> None:
        self.at = at
        self.hostinfo = f"{at[0]}:{at[1]}"
        self.blockwise_key = at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and other.at == self.at

    def __hash__(self) -> int:
        return hash(self.at)


class Device(asyncio.DatagramProtocol):
    """A device that is switched on. `clear` counts the requests that came unprotected to a protected one."""

    def __init__(
        self, name: str, profile: Profile, security: Json, *, pairing: bool, faults: Faults, max_age: int
    ) -> None:
        self.name, self.profile, self.security = name, profile, security
        self.resources = profile.make()
        self.firmware = FirmwareObject(str(self.resources[updating.RUNS].value)) if profile.updates else None
        self.answers: Callable[[str], bytes | None] = lambda _: None  # link format that a directory answers
        self.powered = pairing
        self.silent_until = 0.0
        self.clear = 0
        self.port = 0
        self.number = 0  # of the OSCORE sender, where the next start begins
        self.faults = faults
        self._max_age = max_age
        self._seen: list[tuple[Any, bytes]] = []
        self._held: list[tuple[Any, bytes]] = []
        self._reorder = 0
        self._told = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._fresh = True  # never restarted: an empty replay window is true

    async def open(self, port: int) -> None:
        """Listen on loopback. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        transport, _ = await self._loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, port))
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])
        self.boot()

    def boot(self) -> None:
        """What is volatile begins anew: observers, sessions, the replay window, message ids, observe numbers."""
        self._observers: dict[Pipe, tuple[str, Any, int | None]] = {}
        self._count = random.randrange(_NUMBERS)  # noqa: S311  guards nothing
        quiet = log.getChild("messages")
        quiet.setLevel(logging.CRITICAL)
        tokens = TokenManager(
            SimpleNamespace(log=quiet, loop=self._loop, client_credentials=None, render_to_pipe=self._request)
        )
        self._messages = MessageManager(tokens)
        self._messages.message_interface = _Outward(self._send)
        tokens.token_interface = self._messages
        self._door: Door | None = None
        self._context: Any = None
        if "psk" in self.security:
            self._door = Door(self.security["identity"], self.security["psk"], self._decrypted, self._write)
        if "secret" in self.security:
            self._context = DeviceContext(self.security, self.number, window=self._fresh)
        self._fresh = False

    async def close(self) -> None:
        """The port is free when this returns."""
        if self._transport is not None:
            self._calm()
            self._transport.close()
            await self._gone.wait()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._gone.set()

    def _calm(self) -> None:
        """No message of the life before is sent again."""
        for _, timer in self._messages._active_exchanges.values():  # noqa: SLF001  aiocoap has no other way to stop at once
            timer.cancel()
        self._messages._active_exchanges.clear()  # noqa: SLF001
        self._messages._backlogs.clear()  # noqa: SLF001

    def was_on(self) -> None:
        """This is not its first life: what came before may be replayed to it."""
        self._fresh = False

    def restart(self) -> None:
        """Without power for a moment."""
        self._calm()
        self.boot()

    # ---- datagrams ----------------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._hears():
            return
        for piece in self.faults.spoil(data):
            if self._door is not None:
                self._door.take(addr, piece)
            else:
                self._decrypted(addr, piece)

    def _hears(self) -> bool:
        return self.powered and self._loop.time() >= self.silent_until

    def _decrypted(self, addr: Any, data: bytes) -> None:
        try:
            message = Message.decode(data, remote=Remote(addr))
        except (error.UnparsableMessage, error.BadRequest, ValueError, IndexError):
            return
        self._messages.dispatch_message(message)

    def _send(self, message: Message) -> None:
        data, addr = message.encode(), message.remote.at
        if self._door is not None:
            self._door.send(addr, data)
        else:
            self._write(addr, data)

    def _write(self, addr: Any, data: bytes) -> None:
        if not self._hears() or self._transport is None:
            return
        self._seen = [*self._seen[-_MEMORY:], (addr, data)]
        if self._reorder:
            self._reorder -= 1
            self._held.append((addr, data))
            if self._reorder:
                return
            ready, self._held = self._held[::-1], []
        else:
            ready = [(addr, data)]
        for to, datagram in ready:
            for piece in self.faults.spoil(datagram):
                self._loop.call_later(self.faults.delay(len(piece), self._loop.time()), self._put, piece, to)

    def _put(self, data: bytes, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, addr)

    # ---- faults -------------------------------------------------------------------------------------------------------

    def reorder(self, count: int) -> None:
        """The next `count` datagrams leave in the opposite order."""
        self._reorder = count

    def replay(self) -> None:
        """The last datagrams once more."""
        for addr, data in list(self._seen):
            self._put(data, addr)

    async def spoof(self, payload: bytes) -> int:
        """Somebody else on this host sends the hub's sockets a notification with a token that was overheard; returns how many were sent."""
        sender, _ = await self._loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(LOOPBACK, 0))
        for pipe in self._observers:
            request = pipe.request
            self._count = self._next()
            message = Message(code=codes.CONTENT, _mtype=NON, _mid=self._count & 0xFFFF, _token=request.token)
            message.payload = payload
            message.opt.observe = self._count
            sender.sendto(message.encode(), request.remote.at)
        self._loop.call_soon(sender.close)
        return len(self._observers)

    # ---- requests -----------------------------------------------------------------------------------------------------

    def _request(self, pipe: Pipe) -> None:
        if self.profile.late:
            self._loop.call_later(self.profile.late, self._answer, pipe)
        else:
            self._answer(pipe)

    def _answer(self, pipe: Pipe) -> None:
        request, binding = pipe.request, None
        try:
            if self._context is not None and not self._serves_in_clear(request):
                request, binding = self._open(request)
            response = self._serve(request)
        except error.RenderableError as problem:
            response = problem.to_message()
            if isinstance(problem, oscore.ReplayErrorWithEcho):
                pipe.add_response(response, is_last=True)  # it is protected already
                return
        observed = request.opt.observe == 0 and response.code == codes.CONTENT and self._observable(request)
        if observed:
            self._observers[pipe] = (path_of(request), binding, request.opt.accept)
            pipe.on_interest_end(partial(self._observers.pop, pipe, None))
            response.opt.observe = self._next()
        pipe.add_response(self._protected(response, binding), is_last=not observed)

    def _serves_in_clear(self, request: Message) -> bool:
        """Whether this is a request without protection that is answered all the same: a careless device does."""
        careless = bool(self.security.get("lenient")) and request.opt.oscore is None
        self.clear += careless
        return careless

    def _open(self, request: Message) -> tuple[Message, Any]:
        """An OSCORE request opened. Raises RenderableError: what is unprotected is not served, it is counted."""
        if request.opt.oscore is None:
            self.clear += 1
            raise error.Unauthorized("this device speaks OSCORE")
        bag = oscore.verify_start(request)
        if bag.get(4) != self._context.recipient_id:  # kid
            raise error.Unauthorized("Security context not found")
        try:
            opened: tuple[Message, Any] = self._context.unprotect(request)
        except error.RenderableError:
            raise
        except oscore.ReplayError:
            raise error.Unauthorized("Replay detected") from None
        except oscore.ProtectionInvalid:
            raise error.BadRequest("Decryption failed") from None
        return opened

    def _protected(self, response: Message, binding: Any) -> Message:
        if binding is None:
            return response
        number = response.opt.observe
        made = self._context.protect(response, binding)[0]
        made.opt.observe = number
        self.number = self._context.sender_sequence_number + AHEAD
        return made

    def _next(self) -> int:
        self._count = (self._count + 1) % _NUMBERS
        return self._count

    def _observable(self, request: Message) -> bool:
        found = self.resources.get(path_of(request))
        return found is not None and found.observable

    def _serve(self, request: Message) -> Message:
        path = path_of(request)
        if request.code == codes.GET:
            return self._get(path, request)
        found = self.resources.get(path)
        if found is None:
            raise error.NotFound
        if self.firmware is not None and path in (updating.PACKAGE, updating.UPDATE):
            return self._update(self.firmware, path, request)
        if request.code not in (codes.PUT, codes.POST) or not found.writable:
            raise error.UnallowedMethod
        try:
            value = parse(found, request.payload, request.opt.content_format or TEXT)
        except ControlError as problem:
            raise error.BadRequest(str(problem)) from None
        self._loop.call_soon(self.change, path, value)
        return Message(code=codes.CHANGED)

    def _update(self, firmware: FirmwareObject, path: str, request: Message) -> Message:
        """The Firmware Update object's package and its update. Raises RenderableError."""
        response = updating.serve(firmware, path, request, EXPONENT)
        if path == updating.UPDATE:
            self._loop.call_later(updating.SETTLE, self._reboot, firmware)
        self._show(firmware)
        return response

    def _show(self, firmware: FirmwareObject) -> None:
        for path, value in updating.shown(firmware).items():
            self.resources[path].value = value

    def _reboot(self, firmware: FirmwareObject) -> None:
        self.silent_until = self._loop.time() + self.profile.updates
        self.restart()
        firmware.begin()
        self._show(firmware)

    def _get(self, path: str, request: Message) -> Message:
        links = self.links() if path == "/.well-known/core" else self.answers(path)
        if links is not None:
            return _cut(links, LINK_FORMAT, request, None)
        found = self.resources.get(path)
        if found is None:
            raise error.NotFound
        wanted = request.opt.accept if request.opt.accept is not None else found.formats[0]
        if wanted not in found.formats:
            raise error.NotAcceptable
        return _cut(content(path, found, wanted), wanted, request, self._max_age)

    def links(self) -> bytes:
        own = [link(path, resource) for path, resource in self.resources.items()]
        if self.answers("/rd-lookup/ep") is not None:
            own.append('</rd-lookup/ep>;rt="core.rd-lookup-ep";ct=40')
        return ",".join(own).encode()

    # ---- changes ------------------------------------------------------------------------------------------------------

    def change(self, path: str, value: Any) -> None:
        """A value is another one now; observers are told of it, and of what follows from it."""
        self.resources[path].value = value
        self.tell(path)
        values = {name: resource.value for name, resource in self.resources.items()}
        for name, follows in self.profile.follow(values).items():
            if values[name] != follows:
                self.resources[name].value = follows
                self.tell(name)

    def tell(self, path: str) -> None:
        """A notification to everybody who observes."""
        for pipe, (observed, binding, accept) in list(self._observers.items()):
            if observed != path:
                continue
            resource = self.resources[path]
            wanted = accept if accept is not None else resource.formats[0]
            response = _whole(content(path, resource, wanted), wanted, self._max_age)
            self._told += 1
            if self._told % CONFIRMED:
                response.transport_tuning = Unreliable()
            response.opt.observe = self._next()
            pipe.add_response(self._protected(response, binding), is_last=False)

    def resource(self, path: str) -> Resource:
        """Raises ControlError."""
        found = self.resources.get(path)
        if found is None:
            raise ControlError(f"{self.name} has no resource {path}; it has {', '.join(self.resources)}")
        return found

    @property
    def observers(self) -> int:
        return len(self._observers)


class _Outward(interfaces.MessageInterface):  # type: ignore[misc]  # aiocoap is not typed
    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def send(self, message: Message) -> None:
        self._send(message)

    async def shutdown(self) -> None:
        """The socket is closed by its owner."""

    async def determine_remote(self, message: Message) -> None:  # noqa: ARG002  the library's signature
        return None

    async def recognize_remote(self, remote: interfaces.EndpointAddress) -> bool:
        return isinstance(remote, Remote)


def path_of(request: Message) -> str:
    return "/" + "/".join(request.opt.uri_path)


def _whole(payload: bytes, content_format: int, max_age: int | None) -> Message:
    response = Message(code=codes.CONTENT, payload=payload, content_format=content_format)
    if max_age is not None:
        response.opt.max_age = max_age
    return response


def _cut(payload: bytes, content_format: int, request: Message, max_age: int | None) -> Message:
    """The block that is asked for (RFC 7959); the first one unasked, when there is more than one."""
    block = request.opt.block2
    size, exponent = (BLOCK, EXPONENT) if block is None or block.size > BLOCK else (block.size, block.size_exponent)
    start = 0 if block is None else block.block_number * size
    if block is None and len(payload) <= size:
        return _whole(payload, content_format, max_age)
    if start and start >= len(payload):
        raise error.BadRequest(f"there are {len(payload)} bytes")
    response = _whole(payload[start : start + size], content_format, max_age)
    response.opt.block2 = (start // size, start + size < len(payload), exponent)
    return response
