"""What the README says about the hub's own certificate runs as it is written; only folders and ports are those of the test."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from standin_rig import Cloud

from tests.identity.claims import claim_files

ROOT = Path(__file__).parent.parent.parent


def blocks(title: str) -> dict[str, str]:
    """The first block of each language in a section."""
    _, _, rest = (ROOT / "README.md").read_text().partition(f"{title}\n")
    section = re.split(r"\n##+ ", rest)[0]
    found: dict[str, str] = {}
    for language, text in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
        found.setdefault(language, text)
    return found


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "cloud")
    yield made
    assert made.stop() == 0


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """The lines, with the configuration of the test where the README's is /etc/hub-agent."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    function = f'agent() {{ command agent "$@" -c {folder}/agent.toml; }}\n'
    command = ["bash", "-euo", "pipefail", "-c", f"cd {folder}\n{function}{script}"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_hub_gets_and_changes_its_certificate_as_written(cloud: Cloud, tmp_path: Path) -> None:
    told = blocks("\n## The hub's own certificate")
    host, _, port = cloud.told["mqtt"].partition(":")
    config = told["toml"].replace("/etc/hub-agent/", f"{tmp_path}/").replace("/tmp/cloud/ca.pem", cloud.told["ca"])
    config = config.replace("port = 8883", f"port = {port}").replace('host = "127.0.0.1"', f'host = "{host}"')
    config = config.replace('template = "hubs"', 'template = "claims"')
    config = config.replace("[hub]\n", f'[hub]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n')
    (tmp_path / "agent.toml").write_text(config)
    claim_files(cloud, tmp_path)
    thing = cloud.hub("HUB-000000001")
    # `agent jwt` needs a clock that is synchronised.
    wanted = [line for line in told["sh"].splitlines() if not line.startswith("agent jwt")]
    first = run(tmp_path, "\n".join(wanted))
    assert first.returncode == 0, first.stderr
    assert thing in first.stdout
    later = blocks("\n### A new certificate in time")["sh"].splitlines()
    lines = {line.split()[2]: line for line in later if line.startswith("agent identity ")}
    authority = Authority(tmp_path)
    sign = f"openssl x509 -req -in hub.csr -CA {authority.ca} -CAkey {authority.key_file()} -days 9 -out signed.pem"
    second = run(tmp_path, f"{lines['rotate']}\n{lines['csr']}\n{sign}\n{lines['install']}\nagent identity show --json")
    assert second.returncode == 0, second.stderr
    assert '"rotation": "candidate"' in second.stdout
