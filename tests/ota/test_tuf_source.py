"""Releases from a TUF repository that python-tuf's own API makes, over HTTP: what a hub takes from it, and what it does not."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ota_rig as rig
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from agent.errors import ConfigError, StorageError, TryAgainError
from agent.ota.manifest import LARGEST
from agent.ota.refusals import (
    ContentError,
    ExpiredError,
    MalformedError,
    MixAndMatchError,
    RollbackError,
    ThresholdError,
    TooLargeError,
    UnsignedError,
    WrongProductError,
)
from agent.ota.tuf_source import TufSource

pytestmark = pytest.mark.conformance
ROLES = ("root", "timestamp", "snapshot", "targets")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        pass


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
        (self.folder / "targets" / f"{hashlib.sha256(content).hexdigest()}.{name}").write_bytes(content)

    def publish(self, **signers: CryptoSigner) -> None:
        self.version += 1
        for role in ROLES[1:]:
            self.parts[role].version = self.version
        self.parts["snapshot"].meta["targets.json"].version = self.version
        self.parts["timestamp"].snapshot_meta.version = self.version
        self.write("targets", f"{self.version}.targets.json", signers.get("targets"))
        self.write("snapshot", f"{self.version}.snapshot.json")
        self.write("timestamp", "timestamp.json")

    def release(self, document: dict[str, Any] | None = None, **files: bytes) -> None:
        self.add("release.json", json.dumps(document or rig.release_document()).encode())
        for name, content in {"agent.whl": rig.IMAGE, "bulb.ota": rig.IMAGE, **files}.items():
            self.add(name, content)
        self.publish()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def source(repository: Repository, tmp_path: Path) -> Iterator[TufSource]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(repository.folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield TufSource(f"{address}/metadata/", f"{address}/targets/", repository.root, tmp_path / "tuf", "hub")
    server.shutdown()
    thread.join()
    server.server_close()


def take(source: TufSource, floor: Any = rig.FLOOR) -> Any:
    return source.release(rig.HUB, floor, rig.at())


def test_a_release_says_the_same_as_in_an_envelope(source: TufSource, repository: Repository, tmp_path: Path) -> None:
    repository.release()
    found = take(source)
    ours = rig.check(rig.release())
    assert (found.release, found.hub, found.devices, found.digest) == (
        ours.release,
        ours.hub,
        ours.devices,
        ours.digest,
    )
    source.fetch(found.hub[0].files[0], tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == rig.IMAGE


def test_what_comes_after_the_signatures_is_checked_too(source: TufSource, repository: Repository) -> None:
    repository.release()
    with pytest.raises(RollbackError):
        take(source, replace(rig.FLOOR, number=8))
    with pytest.raises(ExpiredError):
        take(source, replace(rig.FLOOR, time=rig.NOW + 91 * rig.DAY))
    repository.release(rig.release_document(product="oven"))
    with pytest.raises(WrongProductError):
        take(source)


def test_roots_hand_over(source: TufSource, repository: Repository) -> None:
    repository.release()
    root, new = repository.parts["root"], CryptoSigner.generate_ed25519()
    root.revoke_key(repository.signers["targets"].public_key.keyid, "targets")
    root.add_key(new.public_key, "targets")
    root.version = 2
    repository.write("root", "2.root.json")
    repository.publish()
    with pytest.raises(ThresholdError):
        take(source)
    repository.publish(targets=new)
    assert take(source).release.number == 7


class TestRefused:
    def test_a_repository_without_a_release(self, source: TufSource, repository: Repository) -> None:
        repository.publish()
        with pytest.raises(UnsignedError):
            take(source)

    def test_a_signature_of_a_stranger(self, source: TufSource, repository: Repository) -> None:
        repository.release()
        repository.publish(targets=CryptoSigner.generate_ecdsa())
        with pytest.raises(ThresholdError):
            take(source)

    def test_metadata_that_expired(self, source: TufSource, repository: Repository) -> None:
        repository.parts["timestamp"].expires = datetime(2020, 1, 1, tzinfo=UTC)
        repository.release()
        with pytest.raises(ExpiredError):
            take(source)

    def test_metadata_that_goes_back(self, source: TufSource, repository: Repository) -> None:
        repository.release()
        repository.publish()
        take(source)
        repository.version = 0
        repository.publish()
        with pytest.raises(RollbackError):
            take(source)

    def test_a_file_that_differs(self, source: TufSource, repository: Repository, tmp_path: Path) -> None:
        repository.release()
        found = take(source)
        (target,) = (repository.folder / "targets").glob("*.agent.whl")
        target.write_bytes(bytes(len(rig.IMAGE)))
        with pytest.raises(ContentError):
            source.fetch(found.hub[0].files[0], tmp_path / "image")
        target.write_bytes(rig.IMAGE + b"more")
        with pytest.raises(TooLargeError):
            source.fetch(found.hub[0].files[0], tmp_path / "image")
        assert not (tmp_path / "image").exists()

    def test_targets_of_another_release(self, source: TufSource, repository: Repository) -> None:
        repository.release(**{"bulb.ota": b"another"})
        with pytest.raises(MixAndMatchError):
            take(source)

    def test_a_release_without_end(self, source: TufSource, repository: Repository) -> None:
        repository.add("release.json", bytes(LARGEST + 1))
        repository.publish()
        next((repository.folder / "targets").glob("*.release.json")).unlink()  # it is not even asked for
        with pytest.raises(TooLargeError):
            take(source)

    def test_metadata_that_is_none(self, source: TufSource, repository: Repository) -> None:
        repository.release()
        (repository.folder / "metadata/timestamp.json").write_bytes(b"{}")
        with pytest.raises(MalformedError):
            take(source)

    def test_a_repository_that_is_away(self, source: TufSource) -> None:
        with pytest.raises(TryAgainError):
            take(source)

    def test_a_folder_that_is_none(self, source: TufSource, tmp_path: Path) -> None:
        (tmp_path / "tuf").write_text("a file")
        with pytest.raises(StorageError):
            take(source)


def test_without_python_tuf_it_says_what_to_install(source: TufSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tuf.ngclient", None)
    with pytest.raises(ConfigError) as caught:
        take(source)
    assert "tuf" in caught.value.remedy
