"""What a hub never goes below. Where it is kept is for others to say; here is how it is merged and raised. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from agent.clock import BUILD_TIME, TRUSTED, Moment
from agent.ota.refusals import MalformedError
from agent.ota.roots import Root


@dataclass(frozen=True, slots=True)
class Floor:
    """What was confirmed before.

    `number` of the highest release, `digest` of its manifest (SHA-256, hex; "" if not known), `epochs` by component, `root`: version of the
    root under which they were raised, `installed`: version of each component of the hub (what is there now, not the highest), `time`:
    seconds since 1970 that it certainly is.
    """

    number: int = 0
    digest: str = ""
    epochs: Mapping[str, int] = field(default_factory=dict)
    root: int = 0
    installed: Mapping[str, str] = field(default_factory=dict)
    time: float = BUILD_TIME


def merged(floors: Iterable[Floor], root: Root | None) -> Floor:
    """One floor of several places (journal, file, TPM): of each value the highest; `installed` of the first that has any.

    Each is first brought down to what the root says of a compromise: a place that was not reached then does not bring the absurd numbers
    back.
    """
    capped = [floor if root is None else recovered(floor, root) for floor in floors] or [Floor()]
    highest = max(capped, key=lambda floor: (floor.number, bool(floor.digest)))
    epochs: dict[str, int] = {}
    for floor in capped:
        epochs |= {name: max(epoch, epochs.get(name, 0)) for name, epoch in floor.epochs.items()}
    return Floor(
        number=highest.number,
        digest=highest.digest,
        epochs=epochs,
        root=max(floor.root for floor in capped),
        installed=next((floor.installed for floor in capped if floor.installed), {}),
        time=max(floor.time for floor in capped),
    )


def recovered(floor: Floor, root: Root) -> Floor:
    """The floor with the numbers that a compromise has left taken down, once the root says so (fast-forward)."""
    told = root.document.recovery
    if told is None or floor.root >= told.root:
        return floor
    epochs = {name: min(epoch, told.security_epochs.get(name, epoch)) for name, epoch in floor.epochs.items()}
    time = min(floor.time, BUILD_TIME)  # dates were signed by the same hands
    if floor.number <= told.number:
        return replace(floor, epochs=epochs, root=told.root, time=time)
    return replace(floor, number=told.number, digest="", epochs=epochs, root=told.root, time=time)


def taken(floor: Floor, told: Floor, component: str, *, last: bool) -> Floor:
    """The floor once a component is confirmed, and with the `last` one the whole release, which `told` is the floor of.

    Other releases may have been confirmed since `told` was made, so that only what this component says is taken from it, and never less.
    """
    epochs, installed = dict(floor.epochs), dict(floor.installed)
    epochs[component] = max(told.epochs.get(component, 0), epochs.get(component, 0))
    if component in told.installed:
        installed[component] = told.installed[component]
    floor = replace(floor, epochs=epochs, installed=installed, time=max(floor.time, told.time))
    if not last:
        return floor
    highest = max(floor, told, key=lambda one: (one.number, bool(one.digest)))
    return replace(floor, number=highest.number, digest=highest.digest, root=max(floor.root, told.root))


def judged(moment: Moment, floor: Floor) -> tuple[float, bool]:
    """The time by which expiry is judged, and whether it is known. A clock that is behind the floor is wrong, whoever set it."""
    known = moment.quality == TRUSTED and moment.wall >= floor.time
    return (moment.wall if known else floor.time), known


def encoded(floor: Floor) -> bytes:
    """JSON, for the journal and for files."""
    return _FORM.dump_json(floor)


def decoded(data: bytes, place: str = "") -> Floor:
    """The opposite. Raises MalformedError."""
    try:
        return _FORM.validate_json(data, strict=True)
    except ValidationError:
        remedy = "it is written anew at the next confirmed update; the other places where the floor is kept still hold"
        raise MalformedError("it is no floor of updates", place=place, remedy=remedy) from None


_FORM: TypeAdapter[Floor] = TypeAdapter(Floor)
