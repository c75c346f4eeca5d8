"""A hub as a file, and back: onto the same hub and another one, what is refused, each power cut, and what is no backup."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from conftest import until_async
from garbage import SEED, payloads
from key_rig import PIN, SEAL, SOFTHSM, TOKEN, Place, soft_token
from power_cut import PowerCut, cutting

from agent import backup, cli, restore, saved
from agent.backup_form import FORMAT, Backup
from agent.client import Client, NotRunningError
from agent.errors import HubError, TryAgainError, UsageError
from agent.identity.hub_identity import HubIdentity
from agent.identity.keys import KeyTroubleError
from agent.identity.stores import open_secrets, passphrase
from agent.model import Device, DeviceId
from agent.offboard_mark import Mark
from agent.offboard_mark import write as write_mark
from agent.settings import RadioSettings, Secret, Settings
from agent.settings.model import HubSettings, IdentitySettings
from tests.identity.test_key_stores_daemon import CLI, environment_of

WORDS = Secret("correct horse battery")
NETWORK = {"network_key": {"key": "f00dfeedf00dfeed"}}
SETTINGS = {
    "network_mode": "STANDARD",
    "token_seconds": "600",
    "expected": "00124b0000000001 thing-1",
    "discoveries": "[]",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price of a guess is not what is tested."""
    monkeypatch.setattr(passphrase, "_N", 16)


def device(key: str) -> tuple[str, str]:
    made = Device(DeviceId("zigbee", key), f"zb.{key}", (), "acme", "bulb", address=key)
    data = {"device": asdict(made), "managed_thing_id": f"thing-{key}", "quarantined": False, "joined_at": 1.0}
    return f"zigbee/{key}", json.dumps(data)


class Daemon:
    """The agent as far as a backup asks it: it gives the networks out, and is stopped for a restore."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused  # radios that give no network

    def get(self, _path: str) -> Any:
        raise NotRunningError("the agent is not running")

    def stream(self, path: str, _body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        about = {"what": path, "hub": "hub-1"}
        for name in self.refused:
            why = {"error": f"{name} has no memory", "remedy": "use another stick"}
            yield {**about, "radio": name, "kind": "zwave", "network": None, **why, "done": False}
        yield {**about, "radio": "zigbee", "kind": "zigbee", "network": NETWORK, "done": True}


DAEMON: Client = Daemon()  # type: ignore[assignment]


class Hub:
    """A hub's state folder, with or without something in it."""

    def __init__(self, folder: Path, **identity: Any) -> None:
        self.folder = folder
        told = {"hub": HubSettings(state_dir=folder), "identity": IdentitySettings(**identity)}
        self.settings = Settings(**told, radios={"zigbee": RadioSettings(kind="zigbee")})

    def live(self, authority: Authority, thing: str = "thing-1", *devices: str) -> "Hub":
        self.folder.mkdir(exist_ok=True)
        slots = HubIdentity(self.settings).slots
        slots.ask("first")
        request = slots.keys.csr("hub-a", HubIdentity(self.settings).subject)
        signed = authority.sign_request(request, f"{self.folder.name}-signed")
        slots.arrived(signed.read_text(), thing, {"clientId": thing}, "claim")
        rows = [device(key) for key in devices or ("1", "2")]
        state = [(rows[0][0], json.dumps([["1", "OnOff", "OnOff", True, 1.0]]))]
        saved.replace(self.folder, SETTINGS, rows, state)
        radio = self.folder / "radios" / "zigbee"
        radio.mkdir(parents=True)
        (radio / "nodes.json").write_text(f'{{"of": "{thing}"}}')
        with closing(sqlite3.connect(radio / "zigbee.db")) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE nodes (name)")
            database.execute("INSERT INTO nodes VALUES (?)", (thing,))
            database.commit()
        return self

    def take(self, file: Path, words: Secret | None = WORDS) -> Path:
        backup.take(self.settings, DAEMON, file, words)
        return file

    def restore(self, file: Path, words: Secret | None = WORDS, **how: bool) -> restore.Restored:
        told = {"with_identity": True, "take_over": False, **how}
        return restore.restore(self.settings, DAEMON, backup.load(file, words), **told)

    @property
    def is_now(self) -> tuple[Any, ...]:
        """Who and what it is; a part that is damaged raises."""
        slots = HubIdentity(self.settings).slots
        held = slots.usable()
        assert (held is None) == (slots.record.current is None)
        meta, devices, state = saved.home(self.folder)
        radio, nodes = self.folder / "radios" / "zigbee", []
        if (radio / "zigbee.db").exists():
            with closing(sqlite3.connect(radio / "zigbee.db")) as database:
                nodes = database.execute("SELECT name FROM nodes").fetchall()
        book = (radio / "nodes.json").read_text() if radio.exists() else ""
        return held, {name: meta.get(name) for name in SETTINGS}, devices, state, nodes, book

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in ("lock", "hub.db-shm"))
        return {str(path): path.read_bytes() for path in found}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def old(tmp_path: Path, authority: Authority) -> Hub:
    return Hub(tmp_path / "old").live(authority)


@pytest.mark.parametrize("store", [{}, {"store": "sealed", "seal": Secret(SEAL)}], ids=["file", "sealed"])
def test_another_hub_becomes_the_old_one_where_somebody_says_so(
    old: Hub, tmp_path: Path, store: dict[str, Any]
) -> None:
    file, new = old.take(tmp_path / "backup"), Hub(tmp_path / "new", **store)
    key = (old.folder / "identity/keys/hub-a.key").read_text()
    text = file.read_text()
    assert not [secret for secret in (key[40:80], "f00dfeed", "thing-1") if secret in text]
    new.folder.mkdir()
    with pytest.raises(UsageError, match="two hubs of one identity") as refused:
        new.restore(file)
    assert "--take-over" in refused.value.remedy
    assert not new.files()
    done = new.restore(file, take_over=True)
    assert (done.devices, done.radios, done.elsewhere) == (2, ("zigbee",), ())
    assert done.identity == "thing-1: taken over with its key"
    assert new.is_now == old.is_now
    assert not open_secrets(new.settings).names(), "what was to be done is done"
    modes = [path.stat().st_mode & 0o077 for path in new.folder.rglob("*") if path.is_file()]
    assert not any(modes)
    if store:
        assert not [path for path, held in new.files().items() if key[40:80].encode() in held]
    assert new.restore(file).identity == "thing-1: in use already"


def test_the_same_hub_goes_back_to_what_it_knew_and_keeps_its_newer_certificate(
    old: Hub, tmp_path: Path, authority: Authority
) -> None:
    file, before = old.take(tmp_path / "backup"), old.is_now
    saved.replace(old.folder, {"network_mode": "OTHER"}, [device("9")], [])
    (old.folder / "radios/zigbee/zigbee.db-wal").write_bytes(b"of another database")
    assert old.restore(file).identity == "thing-1: in use already"
    assert old.is_now == before
    slots = HubIdentity(old.settings).slots
    slots.ask("age")
    request = slots.keys.csr("hub-b", HubIdentity(old.settings).subject)
    slots.arrived(authority.sign_request(request, "newer").read_text(), "thing-1", {}, "claim")
    slots.change(lambda record: record.connected("b", 1.0))
    newer = slots.record
    assert "which stays" in old.restore(file).identity
    assert slots.record == newer


def test_a_hub_that_is_somebody_else_is_not_made_another(old: Hub, tmp_path: Path, authority: Authority) -> None:
    file, other = old.take(tmp_path / "backup"), Hub(tmp_path / "other").live(authority, "thing-2", "7")
    before = other.files()
    with pytest.raises(UsageError, match="the hub is thing-2 already"):
        other.restore(file, take_over=True)
    assert other.files() == before
    held = other.is_now[0]
    other.restore(file, with_identity=False)
    assert other.is_now == (held, *old.is_now[1:])


def test_a_damaged_record_is_mended_by_a_backup(old: Hub, tmp_path: Path) -> None:
    file, before = old.take(tmp_path / "backup"), old.is_now
    (old.folder / "identity" / "identity.json").write_text("{")
    assert "with the key that the store still has" in old.restore(file).identity
    assert old.is_now == before


def test_a_plain_backup_has_no_private_key(old: Hub, tmp_path: Path) -> None:
    file, new = old.take(tmp_path / "backup", None), Hub(tmp_path / "new")
    assert "PRIVATE" not in file.read_text()
    assert json.loads(file.read_text())["identity"]["chain"].startswith("-----BEGIN CERT")
    with pytest.raises(UsageError, match="no private key of thing-1"):
        new.restore(file, None, take_over=True)
    new.restore(file, None, with_identity=False)
    assert new.is_now == (None, *old.is_now[1:])


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_radio_that_gives_no_network_is_told_and_the_rest_is_taken(
    old: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: tuple[str, ...]
) -> None:
    config, file = tmp_path / "agent.toml", tmp_path / "backup"
    hub = f'[hub]\nid = "hub-1"\nstate_dir = "{old.folder}"\nruntime_dir = "{tmp_path}/run"\n'
    config.write_text(hub + "[radios.zigbee]\n[radios.old]\nkind = 'zigbee'\n")
    monkeypatch.setattr("agent.client.Client", lambda _folder: Daemon("old"))
    assert cli.main(["backup", str(file), "--plain", "-c", str(config), *form]) == 0
    told = capsys.readouterr().out
    if form:
        assert json.loads(told)["radios"] == ["zigbee"]
        assert json.loads(told)["without"] == {"old": {"error": "old has no memory", "remedy": "use another stick"}}
    else:
        assert "NOT in it, the network of old: old has no memory; use another stick" in told
    taken = backup.load(file, None)
    assert (set(taken.radios), taken.kept is not None and len(taken.kept.devices)) == ({"zigbee"}, 2)


def test_a_key_stays_in_its_token_and_another_token_takes_none(old: Hub, tmp_path: Path, authority: Authority) -> None:
    """Through the command line: SoftHSM reads its configuration once in a process."""
    told = {"pkcs11_module": str(SOFTHSM), "pkcs11_token": TOKEN, "pin": Secret(PIN)}
    place = Place("pkcs11", tmp_path / "state", told, soft_token(tmp_path / "softhsm", TOKEN))
    config = tmp_path / "agent.toml"
    hub = f'[hub]\nid = "hub-1"\nstate_dir = "{place.state}"\nruntime_dir = "{tmp_path}/run"\n'
    config.write_text(hub + place.config(tmp_path))
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_text(WORDS.reveal())

    def agent(*arguments: str | Path, code: int = 0) -> str:
        command = [sys.executable, "-c", CLI, *map(str, arguments), "-c", str(config)]
        done = subprocess.run(command, env=environment_of(place), capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    opened = ("--passphrase-file", words)
    foreign = old.take(tmp_path / "foreign")
    assert "takes no key" in agent("restore", foreign, *opened, "--take-over", code=69)
    assert not place.state.exists() or not [path for path in place.files() if path.suffix == ".json"]
    request = tmp_path / "request.csr"
    command = [sys.executable, "-c", CLI, "identity", "csr", "-c", str(config)]
    made = subprocess.run(command, env=environment_of(place), capture_output=True, text=True, check=True)
    request.write_text(made.stdout)
    agent("identity", "install", authority.sign_request(made.stdout))
    assert "without its key, which stays" in agent("backup", tmp_path / "own", *opened)
    held = (place.state / "identity" / "identity.json").read_text()
    (place.state / "identity" / "identity.json").unlink()
    assert "with the key that the store still has" in agent("restore", tmp_path / "own", *opened)
    assert json.loads((place.state / "identity" / "identity.json").read_text())["held"] == json.loads(held)["held"]


def test_what_cannot_be_restored_is_said_before_anything_is_written(old: Hub, tmp_path: Path) -> None:
    file, new = old.take(tmp_path / "backup"), Hub(tmp_path / "new")
    other = Settings(hub=new.settings.hub)
    assert restore.restore(other, DAEMON, backup.load(file, WORDS), with_identity=False, take_over=False).elsewhere == (
        "zigbee",
    )
    write_mark(old.folder, Mark(at="now", credentials=[], wiped=False))
    before = old.files()
    with pytest.raises(TryAgainError, match="factory reset is not finished"):
        old.restore(file)
    networks = {"format": FORMAT, "version": 1, "hub": "h", "radios": {"zigbee": {"kind": "zigbee", "network": {}}}}
    (tmp_path / "networks").write_text(json.dumps(networks))
    with pytest.raises(UsageError, match="nothing but networks"):
        old.restore(tmp_path / "networks")
    assert old.files() == before


def test_a_power_cut_anywhere_leaves_the_old_hub_or_the_new_one(
    old: Hub, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, wanted, really = old.take(tmp_path / "backup"), old.is_now, saved.replace

    def hub(name: str) -> Hub:
        made = Hub(tmp_path / name).live(authority, "thing-1", "7", "8")
        (made.folder / "identity" / "keys" / "hub-a.key").unlink()  # so that the identity is taken, too
        (made.folder / "identity" / "identity.json").unlink()
        return made

    def run(made: Hub, at: int) -> int:
        with cutting(at) as cuts:

            def replace(*arguments: Any) -> None:
                cuts.point()
                really(*arguments)
                cuts.point()

            monkeypatch.setattr(saved, "replace", replace)
            try:
                made.restore(file, take_over=True)
            finally:
                monkeypatch.setattr(saved, "replace", really)
        return cuts.seen

    first = hub("whole")
    was = first.is_now
    points, ends = run(first, 0), []
    assert first.is_now == wanted
    assert points > 20
    for at in range(1, points + 1):
        made = hub(f"cut-{at}")
        with pytest.raises(PowerCut):
            run(made, at)
        restore.finish(made.settings)  # the next start
        ends.append(made.is_now == wanted)
        assert ends[-1] or made.is_now[2:] == was[2:]
        assert ends[-1] or made.is_now[0] is None
        assert not restore.finish(made.settings)
    assert ends == sorted(ends), "old before one step, new after it"
    assert {False, True} == set(ends)


async def test_the_agent_finishes_it_at_its_start(old: Hub, tmp_path: Path) -> None:
    file, new = old.take(tmp_path / "backup"), Hub(tmp_path / "new")
    whole = backup.load(file, WORDS).model_copy(update={"radios": {}})
    new.folder.mkdir()
    open_secrets(new.settings).put(restore.PENDING, whole.model_dump_json().encode())
    config = tmp_path / "agent.toml"
    text = f'[hub]\nstate_dir = "{new.folder}"\nruntime_dir = "{tmp_path}/run"\n[radios.zigbee]\nkind = "zigbee"\n'
    config.write_text(f'{text}port = "{tmp_path}/none"\n')
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "agent.cli", "run", "-c", str(config)], stderr=log)
    client = Client(tmp_path / "run")

    async def devices() -> list[str]:
        try:
            return [one["id"] for one in client.get("devices")]
        except HubError:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return []

    try:
        await until_async(devices, lambda found: found == ["zigbee/1", "zigbee/2"], 20.0)
        assert client.get("status")["hub"] == "thing-1"
        with pytest.raises(TryAgainError, match="the agent runs"):
            restore.restore(new.settings, client, backup.load(file, WORDS), with_identity=True, take_over=False)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


# ---- what is no backup ------------------------------------------------------------------------------------------------


def test_no_garbage_is_taken_for_a_backup(old: Hub, tmp_path: Path) -> None:
    good = json.loads(old.take(tmp_path / "backup", None).read_text())
    spoilt = tmp_path / "spoilt"
    for text in payloads(good, noise=200):
        spoilt.write_bytes(text)
        with suppress(UsageError):  # and nothing else
            assert isinstance(backup.load(spoilt, None), Backup)
    for name in ("../x", "a/b", "", ".", "..", ".x", "x" * 101, "x\0", "x\n"):
        for files in ({"zigbee": {name: "eA=="}}, {name: {"x": "eA=="}}):
            spoilt.write_text(json.dumps({**good, "kept": {**good["kept"], "files": files}}))
            if name != "x" * 101 or "zigbee" in files:
                with pytest.raises(UsageError, match="is damaged"):
                    backup.load(spoilt, None)


def test_a_sealed_backup_that_is_cut_or_changed_is_refused(old: Hub, tmp_path: Path) -> None:
    file, spoilt, dice = old.take(tmp_path / "backup"), tmp_path / "spoilt", random.Random(SEED)
    whole = file.read_bytes()
    assert isinstance(backup.load(file, WORDS), Backup)
    for number in range(300):
        text = bytearray(whole[: dice.randrange(len(whole) - 4)] if number % 3 == 0 else whole)
        if number % 3:
            text[dice.randrange(len(text) - 2)] ^= 1 << dice.randrange(8)
        spoilt.write_bytes(text)
        try:
            assert backup.load(spoilt, WORDS) == backup.load(file, WORDS), "white space between the parts"
        except UsageError:
            continue
    with pytest.raises(UsageError, match="another passphrase"):
        backup.load(file, Secret("wrong horse battery"))
    with pytest.raises(UsageError, match="sealed with a passphrase"):
        backup.load(file, None)
    with spoilt.open("wb") as large:
        large.truncate(backup.LARGEST + 1)
    with pytest.raises(UsageError, match="more than"):
        backup.load(spoilt, WORDS)


def test_parts_that_do_not_belong_together_are_refused(old: Hub, tmp_path: Path, authority: Authority) -> None:
    """What was sealed by somebody else, who knows the passphrase."""
    good = backup.take(old.settings, DAEMON, tmp_path / "b", WORDS).whole.model_dump(mode="json")
    other, key = authority.issue("other")
    for change in ({"chain": other.read_text()}, {"key": key.read_text()}, {"key": "no PEM"}, {"chain": "no PEM"}):
        new = Hub(tmp_path / f"new-{len(str(change))}")
        whole = backup.read({**good, "identity": {**good["identity"], **change}}, "file")
        with pytest.raises((KeyTroubleError, HubError)):
            restore.restore(new.settings, DAEMON, whole, with_identity=True, take_over=True)
        assert not new.files()
