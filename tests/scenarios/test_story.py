"""The README's whole story in boto3, run as a program against `agent cloud`, with a simulated stick behind a real `agent run`."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from standin_rig import Cloud

from drivers.sim.zigbee.server import start

pytestmark = pytest.mark.conformance

HERE = Path(__file__).parent
HOME = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:02",
    "devices": [{"name": "bulb", "profile": "color-bulb"}, {"name": "plug", "profile": "plug"}],
}
STEPS = (
    "the hub is activated",
    "a light is discovered",
    "the light is activated",
    "the light is on",
    "the OTA task is completed",
    "the light has left its network",
    "the hub is offboarded",
)


async def test_the_whole_story_is_true(tmp_path: Path) -> None:
    cloud = await asyncio.to_thread(Cloud, tmp_path / "cloud")
    home = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    (tmp_path / "hub").mkdir()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    arguments = [str(HERE / "story.py"), json.dumps(cloud.told), str(tmp_path / "stick"), str(tmp_path / "hub")]
    program = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(program.communicate(), 120)
    told = output.decode()
    assert program.returncode == 0, told
    assert [line for line in told.splitlines() if line in STEPS] == list(STEPS), told
    await home.close()
    assert cloud.stop() == 0


def test_the_readme_shows_it() -> None:
    """Word for word: what is read is what is tested."""
    readme = (HERE.parent.parent / "README.md").read_text()
    _, _, rest = readme.partition("## The whole story in boto3")
    assert (HERE / "story.py").read_text() in rest
