// Loaded before the mock server: it would announce itself in the network, and a broken frame would end it without a word.
"use strict";
const Module = require("node:module");

const load = Module._load;
const service = { advertise: async () => {}, destroy: async () => {} };
const responder = { getResponder: () => ({ createService: () => service, shutdown: async () => {} }) };
Module._load = function (name, ...rest) {
	return name === "@homebridge/ciao" ? { ...responder, default: responder } : load.call(this, name, ...rest);
};
process.on("unhandledRejection", (error) => console.log(`UNHANDLED ${error?.message ?? error}`));
