"""Multicast on loopback: one socket in the group of all CoAP nodes, whose questions each unprotected device answers from its own port."""

import asyncio
import socket
import struct
from typing import Any

from drivers.sim.coap.device import LOOPBACK, Device

ALL_NODES = "224.0.1.187"  # RFC 7252, 12.8


class Group(asyncio.DatagramProtocol):
    """The devices that hear a multicast."""

    def __init__(self, devices: list[Device]) -> None:
        self._devices = devices
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, port: int) -> None:
        """Join on the loopback interface alone. Raises OSError."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((ALL_NODES, port))
            index = socket.if_nametoindex("lo")
            request = struct.pack("@4s4si", socket.inet_aton(ALL_NODES), socket.inet_aton(LOOPBACK), index)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=made)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for device in self._devices:
            if not device.security:
                device.datagram_received(data, addr)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
