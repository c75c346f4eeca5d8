"""Device shadows, classic and named: get, update and delete over MQTT, versions, deltas and the errors that AWS IoT answers with.

Topics, documents and errors: AWS IoT developer guide, "Device Shadow MQTT topics", "Device Shadow service documents", "error messages".
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from agent.sim.exchange import read_json
from agent.sim.records import Record, Records

DOCUMENT = 8192  # bytes of state, without metadata
DEPTH = 8
TOKEN = 64  # bytes of a clientToken
RATE = 20  # requests a second for one shadow
PARTS = ("desired", "reported")
_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")

Body = dict[str, Any]
Publish = Callable[[str, Body], None]


class ShadowError(Exception):
    """A request that ends in `…/rejected`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Shadows:
    """Shadows in the records of kind `shadow`, by thing and name; the classic one has an empty name.

    `on_delta(thing, name, message)` is told every message on `…/update/delta`.
    """

    def __init__(self, records: Records, now: Callable[[], float], publish: Publish) -> None:
        self._records = records
        self._now = now
        self._publish = publish
        self._lately: dict[str, deque[float]] = {}
        self.on_delta: Callable[[str, str, Body], None] = lambda _thing, _name, _message: None

    def request(self, thing: str, words: tuple[str, ...], payload: bytes) -> None:
        """Answer `$aws/things/<thing>/shadow/[name/<shadow>/]get|update|delete`."""
        name = words[1] if words[:1] == ("name",) and len(words) > 1 else ""
        operation = words[-1] if words else ""
        if len(words) != (3 if name else 1):
            return
        prefix = _prefix(thing, name)
        token: Body = {}
        try:
            self._pace(f"{thing}/{name}")
            if name and not _NAME.fullmatch(name):
                raise ShadowError(400, "Invalid shadow name: 1 to 64 letters, digits, and $ : _ -")
            body = _body(payload) if operation == "update" else {}
            token = _token(body)
            answer = self._do(operation, thing, name, body)
        except ShadowError as error:
            refused: Body = {"code": error.code, "message": str(error), "timestamp": int(self._now()), **token}
            self._publish(f"{prefix}/{operation}/rejected", refused)
            return
        if answer is not None:
            self._publish(f"{prefix}/{operation}/accepted", {**answer, "timestamp": int(self._now()), **token})

    def _do(self, operation: str, thing: str, name: str, body: Body) -> Body | None:
        if operation == "get":
            return _whole(self._need(thing, name))
        if operation == "delete":
            return self._delete(thing, name)
        if operation == "update":
            return self._update(thing, name, body)
        return None

    def _pace(self, key: str) -> None:
        lately = self._lately.setdefault(key, deque())
        while lately and lately[0] <= self._now() - 1:
            lately.popleft()
        if len(lately) >= RATE:
            raise ShadowError(429, "Too many requests")
        lately.append(self._now())

    def _need(self, thing: str, name: str) -> Record:
        shadow = self._records.get("shadow", f"{thing}/{name}")
        if shadow is None or shadow.get("deleted"):
            raise ShadowError(404, f"No shadow exists with name: '{name or thing}'")
        return shadow

    def _delete(self, thing: str, name: str) -> Body:
        """The version is kept: a shadow that is made again goes on from it."""
        shadow = self._need(thing, name)
        kept = {"version": shadow["version"], "deleted": True, "state": {}, "metadata": {}}
        self._records.put("shadow", f"{thing}/{name}", kept)
        return {"version": shadow["version"]}

    def alter(self, thing: str, name: str, body: Body) -> Record:
        """Do an update request's change and tell it, as `…/update/delta` and `…/update/documents`. Raises ShadowError."""
        given, token = _state(body), _token(body)
        before, after = self.change(thing, name, body)
        self._tell(thing, name, before, after, token, desired="desired" in given)
        return after

    def forget(self, thing: str) -> None:
        """Drop the classic shadow of a thing that is no more."""
        self._records.delete("shadow", f"{thing}/")

    def _update(self, thing: str, name: str, body: Body) -> Body:
        given, after = _state(body), self.alter(thing, name, body)
        stamps = {part: _stamps(value, int(self._now())) for part, value in given.items() if value is not None}
        return {"state": given, "metadata": stamps, "version": after["version"]}

    def document(self, thing: str, name: str) -> Body:
        """State, metadata and version of a shadow, empty when there is none."""
        return _document(self._held(thing, name))

    def delta(self, thing: str, name: str) -> Body:
        """What a shadow has desired and not reported so."""
        state = self._held(thing, name)["state"]
        return _delta(state.get("desired", {}), state.get("reported", {}))

    def _held(self, thing: str, name: str) -> Record:
        return self._records.get("shadow", f"{thing}/{name}") or {"version": 0, "state": {}, "metadata": {}}

    def change(self, thing: str, name: str, body: Body) -> tuple[Record, Record]:
        """Keep an update request's change, without telling anybody; before and after. Raises ShadowError."""
        given, before, now = _state(body), self._held(thing, name), int(self._now())
        wanted = body.get("version")
        if wanted is not None and wanted != before["version"]:
            raise ShadowError(409, "Version conflict")
        after: Record = {"version": before["version"] + 1, "state": {}, "metadata": {}}
        for part in PARTS:
            state, stamps = before["state"].get(part, {}), before["metadata"].get(part, {})
            if part in given:
                state, stamps = _merged(state, stamps, given[part] or {}, now) if given[part] is not None else ({}, {})
            if state:
                after["state"][part], after["metadata"][part] = state, stamps
        if len(json.dumps(after["state"], separators=(",", ":")).encode()) > DOCUMENT:
            raise ShadowError(413, "The payload exceeds the maximum size allowed")
        self._records.put("shadow", f"{thing}/{name}", after)
        return before, after

    def _tell(self, thing: str, name: str, before: Record, after: Record, token: Body, *, desired: bool) -> None:
        now, prefix = int(self._now()), _prefix(thing, name)
        delta = _delta(after["state"].get("desired", {}), after["state"].get("reported", {}))
        changed = delta != _delta(before["state"].get("desired", {}), before["state"].get("reported", {}))
        if delta and (desired or changed):
            stamps = _at(after["metadata"].get("desired", {}), delta)
            body = {"state": delta, "metadata": stamps, "version": after["version"], "timestamp": now, **token}
            self._publish(f"{prefix}/update/delta", body)
            self.on_delta(thing, name, body)
        documents = {name: _document(shadow) for name, shadow in (("previous", before), ("current", after))}
        self._publish(f"{prefix}/update/documents", {**documents, "timestamp": now, **token})


def _prefix(thing: str, name: str) -> str:
    return f"$aws/things/{thing}/shadow" + (f"/name/{name}" if name else "")


def _document(shadow: Record) -> Body:
    return {name: shadow[name] for name in ("state", "metadata", "version")}


def _whole(shadow: Record) -> Body:
    document = _document(shadow)
    delta = _delta(shadow["state"].get("desired", {}), shadow["state"].get("reported", {}))
    return {**document, "state": {**document["state"], "delta": delta}} if delta else document


def _body(payload: bytes) -> Body:
    if len(payload) > 2 * DOCUMENT:
        raise ShadowError(413, "The payload exceeds the maximum size allowed")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise ShadowError(415, "Unsupported documented encoding; supported encoding is UTF-8") from None
    try:
        body = read_json(text.encode())
    except (ValueError, RecursionError):
        raise ShadowError(400, "Invalid JSON") from None
    if not isinstance(body, dict):
        raise ShadowError(400, "Invalid JSON")
    return body


def _token(body: Body) -> Body:
    token = body.get("clientToken")
    if token is None:
        return {}
    if not isinstance(token, str) or len(token.encode()) > TOKEN:
        raise ShadowError(400, f"Invalid clientToken: at most {TOKEN} bytes")
    return {"clientToken": token}


def _state(body: Body) -> dict[str, Any]:
    """The sections that a request changes: each an object, or None to clear it."""
    state = body.get("state")
    if "state" not in body:
        raise ShadowError(400, "Missing required node: state")
    if not isinstance(state, dict):
        raise ShadowError(400, "State node must be an object")
    given = {part: state[part] for part in PARTS if part in state}
    if not all(value is None or isinstance(value, dict) for value in given.values()):
        raise ShadowError(400, "Desired and reported nodes must be objects")
    if any(_is_deeper(value, DEPTH) for value in given.values()):
        raise ShadowError(400, f"JSON contains too many levels of nesting; maximum is {DEPTH}")
    version = body.get("version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise ShadowError(400, "Invalid version")
    return given


def _is_deeper(value: Any, levels: int) -> bool:
    """True for objects and lists in each other on more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(entry, levels - 1) for entry in inner)


def _merged(state: Body, stamps: Body, given: Mapping[str, Any], now: int) -> tuple[Body, Body]:
    """State and metadata after an update: null deletes, objects merge, all else is replaced."""
    state, stamps = dict(state), dict(stamps)
    for key, value in given.items():
        if value is None:
            state.pop(key, None)
            stamps.pop(key, None)
        elif isinstance(value, dict):
            goes_on = isinstance(state.get(key), dict)
            held, known = (state[key], stamps.get(key, {})) if goes_on else ({}, {})
            state[key], stamps[key] = _merged(held, known, value, now)
            if not state[key]:
                del state[key], stamps[key]
        else:
            state[key], stamps[key] = value, _stamps(value, now)
    return state, stamps


def _stamps(value: Any, now: int) -> Any:
    if isinstance(value, dict):
        return {key: _stamps(entry, now) for key, entry in value.items()}
    if isinstance(value, list):
        return [_stamps(entry, now) for entry in value]
    return {"timestamp": now}


def _delta(desired: Mapping[str, Any], reported: Mapping[str, Any]) -> Body:
    """What is desired and not reported so; what is only reported does not count."""
    delta: Body = {}
    for key, value in desired.items():
        held = reported.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            inside = _delta(value, held)
            if inside:
                delta[key] = inside
        elif key not in reported or value != held:
            delta[key] = value
    return delta


def _at(stamps: Any, shape: Any) -> Any:
    """The metadata of what `shape` holds."""
    if isinstance(shape, dict) and isinstance(stamps, dict):
        return {key: _at(stamps.get(key, {}), value) for key, value in shape.items()}
    return stamps
