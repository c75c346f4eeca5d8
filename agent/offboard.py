"""Offboarding: the hub tells its cloud, leaves its radio networks, forgets everything, and starts anew without that cloud.

Factory reset: the same without the cloud's word, and everything that is configured may connect again.

Each step may be cut off by a power loss: `begin` runs again while the store says so, and from the mark on every start finishes the work.
Steps and result: AWS IoT managed integrations, "Offboard a hub" (all local data is deleted; the operator's configuration stays).
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent import offboard_mark
from agent.driver import Driver, DriverError
from agent.offboard_mark import MARK, Mark
from agent.runtime import Runtime
from agent.settings import Settings, UplinkSettings
from agent.uplinks import identity_of

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds for radios that are away
LEAVING = 30.0  # seconds for a radio to leave its network
WORD = 30.0  # seconds for the cloud to take the last word


async def begin(runtime: Runtime, settings: Settings, ended: Callable[[], None]) -> None:
    """Do what needs radios and uplinks, leave the mark, and have the process end."""
    log.warning("the hub is offboarded: it leaves its networks and forgets its home")
    told = [link.say_last({"status": "offboarded"}, WORD) for link in runtime.links.values()]
    for name, heard in zip(runtime.links, await asyncio.gather(*told), strict=True):
        if not heard:
            log.warning("uplink %s did not take the last word: delete the hub there with force", name)
    await _leave_networks(runtime, list(runtime.hub.radios))
    offboard_mark.write(settings.hub.state_dir, mark(settings, runtime.clock.now().iso))
    ended()


def order_reset(settings: Settings, at: str) -> Mark:
    """Leave the mark of a factory reset, which is done from here on, come what may. Raises OSError."""
    made = _unproved(settings, Mark(at=at, credentials=[], wiped=False, radios=sorted(settings.radios)))
    offboard_mark.write(settings.hub.state_dir, made)
    return made


async def reset(runtime: Runtime, settings: Settings, ended: Callable[[], None]) -> None:
    """Have the radios of the mark leave their networks, and the process end: what is left to do needs none of it."""
    told = offboard_mark.read(settings.hub.state_dir)
    if told is not None:
        log.warning("factory reset: the hub leaves its networks and forgets everything")
        kept = await _leave_networks(runtime, [name for name in told.radios if name in runtime.hub.radios])
        left = {"radios": [], "radios_kept": kept, "wiped": False}
        offboard_mark.write(settings.hub.state_dir, told.model_copy(update=left))
    ended()


async def _leave_networks(runtime: Runtime, radios: list[str]) -> list[str]:
    """Those that keep their network."""
    up, kept = await _radios_up(runtime, radios), []
    runtime.supervisor.stopping = True  # a radio that starts again would take its old network from its backup
    for name in radios:
        try:
            if name not in up:
                raise TimeoutError
            async with asyncio.timeout(LEAVING):
                await up[name].reset()
        except DriverError as error:
            kept.append(name)
            log.warning("radio %s keeps its network: %s", name, error)
        except TimeoutError:
            kept.append(name)
            log.warning("radio %s keeps its network: it is away", name)
    return kept


async def _radios_up(runtime: Runtime, radios: list[str]) -> dict[str, Driver]:
    """The drivers of radios that are there within PATIENCE; the process may have just begun."""
    up: dict[str, Driver] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            for name in radios:
                up[name] = await runtime.driver_up(name)
    return up | {name: runtime.drivers[name] for name in radios if name in runtime.drivers}


def finish(settings: Settings) -> None:
    """Delete all local data where a mark says so. Raises OSError, and ConfigError for a mark that cannot be read."""
    told = offboard_mark.read(settings.hub.state_dir)
    if told is None or told.wiped:
        return
    from agent.wipe import wipe  # noqa: PLC0415  it loads the libraries of keys

    wipe(settings)


def radios_to_reset(settings: Settings) -> str:
    """When a factory reset was ordered that radios have not followed yet, ISO-8601; empty for none."""
    told = offboard_mark.read(settings.hub.state_dir)
    return told.at if told is not None and any(name in settings.radios for name in told.radios) else ""


def barred(settings: Settings) -> dict[str, str]:
    """Uplinks that would connect as the hub that is no more, with the reason and the way out."""
    told = offboard_mark.read(settings.hub.state_dir)
    if told is None or not told.credentials:
        return {}
    path = settings.hub.state_dir / MARK
    text = f"offboarded on {told.at}: give the uplink a new certificate, or delete {path} to connect as before"
    return {name: text for name, uplink in settings.uplinks.items() if _credential(uplink) in told.credentials}


def mark(settings: Settings, at: str) -> Mark:
    """When (ISO-8601), what every uplink connects with, and that the deletion is still to be done."""
    gone = _identity_goes(settings)
    uplinks = [uplink for uplink in settings.uplinks.values() if not (gone and uplink.takes_identity)]
    made = Mark(at=at, credentials=sorted({_credential(uplink) for uplink in uplinks}), wiped=False)
    return _unproved(settings, made)


def _unproved(settings: Settings, made: Mark) -> Mark:
    """With the keys of an earlier mark of which something was left: it is looked for again."""
    earlier = offboard_mark.read(settings.hub.state_dir)
    if earlier is None or (earlier.proof is not None and not earlier.proof.private_keys_left):
        return made
    return made.model_copy(update={"keys": earlier.keys, "copies": earlier.copies})


def _identity_goes(settings: Settings) -> bool:
    """Whether the hub's own identity is deleted with the rest, and no next one comes but by a new claim or by a person."""
    told = settings.identity
    if told.claim_certificate:
        return True
    identity = identity_of(settings)
    return not told.ca_certificate and identity is not None and identity.current() is not None


def _credential(uplink: UplinkSettings) -> str:
    """What an uplink connects with, as a digest."""
    held = f"{uplink.host}:{uplink.port}/{uplink.username}".encode()
    if uplink.certificate:
        held = Path(uplink.certificate).read_bytes()
    return hashlib.sha256(held).hexdigest()
