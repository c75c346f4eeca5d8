"""A device of nRF Cloud over MQTT as the SDK is one, and what the account asks about it."""

from pathlib import Path
from typing import Any

import urllib3
from nrf_rig import ask
from standin_mqtt import Mqtt
from standin_rig import Cloud

ASSOCIATION = 'state.{"nrfcloud_mqtt_topic_prefix":desired.nrfcloud_mqtt_topic_prefix,"pairing":desired.pairing}'
CONTROL = ("get/accepted/tf", "get/rejected", "update/delta/trim", "update/delta/trim/err")


class Device(Mqtt):
    """A device as the SDK is one. `pair` goes through its start; then `d2c`, `c2d` and `jobs` are its topics."""

    def __init__(self, cloud: Cloud, name: str, files: tuple[Path, Path]) -> None:
        super().__init__(cloud, files, name, v5=False)
        self.name = name
        assert self.connected() == "Success"
        self.pairing: dict[str, Any] = {}

    @property
    def jobs(self) -> str:
        return f"{self.pairing['nrfcloud_mqtt_topic_prefix']}{self.name}/jobs"

    @property
    def d2c(self) -> str:
        return str(self.pairing["pairing"]["topics"]["d2c"])

    def ask(self) -> dict[str, Any]:
        """Subscribe to the control topics, and ask what the account says."""
        assert self.subscribe(*(f"{self.name}/shadow/{name}" for name in CONTROL)) == [1] * 4
        return dict(self.transform(ASSOCIATION)["tf"])

    def transform(self, expression: str, **more: Any) -> dict[str, Any]:
        topic = f"{self.name}/shadow/get/accepted/tf"
        before = len(self.on(topic))
        self.publish(f"{self.name}/shadow/get/tf", {"t": expression, **more})
        return dict(self.waits_for(topic, before + 1))

    def take(self, told: dict[str, Any], *more: str) -> None:
        """Take a pairing as the SDK does: `/c2d` becomes `/+/r`, the rest is reported, and jobs are asked for."""
        assert told["pairing"]["state"] == "paired"
        wanted = str(told["pairing"]["topics"]["c2d"])
        assert wanted.endswith("/c2d")
        chosen = wanted.removesuffix("/c2d") + "/+/r"
        pairing = {"state": "paired", "topics": {**told["pairing"]["topics"], "c2d": chosen}}
        self.pairing = {"nrfcloud_mqtt_topic_prefix": told["nrfcloud_mqtt_topic_prefix"], "pairing": pairing}
        control = {"control": {"alertsEn": True, "logLvl": 0}, "connection": {"keepalive": 1200}}
        desired = {"pairing": {"topics": {"c2d": chosen}}}
        state = {"state": {"reported": {**self.pairing, **control}, "desired": desired}}
        self.publish(f"{self.name}/shadow/update", state)
        wanted_topics = (chosen, f"{self.jobs}/rcv", *(f"{self.jobs}/{name}" for name in more))
        assert self.subscribe(*wanted_topics) == [1] * len(wanted_topics)
        self.publish(f"{self.jobs}/req", [""])

    def pair(self, *more: str) -> "Device":
        self.take(self.ask(), *more)
        return self

    def report_unassociated(self) -> None:
        gone = dict.fromkeys(("nrfcloud_mqtt_topic_prefix", "pairingStatus", "stage"))
        pairing = {"state": "not_associated", "topics": None, "config": None}
        reported = {**gone, "pairing": pairing, "connection": {"keepalive": None}}
        self.publish(f"{self.name}/shadow/update", {"state": {"reported": reported}})


def state(cloud: Cloud, device: str) -> dict[str, Any]:
    return dict(ask(cloud, "GET", f"/devices/{device}").json()["state"]["state"])


def bundle(cloud: Cloud, kind: str = "APP") -> str:
    folder = cloud.folder / "s3" / "nrf-bundles"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}*0123abcd*v2").write_bytes(bytes(2048))
    return f"{kind}*0123abcd*v2"


def job(cloud: Cloud, target: str, kind: str = "APP") -> str:
    made = ask(cloud, "POST", "/fota-jobs", json={"bundleId": bundle(cloud, kind), "deviceIds": [target]})
    assert made.status == 201, made.data
    return str(made.json()["jobId"])


def execution(cloud: Cloud, target: str, job: str) -> tuple[str, str | None]:
    found = ask(cloud, "GET", f"/fota-job-executions/{target}/{job}").json()
    return found["status"], found.get("statusDetail")


def press(cloud: Cloud, **button: Any) -> int:
    return urllib3.request("POST", f"{cloud.told['console']}console", json=button).status


def hit(address: str, rssi: int) -> dict[str, Any]:
    return {"deviceType": "BLE", "rssi": rssi, "address": {"address": address, "type": "randomStatic"}}
