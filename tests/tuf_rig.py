"""A maker's TUF repository that python-tuf's own API makes, and a server for it with manners."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ota_rig as rig
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

ROLES = ("root", "timestamp", "snapshot", "targets")


class Files(SimpleHTTPRequestHandler):
    """`manners`: of a name, how it is served: endless, or slow."""

    manners: dict[str, str]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        pass

    def do_GET(self) -> None:
        manner = self.manners.get(self.path.rpartition("/")[2])
        if manner is None:
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16) if manner == "endless" else b" ")
                if manner == "slow" and self.server.gone.wait(0.05):  # type: ignore[attr-defined]
                    return


@contextmanager
def served(folder: Path, **manners: str) -> Iterator[str]:
    """The address of a folder's files; `manners` are of names, written with _ for a dot."""
    told = {name.replace("_json", ".json"): manner for name, manner in manners.items()}
    handler = partial(type("Handler", (Files,), {"manners": told}), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.gone = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.gone.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


class Repository:
    """A maker's repository: two root keys, both needed, and one key for each other role."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signers = {role: CryptoSigner.generate_ecdsa() for role in ROLES}
        self.second = CryptoSigner.generate_ed25519()
        self.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        root = Root(expires=self.expires, consistent_snapshot=True)
        for role, signer in self.signers.items():
            root.add_key(signer.public_key, role)
        root.add_key(self.second.public_key, "root")
        root.roles["root"].threshold = 2
        self.parts: dict[str, Any] = {"root": root, "targets": Targets(expires=self.expires)}
        self.parts |= {"snapshot": Snapshot(expires=self.expires), "timestamp": Timestamp(expires=self.expires)}
        for name in ("metadata", "targets"):
            (folder / name).mkdir(parents=True)
        self.root = self.write("root", "1.root.json")
        self.version = 0

    def write(self, role: str, name: str, signer: CryptoSigner | None = None) -> bytes:
        made = Metadata(self.parts[role])
        made.sign(signer or self.signers[role])
        if role == "root":
            made.sign(self.second, append=True)
        data = made.to_bytes()
        (self.folder / "metadata" / name).write_bytes(data)
        return data

    def add(self, name: str, content: bytes) -> None:
        self.parts["targets"].targets[name] = TargetFile.from_data(name, content, ["sha256"])
        folder, _, base = name.rpartition("/")
        path = self.folder / "targets" / folder / f"{hashlib.sha256(content).hexdigest()}.{base}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def publish(self, **signers: CryptoSigner) -> None:
        self.version += 1
        for role in ROLES[1:]:
            self.parts[role].version = self.version
        self.parts["snapshot"].meta["targets.json"].version = self.version
        self.parts["timestamp"].snapshot_meta.version = self.version
        self.write("targets", f"{self.version}.targets.json", signers.get("targets"))
        self.write("snapshot", f"{self.version}.snapshot.json")
        self.write("timestamp", "timestamp.json")

    def release(self, document: dict[str, Any] | None = None, folder: str = "", **files: bytes) -> None:
        self.add(f"{folder}release.json", json.dumps(document or rig.release_document()).encode())
        for name, content in {"agent.whl": rig.IMAGE, "bulb.ota": rig.IMAGE, **files}.items():
            self.add(f"{folder}{name}", content)
        self.publish()
