"""The interview of a device: its list of resources, and one look at what names and scales their values."""

import logging

from aiocoap.numbers.codes import GET

from agent.driver import DeviceRefused, NotSupported
from drivers.coap.catalog import learned, path_of, sampled
from drivers.coap.catalog_types import CoapDevice
from drivers.coap.client import Client, Target
from drivers.coap.finder import WELL_KNOWN
from drivers.coap.linkformat import Link, LinkFormatError, parse
from drivers.coap.values import ContentError, decode

log = logging.getLogger(__name__)

MOST = 64  # resources that are read once
SERIAL = "/3/0/2"  # LwM2M device object


Links = tuple[Link, ...]


async def resources(client: Client, target: Target) -> Links:
    """What `/.well-known/core` says. Raises DeviceUnreachable, NotSupported, DeviceRefused."""
    answer = await client.ask(target, GET, WELL_KNOWN)
    try:
        return parse(answer.payload)
    except LinkFormatError as error:
        raise DeviceRefused(f"the list of resources of {target.channel.address} is no link format: {error}") from None


async def serial(client: Client, target: Target, links: tuple[Link, ...]) -> str:
    """The serial number, where the device lists one. Raises DeviceUnreachable."""
    if not any(path_of(link.target) == SERIAL for link in links):
        return ""
    try:
        answer = await client.ask(target, GET, SERIAL)
        found = learned(SERIAL, Link(SERIAL), decode(answer.payload, answer.content_format))
    except (NotSupported, DeviceRefused, ContentError) as error:
        log.info("%s tells no serial number: %s", target.channel.address, error)
        return ""
    return found.facts.get("serial", "")


async def interview(client: Client, target: Target, links: tuple[Link, ...]) -> CoapDevice:
    """The device as the catalogue takes it; a resource that cannot be read is left out. Raises DeviceUnreachable."""
    units: dict[str, str] = {}
    facts: dict[str, str] = {}
    seen: set[str] = set()
    by_path = {path_of(link.target): link for link in links}
    for path, accept in list(sampled(links))[:MOST]:
        try:
            answer = await client.ask(target, GET, path, accept=accept)
            found = learned(path, by_path[path], decode(answer.payload, answer.content_format))
        except (NotSupported, DeviceRefused, ContentError) as error:
            log.info("%s%s is left out: %s", target.channel.address, path, error)
            continue
        units.update(found.units)
        facts.update(found.facts)
        seen |= found.seen
    return CoapDevice(links, units, facts, frozenset(seen))
