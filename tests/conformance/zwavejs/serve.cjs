// @zwave-js/server on the zwave-js driver. It is told what to do by JSON lines on stdin; answers and events are JSON lines on stdout.
// node -r ./quiet.cjs serve.cjs PORT FOLDER
"use strict";
const readline = require("node:readline");
const { Driver } = require("zwave-js");
const { ZwavejsServer } = require("@zwave-js/server");

const [port, folder] = process.argv.slice(2);
const key = (byte) => Buffer.alloc(16, byte);
const driver = new Driver(port, {
	logConfig: { enabled: false },
	securityKeys: {
		S0_Legacy: key(9),
		S2_Unauthenticated: key(0x11),
		S2_Authenticated: key(0x22),
		S2_AccessControl: key(0x33),
	},
	securityKeysLongRange: { S2_Authenticated: key(0x44), S2_AccessControl: key(0x55) },
	storage: { cacheDir: folder, lockDir: folder, throttle: "fast" },
	attempts: { openSerialPort: 2 },
});
const silent = { error() {}, warn() {}, info() {}, debug() {} };
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

let server;
const operations = {
	// A server on a port of loopback, as Z-Wave JS UI opens it; the first time the system chooses the port, then it stays.
	listen: async (request) => {
		server = new ZwavejsServer(driver, { host: "127.0.0.1", port: request.port, logger: silent });
		await server.start(true);
		return true;
	},
	close: async () => {
		await server.destroy();
		return true;
	},
	// What a test leaves behind goes.
	nodes: () => [...driver.controller.nodes.keys()].filter((id) => id !== driver.controller.ownNodeId),
	exclude: () => driver.controller.beginExclusion(),
	unprovision: () => {
		for (const entry of driver.controller.getProvisioningEntries()) driver.controller.unprovisionSmartStartNode(entry.dsk);
		return true;
	},
	status: (request) => driver.controller.nodes.get(request.node).status,
	up: () => driver.ready,
	state: () => driver.controller.inclusionState,
	quit: async () => {
		await driver.destroy();
		setImmediate(() => process.exit(0));
		return true;
	},
};

driver.on("error", (error) => say({ event: "error", code: error.code, message: error.message }));
driver.on("driver ready", () => say({ event: "ready", home: driver.controller.homeId }));
driver.on("all nodes ready", () => say({ event: "all ready" }));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
	const request = JSON.parse(line);
	try {
		say({ id: request.id, result: await operations[request.op](request) });
	} catch (error) {
		say({ id: request.id, error: `${error.message}` });
	}
});
process.stdin.on("end", () => process.exit(0));
driver.start().catch((error) => {
	say({ event: "error", message: error.message });
	process.exit(1);
});
