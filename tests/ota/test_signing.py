"""`agent ota sign`: what it makes is what the hub verifies, and foreign tools can check it."""

import base64
import functools
import json
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from ota_rig import FLOOR, HUB, at

from agent.cli import main
from agent.ota.floor import Floor
from agent.ota.manifest import LARGEST, Downgrade, Part, Release, schema
from agent.ota.refusals import RefusedError, ThresholdError, TooLargeError
from agent.ota.roots import Root, RootDocument, pinned, rotated
from agent.ota.signatures import Envelope, Key, open_envelope, unurl64, url64
from agent.ota.signing import make_key, sign
from agent.ota.trust import Policy, verify
from agent.settings import OtaSettings

SCHEMAS = Path(__file__).parents[2] / "agent/schema/ota"
VECTORS = SCHEMAS / "vectors"
CONFIG = Path(__file__).parents[2] / "config"
MODELS: dict[str, type[Part]] = {
    "release": Release,
    "root": RootDocument,
    "downgrade": Downgrade,
    "envelope": Envelope,
}
ROOT_TOML = """
type = "root"
product = "hub"
expires = "730d"
{more}
[roles.root]
keys = ["{root}.pub.pem"]
threshold = 1
[roles.release]
keys = ["one.pub.pem", "two.pub.pem"]
threshold = 2
"""
RELEASE_TOML = """
product = "hub"
release = "2.1.0"
number = 7
expires = 2099-01-31T00:00:00Z
[[components]]
name = "agent"
kind = "agent"
version = "2.1.0"
security_epoch = 2
files = ["dist/agent.whl", {{ path = "dist/more.bin", url = "https://cdn.example.com/more.bin", chunk_size = {chunk} }}]
hub = {{ boards = ["raspberrypi,*"] }}
"""


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Slow to make, and never to be used."""
    return rsa.generate_private_key(65537, 2048)


class Desk:
    """The folder of somebody who releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, algorithm in (("old", "EdDSA"), ("new", "ES256"), ("one", "ES256"), ("two", "EdDSA")):
            make_key(folder / f"{name}.pem", algorithm)
        (folder / "dist").mkdir()
        (folder / "dist/agent.whl").write_bytes(bytes(3_000_000))
        (folder / "dist/more.bin").write_bytes(b"more")

    def keys(self, *names: str) -> list[Path]:
        return [self.folder / f"{name}.pem" for name in names]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def root(self) -> Root:
        made = sign(self.write("root.toml", ROOT_TOML.format(root="old", more="")), self.keys("old"), None)
        return pinned(made.file.read_bytes())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_signed_is_what_a_hub_takes(desk: Desk) -> None:
    root = desk.root()
    made = sign(desk.write("release.toml", RELEASE_TOML.format(chunk=4096)), desk.keys("one", "two"), None)
    found = verify(made.file.read_bytes(), root, HUB, FLOOR, at(time.time()))
    assert found.digest == made.digest
    assert set(made.signers) == found.signers
    whole, more = found.release.components[0].files
    assert (whole.name, whole.size, len(whole.chunks), whole.url) == ("agent.whl", 3_000_000, 3, "")
    assert (more.chunk_size, more.url) == (4096, "https://cdn.example.com/more.bin")
    whole.check(2, bytes(3_000_000 - 2 * 1_048_576))


def test_keys_of_a_threshold_lie_on_different_machines(desk: Desk) -> None:
    root = desk.root()
    pin = desk.folder / "1.root.json"
    description = desk.write("release.toml", RELEASE_TOML.format(chunk=4096))
    first = sign(description, desk.keys("one"), None, pin)
    assert first.wanted == {"release of root 1": 1}
    with pytest.raises(ThresholdError):
        verify(first.file.read_bytes(), root, HUB, FLOOR, at(time.time()))
    second = sign(first.file, desk.keys("two"), None, pin)
    assert (second.wanted, second.digest, second.file) == ({}, first.digest, first.file)
    again = sign(first.file, desk.keys("two"), None, pin)
    assert len(again.signers) == 2
    assert verify(second.file.read_bytes(), root, HUB, FLOOR, at(time.time()))


def test_a_root_hands_over(desk: Desk) -> None:
    first = desk.root()
    more = 'previous = "1.root.json"\nrecovery = { root = 2, number = 5 }'
    following = desk.write("next.toml", ROOT_TOML.format(root="new", more=more))
    half = sign(following, desk.keys("new"), None)
    assert (half.file.name, half.wanted) == ("2.root.json", {"root of root 1": 1})
    whole = sign(half.file, desk.keys("old"), None, desk.folder / "1.root.json")
    assert not whole.wanted
    second = rotated(first, whole.file.read_bytes())
    assert second.version == 2
    third = desk.write("third.toml", ROOT_TOML.format(root="new", more='previous = "2.root.json"'))
    found = rotated(second, sign(third, desk.keys("new"), None).file.read_bytes())
    assert found.document.recovery == second.document.recovery, "a hub may come late"


def test_a_description_may_be_json(desk: Desk) -> None:
    told = {"type": "downgrade", "product": "hub", "expires": "7d", "hubs": ["hub-1"], "from": 7, "to": 5}
    made = sign(desk.write("back.json", json.dumps(told)), desk.keys("one"), None)
    assert made.file.name == "back.signed.json"
    assert (
        Downgrade.model_validate_json(open_envelope(made.file.read_bytes(), LARGEST, "").payload, strict=False).to == 5
    )


def test_a_manifest_that_hubs_would_not_take_is_not_made(desk: Desk) -> None:
    (desk.folder / "dist/more.bin").write_bytes(bytes(4096 * 1100))
    with pytest.raises(TooLargeError) as caught:
        sign(desk.write("release.toml", RELEASE_TOML.format(chunk=4096)), desk.keys("one"), None)
    assert "chunk_size" in caught.value.remedy


def test_the_command(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.root()
    folder = desk.folder
    assert main(["ota", "sign", "--new-key", f"{folder}/k.pem", "--algorithm", "ES256", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE((folder / "k.pem").stat().st_mode) == 0o600
    assert Path(told["public_key"]).read_text().startswith("-----BEGIN PUBLIC KEY-----")
    description = desk.write("release.toml", RELEASE_TOML.format(chunk=4096))
    arguments = ["ota", "sign", str(description), "--root", f"{folder}/1.root.json"]
    assert main([*arguments, "--key", f"{folder}/one.pem", "--key", f"{folder}/two.pem", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == {}
    assert main([*arguments, "--key", f"{folder}/one.pem"]) == 0
    assert "still wants 1 signature for release of root 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ([], 64, "--new-key"),
        (["release.toml", "--new-key", "x.pem"], 64, "--new-key"),
        (["--new-key", "one.pem"], 64, "there already"),
        (["no.toml"], 78, "cannot be read"),
        (["dist/more.bin"], 69, "no JSON"),
        (["bad.toml"], 78, "no TOML"),
        (["type.toml"], 78, "no type"),
        (["empty.toml"], 69, "Field required"),
        (["time.toml"], 78, "no time"),
        (["file.toml"], 78, "cannot be read"),
        (["release.toml", "--key", "one.pub.pem"], 78, "chmod 600"),
        (["release.toml", "--key", "curve.pem"], 78, "P-256 or Ed25519"),
        (["release.toml", "--key", "rsa.pem"], 78, "P-256 or Ed25519"),
        (["release.toml", "--key", "locked.pem"], 78, "--passphrase-file"),
        (["release.toml", "--key", "locked.pem", "--passphrase-file", "wrong"], 78, "was sealed with"),
        (["release.toml", "--key", "locked.pem", "--passphrase-file", "dist/more.bin"], 78, "chmod 600"),
        (["release.toml", "--key", "locked.pem", "--passphrase-fd", "99"], 78, "descriptor 99"),
        (["release.toml", "--key", "pkcs11:token=x"], 78, "no object"),
        (["release.toml", "--key", "pkcs11:token=x;object=y;id=z?module-path=m"], 78, "'id' is not known here"),
        (["release.toml", "--key", "pkcs11:token=x;object=y?module-path=m&pin-value=1"], 78, "no argument"),
        (["release.toml", "--key", "pkcs11:token=x;object=y;type=cert?module-path=m"], 78, "no private key"),
        (["--new-key", "pkcs11:token=x;object=y?module-path=m"], 64, "public half"),
        (["of-rsa.toml"], 78, "P-256 or Ed25519"),
        (["of-private.toml"], 78, ".pub.pem"),
        (["release.toml", "--root", "release.toml"], 78, "agent ota sign"),
        (["release.toml", "-o", "no/where.json"], 69, "cannot be written"),
        (["other.toml", "--root", "1.root.json"], 69, "it is for oven"),
        (["back.json", "--root", "1.root.json"], 69, "names no keys"),
    ],
)
def test_what_cannot_be_signed_is_said(
    desk: Desk,
    arguments: list[str],
    code: int,
    word: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk.root()
    good = RELEASE_TOML.format(chunk=4096)
    for name, text in {
        "release.toml": good,
        "other.toml": good.replace('"hub"', '"oven"'),
        "bad.toml": "x =",
        "type.toml": 'type = "x"',
        "empty.toml": "",
        "time.toml": 'expires = "soon"',
        "file.toml": good.replace("agent.whl", "none.whl"),
        "back.json": '{"type":"downgrade","product":"hub","expires":"1d","hubs":["*"],"from":2,"to":1}',
    }.items():
        desk.write(name, text)
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    desk.write("curve.pem", pem.decode()).chmod(0o600)
    other = rsa_key()
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    desk.write("rsa.pem", pem.decode()).chmod(0o600)
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    desk.write("rsa.pub.pem", pem.decode())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    desk.write("locked.pem", pem.decode()).chmod(0o600)
    desk.write("wrong", "no such passphrase").chmod(0o600)
    desk.write("of-rsa.toml", ROOT_TOML.format(root="rsa", more=""))
    desk.write("of-private.toml", ROOT_TOML.format(root="old", more="").replace("old.pub.pem", "old.pem"))
    monkeypatch.chdir(desk.folder)
    assert main(["ota", "sign", *arguments]) == code
    said = capsys.readouterr()
    assert word in " ".join(said.err.split())
    assert "Traceback" not in said.err
    assert "PRIVATE" not in said.err + said.out


def test_the_examples_can_be_signed(tmp_path: Path) -> None:
    for path in (CONFIG / "examples/ota").glob("*.toml"):
        shutil.copy(path, tmp_path)
    for name in ("root-1", "root-2", "root-3", "release-1", "release-2", "back"):
        make_key(tmp_path / f"{name}.pem", "EdDSA")
    (tmp_path / "dist").mkdir()
    for name in ("hub_agent-2.1.0-py3-none-any.whl", "bulb.ota"):
        (tmp_path / "dist" / name).write_bytes(b"image")
    pin = tmp_path / "1.root.json"
    for name, keys in (("root", ["root-1", "root-2"]), ("release", ["release-1"]), ("downgrade", ["back"])):
        judge = None if name == "root" else pin
        made = sign(tmp_path / f"{name}.toml", [tmp_path / f"{key}.pem" for key in keys], None, judge)
        assert not made.wanted
    text = (tmp_path / "root.toml").read_text().replace("#previous", "previous").replace("\n#[", "\n[")
    (tmp_path / "next.toml").write_text(re.sub(r"\n#(root|number|security_epochs) =", r"\n\1 =", text))
    made = sign(tmp_path / "next.toml", [tmp_path / f"root-{n}.pem" for n in (1, 3)], None)
    assert (made.file.name, made.wanted) == ("2.root.json", {})
    found = rotated(pinned(pin.read_bytes()), made.file.read_bytes())
    assert found.document.recovery is not None
    assert found.document.recovery.number == 41


def test_the_setting_has_the_words_of_the_verifier() -> None:
    assert get_args(OtaSettings.model_fields["unsigned"].annotation) == get_args(Policy)
    assert OtaSettings().unsigned == "refuse"


@pytest.mark.parametrize("name", MODELS)
def test_the_published_schemas_are_those_of_the_code(name: str) -> None:
    """After a change of the models: PYTHONPATH=tests python tests/ota/publish.py."""
    published = json.loads((SCHEMAS / f"{name}.json").read_text())
    assert published == schema(MODELS[name])
    jsonschema.Draft202012Validator.check_schema(published)


def vectors() -> list[tuple[str, dict[str, Any]]]:
    told = json.loads((VECTORS / "expected.json").read_text())
    return [(name, one) for name, one in told.items()]


def test_the_vectors_of_releases_are_judged_as_they_say() -> None:
    root = rotated(pinned((VECTORS / "1.root.json").read_bytes()), (VECTORS / "2.root.json").read_bytes())
    for name, one in vectors():
        data = (VECTORS / name).read_bytes()
        floor = Floor(**one["floor"])
        if one["result"] == "taken":
            assert verify(data, root, HUB, floor, at(one["now"]), permission=_beside(one)).digest == one["sha256"]
            continue
        with pytest.raises(RefusedError) as caught:
            verify(data, root, HUB, floor, at(one["now"]), permission=_beside(one))
        assert caught.value.code == one["result"], name


def _beside(one: dict[str, Any]) -> bytes | None:
    return (VECTORS / one["permission"]).read_bytes() if "permission" in one else None


@pytest.mark.conformance
@pytest.mark.parametrize("name", ["1.root.json", "2.root.json", "release.json", "downgrade.json"])
def test_openssl_verifies_the_vectors(name: str, tmp_path: Path) -> None:
    """Who knows base64, RFC 7515 and OpenSSL's command line needs nothing of ours."""
    envelope = json.loads((VECTORS / name).read_text())
    jsonschema.validate(envelope, json.loads((SCHEMAS / "envelope.json").read_text()))
    payload = base64.b64decode(envelope["payload"])
    document = json.loads(payload)
    jsonschema.validate(document, json.loads((SCHEMAS / f"{document['type']}.json").read_text()))
    roots = [json.loads((VECTORS / f"{number}.root.json").read_text()) for number in (1, 2)]
    keys = {kid: key for root in roots for kid, key in json.loads(base64.b64decode(root["payload"]))["keys"].items()}
    checked = 0
    for text in envelope["signatures"]:
        head, tail = text.split("..")
        header = json.loads(unurl64(head))
        signature = unurl64(tail)
        public = Key(**keys[header["kid"]]).public()
        (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        (tmp_path / "signed").write_bytes(f"{head}.{url64(payload)}".encode())
        if header["alg"] == "ES256":
            signature = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        (tmp_path / "signature").write_bytes(signature)
        raw = ["-rawin"] if header["alg"] == "EdDSA" else ["-rawin", "-digest", "sha256"]
        files = ["-inkey", "key.pem", "-in", "signed", "-sigfile", "signature"]
        call = ["openssl", "pkeyutl", "-verify", "-pubin", *raw, *files]
        assert (
            "Verified Successfully"
            in subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        )
        (tmp_path / "signed").write_bytes(f"{head}.{url64(payload)}A".encode())
        assert subprocess.run(call, cwd=tmp_path, capture_output=True, check=False).returncode != 0
        checked += 1
    assert checked == {"root": document.get("version", 0) + 1, "release": 2, "downgrade": 1}[document["type"]]
