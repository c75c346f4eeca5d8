"""The location services as MQTT has them: messages whose appId names the service, answered on a topic of its own. PURE.

Shapes: nRF Cloud's application protocols, `ground_fix`, `agnss`, `pgps`. An A-GNSS answer is binary and one message.
"""

import json
from typing import Any

from agent.sim.nrf.answers import INVALID, NrfError
from agent.sim.nrf.location import Location

SERVICES = ("GROUND_FIX", "AGNSS", "PGPS")
_FLAGS = {"doReply": True, "hiConf": False, "fallback": True}


class MqttLocation:
    """Answers over `location`."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def answer(self, device: str, service: str, message: dict[Any, Any]) -> bytes | None:
        """The payload for the device; None for a message of another kind, or when no answer is wanted."""
        if service not in SERVICES or message.get("messageType") != "DATA":
            return None
        head = {"appId": service, "messageType": "DATA"}
        try:
            return self._answer(device, service, head, message)
        except NrfError as error:
            return json.dumps({**head, "err": error.code}).encode()

    def _answer(self, device: str, service: str, head: dict[str, Any], message: dict[Any, Any]) -> bytes | None:
        data = message.get("data")
        if not isinstance(data, dict):
            raise NrfError(INVALID, "data is not an object")
        if service == "AGNSS":
            return self._location.assistance(device, data)
        if service == "PGPS":
            return json.dumps(list(self._location.predictions(data).values())).encode()
        config = message.get("config", {})
        if not isinstance(config, dict):
            raise NrfError(INVALID, "config is not an object")
        wanted = {
            **_FLAGS,
            **{name: data[name] for name in ("doReply",) if name in data},
            **config,
        }  # data is its older place
        if any(not isinstance(wanted[name], bool | int) for name in _FLAGS):
            raise NrfError(INVALID, "doReply, hiConf and fallback are true or false")
        fix = self._location.ground_fix(device, data, fallback=bool(wanted["fallback"]), sure=bool(wanted["hiConf"]))
        return json.dumps({**head, "data": fix.document()}).encode() if wanted["doReply"] else None
