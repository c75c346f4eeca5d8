// Loaded before zwave-js's mock server: what a server on a real network cannot do without.
"use strict";
const Module = require("node:module");
const net = require("node:net");

// It would announce itself by mDNS on every network of this machine.
const silent = { createService: () => ({ advertise: async () => {}, end: async () => {}, destroy: async () => {} }), shutdown: async () => {} };
const load = Module._load;
Module._load = function (request, ...rest) {
	return request === "@homebridge/ciao" ? { getResponder: () => silent } : load.call(this, request, ...rest);
};

// It takes every chunk of TCP for one frame, and TCP knows no frames.
const chunker = (take) => {
	let left = Buffer.alloc(0);
	return (chunk) => {
		left = Buffer.concat([left, chunk]);
		while (left.length > 0) {
			const size = left[0] !== 1 ? 1 : left.length > 1 ? left[1] + 2 : Infinity;
			if (left.length < size) return;
			const frame = left.subarray(0, size);
			left = left.subarray(size);
			take(frame);
		}
	};
};
// And it refuses who comes before it has noticed that the one before is gone. Here the next one waits for its turn.
const create = net.createServer;
const clients = new Set();
net.createServer = (listener) => {
	let free = Promise.resolve();
	exports.server = create(async (socket) => {
		const on = socket.on.bind(socket);
		const before = free;
		clients.add(socket);
		free = new Promise((resolve) => on("close", resolve));
		on("close", () => clients.delete(socket)).on("error", () => {});
		socket.setNoDelay(true);
		socket.on = (event, handler) => on(event, event === "data" ? chunker(handler) : handler);
		await before;
		if (socket.destroyed) return;
		exports.connected();
		listener(socket);
	});
	Object.defineProperty(exports.server, "maxConnections", { set: () => {} });
	return exports.server;
};
exports.connected = () => {};
// The stick is pulled out, and put in again.
let port;
exports.unplug = () => {
	port = exports.server.address().port;
	exports.server.close();
	for (const socket of clients) socket.destroy();
};
exports.plug = () => exports.server.listening || exports.server.listen({ host: "127.0.0.1", port });

// One frame that it does not like would end it. Here it is remembered, and a test that caused it fails.
// That a host which has gone acknowledges nothing is no such frame.
exports.rejections = [];
process.on("unhandledRejection", (error) => {
	const text = String(error?.message ?? error);
	if (!text.startsWith("Host did not respond with an ACK")) exports.rejections.push(text);
});
// It dies with whoever started it.
process.stdin.on("end", () => process.exit(0)).resume();
