"""Who was heard: a bounded table of advertisers, and which advertisement is a repetition. PURE: time is an argument (monotonic seconds).

A device says the same thing many times, BlueZ tells it again for each change of the signal's strength, and phones come with a new address
every quarter of an hour. So what was said is compared, and the table forgets who was heard longest ago.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from drivers.ble.adverts import Advert


@dataclass(slots=True)
class Sighting:
    """The last that was heard of one address. `handle` is what the scanner knows it by."""

    advert: Advert
    at: float
    handle: Any = None
    content: Hashable = None


def content(advert: Advert) -> Hashable:
    """What an advertisement says, without how strong it was."""
    return (tuple(advert.manufacturer.items()), tuple(advert.service_data.items()), advert.services, advert.name)


class Seen:
    """The newest `size` advertisers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._table: OrderedDict[str, Sighting] = OrderedDict()
        self.adverts = 0
        self.repeated = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._table)

    def take(self, advert: Advert, now: float, handle: Any = None) -> bool:
        """Note an advertisement. True when it says something else than the one before of this address."""
        self.adverts += 1
        said = content(advert)
        known = self._table.get(advert.address)
        if known is None:
            if len(self._table) >= self._size:
                self._table.popitem(last=False)
                self.forgotten += 1
            self._table[advert.address] = Sighting(advert, now, handle, said)
            return True
        self._table.move_to_end(advert.address)
        fresh = known.content != said
        known.advert, known.at, known.handle, known.content = advert, now, handle, said
        self.repeated += not fresh
        return fresh

    def get(self, address: str) -> Sighting | None:
        return self._table.get(address)

    def all(self) -> list[Sighting]:
        return list(self._table.values())

    def again(self) -> list[Sighting]:
        """All of the table, for a window that has just opened: what is said next counts as new."""
        for sighting in self._table.values():
            sighting.content = None
        return list(self._table.values())

    def forget(self, address: str) -> None:
        """What it says next is new."""
        self._table.pop(address, None)
