"""The device's side of AWS IoT Jobs over MQTT: pending executions, start-next, describe, update, and the two notifications.

Topics and bodies: AWS IoT developer guide, "Jobs device MQTT API operations" and "Jobs notifications".
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from agent.sim.records import Record, Records

QUEUED, IN_PROGRESS = "QUEUED", "IN_PROGRESS"
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED"})
FROM_DEVICE = frozenset({IN_PROGRESS, "SUCCEEDED", "FAILED", "REJECTED"})
NOTIFIED = 10  # executions in one `notify`
DETAILS, DETAIL_KEY, DETAIL_VALUE = 10, re.compile(r"[a-zA-Z0-9:_-]{1,128}"), re.compile(r"[^\x00-\x1f\x7f]{1,1024}")
MAX_STEP = 10080  # minutes

Body = dict[str, Any]
Publish = Callable[[str, Body], None]


class JobError(Exception):
    """A request that ends in `…/rejected`."""

    def __init__(self, code: str, message: str, execution: Record | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.execution = execution


class Executions:
    """Executions of jobs by thing. `document(job_id)` is a job's document as it is delivered now."""

    def __init__(
        self, records: Records, now: Callable[[], float], publish: Publish, document: Callable[[str], Any]
    ) -> None:
        self._records = records
        self._now = now
        self._publish = publish
        self._document = document
        self.throttled: Callable[[], bool] = lambda: False  # asked at each request
        self.ended: Callable[[Record], None] = lambda _execution: None  # told of each execution that has ended

    # ---- what the cloud does ----------------------------------------------------------------------------------------

    def queue(
        self,
        thing: str,
        job_id: str,
        timeout: float | None,
        failures: Mapping[str, int] | None = None,
        number: int = 1,
    ) -> None:
        """A new execution for a thing. `timeout`: minutes that it may be in progress; `failures`: what ended those before it."""
        now, failures = self._now(), failures or {}
        execution: Record = {
            "thing": thing,
            "jobId": job_id,
            "status": QUEUED,
            "queuedAt": now,
            "lastUpdatedAt": now,
            "versionNumber": 1,
            "executionNumber": number,
            "statusDetails": {},
            "timeout": timeout,
            "attempt": sum(failures.values()),
            "failures": dict(failures),
            "turn": f"{now:020.6f}",
            "pending": thing,
        }
        with _Watch(self, thing):
            self._records.put("execution", _key(thing, job_id), execution)

    def end(self, execution: Record, status: str) -> None:
        """Cancel, time out or remove an execution from here."""
        with _Watch(self, execution["thing"]):
            self._change(execution, status=status)
        self.ended(execution | {"status": status})

    def forget(self, execution: Record) -> None:
        """Delete an execution, in whatever state it is."""
        with _Watch(self, execution["thing"]):
            self._records.delete("execution", _key(execution["thing"], execution["jobId"]))

    def get(self, thing: str, job_id: str) -> Record | None:
        return self._records.get("execution", _key(thing, job_id))

    def tick(self) -> None:
        """End what has taken longer than its timers allow."""
        self._expire(status=IN_PROGRESS)

    def _expire(self, **where: str) -> None:
        now = self._now()
        for execution in list(self._records.all("execution", **where)):
            if min(_deadline(execution), execution.get("stepDeadline") or float("inf")) <= now:
                self.end(execution, "TIMED_OUT")

    # ---- what the device asks ---------------------------------------------------------------------------------------

    def request(self, thing: str, words: tuple[str, ...], payload: bytes) -> None:
        """Answer `$aws/things/<thing>/jobs/<words>` on the same topic with /accepted or /rejected."""
        topic = "/".join(("$aws/things", thing, "jobs", *words))
        token: Body = {}
        self._expire(pending=thing)
        try:
            if self.throttled():
                raise JobError("RequestThrottled", "Rate exceeded")
            body = _body(payload)
            token = {"clientToken": body["clientToken"]} if "clientToken" in body else {}
            answer = self._answer(thing, words, body)
        except JobError as error:
            refused: Body = {"code": error.code, "message": str(error), "timestamp": int(self._now()), **token}
            if error.execution is not None:
                refused["executionState"] = _state(error.execution)
            self._publish(f"{topic}/rejected", refused)
            return
        self._publish(f"{topic}/accepted", {**answer, "timestamp": int(self._now()), **token})

    def _answer(self, thing: str, words: tuple[str, ...], body: Body) -> Body:
        match words:
            case ("get",):
                return self._pending_of(thing)
            case ("start-next",):
                return self._start_next(thing, body)
            case (job_id, "get"):
                return self._describe(thing, job_id, body)
            case (job_id, "update"):
                return self._update(thing, job_id, body)
        raise JobError("InvalidTopic", "no such operation")

    def _pending_of(self, thing: str) -> Body:
        pending = self._pending(thing)
        return {
            "inProgressJobs": [_summary(entry) for entry in pending if entry["status"] == IN_PROGRESS],
            "queuedJobs": [_summary(entry) for entry in pending if entry["status"] == QUEUED],
        }

    def _start_next(self, thing: str, body: Body) -> Body:
        pending = self._pending(thing)
        if not pending:
            return {}
        execution = pending[0]
        if execution["status"] == QUEUED:
            details = _details(body)
            with _Watch(self, thing):
                changes = {"status": IN_PROGRESS, "startedAt": self._now(), "statusDetails": details or {}}
                execution = self._change(execution, **changes, **self._step(execution, body))
        elif "stepTimeoutInMinutes" in body:
            execution = self._keep({**execution, **self._step(execution, body)})
        return {"execution": self._whole(execution, document=True)}

    def _describe(self, thing: str, job_id: str, body: Body) -> Body:
        if job_id == "$next":
            pending = self._pending(thing)
            if not pending:
                return {}
            execution = pending[0]
        else:
            execution = self._need(thing, job_id, body)
        if execution["status"] in TERMINAL:
            raise JobError("TerminalStateReached", f"job {execution['jobId']} is {execution['status']}")
        return {"execution": self._whole(execution, document=body.get("includeJobDocument", True) is not False)}

    def _update(self, thing: str, job_id: str, body: Body) -> Body:
        execution = self._need(thing, job_id, body)
        status = body.get("status")
        if not isinstance(status, str) or status not in FROM_DEVICE:
            raise JobError("InvalidRequest", f"status must be one of {', '.join(sorted(FROM_DEVICE))}")
        details = _details(body)
        if execution["status"] in TERMINAL:
            text = f"job {job_id} is {execution['status']} and cannot be {status}"
            raise JobError("InvalidStateTransition", text, execution)
        expected = body.get("expectedVersion")
        if expected is not None and str(expected) != str(execution["versionNumber"]):
            raise JobError("VersionMismatch", f"the version is {execution['versionNumber']}", execution)
        changes: Record = {"status": status, **self._step(execution, body)}
        if details is not None:
            changes["statusDetails"] = details
        if status == IN_PROGRESS and execution["status"] == QUEUED:
            changes["startedAt"] = self._now()
        with _Watch(self, thing):
            changed = self._change(execution, **changes)
        if status in TERMINAL:
            self.ended(changed)
        answer: Body = {}
        if body.get("includeJobExecutionState"):
            answer["executionState"] = _state(changed)
        if body.get("includeJobDocument"):
            answer["jobDocument"] = self._document(job_id)
        return answer

    # ---- executions -------------------------------------------------------------------------------------------------

    def _need(self, thing: str, job_id: str, body: Body) -> Record:
        execution = self.get(thing, job_id)
        wanted = body.get("executionNumber")
        if execution is None or (wanted is not None and wanted != execution["executionNumber"]):
            raise JobError("ResourceNotFound", f"job {job_id} has no such execution for this thing")
        return execution

    def _change(self, execution: Record, **changes: Any) -> Record:
        changed = {**execution, **changes, "lastUpdatedAt": self._now()}
        changed["versionNumber"] = execution["versionNumber"] + 1
        if changed["status"] in TERMINAL:
            changed["pending"] = None
        return self._keep(changed)

    def _keep(self, execution: Record) -> Record:
        self._records.put("execution", _key(execution["thing"], execution["jobId"]), execution)
        return execution

    def _step(self, execution: Record, body: Body) -> Record:
        """The step timer: replaced by each request that names it; -1 ends it; never beyond the in-progress timer."""
        minutes = body.get("stepTimeoutInMinutes")
        if minutes is None:
            return {}
        if minutes == -1:
            return {"stepDeadline": None}
        if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= MAX_STEP:
            raise JobError("InvalidRequest", f"stepTimeoutInMinutes must be -1 or 1 to {MAX_STEP}")
        return {"stepDeadline": min(self._now() + minutes * 60, _deadline(execution))}

    def _pending(self, thing: str) -> list[Record]:
        """What waits, in the order in which start-next hands it out."""
        found = list(self._records.all("execution", pending=thing))
        return sorted(found, key=lambda entry: (entry["status"] != IN_PROGRESS, entry["turn"]))

    def _whole(self, execution: Record, *, document: bool) -> Body:
        whole = {**_summary(execution), "thingName": execution["thing"], "status": execution["status"]}
        if execution["statusDetails"]:
            whole["statusDetails"] = execution["statusDetails"]
        return {**whole, "jobDocument": self._document(execution["jobId"])} if document else whole

    def next_and_pending(self, thing: str) -> tuple[str, frozenset[str]]:
        """The job that is next, and all that wait: what the notifications are about."""
        pending = self._pending(thing)
        return (pending[0]["jobId"] if pending else ""), frozenset(entry["jobId"] for entry in pending)

    def notify(self, thing: str, *, changed_list: bool, changed_next: bool) -> None:
        pending, now = self._pending(thing), int(self._now())
        topic = f"$aws/things/{thing}/jobs"
        if changed_list:
            groups: dict[str, list[Body]] = {}
            for entry in pending[:NOTIFIED]:
                groups.setdefault(entry["status"], []).append(_summary(entry))
            self._publish(f"{topic}/notify", {"timestamp": now, "jobs": groups})
        if changed_next:
            body: Body = {"timestamp": now}
            if pending:
                body["execution"] = self._whole(pending[0], document=True)
            self._publish(f"{topic}/notify-next", body)


class _Watch:
    """Around a change: `notify` when the list of what waits has changed, `notify-next` when another job is next."""

    def __init__(self, executions: Executions, thing: str) -> None:
        self._executions = executions
        self._thing = thing

    def __enter__(self) -> None:
        self._before = self._executions.next_and_pending(self._thing)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            (was, pending), (now, left) = self._before, self._executions.next_and_pending(self._thing)
            self._executions.notify(self._thing, changed_list=pending != left, changed_next=was != now)


def _key(thing: str, job_id: str) -> str:
    return f"{thing}/{job_id}"


def _deadline(execution: Record) -> float:
    """When the in-progress timer ends."""
    minutes = execution.get("timeout")
    return execution["startedAt"] + minutes * 60 if minutes and "startedAt" in execution else float("inf")


def _summary(execution: Record) -> Body:
    summary: Body = {name: execution[name] for name in ("jobId", "versionNumber", "executionNumber")}
    summary |= {name: int(execution[name]) for name in ("queuedAt", "startedAt", "lastUpdatedAt") if name in execution}
    return summary


def _state(execution: Record) -> Body:
    state: Body = {"status": execution["status"], "versionNumber": execution["versionNumber"]}
    return {**state, "statusDetails": execution["statusDetails"]} if execution["statusDetails"] else state


def _body(payload: bytes) -> Body:
    if not payload:
        return {}
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise JobError("InvalidJson", "the payload is not JSON") from None
    if not isinstance(body, dict):
        raise JobError("InvalidJson", "the payload is not a JSON object")
    return body


def _details(body: Body) -> Mapping[str, str] | None:
    details = body.get("statusDetails")
    if details is None:
        return None
    good = isinstance(details, dict) and len(details) <= DETAILS
    for key, value in details.items() if good else ():
        good = (
            good and bool(DETAIL_KEY.fullmatch(key)) and isinstance(value, str) and bool(DETAIL_VALUE.fullmatch(value))
        )
    if not good:
        raise JobError("InvalidRequest", f"statusDetails: at most {DETAILS} texts of 1 to 1024 characters")
    return dict(details)
