"""The stand-in cloud under 1,000 hubs with 10 devices each: registration, states a second, memory, and pages of 10,000 things.

Every hub has a certificate from fleet provisioning and connects through the gate with TLS, as devices do.
"""

import asyncio
import json
import os
import ssl
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rig import figure, median

from agent.clock import iso

sys.path.insert(0, str(Path(__file__).parent.parent))
from standin_mqtt import Mqtt
from standin_rig import UPC, Cloud

HUBS, DEVICES = 1000, 10
STATES = 20_000
DISCOVERED = "DISCOVERED_DEVICE"


class LightHub:
    """As much of an MQTT 3.1.1 client as says CONNECT and publishes at QoS 1; a thousand of them fit in one process."""

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self._mid = 0

    async def connect(self, cloud: Cloud, files: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cafile=cloud.told["ca"])
        context.load_cert_chain(*files)
        host, _, port = cloud.told["mqtt"].partition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port), ssl=context)
        name = self.hub.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name
        self._writer.write(b"\x10" + _length(len(body)) + body)
        answer = await self._reader.readexactly(4)
        assert answer[3] == 0, answer

    async def publish(self, topic: str, message_type: str, payload: dict[str, Any], thing: str = "") -> None:
        self._mid = self._mid % 65535 + 1
        envelope = {"version": "1.0.0", "messageId": f"{self.hub}{time.monotonic_ns():x}", "messageType": message_type}
        envelope |= {"timestamp": iso(time.time()), "payload": payload, **({"managedThingId": thing} if thing else {})}
        name = f"north/{self.hub}/{topic}".encode()
        body = struct.pack(">H", len(name)) + name + struct.pack(">H", self._mid) + json.dumps(envelope).encode()
        self._writer.write(b"\x32" + _length(len(body)) + body)
        await self._reader.readexactly(4)  # PUBACK

    def close(self) -> None:
        self._writer.close()


def _length(size: int) -> bytes:
    encoded = b""
    while True:
        size, byte = divmod(size, 128)
        encoded += bytes([byte | (0x80 if size else 0)])
        if not size:
            return encoded


def provision(cloud: Cloud, folder: Path, serials: list[str]) -> list[tuple[Path, Path]]:
    """Fleet provisioning with one claim certificate: certificate and key of each hub."""
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="bench")
    claim = folder / "claim.pem", folder / "claim.key"
    claim[0].write_text(made["ClaimCertificate"])
    claim[1].write_text(made["ClaimCertificatePrivateKey"])
    create, register = "$aws/certificates/create/json", "$aws/provisioning-templates/bench/provision/json"
    files = []
    with Mqtt(cloud, claim, "claim-bench") as client:
        client.subscribe(f"{create}/accepted", f"{register}/accepted")
        for number, serial in enumerate(serials, 1):
            client.publish(create, {})
            given = client.waits_for(f"{create}/accepted", 1)
            parameters = {"deviceSerialNumber": serial, "universalProductCode": UPC}
            token = given["certificateOwnershipToken"]
            client.publish(register, {"certificateOwnershipToken": token, "parameters": parameters})
            client.waits_for(f"{register}/accepted", 1)
            client.heard.clear()
            files.append((folder / f"{number}.pem", folder / f"{number}.key"))
            files[-1][0].write_text(given["certificatePem"])
            files[-1][1].write_text(given["privateKey"])
    return files


def register(cloud: Cloud, hubs: list[str]) -> dict[str, list[str]]:
    """Ten things for each hub, through discoveries as a hub would report them; thing ids by hub."""
    things: dict[str, list[str]] = {}
    for hub in hubs:
        discovery = cloud.api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=hub)["Id"]
        things[hub] = [discovery]
    return things


async def found(hubs: dict[str, LightHub], discoveries: dict[str, list[str]]) -> None:
    async def one(hub: LightHub) -> None:
        for number in range(DEVICES):
            body = {
                "deviceDiscoveryId": discoveries[hub.hub][0],
                "nodeId": f"zb.1A62+{number:04X}",
                "deviceTypes": ["Light"],
            }
            body |= {"manufacturer": "Acme", "model": "Bulb", "macAddress": "00", "discoveredAt": iso(time.time())}
            await hub.publish("discovery", "DEVICE_DISCOVERED", body)

    await asyncio.gather(*(one(hub) for hub in hubs.values()))


async def states(hubs: dict[str, LightHub], things: dict[str, list[str]], count: int) -> None:
    each = count // len(hubs)

    async def one(hub: LightHub) -> None:
        for number in range(each):
            value = {"propertyValue": number, "lastChangedAt": iso(time.time())}
            capability = {"id": "matter.LevelControl@1.4", "name": "Level Control", "version": "6"}
            capability["properties"] = [{"name": "CurrentLevel", "value": value}]
            payload = {"addedStates": {"endpoints": [{"endpointId": "1", "capabilities": [capability]}]}}
            await hub.publish("state", "DEVICE_STATE", payload, things[hub.hub][number % DEVICES])

    await asyncio.gather(*(one(hub) for hub in hubs.values()))


def rss(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pages(cloud: Cloud, hub: str) -> dict[str, float]:
    """Milliseconds of the first and of the last page of all things, and of a page that is filtered."""

    def timed(**request: Any) -> tuple[float, dict[str, Any]]:
        begin = time.perf_counter()
        answer = cloud.api.list_managed_things(MaxResults=100, **request)
        return (time.perf_counter() - begin) * 1e3, answer

    token, last = None, {}
    while "NextToken" in (
        last := cloud.api.list_managed_things(MaxResults=1000, **({"NextToken": token} if token else {}))
    ):
        token = last["NextToken"]
    return {
        "first_ms": median([timed()[0] for _ in range(9)]),
        "last_ms": median([timed(NextToken=token)[0] for _ in range(9)]),
        "of_one_hub_ms": median([timed(ParentControllerIdentifierFilter=hub)[0] for _ in range(9)]),
    }


def until_state(cloud: Cloud, thing: str, value: int) -> None:
    end = time.monotonic() + 600
    while time.monotonic() < end:
        endpoints = cloud.api.get_managed_thing_state(ManagedThingId=thing)["Endpoints"]
        if endpoints and endpoints[0]["capabilities"][0]["properties"][0]["value"]["propertyValue"] >= value:
            return
        time.sleep(0.05)
    raise TimeoutError(thing)


async def run(cloud: Cloud, folder: Path) -> None:
    begin = time.perf_counter()
    serials = [f"HUB-BENCH-{number:06}" for number in range(HUBS)]
    names = [cloud.hub(serial) for serial in serials]
    figure("hubs made", hubs=HUBS, per_s=HUBS / (time.perf_counter() - begin))
    begin = time.perf_counter()
    files = provision(cloud, folder, serials)
    figure("fleet provisioning, one after the other", hubs=HUBS, per_s=HUBS / (time.perf_counter() - begin))
    hubs = {name: LightHub(name) for name in names}
    begin = time.perf_counter()
    for start in range(0, HUBS, 50):  # fifty handshakes at a time
        some = zip(names[start : start + 50], files[start : start + 50], strict=True)
        await asyncio.gather(*(hubs[name].connect(cloud, own) for name, own in some))
    figure("connections with TLS", hubs=HUBS, per_s=HUBS / (time.perf_counter() - begin))
    begin = time.perf_counter()
    discoveries = register(cloud, names)
    await asyncio.gather(*(hub.publish("lifecycle", "HUB_STATUS", {"status": "online"}) for hub in hubs.values()))
    await found(hubs, discoveries)
    things: dict[str, list[str]] = {}
    for name in names:
        while len(listed := cloud.api.list_discovered_devices(Identifier=discoveries[name][0])["Items"]) < DEVICES:
            await asyncio.sleep(0.05)
        made = [
            cloud.api.create_managed_thing(
                Role="DEVICE",
                AuthenticationMaterialType=DISCOVERED,
                AuthenticationMaterial=entry["AuthenticationMaterial"],
            )["Id"]
            for entry in listed
        ]
        things[name] = made
    taken = time.perf_counter() - begin
    figure("registration of devices", devices=HUBS * DEVICES, seconds=taken, per_s=HUBS * DEVICES / taken)
    figure("pages of the list of things", things=HUBS * (DEVICES + 1), **pages(cloud, names[0]))
    pids = {"stand-in": cloud.process.pid, "broker": _child(cloud.process.pid), "hubs": os.getpid()}
    used, begin = {name: cpu(pid) for name, pid in pids.items()}, time.perf_counter()
    await states(hubs, things, STATES)
    last = STATES // HUBS - 1
    for name in (names[0], names[-1]):
        until_state(cloud, things[name][last % DEVICES], last)
    taken = time.perf_counter() - begin
    shares = {name: (cpu(pid) - used[name]) / taken for name, pid in pids.items()}
    busiest = max(shares, key=lambda name: shares[name])
    saturated = busiest if shares[busiest] > 0.9 else "no process; the machine's cores together"
    cores = {f"{name}_cores": share for name, share in shares.items()}
    figure("states of hubs", per_s=STATES / taken, **cores, saturated=saturated, rss_mb=rss(cloud.process.pid))
    for hub in hubs.values():
        hub.close()


def _child(pid: int) -> int:
    """The broker, the stand-in's only child."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder) / "data")
        try:
            asyncio.run(run(cloud, Path(folder)))
        finally:
            cloud.stop()


if __name__ == "__main__":
    main()
