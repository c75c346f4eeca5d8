"""The simulated sticks as tables: which functions each chip has, and what it says about itself. PURE."""

from dataclasses import dataclass

from drivers.zwave.function_tables import Region, Setup

_TINY = (
    "GetInitData",
    "ApplicationCommand",
    "GetControllerCapabilities",
    "GetCapabilities",
    "SendData",
    "GetVersion",
    "GetId",
    "GetNodeProtocolInfo",
    "ApplicationUpdate",
    "GetSUCNodeId",
    "RequestNodeInfo",
)
_COMMON = (
    *_TINY,
    "SetApplicationNodeInformation",
    "SoftReset",
    "SetRFReceiveMode",
    "SendNodeInformation",
    "SendDataMulti",
    "SendDataAbort",
    "GetRandom",
    "GetBackgroundRSSI",
    "SetDefault",
    "AssignReturnRoute",
    "DeleteReturnRoute",
    "RequestNodeNeighborUpdate",
    "AddNode",
    "RemoveNode",
    "AssignSUCReturnRoute",
    "SetSUCNodeId",
    "DeleteSUCReturnRoute",
    "SendSUCId",
    "RemoveFailedNode",
    "IsFailedNode",
    "ReplaceFailedNode",
    "GetRoutingInfo",
    "GetPriorityRoute",
    "SetPriorityRoute",
    "AssignPriorityReturnRoute",
    "AssignPrioritySUCReturnRoute",
    "StartWatchdog",
    "StopWatchdog",
)
_500 = (*_COMMON, "SetTimeouts", "NvmGetId", "NvmReadBuffer", "NvmWriteBuffer", "NvmReadByte", "NvmWriteByte")
_800 = (
    *_COMMON,
    "GetProtocolVersion",
    "Started",
    "SerialAPISetup",
    "EnterBootloader",
    "NvmOperation",
    "NvmOperationExtended",
    "BridgeApplicationCommand",
    "BridgeSendData",
    "BridgeSendDataMulti",
    "GetLongRangeNodes",
    "GetLongRangeChannel",
    "SetLongRangeChannel",
)
REGIONS: dict[Region, tuple[bool, Region | None]] = {  # region -> (Long Range, the region that it includes)
    Region.EUROPE: (False, None),
    Region.USA: (False, None),
    Region.AUSTRALIA_NEW_ZEALAND: (False, None),
    Region.USA_LONG_RANGE: (True, Region.USA),
    Region.EUROPE_LONG_RANGE: (True, Region.EUROPE),
}


@dataclass(frozen=True, slots=True)
class StickProfile:
    """One kind of stick. `nvm` is the size of its memory in bytes, `payload` the longest frame of a node (0: not told)."""

    functions: tuple[str, ...]
    version: str  # of the library, as GetVersion tells
    library: int  # 1 static controller, 7 bridge controller
    firmware: tuple[int, int, int]
    api_version: int
    chip: tuple[int, int]
    product: tuple[int, int, int]
    setup: tuple[Setup, ...] = ()
    nvm: int = 0
    payload: int = 46
    long_range_payload: int = 0

    @property
    def bridge(self) -> bool:
        """It speaks the bridge forms of sending and receiving."""
        return "BridgeSendData" in self.functions

    @property
    def long_range(self) -> bool:
        return bool(self.long_range_payload)


STICKS = {
    "tiny": StickProfile(_TINY, "Z-Wave 3.42", 1, (3, 42, 0), 5, (5, 0), (0, 1, 1)),
    "500": StickProfile(_500, "Z-Wave 6.07", 1, (6, 7, 0), 8, (5, 0), (0, 1, 2), nvm=0x4000),
    "800": StickProfile(
        _800,
        "Z-Wave 7.23",
        7,
        (7, 23, 2),
        10,
        (8, 0),
        (0, 4, 4),
        tuple(Setup)[1:],
        nvm=0xA000,
        long_range_payload=140,
    ),
}
