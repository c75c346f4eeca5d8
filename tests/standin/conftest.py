"""One stand-in cloud for the tests of a file, or for those of several that do not mind each other."""

from collections.abc import Iterator

import pytest
from standin_rig import Cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("standin") / "data")
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """For tests whose devices have names of their own; one of them may kill it, and starts it again."""
    made = Cloud(tmp_path_factory.mktemp("shared") / "data")
    yield made
    assert made.stop() == 0
