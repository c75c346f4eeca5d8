"""Rows of locks: Door Lock, Lock, the keypad's mode, and what notifications tell of locks. PURE."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.driver import NotSupported
from drivers.zwave.catalog_types import Act, Event, Place, Said, ZWaveEndpoint, ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command
from drivers.zwave.commands.access import DoorLockMode

DOOR_LOCK, LOCK, USER_CODE = 0x62, 0x76, 0x63
NOT_FULLY_LOCKED, LOCKED, UNLOCKED = 0, 1, 2  # LockState
ACCESS_CONTROL = 0x06  # type of Notification

# Access Control event -> LockOperationType (0 lock, 1 unlock), OperationSource (1 manual, 3 keypad, 4 auto, 7 remote)
OPERATIONS: Mapping[int, tuple[int, int]] = {
    0x01: (0, 1),
    0x02: (1, 1),
    0x03: (0, 7),
    0x04: (1, 7),
    0x05: (0, 3),
    0x06: (1, 3),
    0x09: (0, 4),
    0x21: (0, 3),
    0x22: (1, 3),
}
STUCK = frozenset({0x07, 0x08, 0x0A})  # "not fully locked"
ALARMS = {0x0B: 0, 0x10: 4, 0x13: 4}  # -> AlarmCode: 0 jammed, 4 too many wrong codes
_USER_CODE_REPORT = bytes((USER_CODE, 0x03))
_MODES = {
    DoorLockMode.SECURED: LOCKED,
    DoorLockMode.UNKNOWN: None,
    **dict.fromkeys(
        (
            DoorLockMode.UNSECURED,
            DoorLockMode.UNSECURED_WITH_TIMEOUT,
            DoorLockMode.INSIDE_UNSECURED,
            DoorLockMode.INSIDE_UNSECURED_WITH_TIMEOUT,
            DoorLockMode.OUTSIDE_UNSECURED,
            DoorLockMode.OUTSIDE_UNSECURED_WITH_TIMEOUT,
        ),
        UNLOCKED,
    ),
}
KEYPAD_MODES = {0: 0, 1: 1, 2: 2}  # normal, vacation, privacy: the same numbers in OperatingMode; "locked out" has none


def has_door(endpoint: ZWaveEndpoint) -> bool:
    """Whether the lock senses its door; before version 4 it cannot say so, and most do not."""
    return endpoint.facts.lock is not None and endpoint.facts.lock.door


def can_relock(endpoint: ZWaveEndpoint) -> bool:
    found = endpoint.facts.lock
    return found is not None and found.auto_relock and endpoint.facts.lock_configuration is not None


def has_keypad_modes(endpoint: ZWaveEndpoint) -> bool:
    return len((endpoint.facts.keypad_modes or frozenset()) & KEYPAD_MODES.keys()) > 1


# ---- Door Lock --------------------------------------------------------------------------------------------------------------


def lock_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    fills = ("LockState", "DoorState") if has_door(endpoint) else ("LockState",)
    return (ZWaveGet(endpoint.id, Command("Door Lock Operation Get"), "Door Lock Operation Report", {}, fills),)


def lock_told(command: Command, place: Place) -> Sequence[Said]:
    """A mode that is secured while the bolt is out is neither locked nor unlocked."""
    mode = command["mode"]
    if mode not in _MODES:
        raise ValueError(f"door lock mode {mode}")
    state, facts = _MODES[mode], place.endpoint.facts.lock
    if state == LOCKED and facts is not None and facts.bolt and command["bolt_unlocked"]:
        state = NOT_FULLY_LOCKED
    return ({"LockState": state},)


def door_told(command: Command, _place: Place) -> Sequence[Said]:
    return ({"DoorState": int(command["door_closed"])},)


def _without_pin(parameters: Mapping[str, Any]) -> None:
    if parameters.get("PINCode"):
        raise NotSupported("a Z-Wave lock checks no PIN of a remote command; leave PINCode out")


def operate(mode: DoorLockMode) -> Act:
    def act(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        _without_pin(parameters)
        gets = tuple(lock_gets(place.endpoint))
        return (ZWaveSet(place.endpoint.id, Command("Door Lock Operation Set", {"mode": mode}), gets, None),)

    return act


def update_state(lock: Act, unlock: Act) -> Act:
    """LockState can be written as locked or unlocked; the others are a lock's own."""

    def act(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        wanted = values["LockState"]
        if wanted not in (LOCKED, UNLOCKED):
            raise NotSupported(f"a Z-Wave lock cannot be set to LockState {wanted}")
        return (lock if wanted == LOCKED else unlock)({}, place)

    return act


def relock_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    get, answer = Command("Door Lock Configuration Get"), "Door Lock Configuration Report"
    return (ZWaveGet(endpoint.id, get, answer, {}, ("AutoRelockTime",)),)


def relock_told(command: Command, place: Place) -> Sequence[Said]:
    place.memory["lock_configuration"] = dict(command.values)
    return ({"AutoRelockTime": command["auto_relock_seconds"]},) if "auto_relock_seconds" in command.values else ()


def set_relock(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    """The configuration is one command: what is not changed is sent as it was heard last."""
    endpoint = place.endpoint
    kept = place.memory.get("lock_configuration") or endpoint.facts.lock_configuration or {}
    if not 0 <= values["AutoRelockTime"] <= 0xFFFF:  # noqa: PLR2004  two bytes
        raise NotSupported("AutoRelockTime: a Z-Wave lock takes 0 to 65535 seconds")
    wanted = {**kept, "auto_relock_seconds": values["AutoRelockTime"]}
    proves = (Command("Door Lock Configuration Report", wanted),)
    command = Command("Door Lock Configuration Set", wanted)
    return (ZWaveSet(endpoint.id, command, tuple(relock_gets(endpoint)), proves=proves),)


# ---- Lock (the old class) -----------------------------------------------------------------------------------------------------


def old_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    return (ZWaveGet(endpoint.id, Command("Lock Get"), "Lock Report", {}, ("LockState",)),)


def old_told(command: Command, _place: Place) -> Sequence[Said]:
    if command["locked"] > 1:
        raise ValueError(f"lock state {command['locked']}")
    return ({"LockState": LOCKED if command["locked"] else UNLOCKED},)


def old_operate(raw: int) -> Act:
    def act(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        _without_pin(parameters)
        gets = tuple(old_gets(place.endpoint))
        return (ZWaveSet(place.endpoint.id, Command("Lock Set", {"locked": raw}), gets, None),)

    return act


# ---- keypad modes ---------------------------------------------------------------------------------------------------------------


def keypad_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    get, answer = Command("User Code Keypad Mode Get"), "User Code Keypad Mode Report"
    return (ZWaveGet(endpoint.id, get, answer, {}, ("OperatingMode",)),)


def keypad_told(command: Command, _place: Place) -> Sequence[Said]:
    mode = KEYPAD_MODES.get(command["mode"])
    return () if mode is None else ({"OperatingMode": mode},)


def set_keypad(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint, wanted = place.endpoint, values["OperatingMode"]
    if wanted not in (endpoint.facts.keypad_modes or frozenset()) & KEYPAD_MODES.keys():
        raise NotSupported(f"this lock has no OperatingMode {wanted}")
    proves = (Command("User Code Keypad Mode Report", {"mode": wanted}),)
    command = Command("User Code Keypad Mode Set", {"mode": wanted})
    return (ZWaveSet(endpoint.id, command, tuple(keypad_gets(endpoint)), proves=proves),)


# ---- notifications ----------------------------------------------------------------------------------------------------------------


def user_of(parameters: bytes) -> int | None:
    """The user in the parameters of an access event: a User Code Report, or its number alone."""
    if parameters.startswith(_USER_CODE_REPORT) and len(parameters) > len(_USER_CODE_REPORT):
        return parameters[len(_USER_CODE_REPORT)]
    return parameters[0] if len(parameters) == 1 else None


def operated(command: Command, _place: Place) -> Sequence[Said]:
    """What a lock says of its own accord. That it was locked is a report of its state; that it was asked to is none."""
    if command.get("type") != ACCESS_CONTROL:
        return ()
    event = command["event"]
    if event in OPERATIONS:
        kind, source = OPERATIONS[event]
        user = user_of(command.get("parameters", b"")) or None
        fields = {"LockOperationType": kind, "OperationSource": source, "UserIndex": user}
        return ({"LockState": UNLOCKED if kind else LOCKED}, Event("LockOperation", fields))
    if event in STUCK:
        return ({"LockState": NOT_FULLY_LOCKED},)
    return (Event("DoorLockAlarm", {"AlarmCode": ALARMS[event]}),) if event in ALARMS else ()
