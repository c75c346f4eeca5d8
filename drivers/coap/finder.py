"""Where devices may be: those that answer a multicast, the configured addresses, and the entries of a resource directory."""

import asyncio
import logging
import secrets
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiocoap.message import Message
from aiocoap.numbers.codes import GET
from aiocoap.numbers.types import NON

from agent.coap.messages import TOKEN, decode
from drivers.coap.client import Client, Target
from drivers.coap.keys import Address, MaterialError, material
from drivers.coap.linkformat import LinkFormatError, parse
from drivers.coap.wire import Channel

log = logging.getLogger(__name__)

ALL_NODES_4, ALL_NODES_6 = "224.0.1.187", "ff02::fd"  # All CoAP Nodes (RFC 7252, 12.8)
WELL_KNOWN = "/.well-known/core"
LOOKUP, LOOKUP_TYPE = "/rd-lookup/ep", "core.rd-lookup-ep"  # RFC 9176, 6
MOST = 256  # devices that one window looks at


class Shout(asyncio.DatagramProtocol):
    """A multicast question on one interface; who answers with our token is told to `found`. Answers' contents are not believed."""

    def __init__(self, interface: str, port: int, found: Callable[[Address], None]) -> None:
        self._interface, self._port, self._found = interface, port, found
        self._token = secrets.token_bytes(TOKEN)
        self._transports: list[tuple[asyncio.DatagramTransport, str]] = []

    async def open(self) -> None:
        """Sockets for IPv4 and IPv6. Raises OSError when the interface has neither."""
        loop = asyncio.get_running_loop()
        index = socket.if_nametoindex(self._interface)
        problems = []
        for family, group in ((socket.AF_INET, ALL_NODES_4), (socket.AF_INET6, ALL_NODES_6)):
            try:
                made = _socket(family, index)
            except OSError as error:
                problems.append(error)
                continue
            transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=made)
            target = group if family == socket.AF_INET else f"{group}%{self._interface}"
            self._transports.append((transport, target))
        if not self._transports:
            raise problems[0]

    def ask(self) -> None:
        """Ask once. A network that cannot be reached now may be the next time."""
        message = Message(code=GET, _mtype=NON, _mid=secrets.randbelow(0x10000), _token=self._token)
        message.opt.uri_path = (".well-known", "core")
        for transport, group in self._transports:
            with suppress(OSError):
                transport.sendto(message.encode(), (group, self._port))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        message = decode(None, data)
        if message is not None and message.token == self._token:
            host = str(addr[0])
            if host.startswith("fe80:") and "%" not in host:  # a link-local address means nothing without its link
                host = f"{host}%{self._interface}"
            self._found(Address(host, addr[1]))

    def error_received(self, exc: Exception) -> None:
        log.debug("multicast on %s: %s", self._interface, exc)

    def close(self) -> None:
        for transport, _ in self._transports:
            transport.close()


def _socket(family: int, index: int) -> socket.socket:
    """A socket whose multicasts leave by one interface and go no further than its link."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET:
            made.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"\0" * 4, b"\0" * 4, index)
            )
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        made.bind(("", 0))
    except OSError:
        made.close()
        raise
    return made


async def registered(client: Client, address: Address) -> dict[Address, str]:
    """The devices of a resource directory with their endpoint names. Raises DriverError."""
    channel = Channel(address, None, client.heard, client.broken)
    try:
        await channel.open(client.limit)
        target = Target(channel)
        path = await _lookup_path(client, target)
        answer = await client.ask(target, GET, path)
        found: dict[Address, str] = {}
        for link in parse(answer.payload)[:MOST]:
            base, name = link.first("base"), link.first("ep")
            if base and name:
                with suppress(MaterialError):  # such as coaps://: it takes a key, and a person who gives it
                    where, key = material(base)
                    if key is None:
                        found[where] = name
    except LinkFormatError as error:
        log.warning("the resource directory %s does not answer in link format: %s", address, error)
        return {}
    finally:
        channel.close()
    return found


async def _lookup_path(client: Client, target: Target) -> str:
    """Where endpoints are looked up; raises as `Client.ask`, and LinkFormatError."""
    answer = await client.ask(target, GET, WELL_KNOWN)
    for link in parse(answer.payload):
        if LOOKUP_TYPE in link.words("rt") and link.target.startswith("/"):
            return link.target
    return LOOKUP
