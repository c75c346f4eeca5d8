"""Firmware updates of a node over the air (SDS13782, Firmware Update Meta Data): the node pulls fragment after fragment. PURE.

Root values: firmware.crc (of the image that runs), firmware.fragments (received yet). An image runs when its checksum is right, at once or
when it is activated; then the sub-version of the firmware is one higher. What was interrupted is kept, and goes on where it stopped.
"""

import binascii
from functools import partial

from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.sim.zwave.profiles import MANUFACTURER
from drivers.zwave.codec import Command, encode

FRAGMENT = 40  # bytes
AT_ONCE = 4  # fragments that one Get asks for
GET_TIMEOUT = 10.0  # seconds without a fragment until it is asked for again
TRIES = 5
CRC_START = 0x1D0F
VALID, WRONG_FIRMWARE, WRONG_SIZE, WRONG_TARGET = 0xFF, 0x00, 0x02, 0x03
STORED, WAITING, UNABLE, CHECKSUM_WRONG = 0xFF, 0xFD, 0x01, 0x00
ACTIVATED, NOT_ACTIVATED = 0xFF, 0x00
RESTART = 1  # seconds that a new image needs to start
_CRC = 2


def _crc(data: bytes) -> int:
    return binascii.crc_hqx(data, CRC_START)


def meta_data(place: Place, _: Command, _now: float) -> Result:
    checksum = place.values.get("firmware.crc", 0x1234)
    values = {"manufacturer": MANUFACTURER, "firmware": place.node.profile.product, "checksum": checksum}
    newer = {"upgradable": 0xFF, "max_fragment_size": FRAGMENT, "targets": [], "hardware": 1}
    can = {"resume": True, "non_secure": False, "activation": True, "continues_to_function": True}
    return [Command("Firmware Update Meta Data Meta Data Report", {**values, **newer, **can})]


def request(place: Place, command: Command, now: float) -> Result:
    node, size = place.node, command.get("fragment_size", FRAGMENT)
    resumes = False
    if (command["manufacturer"], command["firmware"]) != (MANUFACTURER, node.profile.product):
        status = WRONG_FIRMWARE
    elif command.get("target"):
        status = WRONG_TARGET
    elif not 0 < size <= FRAGMENT:
        status = WRONG_SIZE
    else:
        status, kept = VALID, node.transfer
        resumes = bool(command.get("resume")) and kept is not None and kept.begun == (command["checksum"], size)
        transfer = kept if kept is not None and resumes else Transfer(command["checksum"], size)
        node.transfer, transfer.running, transfer.tries = transfer, True, 0
        transfer.waits = bool(command.get("activation"))
        node.timers.at(now + 0.05, partial(_pull, place, transfer))
    values = {"status": status, "resume": resumes, "non_secure": False}
    return [Command("Firmware Update Meta Data Request Report", values)]


class Transfer:
    """An image on its way, by fragment number from 1 on."""

    def __init__(self, checksum: int, size: int) -> None:
        self.checksum = checksum
        self.begun = (checksum, size)
        self.running = True
        self.waits = False  # to be activated once it is here
        self.fragments: dict[int, bytes] = {}
        self.last = 0  # the number of the last fragment, once it is here
        self.until = 0  # the last one that was asked for
        self.tries = 0
        self.at = 0.0


def _pull(place: Place, transfer: Transfer, now: float) -> None:
    """Ask for what is missing next."""
    if place.node.transfer is not transfer or not transfer.running:
        return
    transfer.at = now
    number = next(at for at in range(1, len(transfer.fragments) + 2) if at not in transfer.fragments)
    transfer.until = number + AT_ONCE - 1
    place.node.stay_awake(now)
    place.node.tell_controller(Command("Firmware Update Meta Data Get", {"count": AT_ONCE, "number": number}), now)
    place.node.timers.at(now + GET_TIMEOUT, partial(_again, place, transfer, now))


def _again(place: Place, transfer: Transfer, since: float, now: float) -> None:
    if place.node.transfer is not transfer or not transfer.running or transfer.at != since:
        return
    transfer.tries += 1
    if transfer.tries >= TRIES:
        _end(place, transfer, UNABLE, now)
    else:
        _pull(place, transfer, now)


def fragment(place: Place, command: Command, now: float) -> Result:
    transfer = place.node.transfer
    if transfer is None or not transfer.running:
        return None
    whole = encode(command)
    data, checksum = command["data"][:-_CRC], int.from_bytes(command["data"][-_CRC:], "big")
    if _crc(whole[:-_CRC]) != checksum:
        return False
    transfer.fragments[command["number"]] = data
    transfer.at, transfer.tries = now, 0
    place.values["firmware.fragments"] = len(transfer.fragments)
    if command["last"]:
        transfer.last = command["number"]
    if transfer.last and len(transfer.fragments) == transfer.last:
        image = b"".join(transfer.fragments[at] for at in range(1, transfer.last + 1))
        right = _crc(image) == transfer.checksum
        _end(place, transfer, (WAITING if transfer.waits else STORED) if right else CHECKSUM_WRONG, now)
    elif command["number"] >= transfer.until:
        _pull(place, transfer, now)
    else:
        place.node.timers.at(now + GET_TIMEOUT, partial(_again, place, transfer, now))
    return True


def _end(place: Place, transfer: Transfer, status: int, now: float) -> None:
    node, transfer.running = place.node, False
    if status not in (UNABLE, WAITING):  # what was interrupted goes on later, and what waits is kept
        node.transfer = None
    values = {"status": status, "wait_seconds": RESTART if status == STORED else 0}
    node.tell_controller(Command("Firmware Update Meta Data Status Report", values), now)
    if status == STORED:
        _run(place, transfer.checksum, now)


def _run(place: Place, checksum: int, now: float) -> None:
    place.values["firmware.crc"] = checksum
    major, minor = place.node.firmware
    place.node.firmware = (major, minor + 1)
    place.node.mute_until = now + RESTART


def activate(place: Place, command: Command, now: float) -> Result:
    transfer = place.node.transfer
    right = transfer is not None and not transfer.running and transfer.checksum == command["checksum"]
    if right:
        place.node.transfer = None
        place.node.timers.at(now + 0.05, lambda then: _run(place, command["checksum"], then))
    told = {name: command.get(name, 0) for name in ("manufacturer", "firmware", "checksum", "target", "hardware")}
    status = ACTIVATED if right else NOT_ACTIVATED
    return [Command("Firmware Update Meta Data Activation Report", {**told, "status": status})]


BEHAVIOURS: dict[str, Behaviour] = {
    "Firmware Update Meta Data Meta Data Get": meta_data,
    "Firmware Update Meta Data Request Get": request,
    "Firmware Update Meta Data Report": fragment,
    "Firmware Update Meta Data Activation Set": activate,
}
