"""The cloud's side of AWS IoT Jobs: targets, roll-out rates, time-outs, retries, abort criteria, schedules and maintenance windows.

Rules: AWS IoT developer guide, "How job configurations work" and "Jobs lifecycle".
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim, CronSimError

from agent.sim.iot.executions import IN_PROGRESS, QUEUED, TERMINAL, Executions, Publish
from agent.sim.records import Record, Records

MINUTE = 60.0  # seconds
LEAST = 30 * MINUTE  # of a schedule: before its start, and between start and end
YEAR = 365 * 24 * 60 * MINUTE
FAILURES = {"FAILED": {"FAILED"}, "REJECTED": {"REJECTED"}, "TIMED_OUT": {"TIMED_OUT"}}
ALL_FAILURES = {"FAILED", "REJECTED", "TIMED_OUT"}
RETRYABLE = {"FAILED", "TIMED_OUT"}
OPEN = ("SCHEDULED", IN_PROGRESS)
ENDED = ("CANCELED", "COMPLETED")
CRON_FIELDS = 5
_WEEKDAY = re.compile(r"(?<![#/])[1-7]")


@dataclass(frozen=True, slots=True)
class JobPlan:
    """How a job runs; the members are those of the vendor's configurations."""

    rollout: Mapping[str, Any] = field(default_factory=dict)
    abort: Iterable[Mapping[str, Any]] = ()
    timeout: float | None = None  # minutes in progress
    retry: Iterable[Mapping[str, Any]] = ()
    schedule: Mapping[str, Any] = field(default_factory=dict)
    continuous: bool = False  # it never completes: more targets may come


class Jobs:
    """Jobs by id, in the same records as their executions."""

    def __init__(
        self, records: Records, now: Callable[[], float], publish: Publish, presigned: Callable[[str], str]
    ) -> None:
        self._records = records
        self._now = now
        self._presigned = presigned
        self.executions = Executions(records, now, publish, self._document)
        self.executions.ended = self._ended
        self.completed: Callable[[Record], None] = lambda _job: None  # told of a job's new status

    def _document(self, job_id: str) -> Any:
        job = self._records.get("job", job_id)
        return json.loads(self._presigned(job["document"])) if job else {}

    def get(self, job_id: str) -> Record | None:
        return self._records.get("job", job_id)

    def create(self, job_id: str, document: str, things: Iterable[str], plan: JobPlan) -> Record:
        """Make a job and begin its roll-out. `document`: JSON text. Raises ValueError for a schedule that cannot be."""
        start = _checked(plan.schedule, self._now())
        job: Record = {
            "jobId": job_id,
            "document": document,
            "waiting": list(dict.fromkeys(things)),
            "reached": [],
            "state": "SCHEDULED" if start is not None and start > self._now() else IN_PROGRESS,
            **_configured(plan),
            "retry": [dict(criterion) for criterion in plan.retry],
            "schedule": dict(plan.schedule),
            "continuous": plan.continuous,
            "minute": 0.0,
            "inMinute": 0,
            "rate": None,
        }
        self._records.put("job", job_id, job)
        return self._advance(job)

    def retarget(self, job_id: str, things: Iterable[str]) -> None:
        """The things that a continuous job is for now: it reaches those that have come, and leaves those that have gone."""
        job = self._records.get("job", job_id)
        if job is None or not job["continuous"] or job["state"] in ENDED:
            return
        fitting = dict.fromkeys(things)
        open_ = [entry for status in (QUEUED, IN_PROGRESS) for entry in self.executions_of(job_id, status=status)]
        gone = [entry for entry in open_ if entry["thing"] not in fitting]
        left = {entry["thing"] for entry in gone}
        reached = [thing for thing in job["reached"] if thing not in left]
        known = {*job["waiting"], *reached}
        waiting = [thing for thing in job["waiting"] if thing in fitting]
        waiting += [thing for thing in fitting if thing not in known]
        self._records.put("job", job_id, {**job, "waiting": waiting, "reached": reached})
        for execution in gone:
            self.executions.end(execution, "REMOVED")

    def forsake(self, thing: str) -> None:
        """A thing is no more: no job waits for it."""
        for state in OPEN:
            for job in list(self._records.all("job", state=state)):
                if thing in job["waiting"]:
                    job["waiting"].remove(thing)
                    self._records.put("job", job["jobId"], job)
                    self._settle(job)
        for execution in list(self._records.all("execution", pending=thing)):
            self.executions.end(execution, "REMOVED")

    def change(self, job_id: str, plan: JobPlan) -> None:
        """Another roll-out from the next minute on, and other criteria and time-outs for the executions to come."""
        job = self._records.get("job", job_id)
        if job is not None and job["state"] in OPEN:
            self._records.put("job", job_id, {**job, **_configured(plan)})

    def cancel(self, job_id: str, *, force: bool = False) -> None:
        """Queued executions end as CANCELED, with `force` those in progress too."""
        job = self._records.get("job", job_id)
        if job is None:
            return
        job |= {"state": "CANCELED", "waiting": []}
        self._records.put("job", job_id, job)
        for execution in list(self.executions_of(job_id)):
            if execution["status"] == QUEUED or (force and execution["status"] == IN_PROGRESS):
                self.executions.end(execution, "CANCELED")
        self.completed(job)

    def delete(self, job_id: str) -> None:
        """Forget the job and every execution."""
        for execution in list(self.executions_of(job_id)):
            self.executions.forget(execution)
        self._records.delete("job", job_id)

    def executions_of(self, job_id: str, **where: str) -> Iterable[Record]:
        return self._records.all("execution", jobId=job_id, **where)

    def counts(self, job_id: str) -> dict[str, int]:
        """Executions by status."""
        counts: dict[str, int] = {}
        for execution in self.executions_of(job_id):
            counts[execution["status"]] = counts.get(execution["status"], 0) + 1
        return counts

    def tick(self) -> None:
        """Time out, start and end what is due."""
        self.executions.tick()
        for state in OPEN:
            for job in list(self._records.all("job", state=state)):
                self._advance(job)

    # ---- a job's progress -------------------------------------------------------------------------------------------

    def _advance(self, job: Record) -> Record:
        now, schedule = self._now(), job["schedule"]
        start, end = _time(schedule.get("StartTime")), _time(schedule.get("EndTime"))
        if job["state"] == "SCHEDULED" and (start is None or now >= start):
            job["state"] = IN_PROGRESS
            self.completed(job)
        if job["state"] == IN_PROGRESS and end is not None and now >= end:
            return self._close(job)
        if job["state"] == IN_PROGRESS and self._in_window(job):
            self._roll_out(job)
        self._records.put("job", job["jobId"], job)
        return self._settle(job)

    def _close(self, job: Record) -> Record:
        """The schedule's end: what happens to those that have not finished."""
        behaviour = job["schedule"].get("EndBehavior", "STOP_ROLLOUT")
        if behaviour == "STOP_ROLLOUT":
            job |= {"waiting": [], "continuous": False}
            job["schedule"] = {}
            self._records.put("job", job["jobId"], job)
            return self._settle(job)
        self.cancel(job["jobId"], force=behaviour == "FORCE_CANCEL")
        return self._records.get("job", job["jobId"]) or job

    def _in_window(self, job: Record) -> bool:
        windows = job["schedule"].get("MaintenanceWindows", ())
        now = datetime.fromtimestamp(self._now(), UTC)
        return not windows or any(
            next(_cron(window["StartTime"], now - timedelta(minutes=window["DurationInMinutes"]))) <= now
            for window in windows
        )

    def _roll_out(self, job: Record) -> None:
        now = self._now()
        if now - job["minute"] >= MINUTE:
            job |= {"minute": now, "inMinute": 0, "rate": self._rate(job)}
        room = len(job["waiting"]) if job["rate"] is None else max(job["rate"] - job["inMinute"], 0)
        batch, job["waiting"] = job["waiting"][:room], job["waiting"][room:]
        job["reached"] += batch
        job["inMinute"] += len(batch)
        self._records.put("job", job["jobId"], job)
        for thing in batch:
            before = self.executions.get(thing, job["jobId"])
            number = before["executionNumber"] + 1 if before else 1
            self.executions.queue(thing, job["jobId"], job["timeout"], number=number)

    def _rate(self, job: Record) -> int | None:
        """Things in the minute that begins: the maximum, or the exponential rate up to it; None is without limit."""
        rollout = job["rollout"]
        most: int | None = rollout.get("MaximumPerMinute")
        exponential = rollout.get("ExponentialRolloutRate")
        if not exponential:
            return most
        criteria = exponential.get("RateIncreaseCriteria", {})
        step = 0
        if criteria.get("numberOfNotifiedThings"):
            step = len(job["reached"]) // criteria["numberOfNotifiedThings"]
        elif criteria.get("numberOfSucceededThings"):
            step = self.counts(job["jobId"]).get("SUCCEEDED", 0) // criteria["numberOfSucceededThings"]
        rate = exponential.get("BaseRatePerMinute", 1) * exponential.get("IncrementFactor", 1.1) ** min(step, 100)
        return int(min(rate, most or rate))

    def _ended(self, execution: Record) -> None:
        """An execution has ended: try it again, end the whole job when too many fail, or note that the job is done."""
        job = self._records.get("job", execution["jobId"])
        if job is None or job["state"] == "CANCELED":
            return
        failures = _failures(execution)
        if execution["status"] in RETRYABLE and _may_retry(job, execution["status"], failures):
            number = execution["executionNumber"] + 1
            self.executions.queue(execution["thing"], job["jobId"], job["timeout"], failures, number)
        elif self._must_abort(job):
            self.cancel(job["jobId"])
        else:
            self._settle(job)

    def _must_abort(self, job: Record) -> bool:
        counts = self.counts(job["jobId"])
        executed = sum(counts.get(status, 0) for status in TERMINAL)
        for criterion in job["abort"]:
            kinds = FAILURES.get(criterion.get("FailureType", "ALL"), ALL_FAILURES)
            failed = sum(counts.get(kind, 0) for kind in kinds)
            enough = executed >= criterion.get("MinNumberOfExecutedThings", 1)
            if enough and executed and failed * 100 / executed >= criterion.get("ThresholdPercentage", 100):
                return True
        return False

    def _settle(self, job: Record) -> Record:
        """COMPLETED once every target has ended."""
        if job["state"] != IN_PROGRESS or job["waiting"] or job["continuous"]:
            return job
        if all(execution["status"] in TERMINAL for execution in self.executions_of(job["jobId"])):
            job["state"] = "COMPLETED"
            self._records.put("job", job["jobId"], job)
            self.completed(job)
        return job


def _configured(plan: JobPlan) -> Record:
    """What comes from a task configuration, which a task may change."""
    abort = [dict(criterion) for criterion in plan.abort]
    return {"rollout": dict(plan.rollout), "abort": abort, "timeout": plan.timeout}


def _failures(execution: Record) -> dict[str, int]:
    """How often each kind of failure has ended this thing's executions, the one that has ended now with them."""
    before, status = execution["failures"], execution["status"]
    return {**before, status: before.get(status, 0) + 1}


def _may_retry(job: Record, status: str, failures: Mapping[str, int]) -> bool:
    """A criterion counts failures of its own kind; ALL counts every failure."""
    counted = {status: failures[status], "ALL": sum(failures.values())}
    allowed = ((entry.get("FailureType"), entry.get("MinNumberOfRetries", 0)) for entry in job["retry"])
    return any(kind in counted and counted[kind] <= most for kind, most in allowed)


def _checked(schedule: Mapping[str, Any], now: float) -> float | None:
    """The start of a schedule that holds the rules of the IoT model's SchedulingConfig. Raises ValueError.

    Times have minutes and no seconds, and so has the time from which they are counted.
    """
    for window in schedule.get("MaintenanceWindows", ()):
        _cron(window["StartTime"], datetime.fromtimestamp(now, UTC))
    this_minute = now // MINUTE * MINUTE
    start, end = (_time(schedule.get(name)) for name in ("StartTime", "EndTime"))
    if start is not None and not LEAST <= start - this_minute <= YEAR:
        raise ValueError("StartTime is at least 30 minutes and at most a year from now")
    if end is None:
        return start
    if not LEAST <= end - this_minute <= 2 * YEAR:
        raise ValueError("EndTime is at least 30 minutes and at most two years from now")
    if start is not None and end - start < LEAST:
        raise ValueError("EndTime is at least 30 minutes after StartTime")
    return start


def _time(text: str | None) -> float | None:
    """`YYYY-MM-DDTHH:MM`, in UTC unless it names its offset. Raises ValueError."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _cron(text: str, start: datetime) -> CronSim:
    """`cron(minute hour day month weekday year)`, whose weeks begin with Sunday as 1, or the five fields of cron. Raises ValueError."""
    fields = text.removeprefix("cron(").removesuffix(")").replace("?", "*").split()
    if len(fields) > CRON_FIELDS:
        fields[4] = _WEEKDAY.sub(lambda found: str(int(found[0]) - 1), fields[4])
    try:
        return CronSim(" ".join(fields[:CRON_FIELDS]), start)
    except CronSimError:
        raise ValueError(f"{text!r} is no cron expression") from None
