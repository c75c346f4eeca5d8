"""One stand-in cloud for the tests of a file."""

from collections.abc import Iterator

import pytest
from standin_rig import Cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("standin") / "data")
    yield made
    assert made.stop() == 0
