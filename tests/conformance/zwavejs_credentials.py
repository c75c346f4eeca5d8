"""Commands of users, credentials and schedules, as zwave-js calls them and as ours: rows of test_zwavejs_commands."""

from conformance.zwavejs_commands import Row
from conformance.zwavejs_rig import hexed

from drivers.zwave.layout_values import Scaled

CREDENTIAL = {"userId": 300, "credentialType": 1, "credentialSlot": 2}
OURS = {"user": 300, "credential_type": 1, "slot": 2}
USER = {"userType": 0, "active": True, "credentialRule": 1, "nameEncoding": 0, "userName": "Ann"}
OUR_USER = {"user_type": 0, "active": True, "rule": 1, "expiring_minutes": 0, "name_encoding": 0, "name": b"Ann"}
WEEK_DAY = {"weekday": 1, "startHour": 8, "startMinute": 5, "stopHour": 17, "stopMinute": 30}
OUR_WEEK_DAY = {"weekday": 1, "start_hour": 8, "start_minute": 5, "stop_hour": 17, "stop_minute": 30}
YEAR_DAY = {
    "startYear": 26,
    "startMonth": 1,
    "startDay": 2,
    "startHour": 3,
    "startMinute": 4,
    "stopYear": 27,
    "stopMonth": 5,
    "stopDay": 6,
    "stopHour": 7,
    "stopMinute": 8,
}
OUR_YEAR_DAY = {
    "start_year": 26,
    "start_month": 1,
    "start_day": 2,
    "start_hour": 3,
    "start_minute": 4,
    "stop_year": 27,
    "stop_month": 5,
    "stop_day": 6,
    "stop_hour": 7,
    "stop_minute": 8,
}
DAILY = {"weekdays": [1, 5], "startHour": 8, "startMinute": 5, "durationHour": 2, "durationMinute": 30}
OUR_DAILY = {"weekdays": [1, 5], "start_hour": 8, "start_minute": 5, "duration_hours": 2, "duration_minutes": 30}
ZONE = {"standardOffset": 90, "dstOffset": 120}
OUR_ZONE = {"offset_negative": False, "offset_hours": 1, "offset_minutes": 30, "dst_negative": False, "dst_minutes": 30}
SLOT = {"userId": 3, "slotId": 4}
OUR_SLOT = {"user": 3, "slot": 4}
PRESSURE = {
    "high_pressure_scale": 0,
    "high_pressure": Scaled(800, 0, 2),
    "low_pressure_scale": 0,
    "low_pressure": Scaled(15, 1, 1),
}
FLOWS = {
    "maximum_flow_scale": 0,
    "maximum_flow": Scaled(100, 0, 1),
    "high_flow_scale": 0,
    "high_flow": Scaled(90, 0, 1),
    "low_flow_scale": 0,
    "low_flow": Scaled(5, 0, 1),
}

USERS: list[Row] = [
    (
        "UserCredentialCCUserSet",
        {"operationType": 0, "userId": 300, **USER},
        "User Credential User Set",
        {"operation": 0, "user": 300, **OUR_USER},
    ),
    (
        "UserCredentialCCUserSet",
        {"operationType": 2, "userId": 300},
        "User Credential User Set",
        {"operation": 2, "user": 300},
    ),
    ("UserCredentialCCUserGet", {"userId": 300}, "User Credential User Get", {"user": 300}),
    (
        "UserCredentialCCUserReport",
        {
            "reportType": 4,
            "nextUserId": 301,
            "modifierType": 2,
            "modifierNodeId": 1,
            "userId": 300,
            "expiringTimeoutMinutes": 0,
            **USER,
        },
        "User Credential User Report",
        {"report_type": 4, "next_user": 301, "modifier_type": 2, "modifier_node": 1, "user": 300, **OUR_USER},
    ),
    (
        "UserCredentialCCUserCapabilitiesReport",
        {
            "numberOfSupportedUsers": 300,
            "supportedCredentialRules": [1, 2],
            "maxUserNameLength": 32,
            "supportsUserSchedule": False,
            "supportsAllUsersChecksum": True,
            "supportsUserChecksum": True,
            "supportedUserNameEncodings": [0, 2],
            "supportedUserTypes": [0, 9],
        },
        "User Credential User Capabilities Report",
        {
            "users": 300,
            "rules": [1, 2],
            "max_name_length": 32,
            "user_schedule": False,
            "all_users_checksum": True,
            "user_checksum": True,
            "name_encodings": 5,
            "user_types": [0, 9],
        },
    ),
    (
        "UserCredentialCCCredentialSet",
        {**CREDENTIAL, "operationType": 0, "credentialData": hexed("31323334")},
        "User Credential Credential Set",
        {**OURS, "operation": 0, "data": b"1234"},
    ),
    (
        "UserCredentialCCCredentialSet",
        {**CREDENTIAL, "operationType": 2},
        "User Credential Credential Set",
        {**OURS, "operation": 2},
    ),
    ("UserCredentialCCCredentialGet", CREDENTIAL, "User Credential Credential Get", OURS),
    (
        "UserCredentialCCCredentialReport",
        {
            **CREDENTIAL,
            "reportType": 4,
            "credentialReadBack": True,
            "credentialData": hexed("31323334"),
            "modifierType": 2,
            "modifierNodeId": 1,
            "nextCredentialType": 1,
            "nextCredentialSlot": 3,
        },
        "User Credential Credential Report",
        {
            **OURS,
            "report_type": 4,
            "read_back": True,
            "data": b"1234",
            "modifier_type": 2,
            "modifier_node": 1,
            "next_type": 1,
            "next_slot": 3,
        },
    ),
    (
        "UserCredentialCCCredentialLearnStart",
        {**CREDENTIAL, "operationType": 0, "learnTimeout": 30},
        "User Credential Credential Learn Start",
        {**OURS, "operation": 0, "seconds": 30},
    ),
    (
        "UserCredentialCCCredentialLearnReport",
        {**CREDENTIAL, "learnStatus": 1, "stepsRemaining": 2},
        "User Credential Credential Learn Report",
        {**OURS, "status": 1, "steps_remaining": 2},
    ),
    (
        "UserCredentialCCAssociationSet",
        {"credentialType": 1, "credentialSlot": 2, "destinationUserId": 5},
        "User Credential User Credential Association Set",
        {"credential_type": 1, "slot": 2, "destination_user": 5},
    ),
    (
        "UserCredentialCCAssociationReport",
        {"credentialType": 1, "credentialSlot": 2, "destinationUserId": 5, "status": 1},
        "User Credential User Credential Association Report",
        {"credential_type": 1, "slot": 2, "destination_user": 5, "status": 1},
    ),
    (
        "UserCredentialCCAllUsersChecksumReport",
        {"checksum": 0xABCD},
        "User Credential All Users Checksum Report",
        {"checksum": 0xABCD},
    ),
    ("UserCredentialCCUserChecksumGet", {"userId": 300}, "User Credential User Checksum Get", {"user": 300}),
    (
        "UserCredentialCCUserChecksumReport",
        {"userId": 300, "checksum": 7},
        "User Credential User Checksum Report",
        {"user": 300, "checksum": 7},
    ),
    (
        "UserCredentialCCCredentialChecksumGet",
        {"credentialType": 1},
        "User Credential Credential Checksum Get",
        {"credential_type": 1},
    ),
    (
        "UserCredentialCCCredentialChecksumReport",
        {"credentialType": 1, "checksum": 7},
        "User Credential Credential Checksum Report",
        {"credential_type": 1, "checksum": 7},
    ),
    ("UserCredentialCCAdminPinCodeSet", {"pinCode": "4711"}, "User Credential Admin Pin Code Set", {"code": "4711"}),
    (
        "UserCredentialCCAdminPinCodeReport",
        {"operationResult": 4, "pinCode": "4711"},
        "User Credential Admin Pin Code Report",
        {"result": 4, "code": "4711"},
    ),
    (
        "UserCredentialCCKeyLockerEntryGet",
        {"entryType": 1, "entrySlot": 2},
        "User Credential Key Locker Entry Get",
        {"entry_type": 1, "slot": 2},
    ),
    (
        "UserCredentialCCKeyLockerEntryReport",
        {"occupied": True, "entryType": 1, "entrySlot": 2},
        "User Credential Key Locker Entry Report",
        {"occupied": True, "entry_type": 1, "slot": 2},
    ),
    (
        "UserCredentialCCKeyLockerEntrySet",
        {"entryType": 1, "entrySlot": 2, "operationType": 0, "entryData": hexed("010203")},
        "User Credential Key Locker Entry Set",
        {"entry_type": 1, "slot": 2, "operation": 0, "data": b"\1\2\3"},
    ),
    (
        "ScheduleEntryLockCCEnableSet",
        {"userId": 3, "enabled": True},
        "Schedule Entry Lock Enable Set",
        {"user": 3, "enabled": 1},
    ),
    ("ScheduleEntryLockCCEnableAllSet", {"enabled": True}, "Schedule Entry Lock Enable All Set", {"enabled": 1}),
    (
        "ScheduleEntryLockCCSupportedReport",
        {"numWeekDaySlots": 1, "numYearDaySlots": 2, "numDailyRepeatingSlots": 3},
        "Schedule Entry Lock Supported Report",
        {"week_day_slots": 1, "year_day_slots": 2, "daily_slots": 3},
    ),
    (
        "ScheduleEntryLockCCWeekDayScheduleSet",
        {"action": 1, **SLOT, **WEEK_DAY},
        "Schedule Entry Lock Week Day Set",
        {"action": 1, **OUR_SLOT, **OUR_WEEK_DAY},
    ),
    ("ScheduleEntryLockCCWeekDayScheduleGet", SLOT, "Schedule Entry Lock Week Day Get", OUR_SLOT),
    (
        "ScheduleEntryLockCCWeekDayScheduleReport",
        {**SLOT, **WEEK_DAY},
        "Schedule Entry Lock Week Day Report",
        {**OUR_SLOT, **OUR_WEEK_DAY},
    ),
    (
        "ScheduleEntryLockCCYearDayScheduleSet",
        {"action": 1, **SLOT, **YEAR_DAY},
        "Schedule Entry Lock Year Day Set",
        {"action": 1, **OUR_SLOT, **OUR_YEAR_DAY},
    ),
    (
        "ScheduleEntryLockCCYearDayScheduleReport",
        {**SLOT, **YEAR_DAY},
        "Schedule Entry Lock Year Day Report",
        {**OUR_SLOT, **OUR_YEAR_DAY},
    ),
    (
        "ScheduleEntryLockCCDailyRepeatingScheduleSet",
        {"action": 1, **SLOT, **DAILY},
        "Schedule Entry Lock Daily Repeating Set",
        {"action": 1, **OUR_SLOT, **OUR_DAILY},
    ),
    (
        "ScheduleEntryLockCCDailyRepeatingScheduleReport",
        {**SLOT, **DAILY},
        "Schedule Entry Lock Daily Repeating Report",
        {**OUR_SLOT, **OUR_DAILY},
    ),
    ("ScheduleEntryLockCCTimeOffsetSet", ZONE, "Schedule Entry Lock Time Offset Set", OUR_ZONE),
    ("ScheduleEntryLockCCTimeOffsetReport", ZONE, "Schedule Entry Lock Time Offset Report", OUR_ZONE),
    ("ClimateControlScheduleCCGet", {"weekday": 3}, "Climate Control Schedule Get", {"weekday": 3}),
    (
        "ClimateControlScheduleCCSet",
        {"weekday": 3, "switchPoints": [{"hour": 7, "minute": 30, "state": -2}]},
        "Climate Control Schedule Set",
        {
            "weekday": 3,
            "points": [{"hour": 7, "minute": 30, "state": -20}] + [{"hour": 0, "minute": 0, "state": 127}] * 8,
        },
    ),
    (
        "ClimateControlScheduleCCReport",
        {"weekday": 3, "schedule": [{"hour": 7, "minute": 30, "state": -2}]},
        "Climate Control Schedule Report",
        {
            "weekday": 3,
            "points": [{"hour": 7, "minute": 30, "state": -20}] + [{"hour": 0, "minute": 0, "state": 127}] * 8,
        },
    ),
    (
        "ClimateControlScheduleCCChangedReport",
        {"changeCounter": 9},
        "Climate Control Schedule Changed Report",
        {"counter": 9},
    ),
    (
        "ClimateControlScheduleCCOverrideSet",
        {"overrideType": 1, "overrideState": 1.5},
        "Climate Control Schedule Override Set",
        {"type": 1, "state": 15},
    ),
    (
        "ClimateControlScheduleCCOverrideReport",
        {"overrideType": 1, "overrideState": 1.5},
        "Climate Control Schedule Override Report",
        {"type": 1, "state": 15},
    ),
    ("LanguageCCSet", {"language": "eng", "country": "GB"}, "Language Set", {"language": "eng", "country": "GB"}),
    ("LanguageCCReport", {"language": "eng", "country": "GB"}, "Language Report", {"language": "eng", "country": "GB"}),
    ("IrrigationCCValveInfoGet", {"valveId": 4}, "Irrigation Valve Info Get", {"master": False, "valve": 4}),
    (
        "IrrigationCCValveRun",
        {"valveId": "master", "duration": 600},
        "Irrigation Valve Run",
        {"master": True, "valve": 1, "seconds": 600},
    ),
    (
        "IrrigationCCSystemInfoReport",
        {"supportsMasterValve": True, "numValves": 4, "numValveTables": 2, "maxValveTableSize": 8},
        "Irrigation System Info Report",
        {"master_valve": True, "valves": 4, "tables": 2, "max_table_size": 8},
    ),
    (
        "IrrigationCCSystemConfigReport",
        {"masterValveDelay": 5, "highPressureThreshold": 800, "lowPressureThreshold": 1.5},
        "Irrigation System Config Report",
        {"master_valve_delay": 5, **PRESSURE, "valid": False, "moisture": False, "rain": False},
    ),
    (
        "IrrigationCCValveConfigSet",
        {
            "valveId": 4,
            "nominalCurrentHighThreshold": 250,
            "nominalCurrentLowThreshold": 50,
            "maximumFlow": 100,
            "highFlowThreshold": 90,
            "lowFlowThreshold": 5,
            "useRainSensor": True,
            "useMoistureSensor": False,
        },
        "Irrigation Valve Config Set",
        {
            "master": False,
            "valve": 4,
            "high_current": 25,
            "low_current": 5,
            **FLOWS,
            "moisture_sensor": False,
            "rain_sensor": True,
        },
    ),
    (
        "IrrigationCCValveTableSet",
        {"tableId": 2, "entries": [{"valveId": 1, "duration": 300}]},
        "Irrigation Valve Table Set",
        {"table": 2, "entries": [{"valve": 1, "seconds": 300}]},
    ),
    ("IrrigationCCValveTableRun", {"tableIDs": [1, 2]}, "Irrigation Valve Table Run", {"tables": b"\1\2"}),
    ("IrrigationCCSystemShutoff", {"duration": 5}, "Irrigation System Shutoff", {"hours": 5}),
]
