"""The hub's data as rows of the store, and back. PURE."""

import json
from dataclasses import asdict
from typing import Any

from agent.clock import Moment
from agent.home import NOT_IN_THIS_RUN, DeviceRecord
from agent.model import Action, Capability, Device, DeviceId, Endpoint
from agent.requests import FinishCommand, Kind, Message, SaveCommand
from agent.store import DROP_OUTBOX, PUT_OUTBOX, Statement

PUT_DEVICE = "INSERT OR REPLACE INTO devices VALUES (?, ?)"
DROP_DEVICE = "DELETE FROM devices WHERE id = ?"
PUT_STATE = "INSERT OR REPLACE INTO state VALUES (?, ?)"
DROP_STATE = "DELETE FROM state WHERE id = ?"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_COMMAND = "INSERT OR REPLACE INTO commands VALUES (?, ?, ?, ?)"
FORGET_COMMANDS = "DELETE FROM commands WHERE status = 'ended' AND at < ?"

_COLUMNS = "id, uplink, lane, kind, device, trace_id, body, wall, quality, boot, mono"
READ_OUTBOX = f"SELECT {_COLUMNS} FROM outbox WHERE uplink = ? AND lane = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608  constants


def put_outbox(messages: list[Message]) -> Statement:
    rows = [
        (m.id, m.uplink, m.lane, str(m.kind), m.device, m.trace_id, _json(m.body), m.wall, m.quality, m.boot, m.mono)
        for m in messages
    ]
    return Statement(PUT_OUTBOX, rows)


def drop_outbox(uplink: str, keys: list[tuple[int, int]]) -> Statement:
    """`keys` are (lane, id)."""
    return Statement(DROP_OUTBOX, [(uplink, lane, identifier) for lane, identifier in keys])


def message(row: tuple[Any, ...]) -> Message:
    identifier, uplink, _lane, kind, device, trace_id, body, wall, quality, boot, mono = row
    return Message(identifier, uplink, Kind(kind), device, trace_id, json.loads(body), wall, quality, boot, mono)


def put_device(record: DeviceRecord) -> Statement:
    data = {
        "device": asdict(record.device),
        "managed_thing_id": record.managed_thing_id,
        "quarantined": record.quarantined,
        "joined_at": record.joined_at,
    }
    return Statement(PUT_DEVICE, [(str(record.device.id), _json(data))])


def put_state(records: list[DeviceRecord]) -> Statement:
    rows = []
    for record in records:
        values = [(*key, value, changed) for key, (value, changed, _) in record.state.items()]
        rows.append((str(record.device.id), _json(values)))
    return Statement(PUT_STATE, rows)


def forget_device(device: DeviceId) -> list[Statement]:
    return [Statement(DROP_DEVICE, [(str(device),)]), Statement(DROP_STATE, [(str(device),)])]


def device_record(text: str, state: str | None) -> DeviceRecord:
    """A device as it was saved; `state` is its row of the state table, if there is one."""
    data = json.loads(text)
    fields = data.pop("device")
    fields["id"] = DeviceId(**fields["id"])
    fields["unmapped"] = tuple(fields["unmapped"])
    fields["endpoints"] = tuple(
        Endpoint(e["id"], tuple(e["device_types"]), tuple(_capability(c) for c in e["capabilities"]))
        for e in fields["endpoints"]
    )
    record = DeviceRecord(Device(**fields), **data)
    for endpoint, capability, name, value, changed in json.loads(state or "[]"):
        record.state[(endpoint, capability, name)] = (value, changed, NOT_IN_THIS_RUN)
    return record


def _capability(data: dict[str, Any]) -> Capability:
    lists = {name: tuple(data[name]) for name in ("properties", "actions", "events")}
    return Capability(data["id"], data["name"], data["version"], **lists)


def put_command(saved: SaveCommand) -> Statement:
    data = {
        "device": asdict(saved.device),
        "ref": saved.ref,
        "actions": [asdict(action) for action in saved.actions],
        "source": saved.source,
        "deadline": saved.deadline,
    }
    return Statement(PUT_COMMAND, [(saved.trace_id, saved.status, _json(data), saved.received_at)])


def end_command(ended: FinishCommand) -> Statement:
    return Statement(PUT_COMMAND, [(ended.trace_id, "ended", "", ended.finished_at)])


def command(trace_id: str, status: str, text: str, received: float) -> SaveCommand:
    data = json.loads(text)
    device, actions = DeviceId(**data["device"]), tuple(Action(**action) for action in data["actions"])
    return SaveCommand(trace_id, device, data["ref"], actions, status, data["source"], received, data["deadline"])


def put_meta(key: str, value: str) -> Statement:
    return Statement(PUT_META, [(key, value)])


def stamp(identifier: int, uplink: str, kind: Kind, device: str, trace_id: str, body: Any, now: Moment) -> Message:
    """A message of `now`."""
    return Message(identifier, uplink, kind, device, trace_id, body, now.wall, now.quality, now.boot, now.mono)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def forget_commands(before: float) -> Statement:
    """Ended commands older than wall second `before`."""
    return Statement(FORGET_COMMANDS, [(before,)])
