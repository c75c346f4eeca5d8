"""CoAP clients of services: quick to give up, with the time of a test; and a server whose every datagram is written by the test."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Self

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import ACK
from nrf_client_rig import KEY, Device
from rest_rig import FAST, Pauses

from agent.clock import SystemClock
from agent.cloud.coap import Coap, Limits
from agent.cloud.nrf_coap import Login
from agent.coap.exchange import Timing
from agent.identity.tokens import NRF_CLOUD_COAP, Stored, Tokens
from agent.settings.values import coap_place

# Seconds: where nothing is to be lost, and where something is.
PATIENT = Limits(Timing(ack=1.0, repetitions=3, response=10.0), handshake=20.0)
QUICK = Limits(Timing(ack=0.05, repetitions=2, response=0.3), handshake=5.0)


def client(url: str, **more: Any) -> Coap:
    more = {"policy": FAST, "limits": PATIENT, "random": Random(1), "sleep": Pauses(), **more}
    return Coap(coap_place(url), SystemClock(), **more)


def tokens(device: Device) -> Tokens:
    return Tokens(Stored(device.keys, KEY), device.name, device.watch, profile=NRF_CLOUD_COAP)


def logged_in(device: Device, url: str, ca: str, **more: Any) -> Coap:
    return client(url, ca=ca, enter=Login(tokens(device)), **more)


Step = Callable[[Message], bytes | list[bytes] | None]  # a request -> the datagrams that answer it


def reply(request: Message, code: str, payload: bytes = b"", *, acknowledges: bool = True, **options: Any) -> bytes:
    """An answer in the acknowledgement: `code` as 2.05. `mid` and `token` may be others than the request's."""
    number = Code(int(code[0]) << 5 | int(code[2:]))
    mid, token = options.pop("mid", request.mid), options.pop("token", request.token)
    made = Message(code=number, payload=payload, _mtype=ACK, _mid=mid, _token=token)
    for name, value in options.items():
        setattr(made.opt, name, value)
    return bytes(made.encode())


class RawCoap(asyncio.DatagramProtocol):
    """Plain CoAP on loopback: `steps` answer one request each, the last one all that follow. `asked` are the requests, repeated ones too."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.asked: list[Message] = []
        self.froms: list[Any] = []
        self.transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.url = f"coap://127.0.0.1:{self.transport.get_extra_info('sockname')[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = Message.decode(data)
        if not request.code.is_request():
            return
        self.asked.append(request)
        self.froms.append(addr)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        answer = step(request)
        for datagram in [answer] if isinstance(answer, bytes) else answer or []:
            self.transport.sendto(datagram, addr)


def silent(_request: Message) -> None:
    """No answer."""
