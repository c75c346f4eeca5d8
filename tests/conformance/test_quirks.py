"""zha-quirks through zigpy's device resolver. Runs where the extra `quirks` is installed (Python 3.12 and newer)."""

from pathlib import Path
from typing import Any

import pytest
import zigpy.endpoint
import zigpy.types as t
import zigpy.zdo.types as zdo

from drivers.zigbee import radio
from drivers.zigbee.driver import load_quirks
from drivers.zigbee.node import describe
from drivers.zigbee.settings import ZigbeeSettings

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("zhaquirks", reason="the extra `quirks` is not installed")

EUI64 = "00:0d:6f:00:0a:90:69:e7"


async def centralite_sensor(folder: Path) -> tuple[Any, Any]:
    """A CentraLite 3310-S temperature and humidity sensor, as its interview leaves it."""
    app = radio._new_app("znp", radio.raw_config(ZigbeeSettings(), "/dev/null", folder / "zigbee.db"), load_quirks())
    device = app.add_device(t.EUI64.convert(EUI64), t.NWK(0x1234))
    device.node_desc = zdo.NodeDescriptor(
        logical_type=zdo.LogicalType.EndDevice,
        complex_descriptor_available=0,
        user_descriptor_available=0,
        reserved=0,
        aps_flags=0,
        frequency_band=zdo.NodeDescriptor.FrequencyBand.Freq2400MHz,
        mac_capability_flags=zdo.NodeDescriptor.MACCapabilityFlags.AllocateAddress,
        manufacturer_code=0x104E,
        maximum_buffer_size=82,
        maximum_incoming_transfer_size=82,
        server_mask=0,
        maximum_outgoing_transfer_size=82,
        descriptor_capability_field=zdo.NodeDescriptor.DescriptorCapability.NONE,
    )
    device.manufacturer, device.model = "CentraLite", "3310-S"
    endpoint = device.add_endpoint(1)
    endpoint.profile_id, endpoint.device_type = 260, 770
    endpoint.status = zigpy.endpoint.Status.ZDO_INIT
    for cluster in (0x0000, 0x0001, 0x0003, 0x0020, 0x0402, 0x0B05, 0xFC45):
        endpoint.add_input_cluster(cluster)
    for cluster in (0x0003, 0x0019):
        endpoint.add_output_cluster(cluster)
    return app, device


async def test_an_odd_device_is_corrected(tmp_path: Path) -> None:
    """This sensor has its humidity in a cluster of its maker's own; the quirk says what is in it."""
    app, device = await centralite_sensor(tmp_path)
    resolved = app._resolve_device(device)
    assert resolved is not device
    assert type(resolved).__module__.startswith(("zhaquirks", "zigpy.quirks", "zha"))
    humidity = resolved.endpoints[1].in_clusters[0xFC45]
    assert humidity.find_attribute(0x0000).name == "measured_value"
    with pytest.raises(KeyError):
        device.endpoints[1].in_clusters[0xFC45].find_attribute(0x0000)
    described = describe(resolved)
    assert (described.manufacturer, described.model, described.sleepy) == ("CentraLite", "3310-S", True)
    await app.shutdown()
