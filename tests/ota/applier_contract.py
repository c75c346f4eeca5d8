"""What an applier promises, whatever it installs: the meaning of agent/ota/appliers/contract.py.

All of it may be called again: after a power cut the engine does.
"""

from typing import Protocol

import pytest

from agent.ota.appliers.contract import Applier, ApplierError, Effect, Image
from agent.ota.manifest import Component
from agent.ota.plan import Runs


class Place(Protocol):
    """A board: two releases for it, and its start after an activation."""

    first: Component
    second: Component
    written: (
        Runs  # what an image is once it is written: old, but where the installer itself selects what it has installed
    )

    @property
    def applier(self) -> Applier:
        """As the process that was started last has it."""

    def images(self, component: Component) -> list[Image]:
        """The files of a component, open."""

    async def start(self) -> None:
        """What is selected runs."""

    async def fall_back(self) -> None:
        """What was selected does not come up, again and again; what ran before does."""


class PlaceOfDevices(Protocol):
    """Radios with devices, or sticks, that take firmware: they keep what they run, and there is no trial."""

    first: Component

    @property
    def applier(self) -> Applier:
        """As the process that was started last has it."""

    def images(self, component: Component) -> list[Image]:
        """The files of a component, open."""

    def spoil(self) -> None:
        """What was written is damaged."""

    def received(self) -> int:
        """Images that went over the air, of all."""

    def meant(self) -> int:
        """Devices that the release is for."""


async def _runs(place: Place | PlaceOfDevices, component: Component) -> Runs:
    return (await place.applier.describe(component)).runs


async def _write(place: Place | PlaceOfDevices, component: Component) -> None:
    seen: list[int] = []
    images = place.images(component)
    await place.applier.write(component, images, seen.append)
    for image in images:
        image.file.close()
    assert seen == sorted(seen)
    assert await place.applier.check(component)


async def _try(place: Place, component: Component) -> None:
    await _write(place, component)
    assert await place.applier.activate(component) != Effect.DONE
    await place.start()
    assert await _runs(place, component) == Runs.ON_TRIAL


async def check_contract_of_devices(place: PlaceOfDevices) -> None:
    """The same where what is activated is proved at once."""
    await _refuses_what_is_not_written(place)
    assert place.received() == 0
    for _ in range(2):
        await _write(place, place.first)
    place.spoil()
    assert not await place.applier.check(place.first)
    with pytest.raises(ApplierError):
        await place.applier.activate(place.first)
    assert place.received() == 0
    await _write(place, place.first)
    assert await _runs(place, place.first) == Runs.OLD
    for _ in range(2):
        assert await place.applier.activate(place.first) == Effect.PROVED
        assert await _runs(place, place.first) == Runs.UNDER_WAY
    assert place.received() == place.meant()
    for _ in range(2):
        await place.applier.confirm(place.first)
        assert await _runs(place, place.first) == Runs.CONFIRMED
        assert await place.applier.roll_back(place.first) == Effect.STAYS
        await place.applier.clean()
    assert await _runs(place, place.first) == Runs.CONFIRMED
    two = place.first.model_copy(update={"files": (*place.first.files, *place.first.files)})
    with pytest.raises(ApplierError):
        await place.applier.judge(two)


async def check_contract(place: Place) -> None:
    """One board's life: installed, confirmed, taken back, fallen back, each twice where it may be."""
    await _refuses_what_is_not_written(place)
    await _is_installed_for_good(place)
    await _is_taken_back(place)
    await _is_given_up_before_it_has_run(place)
    await _falls_back(place)
    await place.applier.clean()
    await place.applier.clean()
    assert await _runs(place, place.first) == Runs.CONFIRMED


async def _refuses_what_is_not_written(place: Place | PlaceOfDevices) -> None:
    assert await _runs(place, place.first) == Runs.OLD
    assert not await place.applier.check(place.first)
    with pytest.raises(ApplierError):
        await place.applier.activate(place.first)


async def _is_installed_for_good(place: Place) -> None:
    await _write(place, place.first)
    await _write(place, place.first)
    assert await _runs(place, place.first) == place.written
    for _ in range(2):
        assert await place.applier.activate(place.first) != Effect.DONE
        assert await _runs(place, place.first) == Runs.SELECTED
    await place.start()
    assert await _runs(place, place.first) == Runs.ON_TRIAL
    for _ in range(2):
        await place.applier.confirm(place.first)
        assert await _runs(place, place.first) == Runs.CONFIRMED
    await place.start()
    assert await _runs(place, place.first) == Runs.CONFIRMED


async def _is_taken_back(place: Place) -> None:
    await _try(place, place.second)
    for _ in range(2):
        assert await place.applier.roll_back(place.second) != Effect.DONE
    await place.start()
    assert await _runs(place, place.second) == Runs.FELL_BACK
    assert await place.applier.roll_back(place.second) == Effect.DONE
    assert await _runs(place, place.first) == Runs.CONFIRMED


async def _is_given_up_before_it_has_run(place: Place) -> None:
    await _write(place, place.second)
    await place.applier.activate(place.second)
    for _ in range(2):
        assert await place.applier.roll_back(place.second) == Effect.DONE
    await place.start()
    assert await _runs(place, place.first) == Runs.CONFIRMED
    assert await _runs(place, place.second) in (Runs.OLD, Runs.FELL_BACK)


async def _falls_back(place: Place) -> None:
    await _write(place, place.second)
    await place.applier.activate(place.second)
    await place.fall_back()
    assert await _runs(place, place.second) == Runs.FELL_BACK
    await _try(place, place.second)  # it may be tried anew
    await place.applier.roll_back(place.second)
    await place.start()
