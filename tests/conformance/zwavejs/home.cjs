// A stick with one node that joins with every class of S2.
"use strict";

module.exports.default = ({ require }) => {
	const { CommandClasses: CC, SecurityClass: SC } = require("@zwave-js/core");
	const supported = (ccId, version, more = {}) => ({ ccId, version, ...more });
	return {
		controller: {
			homeId: 0xc0ffee01,
			ownNodeId: 1,
			securityKeys: {
				S0_Legacy: Buffer.alloc(16, 9),
				S2_Unauthenticated: Buffer.alloc(16, 0x11),
				S2_Authenticated: Buffer.alloc(16, 0x22),
				S2_AccessControl: Buffer.alloc(16, 0x33),
			},
		},
		nodes: [
			{
				id: 2,
				capabilities: {
					supportsSecurity: true,
					securityClasses: new Set([SC.S2_AccessControl, SC.S2_Authenticated, SC.S2_Unauthenticated]),
					commandClasses: [
						supported(CC["Z-Wave Plus Info"], 2),
						supported(CC.Version, 3),
						supported(CC["Security 2"], 1),
						supported(CC["Binary Switch"], 2, { secure: true }),
					],
				},
			},
		],
	};
};
