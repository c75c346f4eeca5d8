"""Links for the tests against real brokers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from link_rig import FAST, MakeRig, Rig


@pytest.fixture
async def make_rig(tmp_path: Path) -> AsyncIterator[MakeRig]:
    """Builds rigs; they end with the test, also with one that fails: what runs on would fail the next one too."""
    made: list[Rig] = []

    def make(port: int, policy: Any = FAST, tls: Any = None) -> Rig:
        made.append(Rig(tmp_path, port, policy, tls))
        return made[-1]

    yield make
    for rig in made:
        await rig.stop()
        await rig.store.close()
