"""The Firmware Update object of a simulated device as requests see it (OMA LwM2M, object 5; RFC 7959 for its blocks)."""

from aiocoap import error
from aiocoap.message import Message
from aiocoap.numbers import codes

from drivers.sim.coap.firmware import FirmwareObject, Taken
from drivers.sim.coap.profiles import Value

PACKAGE, UPDATE, STATE, RESULT, VERSION, RUNS = "/5/0/0", "/5/0/2", "/5/0/3", "/5/0/5", "/5/0/7", "/3/0/3"
SETTLE = 0.05  # seconds between the answer and the restart
_CODES = {
    Taken.MORE: codes.CONTINUE,
    Taken.ALL: codes.CHANGED,
    Taken.INCOMPLETE: codes.REQUEST_ENTITY_INCOMPLETE,
    Taken.TOO_LARGE: codes.REQUEST_ENTITY_TOO_LARGE,
}


def serve(firmware: FirmwareObject, path: str, request: Message, exponent: int) -> Message:
    """The answer to a request to PACKAGE or UPDATE; `exponent` is of the largest blocks that are wanted. Raises RenderableError."""
    if path == UPDATE:
        if request.code != codes.POST or not firmware.update():
            raise error.UnallowedMethod
        return Message(code=codes.CHANGED)
    if request.code != codes.PUT:
        raise error.UnallowedMethod
    block = request.opt.block1
    taken = firmware.write(block.start if block else 0, bool(block and block.more), request.payload)
    response = Message(code=_CODES[taken])
    if block is not None:
        response.opt.block1 = (block.block_number, block.more, min(block.size_exponent, exponent))
    return response


def shown(firmware: FirmwareObject) -> dict[str, Value]:
    """What the resources say of it."""
    numbers: dict[str, Value] = {STATE: float(firmware.state), RESULT: float(firmware.result)}
    return {**numbers, VERSION: firmware.package_version, RUNS: firmware.version}
