"""The interview of a device: its list of resources, and one look at what names and scales their values."""

import asyncio
import logging
from typing import Protocol

from aiocoap.numbers.codes import GET, Code

from agent.driver import DeviceRefused, NotSupported
from drivers.coap.catalog import learned, path_of, sampled
from drivers.coap.catalog_types import CoapDevice
from drivers.coap.client import Answer, Unanswered
from drivers.coap.finder import WELL_KNOWN
from drivers.coap.linkformat import Link, LinkFormatError, parse
from drivers.coap.values import ContentError, decode

log = logging.getLogger(__name__)

MOST = 64  # resources that are read once
PATIENCE = 15.0  # seconds for one of them: a resource that answers late on purpose must not hold up the whole
SERIAL = "/3/0/2"  # LwM2M device object


Links = tuple[Link, ...]


class Asks(Protocol):
    """Whoever carries a request to the device: see Client.ask."""

    async def __call__(self, code: Code, path: str, *, accept: int | None = None) -> Answer: ...


async def resources(ask: Asks) -> Links:
    """What `/.well-known/core` says. Raises DeviceUnreachable, NotSupported, DeviceRefused."""
    answer = await ask(GET, WELL_KNOWN)
    try:
        return parse(answer.payload)
    except LinkFormatError as error:
        raise DeviceRefused(f"the list of resources of the device is no link format: {error}") from None


async def serial(ask: Asks, links: Links) -> str:
    """The serial number, where the device lists one. Raises DeviceUnreachable."""
    if not any(path_of(link.target) == SERIAL for link in links):
        return ""
    try:
        answer = await ask(GET, SERIAL)
        found = learned(SERIAL, Link(SERIAL), decode(answer.payload, answer.content_format))
    except (NotSupported, DeviceRefused, ContentError) as error:
        log.info("no serial number: %s", error)
        return ""
    return found.facts.get("serial", "")


async def interview(ask: Asks, links: Links) -> CoapDevice:
    """The device as the catalogue takes it; a resource that cannot be read is left out. Raises DeviceUnreachable."""
    units: dict[str, str] = {}
    facts: dict[str, str] = {}
    seen: set[str] = set()
    by_path = {path_of(link.target): link for link in links}
    for path, accept in list(sampled(links))[:MOST]:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await ask(GET, path, accept=accept)
            found = learned(path, by_path[path], decode(answer.payload, answer.content_format))
        except (NotSupported, DeviceRefused, ContentError, Unanswered, TimeoutError) as error:
            log.info("%s is left out: %s", path, error)
            continue
        units.update(found.units)
        facts.update(found.facts)
        seen |= found.seen
    return CoapDevice(links, units, facts, frozenset(seen))
