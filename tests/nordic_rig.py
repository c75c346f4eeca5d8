"""Nordic's own tools (nrfcloud-utils) as a fleet's owner runs them."""

import subprocess
import sys
from pathlib import Path

# The tool has no option for the address of the API, and looks at a batch each five seconds.
ONBOARD = """
import sys, time, types
from nrfcloud_utils import nrf_cloud_onboard as tool
tool.api_url = sys.argv[1] + "/"
tool.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 50))
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
