"""What the hub itself says as a node: nodes ask it what it is, and wait for the answer. PURE.

Only what is answered here, or opened by the encapsulations, stands in its node information.
"""

import time
from typing import Any

from drivers.zwave.codec import Command, Raw, make

OWN_CLASSES = {  # class -> version
    0x5E: 2,  # Z-Wave Plus Info, the first one by rule
    0x55: 2,  # Transport Service
    0x56: 1,  # CRC-16 Encapsulation
    0x60: 4,  # Multi Channel
    0x6C: 1,  # Supervision
    0x72: 1,  # Manufacturer Specific
    0x86: 2,  # Version
    0x8A: 1,  # Time
    0x8F: 1,  # Multi Command
    0x98: 1,  # Security 0
    0x9F: 1,  # Security 2
}
PLUS_VERSION, CENTRAL_CONTROLLER, GATEWAY_ICON = 2, 0x00, 0x0500
SECURE = ("Security 2 Commands Supported Get", "Security 0 Commands Supported Get")


def answer(
    command: Command | Raw,
    *,
    secure: bool,
    identity: tuple[int, int, int],
    firmware: tuple[int, ...],
    now: time.struct_time | None = None,
) -> bytes | None:
    """The report that answers a node's Get; None for everything else.

    `identity`: manufacturer, product type and product of the stick; `firmware`: major and minor of its protocol. `now`: local time,
    None while the hub's clock is not to be trusted.
    """
    if not isinstance(command, Command) or (command.name in SECURE and not secure):
        return None
    manufacturer, product_type, product = identity
    version: dict[str, Any] = {"protocol": firmware[0], "protocol_sub": firmware[1], "firmware": 1, "firmware_sub": 0}
    match command.name:
        case "Z-Wave Plus Info Get":
            return make(
                "Z-Wave Plus Info Report",
                plus_version=PLUS_VERSION,
                role=CENTRAL_CONTROLLER,
                node_type=0,
                installer_icon=GATEWAY_ICON,
                user_icon=GATEWAY_ICON,
            )
        case "Manufacturer Specific Get":
            return make(
                "Manufacturer Specific Report", manufacturer=manufacturer, product_type=product_type, product=product
            )
        case "Version Get":
            return make("Version Report", library=1, hardware=0, targets=[], **version)
        case "Version Command Class Get":
            asked = command["command_class"]
            return make("Version Command Class Report", command_class=asked, version=OWN_CLASSES.get(asked, 0))
        case "Time Get":
            hour, minute, second = (0, 0, 0) if now is None else now[3:6]
            return make("Time Report", clock_failure=now is None, hour=hour, minute=minute, second=min(second, 59))
        case "Time Date Get" if now is not None:
            return make("Time Date Report", year=now.tm_year, month=now.tm_mon, day=now.tm_mday)
        case "Security 2 Commands Supported Get":  # nothing of ours needs security
            return make("Security 2 Commands Supported Report", command_classes=b"")
        case "Security 0 Commands Supported Get":
            return make("Security 0 Commands Supported Report", reports_to_follow=0, command_classes=b"")
    return None
