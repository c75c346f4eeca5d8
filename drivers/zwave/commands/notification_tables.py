"""Types, states and events of Notification (SDS13713, the registry of notifications). PURE."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NotificationType:
    """One type. `states`: variable -> state number -> name; a state holds until another one of its variable, or until idle.

    `never_idle`: variables whose states only another state ends. `events` pass.
    """

    name: str
    states: dict[str, dict[int, str]] = field(default_factory=dict)
    events: dict[int, str] = field(default_factory=dict)
    never_idle: frozenset[str] = frozenset()


IDLE = 0x00  # the event of a Notification Report that ends the state in its parameter, or all
UNKNOWN = 0xFE

NOTIFICATIONS: dict[int, NotificationType] = {
    0x01: NotificationType(
        "smoke_alarm",
        {
            "sensor_status": {0x01: "smoke_detected_location_provided", 0x02: "smoke_detected"},
            "alarm_status": {0x03: "smoke_alarm_test", 0x06: "alarm_silenced"},
            "maintenance_status": {0x04: "replacement_required", 0x05: "replacement_required_end_of_life"},
            "periodic_inspection_status": {0x07: "maintenance_required_planned_periodic_inspection"},
            "dust_in_device_status": {0x08: "maintenance_required_dust_in_device"},
        },
    ),
    0x02: NotificationType(
        "co_alarm",
        {
            "sensor_status": {0x01: "carbon_monoxide_detected_location_provided", 0x02: "carbon_monoxide_detected"},
            "test_status": {0x03: "carbon_monoxide_test"},
            "maintenance_status": {0x04: "replacement_required", 0x05: "replacement_required_end_of_life"},
            "alarm_status": {0x06: "alarm_silenced"},
            "periodic_inspection_status": {0x07: "maintenance_required_planned_periodic_inspection"},
        },
        never_idle=frozenset({"test_status"}),
    ),
    0x03: NotificationType(
        "co2_alarm",
        {
            "sensor_status": {0x01: "carbon_dioxide_detected_location_provided", 0x02: "carbon_dioxide_detected"},
            "test_status": {0x03: "carbon_dioxide_test"},
            "maintenance_status": {0x04: "replacement_required", 0x05: "replacement_required_end_of_life"},
            "alarm_status": {0x06: "alarm_silenced"},
            "periodic_inspection_status": {0x07: "maintenance_required_planned_periodic_inspection"},
        },
        never_idle=frozenset({"test_status"}),
    ),
    0x04: NotificationType(
        "heat_alarm",
        {
            "heat_sensor_status": {
                0x01: "overheat_detected_location_provided",
                0x02: "overheat_detected",
                0x05: "underheat_detected_location_provided",
                0x06: "underheat_detected",
            },
            "alarm_status": {0x07: "heat_alarm_test", 0x09: "alarm_silenced"},
            "maintenance_status": {0x08: "replacement_required_end_of_life"},
            "periodic_inspection_status": {0x0B: "maintenance_required_planned_periodic_inspection"},
            "dust_in_device_status": {0x0A: "maintenance_required_dust_in_device"},
        },
        {
            0x03: "rapid_temperature_rise_location_provided",
            0x04: "rapid_temperature_rise",
            0x0C: "rapid_temperature_fall_location_provided",
            0x0D: "rapid_temperature_fall",
        },
    ),
    0x05: NotificationType(
        "water_alarm",
        {
            "sensor_status": {0x01: "water_leak_detected_location_provided", 0x02: "water_leak_detected"},
            "maintenance_status": {0x05: "replace_water_filter"},
            "water_flow_alarm_status": {0x06: "water_flow_alarm"},
            "water_pressure_alarm_status": {0x07: "water_pressure_alarm"},
            "water_temperature_alarm_status": {0x08: "water_temperature_alarm"},
            "water_level_alarm_status": {0x09: "water_level_alarm"},
            "pump_status": {0x0A: "sump_pump_active", 0x0B: "sump_pump_failure"},
        },
        {0x03: "water_level_dropped_location_provided", 0x04: "water_level_dropped"},
    ),
    0x06: NotificationType(
        "access_control",
        {
            "lock_state": {0x0B: "lock_jammed"},
            "keypad_state": {0x10: "keypad_temporary_disabled", 0x11: "keypad_busy"},
            "door_state": {0x16: "window_door_is_open", 0x17: "window_door_is_closed"},
            "door_handle_state": {0x18: "window_door_handle_is_open", 0x19: "window_door_handle_is_closed"},
            "barrier_performing_initialization_process_status": {0x40: "barrier_performing_initialization_process"},
            "barrier_ul_disabling_status": {0x45: "barrier_unattended_operation_has_been_disabled_per_ul_requirements"},
            "barrier_vacation_mode_status": {0x47: "barrier_vacation_mode"},
            "barrier_safety_beam_obstacle_status": {0x48: "barrier_safety_beam_obstacle"},
            "barrier_sensor_status": {0x49: "barrier_sensor_not_detected_supervisory_error"},
            "barrier_battery_status": {0x4A: "barrier_sensor_low_battery_warning"},
            "barrier_short_circuit_status": {0x4B: "barrier_detected_short_in_wall_station_wires"},
            "barrier_control_status": {0x4C: "barrier_associated_with_non_z_wave_remote_control"},
        },
        {
            0x01: "manual_lock_operation",
            0x02: "manual_unlock_operation",
            0x03: "rf_lock_operation",
            0x04: "rf_unlock_operation",
            0x05: "keypad_lock_operation",
            0x06: "keypad_unlock_operation",
            0x07: "manual_not_fully_locked_operation",
            0x08: "rf_not_fully_locked_operation",
            0x09: "auto_lock_locked_operation",
            0x0A: "auto_lock_not_fully_locked_operation",
            0x0C: "all_user_codes_deleted",
            0x0D: "single_user_code_deleted",
            0x0E: "new_user_code_added",
            0x0F: "new_user_code_not_added_due_to_duplicate_code",
            0x12: "new_program_code_entered_unique_code_for_lock_configuration",
            0x13: "manually_enter_user_access_code_exceeds_code_limit",
            0x14: "unlock_by_rf_with_invalid_user_code",
            0x15: "locked_by_rf_with_invalid_user_code",
            0x20: "messaging_user_code_entered_via_keypad",
            0x21: "lock_operation_with_user_code",
            0x22: "unlock_operation_with_user_code",
            0x23: "credential_lock_open_operation",
            0x24: "credential_unlock_close_operation",
            0x2F: "valid_credential_access_denied_user_active_state_set_to_occupied_disabled",
            0x30: "valid_credential_access_denied_schedule_inactive",
            0x31: "valid_credential_access_denied_not_enough_credentials_entered",
            0x32: "invalid_credential_used",
            0x33: "non_access_credential_entered_via_local_interface",
            0x41: "barrier_operation_open_close_force_has_been_exceeded",
            0x42: "barrier_motor_has_exceeded_manufacturers_operational_time_limit",
            0x43: "barrier_operation_has_exceeded_physical_mechanical_limits",
            0x44: "barrier_unable_to_perform_requested_operation_due_to_ul_requirements",
            0x46: "barrier_failed_to_perform_requested_operation_device_malfunction",
        },
        never_idle=frozenset(
            {
                "door_state",
                "door_handle_state",
                "barrier_performing_initialization_process_status",
                "barrier_vacation_mode_status",
                "barrier_safety_beam_obstacle_status",
            }
        ),
    ),
    0x07: NotificationType(
        "home_security",
        {
            "sensor_status": {0x01: "intrusion_location_provided", 0x02: "intrusion"},
            "cover_status": {0x03: "tampering_product_cover_removed"},
            "motion_sensor_status": {0x07: "motion_detection_location_provided", 0x08: "motion_detection"},
            "magnetic_interference_status": {0x0B: "magnetic_field_interference_detected"},
        },
        {
            0x04: "tampering_invalid_code",
            0x05: "glass_breakage_location_provided",
            0x06: "glass_breakage",
            0x09: "tampering_product_moved",
            0x0A: "impact_detected",
            0x0C: "rf_jamming_detected",
        },
    ),
    0x08: NotificationType(
        "power_management",
        {
            "power_status": {0x01: "power_has_been_applied"},
            "mains_status": {0x02: "ac_mains_disconnected", 0x03: "ac_mains_re_connected"},
            "over_current_status": {0x06: "over_current_detected"},
            "over_voltage_status": {0x07: "over_voltage_detected"},
            "over_load_status": {0x08: "over_load_detected"},
            "load_error_status": {0x09: "load_error"},
            "battery_maintenance_status": {
                0x0A: "replace_battery_soon",
                0x0B: "replace_battery_now",
                0x11: "battery_fluid_is_low",
            },
            "battery_load_status": {0x0C: "battery_is_charging"},
            "battery_level_status": {
                0x0D: "battery_is_fully_charged",
                0x0E: "charge_battery_soon",
                0x0F: "charge_battery_now",
            },
            "backup_battery_level_status": {0x10: "back_up_battery_is_low", 0x12: "back_up_battery_disconnected"},
        },
        {0x04: "surge_detected", 0x05: "voltage_drop_drift"},
        never_idle=frozenset({"mains_status"}),
    ),
    0x09: NotificationType(
        "system",
        {
            "hardware_status": {0x01: "system_hardware_failure", 0x03: "system_hardware_failure_with_failure_code"},
            "software_status": {0x02: "system_software_failure", 0x04: "system_software_failure_with_failure_code"},
            "cover_status": {0x06: "tampering_product_cover_removed"},
            "emergency_shutoff_status": {0x07: "emergency_shutoff"},
        },
        {0x05: "heartbeat"},
    ),
    0x0A: NotificationType(
        "emergency_alarm",
        {},
        {0x01: "contact_police", 0x02: "contact_fire_service", 0x03: "contact_medical_service", 0x04: "panic_alert"},
    ),
    0x0B: NotificationType("clock", {}, {0x01: "wake_up_alert", 0x02: "timer_ended", 0x03: "time_remaining"}),
    0x0C: NotificationType(
        "appliance",
        {
            "program_status": {0x01: "program_started", 0x02: "program_in_progress", 0x03: "program_completed"},
            "maintenance_status": {0x04: "replace_main_filter"},
            "appliance_status": {
                0x06: "supplying_water",
                0x08: "boiling",
                0x0A: "washing",
                0x0C: "rinsing",
                0x0E: "draining",
                0x10: "spinning",
                0x12: "drying",
            },
            "target_temperature_failure_status": {0x05: "failure_to_set_target_temperature"},
            "water_supply_failure_status": {0x07: "water_supply_failure"},
            "boiling_failure_status": {0x09: "boiling_failure"},
            "washing_failure_status": {0x0B: "washing_failure"},
            "rinsing_failure_status": {0x0D: "rinsing_failure"},
            "draining_failure_status": {0x0F: "draining_failure"},
            "spinning_failure_status": {0x11: "spinning_failure"},
            "drying_failure_status": {0x13: "drying_failure"},
            "fan_failure_status": {0x14: "fan_failure"},
            "compressor_failure_status": {0x15: "compressor_failure"},
        },
    ),
    0x0D: NotificationType(
        "home_health",
        {
            "position_status": {
                0x01: "leaving_bed",
                0x02: "sitting_on_bed",
                0x03: "lying_on_bed",
                0x05: "sitting_on_bed_edge",
            },
            "voc_level_status": {0x06: "volatile_organic_compound_level"},
            "sleep_apnea_status": {0x07: "sleep_apnea_detected"},
            "sleep_stage_status": {
                0x08: "sleep_stage_0_detected_dreaming_rem",
                0x09: "sleep_stage_1_detected_light_sleep_non_rem_1",
                0x0A: "sleep_stage_2_detected_medium_sleep_non_rem_2",
                0x0B: "sleep_stage_3_detected_deep_sleep_non_rem_3",
            },
        },
        {0x04: "posture_changed", 0x0C: "fall_detected"},
        never_idle=frozenset({"voc_level_status"}),
    ),
    0x0E: NotificationType("siren", {"siren_status": {0x01: "siren_active"}}),
    0x0F: NotificationType(
        "water_valve",
        {
            "valve_operation_status": {0x01: "valve_operation"},
            "master_valve_operation_status": {0x02: "master_valve_operation"},
            "valve_short_circuit_status": {0x03: "valve_short_circuit"},
            "master_valve_short_circuit_status": {0x04: "master_valve_short_circuit"},
            "valve_current_alarm_status": {0x05: "valve_current_alarm"},
            "master_valve_current_alarm_status": {0x06: "master_valve_current_alarm"},
            "valve_jammed_status": {0x07: "valve_jammed"},
        },
        never_idle=frozenset({"valve_operation_status", "master_valve_operation_status"}),
    ),
    0x10: NotificationType(
        "weather_alarm",
        {
            "rain_alarm_status": {0x01: "rain_alarm"},
            "moisture_alarm_status": {0x02: "moisture_alarm"},
            "freeze_alarm_status": {0x03: "freeze_alarm"},
        },
    ),
    0x11: NotificationType(
        "irrigation",
        {
            "schedule_id_status": {0x01: "schedule_started", 0x02: "schedule_finished"},
            "valve_id_run_status": {0x03: "valve_table_run_started", 0x04: "valve_table_run_finished"},
            "device_configuration_status": {0x05: "device_is_not_configured"},
        },
        never_idle=frozenset({"schedule_id_status", "valve_id_run_status"}),
    ),
    0x12: NotificationType(
        "gas_alarm",
        {
            "combustible_gas_status": {
                0x01: "combustible_gas_detected_location_provided",
                0x02: "combustible_gas_detected",
            },
            "toxic_gas_status": {0x03: "toxic_gas_detected_location_provided", 0x04: "toxic_gas_detected"},
            "alarm_status": {0x05: "gas_alarm_test"},
            "maintenance_status": {0x06: "replacement_required"},
        },
    ),
    0x13: NotificationType(
        "pest_control",
        {
            "trap_status": {
                0x01: "trap_armed_location_provided",
                0x02: "trap_armed",
                0x03: "trap_re_arm_required_location_provided",
                0x04: "trap_re_arm_required",
            }
        },
        {
            0x05: "pest_detected_location_provided",
            0x06: "pest_detected",
            0x07: "pest_exterminated_location_provided",
            0x08: "pest_exterminated",
        },
    ),
    0x14: NotificationType(
        "light_sensor", {"light_detection_status": {0x01: "light_detected"}}, {0x02: "light_color_transition_detected"}
    ),
    0x15: NotificationType(
        "water_quality_monitoring",
        {
            "chlorine_alarm_status": {0x01: "chlorine_alarm"},
            "acidity_ph_status": {0x02: "acidity_ph_alarm"},
            "water_oxidation_alarm_status": {0x03: "water_oxidation_alarm"},
            "chlorine_sensor_status": {0x04: "chlorine_empty"},
            "acidity_ph_sensor_status": {0x05: "acidity_ph_empty"},
            "waterflow_measuring_station_sensor": {0x06: "waterflow_measuring_station_shortage_detected"},
            "waterflow_clear_water_sensor": {0x07: "waterflow_clear_water_shortage_detected"},
            "disinfection_system_status": {0x08: "disinfection_system_error_detected"},
            "filter_cleaning_status": {0x09: "filter_cleaning_ongoing"},
            "heating_status": {0x0A: "heating_operation_ongoing"},
            "filter_pump_status": {0x0B: "filter_pump_operation_ongoing"},
            "freshwater_flow_status": {0x0C: "freshwater_operation_ongoing"},
            "dry_protection_status": {0x0D: "dry_protection_operation_active"},
            "water_tank_status": {
                0x0E: "water_tank_is_empty",
                0x0F: "water_tank_level_is_unknown",
                0x10: "water_tank_is_full",
            },
            "collective_disorder_status": {0x11: "collective_disorder"},
        },
        never_idle=frozenset({"water_tank_status"}),
    ),
    0x16: NotificationType(
        "home_monitoring", {"home_occupancy_status": {0x01: "home_occupied_location_provided", 0x02: "home_occupied"}}
    ),
}

# (type, event) -> what the first byte of its parameters means
PARAMETERS: dict[tuple[int, int], dict[int, str]] = {
    (0x02, 0x03): {1: "test_ok", 2: "test_failed"},
    (0x03, 0x03): {1: "test_ok", 2: "test_failed"},
    (0x05, 0x06): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold", 4: "max"},
    (0x05, 0x07): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold", 4: "max"},
    (0x05, 0x08): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold"},
    (0x05, 0x09): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold"},
    (0x06, 0x16): {0: "window_door_is_open_in_regular_position", 1: "window_door_is_open_in_tilt_position"},
    (0x06, 0x40): {0: "process_completed", 255: "performing_process"},
    (0x06, 0x47): {0: "mode_disabled", 255: "mode_enabled"},
    (0x06, 0x48): {0: "no_obstruction", 255: "obstruction"},
    (0x0D, 0x06): {1: "clean", 2: "slightly_polluted", 3: "moderately_polluted", 4: "highly_polluted"},
    (0x0D, 0x07): {1: "low_breath", 2: "no_breath_at_all"},
    (0x0F, 0x01): {0: "off_closed", 1: "on_open"},
    (0x0F, 0x02): {0: "off_closed", 1: "on_open"},
    (0x0F, 0x05): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold", 4: "max"},
    (0x0F, 0x06): {1: "no_data", 2: "below_low_threshold", 3: "above_high_threshold", 4: "max"},
    (0x15, 0x01): {1: "below_low_threshold", 2: "above_high_threshold"},
    (0x15, 0x02): {1: "below_low_threshold", 2: "above_high_threshold", 3: "decreasing_ph", 4: "increasing_ph"},
    (0x15, 0x03): {1: "below_low_threshold", 2: "above_high_threshold"},
}


def event_name(kind: int, event: int) -> str | None:
    """The name of a state or an event; None where the registry has none."""
    found = NOTIFICATIONS.get(kind)
    if found is None:
        return None
    tables = (*found.states.values(), found.events)
    return next((table[event] for table in tables if event in table), None)


def variable_of(kind: int, event: int) -> str | None:
    """The variable whose state `event` is; None for events that pass, and for what is unknown."""
    found = NOTIFICATIONS.get(kind)
    states = {} if found is None else found.states
    return next((variable for variable, table in states.items() if event in table), None)
