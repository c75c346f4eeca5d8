"""`agent identity …` and `agent jwt`: they work beside the daemon, and without it."""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any

from agent.client import Client, NotRunningError
from agent.clock import SystemClock, iso
from agent.cloud.channel import Channel
from agent.errors import ConfigError, HubError, UsageError
from agent.identity import watch
from agent.identity.hub_identity import HubIdentity
from agent.identity.provisioning import connected
from agent.identity.record import BY_HAND
from agent.identity.renewal import age
from agent.identity.slots import Slots
from agent.identity.tokens import Stored, Tokens
from agent.saved import token_bound
from agent.settings import Settings, UplinkSettings
from agent.uplinks import endpoint_of


def show(settings: Settings) -> dict[str, Any]:
    """`{"device_id", "public_key", "thing", "certificate_id", "expires", "configuration", …}`; empty texts for what there is not yet."""
    slots = HubIdentity(settings).slots
    record = slots.record
    held = record.identity
    known: dict[str, Any] = {"thing": "", "certificate_id": "", "expires": "", "configuration": {}}
    if held is not None:
        known = {
            "thing": held.thing,
            "certificate_id": held.certificate_id,
            "expires": iso(held.expires),
            "configuration": dict(held.configuration),
            "certificate": watch.told(record, age(held, record.offline, time.time())),
        }
    return {"device_id": settings.hub.id or known["thing"], "public_key": _public_key(slots), **known}


def _public_key(slots: Slots) -> str:
    """Of the certificate in use, or of the one that is asked for."""
    record = slots.record
    slot = record.current or record.asked
    return slots.keys.public_key(slots.key(slot)) if slot and slots.keys.has(slots.key(slot)) else ""


def certificate_request(settings: Settings) -> str:
    """A request for this hub's next certificate, PEM; its key is made if there is none, and the key in use goes on."""
    identity = HubIdentity(settings)
    slot = identity.slots.ask(BY_HAND)
    return identity.keys.csr(identity.slots.key(slot), identity.subject)


def install(settings: Settings, daemon: Client, pem: str) -> dict[str, Any]:
    """Keep a certificate that somebody has made for `certificate_request`. Where there is one, the new one is tried first."""
    slots = HubIdentity(settings).slots
    if slots.record.asked is None:
        raise UsageError("no certificate was asked for", remedy="`agent identity csr` makes the key and the request")
    slots.arrived(pem, settings.hub.id, {}, BY_HAND)
    if slots.record.candidate:
        with suppress(NotRunningError):  # it is tried when the daemon starts
            _wait(daemon)
    return show(settings)


def provision(settings: Settings, uplink: str, *, again: bool) -> dict[str, Any]:
    """Get a certificate at an uplink, by default the only one that has none of its own. With `again` also for a hub that has one."""
    identity = HubIdentity(settings)
    current = identity.current()
    if current is not None and not again:
        remedy = "`agent identity show` shows it; --again gets another, which is tried before it replaces the old one"
        raise UsageError(f"the hub is provisioned already, as {current.thing}", remedy=remedy)
    fitting = [name for name, told in settings.uplinks.items() if told.takes_identity]
    if uplink and uplink not in settings.uplinks:
        raise UsageError(f"there is no uplink {uplink!r}", remedy=f"one of {', '.join(settings.uplinks) or 'none'}")
    if not uplink and len(fitting) != 1:
        raise ConfigError(
            f"{len(fitting)} uplinks take the hub's own certificate",
            place="uplinks",
            remedy="name one with --uplink; it has tls and no certificate",
        )
    asyncio.run(_provision(settings, identity, settings.uplinks[uplink or fitting[0]]))
    return show(settings)


def rotate(settings: Settings, daemon: Client, uplink: str) -> dict[str, Any]:
    """Another certificate now, by the daemon if it runs. Raises HubError when it is refused."""
    try:
        _wait(daemon)
    except NotRunningError:
        return provision(settings, uplink, again=True)
    return show(settings)


def _wait(daemon: Client) -> None:
    """Until the daemon has a new certificate in use. Raises NotRunningError, HubError."""
    last = [*daemon.stream("rotate", {})][-1]
    if last["what"] != "rotated":
        raise HubError(last["error"], remedy=last["remedy"])


async def _provision(settings: Settings, identity: HubIdentity, uplink: UplinkSettings) -> None:
    """Get a certificate, and where it would replace another, prove it by a connection. Raises HubError."""
    slots = identity.slots
    if slots.record.candidate is None:
        await identity.provision(uplink, BY_HAND)
    candidate = slots.record.candidate
    if candidate is None:
        return
    endpoint = endpoint_of(uplink, settings.hub.id or slots.record.held[candidate].thing, slots, candidate)
    connection = await connected(endpoint, Channel(f"{endpoint.host}:{endpoint.port}"))
    await connection.drain_and_close(2.0)
    slots.change(lambda record: record.connected(candidate, time.time()))


def token(settings: Settings, life: int) -> str:
    """A device token for the hub's own id. Raises TryAgainError while the time is not trusted."""
    told, slots = show(settings), HubIdentity(settings).slots
    slot = slots.record.current or slots.record.asked
    if not told["device_id"] or slot is None:
        raise ConfigError("the hub has no id yet", place="hub.id", remedy="set it, or provision the hub")
    bound = partial(token_bound, settings.hub.state_dir)
    return Tokens(Stored(slots.keys, slots.key(slot)), told["device_id"], SystemClock(), bound=bound).token(life)
