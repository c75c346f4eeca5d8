"""Fleet provisioning by claim, with the stand-in cloud's broker: the identity, each way to be refused, and each power cut."""

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from power_cut import PowerCut, cutting
from standin_rig import UPC, Cloud

from agent import cli
from agent.cloud.mqtt import Endpoint, MqttLost
from agent.cloud.tls import tls_context
from agent.errors import TryAgainError
from agent.identity.keys import Subject
from agent.identity.provisioning import Claim, FleetProvisioning, ProvisioningRefusedError
from agent.identity.record import Held
from agent.identity.slots import Slots
from agent.identity.sources import fetch
from agent.identity.stores.file import FileKeys

CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
serial = "{serial}"
product_code = "{code}"
template = "claims"
claim_certificate = "{claim}/claim.pem"
claim_key = "{claim}/claim.key"
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data")
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="module")
def files(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the claim certificate of the profile "claims"."""
    return claim_files(cloud, tmp_path_factory.mktemp("claim"))


def claim_files(cloud: Cloud, folder: Path) -> Path:
    profile = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="claims")
    (folder / "claim.pem").write_text(profile["ClaimCertificate"])
    (folder / "claim.key").write_text(profile["ClaimCertificatePrivateKey"])
    (folder / "claim.key").chmod(0o600)
    return folder


def claim(cloud: Cloud, files: Path, serial: str, template: str = "claims") -> Claim:
    host, _, port = cloud.told["mqtt"].partition(":")
    tls = tls_context(ca=cloud.told["ca"], certificate=str(files / "claim.pem"), key=str(files / "claim.key"))
    parameters = {"deviceSerialNumber": serial, "universalProductCode": UPC}
    return Claim(Endpoint(host, int(port), f"claim-{serial}", 60, tls), template, Subject(serial), parameters)


class Hub:
    """Slots in a folder, and what fills them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, time.time()
        self.keys = FileKeys(folder / "keys")
        self.slots = Slots(folder, self.keys, lambda: self.now)

    async def provision(self, claim: Claim) -> Held:
        return await fetch(self.slots, FleetProvisioning(self.folder, claim, lambda: self.now), "the test")

    @property
    def current(self) -> Held | None:
        return self.slots.record.identity


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "identity")


async def test_a_key_that_stays_here_gets_its_certificate(cloud: Cloud, files: Path, hub: Hub) -> None:
    thing = await asyncio.to_thread(cloud.hub, "HUB-CLAIM-0001")
    identity = await hub.provision(claim(cloud, files, "HUB-CLAIM-0001"))
    assert identity.thing == thing
    assert identity.configuration["clientId"] == thing
    assert hub.current == identity
    certificate = x509.load_pem_x509_certificate(hub.slots.chain("a").read_bytes())
    asked = x509.load_pem_x509_csr(hub.keys.csr("hub-a", Subject("x")).encode())
    assert certificate.public_key() == asked.public_key()
    assert sorted(path.name for path in hub.folder.iterdir()) == ["hub-a.pem", "identity.json", "keys", "lock"]
    assert [path.name for path in (hub.folder / "keys").iterdir()] == ["hub-a.key"]


async def test_the_cloud_makes_the_key_where_that_is_wished(cloud: Cloud, files: Path, hub: Hub) -> None:
    thing = await asyncio.to_thread(cloud.hub, "HUB-CLAIM-0003")
    told = await hub.provision(replace(claim(cloud, files, "HUB-CLAIM-0003"), own_key=False))
    assert told.thing == thing
    assert stat.S_IMODE((hub.folder / "keys" / "hub-a.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in (hub.folder / "identity.json").read_text()


async def test_a_refusal_has_the_clouds_word_and_keeps_the_key(cloud: Cloud, files: Path, hub: Hub) -> None:
    with pytest.raises(ProvisioningRefusedError, match="ACCESS_DENIED") as refused:
        await hub.provision(claim(cloud, files, "NOBODY-0000001"))
    assert refused.value.remedy
    public = hub.keys.public_key("hub-a")
    await asyncio.to_thread(cloud.hub, "NOBODY-0000001")
    await hub.provision(claim(cloud, files, "NOBODY-0000001"))
    assert hub.keys.public_key("hub-a") == public


async def test_a_template_of_another_claim_is_refused_by_the_broker(cloud: Cloud, files: Path, hub: Hub) -> None:
    with pytest.raises(MqttLost, match="refused to subscribe to"):
        await hub.provision(claim(cloud, files, "HUB-CLAIM-0002", "others"))


@pytest.mark.parametrize("kind", ["OWN", "CLOUD"])
async def test_a_power_cut_anywhere_costs_nothing(cloud: Cloud, files: Path, tmp_path: Path, kind: str) -> None:
    """Before and after each call that changes the disk: the next run ends well, and nothing is left over."""

    def of(serial: str) -> Claim:
        return replace(claim(cloud, files, serial), own_key=kind == "OWN")

    await asyncio.to_thread(cloud.hub, f"HUB-CUT-{kind}-000")
    with cutting() as whole:
        await Hub(tmp_path / "whole").provision(of(f"HUB-CUT-{kind}-000"))
    assert whole.seen > 20
    for point in range(1, whole.seen + 1):
        serial, folder = f"HUB-CUT-{kind}-{point:03}", tmp_path / str(point)
        thing = await asyncio.to_thread(cloud.hub, serial)
        with cutting(point), pytest.raises(PowerCut):
            await Hub(folder).provision(of(serial))
        after = Hub(folder)
        after.slots.tidy()
        held = after.current or await after.provision(of(serial))
        assert (held.thing, after.current) == (thing, held), f"point {point}"
        after.slots.tidy()
        assert [path.name for path in (folder / "keys").iterdir()] == [f"hub-{after.slots.record.current}.key"]
        assert not list(folder.glob(".*tmp")), f"point {point}"


@pytest.mark.parametrize("age", [10.0, 3500.0, 3700.0, -60.0])
async def test_a_token_is_used_again_while_it_lives(cloud: Cloud, files: Path, hub: Hub, age: float) -> None:
    serial = f"HUB-TOKEN-{int(age):06}"
    with pytest.raises(ProvisioningRefusedError):
        await hub.provision(claim(cloud, files, serial))
    note = json.loads((hub.folder / "pending.json").read_bytes())
    await asyncio.to_thread(cloud.hub, serial)
    hub.now += age
    identity = await hub.provision(claim(cloud, files, serial))
    assert (identity.certificate_id == note["created"]["certificateId"]) is (0 <= age < 3600)


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b"\xff", b'{"at": "x", "created": 1}', b'{"at": 1e999, "created": {}}']
)
async def test_a_note_that_cannot_be_read_is_none(cloud: Cloud, files: Path, hub: Hub, note: bytes) -> None:
    serial = f"HUB-NOTE-{abs(hash(note)) % 10**9:09}"
    await asyncio.to_thread(cloud.hub, serial)
    hub.folder.mkdir(parents=True)
    (hub.folder / "pending.json").write_bytes(note)
    assert await hub.provision(claim(cloud, files, serial))


async def test_a_certificate_for_another_key_is_not_installed(
    cloud: Cloud, files: Path, hub: Hub, tmp_path: Path
) -> None:
    await asyncio.to_thread(cloud.hub, "HUB-FOREIGN-001")
    other = Hub(tmp_path / "other")
    with pytest.raises(ProvisioningRefusedError):
        await other.provision(claim(cloud, files, "NOBODY-0000002"))
    hub.slots.ask("the test")
    hub.now = other.now + 1
    foreign = json.loads((other.folder / "pending.json").read_bytes())
    (hub.folder / "pending.json").write_bytes((other.folder / "pending.json").read_bytes())
    held = await hub.provision(claim(cloud, files, "HUB-FOREIGN-001"))
    assert held.certificate_id != foreign["created"]["certificateId"]


async def test_a_cloud_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Cloud(tmp_path / "data", "--faults", "drop_reply=1")
    (tmp_path / "claim").mkdir()
    monkeypatch.setattr("agent.cloud.channel.ANSWER", 0.3)
    with pytest.raises(TryAgainError, match="no answer on"):
        await hub.provision(claim(silent, claim_files(silent, tmp_path / "claim"), "HUB-SILENT-0001"))
    assert silent.stop() == 0


# ---- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def config(cloud: Cloud, files: Path, tmp_path: Path) -> str:
    host, _, port = cloud.told["mqtt"].partition(":")
    where = {"folder": tmp_path, "host": host, "port": port, "ca": cloud.told["ca"], "claim": files}
    (tmp_path / "agent.toml").write_text(CONFIG.format(**where, serial="HUB-CLI-000001", code=UPC))
    return str(tmp_path / "agent.toml")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_hub_is_provisioned_from_the_command_line(
    cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, "identity", "show", "--json", "-c", config)
    assert (code, json.loads(out)["public_key"]) == (0, "")
    code, _, err = run(capsys, "identity", "provision", "-c", config)
    assert code == 69
    assert "ACCESS_DENIED" in err
    thing = cloud.hub("HUB-CLI-000001")
    code, out, _ = run(capsys, "identity", "provision", "--json", "-c", config)
    assert code == 0
    told = json.loads(out)
    assert told["thing"] == told["device_id"] == thing
    assert told["expires"] > "2027"
    code, out, _ = run(capsys, "identity", "show", "-c", config)
    assert code == 0
    assert told["public_key"].strip() in out, "it can be copied"
    code, _, err = run(capsys, "identity", "provision", "-c", config)
    assert code == 64
    assert "--again" in err
    code, out, _ = run(capsys, "identity", "provision", "--again", "--json", "-c", config)
    again = json.loads(out)
    assert (code, again["thing"]) == (0, thing)
    assert again["public_key"] != told["public_key"], "a new certificate has a new key"
    assert again["certificate_id"] != told["certificate_id"]
    assert again["certificate"]["rotation"] == "kept", "the old one, for a day"
    told = again
    monkeypatch.setattr("agent.clock.kernel_synchronised", lambda: True)
    code, out, _ = run(capsys, "jwt", "--ttl", "60", "-c", config)
    assert code == 0
    from agent.identity.tokens import verify  # noqa: PLC0415

    assert verify(out.strip(), told["public_key"], now=time.time())["sub"] == thing
    monkeypatch.setattr("agent.clock.kernel_synchronised", lambda: False)
    code, out, err = run(capsys, "jwt", "-c", config)
    assert (code, out) == (75, "")
    assert "not trusted" in err


def test_a_request_is_made_and_what_comes_back_is_checked(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "identity", "csr", "-c", config)
    assert code == 0
    assert x509.load_pem_x509_csr(out.encode()).is_signature_valid
    wrong = tmp_path / "wrong.pem"
    for text, words in (("no PEM", "no PEM certificate"), ("-----BEGIN CERTIFICATE-----\\nMII", "no PEM certificate")):
        wrong.write_text(text)
        code, _, err = run(capsys, "identity", "install", str(wrong), "-c", config)
        assert code == 69
        assert words in err


def test_a_claim_needs_all_of_its_parts(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(config).read_text()
    Path(config).write_text(
        text.replace('template = "claims"', 'template = ""').replace('serial = "HUB', 'serial = "" # "')
    )
    code, _, err = run(capsys, "check-config", "-c", config)
    assert code == 78
    assert "identity.template" in err
    assert "identity.serial" in err
