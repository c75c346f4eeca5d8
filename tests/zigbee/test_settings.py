from typing import Any

import pytest
from pydantic import ValidationError

from drivers.zigbee.settings import ZigbeeSettings


def test_nothing_needs_to_be_said() -> None:
    settings = ZigbeeSettings.model_validate({})
    assert (settings.port, settings.radio, settings.channel) == ("auto", "auto", 15)
    assert not settings.network_key


def test_what_people_write() -> None:
    settings = ZigbeeSettings.model_validate(
        {
            "port": "/dev/ttyUSB0",
            "identity": "00:12:4B:00:1C:A1:B2:C3",
            "pan_id": "0x539D",
            "mains_timeout": "15m",
            "battery_timeout": "2d",
            "network_key": "00112233445566778899aabbccddeeff",
        }
    )
    assert (settings.identity, settings.pan_id) == ("00124b001ca1b2c3", "539d")
    assert (settings.mains_timeout, settings.battery_timeout) == (900.0, 172_800.0)
    assert "00112233" not in repr(settings)
    assert "00112233" not in settings.model_dump_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": 10},
        {"channel": 27},
        {"pan_id": "12345"},
        {"identity": "stick"},
        {"network_key": "short"},
        {"radio": "deconz"},
        {"baudrate": "fast"},
        {"mains_timeout": "1s"},
        {"unknown": 1},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ZigbeeSettings.model_validate(wrong)
