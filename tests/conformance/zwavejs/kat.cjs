// Known answers of zwave-js: each line on stdin is a JSON list of questions, each line on stdout the list of answers.
"use strict";
require("reflect-metadata");
const cc = require("@zwave-js/cc");
const core = require("@zwave-js/core");
const serial = require("@zwave-js/serial");
const messages = require("@zwave-js/serial/serialapi");
const { Bytes } = require("@zwave-js/shared");

const revived = (_, value) =>
	value && typeof value === "object" && typeof value.$hex === "string"
		? Bytes.from(value.$hex, "hex")
		: value && typeof value === "object" && Array.isArray(value.$set)
			? new Set(value.$set)
			: value && typeof value === "object" && Array.isArray(value.$map)
				? new Map(value.$map)
				: value && typeof value === "object" && value.$duration !== undefined
					? new core.Duration(value.$duration, value.unit)
					: value && typeof value === "object" && value.$date !== undefined
						? new Date(value.$date)
						: value;
const plain = (value) => {
	if (value instanceof Uint8Array) return { $hex: Buffer.from(value).toString("hex") };
	if (value instanceof Map) return { $map: [...value].map(([k, v]) => [plain(k), plain(v)]) };
	if (value instanceof Set) return { $set: [...value].map(plain) };
	if (value instanceof core.Duration) return { $duration: value.value ?? null, unit: value.unit };
	if (value instanceof Date) return { $date: value.toISOString() };
	if (Array.isArray(value)) return value.map(plain);
	if (value && typeof value === "object") {
		if (value instanceof cc.CommandClass) return fields(value);
		return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
	}
	return value;
};
const skipped = new Set(["host", "driver", "frameType", "nodeId", "endpointIndex", "encapsulationFlags", "encapsulatingCC"]);
const fields = (object) => {
	const out = { $class: object.constructor.name.replace(/2$/, "") };
	for (const [key, value] of Object.entries(object)) {
		if (!skipped.has(key) && typeof value !== "function") out[key] = plain(value);
	}
	return out;
};

const values = new Map();
const valueDB = {
	getValue: (id) => values.get(JSON.stringify(id)),
	setValue: (id, value) => values.set(JSON.stringify(id), value),
	hasValue: (id) => values.has(JSON.stringify(id)),
	removeValue: () => true,
	findValues: () => [],
	getMetadata: () => undefined,
	setMetadata: () => {},
	hasMetadata: () => false,
	getAllMetadata: () => [],
	getTimestamp: () => undefined,
	clear: () => {},
};
const node = (id) => ({
	id,
	isSecure: true,
	getEndpoint: () => ({ virtual: false, nodeId: id, index: 0, supportsCC: () => true, controlsCC: () => false, isCCSecure: () => false, getCCVersion: () => 99 }),
	supportsCC: () => true,
	isCCSecure: () => false,
	getCCVersion: () => 99,
});
let fresh; // the security manager of one question
const context = (question) => ({
	homeId: 0xc0ffee01,
	ownNodeId: question.own ?? 1,
	sourceNodeId: question.source ?? 2,
	nodeIdType: question.wide ? core.NodeIDType.Long : core.NodeIDType.Short,
	sdkVersion: question.sdk ?? "7.23.0",
	requestStorage: new Map(),
	frameType: "singlecast",
	securityManager: undefined,
	securityManager2: fresh,
	getSupportedCCVersion: () => question.version ?? 0,
	getSafeCCVersion: () => question.version ?? 0,
	getDeviceConfig: () => undefined,
	getHighestSecurityClass: () => core.SecurityClass.S2_AccessControl,
	hasSecurityClass: () => true,
	setSecurityClass: () => {},
	getValueDB: () => valueDB,
	tryGetValueDB: () => valueDB,
	getNode: node,
	getNodeOrThrow: node,
	getAllNodes: () => [],
	getInterviewOptions: () => ({}),
	getUserPreferences: () => ({}),
	getCommunicationTimeouts: () => ({}),
	lookupManufacturer: () => undefined,
});

const { asked } = require("./questions.cjs");
const answers = {
	// { op, class, options } -> hex
	cc: async ({ class: name, options, ...rest }) =>
		Buffer.from(await new cc[name]({ nodeId: 2, endpointIndex: 0, ...options }).serialize(context(rest))).toString("hex"),
	// { op, hex } -> fields
	parse_cc: async ({ hex, ...rest }) => fields(await cc.CommandClass.parse(Bytes.from(hex, "hex"), context(rest))),
	message: async ({ class: name, options, callbackId, ...rest }) => {
		const message = new messages[name](options);
		if (callbackId !== undefined) message.callbackId = callbackId;
		return Buffer.from(await message.serialize(context(rest))).toString("hex");
	},
	parse_message: async ({ hex, ...rest }) => fields(serial.Message.parse(Bytes.from(hex, "hex"), context(rest))),
	...asked({ cc, core, Bytes, context }),
};

const answer = async (line) => {
	const out = [];
	for (const question of JSON.parse(line, revived)) {
		try {
			fresh = await core.SecurityManager2.create();
			out.push(plain(await answers[question.op](question)));
		} catch (error) {
			out.push({ $error: String(error.message ?? error) });
		}
	}
	process.stdout.write(JSON.stringify(out) + "\n");
};

(async () => {
	for await (const line of require("node:readline").createInterface({ input: process.stdin })) await answer(line);
})();
