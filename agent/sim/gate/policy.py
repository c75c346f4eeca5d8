"""Who may publish and subscribe to what, and whom an answer reaches. PURE.

Limits: AWS IoT Core endpoints and quotas. Topics of nRF Cloud: nRF Cloud's MQTT topic table; a device that leaves it is dropped.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_TOPIC, MAX_SLASHES = 256, 7
MAX_PAYLOAD = 131072
PER_SUBSCRIBE, PER_CONNECTION = 8, 50
BROKERED = "north/"  # what goes on to the broker; all else is for the cloud itself


@dataclass(frozen=True, slots=True)
class Policy:
    """Topic filters that a client may use. `drops`: a forbidden subscription ends the connection instead of being refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    client_id: str = ""  # this one, or this one with "-" and more; any, when empty
    drops: bool = False

    def may_publish(self, topic: str) -> bool:
        return well_formed(topic) and not set("+#") & set(topic) and any(covers(rule, topic) for rule in self.publish)

    def may_subscribe(self, wanted: str) -> bool:
        return well_formed(wanted) and any(covers(rule, wanted) for rule in self.subscribe)

    def may_connect(self, client_id: str) -> bool:
        if not client_id or client_id[0] == "$":
            return False
        return self.client_id in ("", client_id) or client_id.startswith(f"{self.client_id}-")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose certificate a connection has. `id`: SHA-256 of the certificate, hex, as AWS IoT Core names it."""

    id: str
    name: str  # thing, profile, or device id
    policy: Policy
    expires: float = float("inf")  # seconds since the epoch
    nrf: bool = False  # a device of nRF Cloud


@dataclass(frozen=True, slots=True)
class Presence:
    """A lifecycle event of a client. `reason` is empty for a connect."""

    client_id: str
    principal: Principal
    session: str
    number: int
    at: float  # seconds since the epoch
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """The event's JSON (AWS IoT developer guide, "Lifecycle events")."""
        event = {
            "clientId": self.client_id,
            "timestamp": int(self.at * 1000),
            "eventType": "disconnected" if self.reason else "connected",
            "sessionIdentifier": self.session,
            "principalIdentifier": self.principal.id,
            "versionNumber": self.number,
        }
        if not self.reason:
            return {**event, "ipAddress": "127.0.0.1"}
        by_client = self.reason == "CLIENT_INITIATED_DISCONNECT"
        return {**event, "clientInitiatedDisconnect": by_client, "disconnectReason": self.reason}


class Audience(Enum):
    """Whom an answer of the cloud reaches."""

    ALL = "every client that has subscribed"
    ASKER = "the asking client, subscribed or not"
    SUBSCRIBED_ASKER = "the asking client if it has subscribed"


def device_policy(thing: str) -> Policy:
    """A managed thing's own topics."""
    jobs, shadow, vendor = f"$aws/things/{thing}/jobs", f"$aws/things/{thing}/shadow", f"cdf/certificates/{thing}"
    return Policy(
        publish=(f"north/{thing}/#", f"{jobs}/#", f"{shadow}/#", f"{vendor}/get", f"{vendor}/ack"),
        subscribe=(f"south/{thing}/#", f"{jobs}/#", f"{shadow}/#", f"{vendor}/get/#", f"{vendor}/ack/#"),
        client_id=thing,
    )


def claim_policy(template: str) -> Policy:
    """What a claim certificate is for, and nothing else."""
    topics = (
        "$aws/certificates/create/#",
        "$aws/certificates/create-from-csr/#",
        f"$aws/provisioning-templates/{template}/provision/#",
    )
    return Policy(publish=topics, subscribe=topics)


def nrf_policy(device: str, prefix: str, *, gateway: bool) -> Policy:
    """A device of nRF Cloud; `prefix` as in its shadow, with the slash. A gateway has the topics of its children too."""
    messages, jobs, shadow = f"{prefix}m/d/{device}", f"{prefix}{device}/jobs", f"{device}/shadow"
    aws = f"$aws/things/{device}/shadow"
    publish = [f"{messages}/d2c", f"{messages}/d2c/bulk", f"{messages}/d2c/bin", f"{jobs}/req", f"{jobs}/update"]
    publish += [
        f"{shadow}/update",
        f"{shadow}/get",
        f"{shadow}/get/tf",
        f"{shadow}/get/trim",
        f"{aws}/get",
        f"{aws}/update",
    ]
    subscribe = [f"{messages}/+/r", f"{messages}/c2d", f"{messages}/c2d/r", f"{jobs}/rcv"]
    subscribe += [f"{messages}/{kind}/r" for kind in ("agnss", "pgps", "ground_fix")]
    subscribe += [f"{shadow}/get/{name}" for name in ("accepted", "accepted/tf", "accepted/trim", "rejected")]
    subscribe += [f"{shadow}/update/delta{name}" for name in ("", "/trim", "/trim/err", "/full", "/full/err")]
    subscribe += [f"{aws}/{name}" for name in ("get/accepted", "get/rejected", "update/delta")]
    if gateway:
        publish += [f"{jobs}/ble/req", f"{jobs}/ble/update", f"{prefix}gateways/{device}/g2c"]
        publish += [f"{prefix}{device}/shadow/{name}" for name in ("get", "update")]
        subscribe += [f"{jobs}/ble/rcv", f"{prefix}gateways/{device}/c2g"]
        subscribe += [f"{prefix}{device}/shadow/{name}" for name in ("get/accepted", "update/delta")]
    return Policy(tuple(publish), tuple(subscribe), client_id=device, drops=True)


def well_formed(topic: str) -> bool:
    """A topic or filter within AWS IoT Core's limits."""
    words = topic.split("/")
    wild = all(word in ("+", "#") or not set("+#") & set(word) for word in words) and "#" not in words[:-1]
    return bool(topic) and wild and len(topic.encode()) <= MAX_TOPIC and len(words) <= MAX_SLASHES + 1


def covers(rule: str, wanted: str) -> bool:
    """True when every topic that `wanted` (a topic or filter) matches is matched by the filter `rule`."""
    rules, words = rule.split("/"), wanted.split("/")
    for index, part in enumerate(rules):
        if part == "#":
            return len(words) > index  # `sensor/#` does not match `sensor` there
        if index >= len(words) or words[index] == "#":
            return False
        if part not in ("+", words[index]):
            return False
    return len(words) == len(rules)


def audience(topic: str) -> Audience:
    """Whom a message of the cloud's reaches: IoT Jobs answers the asker without a subscription, fleet provisioning with one."""
    words = topic.split("/")
    if words[-1] in ("accepted", "rejected"):
        if words[:2] == ["$aws", "things"] and words[3:4] == ["jobs"]:
            return Audience.ASKER
        if topic.startswith(("$aws/certificates/", "$aws/provisioning-templates/")):
            return Audience.SUBSCRIBED_ASKER
    return Audience.ALL
