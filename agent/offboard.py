"""Offboarding: the hub tells its cloud, leaves its radio networks, forgets everything, and starts anew without that cloud.

Each step may be cut off by a power loss: `begin` runs again while the store says so, and from the mark on every start finishes the work.
Steps and result: AWS IoT managed integrations, "Offboard a hub" (all local data is deleted; the operator's configuration stays).
"""

import asyncio
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.driver import DriverError
from agent.errors import ConfigError, HubError
from agent.files import sync_folder, write_atomic
from agent.identity import stores
from agent.runtime import Runtime
from agent.settings import Settings, UplinkSettings

log = logging.getLogger(__name__)

MARK = "offboarded.json"
PATIENCE = 60.0  # seconds for radios that are away
WORD = 30.0  # seconds for the cloud to take the last word


async def begin(runtime: Runtime, settings: Settings, ended: Callable[[], None]) -> None:
    """Do what needs radios and uplinks, leave the mark, and have the process end."""
    log.warning("the hub is offboarded: it leaves its networks and forgets its home")
    told = [link.say_last({"status": "offboarded"}, WORD) for link in runtime.links.values()]
    for name, heard in zip(runtime.links, await asyncio.gather(*told), strict=True):
        if not heard:
            log.warning("uplink %s did not take the last word: delete the hub there with force", name)
    await _leave_networks(runtime)
    write_atomic(settings.hub.state_dir / MARK, mark(settings, runtime.clock.now().iso))
    ended()


async def _leave_networks(runtime: Runtime) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    runtime.supervisor.stopping = True  # a radio that starts again would take its old network from its backup
    for name in runtime.hub.radios:
        try:
            async with asyncio.timeout_at(end):
                driver = await runtime.driver_up(name)
                await driver.reset()
        except DriverError as error:
            log.warning("radio %s keeps its network: %s", name, error)
        except TimeoutError:
            log.warning("radio %s keeps its network: it is away", name)


def finish(settings: Settings) -> None:
    """Delete all local data where a mark says so. Raises OSError, and ConfigError for a mark that cannot be read."""
    folder = settings.hub.state_dir
    told = _read(folder / MARK)
    if told is None or told["wiped"]:
        return
    try:
        stores.forget(settings)
    except HubError as error:  # a hub whose token is away is offboarded all the same; its next key destroys the old one
        log.warning("the hub's key stays in its token: %s", error.advice)
    for path in folder.iterdir():
        if path.name == MARK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    sync_folder(folder)
    write_atomic(folder / MARK, json.dumps({**told, "wiped": True}).encode())


def barred(settings: Settings) -> dict[str, str]:
    """Uplinks that would connect as the hub that is no more, with the reason and the way out."""
    path = settings.hub.state_dir / MARK
    told = _read(path)
    if told is None:
        return {}
    text = f"offboarded on {told['at']}: give the uplink a new certificate, or delete {path} to connect as before"
    return {name: text for name, uplink in settings.uplinks.items() if _credential(uplink) in told["credentials"]}


def mark(settings: Settings, at: str) -> bytes:
    """The mark's content: when (ISO-8601), what every uplink connects with, and that the deletion is still to be done."""
    own = settings.identity.claim_certificate  # an identity by claim is deleted with the rest, and claimed anew
    uplinks = [uplink for uplink in settings.uplinks.values() if not (own and uplink.takes_identity)]
    credentials = sorted({_credential(uplink) for uplink in uplinks})
    return json.dumps({"at": at, "credentials": credentials, "wiped": False}).encode()


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_bytes())
        return {"at": str(told["at"]), "credentials": [*map(str, told["credentials"])], "wiped": bool(told["wiped"])}
    except (ValueError, KeyError, TypeError) as error:
        remedy = "delete it to connect as before, or the whole folder to start anew"
        raise ConfigError(
            f"the mark of an offboarding cannot be read: {error!r}", place=str(path), remedy=remedy
        ) from None


def _credential(uplink: UplinkSettings) -> str:
    """What an uplink connects with, as a digest."""
    held = f"{uplink.host}:{uplink.port}/{uplink.username}".encode()
    if uplink.certificate:
        held = Path(uplink.certificate).read_bytes()
    return hashlib.sha256(held).hexdigest()
