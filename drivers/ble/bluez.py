"""BlueZ beside bleak: whether bluetoothd and the adapter are there, power, and the agent that answers for a passkey.

bleak tells scanners nothing of a bluetoothd that ended or an adapter that was unplugged: a scan would be silent for ever. So this watches
the bus on a connection of its own. Source: BlueZ's doc/org.bluez.Adapter.rst, org.bluez.AgentManager.rst, org.bluez.Agent.rst.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dbus_fast import (
    AuthError,
    BusType,
    DBusError,
    ErrorType,
    InvalidAddressError,
    Message,
    MessageType,
    Variant,
    unpack_variants,
)
from dbus_fast.aio import MessageBus

from agent.driver import DeviceUnreachable, DriverLost
from drivers.ble.bus import DEFAULT

log = logging.getLogger(__name__)

SERVICE = "org.bluez"
ADAPTER, MONITORS, DEVICE = "org.bluez.Adapter1", "org.bluez.AdvertisementMonitorManager1", "org.bluez.Device1"
AGENTS, AGENT, AGENT_PATH = "org.bluez.AgentManager1", "org.bluez.Agent1", "/org/hub_agent/pairing"
PROPERTIES, OBJECTS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
REJECTED = "org.bluez.Error.Rejected"
CALL_TIMEOUT = 10.0
RULES = (
    f"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SERVICE}'",
    f"type='signal',sender='{SERVICE}',interface='{OBJECTS}',member='InterfacesRemoved'",
    f"type='signal',sender='{SERVICE}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{ADAPTER}'",
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """What BlueZ says of the adapter."""

    address: str
    name: str
    modalias: str
    passive: bool  # it has advertisement monitors


class Bluez:
    """One adapter's side of BlueZ. `lost` is done with the reason when it is gone."""

    def __init__(self, address: str, adapter: str) -> None:
        self._address = address
        self._adapter = adapter
        self.path = f"/org/bluez/{adapter}"
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.held: frozenset[str] = frozenset()  # addresses that were connected when this began
        self._bus: MessageBus | None = None
        self._ending: asyncio.Future[None] | None = None
        self._own_power = False
        self._passkeys: dict[str, int | None] = {}  # device's path -> passkey, while it is paired

    # ---- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> Adapter:
        """Connect, find the adapter and switch it on. Raises DriverLost with place and remedy."""
        place = self._address or DEFAULT
        try:
            # Its constructor opens the socket already.
            self._bus = MessageBus(self._address or None, BusType.SYSTEM)
            async with asyncio.timeout(CALL_TIMEOUT):
                await self._bus.connect()
        except (OSError, EOFError, AuthError, InvalidAddressError, DBusError) as error:
            remedy = "start dbus, or set `bus` to the address of BlueZ's bus"
            raise DriverLost(f"D-Bus cannot be reached: {error}", place=place, remedy=remedy) from error
        self._bus.add_message_handler(self._heard)
        self._ending = asyncio.ensure_future(self._bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        self._ending.add_done_callback(self._bus_ended)
        for rule in RULES:
            await self._ask(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", rule
            )
        objects = unpack_variants((await self._ask(SERVICE, "/", OBJECTS, "GetManagedObjects"))[0])
        return await self._find(objects)

    async def _find(self, objects: dict[str, dict[str, dict[str, Any]]]) -> Adapter:
        found = objects.get(self.path, {})
        if ADAPTER not in found:
            names = (
                ", ".join(sorted(path.rpartition("/")[2] for path, ifs in objects.items() if ADAPTER in ifs)) or "none"
            )
            remedy = "plug it in, or name another one in `adapter`"
            raise DriverLost(f"BlueZ has no adapter {self._adapter}; it has: {names}", place=self.path, remedy=remedy)
        facts = found[ADAPTER]
        devices = [
            ifs[DEVICE] for path, ifs in objects.items() if path.startswith(f"{self.path}/dev_") and DEVICE in ifs
        ]
        self.held = frozenset(one["Address"] for one in devices if one.get("Connected"))
        if not facts.get("Powered"):
            await self._set_power(on=True)
        return Adapter(facts["Address"], facts.get("Alias", ""), facts.get("Modalias", ""), MONITORS in found)

    async def close(self) -> None:
        if self._bus is None:
            return
        self._bus.disconnect()
        if self._ending is not None:
            await asyncio.wait({self._ending})

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    def check(self) -> None:
        """Raises DriverLost when it is gone."""
        if self.lost.done():
            raise DriverLost(self.lost.result(), place=self.path)

    # ---- what happens on the bus ------------------------------------------------------------------------------------

    def _bus_ended(self, ending: asyncio.Future[None]) -> None:
        why = "" if ending.cancelled() else str(ending.exception() or "")
        self.lose(f"D-Bus is gone{f': {why}' if why else ''}")

    def _heard(self, message: Message) -> Message | None:
        if message.message_type is MessageType.METHOD_CALL:
            return self._asked(message) if message.interface == AGENT else None
        if message.message_type is not MessageType.SIGNAL:
            return None
        match message.member:
            case "NameOwnerChanged" if message.body[0] == SERVICE and message.body[1]:
                self.lose("bluetoothd is gone")
            case "InterfacesRemoved" if message.body[0] == self.path and ADAPTER in message.body[1]:
                self.lose(f"the adapter {self._adapter} was unplugged")
            case "PropertiesChanged" if message.path == self.path and message.body[0] == ADAPTER:
                powered = message.body[1].get("Powered")
                if powered is not None and not powered.value and not self._own_power:
                    self.lose(f"the adapter {self._adapter} was switched off")
        return None

    # ---- calls ------------------------------------------------------------------------------------------------------

    async def _ask(self, service: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        """The body of the answer. Raises DriverLost when nobody can answer, DBusError for an answer that is an error."""
        if self._bus is None:
            raise DriverLost("D-Bus is not open", place=self._address or DEFAULT)
        call = Message(service, path, interface, member, signature=signature, body=list(body))
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                answer = await self._bus.call(call)
        except TimeoutError:
            raise DriverLost(
                f"bluetoothd did not answer {member}", place=path, remedy="systemctl restart bluetooth"
            ) from None
        except (OSError, EOFError, DBusError) as error:
            raise DriverLost(f"D-Bus is gone: {error}", place=self._address or DEFAULT) from error
        if answer.message_type is not MessageType.ERROR:
            return answer.body
        text = str(answer.body[0]) if answer.body else str(answer.error_name)
        if answer.error_name in (
            ErrorType.SERVICE_UNKNOWN.value,
            ErrorType.NAME_HAS_NO_OWNER.value,
            ErrorType.NO_REPLY.value,
        ):
            remedy = "systemctl enable --now bluetooth (package bluez)"
            raise DriverLost(f"bluetoothd does not run: {text}", place=SERVICE, remedy=remedy)
        if answer.error_name == ErrorType.ACCESS_DENIED.value:
            remedy = "give the service the group bluetooth (SupplementaryGroups=bluetooth)"
            raise DriverLost(f"D-Bus refuses {member}: {text}", place=SERVICE, remedy=remedy)
        raise DBusError(str(answer.error_name), text)

    async def _set_power(self, *, on: bool) -> None:
        """Raises DriverLost."""
        try:
            await self._ask(SERVICE, self.path, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", Variant("b", on))
        except DBusError as error:
            remedy = "rfkill unblock bluetooth" if on else "unplug it and plug it in again"
            text = f"the adapter {self._adapter} cannot be switched {'on' if on else 'off'}: {error.text}"
            raise DriverLost(text, place=self.path, remedy=remedy) from error

    async def power_cycle(self) -> None:
        """Off and on again: what a controller that hangs needs. Others that use it are cut off as well. Raises DriverLost."""
        self._own_power = True
        try:
            await self._set_power(on=False)
            await self._set_power(on=True)
        finally:
            self._own_power = False

    async def remove_device(self, path: str) -> None:
        """Forget a device, and the keys of its bond. One that BlueZ does not have is forgotten. Raises DriverLost, DeviceUnreachable."""
        try:
            await self._ask(SERVICE, self.path, ADAPTER, "RemoveDevice", "o", path)
        except DBusError as error:
            if error.type not in ("org.bluez.Error.DoesNotExist", ErrorType.UNKNOWN_OBJECT.value):
                raise DeviceUnreachable(f"BlueZ does not forget the device: {error.text}", place=path) from error

    async def disconnect(self, path: str) -> None:
        """End a connection of whoever made it. Raises DriverLost, DeviceUnreachable."""
        try:
            await self._ask(SERVICE, path, DEVICE, "Disconnect")
        except DBusError as error:
            raise DeviceUnreachable(f"BlueZ does not disconnect the device: {error.text}", place=path) from error

    # ---- the agent --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def agent(self, device: str, passkey: int | None) -> AsyncIterator[None]:
        """Answer what the pairing of one device asks, and nothing for any other. Raises DriverLost, DeviceUnreachable."""
        capability = "NoInputNoOutput" if passkey is None else "KeyboardOnly"
        try:
            await self._ask(SERVICE, "/org/bluez", AGENTS, "RegisterAgent", "os", AGENT_PATH, capability)
            # bleak pairs on a connection of its own, and BlueZ asks the agent of that one, or the default one.
            await self._ask(SERVICE, "/org/bluez", AGENTS, "RequestDefaultAgent", "o", AGENT_PATH)
        except DBusError as error:
            raise DeviceUnreachable(f"BlueZ takes no agent for the pairing: {error.text}") from error
        self._passkeys[device] = passkey
        try:
            yield
        finally:
            del self._passkeys[device]
            try:
                await self._ask(SERVICE, "/org/bluez", AGENTS, "UnregisterAgent", "o", AGENT_PATH)
            except (DBusError, DriverLost) as error:
                log.debug("the agent is gone already: %s", error)

    def _asked(self, message: Message) -> Message:
        device = message.body[0] if message.body else ""
        if message.member in ("Release", "Cancel"):
            return Message.new_method_return(message)
        if device not in self._passkeys:
            return Message.new_error(message, REJECTED, "nobody asked for this pairing")
        passkey = self._passkeys[device]
        match message.member:
            case "RequestPasskey" if passkey is not None:
                return Message.new_method_return(message, "u", [passkey])
            case "RequestPinCode" if passkey is not None:
                return Message.new_method_return(message, "s", [f"{passkey:06}"])
            case "RequestConfirmation" if passkey is not None and message.body[1] == passkey:
                return Message.new_method_return(message)
            case "RequestAuthorization" | "DisplayPasskey" | "DisplayPinCode" | "AuthorizeService":
                return Message.new_method_return(message)
        return Message.new_error(message, REJECTED, "no passkey, or another one")
