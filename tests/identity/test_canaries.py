"""Secrets planted in every place, a hub that lives through all that may happen to it, and then a search of all that was said and written."""

import asyncio
import base64
import json
import re
import signal
from pathlib import Path

import pytest
from certificates import Authority
from conftest import until, until_async
from cryptography.hazmat.primitives import serialization
from nrf_rig import Keys
from raw_http import RawHttp, answer

from agent.client import Client
from agent.errors import HubError
from agent.identity.stores import open_keys
from agent.settings import load
from drivers.sim.zigbee.server import start
from tests.conformance.test_link_tls import SecureBroker
from tests.identity.canary_rig import API_KEY, EST, PASSPHRASE, PASSWORD, PIN, SEAL, VAULT, Canaries, Cloud, Eyes, House
from tests.onboarding.test_vault_client import entries

pytestmark = pytest.mark.conformance
STICK = {"kind": "zigbee", "stick": "ezsp", "devices": [{"name": "bulb", "profile": "color-bulb"}]}
TOKEN = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]+")


async def online(house: House, slot: str) -> None:
    client = Client(house.folder / "run")

    async def told() -> dict[str, object]:
        try:
            status = await asyncio.to_thread(client.get, "status")
        except HubError:
            return {}
        parts = [*status["radios"].values(), *status["uplinks"].values()]
        up = bool(parts) and all(part["status"] == "online" for part in parts)
        return {"up": up, **status["certificate"]}

    await until_async(told, lambda one: one.get("up") and one.get("proved") and one.get("slot") == slot, 40.0)


async def services(house: House, canaries: Canaries) -> bytes:
    """`agent onboard` and `agent vault` at a service that answers with errors; all that it was sent, but for the header that opens it."""
    key, token = house.secret("api-key", API_KEY), house.secret("token", VAULT)
    table = entries(house.folder, 1)
    Keys(house.folder, "dev-1")
    canaries.add_pem("device key", (house.folder / "dev-1.key").read_text())
    nrf, vault = ("--api-key-file", key), ("--token-file", token)
    async with RawHttp(answer(400, b'{"message": "no"}')) as server:
        where = ("--url", server.url)
        for words in (
            ("onboard", "nrf-csv", "write", "devices", "devices.csv", "dev-1.pem", "--self"),
            ("onboard", "nrf-csv", "upload", "devices", "devices.csv", *nrf, *where),
            ("onboard", "nrf-device", "--self", *nrf, *where),
            ("onboard", "nrf-delete", "hub-canary", *nrf, *where),
            ("vault", "list", *vault, *where),
            ("vault", "upload", table, *vault, *where),
        ):
            await asyncio.to_thread(house.agent, *words)
        assert len(server.asked) >= 5, house.everything()[-3000:]
        opened = "".join(asked.headers.get("authorization", "") for asked in server.asked)
        assert VAULT in opened
        assert API_KEY in opened
        bodies = [f"{asked.path} {asked.query} ".encode() + asked.body for asked in server.asked]
        headers = [
            str({k: v for k, v in asked.headers.items() if k != "authorization"}).encode() for asked in server.asked
        ]
    return b"\n".join(bodies + headers)


async def provisioned_and_rotated(house: House, canaries: Canaries) -> None:
    """Both keys and two tokens of the hub are canaries then."""
    house.run()
    await online(house, "a")
    code, _ = await asyncio.to_thread(house.agent, "identity", "rotate")
    assert code == 0, house.everything()[-2000:]
    await online(house, "b")
    for number in range(2):
        code, out = await asyncio.to_thread(house.agent, "jwt", "--ttl", str(60 + number), heard=lambda _out: b"")
        assert code == 0, out
        canaries.add(f"token {number}", out.strip())
    keys = open_keys(load(house.config, {}))
    for name in keys.names():
        private = keys._load(name)  # type: ignore[attr-defined]  what nobody else may do
        canaries.add(name, private.private_numbers().private_value.to_bytes(32))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        canaries.add_pem(f"{name} pem", private.private_bytes(*form).decode())
    assert len(keys.names()) == 2


async def backed_up(house: House, canaries: Canaries) -> bytes:
    """The sealed backup; the plain one says what it is, and shows that the search finds what is there."""
    sealed, plain, words = (house.folder / name for name in ("sealed.backup", "plain.backup", "words"))
    house.secret("words", PASSPHRASE)
    for arguments in (("--passphrase-file", words, sealed), ("--plain", plain)):
        code, out = await asyncio.to_thread(house.agent, "backup", *arguments)
        assert code == 0, out
    assert b"IN CLEAR" in out
    assert canaries.within(plain.read_bytes()) == ["network key"]
    code, out = await asyncio.to_thread(house.agent, "restore", "--radios", sealed, "--passphrase-file", words)
    assert code == 0, out
    return sealed.read_bytes()


def crashes(house: House) -> None:
    assert house.process is not None
    limits = Path(f"/proc/{house.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 ", limits), "an image of its memory would hold them all"
    house.process.send_signal(signal.SIGABRT)
    assert house.process.wait(10) == -signal.SIGABRT
    assert house.run("BUG").wait(20) == 70
    log = house.log.read_bytes()
    assert b"RuntimeError" in log
    assert b"a thread with" in log
    assert b"BEGIN PRIVATE KEY" not in log


@pytest.mark.parametrize("store", ["sealed", "file"])
async def test_no_secret_is_seen_wherever_one_looks(tmp_path: Path, broker_folder: Path, store: str) -> None:
    authority = Authority(broker_folder)
    authority.issue("broker")
    broker = SecureBroker(broker_folder, authority)
    broker.start()
    sim = await start("zigbee", STICK, link=tmp_path / "stick", state=None, faults="", seed=1)
    cloud, eyes = Cloud(broker.port, authority), Eyes()
    house, canaries = House(tmp_path, (broker.tls_port, broker.port), authority, store), Canaries()
    told = {"password": PASSWORD, "est": EST, "pin": PIN, "api key": API_KEY, "vault": VAULT, "passphrase": PASSPHRASE}
    for name, text in {**told, "seal": SEAL, "seal's bytes": base64.b64decode(SEAL)}.items():
        canaries.add(name, text)
    canaries.add_pem("claim key", house.claim_key)
    try:
        await provisioned_and_rotated(house, canaries)
        network = (await sim.control({"op": "network"}))["network"]
        canaries.add("network key", bytes.fromhex(network["key"]))
        sealed = await backed_up(house, canaries)
        bodies = await services(house, canaries)
        for read in ("status", "identity show", "devices", "check-config"):
            await asyncio.to_thread(house.agent, *read.split(), "--json")
        crashes(house)
        await until(lambda: any(b"online" in one for one in cloud.messages), what="the hub's status at the broker")
    finally:
        house.stop()
        messages, processes = cloud.close(), eyes.close()
        await sim.close()
        broker.stop()
    assert eyes.looks > 20
    assert b"\0run\0" in processes
    places = {"output": house.everything(), "processes": processes, "MQTT": messages, "REST": bodies}
    places["the sealed backup"] = sealed
    places["the broker's log"] = (broker_folder / "mosquitto.log").read_bytes()
    if store == "sealed":
        places["the state folder"] = b"\n".join(
            one.read_bytes() for one in (tmp_path / "state").rglob("*") if one.is_file()
        )
    found = {place: canaries.within(seen) for place, seen in places.items()}
    assert not any(found.values()), found
    assert not TOKEN.search(places["output"])
    loose = [one for one in (tmp_path / "state").rglob("*") if one.is_file() and one.stat().st_mode & 0o077]
    assert not [one for one in loose if canaries.within(one.read_bytes())], "what is in clear is the owner's alone"
    assert json.loads((tmp_path / "state" / "identity" / "identity.json").read_text())["current"] == "b"
