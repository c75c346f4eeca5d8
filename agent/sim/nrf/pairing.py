"""What nRF Cloud puts into the shadow of a device: the topics that it has, and where the cloud's messages go. PURE.

Protocol notes, sections 2.2, 2.3 and 2.5.
"""

from typing import Any

from agent.sim.records import Record

PREFIX = "nrfcloud_mqtt_topic_prefix"


def messages(device: Record) -> str:
    """The topics of a device's messages, up to `d2c` or `c2d`."""
    return f"{device['prefix']}m/d/{device['id']}"


def desired(device: Record) -> dict[str, Any]:
    """The desired section that says whether the account has the device. Null ends what it had."""
    if not device["associated"]:
        return {PREFIX: None, "pairing": {"state": "not_associated", "topics": None}}
    topics = {name: f"{messages(device)}/{name}" for name in ("d2c", "c2d")}
    return {PREFIX: device["prefix"], "pairing": {"state": "paired", "topics": topics}}


def is_paired(state: dict[str, Any]) -> bool:
    """True for the state of a device that reports its pairing, as the SDK does and the JavaScript gateway does not."""
    match state:
        case {"reported": {"pairing": {"state": "paired"}}}:
            return True
    return False


def c2d_topic(device: Record, state: dict[str, Any], kind: str = "c2d") -> str:
    """Where a message reaches the device: it may have changed `…/c2d` to `…/+/r` in its shadow, and then hears each kind by itself."""
    topic = f"{messages(device)}/c2d"
    match state:
        case {"desired": {"pairing": {"topics": {"c2d": str(chosen)}}}} if chosen.endswith("/+/r"):
            return f"{messages(device)}/{kind}/r"
        case {"desired": {"pairing": {"topics": {"c2d": str(chosen)}}}} if chosen.endswith("/r"):
            return f"{topic}/r"
    return topic
