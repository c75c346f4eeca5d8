"""Nordic's own tools as a fleet's owner runs them: their CA, their device credentials, and their onboarding into the stand-in."""

import csv
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import urllib3
from nordic_rig import ONBOARD, credentials, make_authority, run
from standin_rig import Cloud

pytestmark = pytest.mark.conformance


def onboard(cloud: Cloud, batch: Path, *more: str) -> tuple[str, list[list[str]]]:
    """(log, rows of the result) of an onboarding."""
    result = batch.with_suffix(".result")
    arguments = ("--api-key", cloud.told["nrf_api_key"], "--csv", str(batch), "--res", str(result), "--plain", *more)
    log = run("-c", ONBOARD, cloud.told["nrf"], *arguments)
    rows = list(csv.reader(result.read_text().splitlines())) if result.exists() else []
    return log, [row for row in rows if row]


def ask(cloud: Cloud, device: str, token: str) -> Any:
    url = f"{cloud.told['nrf']}/devices/{device}"
    return urllib3.request("GET", url, headers={"Authorization": f"Bearer {token}"})


def token(key: str, device: str) -> str:
    return jwt.encode({"sub": device, "exp": int(time.time()) + 600}, key, "ES256")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return make_authority(tmp_path_factory.mktemp("ca"))


def test_devices_are_onboarded_named_and_known_by_their_own_keys(
    cloud: Cloud, authority: tuple[str, ...], tmp_path: Path
) -> None:
    credentials(authority, tmp_path, "--cn", "nu-1")
    key, csr = tmp_path / "nu-2.key", tmp_path / "nu-2.csr"
    make = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*make, "-subj", "/CN=nu-2", "-keyout", key, "-out", csr], check=True, capture_output=True)
    credentials(authority, tmp_path, "--csr", str(csr))
    devices = tmp_path / "devices.csv"
    devices.write_text("nu-1,mfw_nrf91x1_2.0.2,351358811330130\nnu-2,mfw_nrf91x1_2.0.3,351358811330131\n")
    more = ("--devinfo", str(devices), "--set-mfwv", "--name-imei", "--name-prefix", "imei-")
    _, rows = onboard(cloud, tmp_path / "onboard.csv", *more)
    told = {row[0]: row[1:] for row in rows}
    assert (told["endpoint"], told["status"], told["Error count"]) == (["ONBOARD_DEVICES"], ["SUCCEEDED"], ["0"])
    assert [row for row in rows if row[0] == "nu-1"] == [["nu-1", "OK"], ["nu-1", "mfw_nrf91x1_2.0.2", "OK"]]
    for number, pem in ((1, tmp_path / "nu-1_prv.pem"), (2, key)):
        device = f"nu-{number}"
        found = ask(cloud, device, token(pem.read_text(), device)).json()
        assert (found["id"], found["name"]) == (device, f"imei-35135881133013{number - 1}")
        reported = found["state"]["state"]["reported"]["device"]["deviceInfo"]
        assert reported == {"modemFirmware": f"mfw_nrf91x1_2.0.{number + 1}"}
    assert ask(cloud, "nu-1", token(key.read_text(), "nu-1")).status == 401


def test_a_device_that_is_there_is_not_onboarded_again(
    cloud: Cloud, authority: tuple[str, ...], tmp_path: Path
) -> None:
    credentials(authority, tmp_path, "--cn", "nu-3")
    log, rows = onboard(cloud, tmp_path / "onboard.csv", "--chk")
    assert "does not yet exist" in log
    assert ["nu-3", "OK"] in rows
    log, _ = onboard(cloud, tmp_path / "onboard.csv", "--chk")
    assert "already onboarded" in log


def test_the_tool_finds_the_rows_that_are_wrong(cloud: Cloud, authority: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("nu-4", "nu-5", "nu-6"):
        credentials(authority, tmp_path, "--cn", name)
    batch = tmp_path / "onboard.csv"
    batch.write_text(batch.read_text().replace("nu-5,,,,", "nu-5,,,TOASTER,"))
    _, rows = onboard(cloud, batch)
    told = dict(row[:2] for row in rows)
    assert (told["status"], told["Error count"]) == ("FAILED", "1")
    assert "firmware type" in told["nu-5"]
    assert ask(cloud, "nu-4", cloud.told["nrf_api_key"]).status == 404


def test_a_wrong_key_and_a_file_that_is_no_batch_are_refused(
    cloud: Cloud, authority: tuple[str, ...], tmp_path: Path
) -> None:
    batch = tmp_path / "batch.csv"
    batch.write_text("nu-7,only,three\n")
    log, rows = onboard(cloud, batch)
    assert ("422" in log, rows) == (True, [])
    credentials(authority, tmp_path, "--cn", "nu-7")
    log = run("-c", ONBOARD, cloud.told["nrf"], "--api-key", "wrong", "--csv", str(tmp_path / "onboard.csv"), "--plain")
    assert "401" in log
