"""One place where requests through bleak meet deadlines, the end of BlueZ and each other. All failures become the contract's errors."""

import traceback
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bleak.exc import (
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotSupported, UnknownDevice
from drivers.ble.bluez import Bluez
from drivers.limits import Limits

T = TypeVar("T")

_REFUSED = {
    BleakGATTProtocolErrorCode.READ_NOT_PERMITTED,
    BleakGATTProtocolErrorCode.WRITE_NOT_PERMITTED,
    BleakGATTProtocolErrorCode.REQUEST_NOT_SUPPORTED,
}
_LOCKED = {
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHORIZATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
}
_PAIR = "remove the device and discover it again with its passkey: agent discover ble --auth ADDRESS=PASSKEY"
NOT_PERMITTED, NOT_PAIRED = "org.bluez.Error.NotPermitted", "Not paired"  # what BlueZ makes of ATT errors 0x05 and 0x0f
_NO_OBJECT = ("org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod")
_PAIRING = ("AuthenticationFailed", "AuthenticationCanceled", "AuthenticationRejected", "AuthenticationTimeout")


class NothingSent(DeviceUnreachable):
    """The connection was gone before the request: it certainly did not reach the device."""


class Requests:
    """The requests of one adapter; its end cuts all that is under way."""

    def __init__(self, bluez: Bluez) -> None:
        self._bluez = bluez
        self._limits = Limits(bluez.lost)

    def check(self) -> None:
        """Raises DriverLost when the adapter is gone."""
        self._bluez.check()

    async def ask(self, request: Callable[[], Awaitable[T]], *, limit: float, what: str) -> T:
        """The answer within `limit` seconds. Raises DeviceUnreachable, DeviceRefused, NotSupported, UnknownDevice, DriverLost."""
        self.check()
        try:
            async with self._limits.within(limit):
                return await request()
        except DriverError:
            raise
        except Exception as error:
            raise self._meaning(error, what) from error

    def _meaning(self, error: Exception, what: str) -> Exception:
        if self._bluez.lost.done():
            return DriverLost(self._bluez.lost.result(), place=self._bluez.path)
        match error:
            case TimeoutError():
                return DeviceUnreachable(f"{what}: no answer")
            case BleakGATTProtocolError():
                return _refusal(error, what)
            case BleakDBusError():
                return _bluez_says(error, what)
            case BleakCharacteristicNotFoundError():
                return UnknownDevice(f"{what}: the device has no such characteristic")
            case BleakError() | OSError() | EOFError():
                return DeviceUnreachable(f"{what}: {str(error) or type(error).__name__}")
        if _inside_bleak(error):
            return DeviceUnreachable(f"{what}: the connection went away meanwhile ({error!r})")
        return error


def _refusal(error: BleakGATTProtocolError, what: str) -> DriverError:
    """The device answered with an ATT error."""
    if error.code in _LOCKED:
        return DeviceRefused(f"{what}: the device wants a bond ({error.args[1]})", remedy=_PAIR)
    kind = NotSupported if error.code in _REFUSED else DeviceRefused
    return kind(f"{what}: {error.args[1]}")


def _bluez_says(error: BleakDBusError, what: str) -> DriverError:
    """BlueZ answered with an error of its own."""
    if error.dbus_error == NOT_PERMITTED and error.dbus_error_details == NOT_PAIRED:
        return DeviceRefused(f"{what}: the device wants a bond", remedy=_PAIR)
    name = error.dbus_error.rpartition(".")[2]
    if name in _PAIRING:
        return DeviceRefused(f"{what}: the pairing failed ({name})", remedy=_PAIR)
    if error.dbus_error in _NO_OBJECT:
        return NothingSent(f"{what}: the connection is gone")
    return DeviceUnreachable(f"{what}: {error.dbus_error_details or error.dbus_error}")


def _inside_bleak(error: BaseException) -> bool:
    """Bleak asserts what a disconnection in the same moment has made untrue: its AssertionError or KeyError is no bug of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(f"/{part}/" in frames[-1].filename for part in ("bleak", "dbus_fast"))
