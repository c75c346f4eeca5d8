"""CBOR as nRF Cloud's devices send it. PURE."""

from typing import Any

import cbor2

from agent.sim.nrf.answers import BAD_REQUEST, NrfError

dumps = cbor2.dumps


def loads(body: bytes) -> Any:
    """What the bytes stand for. Raises NrfError."""
    try:
        return cbor2.loads(body)
    except (ValueError, RecursionError, cbor2.CBORDecodeError) as error:
        raise NrfError(BAD_REQUEST, f"the body is not CBOR: {error}") from None


def loads_tagged(body: bytes, tag: int) -> Any:
    """What a certain tag holds. Raises NrfError."""
    found = loads(body)
    if not isinstance(found, cbor2.CBORTag) or found.tag != tag:
        raise NrfError(BAD_REQUEST, f"the body is no CBOR with tag {tag}")
    return found.value
