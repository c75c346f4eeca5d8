"""`agent identity …` and `agent jwt`: they work beside the daemon, and without it."""

import asyncio
import time
from functools import partial
from typing import Any

from agent.clock import SystemClock, iso
from agent.errors import ConfigError, UsageError
from agent.identity.certificates import KEY
from agent.identity.hub_identity import HubIdentity
from agent.identity.keys import Subject
from agent.identity.tokens import Stored, Tokens
from agent.saved import token_bound
from agent.settings import Settings


def show(settings: Settings) -> dict[str, Any]:
    """`{"device_id", "public_key", "thing", "certificate_id", "expires", "configuration"}`; empty texts for what there is not yet."""
    identity = HubIdentity(settings)
    current = identity.current()
    known = {"thing": "", "certificate_id": "", "expires": "", "configuration": {}}
    if current is not None:
        known = {
            "thing": current.thing,
            "certificate_id": current.certificate_id,
            "expires": iso(identity.certificates.expires()),
            "configuration": dict(current.configuration),
        }
    public_key = identity.keys.public_key(KEY) if identity.keys.has(KEY) else ""
    return {"device_id": settings.hub.id or known["thing"], "public_key": public_key, **known}


def certificate_request(settings: Settings) -> str:
    """A request for this hub's certificate, PEM; makes the key if there is none."""
    identity = HubIdentity(settings)
    if not identity.keys.has(KEY):
        identity.keys.generate(KEY)
    return identity.keys.csr(KEY, Subject(settings.hub.id or settings.identity.serial or "hub"))


def install(settings: Settings, pem: str) -> dict[str, Any]:
    """Keep a certificate that somebody has made for `certificate_request`."""
    HubIdentity(settings).certificates.install(pem, settings.hub.id, {}, time.time())
    return show(settings)


def provision(settings: Settings, uplink: str, *, again: bool) -> dict[str, Any]:
    """Fleet provisioning at an uplink, by default the only one that has no certificate of its own. With `again` also a hub that has one."""
    current = HubIdentity(settings).current()
    if current is not None and not again:
        remedy = "`agent identity show` shows it; --again replaces its certificate"
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
    asyncio.run(HubIdentity(settings).provision(settings.uplinks[uplink or fitting[0]]))
    return show(settings)


def token(settings: Settings, life: int) -> str:
    """A device token for the hub's own id. Raises TryAgainError while the time is not trusted."""
    told, identity = show(settings), HubIdentity(settings)
    if not told["device_id"]:
        raise ConfigError("the hub has no id yet", place="hub.id", remedy="set it, or provision the hub")
    bound = partial(token_bound, settings.hub.state_dir)
    return Tokens(Stored(identity.keys, KEY), told["device_id"], SystemClock(), bound=bound).token(life)
