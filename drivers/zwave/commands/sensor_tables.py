"""Types and scales of Multilevel Sensor and Meter (SDS13781; the registry of the Z-Wave specification). PURE."""

# type -> (name, units by scale; "" where a scale has none)
SENSOR_TYPES: dict[int, tuple[str, tuple[str, ...]]] = {
    0x01: ("air_temperature", ("°C", "°F")),
    0x02: ("general_purpose", ("%", "")),
    0x03: ("illuminance", ("%", "lx")),
    0x04: ("power", ("W", "Btu/h")),
    0x05: ("humidity", ("%", "g/m³")),
    0x06: ("velocity", ("m/s", "mph")),
    0x07: ("direction", ("°",)),
    0x08: ("atmospheric_pressure", ("kPa", "inHg")),
    0x09: ("barometric_pressure", ("kPa", "inHg")),
    0x0A: ("solar_radiation", ("W/m²",)),
    0x0B: ("dew_point", ("°C", "°F")),
    0x0C: ("rain_rate", ("mm/h", "in/h")),
    0x0D: ("tide_level", ("m", "ft")),
    0x0E: ("weight", ("kg", "lb")),
    0x0F: ("voltage", ("V", "mV")),
    0x10: ("current", ("A", "mA")),
    0x11: ("carbon_dioxide_level", ("ppm",)),
    0x12: ("air_flow", ("m³/h", "cfm")),
    0x13: ("tank_capacity", ("l", "m³", "gallon")),
    0x14: ("distance", ("m", "cm", "ft")),
    0x15: ("angle_position", ("%", "°N", "°S")),
    0x16: ("rotation", ("rpm", "Hz")),
    0x17: ("water_temperature", ("°C", "°F")),
    0x18: ("soil_temperature", ("°C", "°F")),
    0x19: ("seismic_intensity", ("Mercalli", "European Macroseismic", "Liedu", "Shindo")),
    0x1A: ("seismic_magnitude", ("Local", "Moment", "Surface wave", "Body wave")),
    0x1B: ("ultraviolet", ("",)),
    0x1C: ("electrical_resistivity", ("Ωm",)),
    0x1D: ("electrical_conductivity", ("S/m",)),
    0x1E: ("loudness", ("dB", "dBA")),
    0x1F: ("moisture", ("%", "m³/m³", "kΩ", "aw")),
    0x20: ("frequency", ("Hz", "kHz")),
    0x21: ("time", ("s",)),
    0x22: ("target_temperature", ("°C", "°F")),
    0x23: ("particulate_matter_2_5", ("mol/m³", "µg/m³")),
    0x24: ("formaldehyde_level", ("mol/m³",)),
    0x25: ("radon_concentration", ("Bq/m³", "pCi/l")),
    0x26: ("methane_density", ("mol/m³",)),
    0x27: ("volatile_organic_compound_level", ("mol/m³", "ppm")),
    0x28: ("carbon_monoxide_level", ("mol/m³", "ppm")),
    0x29: ("soil_humidity", ("%",)),
    0x2A: ("soil_reactivity", ("pH",)),
    0x2B: ("soil_salinity", ("mol/m³",)),
    0x2C: ("heart_rate", ("bpm",)),
    0x2D: ("blood_pressure", ("mmHg", "mmHg")),
    0x2E: ("muscle_mass", ("kg",)),
    0x2F: ("fat_mass", ("kg",)),
    0x30: ("bone_mass", ("kg",)),
    0x31: ("total_body_water", ("kg",)),
    0x32: ("basis_metabolic_rate", ("J",)),
    0x33: ("body_mass_index", ("",)),
    0x34: ("acceleration_x_axis", ("m/s²",)),
    0x35: ("acceleration_y_axis", ("m/s²",)),
    0x36: ("acceleration_z_axis", ("m/s²",)),
    0x37: ("smoke_density", ("%",)),
    0x38: ("water_flow", ("l/h",)),
    0x39: ("water_pressure", ("kPa",)),
    0x3A: ("rf_signal_strength", ("%", "dBm")),
    0x3B: ("particulate_matter_10", ("mol/m³", "µg/m³")),
    0x3C: ("respiratory_rate", ("bpm",)),
    0x3D: ("relative_modulation_level", ("%",)),
    0x3E: ("boiler_water_temperature", ("°C", "°F")),
    0x3F: ("domestic_hot_water_temperature", ("°C", "°F")),
    0x40: ("outside_temperature", ("°C", "°F")),
    0x41: ("exhaust_temperature", ("°C", "°F")),
    0x42: ("water_chlorine_level", ("mg/l",)),
    0x43: ("water_acidity", ("pH",)),
    0x44: ("water_oxidation_reduction_potential", ("mV",)),
    0x45: ("heart_rate_lf_hf_ratio", ("",)),
    0x46: ("motion_direction", ("°",)),
    0x47: ("applied_force_on_the_sensor", ("N",)),
    0x48: ("return_air_temperature", ("°C", "°F")),
    0x49: ("supply_air_temperature", ("°C", "°F")),
    0x4A: ("condenser_coil_temperature", ("°C", "°F")),
    0x4B: ("evaporator_coil_temperature", ("°C", "°F")),
    0x4C: ("liquid_line_temperature", ("°C", "°F")),
    0x4D: ("discharge_line_temperature", ("°C", "°F")),
    0x4E: ("suction_pressure", ("kPa", "psi")),
    0x4F: ("discharge_pressure", ("kPa", "psi")),
    0x50: ("defrost_temperature", ("°C", "°F")),
    0x51: ("ozone", ("µg/m³",)),
    0x52: ("sulfur_dioxide", ("µg/m³",)),
    0x53: ("nitrogen_dioxide", ("µg/m³",)),
    0x54: ("ammonia", ("µg/m³",)),
    0x55: ("lead", ("µg/m³",)),
    0x56: ("particulate_matter_1", ("µg/m³",)),
    0x57: ("person_counter_entering", ("",)),
    0x58: ("person_counter_exiting", ("",)),
}

# type -> (name, units by scale, numbered as by sensors.meter_scale)
METER_TYPES: dict[int, tuple[str, tuple[str, ...]]] = {
    0x01: ("electric", ("kWh", "kVAh", "W", "pulses", "V", "A", "power factor", "kvar", "kvarh")),
    0x02: ("gas", ("m³", "ft³", "", "pulses")),
    0x03: ("water", ("m³", "ft³", "gal", "pulses")),
    0x04: ("heating", ("kWh",)),
    0x05: ("cooling", ("kWh",)),
}

# rate type of a meter: what it counts
RATE_TYPES = {0: "unspecified", 1: "consumed", 2: "produced"}


def sensor_unit(kind: int, scale: int) -> str | None:
    """The unit of a sensor's value; None where the registry has no such type or scale."""
    return _unit(SENSOR_TYPES, kind, scale)


def meter_unit(kind: int, scale: int) -> str | None:
    """The unit of a meter's value; None where the registry has no such type or scale."""
    return _unit(METER_TYPES, kind, scale)


def _unit(table: dict[int, tuple[str, tuple[str, ...]]], kind: int, scale: int) -> str | None:
    units = table.get(kind, ("", ()))[1]
    return units[scale] if 0 <= scale < len(units) else None
