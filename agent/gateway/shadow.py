"""What a gateway reads of its shadow and reports there: which BLE devices it is to connect, and which of them are.

The shadow is state, and told anew on each connection: nothing of it goes through the outbox. The JavaScript gateways have the whole shadow
told to them on topics of their own; the LTE gateway asks for a part of it, and clears what an earlier life has left.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound, MqttLost
from agent.cloud.nrf_gateway import (
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    GatewayDialect,
    addresses,
    connections_change,
    reported_connections,
)
from agent.cloud.nrf_pairing import Pairing, read
from agent.gateway.outlet import Count
from agent.wire.nrf_gateway import ConnectionsReply, GatewayShadow, PeerStatus

log = logging.getLogger(__name__)

Wished = Callable[[tuple[str, ...]], None]


class Shadow:
    """`on_connections` and `on_beacons` hear what the account wants."""

    def __init__(self, dialect: GatewayDialect, channel: Channel, count: Count) -> None:
        self._dialect, self._channel, self._count = dialect, channel, count
        self._pairing: Pairing | None = None
        self._told: dict[str, PeerStatus] = {}
        self._questions = 0
        self._odd: dict[str, Any] = {}  # what was found fault with already
        self.on_connections: Wished = _nobody
        self.on_beacons: Wished = _nobody

    # ---- connections to the cloud -----------------------------------------------------------------------------------

    def paired(self, pairing: Pairing) -> None:
        """The topics of a connection, before it is open."""
        if not self._dialect.apart:
            self._pairing = pairing
            return
        if self._pairing is not None:
            for topic in self._own(self._pairing):
                self._channel.unlisten(topic)
        self._pairing = pairing
        for topic in self._own(pairing):
            self._channel.listen(topic, self._heard)

    def _own(self, pairing: Pairing) -> tuple[str, str]:
        shadow = self._dialect.shadow(pairing)
        return (f"{shadow}/get/accepted", f"{shadow}/update/delta")

    def begin(self, *, firmware: bool, statuses: Mapping[str, PeerStatus]) -> None:
        """A connection is open."""
        self._questions = 0
        if not self._dialect.apart:
            self._report({"desiredConnections": None, "statusConnections": None})
            self._told = {}
        else:
            self._told = {address: status for address, status in self._told.items() if address not in statuses}
        self._report({"device": {"serviceInfo": {"fota_v2_ble": firmware or None}}})
        self.tell(statuses)
        self._ask()

    def _ask(self) -> None:
        if self._pairing is None:
            return
        shadow = self._dialect.shadow(self._pairing)
        if not self._dialect.apart:
            question = json.dumps({"t": CONNECTIONS, "l": CONNECTIONS_LIMIT}).encode()
            self._questions += self._publish(f"{shadow}/get/tf", question)
        else:
            self._publish(f"{shadow}/get", b"")

    # ---- what the account wants -------------------------------------------------------------------------------------

    def hear(self, inbound: Inbound) -> bool:
        """The LTE gateway's part of what comes on the shadow's control topics: True where a message was an answer for it alone."""
        if self._pairing is None or self._dialect.apart:
            return False
        match inbound.topic.removeprefix(self._dialect.shadow(self._pairing)):
            case "/get/accepted/tf" if self._questions:
                return self._answered(inbound)
            case "/update/delta/trim":
                self._heard(inbound)
            case "/update/delta/trim/err":  # larger than is told
                self._ask()
        return False

    def _answered(self, inbound: Inbound) -> bool:
        """The pairing is asked for on the same topic; its answer is an object."""
        try:
            reply = read(ConnectionsReply, inbound.topic, inbound.payload)
        except MalformedMessage:
            return False
        if isinstance(reply.tf, dict):
            return False
        self._questions -= 1
        if reply.err is None:
            self.on_connections(self._listed("desiredConnections", reply.tf))
        else:
            self._count("gateway_malformed")
            log.warning("nRF Cloud does not tell desiredConnections: error %d", reply.err)
        return True

    def _heard(self, inbound: Inbound) -> None:
        """A whole shadow or a delta."""
        try:
            state = read(GatewayShadow, inbound.topic, inbound.payload).state
        except MalformedMessage as error:
            self._count("gateway_malformed")
            log.warning("message of the cloud refused: %s", error)
            return
        whole = inbound.topic.endswith("/get/accepted")
        desired = state.get("desired") if whole else state
        wanted = desired if isinstance(desired, dict) else {}
        if whole or "beacons" in wanted:
            self.on_beacons(self._listed("beacons", wanted.get("beacons")))
        if whole:
            for address in reported_connections(state.get("reported")):
                self._told.setdefault(address, _UNKNOWN)
        if whole or "desiredConnections" in wanted:
            self.on_connections(self._listed("desiredConnections", wanted.get("desiredConnections")))

    def _listed(self, name: str, given: Any) -> tuple[str, ...]:
        found = addresses(given)
        odd = given is not None and (not isinstance(given, list) or len(found) != len(given))
        if odd and self._odd.get(name) != given:  # a delta comes again with each change
            self._odd[name] = given
            self._count("gateway_malformed")
            log.warning("%s in the shadow has entries that are no addresses, too many of them, or some twice", name)
        return found

    # ---- what is reported -------------------------------------------------------------------------------------------

    def tell(self, statuses: Mapping[str, PeerStatus]) -> None:
        """`statusConnections`, as far as it has changed."""
        change = connections_change(self._told, statuses)
        if change and self._report({"statusConnections": change}):
            self._told = dict(statuses)

    def tell_anew(self, statuses: Mapping[str, PeerStatus]) -> None:
        """All of it, whatever the shadow knows."""
        self._told = {address: status for address, status in self._told.items() if address not in statuses}
        self.tell(statuses)

    def _report(self, reported: dict[str, Any]) -> bool:
        if self._pairing is None:
            return False
        update = json.dumps({"state": {"reported": reported}}, separators=(",", ":")).encode()
        return self._publish(f"{self._dialect.shadow(self._pairing)}/update", update)

    def _publish(self, topic: str, payload: bytes) -> bool:
        try:
            self._channel.publish(topic, payload)
        except MqttLost:
            return False  # the next connection tells it
        return True


_UNKNOWN = PeerStatus.model_validate({"id": "", "status": {"connected": False}})  # of somebody else's time


def _nobody(_addresses: tuple[str, ...]) -> None:
    """Before anyone listens."""
