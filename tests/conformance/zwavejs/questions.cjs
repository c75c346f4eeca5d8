"use strict";

exports.asked = ({ cc, core }) => ({
	registry: () => ({
		sensors: core.getAllSensors().map((sensor) => ({
			key: sensor.key,
			units: Object.values(sensor.scales).map((scale) => scale.unit ?? ""),
		})),
		meters: core.getAllMeters().map((meter) => ({ key: meter.key })),
		notifications: core.getAllNotifications().map((entry) => ({
			type: entry.type,
			states: entry.variables.map((variable) => [...variable.states.keys()]),
			events: [...entry.events.keys()],
			never_idle: entry.variables.filter((variable) => !variable.idle).length,
		})),
	}),
	// Class and command numbers of everything that zwave-js has.
	commands: () => {
		const found = [];
		for (let number = 0; number < 256; number++) {
			for (let command = 0; command < 256; command++) {
				const name = cc.getCCCommandConstructor(number, command)?.name;
				if (name !== undefined) found.push([number, command, name]);
			}
		}
		return found;
	},
});
