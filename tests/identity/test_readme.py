"""What the README says about the hub's own certificate runs as it is written; only folders and ports are those of the test."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from certificates import Authority
from standin_rig import Cloud

from agent.clock import kernel_synchronised
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


def a_token_is_printed_while_the_clock_is_synchronised(folder: Path, script: str, thing: str) -> None:
    """The line as it is; on this machine as it is, too, whatever its kernel says of its clock."""
    (line,) = [line for line in script.splitlines() if line.startswith("agent jwt")]
    public = json.loads(run(folder, "agent identity show --json").stdout)["public_key"]
    for synchronised in (True, False, None):
        here = folder / f"clock-{synchronised}"
        here.mkdir()
        if synchronised is not None:
            code = f"import agent.clock\nagent.clock.kernel_synchronised = lambda: {synchronised}\n"
            (here / "sitecustomize.py").write_text(code)
        done, now = run(folder, line, here), time.time()
        if kernel_synchronised() if synchronised is None else synchronised:
            assert (done.returncode, done.stderr) == (0, "")
            claims = jwt.decode(done.stdout.removesuffix("\n"), public, algorithms=["ES256"])
            assert claims == {"sub": thing, "exp": pytest.approx(now + 600, abs=10)}
            assert jwt.get_unverified_header(done.stdout.strip()) == {"alg": "ES256", "typ": "JWT"}
        else:
            assert (done.returncode, done.stdout) == (75, "")
            assert "no token is signed while the hub's clock is not trusted" in " ".join(done.stderr.split())
            assert "timedatectl" in done.stderr
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "`agent jwt` then prints none and ends with 75" in text


def run(folder: Path, script: str, *more: Path) -> subprocess.CompletedProcess[str]:
    """The lines, with the configuration of the test where the README's is /etc/hub-agent."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(map(str, (*more, ROOT))),
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
    wanted = [line for line in told["sh"].splitlines() if not line.startswith("agent jwt")]
    first = run(tmp_path, "\n".join(wanted))
    assert first.returncode == 0, first.stderr
    assert thing in first.stdout
    a_token_is_printed_while_the_clock_is_synchronised(tmp_path, told["sh"], thing)
    later = blocks("\n### A new certificate in time")["sh"].splitlines()
    lines = {line.split()[2]: line for line in later if line.startswith("agent identity ")}
    authority = Authority(tmp_path)
    sign = f"openssl x509 -req -in hub.csr -CA {authority.ca} -CAkey {authority.key_file()} -days 9 -out signed.pem"
    second = run(tmp_path, f"{lines['rotate']}\n{lines['csr']}\n{sign}\n{lines['install']}\nagent identity show --json")
    assert second.returncode == 0, second.stderr
    assert '"rotation": "candidate"' in second.stdout
