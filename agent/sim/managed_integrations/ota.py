"""OTA tasks and their configurations: each task is an IoT job for the managed things that it targets."""

import json
from collections.abc import Iterator
from typing import Any

from agent.sim.iot.jobs import JobPlan, Jobs
from agent.sim.managed_integrations.world import Request, Result, World, new_id
from agent.sim.objects import Objects
from agent.sim.records import Record
from agent.sim.service_model import AwsError

WHAT = "Ota Task"
DOCUMENT = 32768  # bytes that a job document may have
_DETAILS = {
    "CANCELED": "NumberOfCanceledThings",
    "FAILED": "NumberOfFailedThings",
    "IN_PROGRESS": "NumberOfInProgressThings",
    "QUEUED": "numberOfQueuedThings",
    "REJECTED": "numberOfRejectedThings",
    "REMOVED": "numberOfRemovedThings",
    "SUCCEEDED": "numberOfSucceededThings",
    "TIMED_OUT": "numberOfTimedOutThings",
}


class Ota:
    """Actions on OTA tasks; `tick` finds new targets of continuous tasks."""

    def __init__(self, world: World, jobs: Jobs, objects: Objects) -> None:
        self._world = world
        self._jobs = jobs
        self._objects = objects
        self._seen = -1
        jobs.completed = self._job_changed

    # ---- tasks ------------------------------------------------------------------------------------------------------

    def create_ota_task(self, request: Request) -> Result:
        world, identifier, now = self._world, new_id(), self._world.now()
        document = self._document(request["S3Url"])
        targets = self._targets(request)
        task: Record = {
            **request,
            "TaskId": identifier,
            "Id": identifier,
            "TaskArn": world.arn("ota-task", identifier),
            "Arn": world.arn("ota-task", identifier),
            "Protocol": request.get("Protocol", "HTTP"),
            "OtaMechanism": request.get("OtaMechanism", "PUSH"),
            "CreatedAt": now,
            "LastUpdatedAt": now,
        }
        plan = self._plan(request)
        world.records.put("ota-task", identifier, task)
        try:
            self._jobs.create(_job(identifier), document, targets, plan)
        except ValueError as error:
            raise AwsError("ValidationException", f"Value at 'OtaSchedulingConfig': {error}") from None
        self._tell(task, "CREATE_OTA")
        return world.pick("CreateOtaTaskResponse", task)

    def _document(self, url: str) -> str:
        found = self._objects.read(url)
        if found is None:
            raise AwsError("ValidationException", f"Value at 'S3Url': no such object: {url[:200]}")
        try:
            json.loads(found)
        except (ValueError, RecursionError):
            raise AwsError("ValidationException", "Value at 'S3Url': the job document is not JSON") from None
        if len(found) > DOCUMENT:
            raise AwsError("ValidationException", f"Value at 'S3Url': the job document is longer than {DOCUMENT} bytes")
        return found.decode()

    def _targets(self, request: Request) -> list[str]:
        if request["OtaType"] == "CONTINUOUS":
            if "OtaTargetQueryString" not in request:
                raise AwsError("ValidationException", "Value at 'OtaTargetQueryString' must not be null for CONTINUOUS")
            return list(self._matching(request["OtaTargetQueryString"]))
        if not request.get("Target"):
            raise AwsError("ValidationException", "Value at 'Target' must not be empty for ONE_TIME")
        things = [self._world.records.get("thing", arn.rpartition("/")[2]) for arn in request["Target"]]
        for thing, arn in zip(things, request["Target"], strict=True):
            if thing is None or thing["Arn"] != arn:
                text = f"Value at 'Target': no such managed thing: {arn}"
                raise AwsError("ResourceNotFoundException", text, ResourceId=arn, ResourceType="Managed Thing")
        return [thing["Id"] for thing in things if thing is not None]

    def _matching(self, query: str) -> Iterator[str]:
        """Things whose metadata fits `attributes.key=value [AND …]`."""
        terms = [term.partition("=") for term in query.replace("attributes.", "").split(" AND ")]
        if not all(key.strip() and value.strip() for key, _, value in terms):
            text = "Value at 'OtaTargetQueryString' must have the form attributes.key=value [AND attributes.key=value]"
            raise AwsError("ValidationException", text)
        for thing in self._world.records.all("thing"):
            known = thing.get("MetaData", {})
            if all(known.get(key.strip()) == value.strip() for key, _, value in terms):
                yield thing["Id"]

    def _plan(self, request: Request) -> JobPlan:
        push: dict[str, Any] = {}
        if "TaskConfigurationId" in request:
            found = self._world.need("ota-configuration", request["TaskConfigurationId"], "Ota Task Configuration")
            push = found.get("PushConfig") or {}
        return JobPlan(
            rollout=push.get("RolloutConfig", {}),
            abort=push.get("AbortConfig", {}).get("AbortConfigCriteriaList", ()),
            timeout=push.get("TimeoutConfig", {}).get("InProgressTimeoutInMinutes"),
            retry=request.get("OtaTaskExecutionRetryConfig", {}).get("RetryConfigCriteria", ()),
            schedule=request.get("OtaSchedulingConfig", {}),
            continuous=request["OtaType"] == "CONTINUOUS",
        )

    def get_ota_task(self, request: Request) -> Result:
        task = self._world.need("ota-task", request["Identifier"], WHAT)
        counts = self._jobs.counts(_job(task["TaskId"]))
        details: dict[str, Any] = {name: counts.get(status, 0) for status, name in _DETAILS.items()}
        details["processingTargets"] = task.get("Target") or []
        shown = {**task, "Status": self._status(task), "TaskProcessingDetails": details}
        return self._world.pick("GetOtaTaskResponse", shown)

    def _status(self, task: Record) -> str:
        job = self._jobs.get(_job(task["TaskId"]))
        return job["state"] if job else "DELETION_IN_PROGRESS"

    def list_ota_tasks(self, request: Request) -> Result:
        found, more = self._world.page("ota-task", request)
        shown = [self._world.pick("OtaTaskSummary", {**task, "Status": self._status(task)}) for task in found]
        return {"Tasks": shown, **more}

    def list_ota_task_executions(self, request: Request) -> Result:
        self._world.need("ota-task", request["Identifier"], WHAT)
        found, more = self._world.page("execution", request, jobId=_job(request["Identifier"]))
        return {"ExecutionSummaries": [_execution(entry) for entry in found], **more}

    def update_ota_task(self, request: Request) -> None:
        task = self._world.need("ota-task", request["Identifier"], WHAT)
        if "TaskConfigurationId" in request:
            self._jobs.change(_job(task["TaskId"]), self._plan({**task, **request}))
        changed: Record = {**task, "LastUpdatedAt": self._world.now()}
        changed |= {name: request[name] for name in ("Description", "TaskConfigurationId") if name in request}
        self._world.records.put("ota-task", task["TaskId"], changed)

    def delete_ota_task(self, request: Request) -> None:
        task = self._world.need("ota-task", request["Identifier"], WHAT)
        self._jobs.delete(_job(task["TaskId"]))
        self._world.records.delete("ota-task", task["TaskId"])
        self._tell(task, "DELETE_OTA")

    # ---- configurations ---------------------------------------------------------------------------------------------

    def create_ota_task_configuration(self, request: Request) -> Result:
        identifier = new_id()
        kept = {**request, "TaskConfigurationId": identifier, "CreatedAt": self._world.now()}
        self._world.records.put("ota-configuration", identifier, kept)
        return {"TaskConfigurationId": identifier}

    def get_ota_task_configuration(self, request: Request) -> Result:
        found = self._world.need("ota-configuration", request["Identifier"], "Ota Task Configuration")
        return self._world.pick("GetOtaTaskConfigurationResponse", found)

    def list_ota_task_configurations(self, request: Request) -> Result:
        found, more = self._world.page("ota-configuration", request)
        return {"Items": [self._world.pick("OtaTaskConfigurationSummary", entry) for entry in found], **more}

    def delete_ota_task_configuration(self, request: Request) -> None:
        self._world.need("ota-configuration", request["Identifier"], "Ota Task Configuration")
        self._world.records.delete("ota-configuration", request["Identifier"])

    # ---- what happens by itself -------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Continuous tasks follow the things that have come to fit since, or fit no more."""
        changes = self._world.records.changes("thing")
        if changes == self._seen:
            return
        self._seen = changes
        for task in self._world.records.all("ota-task"):
            if task["OtaType"] == "CONTINUOUS":
                self._jobs.retarget(_job(task["TaskId"]), self._matching(task["OtaTargetQueryString"]))

    def _job_changed(self, job: Record) -> None:
        task = self._world.records.get("ota-task", job["jobId"].removeprefix("ota-"))
        if task is not None:
            self._tell(task, "UPDATE_OTA", job["state"])

    def _tell(self, task: Record, operation: str, status: str = "") -> None:
        payload = {"operation": operation, "otaTaskId": task["TaskId"], "otaType": task["OtaType"]}
        targets = task.get("Target") or [task["TaskArn"]]
        self._world.notify("DEVICE_OTA", targets, {**payload, "status": status or self._status(task)})


def _job(task: str) -> str:
    return f"ota-{task}"


def _execution(entry: Record) -> Result:
    summary = {
        "ExecutionNumber": entry["executionNumber"],
        "RetryAttempt": entry["attempt"],
        "QueuedAt": entry["queuedAt"],
        "StartedAt": entry.get("startedAt"),
        "LastUpdatedAt": entry["lastUpdatedAt"],
        "Status": entry["status"],
    }
    return {"ManagedThingId": entry["thing"], "TaskExecutionSummary": summary}
