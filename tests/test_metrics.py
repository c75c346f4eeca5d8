"""Prometheus' own parser reads what `agent metrics` prints, whatever the names are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.metrics import render

STATUS: dict[str, Any] = {
    "hub": "hub-1",
    "version": "0.1.0",
    "clock": {"quality": "trusted"},
    "devices": 3,
    "openCommands": 0,
    "radios": {
        "zigbee": {"kind": "zigbee", "status": "online"},
        "zwave": {"kind": "zwave", "status": "away", "figures": {"rssi": {"2": -61}}},
    },
    "uplinks": {"main": {"status": "online", "onDisk": 12, "counters": {"acknowledged": 7, "sent": 8}}},
    "store": {"commits": 5, "full": False, "shed": {"2:age": 4}},
    "counters": {"duplicate_commands": 1},
    "certificate": {
        "slot": "b",
        "source": "vendor",
        "expires": 1.9e9,
        "proved": 1.8e9,
        "daysLeft": 11.25,
        "state": "late",
        "keyStore": "the token is not there",
    },
}


def parsed(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.conformance
def test_a_foreign_parser_reads_every_sample() -> None:
    told = parsed(render(STATUS))
    assert told["hub_agent_radio_up", "zwave,zwave"] == 0
    assert told["hub_agent_device_link", "zwave,zwave,2,rssi"] == -61
    assert told["hub_agent_uplink_total", "main,acknowledged"] == 7
    assert told["hub_agent_outbox_messages", "main"] == 12
    assert told["hub_agent_certificate_days_left", "b,vendor"] == 11.25
    assert told["hub_agent_certificate_alarm", "late"] == 1
    assert told["hub_agent_key_store_up", ""] == 0


def test_a_hub_without_a_certificate_tells_none() -> None:
    assert "certificate" not in render({**STATUS, "certificate": {}})


@given(st.text(max_size=30))
def test_no_name_breaks_the_format(name: str) -> None:
    told = parsed(render({**STATUS, "hub": name, "radios": {name: {"kind": name, "status": "online"}}}))
    assert told["hub_agent_radio_up", f"{name},{name}"] == 1
