"""Modules that cost memory and are not used stay unread, and work when they are wanted after all."""

import subprocess
import sys

DRIVER = """
import sys
from drivers.zigbee.lazy import lazily
with lazily("aiohttp", "jsonschema"):
    import drivers.zigbee.radio, drivers.zigbee.session
assert "zigpy.ota.providers" in sys.modules
assert "aiohttp.client" not in sys.modules, "aiohttp was read"
assert "jsonschema.validators" not in sys.modules, "jsonschema was read"
import aiohttp, jsonschema
assert aiohttp.ClientSession.__module__ == "aiohttp.client"
jsonschema.validate([], {"type": "array"})
"""


def test_what_the_radio_library_brings_and_we_do_not_use_is_read_at_its_first_use() -> None:
    subprocess.run([sys.executable, "-c", DRIVER], check=True, timeout=60)
