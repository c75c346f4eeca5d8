"""A pair of AWS's hub SDK is imported by a hub that has an identity: a real mosquitto decides whether it takes its place."""

import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from tests.conformance.test_link_tls import SecureBroker
from tests.identity.test_rotation import Daemon

pytestmark = pytest.mark.conformance


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
async def broker(broker_folder: Path, authority: Authority) -> AsyncIterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def daemon(tmp_path: Path, broker: SecureBroker, authority: Authority) -> Iterator[Daemon]:
    made = Daemon(tmp_path, broker.tls_port, authority)
    yield made
    made.stop(signal.SIGKILL)


def file_of(daemon: Daemon, authority: Authority, name: str) -> Path:
    """An iotmi_config.json of a hub that is provisioned as `name`."""
    folder = daemon.folder / "aws"
    folder.mkdir(exist_ok=True)
    for made, copy in zip(
        (*authority.issue(name), *authority.issue("claim")), ("c.pem", "k.pem", "l.pem", "m.pem"), strict=True
    ):
        shutil.copy(made, folder / copy)
    ro = {"iot_claim_cert_path": f"{folder}/l.pem", "iot_claim_pk_path": f"{folder}/m.pem", "fp_template_name": "hubs"}
    ro |= {"sh_endpoint_url": "127.0.0.1", "SN": "HUB0001", "EAN": "4006381333931"}
    rw = {"iot_provisioning_state": "PROVISIONED", "client_id": f"{name}_1", "managed_thing_id": name}
    rw |= {"iot_permanent_cert_path": f"{folder}/c.pem", "iot_permanent_pk_path": f"{folder}/k.pem"}
    file = folder / "iotmi_config.json"
    file.write_text(json.dumps({"ro": ro, "rw": rw}))
    return file


def told(daemon: Daemon, file: Path) -> dict[str, Any]:
    done = daemon.agent("identity", "import", str(file), "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_an_imported_pair_takes_the_place_of_the_one_in_use_by_a_connection(
    daemon: Daemon, authority: Authority, broker_folder: Path
) -> None:
    daemon.run()
    first = (await daemon.online("a"))["certificate"]
    file = file_of(daemon, authority, "one")
    answer = told(daemon, file)
    assert (answer["identity"]["tried"], answer["restart"], answer["written"]) == (True, True, True)
    assert json.loads(file.read_text())["rw"]["managed_thing_id"] == first["thing"], "until the other one has connected"
    daemon.stop()
    daemon.run()
    status = await daemon.online("b")
    assert (status["certificate"]["source"], status["certificate"]["thing"]) == ("iotmi", "one")
    rw = json.loads(file.read_text())["rw"]
    assert (rw["managed_thing_id"], rw["client_id"]) == ("one", "one_1")
    # The configuration is known now: the next pair is tried at once.
    answer = told(daemon, file_of(daemon, authority, "two"))
    assert (answer["written"], answer["restart"]) == (False, False)
    assert (await daemon.online("a"))["certificate"]["thing"] == "two"
    assert json.loads(file.read_text())["rw"]["managed_thing_id"] == "two"
    # One that the broker refuses is given up, and the file says what the hub is.
    done = daemon.agent("identity", "import", str(file_of(daemon, Authority(broker_folder, "stranger"), "three")))
    assert done.returncode == 69
    assert "given up" in done.stderr
    assert (await daemon.online("a"))["certificate"]["thing"] == "two"
    assert json.loads(file.read_text())["rw"]["managed_thing_id"] == "two"
