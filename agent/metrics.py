"""The hub's figures in Prometheus' text format (exposition format 0.0.4), from what `agent status` tells. PURE.

Nothing listens for it: `agent metrics` prints it, for node_exporter's textfile collector or any other that takes the format.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
PREFIX = "hub_agent_"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `labels` of it may be empty."""

    name: str
    kind: str  # gauge or counter
    text: str
    value: float
    labels: Mapping[str, str]


def render(status: Mapping[str, Any]) -> str:
    """The whole text; samples of one name stand together."""
    groups: dict[str, list[Sample]] = {}
    for sample in _samples(status):
        groups.setdefault(sample.name, []).append(sample)
    lines = []
    for name, samples in groups.items():
        lines += [f"# HELP {PREFIX}{name} {samples[0].text}", f"# TYPE {PREFIX}{name} {samples[0].kind}"]
        lines += [f"{PREFIX}{name}{_labels(sample.labels)} {_number(sample.value)}" for sample in samples]
    return "\n".join(lines) + "\n"


def _samples(status: Mapping[str, Any]) -> Iterator[Sample]:
    about = {"hub": status["hub"], "version": status["version"]}
    yield Sample("info", "gauge", "The hub and its version.", 1, about)
    yield Sample("clock_synchronised", "gauge", "1: the clock is trusted.", status["clock"]["quality"] == "trusted", {})
    yield Sample("devices", "gauge", "Devices that are known.", status["devices"], {})
    yield Sample("open_commands", "gauge", "Commands without an outcome yet.", status["openCommands"], {})
    for name, radio in status["radios"].items():
        labels = {"radio": name, "kind": radio["kind"]}
        yield Sample("radio_up", "gauge", "1: the radio answers.", radio["status"] == "online", labels)
        for what, devices in radio.get("figures", {}).items():
            for device, value in devices.items():
                named = {**labels, "device": device, "what": what}
                yield Sample("device_link", "gauge", "The way to a device, as its radio counts it.", value, named)
    for name, uplink in status["uplinks"].items():
        labels = {"uplink": name}
        yield Sample("uplink_up", "gauge", "1: the uplink is connected.", uplink["status"] == "online", labels)
        yield Sample("outbox_messages", "gauge", "Messages on disk for an uplink.", uplink["onDisk"], labels)
        for counter, value in uplink["counters"].items():
            yield Sample("uplink_total", "counter", "Counts of an uplink.", value, {**labels, "what": counter})
    store = status["store"]
    yield Sample("store_commits_total", "counter", "Commits of the database.", store["commits"], {})
    yield Sample("store_full", "gauge", "1: the disk is full, and history is shed.", store["full"], {})
    for what, rows in store["shed"].items():
        yield Sample("shed_total", "counter", "Messages that were shed.", rows, {"what": what})
    for counter, value in status["counters"].items():
        yield Sample("total", "counter", "Counts of the hub.", value, {"what": counter})
    yield from _certificate(status.get("certificate") or {})


def _certificate(told: Mapping[str, Any]) -> Iterator[Sample]:
    if not told:
        return
    labels = {"slot": told["slot"], "source": told["source"]}
    yield Sample("certificate_expires_seconds", "gauge", "End of the certificate, Unix time.", told["expires"], labels)
    yield Sample("certificate_proved_seconds", "gauge", "Last connection with it, Unix time.", told["proved"], labels)
    if told["daysLeft"] is not None:
        yield Sample("certificate_days_left", "gauge", "Days until it ends.", told["daysLeft"], labels)
    yield Sample("key_store_up", "gauge", "1: the hub's key can be used.", not told["keyStore"], {})
    alarm = told["state"] in ("late", "urgent", "expired")
    yield Sample("certificate_alarm", "gauge", "1: it is not renewed, and should be.", alarm, {"state": told["state"]})


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{_NO_NAME.sub("_", name)}="{_escaped(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
