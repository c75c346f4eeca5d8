// The home of the mock server, and its control channel: one JSON object a line, one answer a line.
"use strict";
const net = require("node:net");
const preload = require("./preload.cjs");
const { rejections, plug, unplug } = preload;

module.exports.default = ({ require }) => {
	const { CommandClasses: CC, SecurityClass: SC, dskToString, keyPairFromRawECDHPrivateKey } = require("@zwave-js/core");
	const { CommandClass, Security2CC } = require("@zwave-js/cc");
	const { AddNodeToNetworkRequest, AddNodeType, RemoveNodeFromNetworkRequest } = require("@zwave-js/serial/serialapi");
	const { createMockZWaveRequestFrame, getDefaultMockControllerCapabilities, MockNode } = require("@zwave-js/testing");
	const { createDefaultMockNodeBehaviors } = require("../build/cjs/Testing.js");
	const { MockControllerStateKeys, MockControllerInclusionState } = require("../build/cjs/lib/controller/MockControllerState.js");

	const c = (name, version, more = {}) => ({ ccId: CC[name], version, ...more });
	const base = [c("Z-Wave Plus Info", 2), c("Manufacturer Specific", 1), c("Version", 3)];
	const revived = ({ classes = [], security, endpoints, ...capabilities }) => ({
		...capabilities,
		...(security && { supportsSecurity: true, securityClasses: new Set(security.map((name) => SC[name])) }),
		commandClasses: [...base, ...classes.map(([name, version, more]) => c(name, version, more))],
		...(endpoints && {
			endpoints: endpoints.map(({ classes: own, ...more }) => ({
				...more,
				commandClasses: own.map(([name, version, rest]) => c(name, version, rest)),
			})),
		}),
	});

	const asleep = new Set();
	const silence = { transformIncomingCC: (_, self, cc) => (asleep.has(self.id) ? undefined : cc) };
	// Wake Up Interval Get, which the mock leaves unanswered: 600 s, to the controller.
	const wakeUp = {
		handleCC: (controller, _, cc) =>
			cc?.ccId === CC["Wake Up"] && cc.ccCommand === 5
				? { action: "sendCC", cc: new CommandClass({ nodeId: controller.ownNodeId, ccId: 0x84, ccCommand: 6, payload: Buffer.from("00025801", "hex") }) }
				: undefined,
	};
	const idle = (controller) =>
		(controller.state.get(MockControllerStateKeys.InclusionState) ?? MockControllerInclusionState.Idle) === MockControllerInclusionState.Idle;
	const say = (controller, ...payload) => {
		const bytes = [payload.length + 2, 0, ...payload];
		return controller.sendToHost(Uint8Array.from([1, ...bytes, bytes.reduce((sum, byte) => sum ^ byte, 0xff)]));
	};
	// The mock looks for a node only when AddNode comes. A window that is open first waits here for its node.
	let joined, stopped;
	const lateJoin = {
		onHostMessage: async (controller, message) => {
			if (!(message instanceof AddNodeToNetworkRequest) || !idle(controller)) return false;
			if (message.addNodeType === AddNodeType.Stop) {
				// A Stop while nothing runs is what every host sends last; the mock takes it for a start.
				stopped?.();
				if (message.callbackId) await say(controller, 0x4a, message.callbackId, 6, 0, 0);
				return true;
			}
			if (controller.nodePendingInclusion) return false;
			const comes = new Promise((resolve) => {
				joined = () => resolve(true);
				stopped = () => resolve(false);
			});
			// Only now: a host that hears it may have a node come before this goes on.
			await say(controller, 0x4a, message.callbackId, 1, 0, 0);
			return !(await comes);
		},
	};
	// A node never leaves a mock controller by itself: this one does, with the callbacks of a real stick.
	let leaving;
	const leave = {
		onHostMessage: async (controller, message) => {
			if (!(message instanceof RemoveNodeFromNetworkRequest) || leaving === undefined) return false;
			const node = leaving;
			leaving = undefined;
			const answer = (...more) => say(controller, 0x4b, message.callbackId, ...more);
			await answer(1, 0, 0);
			await answer(2, 0, 0);
			await answer(3, node, 3, 4, 0x10, 1);
			await answer(6, node, 0);
			controller.removeNode(controller.nodes.get(node));
			return true;
		},
	};
	const idleStop = {
		onHostMessage: async (controller, message) => {
			if (!(message instanceof RemoveNodeFromNetworkRequest) || message.removeNodeType !== 5 || !idle(controller)) return false;
			if (message.callbackId) await say(controller, 0x4b, message.callbackId, 6, 0, 0);
			return true;
		},
	};
	// It cannot even read this one.
	const hardReset = {
		onHostData: async (controller, data) => {
			if (data[0] !== 1 || data[3] !== 0x42) return false;
			controller.sendHeaderToHost(6);
			forget(controller);
			void say(controller, 0x42, data[4]);
			return true;
		},
	};

	const forget = (controller) => {
		for (const node of [...controller.nodes.values()]) {
			controller.removeNode(node);
			controller.securityManagers.securityManager2.deleteNonce(node.id);
		}
	};
	let included, keypair;
	const label = () => (keypair ?? included.ecdhKeyPair).publicKey.slice(0, 16);
	const ops = (controller) => ({
		// Another home, of which no test has seen anything.
		home: async ({ nodes }) => {
			stopped?.();
			plug();
			joined = stopped = leaving = keypair = controller.nodePendingInclusion = undefined;
			forget(controller);
			asleep.clear();
			controller.state.clear();
			rejections.length = 0;
			for (const { id, ...capabilities } of nodes) {
				const node = await MockNode.create({ id, controller, capabilities: revived(capabilities) });
				controller.addNode(node);
				node.defineBehavior(...createDefaultMockNodeBehaviors(), silence);
			}
		},
		// A node that the next AddNode finds.
		pending: ({ id, ...capabilities }) => {
			controller.nodePendingInclusion = {
				id,
				capabilities: revived(capabilities),
				setup: (node) => {
					included = node;
					if (keypair) node.ecdhKeyPair = keypair;
					node.defineBehavior(silence, wakeUp);
				},
			};
			joined?.();
		},
		plug: () => void plug(),
		unplug: () => void unplug(),
		// The device specific key as its label shows it; the mock's own getter is a byte off.
		dsk: () => Buffer.from(label()).toString("hex"),
		label: () => dskToString(label()),
		// The key of the next node, so that its label is known before it joins.
		keypair: async ({ hex }) => void (keypair = await keyPairFromRawECDHPrivateKey(Buffer.from(hex, "hex"))),
		send: ({ node, hex }) => {
			const data = Buffer.from(hex, "hex");
			const self = controller.nodes.get(node);
			const cc = new CommandClass({ nodeId: controller.ownNodeId, ccId: data[0], ccCommand: data[1], payload: data.subarray(2) });
			return self.sendToController(createMockZWaveRequestFrame(cc, { ackRequested: false })).then(() => null);
		},
		// The same, encapsulated with the node's S2 key.
		secure: ({ node, hex }) => {
			const data = Buffer.from(hex, "hex");
			const self = controller.nodes.get(node);
			const cc = new CommandClass({ nodeId: controller.ownNodeId, ccId: data[0], ccCommand: data[1], payload: data.subarray(2) });
			const sealed = Security2CC.encapsulate(cc, self.id, self.securityManagers);
			return self.sendToController(createMockZWaveRequestFrame(sealed, { ackRequested: false })).then(() => null);
		},
		sleep: ({ node, on }) => {
			controller.nodes.get(node).autoAckControllerFrames = !on;
			asleep[on ? "add" : "delete"](node);
		},
		// Until the node is sent a command of that name, at most 20 s.
		sent: async ({ node, name }) => {
			const named = (frame) => frame.payload?.constructor?.name === name;
			const self = controller.nodes.get(node);
			if (!self.receivedControllerFrames.some(named)) await self.expectControllerFrame(named, { timeout: 20000 });
			self.clearReceivedControllerFrames();
		},
		// The node loses its nonces, as with its power.
		desync: ({ node }) => controller.nodes.get(node).securityManagers.securityManager2.deleteNonce(controller.ownNodeId),
		leave: ({ node }) => void (leaving = node),
		nodes: () => [...controller.nodes.keys()],
		received: ({ node }) => controller.nodes.get(node).receivedControllerFrames.map((frame) => frame.payload?.constructor?.name ?? "ACK"),
		state: ({ node }) => Object.fromEntries([...controller.nodes.get(node).state].filter(([, value]) => typeof value !== "object")),
		header: ({ byte }) => controller.sendHeaderToHost(byte),
		rejections: () => rejections,
	});

	return {
		controller: {
			homeId: 0xc0ffee01,
			ownNodeId: 1,
			securityKeys: {
				S0_Legacy: Buffer.alloc(16, 0x09),
				S2_Unauthenticated: Buffer.alloc(16, 0x11),
				S2_Authenticated: Buffer.alloc(16, 0x22),
				S2_AccessControl: Buffer.alloc(16, 0x33),
			},
			capabilities: {
				// It answers a soft reset, and does not say that it can.
				supportedFunctionTypes: [...getDefaultMockControllerCapabilities().supportedFunctionTypes, 0x08, 0x0a],
			},
			behaviors: [leave, idleStop, lateJoin, hardReset],
		},
		onInit: (controller) => {
			// What the last host did not acknowledge would take the acknowledgements of the next one.
			preload.connected = () => controller.expectedHostACKs.splice(0).forEach((ack) => ack.resolve());
			const server = net.Server.prototype.constructor; // not createServer: the preload cuts that one into frames
			new server((socket) => {
				let text = "";
				socket.on("data", async (chunk) => {
					const lines = (text += chunk).split("\n");
					text = lines.pop();
					for (const line of lines) {
						const { op, ...rest } = JSON.parse(line);
						let answer;
						try {
							answer = { ok: (await ops(controller)[op](rest)) ?? null };
						} catch (error) {
							answer = { error: String(error.stack ?? error) };
						}
						socket.write(JSON.stringify(answer) + "\n");
					}
				});
			}).listen(0, "127.0.0.1", function () {
				console.log(`Control on tcp://127.0.0.1:${this.address().port}`);
			});
		},
	};
};
