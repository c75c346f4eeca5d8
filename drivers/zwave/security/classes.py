"""Security classes and what the modules of this package share. PURE."""

from collections.abc import Callable, Iterable
from enum import Enum

Entropy = Callable[[int], bytes]

KEY_SIZE = 16


class SecurityError(ValueError):
    """A message that is not authentic, or that cannot be read or written now; the text says why and names no key."""


class SecurityClass(Enum):
    """A network key. The value is its place in the order of trust; Long Range has keys of its own with the same bits on the wire."""

    TEMPORARY = 0
    S0 = 1
    S2_UNAUTHENTICATED = 2
    S2_AUTHENTICATED = 3
    S2_ACCESS_CONTROL = 4
    S2_AUTHENTICATED_LR = 5
    S2_ACCESS_CONTROL_LR = 6

    @property
    def bit(self) -> int:
        """Its bit in key masks of the key exchange; 0 for the temporary key."""
        return _BITS[self]

    @property
    def title(self) -> str:
        """Its name for people."""
        words = self.name.removesuffix("_LR").split("_")
        name = " ".join([words[0], *(word.capitalize() for word in words[1:])])
        return f"{name} (Long Range)" if self.name.endswith("_LR") else name


_BITS = {
    SecurityClass.TEMPORARY: 0x00,
    SecurityClass.S0: 0x80,
    SecurityClass.S2_UNAUTHENTICATED: 0x01,
    SecurityClass.S2_AUTHENTICATED: 0x02,
    SecurityClass.S2_ACCESS_CONTROL: 0x04,
    SecurityClass.S2_AUTHENTICATED_LR: 0x02,
    SecurityClass.S2_ACCESS_CONTROL_LR: 0x04,
}
MESH_CLASSES = (
    SecurityClass.S2_ACCESS_CONTROL,
    SecurityClass.S2_AUTHENTICATED,
    SecurityClass.S2_UNAUTHENTICATED,
    SecurityClass.S0,
)
LONG_RANGE_CLASSES = (SecurityClass.S2_ACCESS_CONTROL_LR, SecurityClass.S2_AUTHENTICATED_LR)
AUTHENTICATED = 0x02 | 0x04  # granting one of these needs the DSK


def classes(mask: int, *, long_range: bool = False) -> tuple[SecurityClass, ...]:
    """The classes of a key mask, most trusted first. Bits without a class are left out."""
    return tuple(found for found in (LONG_RANGE_CLASSES if long_range else MESH_CLASSES) if found.bit & mask)


def mask(found: Iterable[SecurityClass]) -> int:
    """The key mask of some classes."""
    total = 0
    for one in found:
        total |= one.bit
    return total


def ordered(found: Iterable[SecurityClass]) -> tuple[SecurityClass, ...]:
    """Most trusted first."""
    return tuple(sorted(found, key=lambda one: -one.value))
