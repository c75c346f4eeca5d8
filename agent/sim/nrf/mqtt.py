"""nRF Cloud's MQTT plane: shadows with their short forms and transforms, messages, positions, FOTA, gateways, and who is connected. PURE.

Topics: protocol notes, section 2.3. What a device says that does not fit is counted in `ignored` and has no other effect.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from agent.sim.gate.policy import Presence
from agent.sim.iot.shadows import ShadowError, Shadows
from agent.sim.nrf.answers import BAD_REQUEST, NrfError, json_body, object_body
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.gateways import Gateways
from agent.sim.nrf.location import Location
from agent.sim.nrf.mqtt_jobs import MqttJobs
from agent.sim.nrf.mqtt_location import MqttLocation
from agent.sim.nrf.pairing import c2d_topic
from agent.sim.nrf.transform import LIMIT, TOO_LARGE, encoded, transform
from agent.sim.records import Record

log = logging.getLogger(__name__)

FORGOTTEN = {"appId": "DEVICE", "messageType": "DISCON"}

Body = dict[str, Any]


class NrfMqtt:
    """The device plane over `devices` and `gateways`; `publish` sends to devices."""

    def __init__(
        self,
        devices: Devices,
        gateways: Gateways,
        location: Location,
        shadows: Shadows,
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._devices, self._gateways, self._shadows, self._publish = devices, gateways, shadows, publish
        self._location = MqttLocation(location)
        self._jobs = MqttJobs(devices.fota, devices.known, publish)
        self._sessions: dict[str, str] = {}
        self.ignored: Counter[str] = Counter()
        shadows.on_delta = self._delta

    def hear(self, device: str, topic: str, payload: bytes) -> None:
        """A device's message. `topic` is one that the device may use."""
        try:
            with self._devices.transaction():
                self._take(self._devices.known(device), topic, payload)
        except (NrfError, ShadowError, RecursionError) as error:
            self.ignored[topic.rpartition("/")[2]] += 1
            log.warning("%s: %s: %s", device, topic[:200], str(error)[:200])

    def present(self, event: Presence) -> None:
        """A client of the gate has come or gone: its shadow says so. The end of a session that another has replaced does not count."""
        device, status = event.principal.name, "disconnected" if event.reason else "connected"
        if event.client_id != device or (event.reason and self._sessions.get(device) != event.session):
            return
        if event.reason:
            del self._sessions[device]
        else:
            self._sessions[device] = event.session
        connection = {"status": status, "disconnectReason": event.reason or None}
        try:
            with self._devices.transaction():
                self._devices.known(device)
                self._shadows.alter(device, "", {"state": {"reported": {"connection": connection}}})
        except (NrfError, ShadowError) as error:
            log.warning("%s is %s: %s", device, status, error)

    def send(self, device: Record, message: Body) -> None:
        """The account's message to a device."""
        self._tell(c2d_topic(device, self._devices.state(device)["state"]), message)

    def forsake(self, device: Record) -> None:
        """Tell a device that the account has it no more; its shadow is still there."""
        self._gateways.forsake(device)
        self.send(device, FORGOTTEN)

    def _tell(self, topic: str, body: Any) -> None:
        self._publish(topic, json.dumps(body).encode())

    def _take(self, device: Record, topic: str, payload: bytes) -> None:
        name = device["id"]
        match topic.removeprefix(device["prefix"]).split("/"):
            case ["$aws", "things", _, "shadow", operation]:
                self._shadows.request(name, (operation,), payload)
            case [_, "shadow", *words]:
                if words == ["get"] and topic.startswith(device["prefix"]) and device["type"] == "Gateway":
                    self._gateways.hears(device, apart=True)
                self._shadow(device, words, payload)
            case ["m", "d", _, "d2c", *form]:
                self._message(self._devices.find(name), form, payload)
            case [_, "jobs", "req"]:
                self._jobs.request(self._devices.find(name), payload)
            case [_, "jobs", "update"]:
                self._jobs.update(self._devices.find(name), payload)
            case [_, "jobs", "ble", "req"]:
                self._jobs.request_child(self._devices.find(name), payload)
            case [_, "jobs", "ble", "update"]:
                self._jobs.update_child(self._devices.find(name), payload)
            case ["gateways", _, "g2c"]:
                self._gateways.heard(self._devices.find(name), json_body(payload))
            case _:
                raise NrfError(BAD_REQUEST, "nothing listens here")

    # ---- messages ---------------------------------------------------------------------------------------------------

    def _message(self, device: Record, form: list[str], payload: bytes) -> None:
        kind = "".join(f"/{word}" for word in form)
        message = payload if kind == "/bin" else json_body(payload)
        self._devices.keep_message(device, kind, message)
        match message:
            case {"type": "event", "event": {}} if device["type"] == "Gateway" and not form:
                self._gateways.heard(device, message)
            case {"appId": str(service), **rest} if not form:
                answer = self._location.answer(device["id"], service, rest)
                if answer is not None:
                    topic = c2d_topic(device, self._devices.state(device)["state"], service.lower())
                    self._publish(topic, answer)

    # ---- the shadow -------------------------------------------------------------------------------------------------

    def _shadow(self, device: Record, words: list[str], payload: bytes) -> None:
        match words:
            case ["update"]:
                self._shadows.alter(device["id"], "", object_body(payload))
            case ["get", *form] if form in ([], ["trim"]):
                self._get(device, form)
            case ["get", "tf"]:
                self._transform(device, payload)
            case _:
                raise NrfError(BAD_REQUEST, "nothing listens here")

    def _get(self, device: Record, form: list[str]) -> None:
        """The shadow without metadata, and for a gateway the whole of it on its own topic."""
        document = self._devices.state(device)
        short = {**document["state"], "version": document["version"], "timestamp": int(self._devices.now())}
        self._tell("/".join((f"{device['id']}/shadow/get/accepted", *form)), short)
        if device["type"] == "Gateway":
            self._tell(f"{device['prefix']}{device['id']}/shadow/get/accepted", document)

    def _transform(self, device: Record, payload: bytes) -> None:
        match _object(payload):
            case {"t": str(expression), "l": int(limit)} if not isinstance(limit, bool):
                reply = transform(expression, self._devices.state(device), limit)
            case {"t": str(expression), **rest} if "l" not in rest:
                reply = transform(expression, self._devices.state(device), LIMIT)
            case _:
                refused = {"code": 400, "message": 'a transform is {"t": JSONata, "l": bytes}'}
                self._tell(f"{device['id']}/shadow/get/rejected", {**refused, "timestamp": int(self._devices.now())})
                return
        if device["type"] == "Gateway" and "desiredConnections" in expression:
            self._gateways.hears(device, apart=False)
        self._tell(f"{device['id']}/shadow/get/accepted/tf", reply)

    def _delta(self, thing: str, name: str, message: Body) -> None:
        """What AWS IoT tells on `$aws/…/update/delta`, on the topics of nRF Cloud."""
        if name or not self._devices.is_known(thing):
            return
        device, delta = self._devices.known(thing), f"{thing}/shadow/update/delta"
        self._tell(delta, message)
        self._tell(f"{delta}/full", message)
        if device["type"] == "Gateway":
            self._tell(f"{device['prefix']}{delta}", message)
        stamp = {name: message[name] for name in ("version", "timestamp")}
        size = len(encoded({"state": message["state"], **stamp}))
        if size <= LIMIT:
            self._publish(f"{delta}/trim", encoded({"state": message["state"], **stamp}))
        else:
            text = f"the delta has {size} bytes, the limit is {LIMIT}"
            self._tell(f"{delta}/trim/err", {"err": TOO_LARGE, "message": text, **stamp})


def _object(payload: bytes) -> Any:
    try:
        return json_body(payload)
    except NrfError:
        return None
