"""Nordic's own tools (nrfcloud-utils) as a fleet's owner runs them."""

import subprocess
import sys
from pathlib import Path

from standin_rig import Cloud

# The tool has no option for the address of the API, and looks at a batch each five seconds.
ONBOARD = """
import sys, time, types
from nrfcloud_utils import nrf_cloud_onboard as tool
tool.api_url = sys.argv[1] + "/"
tool.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 50))
tool.main(sys.argv[2:])
"""

# Here its questions are answered from the lines that it is given.
MANAGE = """
import sys
from nrfcloud_utils import nrf_cloud_device_mgmt as tool
for name in ("API_URL", "GET_DEVICES_BASE", "GET_BUNDLES_BASE", "FOTA_JOBS_BASE"):
    setattr(tool, name, getattr(tool, name).replace("https://api.nrfcloud.com/v1", sys.argv[1]))
tool.main(sys.argv[2:])
"""


def run(*arguments: str | Path) -> str:
    """Run Python with these arguments; what the tool logs."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def make_authority(folder: Path) -> tuple[str, ...]:
    """The options of a CA that the tool has made."""
    run("-m", "nrfcloud_utils.create_ca_cert", "--cn", "fleet", "-o", "Acme", "-p", folder)
    return "--ca", str(next(folder.glob("*_ca.pem"))), "--ca-key", str(next(folder.glob("*_prv.pem")))


def credentials(authority: tuple[str, ...], folder: Path, *more: str) -> None:
    """Device credentials in `folder`, and their row in its onboard.csv."""
    where = ("-p", str(folder), "--csv", str(folder / "onboard.csv"))
    run("-m", "nrfcloud_utils.create_device_credentials", *authority, *where, *more)


def manage(cloud: Cloud, *arguments: str, answers: str = "") -> str:
    """What Nordic's tool for devices and FOTA jobs prints."""
    command = [sys.executable, "-c", MANAGE, cloud.told["nrf"], "--api-key", cloud.told["nrf_api_key"], *arguments]
    done = subprocess.run(command, input=answers, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
