"""The stand-in cloud as a process, and the clients that AWS ships: boto3 unmodified."""

import base64
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import forked
from botocore.config import Config

WIFI, ZIGBEE = "WIFI_SETUP_QR_BAR_CODE", "ZIGBEE_QR_BAR_CODE"
HUB = {"Role": "CONTROLLER", "AuthenticationMaterialType": WIFI}
UPC = "829576019524"


class Cloud:
    """`agent cloud` over `folder`, started and ready. `api` is boto3's client."""

    program: tuple[str, str] = ("-m", "agent.cli")

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            *self.program,
            "cloud",
            "--port",
            "0",
            "--data",
            str(self.folder),
            *self._arguments,
        ]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        self.told = json.loads(self.process.stdout.readline() or b"{}")
        assert self.told, (self.folder.parent / f"{self.folder.name}.log").read_text()
        self.api = client(self.told["managed_integrations"])

    def stop(self, *, kill: bool = False) -> int:
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(15)

    def hub(self, serial: str, **more: Any) -> str:
        """A managed thing for a hub; its id."""
        made = self.api.create_managed_thing(**HUB, AuthenticationMaterial=f"SN:{serial};UPC:{UPC}", **more)
        return str(made["Id"])

    def stream(self, name: str) -> list[dict[str, Any]]:
        """What a destination was told."""
        file = Path(self.told["streams"]) / f"{name}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(base64.b64decode(json.loads(line)["Data"])) for line in lines]

    def ask_for(self, stream: str, *events: str) -> None:
        """Have these events delivered to a stream."""
        arn = f"arn:aws:kinesis:eu-west-1:123456789012:stream/{stream}"
        role = "arn:aws:iam::123456789012:role/delivery"
        self.api.create_destination(
            Name=stream, DeliveryDestinationArn=arn, DeliveryDestinationType="KINESIS", RoleArn=role
        )
        for event in events:
            self.api.create_notification_configuration(EventType=event, DestinationName=stream)


def client(url: str, *, check: bool = True) -> Any:
    """boto3's client of the stand-in. With `check` false it sends what its own model forbids."""
    config = Config(parameter_validation=check, retries={"total_max_attempts": 1})
    return boto3.client(
        "iot-managed-integrations",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=config,
    )
