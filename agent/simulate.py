"""`agent simulate`: simulated radios from a home file, each on a port of its own. Loaded by entry point, never by the daemon."""

import asyncio
import json
import signal
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from agent.errors import ConfigError

ENTRY_POINTS = "hub_agent.simulators"


async def serve(
    home: Path, *, links: Path | None, faults: str, seed: int, state: Path | None, capture: Path | None = None
) -> None:
    """Print one JSON line for each radio when it is ready; serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    folder = links or Path(tempfile.mkdtemp(prefix="hub-agent-"))
    running = await start_all(home, folder, faults, seed, state, capture)
    for name, kind, simulation in running:
        line = {"radio": name, "kind": kind, "port": simulation.port, "control": str(simulation.control_path)}
        print(json.dumps(line), flush=True)
    try:
        await stop.wait()
    finally:
        for _, _, simulation in running:
            await simulation.close()


async def start_all(
    home: Path, folder: Path, faults: str, seed: int, state: Path | None, capture: Path | None = None
) -> list[tuple[str, str, Any]]:
    """(name, kind, simulation) of every radio of the home file."""
    _make(folder, state, capture)
    running = []
    for name, spec in _load_home(home).items():
        kind = spec.get("kind", name)
        kept = state / f"{name}.json" if state is not None else None
        start = _simulator(kind)
        file = capture / f"{name}.pcap" if capture is not None else None
        simulation = await start(name, spec, link=folder / name, state=kept, faults=faults, seed=seed, capture=file)
        running.append((name, kind, simulation))
    return running


def _make(*folders: Path | None) -> None:
    for folder in folders:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)


def _load_home(home: Path) -> Any:
    (point,) = entry_points(group=ENTRY_POINTS, name="home")
    return point.load()(home)


def _simulator(kind: str) -> Any:
    for point in entry_points(group=ENTRY_POINTS, name=kind):
        return point.load()
    known = ", ".join(sorted(point.name for point in entry_points(group=ENTRY_POINTS) if point.name != "home"))
    raise ConfigError(f"no simulator for radios of kind {kind!r}", remedy=f"installed kinds: {known}")
