"""A bare paho QoS 1 publisher with its own thread, as its documentation shows. Part of bench_latency."""

import json
import socket
import sys
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

FOLDER, PORT, RATE, COUNT, FIRST = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
BODY = b"x" * 500  # as long as a state message

begin: list[float] = []
acknowledged: dict[int, float] = {}
client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
client.tls_set(f"{FOLDER}/bench-ca.pem", f"{FOLDER}/bare.pem", f"{FOLDER}/bare.key")
client.max_inflight_messages_set(0)


def no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


client.on_socket_open = no_delay
client.on_publish = lambda _c, _u, mid, *_: acknowledged.setdefault(mid, time.monotonic())
connected: list[bool] = []
client.on_connect = lambda *_: connected.append(True)
client.connect("127.0.0.1", PORT)
client.loop_start()
while not connected:
    time.sleep(0.01)
print("connected", flush=True)
mids = []
start = time.monotonic()
for number in range(COUNT):
    time.sleep(max(0.0, start + number / RATE - time.monotonic()))
    begin.append(time.monotonic())
    mids.append(client.publish("bare", b"%08d" % (FIRST + number) + BODY, qos=1).mid)
while len(acknowledged) < COUNT:
    time.sleep(0.01)
print(
    json.dumps({"begin": begin, "puback": [acknowledged[m] - b for m, b in zip(mids, begin, strict=True)]}), flush=True
)
client.disconnect()
client.loop_stop()
