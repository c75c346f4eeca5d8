"""A hub that updates itself: OTA tasks of boto3 against the stand-in, signed by `agent ota sign`, the launcher and real builds of this checkout."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from agent_wheel import Service, wheel
from botocore.config import Config
from certificates import Authority
from standin_rig import Cloud

from agent.client import Client
from agent.errors import HubError

pytestmark = pytest.mark.conformance
CONFIG = """
[hub]
id = "{hub}"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
claim_certificate = "{folder}/claim.pem"
claim_key = "{folder}/claim.key"
serial = "HUB-OTA-1"
product_code = "829576019524"
template = "ota"
[ota]
root = "{folder}/1.root.json"
trial = "1s"
patience = "2s"
trial_limit = "20s"
"""
ROOT = """
type = "root"
product = "hub"
version = 1
expires = 2099-01-01T00:00:00Z
"""
