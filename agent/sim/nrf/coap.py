"""nRF Cloud's CoAP plane: a login for each session, state, messages, positions, FOTA and downloads.

PURE but for the records and objects behind it.
Resources, methods and formats: protocol notes, sections 3.6 and 4. Errors are a code and a text.
"""

import json
import math
from typing import Any

from agent.sim.coap import CBOR, JSON, OCTETS, TEXT, Peer, Reply, Request
from agent.sim.iot.shadows import ShadowError
from agent.sim.nrf import cbor
from agent.sim.nrf.answers import BAD_REQUEST, DENIED, NOT_FOUND, NrfError, json_body, object_body
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.fota import shown
from agent.sim.nrf.location import Location
from agent.sim.nrf.location_coap import locate
from agent.sim.nrf.provisioning_coap import CoapProvisioning
from agent.sim.objects import Objects
from agent.sim.records import Record

LOGIN = 30 * 24 * 3600  # seconds
REASON = 200  # characters
CREATED, CHANGED, CONTENT = 201, 204, 205
_INTEGER = 1 << 63
_APP_ID, _DATA, _TIME = 1, 2, 3  # keys of a message in CBOR
_PVT = {4: "lat", 5: "lng", 6: "acc", 7: "spd", 8: "hdg", 9: "alt"}  # and of a position in it
_METHODS = {
    ("auth", "jwt"): "POST",
    ("state",): "GET",
    ("state", "reported"): "PATCH",
    ("state", "desired"): "PATCH",
    ("msg", "d2c"): "POST",
    ("msg", "d2c", "bulk"): "POST",
    ("msg", "d2c", "raw"): "POST",
    ("msg", "d2c", "bin"): "POST",
    ("loc", "ground-fix"): "FETCH",
    ("loc", "agnss"): "FETCH",
    ("loc", "pgps"): "FETCH",
    ("proxy",): "GET",
}


class NrfCoap:
    """The device plane over `devices`; downloads are those of `objects` and nothing else."""

    def __init__(self, devices: Devices, objects: Objects, location: Location, provisioning: CoapProvisioning) -> None:
        self._devices, self._objects, self._location = devices, objects, location
        self._provisioning = provisioning

    def serve(self, request: Request, peer: Peer) -> Reply:
        """Answer one request."""
        try:
            with self._devices.transaction():
                return self._answer(request, peer)
        except NrfError as error:
            return Reply(error.status, str(error)[:REASON].encode())
        except ShadowError as error:
            return Reply(error.code, str(error)[:REASON].encode())
        except RecursionError:
            return Reply(400, b"the body has too many levels")

    def _answer(self, request: Request, peer: Peer) -> Reply:
        if request.path == ("auth", "jwt") and request.method == "POST":
            return self._login(request, peer)
        if request.path[:1] == ("p",):
            return self._provisioning.serve(request, peer)
        if not peer.identity or peer.until <= self._devices.now():
            raise NrfError(DENIED, "log in with auth/jwt first")
        if request.path[:2] == ("fota", "exec"):
            return self._job(request, peer)
        wanted = _METHODS.get(request.path)
        if wanted is None:
            raise NrfError(NOT_FOUND, "nothing is here")
        if request.method != wanted:
            raise NrfError(40500, f"the method here is {wanted}")
        if request.path[0] == "loc":
            return self._locate(request, peer)
        if request.path == ("proxy",):  # files that are there for everybody over HTTP too
            return self._download(request)
        return self._of_device(self._devices.find(peer.identity), request)

    def _of_device(self, device: Record, request: Request) -> Reply:
        match request.path:
            case ("state",):
                return self._state(device, request)
            case ("state", section):
                _format(request, JSON)
                self._devices.change_state(device, {section: object_body(request.body)})
                return Reply(CHANGED)
            case ("msg", _, *form):
                self._devices.keep_message(device, "".join(f"/{word}" for word in form), _message(request))
                return Reply(CREATED)
        raise NrfError(NOT_FOUND, "nothing is here")

    def _login(self, request: Request, peer: Peer) -> Reply:
        _format(request, TEXT)
        try:
            peer.identity = self._devices.who(request.body.decode())
        except (NrfError, UnicodeDecodeError) as error:
            raise NrfError(DENIED, str(error), status=403) from None
        peer.until = self._devices.now() + LOGIN
        return Reply(CREATED, max_age=LOGIN)

    def _state(self, device: Record, request: Request) -> Reply:
        """What is desired and not yet reported, or all that is desired; an empty payload when there is none."""
        everything = request.query.get("delta") == "false"
        state = self._devices.state(device)["state"].get("desired", {}) if everything else self._devices.delta(device)
        if request.accept == CBOR:
            return Reply(CONTENT, cbor.dumps(state) if state else b"", CBOR)
        _acceptable(request)
        return Reply(CONTENT, json.dumps(state, separators=(",", ":")).encode() if state else b"", JSON)

    def _job(self, request: Request, peer: Peer) -> Reply:
        device = self._devices.find(peer.identity)["id"]
        match request.method, request.path[2:]:
            case "GET", ("current",):
                _acceptable(request)
                found = self._devices.fota.current(device, request.query.get("firmwareType", ""))
                return Reply(CONTENT, json.dumps(shown(found), separators=(",", ":")).encode(), JSON)
            case "PATCH", (job,):
                _format(request, JSON)
                self._devices.fota.update(device, job, object_body(request.body))
                return Reply(CHANGED)
            case _, (_,):
                raise NrfError(40500, "the methods here are GET current and PATCH <jobId>")
        raise NrfError(NOT_FOUND, "nothing is here")

    def _locate(self, request: Request, peer: Peer) -> Reply:
        """For devices that are onboarded, and for those of which a key is known and nothing else."""
        _format(request, CBOR)
        body = cbor.loads(request.body) if request.body else {}
        found = locate(self._location, peer.identity, request.path[1], body, request.query)
        if isinstance(found, bytes):
            return Reply(CONTENT, found, OCTETS)
        return Reply(CONTENT, b"" if found is None else cbor.dumps(found), CBOR)

    def _download(self, request: Request) -> Reply:
        if not request.proxy_uri:
            raise NrfError(BAD_REQUEST, "a Proxy-Uri says what to fetch")
        own = self._objects.own(request.proxy_uri)
        if own is None:
            raise NrfError(40300, "only the files of this cloud can be fetched")
        content = self._objects.read(own)
        if content is None:
            raise NrfError(NOT_FOUND, "there is no such file")
        return Reply(CONTENT, content)


def _format(request: Request, *allowed: int) -> None:
    if request.content_format not in (None, *allowed):
        raise NrfError(41500, f"the content format is none of {', '.join(map(str, allowed))}")


def _acceptable(request: Request) -> None:
    if request.accept not in (None, JSON):
        raise NrfError(40600, "the content is JSON")


def _message(request: Request) -> Any:
    """What a message is kept as: JSON as it came, CBOR as the JSON that it stands for, octets in base64. Raises NrfError."""
    match request.path[2:]:
        case ("raw",) | ("bin",):
            return request.body
        case ("bulk",):
            _format(request, JSON)
            return json_body(request.body)
    _format(request, JSON, CBOR)
    return _from_cbor(request.body) if request.content_format == CBOR else object_body(request.body)


def _from_cbor(body: bytes) -> dict[str, Any]:
    found = cbor.loads(body)
    if not isinstance(found, dict) or not {_APP_ID, _DATA} <= found.keys() <= {_APP_ID, _DATA, _TIME}:
        raise NrfError(BAD_REQUEST, "the body is a map of 1 (appId), 2 (data) and perhaps 3 (ts)")
    message = {"appId": found[_APP_ID], "messageType": "DATA", "data": _data(found[_DATA])}
    if not isinstance(message["appId"], str):
        raise NrfError(BAD_REQUEST, "1 (appId) is a text")
    if _TIME in found:
        if not isinstance(found[_TIME], int) or not 0 <= found[_TIME] < _INTEGER:
            raise NrfError(BAD_REQUEST, "3 (ts) is the milliseconds since 1970")
        message["ts"] = found[_TIME]
    return message


def _data(value: Any) -> Any:
    if isinstance(value, str) or _is_number(value):
        return value
    if isinstance(value, dict) and value.keys() <= _PVT.keys() and all(map(_is_number, value.values())):
        return {_PVT[key]: number for key, number in value.items()}
    raise NrfError(BAD_REQUEST, "2 (data) is a text, a number or a position")


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -_INTEGER <= value < _INTEGER
