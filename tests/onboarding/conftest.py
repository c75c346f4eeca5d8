"""One stand-in cloud for the tests of a file, and the command line as people run it: a process of its own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
from onboarding_rig import CANARY, Agent, Done, secret_file
from standin_rig import Cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("standin") / "data")
    yield made
    assert made.stop() == 0


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """`agent(*arguments)`: run it in `tmp_path` to its end."""

    def run(*arguments: str | Path, code: int = 0, **env: str) -> Done:
        command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
        hub = {"HUB_AGENT__HUB__STATE_DIR": str(tmp_path / "state"), "HUB_AGENT__HUB__ID": "hub-1", "COLUMNS": "300"}
        here = {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        done = forked.run(
            command, cwd=tmp_path, env={**os.environ, **hub, **here, **env}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def api_key(cloud: Cloud, tmp_path: Path) -> Path:
    return secret_file(tmp_path / "api-key", cloud.told["nrf_api_key"])


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "token", CANARY)
