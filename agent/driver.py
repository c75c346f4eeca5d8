"""The driver contract: what a radio must be so that the hub can run it. Third parties ship a wheel with an entry point.

`tests/conformance/driver_contract.py` is the meaning of this file; each driver's own test calls it.

- `run(sink)` *is* the life of one connection: it returns when it is cancelled or told to stop, raises DriverLost when the stick goes;
  anything else that it raises is a bug and ends the process. A driver object is used once; the factory makes the next one.
- `sink(event)` takes the events of `agent.model`, is called on the event loop, never blocks and never raises.
- `execute(command)` returns exactly one Outcome before the command's deadline. It may raise NotNow when *nothing reached the device*
  (asleep, radio just gone): the hub parks the command and calls again on DeviceAwake or RadioUp.
- Between RadioUp and the end of `run`, every method may be called; before or after, they raise DriverLost.
- A driver whose devices take new firmware says so in its DriverInfo, and is an UpdatesFirmware; one that speaks GATT is an OffersGatt
  (agent.gatt).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent.clock import Clock
from agent.errors import ConfigError, HubError, install_extra
from agent.model import Action, ActionResult, Command, DeviceId, Discovery, DriverEvent, JsonValue, Outcome
from agent.secret_store import Secrets

ENTRY_POINTS = "hub_agent.drivers"

Sink = Callable[[DriverEvent], None]


class DriverError(HubError):
    """Expected trouble with a radio or a device; `code` goes into the Outcome."""

    code = 500


class DriverLost(DriverError):  # noqa: N818  the contract's word: an end, not a mistake
    """The radio is gone (unplugged, hung, reset). The supervisor builds a new driver after a backoff."""

    code = 503


class NotNow(DriverError):  # noqa: N818
    """Nothing reached the device: it sleeps. The hub parks the command until DeviceAwake, within its deadline."""

    code = 503


class DeviceUnreachable(DriverError):  # noqa: N818
    """The device did not acknowledge or answer."""

    code = 504


class UnknownDevice(DriverError):  # noqa: N818
    """The radio has no such device, endpoint or capability."""

    code = 404


class NotSupported(DriverError):  # noqa: N818
    """The device or the radio cannot do this."""

    code = 501


class InvalidParameters(DriverError):  # noqa: N818
    """Parameters out of range or of the wrong type; the message names the parameter."""

    code = 400


class DeviceRefused(DriverError):  # noqa: N818
    """The device answered with a failure status of its own; the message names it."""

    code = 502


class Driver(Protocol):
    """One connection to one radio."""

    async def run(self, sink: Sink) -> None: ...

    async def execute(self, command: Command) -> Outcome: ...

    async def discover(self, request: Discovery) -> None:
        """Open the join window; returns once it is open. It closes by itself. Raises InvalidParameters for bad material."""

    async def stop_discovery(self) -> None: ...

    async def interview(self, key: str) -> None:
        """Interview a known device again; DeviceFound follows."""

    async def refresh(self, key: str) -> None:
        """Read the state of a device anew; Reports follow. Raises NotNow for a sleeping device."""

    async def remove(self, key: str, *, force: bool) -> None:
        """Take a device off the network; `force` forgets it also when it does not answer. DeviceLost follows."""

    async def backup(self) -> bytes:
        """The radio's network as one document. Raises NotSupported where the radio has none."""

    async def reset(self) -> None:
        """Leave the network and forget it, keys included. `run` ends with DriverLost; the next one forms a new network."""

    async def restore(self, document: bytes) -> None:
        """Write a backup to the radio. `run` ends with DriverLost afterwards, so that the new network is started afresh."""


@runtime_checkable
class Asking(Protocol):
    """A driver that asks people while a device joins, where the discovery was `attended`: DeviceJoining with `seconds` is the question."""

    async def reply(self, key: str, text: str) -> None:
        """Answer what is asked of a device; empty: there is no answer, the device is not let in.

        Raises NotNow where nothing is asked of it, InvalidParameters for what can be no answer: the question stays.
        """


@runtime_checkable
class Expecting(Protocol):
    """A driver that lets devices in by itself, whenever they come, once it was told of them (SmartStart; DriverInfo.expects)."""

    async def expected(self) -> list[str]:
        """The addresses of devices that have not come yet. Raises DriverError."""

    async def expect_no_more(self, address: str) -> bool:
        """Let this device in no more; False where it was not expected. Raises DriverError."""


@runtime_checkable
class Excluding(Protocol):
    """A driver that can take any device off its network, whichever that is (DriverInfo.excludes_network_wide): Exclusion events follow."""

    async def exclude(self, duration: int) -> None:
        """Open the exclusion window for `duration` seconds, in place of a join window; returns once it is open. It closes by itself.

        `stop_discovery` closes it, and `discover` takes its place. Raises InvalidParameters, DriverError.
        """


@runtime_checkable
class Routing(Protocol):
    """A driver whose radio can be told the ways through its mesh; what it knows of them is in `Observed.details`."""

    async def rebuild_routes(
        self, key: str, progress: Callable[[str], None], *, wait: float
    ) -> Mapping[str, JsonValue]:
        """Let a device find its neighbours and routes anew; one that sleeps is waited for, at most `wait` seconds.

        `progress` is told each step; the answer holds what was found. Raises NotNow, UnknownDevice, DeviceUnreachable, NotSupported.
        """

    async def set_priority_route(self, key: str, repeaters: tuple[str, ...] | None, speed: int) -> None:
        """Try this route first: through devices by their keys, the first one first, at `speed` bit/s. None: the radio chooses again.

        Raises InvalidParameters, UnknownDevice, NotSupported.
        """


@runtime_checkable
class Native(Protocol):
    """A driver whose devices can be told commands of their own protocol, for what no capability covers."""

    def native_commands(self, key: str) -> Mapping[str, Mapping[str, list[str]]]:
        """Endpoint -> command -> its fields. Raises UnknownDevice, DriverLost."""

    async def native(
        self, key: str, endpoint: str, command: str, values: Mapping[str, JsonValue], *, wait: float
    ) -> list[dict[str, JsonValue]]:
        """Tell a device a command; what it answered, as JSON. One that sleeps is waited for, at most `wait` seconds.

        Raises InvalidParameters, UnknownDevice, NotSupported, NotNow, DeviceRefused, DeviceUnreachable, DriverLost.
        """


@runtime_checkable
class ActsTogether(Protocol):
    """A driver that can tell several devices something at the same moment; others are asked for each device."""

    async def execute_together(
        self, keys: Iterable[str], action: Action, ended: Callable[[str, DriverError | None], None]
    ) -> None:
        """Have each device do `action`, which reads nothing; `ended` is told of each by its key, once: None where it was done.

        NotNow there means that nothing reached the device. Raises DriverLost.
        """


@runtime_checkable
class Observed(Protocol):
    """What a driver may tell besides, for people and for metrics."""

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """Figures of the way to each device: by name, then by the device's key. Raises DriverLost."""

    async def details(self, key: str) -> Mapping[str, JsonValue]:
        """What the radio knows of the way to a device. Raises DriverError."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """One image that a device runs, in the numbers that a release names it by (agent.ota.manifest.DeviceMatch, file_version).

    Zigbee: manufacturer code, image type, file version; Z-Wave: manufacturer id, product type << 16 | product id;
    Bluetooth, CoAP: names of the Device Information Service or the device object, and the number of the version (version_number). None: it
    does not tell.
    Of a Zigbee stick: manufacturer and board by name, version of EmberZNet: major << 24 | minor << 16 | patch << 8 | special.
    """

    manufacturer: int | str
    product: int | str
    version: int
    target: int = 0
    hardware: int | None = None


def version_number(version: str) -> int | None:
    """The number of `1.2.3`, `1.2.3.4` or `1.2.3+4`, major << 24 | minor << 16 | revision; None for what is no version."""
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return None
    major, minor, revision = (int(part or 0) for part in found.groups())
    return major << 24 | minor << 16 | revision if major < 1 << 8 and minor < 1 << 8 and revision < 1 << 16 else None


_VERSION = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,5}))?(?:[.+-].*)?", re.ASCII)


class UpdatesFirmware(Driver, Protocol):
    """A driver whose devices take new firmware over the air."""

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        """What a device runs: asked, or as it said last where it does not hear.

        Raises NotSupported for one that takes no other, NotNow, DeviceUnreachable, UnknownDevice.
        """

    async def update_firmware(
        self, key: str, image: Path, *, target: int = 0, progress: Callable[[int, int], None]
    ) -> None:
        """Have a device run an image: returns once it says so. `progress` is told octets, and of how many.

        It goes on where an earlier call was cut off, if the device can. Raises NotNow when it sleeps, DeviceUnreachable, DeviceRefused,
        InvalidParameters for a file that is no image for this device; NotSupported, UnknownDevice.
        """


@runtime_checkable
class UpdatesStick(Protocol):
    """A driver whose radio stick itself takes new firmware."""

    async def stick(self) -> Firmware:
        """What the stick runs. Raises NotSupported for one that takes no other."""

    async def proved_backup(self) -> Mapping[str, JsonValue]:
        """Take a backup of the network, and say what network it holds, as read back from it; no secrets. Equal for equal networks.

        Raises NotSupported, and DriverError for one that does not hold what the stick says.
        """

    async def update_stick(self, image: Path) -> None:
        """Have the stick get an image: the order is on disk and the stick on its way into its bootloader when this returns.

        `run` ends with DriverLost then. The next one writes the image before anything else, until the stick has taken it. Raises
        InvalidParameters for a file that is no image, NotSupported.
        """


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver is given: its name in the config, its checked settings, a folder of its own, the clock, and a store for its secrets.

    `waits` tells whether the hub has a command for a device: one that sleeps is kept awake for it.
    """

    name: str
    settings: Any
    state_dir: Path
    clock: Clock
    secrets: Secrets
    waits: Callable[[DeviceId], bool] = lambda _id: False


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What the entry point names. `settings` is a pydantic model for [radios.<name>]; `open` builds one single-use driver."""

    kind: str
    settings: type[Any]
    open: Callable[[DriverContext], Driver]
    discovery_kinds: tuple[str, ...]
    excludes_network_wide: bool = False  # whether what it opens is Excluding
    expects: bool = False  # whether what it opens is Expecting
    replaces: bool = False  # whether its `discover` knows Discovery.replaces
    updates_firmware: bool = False  # whether what it opens is an UpdatesFirmware
    raw_gatt: bool = False  # whether what it opens is an agent.gatt.OffersGatt
    updates_stick: bool = False  # whether what it opens may be an UpdatesStick


def load_driver(kind: str) -> DriverInfo:
    """The driver for a radio kind, by entry point. Raises ConfigError when there is none or its libraries are missing."""
    for point in entry_points(group=ENTRY_POINTS, name=kind):
        try:
            info: DriverInfo = point.load()
        except ImportError as error:
            raise ConfigError(f"the {kind} driver cannot be loaded: {error}", remedy=install_extra(kind)) from error
        return info
    known = ", ".join(sorted(point.name for point in entry_points(group=ENTRY_POINTS))) or "none"
    raise ConfigError(f"no driver for radios of kind {kind!r}", remedy=f"installed kinds: {known}")


async def execute_each(
    command: Command, perform: Callable[[Action], Awaitable[dict[str, JsonValue]]], now: Callable[[], float]
) -> Outcome:
    """Perform a command's actions in order and gather one Outcome; after the first failure the rest are not tried (424).

    `perform` returns the response values of an action or raises a DriverError. NotNow and DriverLost pass through when nothing was done yet.
    """
    results: list[ActionResult] = []
    for action in command.actions:
        if results and not results[-1].ok:
            results.append(ActionResult(action, 424, "an earlier action of this command failed"))
            continue
        try:
            async with asyncio.timeout(max(0.0, command.deadline - now())):
                results.append(ActionResult(action, 200, values=await perform(action)))
        except TimeoutError:
            results.append(ActionResult(action, 408, "the deadline passed before the device answered"))
        except (NotNow, DriverLost) as error:
            if not results:
                raise
            results.append(ActionResult(action, error.code, str(error)))
        except DriverError as error:
            results.append(ActionResult(action, error.code, str(error)))
    return Outcome(command.trace_id, tuple(results))
