// Names and numbers that zwave-js gives to what nodes are and say.
"use strict";

const numbers = (found) => Object.entries(found).filter(([name, value]) => typeof value === "number");

exports.asked = ({ cc, core }) => ({
	catalogue: () => ({
		sensors: core.getAllSensors().map(({ key, label, scales }) => [
			key,
			label,
			Object.entries(scales).map(([number, scale]) => [Number(number), scale.label, scale.unit ?? ""]),
		]),
		meters: core.getAllMeters().map(({ key, name, scales }) => [
			key,
			name,
			Object.values(scales).map((scale) => [scale.key, scale.label, scale.unit ?? ""]),
		]),
		notifications: core.getAllNotifications().map(({ type, name, variables, events }) => [
			type,
			name,
			variables.flatMap((variable) => [...variable.states].map(([value, state]) => [value, state.label, variable.idle])),
			[...events].map(([value, event]) => [value, event.label]),
		]),
		enums: Object.fromEntries(
			[
				"AlarmSensorType",
				"BarrierState",
				"BinarySensorType",
				"ColorComponent",
				"DoorLockMode",
				"KeypadMode",
				"SwitchType",
				"ThermostatFanMode",
				"ThermostatMode",
				"ThermostatOperatingState",
				"ThermostatSetpointType",
				"WindowCoveringParameter",
			].map((name) => [name, numbers(cc[name])]),
		),
		classes: numbers(core.CommandClasses),
		indicators: numbers(core.Indicator),
		indicator_properties: [...core.getAllIndicatorProperties()].map((entry) => {
			const property = Array.isArray(entry) ? entry[1] : entry;
			return [property.id, property.label];
		}),
	}),
	device_classes: ({ pairs }) =>
		pairs.map(([generic, specific]) => [
			core.getGenericDeviceClass(generic).label,
			core.getSpecificDeviceClass(generic, specific).label,
		]),
});
