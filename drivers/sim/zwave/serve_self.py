"""What the stick tells about itself, and its settings: versions, node lists, setup, memory. PURE."""

from typing import TYPE_CHECKING, Any

from drivers.sim.zwave.sticks import REGIONS
from drivers.zwave.function_tables import LONG_RANGE_NODES, Nvm, Region, Setup
from drivers.zwave.functions import FIRST_LONG_RANGE, LONG_RANGE_SEGMENT, setup_mask
from drivers.zwave.layout import Context, Values

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Handler, Stick

SOFTWARE = 0x04
NOISE = (-98, -97, -99)  # dBm on each channel
JAM = -41
_NVM_OK, _NVM_FAILED, _NVM_MISMATCH, _NVM_END = 0x00, 0x01, 0x02, 0xFF
_CHUNK = 128  # bytes that one read gives, and one write takes
_OPERATIONS = bytes((0x0F,))  # open, read, write, close
_MOST_RANDOM = 32


def init_data(stick: "Stick", _: Values, _now: float) -> None:
    network = stick.network
    nodes = [network.own, *(node.id for node in network.members() if node.id < FIRST_LONG_RANGE)]
    flags = {"sis": network.sis == network.own, "secondary": False, "timers": True, "end_device": False}
    chip = {"chip_type": stick.profile.chip[0], "chip_version": stick.profile.chip[1]}
    stick.respond("GetInitData", api_version=stick.profile.api_version, nodes=sorted(nodes), **flags, **chip)


def controller_capabilities(stick: "Stick", _: Values, _now: float) -> None:
    suc = stick.network.sis == stick.network.own
    flags = {"is_suc": suc, "sis_present": suc, "real_primary": True, "other_network": False, "secondary": False}
    stick.respond("GetControllerCapabilities", **flags)


def capabilities(stick: "Stick", _: Values, _now: float) -> None:
    manufacturer, kind, product = stick.profile.product
    _major, minor, patch = stick.profile.firmware
    numbers = {"manufacturer": manufacturer, "product_type": kind, "product_id": product}
    stick.respond("GetCapabilities", version=minor, revision=patch, functions=sorted(stick.functions), **numbers)


def version(stick: "Stick", _: Values, _now: float) -> None:
    stick.respond("GetVersion", version=stick.profile.version, library=stick.profile.library)


def protocol_version(stick: "Stick", _: Values, _now: float) -> None:
    major, minor, patch = stick.profile.firmware
    stick.respond("GetProtocolVersion", protocol=0, major=major, minor=minor, patch=patch, build=0, commit=bytes(16))


def identity(stick: "Stick", _: Values, _now: float) -> None:
    stick.respond("GetId", home_id=stick.network.home_id, node=stick.network.own)


def node_information(stick: "Stick", values: Values, _now: float) -> None:
    stick.information = (values["generic"], values["specific"], values["command_classes"])


def timeouts(stick: "Stick", values: Values, _now: float) -> None:
    old, stick.timeouts = stick.timeouts, (values["ack"], values["byte"])
    stick.respond("SetTimeouts", ack=old[0], byte=old[1])


def soft_reset(stick: "Stick", _: Values, now: float) -> None:
    # Its acknowledgement leaves before the chip goes.
    stick.network.timers.at(now + 0.01, lambda then: stick.reset(then, SOFTWARE))


def bootloader(stick: "Stick", _: Values, now: float) -> None:
    stick.network.timers.at(now + 0.01, lambda _then: stick.enter_bootloader())


def set_default(stick: "Stick", values: Values, now: float) -> None:
    def done(_then: float) -> None:
        stick.network.reset()
        stick.priority_routes.clear()
        if values["callback_id"]:
            stick.call_back("SetDefault", callback_id=values["callback_id"])

    stick.network.timers.at(now + 0.2, done)


def radio_mode(stick: "Stick", values: Values, _now: float) -> None:
    stick.network.radio_on = bool(values["on"])
    stick.respond("SetRFReceiveMode", success=1)


def random(stick: "Stick", values: Values, _now: float) -> None:
    count = values["count"] or 2
    data = stick.network.rng.randbytes(min(count, _MOST_RANDOM))
    stick.respond("GetRandom", success=1, random=data)


def background(stick: "Stick", _: Values, _now: float) -> None:
    channels = NOISE if stick.profile.long_range else NOISE[:2]
    stick.respond("GetBackgroundRSSI", rssi=[JAM] * len(channels) if stick.network.jammed else list(channels))


def watchdog_on(stick: "Stick", _: Values, _now: float) -> None:
    stick.watchdog = True


def watchdog_off(stick: "Stick", _: Values, _now: float) -> None:
    stick.watchdog = False


# ---- setup ------------------------------------------------------------------------------------------------------------------


def setup(stick: "Stick", values: Values, now: float) -> None:
    command = values["command"]
    answer = _SETUP[command](stick, values, now) if command in stick.profile.setup and command in _SETUP else None
    if answer is None:
        stick.respond("SerialAPISetup", command=Setup.UNSUPPORTED, unsupported=int(command))
    else:
        stick.respond("SerialAPISetup", command=command, **answer)


def _set_reports(stick: "Stick", values: Values, _now: float) -> Values:
    stick.tx_reports = bool(values["enable"])
    return {"success": 1}


def _set_power(stick: "Stick", values: Values, _now: float) -> Values:
    stick.powers["mesh"] = (values["power"], values["measured_0dbm"])
    return {"success": 1}


def _set_long_range_power(stick: "Stick", values: Values, _now: float) -> Values:
    stick.powers["long_range"] = (values["limit"], 0)
    return {"success": 1}


def _power(stick: "Stick", _values: Values, _now: float) -> Values:
    return dict(zip(("power", "measured_0dbm"), stick.powers["mesh"], strict=True))


def _region_info(_stick: "Stick", values: Values, _now: float) -> Values:
    long_range, includes = REGIONS.get(values["region"], (False, None))
    found: dict[str, Any] = {"region": values["region"], "zwave": True, "long_range": long_range}
    return {**found, "includes": Region.UNKNOWN if includes is None else includes}


def _set_region(stick: "Stick", values: Values, _now: float) -> Values:
    if values["region"] not in REGIONS:
        return {"success": 0}
    stick.region = values["region"]
    return {"success": 1}


def _set_node_id_type(stick: "Stick", values: Values, _now: float) -> Values:
    stick.context = Context(wide=values["bytes"] == 2)  # noqa: PLR2004  two bytes
    return {"bytes": 2 if stick.context.wide else 1}


_SETUP = {
    Setup.GET_SUPPORTED: lambda stick, _values, _now: setup_mask(stick.profile.setup),
    Setup.SET_TX_STATUS_REPORT: _set_reports,
    Setup.SET_POWERLEVEL: _set_power,
    Setup.SET_POWERLEVEL_16: _set_power,
    Setup.GET_POWERLEVEL: _power,
    Setup.GET_POWERLEVEL_16: _power,
    Setup.SET_LR_MAX_TX_POWER: _set_long_range_power,
    Setup.GET_LR_MAX_TX_POWER: lambda stick, _values, _now: {"limit": stick.powers["long_range"][0]},
    Setup.GET_MAX_PAYLOAD: lambda stick, _values, _now: {"size": stick.profile.payload},
    Setup.GET_LR_MAX_PAYLOAD: lambda stick, _values, _now: {"size": stick.profile.long_range_payload},
    Setup.GET_SUPPORTED_REGIONS: lambda _stick, _values, _now: {"regions": list(REGIONS)},
    Setup.GET_REGION_INFO: _region_info,
    Setup.GET_REGION: lambda stick, _values, _now: {"region": stick.region},
    Setup.SET_REGION: _set_region,
    Setup.SET_NODE_ID_TYPE: _set_node_id_type,
}


# ---- Long Range ---------------------------------------------------------------------------------------------------------------


def long_range_nodes(stick: "Stick", values: Values, _now: float) -> None:
    segment = values["segment"]
    first = FIRST_LONG_RANGE + segment * LONG_RANGE_SEGMENT
    ids = [node.id - first for node in stick.network.members() if node.id >= first]
    here = [number for number in ids if number < LONG_RANGE_NODES * 8]
    stick.respond("GetLongRangeNodes", more=int(len(here) < len(ids)), segment=segment, mask=here)


def long_range_channel(stick: "Stick", _: Values, _now: float) -> None:
    stick.respond("GetLongRangeChannel", channel=stick.long_range_channel, auto_active=False, auto_supported=True)


def set_long_range_channel(stick: "Stick", values: Values, _now: float) -> None:
    stick.long_range_channel = values["channel"]
    stick.respond("SetLongRangeChannel", success=1)


# ---- memory -------------------------------------------------------------------------------------------------------------------


def nvm_id(stick: "Stick", _: Values, _now: float) -> None:
    size = stick.memory.size.bit_length() - 1  # 14: 16 KB
    stick.respond("NvmGetId", size=3, manufacturer=0x20, memory_type=0x20, memory_size=size)


def nvm_read(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("NvmReadBuffer", payload=stick.memory.read(values["offset"], values["size"]))


def nvm_write(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("NvmWriteBuffer", success=int(stick.memory.write(values["offset"], values["payload"])))


def nvm_read_byte(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("NvmReadByte", byte=stick.memory.read(values["offset"], 1)[0])


def nvm_write_byte(stick: "Stick", values: Values, _now: float) -> None:
    stick.respond("NvmWriteByte", success=int(stick.memory.write(values["offset"], bytes((values["byte"],)))))


def _nvm_operation(stick: "Stick", values: Values, name: str) -> None:
    memory, command = stick.memory, values["command"]
    if command in (Nvm.READ, Nvm.WRITE) and memory.opened and memory.mixes(write=command == Nvm.WRITE):
        stick.respond(name, status=_NVM_MISMATCH, offset=0, payload=b"")
        return
    match command:
        case Nvm.OPEN:
            memory.open()
            # Firmware with 16-bit offsets says 0 for 64 KB.
            more = {"payload": _OPERATIONS} if name == "NvmOperationExtended" else {"payload": b""}
            stick.respond(name, status=_NVM_OK, offset=memory.size, **more)
        case Nvm.READ if memory.opened:
            data = memory.read(values["offset"], min(values["size"], _CHUNK))
            end = values["offset"] + len(data) >= memory.size
            stick.respond(name, status=_NVM_END if end else _NVM_OK, offset=values["offset"], payload=data)
        case Nvm.WRITE if memory.opened:
            done = len(values["payload"]) <= _CHUNK and memory.write(values["offset"], values["payload"])
            end = values["offset"] + len(values["payload"]) >= memory.size
            status = _NVM_FAILED if not done else _NVM_END if end else _NVM_OK
            stick.respond(name, status=status, offset=values["offset"], payload=b"")
        case Nvm.CLOSE:
            memory.close()
            stick.respond(name, status=_NVM_OK, offset=0, payload=b"")
        case _:
            stick.respond(name, status=_NVM_FAILED, offset=0, payload=b"")


def nvm_operation(stick: "Stick", values: Values, _now: float) -> None:
    _nvm_operation(stick, values, "NvmOperation")


def nvm_operation_extended(stick: "Stick", values: Values, _now: float) -> None:
    _nvm_operation(stick, values, "NvmOperationExtended")


SELF: dict[str, "Handler"] = {
    "GetInitData": init_data,
    "GetControllerCapabilities": controller_capabilities,
    "GetCapabilities": capabilities,
    "GetVersion": version,
    "GetProtocolVersion": protocol_version,
    "GetId": identity,
    "SetApplicationNodeInformation": node_information,
    "SetTimeouts": timeouts,
    "SoftReset": soft_reset,
    "EnterBootloader": bootloader,
    "SetDefault": set_default,
    "SetRFReceiveMode": radio_mode,
    "GetRandom": random,
    "GetBackgroundRSSI": background,
    "StartWatchdog": watchdog_on,
    "StopWatchdog": watchdog_off,
    "SerialAPISetup": setup,
    "GetLongRangeNodes": long_range_nodes,
    "GetLongRangeChannel": long_range_channel,
    "SetLongRangeChannel": set_long_range_channel,
    "NvmGetId": nvm_id,
    "NvmReadBuffer": nvm_read,
    "NvmWriteBuffer": nvm_write,
    "NvmReadByte": nvm_read_byte,
    "NvmWriteByte": nvm_write_byte,
    "NvmOperation": nvm_operation,
    "NvmOperationExtended": nvm_operation_extended,
}
