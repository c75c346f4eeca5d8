// zigbee-herdsman's reader of OTA files: a file of base64 lines on stdin, on each line of stdout what it reads from one, or why it does not.
// usage: node ota.js < FILES

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {setLogger} = require("zigbee-herdsman");
const ota = require("zigbee-herdsman/dist/controller/helpers/ota");

setLogger({debug: () => {}, info: () => {}, warning: () => {}, error: () => {}});

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ota-"));
const hex = (data) => (data === undefined ? null : data.toString("hex"));

async function read(line) {
    const name = path.join(folder, "it.ota");
    fs.writeFileSync(name, Buffer.from(line, "base64"));
    const image = ota.parseOtaImage(await ota.getOtaFirmware(name));
    return {
        header: {...image.header, upgradeFileDestination: hex(image.header.upgradeFileDestination)},
        elements: image.elements.map((element) => [element.tagId, hex(element.data)]),
        raw: hex(image.raw),
    };
}

(async () => {
    for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
        const answer = await read(line).catch((error) => ({error: String(error.message || error)}));
        process.stdout.write(`${JSON.stringify(answer)}\n`);
    }
    fs.rmSync(folder, {recursive: true});
})();
