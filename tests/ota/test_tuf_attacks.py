"""The attacks that TUF names (specification, section 1.5.2) on a TUF repository, each refused for its own reason."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ota_rig as rig
import pytest
from securesystemslib.signer import CryptoSigner
from tuf_rig import Repository, served

from agent.clock import ESTIMATED
from agent.errors import TryAgainError
from agent.ota.fetch import FetchPolicy
from agent.ota.manifest import LARGEST
from agent.ota.refusals import (
    ContentError,
    DependencyError,
    EpochError,
    ExpiredError,
    MixAndMatchError,
    RefusedError,
    RollbackError,
    ThresholdError,
    TooLargeError,
    WrongHardwareError,
    WrongProductError,
)
from agent.ota.tuf_source import TufSource

pytestmark = pytest.mark.conformance


class Hub:
    """Takes what a repository offers, or any copy of it; what it has seen is kept."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository, self._folder = repository, folder

    def take(self, address: str, floor: Any = rig.FLOOR, now: Any = None, policy: FetchPolicy | None = None) -> Any:
        places = f"{address}/metadata", f"{address}/targets"
        source = TufSource(*places, self._repository.root, self._folder, "hub", policy or FetchPolicy())
        return source.release(rig.HUB, floor, now or rig.at()).verified


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.release()
    return made


@pytest.fixture
def address(repository: Repository) -> Iterator[str]:
    with served(repository.folder) as found:
        yield found


@pytest.fixture
def hub(repository: Repository, tmp_path: Path) -> Hub:
    return Hub(repository, tmp_path / "tuf")


class TestArbitrarySoftware:
    def test_signed_by_a_stranger(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.publish(targets=CryptoSigner.generate_ecdsa())
        with pytest.raises(ThresholdError):
            hub.take(address)

    def test_a_release_that_nobody_signed(self, hub: Hub, repository: Repository, address: str) -> None:
        (found,) = (repository.folder / "targets").glob("*.release.json")
        other = json.dumps(rig.release_document(8)).encode()
        found.write_bytes(other[: found.stat().st_size].ljust(found.stat().st_size))
        with pytest.raises(ContentError):
            hub.take(address)


class TestRollback:
    def test_of_the_metadata(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.publish()
        hub.take(address)
        repository.version = 0
        repository.publish()
        with pytest.raises(RollbackError):
            hub.take(address)

    def test_of_the_release_under_newer_metadata(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.release(rig.release_document(5))
        with pytest.raises(RollbackError):
            hub.take(address)

    def test_below_the_security_epoch(self, hub: Hub, address: str) -> None:
        with pytest.raises(EpochError):
            hub.take(address, replace(rig.FLOOR, epochs={"agent": 3}))


def test_fast_forward_is_healed_by_a_root_that_takes_the_keys_away(
    hub: Hub, repository: Repository, address: str
) -> None:
    repository.version = 2**31
    repository.publish()
    hub.take(address)
    root = repository.parts["root"]
    for role in ("timestamp", "snapshot"):
        root.revoke_key(repository.signers[role].public_key.keyid, role)
        repository.signers[role] = CryptoSigner.generate_ecdsa()
        root.add_key(repository.signers[role].public_key, role)
    root.version = 2
    repository.write("root", "2.root.json")
    repository.version = 5
    repository.publish()
    assert hub.take(address).release.number == 7


class TestIndefiniteFreeze:
    def test_by_metadata_that_expired(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.parts["timestamp"].expires = datetime(2020, 1, 1, tzinfo=UTC)
        repository.publish()
        with pytest.raises(ExpiredError):
            hub.take(address)

    def test_by_a_clock_that_is_set_back(self, hub: Hub, address: str) -> None:
        floor, back = replace(rig.FLOOR, time=rig.NOW + 91 * rig.DAY), rig.at(0.0, ESTIMATED)
        with pytest.raises(ExpiredError):
            hub.take(address, floor, back)


class TestEndlessData:
    @pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
    def test_in_place_of_metadata(self, hub: Hub, repository: Repository, name: str) -> None:
        with served(repository.folder, **{name: "endless"}) as address, pytest.raises(TooLargeError):
            hub.take(address)

    def test_a_release_that_says_so(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.add("release.json", bytes(LARGEST + 1))
        repository.publish()
        for found in (repository.folder / "targets").glob("*.release.json"):
            found.unlink()  # it is not even asked for
        with pytest.raises(TooLargeError):
            hub.take(address)


def test_slow_retrieval_ends(hub: Hub, repository: Repository) -> None:
    policy = FetchPolicy(stall=0.3, slowest=1000)
    with served(repository.folder, timestamp_json="slow") as address, pytest.raises(TryAgainError):
        hub.take(address, policy=policy)


class TestMixAndMatch:
    def test_files_of_another_release(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.release(**{"bulb.ota": b"another"})
        with pytest.raises(MixAndMatchError):
            hub.take(address)

    def test_metadata_of_two_days(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.publish()
        folder = repository.folder / "metadata"
        shutil.copy(folder / "1.snapshot.json", folder / "2.snapshot.json")
        with pytest.raises(RefusedError) as caught:
            hub.take(address)
        assert caught.value.code in ("rollback", "malformed", "wrong-content")

    def test_two_releases_under_one_number(self, hub: Hub, address: str) -> None:
        with pytest.raises(MixAndMatchError):
            hub.take(address, replace(rig.FLOOR, number=7, digest="0" * 64))


class TestWrongSoftware:
    def test_of_another_board(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.release(rig.release_document(components=[rig.agent(hub={"boards": ["x86_64"]})]))
        with pytest.raises(WrongHardwareError):
            hub.take(address)

    def test_of_another_product(self, hub: Hub, repository: Repository, address: str) -> None:
        repository.release(rig.release_document(product="oven"))
        with pytest.raises(WrongProductError):
            hub.take(address)


def test_extraneous_dependencies(hub: Hub, repository: Repository, address: str) -> None:
    needs = rig.agent(requires=[{"component": "helper", "minimum": "1.0"}])
    repository.release(rig.release_document(components=[needs]))
    with pytest.raises(DependencyError):
        hub.take(address)


class TestKeyCompromise:
    def test_of_one_root_key_brings_in_no_other(self, hub: Hub, repository: Repository, address: str) -> None:
        root, stranger = repository.parts["root"], CryptoSigner.generate_ecdsa()
        root.add_key(stranger.public_key, "targets")
        root.version = 2
        repository.second = stranger
        repository.write("root", "2.root.json")
        repository.publish(targets=stranger)
        with pytest.raises(ThresholdError):
            hub.take(address)

    def test_of_a_key_that_was_taken_away(self, hub: Hub, repository: Repository, address: str) -> None:
        root, lost = repository.parts["root"], repository.signers["targets"]
        root.revoke_key(lost.public_key.keyid, "targets")
        root.add_key(CryptoSigner.generate_ecdsa().public_key, "targets")
        root.version = 2
        repository.write("root", "2.root.json")
        repository.publish(targets=lost)
        with pytest.raises(ThresholdError):
            hub.take(address)


class TestMaliciousMirrors:
    def test_that_keeps_what_was_yesterday(
        self, hub: Hub, repository: Repository, address: str, tmp_path: Path
    ) -> None:
        shutil.copytree(repository.folder, tmp_path / "yesterday")
        repository.publish()
        hub.take(address)
        with served(tmp_path / "yesterday") as mirror, pytest.raises(RollbackError):
            hub.take(mirror)
        assert hub.take(address).release.number == 7

    def test_that_has_nothing(self, hub: Hub, address: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with served(tmp_path / "empty") as mirror, pytest.raises(TryAgainError):
            hub.take(mirror)
        assert hub.take(address).release.number == 7
