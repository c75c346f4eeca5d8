"""The interview of a node: what it is, what it has, and that it reports to us. In stages that are kept, so that it goes on where it stopped.

Order: protocol, node information, security, identity, versions, wake-up, endpoints, lifeline, abilities. A node that does
not acknowledge interrupts the interview; one that acknowledges and does not answer is used without that answer.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from agent.driver import DeviceUnreachable, NotSupported
from drivers.zwave.catalog import ZWaveGet, learnt, needs
from drivers.zwave.codec import Command, class_list, encode
from drivers.zwave.commands.management import EXTENDED_CLASS
from drivers.zwave.layout import LayoutError
from drivers.zwave.messages import Messages, NoAnswer
from drivers.zwave.nodes import MULTI_CHANNEL, WAKE_UP, EndpointRecord, NodeRecord
from drivers.zwave.secured import S0, S2
from drivers.zwave.security.classes import LONG_RANGE_CLASSES, MESH_CLASSES, SecurityClass
from drivers.zwave.transmit import Undelivered, Urgency

log = logging.getLogger(__name__)

TRIES = 3  # of each question: one lost frame must not cost an answer
ASSOCIATION, MULTI_CHANNEL_ASSOCIATION, VERSION, MANUFACTURER, PLUS = 0x85, 0x8E, 0x86, 0x72, 0x5E
LIFELINE = 1
MOST_ENDPOINTS = 127
FIRST_LONG_RANGE = 256
ROUNDS = 8  # of questions about abilities: answers bring new ones
IDENTIFYING = ("type", "group", "indicator")  # what an answer repeats of its question
INSTANCES = 1  # version of Multi Channel without end points: it counts instances of each class
INSTANCED = (  # classes of which an old device may have several
    0x20, 0x25, 0x26, 0x30, 0x31, 0x32, 0x33, 0x40, 0x42, 0x43, 0x44, 0x45, 0x47, 0x62, 0x66, 0x6A, 0x71, 0x76, 0x79, 0x9C,
)  # fmt: skip


def supported(command_classes: bytes) -> list[int]:
    """The classes of a node information frame that the node supports: those before the mark."""
    return class_list(command_classes)[0]


class Asleep(DeviceUnreachable):
    """The node sleeps: its interview waits for it."""


class Interview:
    """One node's interview. `save` writes its record; `awake` says whether it would hear."""

    def __init__(
        self, record: NodeRecord, messages: Messages, save: Callable[[], None], awake: Callable[[], bool] = lambda: True
    ) -> None:
        self._awake = awake
        self._record = record
        self._messages = messages
        self._radio = messages.secured.radio
        self._save = save

    async def run(self) -> None:
        """All stages that are not done. Raises DeviceUnreachable where the node went away; what is done stays done. StickJammed, DriverLost."""
        stages = {
            "protocol": self._protocol,
            "information": self._information,
            "security": self._security,
            "identity": self._identity,
            "versions": self._versions,
            "wake-up": self._wake_up,
            "endpoints": self._endpoints,
            "lifeline": self._lifeline,
            "abilities": self._abilities,
        }
        for name, stage in stages.items():
            if name not in self._record.done:
                if name != "protocol" and not self._awake():
                    raise Asleep(f"node {self._record.id} sleeps")
                await stage()
                self._record.done.append(name)
                self._save()

    async def ask(self, name: str, endpoint: int = 0, /, **values: Any) -> Command | None:
        """The answer to a Get; None where the node gives none. Raises Undelivered where it does not even acknowledge."""
        repeated = {key: values[key] for key in IDENTIFYING if key in values}
        return await self._read(ZWaveGet(endpoint, Command(name, values), _report(name), repeated))

    async def _read(self, get: ZWaveGet) -> Command | None:
        try:
            return await self._messages.read(self._record.id, get, urgency=Urgency.INTERVIEW, tries=TRIES)
        except (NoAnswer, NotSupported) as error:
            log.info("node %d, endpoint %d: %s", self._record.id, get.endpoint, error)
            return None

    async def state(self, gets: Iterable[ZWaveGet]) -> None:
        """Ask for the state of everything; the reports go the way of all reports. Raises DeviceUnreachable, StickJammed, DriverLost."""
        for get in gets:
            await self._read(get)

    # ---- stages -----------------------------------------------------------------------------------------------------

    async def _protocol(self) -> None:
        info = (await self._radio.controller.link.call("GetNodeProtocolInfo", node=self._record.id)).response
        record = self._record
        record.listening = bool(info["listening"])
        record.frequent = bool(info["sensor_1000ms"] or info["sensor_250ms"])
        record.routing = bool(info["routing"])
        record.controller = bool(info["controller"])
        record.basic = info["basic"]
        record.root.generic, record.root.specific = info["generic"], info["specific"]

    async def _information(self) -> None:
        for left in range(TRIES - 1, -1, -1):
            try:
                info = await self._radio.node_info(self._record.id, urgency=Urgency.INTERVIEW)
                break
            except Undelivered:
                if not left:
                    raise
        self.take_information(info)

    def take_information(self, info: dict[str, Any]) -> None:
        """A node information frame, asked for or not."""
        root = self._record.root
        if "command_classes" not in info:
            return
        root.generic, root.specific = info["generic"], info["specific"]
        own, root.controlled = class_list(info["command_classes"])
        for number in own:
            root.classes.setdefault(number, 0)

    async def _security(self) -> None:
        record, secured = self._record, self._messages.secured
        own = LONG_RANGE_CLASSES if record.id >= FIRST_LONG_RANGE else MESH_CLASSES
        candidates = [one for one in own if one in secured.keys and self._may_have(one)]
        known = record.security is not None
        if known:
            candidates = [one for one in candidates if one in record.granted]
        secured.grant(record.id, tuple(candidates))
        granted: list[SecurityClass] = []
        for one in candidates:  # the most trusted first: its list is the one that counts
            classes = await self._secure_classes(one)
            if classes is None:
                continue
            if not granted:
                record.root.secure = [number for number in classes if number not in (S0, S2)]
                for number in classes:
                    record.root.classes.setdefault(number, 0)
            granted.append(one)
            if known:
                return
        if not known:
            record.security = [one.name for one in granted]
            secured.grant(record.id, record.granted)

    def _may_have(self, security: SecurityClass) -> bool:
        return (S0 if security is SecurityClass.S0 else S2) in self._record.root.classes

    async def _secure_classes(self, security: SecurityClass, endpoint: int = 0) -> list[int] | None:
        """What the node supports with a class; None where it does not know that class's key."""
        name = "Security 0" if security is SecurityClass.S0 else "Security 2"
        try:
            received = await self._messages.ask(
                self._record.id,
                self._messages.make(self._record.id, f"{name} Commands Supported Get", endpoint),
                f"{name} Commands Supported Report",
                endpoint,
                urgency=Urgency.INTERVIEW,
                security=security,
                tries=TRIES,
            )
        except Undelivered:
            raise
        except DeviceUnreachable as error:  # no answer, or no nonce: it has no such key
            log.info("node %d: %s", self._record.id, error)
            return None
        assert isinstance(received.command, Command)  # noqa: S101  it has the name that was asked for
        return supported(received.command["command_classes"])

    async def _identity(self) -> None:
        record = self._record
        if MANUFACTURER in record.root.classes:
            report = await self.ask("Manufacturer Specific Get")
            if report is not None:
                record.manufacturer = report["manufacturer"]
                record.product_type, record.product = report["product_type"], report["product"]

    async def _versions(self) -> None:
        record = self._record
        if VERSION not in record.root.classes:
            return
        for number in sorted(record.root.classes):
            await self._version(number, record.root)
        report = await self.ask("Version Get")
        if report is not None:
            record.firmware = f"{report['firmware']}.{report['firmware_sub']}"

    async def _version(self, number: int, endpoint: EndpointRecord) -> None:
        if number >= EXTENDED_CLASS or number < 0x20:  # noqa: PLR2004  application classes begin there
            return
        report = await self._messages_version(number)
        if report is not None and report["version"]:
            endpoint.classes[number] = report["version"]

    async def _messages_version(self, number: int) -> Command | None:
        try:
            received = await self._messages.ask(
                self._record.id,
                self._messages.make(self._record.id, "Version Command Class Get", command_class=number),
                "Version Command Class Report",
                matches=lambda command: bool(command["command_class"] == number),
                urgency=Urgency.INTERVIEW,
                tries=TRIES,
            )
        except NoAnswer as error:
            log.info("node %d: %s", self._record.id, error)
            return None
        return received.command if isinstance(received.command, Command) else None

    async def _wake_up(self) -> None:
        record = self._record
        if WAKE_UP not in record.root.classes or not record.sleepy:
            return
        if record.version(WAKE_UP) > 1:
            await self._learn(Command("Wake Up Interval Capabilities Get"), 0)
        current = await self.ask("Wake Up Interval Get")
        own = self._radio.controller.facts.node
        seconds = None if current is None else current["seconds"]
        if not seconds:
            seconds = record.root.answer("Wake Up Interval Capabilities Report").get("default")
        if seconds and (current is None or current["node"] != own or not current["seconds"]):
            command = self._messages.make(record.id, "Wake Up Interval Set", seconds=seconds, node=own)
            await self._messages.send(record.id, command, urgency=Urgency.INTERVIEW)
        record.wake_up_interval = seconds or None

    async def _endpoints(self) -> None:
        record = self._record
        if record.version(MULTI_CHANNEL) <= INSTANCES:
            await self._instances()
            return
        found = await self.ask("Multi Channel End Point Get")
        if found is None:
            return
        for index in range(1, found["individual"] + 1):
            endpoint = record.endpoint(index)
            if found["identical"] and index > 1:
                first = record.endpoint(1)
                endpoint.generic, endpoint.specific = first.generic, first.specific
                endpoint.classes, endpoint.secure = dict(first.classes), list(first.secure)
                endpoint.controlled = list(first.controlled)
                continue
            await self._endpoint(index, endpoint)

    async def _instances(self) -> None:
        """Instance `n` has what the device has `n` times; the device itself answers for the first."""
        record = self._record
        if MULTI_CHANNEL not in record.root.classes:
            return
        for number in sorted(set(record.root.classes) & set(INSTANCED)):
            found = await self.ask("Multi Channel V1 Get", command_class=number)
            count = 0 if found is None or found["command_class"] != number else found["instances"]
            for index in range(1, min(count, MOST_ENDPOINTS) + 1 if count > 1 else 1):
                endpoint = record.endpoint(index)
                endpoint.generic, endpoint.specific = record.root.generic, record.root.specific
                endpoint.classes[number] = record.root.classes[number]
                if number in record.root.secure and number not in endpoint.secure:
                    endpoint.secure.append(number)

    async def _endpoint(self, index: int, endpoint: EndpointRecord) -> None:
        record = self._record
        received = await self._messages.ask(
            record.id,
            self._messages.make(record.id, "Multi Channel Capability Get", endpoint=index),
            "Multi Channel Capability Report",
            matches=lambda command: bool(command["endpoint"] == index),
            urgency=Urgency.INTERVIEW,
            tries=TRIES,
        )
        assert isinstance(received.command, Command)  # noqa: S101  it has the name that was asked for
        endpoint.generic, endpoint.specific = received.command["generic"], received.command["specific"]
        classes, endpoint.controlled = class_list(received.command["command_classes"])
        if record.highest is not None and {S0, S2} & set(classes):
            secure = await self._secure_classes(record.highest, index)
            endpoint.secure = [number for number in secure or () if number not in (S0, S2)]
            classes += endpoint.secure
        for number in classes:
            version = record.root.classes.get(number)
            endpoint.classes[number] = version or 0
            if not version and VERSION in record.root.classes:
                await self._version(number, endpoint)

    async def _lifeline(self) -> None:
        record, own = self._record, self._radio.controller.facts.node
        if MULTI_CHANNEL_ASSOCIATION in record.root.classes and len(record.endpoints) > 1:
            name = "Multi Channel Association"
            wanted: dict[str, Any] = {"nodes": [], "endpoints": [{"node": own, "endpoint": 0}]}
        elif ASSOCIATION in record.root.classes:
            name, wanted = "Association", {"nodes": [own]}
        else:
            return
        if self._reports_to(await self.ask(f"{name} Get", group=LIFELINE), own, name):
            return
        try:
            command = self._messages.make(record.id, f"{name} Set", group=LIFELINE, **wanted)
            await self._messages.send(record.id, command, urgency=Urgency.INTERVIEW)
            if not self._reports_to(await self.ask(f"{name} Get", group=LIFELINE), own, name):
                log.warning("node %d does not report to the controller: its lifeline does not hold", record.id)
        except LayoutError as error:
            log.warning("node %d: no lifeline: %s", record.id, error)

    @staticmethod
    def _reports_to(report: Command | None, own: int, name: str) -> bool:
        if report is None or report["group"] != LIFELINE:
            return False
        if name == "Association":
            return own in report["nodes"]
        return any(one["node"] == own and one["endpoint"] == 0 for one in report["endpoints"])

    async def _abilities(self) -> None:
        for index, endpoint in sorted(self._record.endpoints.items()):
            if PLUS in endpoint.classes:
                await self._learn(Command("Z-Wave Plus Info Get"), index)
            for _ in range(ROUNDS):
                asked = [
                    await self._learn(get, index) for get in needs(endpoint.versions(), learnt(endpoint.answers()))
                ]
                if not any(asked):
                    break

    async def _learn(self, get: Command, index: int) -> bool:
        """Ask once for all: also what a device does not answer is not asked again. False where it was asked before."""
        endpoint = self._record.endpoint(index)
        try:
            key = self._messages.encode(self._record.id, get, index).hex()
        except NotSupported as error:
            log.info("node %d, endpoint %d: %s", self._record.id, index, error)
            return False
        if key in endpoint.learned or f"{index}:{key}" in self._record.refused:
            return False
        report = await self.ask(get.name, index, **get.values)
        if report is None:
            self._record.refused.append(f"{index}:{key}")
        else:
            endpoint.learned[key] = [encode(report).hex()]
        return True


def _report(get: str) -> str:
    return f"{get.removesuffix('Get')}Report"
