"""Whether an update may be installed: every check that needs no network and no disk, cheap and safe ones first. PURE.

Size, signatures over the raw bytes, strict JSON, type and expiry, hardware, dependencies, then the floor (see agent/ota/floor.py). Only
then is anything fetched; and only CONFIRMED raises the floor.
"""

import fnmatch
import hashlib
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

from agent.clock import Moment
from agent.ota.documents import Document, instant, order
from agent.ota.floor import Floor, judged, recovered
from agent.ota.manifest import LARGEST, Component, Downgrade, Release, in_order, read_downgrade, read_release
from agent.ota.refusals import (
    DependencyError,
    DowngradeError,
    EpochError,
    ExpiredError,
    MixAndMatchError,
    NotYetError,
    RefusedError,
    RollbackError,
    RootChainError,
    RootExpiredError,
    TimeUnknownError,
    UnsignedError,
    WrongHardwareError,
    WrongProductError,
)
from agent.ota.roots import DOWNGRADE, RELEASE, Root
from agent.ota.signatures import open_envelope

SUFFIX = ".release.json"  # of the manifest that lies beside a file
REFUSE: Final = "refuse"
ACCEPT: Final = "accept-anyone-can-replace-my-firmware"
Policy = Literal["refuse", "accept-anyone-can-replace-my-firmware"]
SKEW = 86_400  # seconds that the clock of who signs may be ahead of ours
# Seconds that one release moves the time floor at most. A hub without a clock learns the time from signed dates only; who signs with a clock
# that is decades ahead would else make every later release look expired.
AHEAD = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Hub:
    """What this hub is: its id, and the names that its board goes by (model, compatible strings, machine)."""

    id: str
    boards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or the radio stick, as it tells of itself; see DeviceMatch for what the numbers are. None: it does not tell."""

    id: str
    kind: str
    manufacturer: int | str
    product: int | str
    version: int
    target: int = 0
    hardware: int | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A release that may be installed. `verify` and `admit` alone make them, so that whoever holds one has checked it.

    `digest`: SHA-256 of the manifest, hex; `signers`: ids of the keys; `root`: version of the root that named them; `hub`: the components for
    this hub, those that others require first; `devices`: those for devices; `permission`: of a planned downgrade.
    """

    release: Release
    digest: str
    signers: frozenset[str]
    root: int
    hub: tuple[Component, ...]
    devices: tuple[Component, ...]
    permission: Downgrade | None = None


@dataclass(frozen=True, slots=True)
class Vouched:
    """A document whose signatures were checked: by `verify` with our own root, or by another way to trust (agent/ota/tuf_source.py).

    `product`: of the root; `root`: its version, 0 for one that is not ours; `signers`: ids of the keys.
    """

    payload: bytes
    product: str
    signers: frozenset[str]
    root: int = 0


def verify(
    data: bytes, root: Root, hub: Hub, floor: Floor, now: Moment, *, permission: bytes | None = None, place: str = ""
) -> Verified:
    """The release in an envelope, if this hub may install it now.

    `place` says where it came from, in errors. `permission`: the envelope of a Downgrade; where the hub itself does not go back it need not be
    good, and only makes it possible that devices do. Raises a RefusedError, one class for each reason.
    """
    if root.version < floor.root:
        remedy = f"give the hub the roots up to {floor.root}"
        raise RootChainError(f"root {root.version} was replaced by root {floor.root}", place=place, remedy=remedy)
    floor = recovered(floor, root)
    signed = open_envelope(data, LARGEST, place)
    signers = root.verifiers[RELEASE].check(signed, RELEASE, place)
    if root.document.expires <= judged(now, floor)[0]:
        text = f"root {root.version} expired at {instant(root.document.expires)}"
        raise RootExpiredError(
            text, place=place, remedy="give the hub the next root; if there is none, have one signed"
        )
    vouched = Vouched(signed.payload, root.document.product, signers, root.version)
    return admit(vouched, hub, floor, now, root=root, permission=permission, place=place)


def admit(
    vouched: Vouched,
    hub: Hub,
    floor: Floor,
    now: Moment,
    *,
    root: Root | None = None,
    permission: bytes | None = None,
    place: str = "",
) -> Verified:
    """Everything after the signatures; `root` is whose keys may permit a downgrade. Raises as `verify`."""
    release = read_release(vouched.payload, place)
    _check_offered(release, vouched.product, floor, now, place)
    mine, devices = _matching(release, hub, place)
    _check_dependencies(mine + devices, floor, place)
    digest = hashlib.sha256(vouched.payload).hexdigest()
    back = _check_floor(mine + devices, release, digest, floor, place)
    granted: Downgrade | None = None
    trouble: RefusedError | None = back
    if permission is not None:
        try:
            granted, trouble = _permitted(permission, release, root, hub, floor, now, place), None
        except RefusedError as error:
            trouble = error
    if back is not None and trouble is not None:
        raise trouble
    if back is None and release.number <= floor.number and not judged(now, floor)[1]:
        remedy = "wait for the time to be synchronised (chrony or systemd-timesyncd)"
        text = f"release {release.number} is not newer than {floor.number}, and its expiry cannot be judged"
        raise TimeUnknownError(text, place=place, remedy=remedy)
    return Verified(release, digest, vouched.signers, vouched.root, mine, devices, granted)


def reread(data: bytes, digest: str, hub: Hub, permission: bytes | None = None, place: str = "") -> Verified:
    """A release that `verify` has found good before, whose installation is under way: its digest was written down then, and its permission.

    What has changed since (it has expired, the floor is higher) is no reason to leave it half done. Raises MixAndMatchError, RefusedError.
    """
    signed = open_envelope(data, LARGEST, place)
    if hashlib.sha256(signed.payload).hexdigest() != digest:
        text = "the release is not the one that was verified"
        raise MixAndMatchError(text, place=place, remedy="the hub's disk may be damaged; let the update be rolled back")
    release = read_release(signed.payload, place)
    mine, devices = _matching(release, hub, place)
    granted = None if permission is None else read_downgrade(open_envelope(permission, LARGEST, place).payload, place)
    return Verified(release, digest, frozenset(), 0, mine, devices, granted)


def raised(floor: Floor, verified: Verified, root: Root | None) -> Floor:
    """The floor once this release is CONFIRMED, and never earlier: the version before must stay one that may be gone back to.

    `root`: what `verify` was given, None for a source that has none. Compute it when the release is verified, keep it in the journal, and put
    it in force at CONFIRMED: by then the release may have expired. A permitted downgrade changes what is installed, and lowers nothing.
    """
    floor = floor if root is None else recovered(floor, root)
    release = verified.release
    epochs = dict(floor.epochs)
    for component in verified.hub + verified.devices:
        epochs[component.name] = max(component.security_epoch, epochs.get(component.name, 0))
    higher = release.number > floor.number or (release.number == floor.number and not floor.digest)
    return Floor(
        number=max(floor.number, release.number),
        digest=verified.digest if higher else floor.digest,
        epochs=epochs,
        root=max(floor.root, verified.root),
        installed={**floor.installed, **{component.name: component.version for component in verified.hub}},
        time=max(floor.time, min(release.created - SKEW, floor.time + AHEAD)),
    )


def _check_offered(release: Release, product: str, floor: Floor, now: Moment, place: str) -> None:
    """Product and expiry, and the times before which it is not to be installed: those wait for nobody who cannot know the time."""
    _check_current(release, product, floor, now, place)
    time, known = judged(now, floor)
    if known and time < release.created - SKEW:
        remedy = (
            "have the release signed again, by a machine with the right time; if it was right, look at the hub's clock"
        )
        raise NotYetError(f"signed in the future, at {instant(release.created)}", None, place=place, remedy=remedy)
    begins = release.not_before or 0
    if known and time < begins:
        remedy = "it is taken when that time has come"
        raise NotYetError(f"not to be installed before {instant(begins)}", begins, place=place, remedy=remedy)


def _check_current(document: Document, product: str, floor: Floor, now: Moment, place: str) -> None:
    if document.product != product:
        text = f"it is for {document.product}, and this hub is a {product}"
        raise WrongProductError(text, place=place, remedy="take the release of this product")
    if document.expires <= judged(now, floor)[0]:
        remedy = "take a newer release; if there is none, look at the hub's clock"
        raise ExpiredError(f"it expired at {instant(document.expires)}", place=place, remedy=remedy)


def _matching(release: Release, hub: Hub, place: str) -> tuple[tuple[Component, ...], tuple[Component, ...]]:
    """The components for this hub and those for devices, in the order of installation."""
    ordered = in_order(release.components)
    mine = tuple(c for c in ordered if c.hub and any(_is_board(pattern, hub) for pattern in c.hub.boards))
    devices = tuple(c for c in ordered if c.device)
    if not mine and any(c.hub for c in ordered):  # even if there are images for devices: it is of another board's hubs
        text = f"nothing in release {release.release} is for {' or '.join(hub.boards) or 'a hub of no known board'}"
        raise WrongHardwareError(text, place=place, remedy="take the release for this board")
    return mine, devices


def _is_board(pattern: str, hub: Hub) -> bool:
    return any(fnmatch.fnmatchcase(board, pattern) for board in hub.boards)


def _check_dependencies(components: tuple[Component, ...], floor: Floor, place: str) -> None:
    coming = {component.name: component.version for component in components if component.for_hub}
    for component in components:
        for needed in component.requires:
            here = floor.installed.get(needed.component)
            found = here if needed.component == component.name else coming.get(needed.component, here)
            if found is None or _order(found, place) < order(needed.minimum):
                text = f"{component.name} needs {needed.component} {needed.minimum}, and there is {found or 'none'}"
                remedy = f"install a release with {needed.component} {needed.minimum} first"
                raise DependencyError(text, place=place, remedy=remedy)


def _check_floor(
    components: tuple[Component, ...], release: Release, digest: str, floor: Floor, place: str
) -> RollbackError | None:
    """Why it goes back, which a permission may allow. Raises what no permission allows: EpochError, MixAndMatchError."""
    for component in components:
        least = floor.epochs.get(component.name, 0)
        if component.security_epoch < least:
            text = f"{component.name} {component.version} is of security epoch {component.security_epoch}, and {least} was confirmed"
            remedy = "take a release of this epoch or a later one: older ones have known holes"
            raise EpochError(text, place=place, remedy=remedy)
    if release.number == floor.number and floor.digest not in ("", digest):
        remedy = "take the next release; ask who signed two under one number"
        raise MixAndMatchError(f"release {release.number} was another one before", place=place, remedy=remedy)
    remedy = "take a newer release, or have a downgrade signed for this hub"
    if release.number < floor.number:
        text = f"release {release.number} is older than {floor.number}, which was confirmed"
        return RollbackError(text, place=place, remedy=remedy)
    for component in filter(_for_hub, components):
        here = floor.installed.get(component.name)
        if here is not None and order(component.version) < _order(here, place):
            text = f"{component.name} {component.version} is older than {here}, which is installed"
            return RollbackError(text, place=place, remedy=remedy)
    return None


def _for_hub(component: Component) -> bool:
    return component.for_hub


def _order(installed: str, place: str) -> tuple[object, ...]:
    try:
        return order(installed)
    except ValueError as error:
        remedy = "install by hand a release whose versions are like 2.1.0"
        raise DependencyError(f"what is installed cannot be compared: {error}", place=place, remedy=remedy) from None


def _permitted(
    data: bytes, release: Release, root: Root | None, hub: Hub, floor: Floor, now: Moment, place: str
) -> Downgrade:
    """The permission for this step back. Raises RefusedError."""
    verifier = None if root is None else root.verifiers.get(DOWNGRADE)
    if root is None or verifier is None:
        remedy = "have a root signed that names keys for downgrades"
        raise DowngradeError("the root permits no downgrades", place=place, remedy=remedy)
    signed = open_envelope(data, LARGEST, place)
    verifier.check(signed, DOWNGRADE, place)
    permission = read_downgrade(signed.payload, place)
    _check_current(permission, root.document.product, floor, now, place)
    if not judged(now, floor)[1]:
        remedy = "wait for the time to be synchronised (chrony or systemd-timesyncd)"
        raise TimeUnknownError("a downgrade is permitted for a time, and nobody knows it", place=place, remedy=remedy)
    wrong = ""
    if permission.to != release.number or floor.number not in (permission.from_, permission.to):
        wrong = f"from {permission.from_} to {permission.to}, and this is from {floor.number} to {release.number}"
    elif not _named(hub.id, permission.hubs):
        wrong = f"for other hubs than {hub.id}"
    if wrong:
        raise DowngradeError(f"the permission is {wrong}", place=place, remedy="have one signed for this hub and step")
    return permission


def _named(one: str, names: tuple[str, ...]) -> bool:
    return one in names or names == ("*",)


def check_device(component: Component, device: Device, permission: Downgrade | None = None, place: str = "") -> None:
    """Raises WrongHardwareError or RollbackError unless the image may go to this device; `permission` is that of Verified.

    A device gets a later version than it has, or another one if the permission names it. DependencyError: it needs a step in between.
    """
    match = component.device
    place = place or device.id
    if match is None or component.file_version is None:
        raise WrongHardwareError(f"{component.name} is for the hub", place=place, remedy="take an image for devices")
    same = (component.kind, match.manufacturer, match.target) == (device.kind, device.manufacturer, device.target)
    if not same or device.product not in match.products:
        raise WrongHardwareError(
            f"{component.name} is for other devices", place=place, remedy="take the image of its maker"
        )
    if match.hardware is not None and not match.hardware.holds(device.hardware):
        text = f"{component.name} is for hardware {match.hardware.min} to {match.hardware.max}, not {device.hardware}"
        raise WrongHardwareError(text, place=place, remedy="take the image for this hardware version")
    if match.current is not None and not match.current.holds(device.version):
        text = f"{component.name} follows versions {match.current.min} to {match.current.max}, not {device.version}"
        raise DependencyError(text, place=place, remedy="update the device to one of them first")
    back = permission is not None and _named(device.id, permission.devices)
    if component.file_version <= device.version and not back:
        text = f"it has version {device.version}, and {component.name} is {component.file_version}"
        raise RollbackError(text, place=place, remedy="take a newer image, or have a downgrade signed for this device")


def unsigned(policy: Policy, place: str = "") -> None:
    """For a job that names a file and nobody's signature, where no manifest lies beside the file either (`beside`).

    Returns if the owner has chosen that anyone who can reach the cloud account, the server or the cable replaces the firmware. Raises
    UnsignedError.
    """
    if policy != ACCEPT:
        remedy = f"put a signed manifest beside the file, as {beside('FILE')}: agent ota sign makes one"
        raise UnsignedError("nobody has signed it", place=place, remedy=remedy)


def beside(location: str) -> str:
    """Where the manifest of a file lies: path or address with `.release.json` after it, without query."""
    if "://" not in location:
        return location + SUFFIX
    parts = urlsplit(location)
    return urlunsplit(parts._replace(path=parts.path + SUFFIX, query="", fragment=""))


def next_root(location: str, root: Root) -> str:
    """Where the root that follows `root` lies, if there is one: beside the manifest at `location`, as `2.root.json` (TUF's names)."""
    name = f"{root.version + 1}.root.json"
    if "://" not in location:
        return f"{location.rpartition('/')[0]}/{name}" if "/" in location else name
    parts = urlsplit(location)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}", query="", fragment=""))
