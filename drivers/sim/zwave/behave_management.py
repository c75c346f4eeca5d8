"""How nodes are identified, associated, configured and woken (SDS13782, SDS13784). PURE.

Root values: name, location, config/<parameter>, clock, powerlevel.
"""

from typing import Any

from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.sim.zwave.profiles import MANUFACTURER, Parameter
from drivers.zwave.codec import COMMAND_CLASSES, Command

LIFELINE = 1
LIBRARY = 3  # an end node that can route
PROTOCOL = (7, 18)
LARGEST_GROUP = 5  # nodes
ANY_CLASS = (0xFF, 0xFF)  # of End Point Find
GENERAL, CONTROL = 0x0001, 0x2001  # AGI profiles: lifeline, key 1
ALONE = -1  # an association with a node, not with one of its endpoints
_INTERVALS = ("minimum", "maximum", "default", "step")
_REPORTS = (  # what a lifeline carries, by class: command numbers of the reports
    (0x5A, 0x01), (0x25, 0x03), (0x26, 0x03), (0x33, 0x04), (0x31, 0x05), (0x32, 0x02), (0x71, 0x05), (0x62, 0x03), (0x80, 0x03),
    (0x5B, 0x03), (0x40, 0x03), (0x43, 0x03), (0x6A, 0x04), (0x66, 0x03), (0x79, 0x0A), (0x30, 0x03), (0x87, 0x03),
)  # fmt: skip


def manufacturer_get(place: Place, _: Command, _now: float) -> Result:
    product = place.node.profile.product
    return [
        Command(
            "Manufacturer Specific Report", {"manufacturer": MANUFACTURER, "product_type": 0x0100, "product": product}
        )
    ]


def device_specific_get(place: Place, _: Command, _now: float) -> Result:
    serial = place.node.dsk[:8]
    return [Command("Manufacturer Specific Device Specific Report", {"type": 1, "format": 1, "id": serial})]


def version_get(place: Place, _: Command, _now: float) -> Result:
    firmware = place.node.firmware
    values = {"library": LIBRARY, "protocol": PROTOCOL[0], "protocol_sub": PROTOCOL[1], "hardware": 1, "targets": []}
    return [Command("Version Report", {**values, "firmware": firmware[0], "firmware_sub": firmware[1]})]


def version_of_class(place: Place, command: Command, _now: float) -> Result:
    asked = command["command_class"]
    version = max(other.classes.get(asked, 0) for other in place.node.places)
    return [Command("Version Command Class Report", {"command_class": asked, "version": version})]


def version_capabilities(_place: Place, _: Command, _now: float) -> Result:
    return [Command("Version Capabilities Report", {"zwave_software": True, "command_class": True, "version": True})]


def version_software(place: Place, _: Command, _now: float) -> Result:
    sdk = bytes((*PROTOCOL, 1))
    own = bytes((*place.node.firmware, 0))
    versions: dict[str, Any] = {"sdk": sdk, "framework": sdk, "host": bytes(3), "protocol": sdk, "application": own}
    builds = {f"{part}_build": 0 for part in ("framework", "host", "protocol", "application")}
    return [Command("Version Z-Wave Software Report", {**versions, **builds})]


def plus_info(place: Place, _: Command, _now: float) -> Result:
    profile = place.node.profile
    icons = {"installer_icon": profile.icon, "user_icon": profile.icon}
    return [Command("Z-Wave Plus Info Report", {"plus_version": 2, "role": profile.role, "node_type": 0, **icons})]


# ---- Association, Multi Channel Association, AGI ---------------------------------------------------------------------------


def _group(place: Place, number: int) -> list[list[int]] | None:
    groups = place.node.groups(place.number)
    return groups.setdefault(number, []) if 0 < number <= len(place.node.profile.groups) else None


def association_set(place: Place, command: Command, _now: float) -> Result:
    group = _group(place, command["group"])
    if group is None:
        return False
    wanted = [[node, ALONE] for node in command["nodes"]]
    wanted += [[entry["node"], entry["endpoint"]] for entry in command.get("endpoints", [])]
    new = [entry for entry in wanted if entry not in group]
    if len(group) + len(new) > LARGEST_GROUP:
        return False
    group.extend(new)
    return True


def association_remove(place: Place, command: Command, _now: float) -> Result:
    nodes = list(command["nodes"])
    pairs = [[entry["node"], entry["endpoint"]] for entry in command.get("endpoints", [])]
    numbers = [command["group"]] if command["group"] else range(1, len(place.node.profile.groups) + 1)
    for number in numbers:
        group = _group(place, number)
        if group is None:
            return False
        plain = "Multi Channel" not in command.name
        kept = [
            entry
            for entry in group
            if (nodes or pairs) and not (entry[0] in nodes and (plain or entry[1] == ALONE)) and entry not in pairs
        ]
        group[:] = kept
    return True


def association_get(place: Place, command: Command, _now: float) -> Result:
    number = command["group"] if 0 < command["group"] <= len(place.node.profile.groups) else LIFELINE
    group = _group(place, number) or []
    values = {"group": number, "max_nodes": LARGEST_GROUP, "reports_to_follow": 0}
    nodes = [node for node, endpoint in group if endpoint == ALONE]
    if command.name == "Association Get":
        return [Command("Association Report", {**values, "nodes": bytes(nodes)})]
    pairs = [{"node": node, "endpoint": endpoint} for node, endpoint in group if endpoint != ALONE]
    return [Command("Multi Channel Association Report", {**values, "nodes": nodes, "endpoints": pairs})]


def groupings(place: Place, command: Command, _now: float) -> Result:
    name = command.name.replace("Get", "Report")
    return [Command(name, {"groups": len(place.node.profile.groups)})]


def specific_group(_place: Place, _: Command, _now: float) -> Result:
    return [Command("Association Specific Group Report", {"group": 0})]


def group_name(place: Place, command: Command, _now: float) -> Result:
    names = place.node.profile.groups
    number = command["group"] if 0 < command["group"] <= len(names) else LIFELINE
    return [Command("Association Group Information Name Report", {"group": number, "name": names[number - 1]})]


def group_info(place: Place, command: Command, _now: float) -> Result:
    everything = range(1, len(place.node.profile.groups) + 1)
    numbers = everything if command["list_mode"] else [command["group"]]
    groups = [
        {"group": number, "profile": GENERAL if number == LIFELINE else CONTROL, "event": 0} for number in numbers
    ]
    values = {"list_mode": command["list_mode"], "dynamic": False, "groups": groups}
    return [Command("Association Group Information Info Report", values)]


def group_commands(place: Place, command: Command, _now: float) -> Result:
    lifeline = [pair for pair in _REPORTS if pair[0] in place.classes]
    pairs = lifeline if command["group"] <= LIFELINE else [(0x20, 0x01)]
    values = {"group": command["group"], "commands": bytes(byte for pair in pairs for byte in pair)}
    return [Command("Association Group Information Command List Report", values)]


# ---- Wake Up ----------------------------------------------------------------------------------------------------------------


def interval_set(place: Place, command: Command, now: float) -> Result:
    node = place.node
    least, most, _, step = node.profile.interval
    seconds = command["seconds"]
    if seconds and (not least <= seconds <= most or seconds % step):
        return False
    node.wake_interval, node.wake_target = seconds, command["node"]
    node.plan_wake_up(now)
    return True


def interval_get(place: Place, _: Command, _now: float) -> Result:
    return [Command("Wake Up Interval Report", {"seconds": place.node.wake_interval, "node": place.node.wake_target})]


def interval_capabilities(place: Place, _: Command, _now: float) -> Result:
    values = dict(zip(_INTERVALS, place.node.profile.interval, strict=True))
    return [Command("Wake Up Interval Capabilities Report", {**values, "on_demand": False})]


def no_more_information(place: Place, _: Command, now: float) -> Result:
    place.node.awake_until = now
    return True


# ---- Configuration ------------------------------------------------------------------------------------------------------------


def _parameter(place: Place, number: int) -> Parameter | None:
    return next((one for one in place.node.profile.parameters if one.number == number), None)


def _value(place: Place, parameter: Parameter) -> int:
    return int(place.values.get(f"config/{parameter.number}", parameter.default))


def _configure(place: Place, number: int, value: int | None) -> bool:
    """None: back to the default."""
    parameter = _parameter(place, number)
    if parameter is None or (value is not None and not parameter.least <= value <= parameter.most):
        return False
    place.values[f"config/{number}"] = parameter.default if value is None else value
    return True


def config_set(place: Place, command: Command, _now: float) -> Result:
    parameter = _parameter(place, command["parameter"])
    if parameter is None or (not command["default"] and command["size"] != parameter.size):
        return False
    return _configure(place, parameter.number, None if command["default"] else command["value"])


def config_get(place: Place, command: Command, _now: float) -> Result:
    parameters = place.node.profile.parameters
    if not parameters:
        return None
    one = _parameter(place, command["parameter"]) or parameters[0]
    return [Command("Configuration Report", {"parameter": one.number, "size": one.size, "value": _value(place, one)})]


def config_bulk_set(place: Place, command: Command, _now: float) -> Result:
    first = command["parameter"]
    done = [
        _configure(place, first + at, None if command["default"] else value)
        for at, value in enumerate(command["values"])
    ]
    return all(done)


def config_bulk_get(place: Place, command: Command, _now: float) -> Result:
    first = command["parameter"]
    found = [one for at in range(command["count"]) if (one := _parameter(place, first + at)) is not None]
    values = {"size": max((one.size for one in found), default=1), "values": [_value(place, one) for one in found]}
    flags = {"default": False, "handshake": False, "reports_to_follow": 0}
    return [Command("Configuration Bulk Report", {"parameter": first, **flags, **values})]


def config_text(place: Place, command: Command, _now: float) -> Result:
    """Names and texts of parameters."""
    one = _parameter(place, command["parameter"])
    key = "name" if command.name == "Configuration Name Get" else "info"
    text = "" if one is None else getattr(one, key)
    values = {"parameter": command["parameter"], "reports_to_follow": 0, key: text}
    return [Command(command.name.replace("Get", "Report"), values)]


def config_properties(place: Place, command: Command, _now: float) -> Result:
    asked = command["parameter"]
    parameters = place.node.profile.parameters
    following = next((one.number for one in parameters if one.number > asked), 0)
    one = _parameter(place, asked)
    flags: dict[str, Any] = {
        "parameter": asked,
        "format": 0,
        "next_parameter": following,
        "no_bulk": False,
        "advanced": False,
    }
    if one is None:
        return [Command("Configuration Properties Report", {**flags, "size": 0})]
    limits = {"min_value": one.least, "max_value": one.most, "default_value": one.default}
    return [Command("Configuration Properties Report", {**flags, "size": one.size, **limits})]


def config_reset(place: Place, _: Command, _now: float) -> Result:
    for key in [key for key in place.values if key.startswith("config/")]:
        del place.values[key]
    return True


# ---- Node Naming, Clock, Powerlevel --------------------------------------------------------------------------------------------


def name_set(place: Place, command: Command, _now: float) -> Result:
    place.values["name" if "Name" in command.name.removeprefix("Node Naming") else "location"] = command["text"]
    return True


def name_get(place: Place, command: Command, _now: float) -> Result:
    key = "name" if "Name" in command.name.removeprefix("Node Naming") else "location"
    return [Command(command.name.replace("Get", "Report"), {"text": place.values.get(key, "")})]


def clock_set(place: Place, command: Command, _now: float) -> Result:
    place.values["clock"] = [command["weekday"], command["hour"], command["minute"]]
    return True


def clock_get(place: Place, _: Command, _now: float) -> Result:
    weekday, hour, minute = place.values.get("clock", [0, 0, 0])
    return [Command("Clock Report", {"weekday": weekday, "hour": hour, "minute": minute})]


def power_get(place: Place, _: Command, _now: float) -> Result:
    level, seconds = place.values.get("powerlevel", [0, 0])
    return [Command("Powerlevel Report", {"level": level, "seconds": seconds})]


def power_set(place: Place, command: Command, _now: float) -> Result:
    place.values["powerlevel"] = [command["level"], command["seconds"]]
    return True


def power_test(place: Place, command: Command, now: float) -> Result:
    """All frames of a link test arrive."""
    place.values["power.test"] = [command["node"], 1, command["frames"]]
    place.report(_test_report(place), now)
    return True


def _test_report(place: Place) -> Command:
    node, status, acknowledged = place.values.get("power.test", [0, 0, 0])
    return Command("Powerlevel Test Node Report", {"node": node, "status": status, "acknowledged": acknowledged})


def power_tested(place: Place, _: Command, _now: float) -> Result:
    return [_test_report(place)]


# ---- Multi Channel: the endpoints themselves ------------------------------------------------------------------------------------


def endpoints_get(place: Place, _: Command, _now: float) -> Result:
    count = len(place.node.places) - 1
    values = {"dynamic": False, "identical": True, "individual": count, "aggregated": 0}
    return [Command("Multi Channel End Point Report", values)]


def endpoint_capability(place: Place, command: Command, _now: float) -> Result:
    number = command["endpoint"]
    if not 0 < number < len(place.node.places):
        return None
    part = place.node.places[number].part
    told = [one for one in part.classes if one in COMMAND_CLASSES and one not in place.node.hidden(number)]
    values = {"dynamic": False, "endpoint": number, "generic": part.generic, "specific": part.specific}
    return [Command("Multi Channel Capability Report", {**values, "command_classes": bytes(told)})]


def endpoint_find(place: Place, command: Command, _now: float) -> Result:
    wanted = (command["generic"], command["specific"])
    found = [
        other.number
        for other in place.node.places[1:]
        if wanted in (ANY_CLASS, (other.part.generic, other.part.specific))
    ]
    values = {"reports_to_follow": 0, "generic": wanted[0], "specific": wanted[1]}
    return [Command("Multi Channel End Point Find Report", {**values, "endpoints": bytes(found)})]


BEHAVIOURS: dict[str, Behaviour] = {
    "Manufacturer Specific Get": manufacturer_get,
    "Manufacturer Specific Device Specific Get": device_specific_get,
    "Version Get": version_get,
    "Version Command Class Get": version_of_class,
    "Version Capabilities Get": version_capabilities,
    "Version Z-Wave Software Get": version_software,
    "Z-Wave Plus Info Get": plus_info,
    "Association Set": association_set,
    "Association Remove": association_remove,
    "Association Get": association_get,
    "Association Groupings Get": groupings,
    "Association Specific Group Get": specific_group,
    "Multi Channel Association Set": association_set,
    "Multi Channel Association Remove": association_remove,
    "Multi Channel Association Get": association_get,
    "Multi Channel Association Groupings Get": groupings,
    "Association Group Information Name Get": group_name,
    "Association Group Information Info Get": group_info,
    "Association Group Information Command List Get": group_commands,
    "Wake Up Interval Set": interval_set,
    "Wake Up Interval Get": interval_get,
    "Wake Up Interval Capabilities Get": interval_capabilities,
    "Wake Up No More Information": no_more_information,
    "Configuration Set": config_set,
    "Configuration Get": config_get,
    "Configuration Bulk Set": config_bulk_set,
    "Configuration Bulk Get": config_bulk_get,
    "Configuration Name Get": config_text,
    "Configuration Info Get": config_text,
    "Configuration Properties Get": config_properties,
    "Configuration Default Reset": config_reset,
    "Node Naming Name Set": name_set,
    "Node Naming Name Get": name_get,
    "Node Naming Location Set": name_set,
    "Node Naming Location Get": name_get,
    "Clock Set": clock_set,
    "Clock Get": clock_get,
    "Powerlevel Get": power_get,
    "Powerlevel Set": power_set,
    "Powerlevel Test Node Set": power_test,
    "Powerlevel Test Node Get": power_tested,
    "Multi Channel End Point Get": endpoints_get,
    "Multi Channel Capability Get": endpoint_capability,
    "Multi Channel End Point Find": endpoint_find,
}
