"""A daemon for tests and benches: its configuration, and when it is ready."""

import asyncio
from pathlib import Path
from typing import Any

from agent.client import Client
from agent.errors import HubError

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
tls = false
durability = "{durability}"
{uplink}
[radios.zigbee]
kind = "zigbee"
port = "{folder}/stick"
radio = "ezsp"
[logging]
level = "warning"
"""


def configure(folder: Path, port: int, durability: str, uplink: str = "") -> Path:
    """Write `agent.toml` for the stick `<folder>/stick` and the broker at `port`."""
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(folder=folder, port=port, durability=durability, uplink=uplink))
    return path


async def ask(client: Client, path: str) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, client.get, path)


async def ready(client: Client) -> bool:
    """Every radio and uplink is online."""
    try:
        status = await ask(client, "status")
    except HubError:
        return False
    return all(part["status"] == "online" for part in [*status["radios"].values(), *status["uplinks"].values()])
