"""The real zwave-js driver as the host of our simulated stick: three kinds of chips, nodes of every kind."""

from pathlib import Path
from typing import Any

import pytest
from conformance.zwavejs_host import KEYS, host, stick

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(180)]


def included(*profiles: str) -> list[dict[str, Any]]:
    """Nodes that are in the network from the start, without security."""
    return [{"name": one, "profile": one, "node": number} for number, one in enumerate(profiles, 2)]


@pytest.mark.parametrize("kind", ["tiny", "500", "800"])
async def test_each_kind_of_stick_is_taken_and_its_nodes_interviewed(tmp_path: Path, kind: str) -> None:
    spec = {"stick": kind, "devices": included("switch", "dimmer", "old-switch")}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation, soft=kind != "tiny") as js:
        controller = await js.call("controller")
        assert controller["nodes"] == [1, 2, 3, 4]
        assert controller["homeId"] == 0xC0FFEE01
        assert controller["longRange"] is (kind == "800") or kind != "800"
        await js.event("all ready")
        nodes = {node["id"]: node for node in await js.call("nodes")}
        assert all(node["ready"] for node in nodes.values())
        await js.call("set", node=2, cc=0x25, property="targetValue", value=True)
        await js.value(2, "currentValue", value=True, cc=0x25)
        assert simulation.network.nodes["switch"].root.values["switch"] == 0xFF
        await js.call("set", node=3, cc=0x26, property="targetValue", value=40)
        await js.value(3, "currentValue", value=40, cc=0x26)
        assert not simulation.stick.unknown, KEYS
