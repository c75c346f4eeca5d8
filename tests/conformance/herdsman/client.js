// zigbee-herdsman behind lines of JSON: requests on stdin, answers and events on stdout.
// usage: node client.js ADAPTER PORT FOLDER     {"id": 1, "op": "start"} -> {"id": 1, "result": "reset"}

const path = require("node:path");
const readline = require("node:readline");
const {Controller, setLogger} = require("zigbee-herdsman");

const [adapter, port, folder] = process.argv.slice(2);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const log = (level) => (message) => say({log: level, text: String(typeof message === "function" ? message() : message)});
setLogger({debug: () => {}, info: () => {}, warning: log("warning"), error: log("error")});

const controller = new Controller({
    network: {
        panID: 0x1a62,
        extendedPanID: [0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd],
        networkKey: [...Array(16).keys()],
        networkKeyDistribute: false,
        channelList: [15],
    },
    serialPort: {path: port, adapter},
    databasePath: path.join(folder, "database.db"),
    databaseBackupPath: null,
    backupPath: path.join(folder, "coordinator_backup.json"),
    adapter: {},
    acceptJoiningDeviceHandler: async () => true,
});

const describe = (device) => ({
    ieee: device.ieeeAddr,
    nwk: device.networkAddress,
    model: device.modelID,
    manufacturer: device.manufacturerName,
    endpoints: device.endpoints.map((endpoint) => ({
        id: endpoint.ID,
        type: endpoint.deviceID,
        inputs: endpoint.inputClusters,
        outputs: endpoint.outputClusters,
    })),
});

controller.on("deviceInterview", ({status, device}) => say({event: "interview", status, device: describe(device)}));
controller.on("deviceLeave", ({ieeeAddr}) => say({event: "leave", ieee: ieeeAddr}));
controller.on("message", ({type, device, cluster, data}) => say({event: "message", type, ieee: device.ieeeAddr, cluster, data}));

const endpointOf = ({ieee, endpoint = 1}) => controller.getDeviceByIeeeAddr(ieee).getEndpoint(endpoint);

const operations = {
    start: () => controller.start(),
    network: () => controller.getNetworkParameters(),
    version: () => controller.getCoordinatorVersion(),
    devices: () => controller.getDevicesByType("Router").map((device) => device.ieeeAddr),
    permit: ({seconds}) => controller.permitJoin(seconds),
    install: ({code}) => controller.addInstallCode(code),
    read: (request) => endpointOf(request).read(request.cluster, request.attributes),
    command: (request) => endpointOf(request).command(request.cluster, request.command, request.payload ?? {}),
    bind: (request) => endpointOf(request).bind(request.cluster, controller.getDevicesByType("Coordinator")[0].getEndpoint(1)),
    report: (request) =>
        endpointOf(request).configureReporting(request.cluster, [
            {attribute: request.attribute, minimumReportInterval: 0, maximumReportInterval: 900, reportableChange: request.change},
        ]),
    lqi: ({ieee}) => controller.getDeviceByIeeeAddr(ieee).lqi(),
    remove: ({ieee}) => controller.getDeviceByIeeeAddr(ieee).removeFromNetwork(),
    backup: () => controller.backup(),
    stop: () => controller.stop(),
};

readline.createInterface({input: process.stdin}).on("line", async (line) => {
    const request = JSON.parse(line);
    try {
        say({id: request.id, result: (await operations[request.op](request)) ?? null});
    } catch (error) {
        say({id: request.id, error: String(error.message ?? error)});
    }
}).on("close", () => process.exit(0));
