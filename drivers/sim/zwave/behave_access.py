"""What locks and keypads do with their commands (SDS13781). PURE.

Values: lock (a door lock mode), door (closed), lock.config, user/<number> ([status, code in hex]), keypad_mode, log (of events).
"""

import binascii
from functools import partial

from drivers.sim.zwave.behave_sensors import notification_report
from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.zwave.codec import Command
from drivers.zwave.commands.access import DoorLockMode, UserIdStatus

ACCESS_CONTROL = 6  # the notification type
LOCKED_BY_RADIO, UNLOCKED_BY_RADIO = 3, 4
_NO_TIMEOUT = 0xFE
_TIMED, _CONSTANT = 2, 1  # operation types
_MODES = (0x00, 0x01, 0xFF)
_CRC_START = 0x1D0F
_DIGITS = b"0123456789"
_SHORTEST, _LONGEST = 4, 10
_LOG_SIZE = 20


def _config(place: Place) -> dict[str, int]:
    default = {"operation_type": _CONSTANT, "timeout_minutes": _NO_TIMEOUT, "timeout_seconds": _NO_TIMEOUT}
    config: dict[str, int] = {**default, **place.values.get("lock.config", {})}
    return config


def lock_report(place: Place) -> Command:
    mode = place.values["lock"]
    config = _config(place)
    secured = mode == DoorLockMode.SECURED
    values = {"mode": mode, "outside_handles": 0 if secured else 0x0F, "inside_handles": 0x0F}
    closed = place.values["door"]
    door = {"latch_closed": closed, "bolt_unlocked": not secured, "door_closed": closed}
    timeout = {key: config[key] for key in ("timeout_minutes", "timeout_seconds")}
    return Command("Door Lock Operation Report", {**values, **door, **timeout, "target_mode": mode, "duration": 0})


def lock_get(place: Place, _: Command, _now: float) -> Result:
    return [lock_report(place)]


def lock_set(place: Place, command: Command, now: float) -> Result:
    mode = int(command["mode"])
    if mode not in _MODES:
        return False
    operate(place, mode, LOCKED_BY_RADIO if mode == DoorLockMode.SECURED else UNLOCKED_BY_RADIO, now)
    return True


def operate(place: Place, mode: int, event: int, now: float) -> None:
    """The bolt moves: the lifeline hears of it, and the log keeps it."""
    place.values["lock"] = mode
    log = place.values.setdefault("log", [])
    log.append(event)
    del log[:-_LOG_SIZE]
    place.report(lock_report(place), now)
    if ACCESS_CONTROL in place.part.notifications:
        place.values[f"notification/{ACCESS_CONTROL}"] = event
        place.report(notification_report(ACCESS_CONTROL, event), now)
    config = _config(place)
    if mode == DoorLockMode.UNSECURED_WITH_TIMEOUT and config["operation_type"] == _TIMED:
        seconds = config["timeout_minutes"] * 60 + config["timeout_seconds"]
        place.node.timers.at(now + seconds, partial(_relock, place))


def _relock(place: Place, now: float) -> None:
    if place.values["lock"] == DoorLockMode.UNSECURED_WITH_TIMEOUT:
        operate(place, DoorLockMode.SECURED, LOCKED_BY_RADIO, now)


def lock_configuration_get(place: Place, _: Command, _now: float) -> Result:
    handles = {"outside_handles": 0x0F, "inside_handles": 0x0F}
    newer = {"auto_relock_seconds": 0, "hold_and_release_seconds": 0, "block_to_block": False, "twist_assist": False}
    return [Command("Door Lock Configuration Report", {**handles, **newer, **_config(place)})]


def lock_configuration_set(place: Place, command: Command, _now: float) -> Result:
    if command["operation_type"] not in (_CONSTANT, _TIMED):
        return False
    keys = ("operation_type", "timeout_minutes", "timeout_seconds")
    place.values["lock.config"] = {key: command[key] for key in keys}
    return True


def lock_capabilities(_place: Place, _: Command, _now: float) -> Result:
    values = {
        "operation_types": [_CONSTANT, _TIMED],
        "modes": bytes(_MODES),
        "outside_handles": 0x0F,
        "inside_handles": 0x0F,
    }
    return [Command("Door Lock Capabilities Report", {**values, "bolt": True, "door": True})]


def log_supported(_place: Place, _: Command, _now: float) -> Result:
    return [Command("Door Lock Logging Records Supported Report", {"records": _LOG_SIZE})]


def log_get(place: Place, command: Command, _now: float) -> Result:
    log = place.values.get("log", [])
    number = command["record"] or 1
    there = 0 < number <= len(log)
    when = {"year": 2026, "month": 1, "day": 1, "hour": 12, "minute": number % 60, "second": 0}
    what = {"record": number, "status": int(there), "event": log[-number] if there else 0, "user": 0, "code": b""}
    return [Command("Door Lock Logging Record Report", {**when, **what})]


# ---- User Code ------------------------------------------------------------------------------------------------------------


def _user(place: Place, number: int) -> tuple[int, bytes]:
    if not 0 < number <= place.part.users:
        return UserIdStatus.NOT_AVAILABLE, b""
    status, code = place.values.get(f"user/{number}", [UserIdStatus.AVAILABLE, ""])
    return status, bytes.fromhex(code)


def user_report(place: Place, number: int) -> Command:
    status, code = _user(place, number)
    return Command("User Code Report", {"user": number, "status": status, "code": code or bytes(4)})


def user_get(place: Place, command: Command, _now: float) -> Result:
    return [user_report(place, command["user"])]


def _taken(place: Place, number: int, status: int, code: bytes, now: float) -> bool:
    """Whether a user was changed."""
    if status == UserIdStatus.AVAILABLE:
        numbers = [number] if number else range(1, place.part.users + 1)
        for user in numbers:
            place.values.pop(f"user/{user}", None)
        return True
    others = [_user(place, user)[1] for user in range(1, place.part.users + 1) if user != number]
    wrong = not _SHORTEST <= len(code) <= _LONGEST or set(code) - set(_DIGITS) or code in others
    if not 0 < number <= place.part.users or wrong:
        return False
    place.values[f"user/{number}"] = [int(status), code.hex()]
    if place.classes[0x63] == 1:
        place.report(user_report(place, number), now)
    return True


def user_set(place: Place, command: Command, now: float) -> Result:
    return _taken(place, command["user"], command["status"], command["code"], now)


def users_number(place: Place, _: Command, _now: float) -> Result:
    return [Command("User Code Users Number Report", {"users_8bit": place.part.users, "users": place.part.users})]


def user_capabilities(_place: Place, _: Command, _now: float) -> Result:
    flags = {"admin_code": False, "checksum": True, "multiple_report": True, "multiple_set": True}
    masks = {"statuses": [0, 1, 2], "keypad_modes": [0, 1], "characters": list(_DIGITS)}
    return [Command("User Code Capabilities Report", {**flags, **masks})]


def keypad_get(place: Place, _: Command, _now: float) -> Result:
    return [Command("User Code Keypad Mode Report", {"mode": place.values.get("keypad_mode", 0)})]


def keypad_set(place: Place, command: Command, now: float) -> Result:
    if command["mode"] > 1:
        return False
    place.values["keypad_mode"] = command["mode"]
    place.report(Command("User Code Keypad Mode Report", {"mode": command["mode"]}), now)
    return True


def users_set(place: Place, command: Command, now: float) -> Result:
    done = [
        _taken(place, entry["user"], entry["status"], entry["code"].encode("latin-1"), now)
        for entry in command["codes"]
    ]
    return all(done)


def users_get(place: Place, command: Command, _now: float) -> Result:
    used = sorted(int(key.removeprefix("user/")) for key in place.values if key.startswith("user/"))
    wanted = command["user"]
    numbers = [wanted, *(number for number in used if number > wanted)][: 3 if command["report_more"] else 1]
    codes = [
        {"user": number, "status": status, "code": code.decode("latin-1")}
        for number in numbers
        for status, code in [_user(place, number)]
    ]
    following = next((number for number in used if number > numbers[-1]), 0)
    return [Command("User Code Extended Report", {"codes": codes, "next_user": following})]


def user_checksum(place: Place, _: Command, _now: float) -> Result:
    data = b""
    for number in range(1, place.part.users + 1):
        status, code = _user(place, number)
        if status != UserIdStatus.AVAILABLE:
            data += number.to_bytes(2, "big") + bytes((status,)) + code
    checksum = binascii.crc_hqx(data, _CRC_START) if data else 0
    return [Command("User Code Checksum Report", {"checksum": checksum})]


# ---- Protection, Entry Control --------------------------------------------------------------------------------------------


def protection_report(place: Place) -> Command:
    local, rf = place.values["protection"]
    return Command("Protection Report", {"local": local, "rf": rf})


def protection_get(place: Place, _: Command, _now: float) -> Result:
    return [protection_report(place)]


def protection_set(place: Place, command: Command, now: float) -> Result:
    local, rf = command["local"], command.get("rf", 0)
    if local > 2 or rf > 1:  # noqa: PLR2004  2: no operation possible
        return False
    place.values["protection"] = [local, rf]
    place.report(protection_report(place), now)
    return True


def protection_supported(_place: Place, _: Command, _now: float) -> Result:
    values = {"exclusive_control": False, "timeout": False, "local_states": [0, 1, 2], "rf_states": [0, 1]}
    return [Command("Protection Supported Report", values)]


def entry_keys(_place: Place, _: Command, _now: float) -> Result:
    return [Command("Entry Control Key Supported Report", {"keys": list(_DIGITS)})]


def entry_events(_place: Place, _: Command, _now: float) -> Result:
    sizes = {"min_cache_size": 4, "max_cache_size": 10, "min_cache_timeout": 1, "max_cache_timeout": 10}
    return [Command("Entry Control Event Supported Report", {"data_types": [2], "events": [0, 2, 3, 5], **sizes})]


def entry_get(place: Place, _: Command, _now: float) -> Result:
    size, timeout = place.values["entry.config"]
    return [Command("Entry Control Configuration Report", {"key_cache_size": size, "key_cache_timeout": timeout})]


def entry_set(place: Place, command: Command, _now: float) -> Result:
    size, timeout = command["key_cache_size"], command["key_cache_timeout"]
    if not _SHORTEST <= size <= _LONGEST or not 1 <= timeout <= _LONGEST:
        return False
    place.values["entry.config"] = [size, timeout]
    return True


BEHAVIOURS: dict[str, Behaviour] = {
    "Door Lock Operation Get": lock_get,
    "Door Lock Operation Set": lock_set,
    "Door Lock Configuration Get": lock_configuration_get,
    "Door Lock Configuration Set": lock_configuration_set,
    "Door Lock Capabilities Get": lock_capabilities,
    "Door Lock Logging Records Supported Get": log_supported,
    "Door Lock Logging Record Get": log_get,
    "User Code Set": user_set,
    "User Code Get": user_get,
    "User Code Users Number Get": users_number,
    "User Code Capabilities Get": user_capabilities,
    "User Code Keypad Mode Get": keypad_get,
    "User Code Keypad Mode Set": keypad_set,
    "User Code Extended Set": users_set,
    "User Code Extended Get": users_get,
    "User Code Checksum Get": user_checksum,
    "Protection Get": protection_get,
    "Protection Set": protection_set,
    "Protection Supported Get": protection_supported,
    "Entry Control Key Supported Get": entry_keys,
    "Entry Control Event Supported Get": entry_events,
    "Entry Control Configuration Get": entry_get,
    "Entry Control Configuration Set": entry_set,
}
