"""A UDP proxy on loopback that keeps every datagram of both directions, and can lose or answer those to the device."""

import asyncio
from collections.abc import Callable
from typing import Any


class UdpProxy(asyncio.DatagramProtocol):
    """`sent` and `got`: what went to the device and what came from it. `reply(datagram)` may answer in the device's place."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.port = 0
        self.reply: Callable[[bytes], bytes | None] = lambda _: None
        self._transport: Any = None
        self._ways: dict[Any, Any] = {}
        self._waiting: list[tuple[Any, bytes]] = []

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        for way in (self._transport, *self._ways.values()):
            way.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.sent.append(data)
        answer = self.reply(data)
        if answer is not None:
            self._transport.sendto(answer, addr)
        elif addr in self._ways:
            self._ways[addr].sendto(data)
        else:
            self._waiting.append((addr, data))
            if len([a for a, _ in self._waiting if a == addr]) == 1:
                self._opening = self._loop.create_task(self._open_way(addr))

    async def _open_way(self, addr: Any) -> None:
        back = _Back(self, addr)
        self._ways[addr], _ = await self._loop.create_datagram_endpoint(lambda: back, remote_addr=self._to)
        for data in [d for a, d in self._waiting if a == addr]:
            self._ways[addr].sendto(data)
        self._waiting = [(a, d) for a, d in self._waiting if a != addr]

    def back(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self._transport.sendto(data, addr)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, proxy: UdpProxy, addr: Any) -> None:
        self._proxy, self._addr = proxy, addr

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        self._proxy.back(data, self._addr)
