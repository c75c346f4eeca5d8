"""The bound that the cloud sets on the life of tokens: kept over restarts, and obeyed by the daemon and by `agent jwt`, also offline."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from agent import cli, records
from agent.clock import TRUSTED, Moment
from agent.errors import StorageError
from agent.hub_settings import HubSettings
from agent.identity.stores.file import FileKeys
from agent.identity.tokens import Stored, Tokens
from agent.requests import ConfigureHub, SaveMeta
from agent.saved import token_bound
from agent.store import NAME, Limits, Store

NOW = Moment(1_790_000_000.0, 5.0, "boot", TRUSTED)
LIMITS = Limits(max_bytes=1 << 20, max_age=1000.0, ballast=0)


class Watch:
    def now(self) -> Moment:
        return NOW


async def configure(store: Store, own: HubSettings, seconds: int) -> None:
    """What the hub does with the cloud's HUB_CONFIGURATION."""
    for effect in own.handlers[ConfigureHub](ConfigureHub(seconds), NOW):
        assert isinstance(effect, SaveMeta)
        await store.submit([records.put_meta(effect.key, effect.value)])


def life(token: str) -> int:
    body = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"] - int(NOW.wall))


async def test_the_bound_is_obeyed_at_once_and_after_a_restart(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    keys.generate("hub")
    assert token_bound(tmp_path) == 0
    store, own = Store.open(tmp_path, LIMITS), HubSettings()
    tokens = Tokens(Stored(keys, "hub"), "hub-1", Watch(), bound=lambda: own.token_seconds)
    assert life(tokens.token()) == 600
    await configure(store, own, 90)
    assert life(tokens.token()) == 90
    assert token_bound(tmp_path) == 90  # beside the daemon, which has the database open
    await store.close()
    assert token_bound(tmp_path) == 90  # without it
    store, again = Store.open(tmp_path, LIMITS), HubSettings()
    meta = await store.read(lambda db: dict(db.execute("SELECT key, value FROM meta").fetchall()))
    again.restore(meta)
    assert life(Tokens(Stored(keys, "hub"), "hub-1", Watch(), bound=lambda: again.token_seconds).token()) == 90
    await store.close()


def test_a_token_of_the_command_line_obeys_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[hub]\nid = "hub-1"\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n')

    async def kept() -> None:
        store = Store.open(tmp_path, LIMITS)
        await configure(store, HubSettings(), 45)
        await store.close()

    asyncio.run(kept())
    monkeypatch.setattr("agent.clock.kernel_synchronised", lambda: True)
    monkeypatch.setattr("agent.identity.commands.SystemClock", Watch)
    assert cli.main(["identity", "csr", "-c", str(config)]) == 0
    capsys.readouterr()
    assert cli.main(["jwt", "--ttl", "600", "-c", str(config)]) == 0
    assert life(capsys.readouterr().out.strip()) == 45


def test_a_database_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="not a database") as told:
        token_bound(tmp_path)
    assert told.value.remedy
