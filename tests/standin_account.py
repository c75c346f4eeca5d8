"""The stand-in's service in this process on a clock of the test: boto3, unmodified, in front; devices' messages behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from standin_rig import HUB, UPC, client

from agent.sim.authority import Authority
from agent.sim.exchange import Answer, Ask
from agent.sim.gate.faults import Faults
from agent.sim.managed_integrations.service import SERVICE, ManagedIntegrations
from agent.sim.managed_integrations.world import INDEXED, Told, World
from agent.sim.objects import Objects
from agent.sim.records import Records
from agent.sim.service_model import RestJson

NOON = 1_800_014_400.0  # Friday 2027-01-15, 12:00 UTC


class Account:
    """An account whose time is `now`; `pass_minutes` lets it pass. `api` is boto3's client."""

    def __init__(self, folder: Path) -> None:
        self.now = NOON
        self.folder = folder
        self.records = Records(None, INDEXED)
        world = World(RestJson(SERVICE), self.records, lambda: self.now, "127.0.0.1")
        objects = Objects(folder / "s3", "http://127.0.0.1:1")
        self.service = ManagedIntegrations(world, Authority(folder), objects, Faults())
        self.api = client("http://stand-in")
        self.api.meta.events.register(f"before-send.{SERVICE}", self._send)
        self._heard: list[tuple[str, bytes]] = []

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        path, _, query = request.url.removeprefix("http://stand-in").partition("?")
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = self.service.handle(Ask(request.method, path, parse_qs(query), body=body))
        return AWSResponse(request.url, answer.status, HeadersDict(dict(answer.headers)), _Raw(answer))

    # ---- time -------------------------------------------------------------------------------------------------------

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass, with a tick every half minute."""
        end = self.now + minutes * 60
        while self.now < end:
            self.now = min(self.now + 30, end)
            self.service.tick()

    def tick(self, times: int = 1) -> None:
        """What is due now, as often as asked."""
        for _ in range(times):
            self.service.tick()

    # ---- things and tasks -------------------------------------------------------------------------------------------

    def things(self, count: int, **metadata: str) -> list[str]:
        """Ids of new hubs."""
        already = self.records.count("thing")
        codes = [f"SN:HUB-{already + number:06};UPC:{UPC}" for number in range(count)]
        more = {"MetaData": metadata} if metadata else {}
        made = [self.api.create_managed_thing(**HUB, AuthenticationMaterial=code, **more) for code in codes]
        return [thing["Id"] for thing in made]

    def task(self, things: list[str], push: dict[str, Any] | None = None, **more: Any) -> str:
        """A task for these things, or what `more` says; its id. `push`: its PushConfig."""
        file = self.folder / "s3" / "bucket" / "job.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"operation": "update"}')
        if push is not None:
            more["TaskConfigurationId"] = self.configuration(push)
        if things:
            arns = [self.api.get_managed_thing(Identifier=thing)["Arn"] for thing in things]
            more |= {"OtaType": "ONE_TIME", "Target": arns}
        return str(self.api.create_ota_task(S3Url="s3://bucket/job.json", **more)["TaskId"])

    def configuration(self, push: dict[str, Any]) -> str:
        return str(self.api.create_ota_task_configuration(PushConfig=push)["TaskConfigurationId"])

    def status(self, task: str) -> str:
        return str(self.api.get_ota_task(Identifier=task)["Status"])

    def executions(self, task: str) -> dict[str, str]:
        """The status of each thing's execution, as the API lists it."""
        return {thing: summary["Status"] for thing, summary in self.summaries(task).items()}

    def summaries(self, task: str) -> dict[str, dict[str, Any]]:
        pages = self.api.get_paginator("list_ota_task_executions").paginate(Identifier=task)
        found = [entry for page in pages for entry in page["ExecutionSummaries"]]
        return {entry["ManagedThingId"]: entry["TaskExecutionSummary"] for entry in found}

    # ---- devices ----------------------------------------------------------------------------------------------------

    def ask(self, topic: str, payload: bytes) -> tuple[str, bytes]:
        """What a device is answered on a request: (accepted or rejected, payload)."""
        self._collect()
        self.service.hear(topic, payload)
        already = len(self._heard)
        self._collect()
        (answer,) = [entry for entry in self._heard[already:] if entry[0].startswith(f"{topic}/")]
        self._heard.remove(answer)
        return answer[0].removeprefix(f"{topic}/"), answer[1]

    def job(self, thing: str, request: str, **body: Any) -> tuple[str, dict[str, Any]]:
        """The answer on a jobs request, for example `start-next`."""
        outcome, payload = self.ask(f"$aws/things/{thing}/jobs/{request}", json.dumps(body).encode())
        return outcome, json.loads(payload)

    def accepted(self, thing: str, request: str, **body: Any) -> dict[str, Any]:
        outcome, answer = self.job(thing, request, **body)
        assert outcome == "accepted", answer
        return answer

    def finish(self, thing: str, task: str, status: str) -> None:
        """The device starts its job and ends it."""
        self.accepted(thing, f"{job_of(task)}/update", status="IN_PROGRESS")
        self.accepted(thing, f"{job_of(task)}/update", status=status)

    def heard(self, thing: str) -> list[tuple[str, dict[str, Any]]]:
        """The notifications for a thing since the last call: (notify or notify-next, body)."""
        self._collect()
        prefix = f"$aws/things/{thing}/jobs/"
        found = [(topic.removeprefix(prefix), json.loads(body)) for topic, body in self._heard if prefix in topic]
        self._heard = [entry for entry in self._heard if prefix not in entry[0]]
        return found

    def _collect(self) -> None:
        self._heard += [
            (message.topic, message.payload) for message in self.service.take_leaving() if isinstance(message, Told)
        ]

    def close(self) -> None:
        self.records.close()


def job_of(task: str) -> str:
    """The id of the IoT job that a task is."""
    return f"ota-{task}"


class _Raw:
    """The body of an answer as botocore reads it."""

    def __init__(self, answer: Answer) -> None:
        self._body = answer.body

    def stream(self) -> Iterator[bytes]:
        yield self._body
