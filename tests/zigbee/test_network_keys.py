"""Where the network's keys rest: among the secrets, and nowhere else below the state folder."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.driver import DriverError, DriverLost
from agent.errors import ConfigError
from agent.identity.stores.sealed import SealedSecrets
from agent.model import RadioUp
from agent.secret_store import ScopedSecrets
from drivers.zigbee.driver import DATABASE
from drivers.zigbee.networks import NAME
from tests.conformance.driver_contract import joined, running
from tests.conformance.zigbee_rig import ZigbeeRig

SEAL = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ZigbeeRig]:
    rig = ZigbeeRig(tmp_path, "ezsp")
    rig.store = ScopedSecrets(SealedSecrets(rig.state_dir / "secrets", lambda: SEAL), "zigbee")
    await rig.start()
    yield rig
    await rig.close()


async def network_key(rig: ZigbeeRig) -> str:
    """Of the network on the air, in hex digits."""
    network: dict[str, Any] = (await rig.control("network"))["network"]
    return str(network["key"]).lower().replace(":", "")


def found(key: str, folder: Path) -> list[str]:
    """The files that hold a key in any form that one writes it in."""
    raw = bytes.fromhex(key)
    colons = ":".join(key[i : i + 2] for i in range(0, 32, 2))
    forms = [raw, raw[::-1], *(form.encode() for text in (key, colons) for form in (text, text.upper()))]
    numbers = json.dumps(list(raw)).encode()
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in (*forms, numbers))]


async def test_the_network_key_is_in_no_file_in_clear(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        document = await watched.driver.backup()
        key = await network_key(rig)
        assert json.loads(document)["network_key"]["key"] == key
        assert found(key, rig.state_dir) == []
    assert found(key, rig.state_dir) == []
    assert rig.secrets.get(NAME)
    (rig.folder / "canary").write_bytes(document)
    assert "canary" in found(key, rig.folder), "the search finds what is there"


async def test_a_stick_that_lost_its_network_gets_it_back_from_the_secrets(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await watched.driver.backup()
        key = await network_key(rig)
    await rig.close()
    (rig.folder / "sim.json").unlink()
    await rig.start()
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)
        assert await network_key(rig) == key


async def test_keys_that_an_older_version_has_left_in_clear_are_moved_and_erased(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        document = await watched.driver.backup()
        key = await network_key(rig)
    kept = json.loads(rig.secrets.get(NAME) or b"")
    for name in rig.secrets.names():
        rig.secrets.delete(name)
    with sqlite3.connect(rig.state_dir / DATABASE) as database:
        for table in ("network_backups_v16", "network_backups_v13"):  # zigpy leaves the tables of its older versions
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, backup_json TEXT)")
            database.executemany(f"INSERT INTO {table} (backup_json) VALUES (?)", [(json.dumps(one),) for one in kept])  # noqa: S608
    database.close()
    folder = rig.state_dir / "backups"
    folder.mkdir()
    (folder / "network-20260101T000000000000Z.json").write_bytes(document)
    assert len(found(key, rig.state_dir)) >= 2
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)
        assert found(key, rig.state_dir) == []
    assert found(key, rig.state_dir) == []
    assert not folder.exists()
    assert rig.secrets.get("network-20260101T000000000000Z") == document
    times = [one["backup_time"] for one in json.loads(rig.secrets.get(NAME) or b"")]
    assert {one["backup_time"] for one in kept} <= set(times)
    assert len(times) == len(set(times))


async def test_a_store_that_does_not_open_is_a_radio_that_is_away_with_a_remedy(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)
        await joined(rig, watched)
        await watched.driver.backup()
    held = rig.secrets.get(NAME) or b""
    for damage in (b"{", b"[{}]", b"[1]", b"null", b"\xff"):
        rig.secrets.put(NAME, damage)
        with pytest.raises(DriverLost, match="damaged") as caught:
            await rig.driver().run(lambda _: None)
        assert caught.value.remedy
    rig.secrets.put(NAME, held)
    good, rig.store = rig.store, ScopedSecrets(SealedSecrets(rig.state_dir / "secrets", lambda: SEAL[::-1]), "zigbee")
    with pytest.raises(DriverLost, match="another secret"):
        await rig.driver().run(lambda _: None)

    def refuse() -> bytes:
        raise ConfigError("there is no seal")

    rig.store = ScopedSecrets(SealedSecrets(rig.state_dir / "secrets", refuse), "zigbee")
    with pytest.raises(ConfigError, match="no seal"):
        await rig.driver().run(lambda _: None)
    rig.store = good
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)


async def test_a_backup_that_cannot_be_kept_is_told(rig: ZigbeeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)

        def full(_name: str, _data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("agent.private_files.write_atomic", full)
        with pytest.raises(DriverError, match=r"cannot be kept.*No space left"):
            await watched.driver.backup()
