"""A hub with an uplink to nRF Cloud beside: its first certificate comes from where there is fleet provisioning, and from nowhere else."""

import asyncio
import json
from pathlib import Path

from conftest import until_async
from standin_rig import Cloud

from tests.identity.test_vendor_rotation import Hub

NRF = """
[uplinks.beside]
dialect = "nrf-cloud"
host = "127.0.0.1"
port = {port}
ca = "{ca}"
client_id = "hub-9"
"""


async def test_nobody_is_asked_for_a_certificate_who_has_none_to_give(cloud: Cloud, tmp_path: Path) -> None:
    hub = Hub(cloud, tmp_path, "HUB-BESIDE-001")
    record = tmp_path / "state" / "identity" / "identity.json"
    had: list[bool] = []  # at each connection to nRF Cloud, whether the hub had its certificate by then

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        had.append(record.exists() and json.loads(record.read_bytes()).get("current") is not None)
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        text = (tmp_path / "agent.toml").read_text()
        beside = NRF.format(port=server.sockets[0].getsockname()[1], ca=cloud.told["ca"])
        first, identity = text.split("[identity]")
        (tmp_path / "agent.toml").write_text(
            first.replace("[uplinks.main]", f"{beside}[uplinks.main]") + f"[identity]{identity}"
        )
        hub.run()
        try:
            await hub.online("a")

            async def tries() -> int:
                return len(had)

            await until_async(tries, bool, 30.0)
        finally:
            hub.stop()
    assert all(had)
