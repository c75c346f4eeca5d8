"""Scalings between Z-Wave values and the units of the Matter 1.4 clusters. PURE.

Z-Wave's "unknown" becomes None. Numbers that the specification reserves raise ValueError: a value that is nobody's is not reported.
"""

import colorsys
import math
from collections.abc import Callable, Mapping
from typing import Any

from agent.driver import InvalidParameters
from drivers.zwave.commands.switches import Level

FULL, MOST = 99, 254  # the highest level of Z-Wave and of Matter
WHOLE = 10_000  # hundredths of a percent
# Mireds of the white LEDs (2700 K, 6500 K): Z-Wave names none, so these are what most lamps are built with.
WARM, COLD = 370, 153
HIGHEST_XY = 0xFEFF
MIDDLE = 50  # slats lie flat

Colour = tuple[int, int, int]


def reserved(raw: Any, what: str) -> ValueError:
    """The error for a number that the specification reserves."""
    return ValueError(f"{what} {raw!r} is reserved")


def level(raw: int) -> int | None:
    """A level of 0..99 (0xFF: on, 0xFE: unknown) as 0..254. Raises ValueError."""
    if raw == Level.UNKNOWN:
        return None
    if raw == Level.ON:
        return MOST
    if raw > FULL:
        raise reserved(raw, "level")
    return round(raw * MOST / FULL)


def raw_level(value: int) -> int:
    """A level of 0..254 as 0..99. What is not off stays on."""
    return max(round(value * FULL / MOST), 1) if value else 0


def binary(raw: int) -> bool | None:
    """On or off: 0xFF, and 1..99 by devices that dim; 0xFE is unknown. Raises ValueError."""
    value = level(raw)
    return None if value is None else value > 0


def lift(raw: int) -> int | None:
    """A position of 0 (closed)..99 (open) as hundredths of a percent that are closed. Raises ValueError."""
    if raw == Level.UNKNOWN:
        return None
    if raw == Level.ON:
        return 0
    if raw > FULL:
        raise reserved(raw, "position")
    return WHOLE - round(raw * WHOLE / FULL)


def raw_lift(value: int) -> int:
    """The inverse of `lift`."""
    return round((WHOLE - value) * FULL / WHOLE)


def slats(raw: int) -> int | None:
    """An angle of 0 (closed), 50 (flat), 99 (closed to the other side) as hundredths of a percent that are closed. Raises ValueError."""
    if raw == Level.UNKNOWN:
        return None
    if raw > FULL:
        raise reserved(raw, "angle")
    return WHOLE - raw * WHOLE // MIDDLE if raw <= MIDDLE else round((raw - MIDDLE) * WHOLE / (FULL - MIDDLE))


def raw_slats(value: int) -> int:
    """The inverse of `slats`, on the side of angle 0."""
    return round((WHOLE - value) * MIDDLE / WHOLE)


def percent_level(raw: int) -> int:
    """A percentage as a level of 0..254. Raises ValueError."""
    return round(percent(raw) * MOST / 100)


def percent(raw: int) -> int:
    """A percentage. Raises ValueError."""
    if not 0 <= raw <= 100:  # noqa: PLR2004  percent
        raise reserved(raw, "percentage")
    return raw


def seconds(transition: int | None) -> int | str:
    """TransitionTime (tenths of a second; None: as the device likes) as a Z-Wave duration."""
    if transition is None:
        return "default"
    return max(round(transition / 10), 1) if transition else 0


# ---- measured values: (type, scale) -> factor into the unit of the cluster ----------------------------------------------------------


def linear(factor: float, offset: float = 0.0) -> Callable[[float], int]:
    """Into whole numbers of a cluster's unit."""
    return lambda value: round(value * factor + offset)


def exact(value: float) -> float:
    """A concentration: a floating number in its own unit."""
    return round(float(value), 6)


def illuminance(lux: float) -> int:
    """10,000 x log10(lx) + 1, 0 for what is too dark to be measured (Matter 1.4, 2.2.5.1). Raises ValueError."""
    if lux < 0:
        raise ValueError(f"{lux} lx")
    return min(round(10_000 * math.log10(lux)) + 1, 0xFFFE) if lux >= 1 else 0


# ---- colour -------------------------------------------------------------------------------------------------------------------------

_TO_XYZ = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)  # sRGB, white D65 (IEC 61966-2-1)
_TO_RGB = ((3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570))


def hue_saturation(colour: Colour) -> tuple[int, int]:
    """Red, green, blue of 0..255 as hue and saturation of 0..254."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
    return round(hue * MOST), round(saturation * MOST)


def from_hue(hue: int, saturation: int) -> Colour:
    """The inverse of `hue_saturation`, at full brightness: the level is another command class's."""
    red, green, blue = colorsys.hsv_to_rgb(hue / MOST, saturation / MOST, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def xy(colour: Colour) -> tuple[int, int]:
    """CurrentX and CurrentY of a colour that is not black."""
    light = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]  # noqa: PLR2004
    tri = [sum(a * b for a, b in zip(row, light, strict=True)) for row in _TO_XYZ]
    return tuple(min(round(part / sum(tri) * 65536), HIGHEST_XY) for part in tri[:2])  # type: ignore[return-value]


def from_xy(x: int, y: int) -> Colour:
    """The nearest colour that the three LEDs can make, at full brightness. Raises InvalidParameters for no colour at all."""
    if y == 0 or x + y > 65536:  # noqa: PLR2004  the fractions of a colour are at most 1 together
        raise InvalidParameters(f"x {x}, y {y} is no colour")
    tri = (x / y, 1.0, (65536 - x - y) / y)
    light = [max(sum(a * b for a, b in zip(row, tri, strict=True)), 0.0) for row in _TO_RGB]
    top = max(light)
    parts = [part / top for part in light]
    curved = [part * 12.92 if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055 for part in parts]  # noqa: PLR2004
    return tuple(round(part * 255) for part in curved)  # type: ignore[return-value]


def mireds(warm: int, cold: int) -> int:
    """The colour temperature of two white LEDs that are not both off."""
    return COLD + round((WARM - COLD) * warm / (warm + cold))


def from_mireds(value: int) -> tuple[int, int]:
    """Warm and cold white of 0..255; temperatures beyond the LEDs' are as near as they get."""
    warm = round(255 * (min(max(value, COLD), WARM) - COLD) / (WARM - COLD))
    return warm, 255 - warm


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None: for properties that cannot say "unknown"."""
    return {name: value for name, value in values.items() if value is not None}
