// zwave-js as a host. A connection to the port that this prints is one driver, for as long as it lasts: its first line is
// {"port", "folder", "soft"} (soft: the stick can restart), then come requests; answers and events are JSON lines as well.
"use strict";
const net = require("node:net");
const readline = require("node:readline");
const { Driver, InclusionStrategy, ProvisioningEntryStatus } = require("zwave-js");
const { parseQRCodeString, Protocols, SecurityClass } = require("@zwave-js/core");
const { served } = require("./serve.cjs");

const key = (byte) => Buffer.alloc(16, byte);

function plain(value) {
	if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
	if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
	if (typeof value === "bigint") return value.toString();
	if (Array.isArray(value)) return value.map(plain);
	if (value && typeof value === "object") {
		return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
	}
	return value;
}
const place = (args) => ({
	node: args.nodeId,
	cc: args.commandClass,
	endpoint: args.endpoint ?? 0,
	property: args.property,
	key: args.propertyKey,
	value: args.newValue ?? args.value,
});

function describe(node) {
	return {
		id: node.id,
		ready: node.ready,
		stage: node.interviewStage,
		status: node.status,
		security: SecurityClass[node.getHighestSecurityClass() ?? -1],
		classes: [...node.getSupportedCCInstances?.() ?? []].length,
		listening: node.isListening,
		frequent: node.isFrequentListening,
		endpoints: node.getEndpointCount(),
		firmware: node.firmwareVersion,
		product: [node.manufacturerId, node.productType, node.productId],
	};
}

function start({ port, folder, soft }, say) {
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
		features: { softReset: soft },
		attempts: { openSerialPort: 2 },
		timeouts: { serialAPIStarted: 1000, retryJammed: 100, refreshValueAfterTransition: 100, sendToSleep: 50 },
		inclusionUserCallbacks: {
			grantSecurityClasses: async (requested) => {
				say({ event: "grant", classes: requested.securityClasses.map((c) => SecurityClass[c]) });
				return answers.grant
					? { securityClasses: answers.grant.map((name) => SecurityClass[name]), clientSideAuth: false }
					: requested;
			},
			validateDSKAndEnterPIN: async (dsk) => {
				say({ event: "dsk", dsk });
				return answers.pin ?? false;
			},
			abort: () => say({ event: "abort" }),
		},
	});
	const answers = {};

	function watch(node) {
		node.on("interview completed", (n) => say({ event: "interviewed", ...describe(n) }));
		node.on("interview failed", (n, args) => say({ event: "interview failed", node: n.id, reason: args.errorMessage }));
		node.on("value updated", (n, args) => say({ event: "value", ...place({ nodeId: n.id, ...args }) }));
		node.on("value added", (n, args) => say({ event: "value", ...place({ nodeId: n.id, ...args }) }));
		node.on("value notification", (n, args) => say({ event: "value", ...place({ nodeId: n.id, ...args }) }));
		node.on("notification", (n, cc, args) => say({ event: "notification", node: n.nodeId ?? n.id, cc, args }));
		for (const status of ["sleep", "wake up", "dead", "alive"]) node.on(status, (n) => say({ event: status, node: n.id }));
	}

	const nodeOf = (request) => driver.controller.nodes.getOrThrow(request.node);
	const endpointOf = (request) => nodeOf(request).getEndpoint(request.endpoint ?? 0);
	const valueId = (request) => ({
		commandClass: request.cc,
		endpoint: request.endpoint ?? 0,
		property: request.property,
		propertyKey: request.key,
	});

	const operations = {
		...served(driver),
		controller: () => {
			const c = driver.controller;
			return {
				homeId: c.homeId,
				own: c.ownNodeId,
				nodes: [...c.nodes.keys()],
				sdk: c.sdkVersion,
				suc: c.isSUC,
				sis: c.isSISPresent,
				primary: c.isPrimary,
				longRange: c.supportsLongRange,
				region: c.rfRegion,
				type: c.type,
				interviewed: driver.controller.nodes.get(c.ownNodeId)?.ready,
			};
		},
		nodes: () => [...driver.controller.nodes.values()].map(describe),
		values: (request) =>
			nodeOf(request)
				.getDefinedValueIDs()
				.map((id) => ({ ...place({ nodeId: request.node, ...id }), value: nodeOf(request).getValue(id) })),
		set: (request) => nodeOf(request).setValue(valueId(request), request.value),
		multicast: (request) =>
			driver.controller.getMulticastGroup(request.nodes).setValue(
				{ commandClass: request.cc, property: request.property },
				request.value,
			),
		metadata: (request) => nodeOf(request).getValueMetadata(valueId(request)),
		poll: (request) => nodeOf(request).pollValue(valueId(request)),
		call: (request) => endpointOf(request).commandClasses[request.class][request.method](...(request.args ?? [])),
		insecure: async (request) => {
			// A command without security, as somebody without keys would send it.
			const { DoorLockCCOperationGet } = require("@zwave-js/cc/DoorLockCC");
			const command = new DoorLockCCOperationGet({ nodeId: request.node });
			const answer = await driver.sendCommand(command, { autoEncapsulate: false, maxSendAttempts: 1 });
			return answer !== undefined;
		},
		answers: (request) => Object.assign(answers, request.values) && true,
		include: (request) =>
			driver.controller.beginInclusion({ strategy: InclusionStrategy[request.strategy ?? "Default"], ...request.options }),
		stopInclude: () => driver.controller.stopInclusion(),
		exclude: () => driver.controller.beginExclusion(),
		stopExclude: () => driver.controller.stopExclusion(),
		provision: (request) => {
			const entry = {
				dsk: request.dsk,
				securityClasses: request.classes.map((name) => SecurityClass[name]),
				status: ProvisioningEntryStatus.Active,
			};
			if (request.longRange) entry.protocol = Protocols.ZWaveLongRange;
			driver.controller.provisionSmartStartNode(entry);
			return true;
		},
		qr: (request) => parseQRCodeString(request.text),
		backup: async () => Buffer.from(await driver.controller.backupNVMRaw()).toString("base64"),
		restore: (request) => driver.controller.restoreNVMRaw(Buffer.from(request.image, "base64")),
		parse: async (request) => {
			const { nvmToJSON, nvm500ToJSON } = await import("@zwave-js/nvmedit");
			return (request.old ? nvm500ToJSON : nvmToJSON)(Buffer.from(request.image, "base64"));
		},
		rebuild: (request) => driver.controller.rebuildNodeRoutes(request.node),
		ping: (request) => nodeOf(request).ping(),
		refresh: (request) => nodeOf(request).refreshInfo().then(() => true),
		isFailed: (request) => driver.controller.isFailedNode(request.node),
		removeFailed: (request) => driver.controller.removeFailedNode(request.node).then(() => true),
		replaceFailed: (request) =>
			driver.controller.replaceFailedNode(request.node, { strategy: InclusionStrategy[request.strategy ?? "Insecure"] }),
		rssi: () => driver.controller.getBackgroundRSSI(),
		softReset: () => driver.trySoftReset().then(() => true),
		routes: (request) => driver.controller.getNodeNeighbors(request.node),
		update: (request) =>
			nodeOf(request).updateFirmware([{ data: Buffer.from(request.image, "hex"), firmwareTarget: 0 }]),
		flash: (request) => driver.firmwareUpdateOTW(Buffer.from(request.image, "hex")),
		statistics: (request) => (request.node ? nodeOf(request).statistics : driver.controller.statistics),
	};

	driver.on("error", (error) => say({ event: "error", code: error.code, message: error.message }));
	driver.once("driver ready", () => {
		const c = driver.controller;
		for (const event of ["inclusion started", "exclusion started", "inclusion stopped", "exclusion stopped", "inclusion failed", "exclusion failed"]) {
			c.on(event, (...args) => say({ event, args: args.filter((a) => typeof a !== "object") }));
		}
		c.on("inclusion state changed", (state) => say({ event: "inclusion state", state }));
		c.on("node found", (node) => say({ event: "found", node: node.id, classes: node.supportedCCs?.length }));
		c.on("node added", (node, result) => {
			watch(node);
			say({ event: "added", node: node.id, low: result.lowSecurity ?? false, reason: result.lowSecurityReason, security: SecurityClass[node.getHighestSecurityClass() ?? -1] });
		});
		c.on("node removed", (node, reason) => say({ event: "removed", node: node.id, reason }));
		c.on("rebuild routes done", (result) => say({ event: "rebuilt", result }));
		for (const node of c.nodes.values()) watch(node);
		say({ event: "ready", home: c.homeId });
	});
	driver.once("all nodes ready", () => say({ event: "all ready" }));

	driver.start().catch((error) => say({ event: "error", message: error.message }));
	return { driver, operations };
}

net.createServer((socket) => {
	const say = (message) => socket.writable && socket.write(JSON.stringify(plain(message)) + "\n");
	let running;
	readline.createInterface({ input: socket }).on("line", async (line) => {
		const request = JSON.parse(line);
		if (!running) {
			running = start(request, say);
			return;
		}
		try {
			say({ id: request.id, result: (await running.operations[request.op](request)) ?? null });
		} catch (error) {
			say({ id: request.id, error: `${error.message}` });
		}
	});
	// Whoever has gone waits for nothing: in the middle of an interview zwave-js may never come to its end.
	socket.on("close", () => running?.driver.destroy().catch(() => {})).on("error", () => {});
}).listen(0, "127.0.0.1", function () {
	console.log(`Listening on tcp://127.0.0.1:${this.address().port}`);
});
// A driver that was destroyed still throws when its port goes. The others live on; a running one that fails is told by what its test misses.
for (const kind of ["unhandledRejection", "uncaughtException"]) process.on(kind, (error) => console.log(error));
// It dies with whoever started it.
process.stdin.on("end", () => process.exit(0)).resume();
