"""The devices of the key stores are started once; each test has a state folder of its own, and a token and TPM without its keys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from key_rig import STORES, Place, places

from agent.identity.keys import KeyStore
from agent.identity.stores import forget, open_keys


@pytest.fixture(scope="session")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    with places(tmp_path_factory.mktemp("devices")) as made:
        for found in made.values():
            os.environ.update(found.get("environment", {}))  # libraries of this process read it, not Python
        yield made


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, devices: dict[str, dict[str, Any]], tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path / "state", **devices[request.param])
    yield made
    forget(made.settings())


@pytest.fixture
def keys(place: Place) -> KeyStore:
    return open_keys(place.settings())
