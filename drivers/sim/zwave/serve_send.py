"""Sending to nodes: transmissions with their callbacks and reports. PURE."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave.network import BROADCAST, FLIGHT, RSSI
from drivers.zwave.function_tables import TransmitOption, TransmitStatus
from drivers.zwave.functions import RSSI_NOT_AVAILABLE
from drivers.zwave.layout import Values

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Handler, Stick

JAMMED_AFTER = 0.05  # seconds until the chip gives up on a taken channel
TICK = 0.01  # seconds
_CHANNEL = 1
_SPEED_100K = 3
_POWER = 0


def report(now: float, since: float, repeaters: bytes, *, acked: bool) -> Values:
    """The TX status report of a transmission; `repeaters` are the four bytes of its route."""
    none = RSSI_NOT_AVAILABLE
    ack = RSSI if acked else none
    hops = len(repeaters.rstrip(b"\0"))
    route = {
        "repeater_count": hops,
        "repeater_rssi": ([RSSI] * hops if acked else []) + [none] * (4 - hops if acked else 4),
        "repeaters": repeaters,
        "route_scheme": 1,
        "attempts": 1 if acked else 3,
    }
    radio = {"ack_rssi": ack, "ack_channel": _CHANNEL, "tx_channel": _CHANNEL, "speed": _SPEED_100K}
    failure = {"last_functional_node": 0, "first_failed_node": 0}
    power = {"tx_power": _POWER, "noise": none, "ack_tx_power": none, "ack_destination_rssi": none, "ack_noise": none}
    return {"ticks": max(0, round((now - since) / TICK)), **route, **radio, **failure, **power}


class Transmission:
    """One that the host waits for."""

    def __init__(self, stick: "Stick", name: str, callback_id: int, since: float, node: int = 0) -> None:
        self.stick, self.name, self.callback_id, self.since = stick, name, callback_id, since
        self.repeaters = stick.priority_routes.get(node, (bytes(4), 0))[0]
        self.ended = False
        if callback_id:
            stick.sending[callback_id] = self.abort

    def end(self, acked: bool, now: float) -> None:  # noqa: FBT001  as the network says it
        self.finish(TransmitStatus.OK if acked else TransmitStatus.NO_ACK, now)

    def abort(self, now: float) -> None:
        self.finish(TransmitStatus.NO_ACK, now)

    def finish(self, status: int, now: float) -> None:
        if self.ended:
            return
        self.ended = True
        stick = self.stick
        if not self.callback_id or stick.sending.pop(self.callback_id, None) is None:
            return  # a reset came between
        status = stick.faults["status"].pop() if stick.faults["status"] else status
        values: dict[str, Any] = {"callback_id": self.callback_id, "status": status}
        if stick.tx_reports:
            jammed = status == TransmitStatus.FAIL
            since = now if jammed else self.since
            values["tx_report"] = report(now, since, self.repeaters, acked=status == TransmitStatus.OK)
        stick.call_back(self.name, **values)


def _begin(stick: "Stick", name: str, callback_id: int, now: float, node: int = 0) -> Transmission | None:
    """Whether the chip starts at all: one transmission at a time, and only with its radio on."""
    refused = bool(stick.sending) or not stick.network.radio_on
    if stick.faults["busy"]:
        stick.faults["busy"].pop()
        refused = True
    stick.respond(name, started=int(not refused))
    return None if refused else Transmission(stick, name, callback_id, now, node)


def _singlecast(stick: "Stick", name: str, values: Values, now: float) -> None:
    node, payload = values["node"], values["payload"]
    sending = _begin(stick, name, values["callback_id"], now, node)
    if sending is None:
        return
    network = stick.network
    if network.jammed:
        network.timers.at(now + JAMMED_AFTER, partial(sending.finish, TransmitStatus.FAIL))
    elif node == BROADCAST:
        network.spread(None, payload, now)
        network.timers.at(now + FLIGHT, partial(sending.end, True))
    elif not values["options"] & TransmitOption.ACK:
        network.send(node, payload, now, lambda *_: None)
        network.timers.at(now + FLIGHT, partial(sending.end, True))
    else:
        network.send(node, payload, now, sending.end)


def _multicast(stick: "Stick", name: str, nodes: Iterable[int], values: Values, now: float) -> None:
    sending = _begin(stick, name, values["callback_id"], now)
    if sending is not None:
        stick.network.spread(nodes, values["payload"], now)
        stick.network.timers.at(now + FLIGHT, partial(sending.end, True))


def send_data(stick: "Stick", values: Values, now: float) -> None:
    _singlecast(stick, "SendData", values, now)


def bridge_send_data(stick: "Stick", values: Values, now: float) -> None:
    _singlecast(stick, "BridgeSendData", values, now)


def send_data_multi(stick: "Stick", values: Values, now: float) -> None:
    _multicast(stick, "SendDataMulti", values["nodes"], values, now)


def bridge_send_data_multi(stick: "Stick", values: Values, now: float) -> None:
    _multicast(stick, "BridgeSendDataMulti", values["nodes"], values, now)


def abort(stick: "Stick", _: Values, now: float) -> None:
    for end in list(stick.sending.values()):
        end(now)


def send_information(stick: "Stick", values: Values, now: float) -> None:
    sending = _begin(stick, "SendNodeInformation", values["callback_id"], now)
    if sending is not None:
        stick.network.timers.at(now + FLIGHT, partial(sending.end, True))


SEND: dict[str, "Handler"] = {
    "SendData": send_data,
    "BridgeSendData": bridge_send_data,
    "SendDataMulti": send_data_multi,
    "BridgeSendDataMulti": bridge_send_data_multi,
    "SendDataAbort": abort,
    "SendNodeInformation": send_information,
}
