"use strict";

const hex = (bytes) => Buffer.from(bytes).toString("hex");

exports.asked = ({ cc, core, Bytes, context }) => ({
	...require("./catalogue.cjs").asked({ cc, core }),
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
	// Key derivation and nonces from fixed inputs.
	derive: async ({ secret, a, b, sender, receiver, key, count }) => {
		const prk = await core.computePRK(secret, a, b);
		const temporary = await core.deriveTempKeys(prk);
		const network = await core.deriveNetworkKeys(key);
		const mixed = await core.deriveMEI(await core.computeNoncePRK(sender, receiver));
		const answer = {
			prk: hex(prk),
			temporary: [temporary.tempKeyCCM, temporary.tempPersonalizationString].map(hex),
			network: [network.keyCCM, network.personalizationString, network.keyMPAN].map(hex),
			mixed: hex(mixed),
			s0: [await core.generateEncryptionKey(key), await core.generateAuthKey(key)].map(hex),
			nonces: [],
		};
		const generator = new core.CtrDRBG();
		await generator.init(Bytes.from(mixed), network.personalizationString);
		for (let i = 0; i < count; i++) answer.nonces.push(hex((await generator.generate(16)).subarray(0, 13)));
		return answer;
	},
	primitives: async ({ key, nonce, data, associated }) => {
		const sealed = await core.encryptAES128CCM(data, key, nonce, associated, 8);
		return {
			ccm: hex(sealed.ciphertext) + hex(sealed.authTag),
			cmac: hex(await core.computeCMAC(data, key)),
			mac: hex(await core.computeMAC(data, key)),
			ofb: hex(await core.encryptAES128OFB(data, key, nonce.length === 16 ? nonce : Bytes.alloc(16, 7))),
		};
	},
	dsk: ({ dsk }) => ({
		text: core.dskToString(dsk),
		nwi: hex(core.nwiHomeIdFromDSK(dsk)),
		auth: hex(core.authHomeIdFromDSK(dsk)),
	}),
	// The network in a memory image, and images of the same network as other chips keep it.
	nvm: async ({ image, old }) => {
		const edit = await import("@zwave-js/nvmedit");
		const found = await (old ? edit.nvm500ToJSON : edit.nvmToJSON)(image);
		const { homeId, ownHomeId, nodeId } = found.controller;
		const nodes = [...Object.keys(found.nodes), ...Object.keys(found.lrNodes ?? {})].map(Number);
		return { home: homeId ?? ownHomeId, node: nodeId, nodes };
	},
	nvm_converted: async ({ image, old, to, shared, library }) => {
		const edit = await import("@zwave-js/nvmedit");
		const found = await (old ? edit.nvm500ToJSON : edit.nvmToJSON)(image);
		found.meta = { ...found.meta, sharedFileSystem: shared, pageSize: shared ? 8192 : 2048, library };
		return hex(await (old ? edit.jsonToNVM500 : edit.jsonToNVM)(found, to));
	},
	// The store after many changes: pages are erased, and used again.
	nvm_rewritten: async ({ image, key, values }) => {
		const edit = await import("@zwave-js/nvmedit");
		const bytes = Buffer.from(image);
		const memory = {
			size: bytes.length,
			accessMode: 3,
			open: async (access) => access,
			close: async () => {},
			determineChunkSize: async () => bytes.length,
			read: async (at, size) => ({ buffer: bytes.subarray(at, at + size), endOfFile: at + size >= bytes.length }),
			write: async (at, data) => (bytes.set(data, at), { bytesWritten: data.length, endOfFile: at + data.length >= bytes.length }),
		};
		const store = new edit.NVM3(memory);
		await store.init();
		for (const value of values) await store.set(key, value);
		return hex(bytes);
	},
	qr: ({ text }) => core.parseQRCodeString(text),
	// Layers around a command, inner to outer.
	wrap: async ({ payloads, supervision, channel, instance, crc16 }) => {
		const parsed = [];
		for (const payload of payloads) parsed.push(await cc.CommandClass.parse(payload, context({})));
		let made = parsed.length > 1 ? new cc.MultiCommandCCCommandEncapsulation({ nodeId: 2, encapsulated: parsed }) : parsed[0];
		if (supervision) made = new cc.SupervisionCCGet({ nodeId: 2, encapsulated: made, ...supervision });
		if (channel) {
			made = new cc.MultiChannelCCCommandEncapsulation({
				nodeId: 2,
				encapsulated: made,
				endpointIndex: channel.source,
				destination: channel.destination,
			});
		}
		if (instance) {
			made.endpointIndex = instance;
			made = new cc.MultiChannelCCV1CommandEncapsulation({ nodeId: 2, endpointIndex: instance, encapsulated: made });
		}
		if (crc16) made = new cc.CRC16CCCommandEncapsulation({ nodeId: 2, encapsulated: made });
		return hex(await made.serialize(context({})));
	},
	unwrap: async ({ hex: data }) => {
		const layers = [];
		let found = await cc.CommandClass.parse(Bytes.from(data, "hex"), context({}));
		for (;;) {
			layers.push({
				name: found.constructor.name.replace(/2$/, ""),
				destination: found.destination,
				endpoint: found.endpointIndex,
				session: found.sessionId,
				updates: found.requestStatusUpdates,
				count: Array.isArray(found.encapsulated) ? found.encapsulated.length : undefined,
			});
			if (!found.encapsulated) return layers;
			found = Array.isArray(found.encapsulated) ? found.encapsulated[0] : found.encapsulated;
		}
	},
	segment: async ({ class: name, options }) =>
		hex(await new cc[name]({ nodeId: 2, ...options }).serialize(context({}))),
	// One end of a secured conversation; it lives as long as this process.
	...conversation({ cc, core, Bytes, context }),
});

function conversation({ cc, core, Bytes, context }) {
	let end; // { s2, s0, peer, own, granted }
	const secured = (question) => ({
		...context({ own: end.own, source: end.peer }),
		securityManager: end.s0,
		securityManager2: end.s2,
		frameType: question.multicast ? "multicast" : "singlecast",
		getHighestSecurityClass: () => end.granted[0],
		hasSecurityClass: (_, one) => end.granted.includes(one),
	});
	const inner = (payload) => cc.CommandClass.parse(payload, context({ own: end.own, source: end.peer }));
	const send = async (message) => hex(await message.serialize(secured({})));
	return {
		secure_start: async ({ own, peer, keys, granted }) => {
			const s2 = await core.SecurityManager2.create();
			for (const [one, key] of keys) await s2.setKey(one, key);
			const s0 = new core.SecurityManager({ networkKey: keys[0][1], ownNodeId: own, nonceTimeout: 10000 });
			end = { s2, s0, own, peer, granted };
		},
		secure_temporary: async ({ secret, a, b }) => {
			const temporary = await core.deriveTempKeys(await core.computePRK(secret, a, b));
			end.s2.tempKeys.set(end.peer, { keyCCM: temporary.tempKeyCCM, personalizationString: temporary.tempPersonalizationString });
		},
		s2_nonce_get: () => send(new cc.Security2CCNonceGet({ nodeId: end.peer })),
		s2_nonce_report: async () =>
			send(new cc.Security2CCNonceReport({ nodeId: end.peer, SOS: true, MOS: false, receiverEI: await end.s2.generateNonce(end.peer) })),
		s2_seal: async ({ payload, group, mpan, securityClass }) => {
			const encapsulated = await inner(payload);
			encapsulated.nodeId = end.peer;
			const extensions = [];
			if (group !== undefined) extensions.push(new cc.MGRPExtension({ groupId: group }));
			if (mpan !== undefined) {
				extensions.push(new cc.MPANExtension({ groupId: mpan, innerMPANState: end.s2.getInnerMPANState(mpan) }));
			}
			return send(new cc.Security2CCMessageEncapsulation({ nodeId: end.peer, encapsulated, extensions, securityClass }));
		},
		s2_multicast: async ({ payload, members }) => {
			const group = end.s2.createMulticastGroup(members, end.granted[0]);
			const encapsulated = await inner(payload);
			const message = new cc.Security2CCMessageEncapsulation({
				nodeId: members,
				encapsulated,
				extensions: [new cc.MGRPExtension({ groupId: group })],
			});
			message.nodeId = members;
			return { group, data: await send(message) };
		},
		s2_open: async ({ hex: data, multicast }) => {
			const found = await cc.CommandClass.parse(Bytes.from(data, "hex"), secured({ multicast }));
			return {
				name: found.constructor.name.replace(/2$/, ""),
				payload: found.plaintext ? hex(found.plaintext) : undefined,
				securityClass: found.securityClass,
				sos: found.SOS,
			};
		},
		s0_nonce: () => hex(end.s0.generateNonce(end.peer, 8)),
		s0_seal: async ({ payload, nonce }) => {
			const message = new cc.SecurityCCCommandEncapsulation({ nodeId: end.peer, encapsulated: await inner(payload) });
			message.nonce = nonce;
			return send(message);
		},
		s0_open: async ({ hex: data }) => {
			const found = await cc.CommandClass.parse(Bytes.from(data, "hex"), secured({}));
			return { payload: hex(found.decryptedCCBytes), sequenced: found.sequenced, second: found.secondFrame };
		},
	};
}
