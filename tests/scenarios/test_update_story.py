"""A hub that updates itself: OTA tasks of boto3 against the stand-in, releases signed with `agent ota sign`, real builds of this checkout."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import until_async
from update_rig import CRASHES, Hub, no_uplink, running

pytestmark = pytest.mark.conformance


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running(tmp_path) as made:
        yield made


async def test_a_hub_updates_itself_and_comes_back_from_what_is_broken(hub: Hub) -> None:
    assert (await hub.status())["version"] == "1.0.0"
    good = hub.task({"manifestUrl": hub.publish("2.0.0")})
    assert await hub.ends(good) == "SUCCEEDED"
    assert (await hub.status())["version"] == "2.0.0"

    for version, replaced, code in (("3.0.0", CRASHES, "fell-back"), ("3.1.0", no_uplink(), "unhealthy")):
        bad = hub.task({"manifestUrl": hub.publish(version, replaced)})
        assert await hub.ends(bad) == "FAILED"
        assert (await hub.status())["version"] == "2.0.0"
        assert [task["code"] for task in await hub.updates()][-1] == code

    forged = hub.publish("4.0.0")
    path = hub.bucket / "4.0.0" / "release.json"
    path.write_text(path.read_text().replace("eyJ", "eyK", 1))
    assert await hub.ends(hub.task({"manifestUrl": forged})) == "REJECTED"
    assert await hub.ends(hub.task({"files": [{"url": forged}]})) == "REJECTED"
    assert (await hub.status())["version"] == "2.0.0"
    told = [(task["state"], task["code"]) for task in await hub.updates()]
    assert told[-2:] == [("REJECTED", "bad-signature"), ("REJECTED", "unsigned")]
    await until_async(hub.updates, lambda tasks: all(task["heard"] for task in tasks), 10.0)
