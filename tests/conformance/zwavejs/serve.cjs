// What a host of driver.cjs can be told besides: to be a zwave-js-server, and what its tests ask and tidy up.
"use strict";
const silent = { error() {}, warn() {}, info() {}, debug() {} };

exports.served = (driver) => {
	let server;
	const close = async () => {
		await server?.destroy();
		server = undefined;
		return true;
	};
	return {
		// A server on a port of loopback, as Z-Wave JS UI opens it.
		listen: async ({ port }) => {
			const { ZwavejsServer } = require("@zwave-js/server"); // loaded by nobody else
			server = new ZwavejsServer(driver, { host: "127.0.0.1", port, logger: silent });
			await server.start(true);
			return true;
		},
		close,
		// As if the process were killed: who is connected hears no goodbye.
		die: async () => {
			for (const client of server?.wsServer.clients ?? []) client.terminate();
			await close();
			await driver.destroy();
			return true;
		},
		unprovision: () => {
			for (const entry of driver.controller.getProvisioningEntries()) driver.controller.unprovisionSmartStartNode(entry.dsk);
			return true;
		},
		status: (request) => driver.controller.nodes.get(request.node).status,
		up: () => driver.ready,
		state: () => driver.controller.inclusionState,
	};
};
