"""Commands of firmware updates, as zwave-js calls them and as ours: rows of test_zwavejs_commands."""

from conformance.zwavejs_commands import Row
from conformance.zwavejs_rig import hexed

from drivers.zwave.firmware import Fragment, encode

FIRMWARE = {"manufacturerId": 1, "firmwareId": 2, "checksum": 0xABCD, "firmwareTarget": 1}
OUR_FIRMWARE = {"manufacturer": 1, "firmware": 2, "checksum": 0xABCD, "target": 1}

UPDATING: list[Row] = [
    (
        "FirmwareUpdateMetaDataCCMetaDataReport",
        {
            "manufacturerId": 1,
            "firmwareId": 2,
            "checksum": 0xABCD,
            "firmwareUpgradable": True,
            "maxFragmentSize": 40,
            "additionalFirmwareIDs": [7, 8],
            "hardwareVersion": 3,
            "continuesToFunction": True,
            "supportsActivation": False,
            "supportsResuming": True,
            "supportsNonSecureTransfer": False,
        },
        "Firmware Update Meta Data Meta Data Report",
        {
            "manufacturer": 1,
            "firmware": 2,
            "checksum": 0xABCD,
            "upgradable": 255,
            "max_fragment_size": 40,
            "targets": [7, 8],
            "hardware": 3,
            "resume": True,
            "non_secure": False,
            "activation": False,
            "continues_to_function": True,
        },
    ),
    (
        "FirmwareUpdateMetaDataCCRequestGet",
        {
            **FIRMWARE,
            "fragmentSize": 40,
            "activation": True,
            "hardwareVersion": 3,
            "resume": False,
            "nonSecureTransfer": True,
        },
        "Firmware Update Meta Data Request Get",
        {**OUR_FIRMWARE, "fragment_size": 40, "resume": False, "non_secure": True, "activation": True, "hardware": 3},
    ),
    (
        "FirmwareUpdateMetaDataCCRequestReport",
        {"status": 255, "resume": True, "nonSecureTransfer": False},
        "Firmware Update Meta Data Request Report",
        {"status": 255, "resume": True, "non_secure": False},
    ),
    (
        "FirmwareUpdateMetaDataCCReport",
        {"reportNumber": 300, "isLast": True, "firmwareData": hexed("0102")},
        "Firmware Update Meta Data Report",
        {"last": True, "number": 300, "data": encode(Fragment(300, last=True, data=b"\1\2"), 2)[4:]},
    ),
    (
        "FirmwareUpdateMetaDataCCGet",
        {"numReports": 2, "reportNumber": 300},
        "Firmware Update Meta Data Get",
        {"count": 2, "number": 300},
    ),
    (
        "FirmwareUpdateMetaDataCCStatusReport",
        {"status": 255, "waitTime": 9},
        "Firmware Update Meta Data Status Report",
        {"status": 255, "wait_seconds": 9},
    ),
    (
        "FirmwareUpdateMetaDataCCActivationSet",
        {**FIRMWARE, "hardwareVersion": 3},
        "Firmware Update Meta Data Activation Set",
        {**OUR_FIRMWARE, "hardware": 3},
    ),
    (
        "FirmwareUpdateMetaDataCCActivationReport",
        {**FIRMWARE, "activationStatus": 255, "hardwareVersion": 3},
        "Firmware Update Meta Data Activation Report",
        {**OUR_FIRMWARE, "status": 255, "hardware": 3},
    ),
    (
        "FirmwareUpdateMetaDataCCPrepareGet",
        {"manufacturerId": 1, "firmwareId": 2, "firmwareTarget": 1, "fragmentSize": 40, "hardwareVersion": 3},
        "Firmware Update Meta Data Prepare Get",
        {"manufacturer": 1, "firmware": 2, "target": 1, "fragment_size": 40, "hardware": 3},
    ),
    (
        "FirmwareUpdateMetaDataCCPrepareReport",
        {"status": 255, "checksum": 0xABCD},
        "Firmware Update Meta Data Prepare Report",
        {"status": 255, "checksum": 0xABCD},
    ),
]
