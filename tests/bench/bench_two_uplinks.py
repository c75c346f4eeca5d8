"""Processor time of a report with one dialect and with both: two houses at once, in turns, each with its own broker.

nRF Cloud is what this file says: a client at the same broker that answers the question for the pairing and counts what it gets.
"""

import json
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rig import House, Observer, figure, house, load, median, scratch, wait_for

ROUNDS, RATE, COUNT, DEVICES = 5, 200, 2000, 10
DEVICE, PREFIX = "hub-1-nrf", "prod/bench/"
NRF = """
[uplinks.nrf]
dialect = "nrf-cloud"
host = "127.0.0.1"
port = {port}
publishes_per_second = 0
ca = "{folder}/bench-ca.pem"
certificate = "{folder}/hub-1.pem"
key = "{folder}/hub-1.key"
client_id = "{device}"
"""


class Account:
    """Pairs the device, and counts its temperatures."""

    def __init__(self, port: int) -> None:
        self.temperatures = 0
        self._lock = threading.Lock()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="account")
        self.client.on_connect = lambda client, *_: client.subscribe([(f"{DEVICE}/shadow/get/tf", 1), ("prod/#", 0)])
        self.client.on_message = self._heard
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _heard(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        if message.topic.endswith("/get/tf"):
            messages = f"{PREFIX}m/d/{DEVICE}"
            pairing = {"state": "paired", "topics": {"d2c": f"{messages}/d2c", "c2d": f"{messages}/c2d"}}
            reply = {"tf": {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": pairing}}
            client.publish(f"{DEVICE}/shadow/get/accepted/tf", json.dumps(reply), 1)
        elif message.topic.startswith(f"{PREFIX}m/d/{DEVICE}/d2c"):
            with self._lock:
                self.temperatures += sum(one["appId"] == "TEMP" for one in (body if isinstance(body, list) else [body]))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def main() -> None:
    accounts: list[Account] = []

    def second(place: House) -> None:
        text = NRF.format(port=place.tls, folder=place.folder, device=DEVICE)
        place.config.write_text(place.config.read_text() + text)
        accounts.append(Account(place.plain))

    costs: dict[str, list[float]] = {"one": [], "both": []}
    wanted = 0
    with scratch() as a, scratch() as b, house(a, DEVICES) as one, house(b, DEVICES, prepare=second) as both:
        observers = {"one": Observer(one.plain), "both": Observer(both.plain)}
        for turn in range(ROUNDS + 1):
            before = accounts[0].temperatures
            for name, place in (("one", one), ("both", both)):
                result = load(place, observers[name], RATE, COUNT, turn * 300)
                if turn:  # the first one warms up
                    costs[name].append(result["cpu_us_per_report"])
            wait_for(lambda before=before: accounts[0].temperatures >= before + COUNT, 30, "every value at nRF Cloud")
            wanted += COUNT
        for observer in observers.values():
            observer.close()
    accounts[0].close()
    ratio = median([b / a for a, b in zip(costs["one"], costs["both"], strict=True)])
    figure(
        "both dialects at once against one",
        ratio=ratio,
        wanted_at_most=1.3,
        cpu_us_one=median(costs["one"]),
        cpu_us_both=median(costs["both"]),
        at_nrf_cloud=accounts[0].temperatures,
        of=wanted,
    )


if __name__ == "__main__":
    main()
