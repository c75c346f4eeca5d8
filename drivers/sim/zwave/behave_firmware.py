"""Firmware updates of a node over the air (SDS13782, Firmware Update Meta Data): the node pulls fragment after fragment. PURE.

Root values: firmware.crc (of the image that runs), firmware.fragments (received yet). An image runs when its checksum is right; then
the sub-version of the firmware is one higher.
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
VALID, WRONG_FIRMWARE, WRONG_SIZE = 0xFF, 0x00, 0x02
STORED, UNABLE, CHECKSUM_WRONG = 0xFF, 0x01, 0x00
_CRC = 2


def _crc(data: bytes) -> int:
    return binascii.crc_hqx(data, CRC_START)


def meta_data(place: Place, _: Command, _now: float) -> Result:
    checksum = place.values.get("firmware.crc", 0x1234)
    values = {"manufacturer": MANUFACTURER, "firmware": place.node.profile.product, "checksum": checksum}
    newer = {"upgradable": 0xFF, "max_fragment_size": FRAGMENT, "targets": [], "hardware": 1}
    return [Command("Firmware Update Meta Data Meta Data Report", {**values, **newer})]


def request(place: Place, command: Command, now: float) -> Result:
    size = command.get("fragment_size", FRAGMENT)
    if (command["manufacturer"], command["firmware"]) != (MANUFACTURER, place.node.profile.product):
        return [Command("Firmware Update Meta Data Request Report", {"status": WRONG_FIRMWARE})]
    if not 0 < size <= FRAGMENT:
        return [Command("Firmware Update Meta Data Request Report", {"status": WRONG_SIZE})]
    place.node.transfer = Transfer(command["checksum"])
    place.node.timers.at(now + 0.05, partial(_pull, place, place.node.transfer))
    return [Command("Firmware Update Meta Data Request Report", {"status": VALID})]


class Transfer:
    """An image on its way, by fragment number from 1 on."""

    def __init__(self, checksum: int) -> None:
        self.checksum = checksum
        self.fragments: dict[int, bytes] = {}
        self.last = 0  # the number of the last fragment, once it is here
        self.tries = 0
        self.at = 0.0


def _pull(place: Place, transfer: Transfer, now: float) -> None:
    """Ask for what is missing next."""
    if place.node.transfer is not transfer:
        return
    transfer.at = now
    number = next(at for at in range(1, len(transfer.fragments) + 2) if at not in transfer.fragments)
    place.node.stay_awake(now)
    place.node.tell_controller(Command("Firmware Update Meta Data Get", {"count": AT_ONCE, "number": number}), now)
    place.node.timers.at(now + GET_TIMEOUT, partial(_again, place, transfer, now))


def _again(place: Place, transfer: Transfer, since: float, now: float) -> None:
    if place.node.transfer is not transfer or transfer.at != since:
        return
    transfer.tries += 1
    if transfer.tries >= TRIES:
        _end(place, UNABLE, now)
    else:
        _pull(place, transfer, now)


def fragment(place: Place, command: Command, now: float) -> Result:
    transfer = place.node.transfer
    if transfer is None:
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
        if right:
            place.values["firmware.crc"] = transfer.checksum
            major, minor = place.node.firmware
            place.node.firmware = (major, minor + 1)
        _end(place, STORED if right else CHECKSUM_WRONG, now)
    elif len(transfer.fragments) % AT_ONCE == 0:
        _pull(place, transfer, now)
    return True


def _end(place: Place, status: int, now: float) -> None:
    place.node.transfer = None
    report = Command("Firmware Update Meta Data Status Report", {"status": status, "wait_seconds": 0})
    place.node.tell_controller(report, now)


BEHAVIOURS: dict[str, Behaviour] = {
    "Firmware Update Meta Data Meta Data Get": meta_data,
    "Firmware Update Meta Data Request Get": request,
    "Firmware Update Meta Data Report": fragment,
}
