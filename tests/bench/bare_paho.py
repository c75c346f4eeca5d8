"""A bare paho QoS 1 publisher with its own thread, as its documentation shows. Part of bench_latency."""

import json
import socket
import sys
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

BODY = b"x" * 500  # as long as a state message


def message(number: int) -> bytes:
    return b"%08d" % number + BODY


def connected_client(folder: str, port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
    client.tls_set(f"{folder}/bench-ca.pem", f"{folder}/bare.pem", f"{folder}/bare.key")
    client.max_inflight_messages_set(0)
    connected = threading.Event()
    client.on_socket_open = _no_delay
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.wait()
    return client


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def main(folder: str, port: int, rate: int, count: int, first: int) -> None:
    begin: list[float] = []
    acknowledged: dict[int, float] = {}
    client = connected_client(folder, port)
    client.on_publish = lambda _c, _u, mid, *_: acknowledged.setdefault(mid, time.monotonic())
    print("connected", flush=True)
    mids = []
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        begin.append(time.monotonic())
        mids.append(client.publish("bare", message(first + number), qos=1).mid)
    while len(acknowledged) < count:
        time.sleep(0.01)
    pubacks = [acknowledged[mid] - at for mid, at in zip(mids, begin, strict=True)]
    print(json.dumps({"begin": begin, "puback": pubacks}), flush=True)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:6]))
