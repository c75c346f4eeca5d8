"""What a managed thing is recognised by: the authentication material of its QR code or of its discovery."""

import re
from typing import Any

from agent.sim.service_model import AwsError

WIFI = "WIFI_SETUP_QR_BAR_CODE"
DISCOVERED = "DISCOVERED_DEVICE"
RADIO_CODES = {"ZIGBEE_QR_BAR_CODE": "ZIGBEE", "ZWAVE_QR_BAR_CODE": "ZWAVE", "CUSTOM_PROTOCOL_QR_BAR_CODE": "CUSTOM"}

_PARTS = {"SN": "SerialNumber", "UPC": "UniversalProductCode", "EAN": "InternationalArticleNumber"}
_ZIGBEE = re.compile(r"Z:[0-9A-Fa-f]{16}\$I:[0-9A-Fa-f]{12,36}")
_ZWAVE = re.compile(r"90\d{50,}")


def product(material: str) -> dict[str, Any]:
    """`SN:<serial>;UPC:<12 digits>` (or EAN instead of UPC) as members of a managed thing. Raises AwsError."""
    found: dict[str, Any] = {}
    for part in filter(None, material.split(";")):
        key, _, value = part.partition(":")
        if key not in _PARTS or not value or _PARTS[key] in found:
            raise _wrong("SN:<serial>;UPC:<12 digits> or SN:<serial>;EAN:<13 digits>")
        found[_PARTS[key]] = value
    codes = {"UniversalProductCode", "InternationalArticleNumber"} & found.keys()
    if "SerialNumber" not in found or len(codes) != 1:
        raise _wrong("SN and exactly one of UPC and EAN")
    if not re.fullmatch(r"\d{12}", found.get("UniversalProductCode", "0" * 12)):
        raise _wrong("a UPC of 12 digits")
    if not re.fullmatch(r"\d{8}|\d{13}", found.get("InternationalArticleNumber", "0" * 13)):
        raise _wrong("an EAN of 8 or 13 digits")
    return found


def check_radio_code(kind: str, material: str) -> None:
    """Refuse a QR code that no device of this kind can have. Raises AwsError."""
    if kind == "ZIGBEE_QR_BAR_CODE" and not _ZIGBEE.search(material):
        raise _wrong("Z:<EUI64>$I:<install code with CRC>")
    if kind == "ZWAVE_QR_BAR_CODE" and not _ZWAVE.match(material):
        raise _wrong("a SmartStart code: 90 and more than 50 digits")


def _wrong(form: str) -> AwsError:
    return AwsError("ValidationException", f"Value at 'AuthenticationMaterial' must hold {form}")
