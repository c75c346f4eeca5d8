"""The REST client against Python's own HTTP server, over TLS; its tokens against OpenSSL's verification."""

import base64
import functools
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from nrf_client_rig import KEY, Device
from rest_rig import FAST

from agent.cloud.rest import Rest, RestError, UnusableError
from agent.identity.tokens import Stored, Tokens

pytestmark = pytest.mark.conformance

CONTENT = bytes(range(256)) * 1000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Its lines would go to stderr."""


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


@pytest.fixture
def url(tmp_path: Path, ca: Authority) -> Iterator[str]:
    """A folder with a file, served over TLS by HTTP/1.0, closing after each answer."""
    (tmp_path / "www" / "folder").mkdir(parents=True)
    (tmp_path / "www" / "image").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    certificate, key = ca.issue("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_files_folders_and_refusals_of_a_foreign_server(url: str, ca: Authority, tmp_path: Path) -> None:
    async with Rest(url, policy=FAST, ca=str(ca.ca)) as rest:
        found = await rest.download("/image", tmp_path / "image")
        assert (found.size, (tmp_path / "image").read_bytes()) == (len(CONTENT), CONTENT)
        head = await rest.call("HEAD", "/image")
        assert (head.status, head.headers["content-length"], head.body) == (200, str(len(CONTENT)), b"")
        listing = await rest.call("GET", "/folder")  # by way of a redirect to /folder/
        assert b"Directory listing" in listing.body
        with pytest.raises(UnusableError, match="text/html"):
            listing.json()
        with pytest.raises(RestError, match="File not found") as told:
            await rest.call("GET", "/none?sig=canary-1234567")
        assert (told.value.status, "canary" in told.value.advice) == (404, False)
        with pytest.raises(RestError, match="501"):
            await rest.call("POST", "/image", json={})


def test_openssl_verifies_a_token(tmp_path: Path) -> None:
    device = Device(tmp_path / "store", "hub-1")
    token = Tokens(Stored(device.keys, KEY), "hub-1", device.watch).token()
    text, _, tail = token.rpartition(".")
    raw = base64.urlsafe_b64decode(tail + "==")
    (tmp_path / "text").write_bytes(text.encode())
    (tmp_path / "public").write_text(device.public)
    (tmp_path / "signature").write_bytes(
        encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    )
    command = ["openssl", "dgst", "-sha256", "-verify", "public", "-signature", "signature", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Verified OK\n"
