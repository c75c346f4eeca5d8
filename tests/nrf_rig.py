"""Clients of the stand-in's nRF Cloud: keys by OpenSSL, REST by urllib3, CoAP by OpenSSL's DTLS and aiocoap's codec."""

import http.client
import json
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import jwt
import urllib3
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import CON
from OpenSSL import SSL
from standin_rig import Cloud


class Keys:
    """A P-256 key with a self-signed certificate."""

    def __init__(self, folder: Path, name: str, curve: str = "prime256v1") -> None:
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        make = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            f"ec_paramgen_curve:{curve}",
            "-nodes",
            "-subj",
            f"/CN={name}",
        ]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True, text=True)
        self.private, self.certificate, self.public = key.read_text(), certificate.read_text(), public.stdout

    def token(self, device: str, **claims: Any) -> str:
        body = {"sub": device, "exp": int(time.time()) + 600, **claims}
        return jwt.encode({name: value for name, value in body.items() if value is not None}, self.private, "ES256")


def ask(cloud: Cloud, method: str, path: str, token: str = "", **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {token or cloud.told['nrf_api_key']}", **options.pop("headers", {})}
    return urllib3.request(method, cloud.told["nrf"] + path, headers=headers, **options)


def jitp(cloud: Cloud, files: tuple[Path, Path]) -> None:
    """Just-in-time provisioning of a device with these files, to its end: the first connection is closed without an answer."""
    context = ssl.create_default_context(cafile=cloud.told["ca"])
    context.load_cert_chain(*files)
    place, answers = urlsplit(cloud.told["nrf_jitp"]), []
    end = time.monotonic() + 10
    while not answers or answers[-1] != (403, {"message": None, "traceId": "stand-in"}):
        assert time.monotonic() < end, answers
        connection = http.client.HTTPSConnection(place.netloc, context=context)
        connection.request("POST", "/topics/jitp?qos=1")
        try:
            answer = connection.getresponse()
        except http.client.RemoteDisconnected:
            answers.append(None)
            time.sleep(0.02)
        else:
            answers.append((answer.status, json.loads(answer.read())))
        connection.close()
    assert answers[0] is None


def bulk(cloud: Cloud, path: str, text: str) -> dict[str, Any]:
    """The end of a bulk operation."""
    made = ask(cloud, "POST", path, body=text, headers={"Content-Type": "application/octet-stream"})
    assert made.status == 202, made.data
    end = time.monotonic() + 10
    while (found := ask(cloud, "GET", f"/bulk-ops-requests/{made.json()['bulkOpsRequestId']}").json())[
        "status"
    ] == "PENDING":
        assert time.monotonic() < end
        time.sleep(0.02)
    return dict(found)


class CoapDevice:
    """One DTLS session; requests one after the other. `drop(n)` true loses the n-th datagram that would be sent."""

    def __init__(self, url: str, ca: str, drop: Callable[[int], bool] = lambda _: False, port: int = 0) -> None:
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.load_verify_locations(ca)
        context.set_verify(SSL.VERIFY_PEER)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        self.ssl = SSL.Connection(context, None)
        self.ssl.set_connect_state()
        self.ssl.set_ciphertext_mtu(1200)
        place = urlsplit(url)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.connect((place.hostname, place.port))
        self._drop, self._sent, self._mid = drop, 0, 0
        self._until(self.ssl.do_handshake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _flush(self) -> None:
        try:
            stream = self.ssl.bio_read(65536)
        except SSL.WantReadError:
            return
        while stream:
            size = 13 + int.from_bytes(stream[11:13], "big")
            self._sent += 1
            if not self._drop(self._sent):
                self.socket.send(stream[:size])
            stream = stream[size:]

    def _until(self, step: Callable[[], Any]) -> Any:
        end = time.monotonic() + 10
        while True:
            try:
                done = step()
            except SSL.WantReadError:
                self._flush()
            else:
                self._flush()
                return done
            assert time.monotonic() < end, "no answer"
            wait = self.ssl.DTLSv1_get_timeout()
            ready, _, _ = select.select([self.socket], [], [], 0.5 if wait is None else max(wait, 0.01))
            if ready:
                self.ssl.bio_write(self.socket.recv(65536))
            else:
                self.ssl.DTLSv1_handle_timeout()
                self._flush()

    def send(self, datagram: bytes) -> None:
        self.ssl.send(datagram)
        self._flush()

    def receive(self) -> bytes:
        return bytes(self._until(lambda: self.ssl.recv(65536)))

    def message(self, method: str, path: str, payload: bytes = b"", **options: Any) -> Message:
        self._mid += 1
        asked = Message(
            code=Code[method], payload=payload, _mid=self._mid, _mtype=CON, _token=self._mid.to_bytes(4, "big")
        )
        asked.opt.uri_path = tuple(path.partition("?")[0].split("/"))
        asked.opt.uri_query = tuple(filter(None, path.partition("?")[2].split("&")))
        for name, value in options.items():
            setattr(asked.opt, name, value)
        return asked

    def ask(self, method: str, path: str, payload: bytes = b"", **options: Any) -> Message:
        """Send a request; its answer, whatever else comes before it."""
        asked = self.message(method, path, payload, **options)
        self.send(asked.encode())
        while True:
            answer = Message.decode(self.receive())
            if answer.token == asked.token:
                assert answer.mid == asked.mid  # in the acknowledgement
                return answer

    def login(self, token: str) -> Message:
        return self.ask("POST", "auth/jwt", token.encode(), content_format=0)

    def download(self, url: str) -> bytes:
        """A file through the proxy, block by block."""
        content, number, more = b"", 0, True
        while more:
            answer = self.ask("GET", "proxy", proxy_uri=url, block2=(number, False, 6))
            assert answer.code is Code.CONTENT, answer.payload
            content, number, more = content + answer.payload, number + 1, answer.opt.block2.more
        return content
