"""A hub pays for CoAP when it runs such a radio, and not before."""

import subprocess
import sys


def test_the_driver_is_loaded_without_its_libraries() -> None:
    absent = ("aiocoap", "OpenSSL", "cryptography", "cbor2")
    code = f"import sys, drivers.coap.driver; print([m for m in {absent} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
