// zwave-js as a host that is measured:  node bench.cjs PORT FOLDER [server]
// Events are JSON lines on stdout, requests on stdin. With "server", @zwave-js/server serves the driver, as Z-Wave JS UI does.
"use strict";
const readline = require("node:readline");
const { Driver } = require("zwave-js");

const [port, folder, what] = process.argv.slice(2);
const key = (byte) => Buffer.alloc(16, byte);
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const driver = new Driver(port, {
	logConfig: { enabled: false },
	securityKeys: {
		S0_Legacy: key(9),
		S2_Unauthenticated: key(0x11),
		S2_Authenticated: key(0x22),
		S2_AccessControl: key(0x33),
	},
	storage: { cacheDir: folder, lockDir: folder, throttle: "normal" },
});
const SWITCH = 0x25;
let reports = 0;
let heard;

function watch(node) {
	node.on("interview completed", (n) => say({ event: "interviewed", node: n.id }));
	node.on("interview failed", (n, args) => args.isFinal && say({ event: "failed", node: n.id, reason: args.errorMessage }));
	const updated = (n, args) => {
		if (args.property === "Air temperature") reports++;
		if (args.commandClass === SWITCH && args.property === "currentValue") heard?.(n.id, args.newValue);
	};
	node.on("value updated", updated);
	node.on("value added", updated);
}

const operations = {
	reports: () => reports,
	// Sets one after the other: seconds from each call to the report of its value. The state is told for the reports of the device alone.
	sets: async ({ node, count }) => {
		const target = driver.controller.nodes.getOrThrow(node);
		const id = { commandClass: SWITCH, property: "targetValue" };
		const times = [];
		for (let number = 0; number < count; number++) {
			const value = number % 2 === 0;
			const begin = performance.now();
			const arrived = new Promise((resolve) => {
				heard = (from, is) => from === node && is === value && resolve();
			});
			await target.setValue(id, value);
			await arrived;
			times.push((performance.now() - begin) / 1000);
		}
		return times;
	},
};

driver.on("error", (error) => say({ event: "error", message: error.message }));
driver.once("driver ready", async () => {
	for (const node of driver.controller.nodes.values()) watch(node);
	if (what === "server") {
		const { ZwavejsServer } = require("@zwave-js/server");
		const silent = { error() {}, warn() {}, info() {}, debug() {} };
		await new ZwavejsServer(driver, { host: "127.0.0.1", port: 0, logger: silent }).start(true);
	}
	say({ event: "ready" });
	for (const node of driver.controller.nodes.values()) if (node.ready) say({ event: "known", node: node.id });
});
driver.once("all nodes ready", () => say({ event: "all ready" }));
driver.start().catch((error) => say({ event: "error", message: error.message }));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
	const request = JSON.parse(line);
	say({ event: "answer", result: await operations[request.op](request) });
});
process.stdin.on("end", async () => {
	await driver.destroy();
	process.exit(0);
});
