"""A certificate is rotated under load: messages lost, and seconds without uplink. And a first start with a claim certificate: from `agent run`
to the first state report of a lamp that joins, in the stand-in cloud, by its parts.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from rig import AGENT, House, Observer, figure, house, median, scratch, wait_for
from standin_rig import UPC, Cloud

FIRST_STARTS = 5
LAMP = """
[radios.stick]
kind = "zigbee"
stick = "ezsp"
[[radios.stick.devices]]
name = "lamp"
profile = "color-bulb"
"""
CLAIM = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
onboarding = "cloud"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
serial = "{serial}"
product_code = "{code}"
template = "bench"
claim_certificate = "{folder}/claim.pem"
claim_key = "{folder}/claim.key"
[radios.zigbee]
kind = "zigbee"
port = "{folder}/stick"
radio = "ezsp"
"""
ROTATIONS, RATE, SECONDS, DEVICES = 5, 50, 60, 10
IDENTITY = """
[identity]
ca_certificate = "{folder}/bench-ca.pem"
ca_key = "{folder}/bench-ca.key"
"""


def with_own_authority(place: House) -> None:
    """The hub has no certificate in its configuration: it signs its own."""
    text = place.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("certificate =", "key ="))]
    place.config.write_text("\n".join(lines) + IDENTITY.format(folder=place.folder))
    place.authority.key_file()


def gaps(place: House, observer: Observer) -> list[float]:
    """How long the uplink was away each time, by the times at which reports arrived."""
    longest: list[float] = []
    for _ in range(ROTATIONS):
        before = time.monotonic()
        subprocess.run([*AGENT, "identity", "rotate", "-c", str(place.config)], check=True, stdout=subprocess.DEVNULL)
        time.sleep(1.0)
        arrived = sorted(at for at in observer.arrivals.values() if at > before - 1)
        longest.append(max(later - earlier for earlier, later in pairwise(arrived)))
        time.sleep(3.0)
    return longest


def rotation() -> None:
    with scratch() as folder, house(folder, DEVICES, prepare=with_own_authority) as place:
        observer = Observer(place.plain)
        count = RATE * SECONDS
        place.control(op="load", rate=RATE, count=count, first=1000)
        away = gaps(place, observer)
        wait_for(lambda: len(observer.arrivals) >= count or time.monotonic() - observer.last > 10, 120, "all reports")
        observer.close()
        figure(
            "rotation under load",
            rotations=ROTATIONS,
            reports=count,
            lost=count - len(observer.arrivals),
            uplink_away_s=median(away),
            longest_s=max(away),
        )


# ---- a first start ----------------------------------------------------------------------------------------------------


class FirstStart:
    """A hub in its box: a claim certificate, a stick without a network, a lamp that wants to join, and an account that knows its serial."""

    def __init__(self, folder: Path, cloud: Cloud, number: int) -> None:
        self.folder, self.cloud, self.api = folder, cloud, cloud.api
        self.serial = f"HUB-BENCH-{number:04}"
        self.hub = cloud.hub(self.serial)
        profile = self.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="bench")
        (folder / "claim.pem").write_text(profile["ClaimCertificate"])
        (folder / "claim.key").touch(mode=0o600)
        (folder / "claim.key").write_text(profile["ClaimCertificatePrivateKey"])
        host, _, port = cloud.told["mqtt"].partition(":")
        where = {"folder": folder, "host": host, "port": port, "ca": cloud.told["ca"]}
        (folder / "agent.toml").write_text(CLAIM.format(**where, serial=self.serial, code=UPC))
        (folder / "home.toml").write_text(LAMP)
        self.parts: dict[str, float] = {}
        self.begin = 0.0

    def mark(self, name: str, condition: Callable[[], Any]) -> Any:
        answer = wait_for(condition, 60, name)
        self.parts[name] = time.monotonic() - self.begin
        return answer

    def live(self) -> None:
        with (self.folder / "log").open("wb") as log:
            command = [*AGENT, "simulate", str(self.folder / "home.toml"), "--links", str(self.folder)]
            sim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
            assert sim.stdout is not None
            line = json.loads(sim.stdout.readline())
            (self.folder / "stick").exists() or (self.folder / "stick").symlink_to(line["port"])
            self.begin = time.monotonic()
            agent = subprocess.Popen([*AGENT, "run", "-c", str(self.folder / "agent.toml")], stdout=log, stderr=log)
            try:
                self.follow()
            finally:
                for process in (agent, sim):
                    process.terminate()
                    process.wait(15)
                sim.stdout.close()

    def follow(self) -> None:
        """What the account's owner does: start a discovery as soon as the hub is there, take the lamp, wait for its state."""
        self.mark(
            "provisioned", lambda: (self.folder / "state" / "identity" / "identity.json").exists() and self.current()
        )
        self.mark(
            "connected", lambda: self.api.get_managed_thing(Identifier=self.hub)["ProvisioningStatus"] == "ACTIVATED"
        )
        discovery = self.api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=self.hub)["Id"]
        found = self.mark("discovered", lambda: self.api.list_discovered_devices(Identifier=discovery)["Items"])[0]
        made = {
            "AuthenticationMaterialType": "DISCOVERED_DEVICE",
            "AuthenticationMaterial": found["AuthenticationMaterial"],
        }
        lamp = self.api.create_managed_thing(Role="DEVICE", **made)["Id"]
        self.mark("joined", lambda: self.api.get_managed_thing(Identifier=lamp)["ProvisioningStatus"] == "ACTIVATED")
        self.mark("first state", lambda: self.state(lamp))

    def current(self) -> Any:
        return json.loads((self.folder / "state" / "identity" / "identity.json").read_text())["current"]

    def state(self, lamp: str) -> Any:
        try:
            return self.api.get_managed_thing_state(ManagedThingId=lamp)["Endpoints"]
        except self.api.exceptions.ResourceNotFoundException:
            return None


def first_start() -> None:
    """Each time with a new hub; the stand-in runs before, as a cloud does."""
    runs: list[dict[str, float]] = []
    with scratch() as folder:
        for number in range(FIRST_STARTS):
            place = folder / str(number)
            place.mkdir()
            cloud = Cloud(place / "cloud")
            try:
                start = FirstStart(place, cloud, number)
                start.live()
                runs.append(start.parts)
            finally:
                cloud.stop()
            shutil.rmtree(place, ignore_errors=True)
    parts = {name.replace(" ", "_") + "_s": median([run[name] for run in runs]) for name in runs[0]}
    figure("first start with a claim", starts=len(runs), **parts, slowest_s=max(run["first state"] for run in runs))


if __name__ == "__main__":
    first_start()
    rotation()
