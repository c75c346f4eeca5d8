"""What the requests on the control sockets of simulated radios say: each value is checked before anything is done. PURE."""

from collections.abc import Mapping
from typing import Any

LONGEST = 86_400.0  # seconds


class ControlError(ValueError):
    """The request names something that is not there; the text says what."""


def whole(request: Mapping[str, Any], key: str, default: Any = None, most: int = 0xFFFF) -> int:
    """A whole number from 0 to `most`, as a number or in text (0x0402). Raises ControlError."""
    value = request.get(key, default)
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise ControlError(f"{key} is a number from 0 to {most}, not {value!r}")
    return number


def real(request: Mapping[str, Any], key: str, default: Any = None, most: float = LONGEST) -> float:
    """A number from 0 to `most`. Raises ControlError."""
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        raise ControlError(f"{key} is a number from 0 to {most:g}, not {value!r}")
    return float(value)


def truth(request: Mapping[str, Any], key: str, *, default: bool | None = None) -> bool:
    """A truth value. Raises ControlError."""
    value = request.get(key, default)
    if not isinstance(value, bool):
        raise ControlError(f"{key} is true or false, not {value!r}")
    return value
