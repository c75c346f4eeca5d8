"""FOTA jobs as the account has them: made, applied, cancelled, deleted, and how far their devices are. PURE.

The API's description (FOTAJobs, FOTAJobExecutions); states: protocol notes, section 3.1. The executions are in `fota`.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from agent.clock import iso
from agent.sim.exchange import Query
from agent.sim.nrf.answers import INVALID, NOT_FOUND, NrfError
from agent.sim.nrf.firmwares import BUCKET, Firmwares
from agent.sim.nrf.fota import ENDED, OPEN, Fota, shown
from agent.sim.nrf.pages import page
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

DEVICES = 100
NAME, DESCRIPTION = 64, 1024  # characters
_STATS = {
    "QUEUED": "queued",
    "IN_PROGRESS": "inProgress",
    "DOWNLOADING": "downloading",
    "FAILED": "failed",
    "SUCCEEDED": "succeeded",
    "TIMED_OUT": "timedOut",
    "CANCELLED": "cancelled",
    "REJECTED": "rejected",
}

Body = dict[str, Any]


class FotaJobs:
    """Jobs in the records of kind `nrf-job`."""

    def __init__(
        self, records: Records, now: Callable[[], float], objects: Objects, firmwares: Firmwares, fota: Fota
    ) -> None:
        self._records, self._now, self._objects = records, now, objects
        self._firmwares, self._fota = firmwares, fota
        fota.ended = self._execution_ended

    def create(self, body: Body) -> str:
        """Make a job and, unless `autoApply` is false, apply it; returns its id. Raises NrfError."""
        bundle, job = str(body.get("bundleId", "")), str(uuid.uuid4())
        content = self._firmwares.read(bundle)
        place = self._objects.host_and_path(f"s3://{BUCKET}/{bundle}")
        name, description = str(body.get("name", "")), str(body.get("description", ""))
        if len(name) > NAME or len(description) > DESCRIPTION:
            raise NrfError(INVALID, f"name has {NAME} characters at most, description {DESCRIPTION}")
        target = {"deviceIds": body.get("deviceIds") or [], "tags": body.get("tags") or []}
        self._targets(target)
        version = self._firmwares.version(bundle)
        firmware = {"bundleId": bundle, "firmwareType": bundle.partition("*")[0], "fileSize": len(content)}
        made: Record = {
            "jobId": job,
            "name": name,
            "description": description,
            "status": "CREATED",
            "createdAt": iso(self._now()),
            "target": target,
            "firmware": {**firmware, "version": version, "host": place["host"], "uris": [place["path"]]},
        }
        self._put(made)
        # a text, as nrfcloud-utils sends it
        if str(body.get("autoApply", True)).lower() != "false":
            self.apply(job)
        return job

    def apply(self, job: str) -> None:
        """Give a job to its devices. Raises NrfError."""
        found = self.find(job)
        if found["status"] != "CREATED":
            raise NrfError(INVALID, f"the job is {found['status']}")
        firmware = found["firmware"]
        document = {name: firmware[name] for name in ("firmwareType", "fileSize", "bundleId", "version", "host")}
        targets = self._targets(found["target"])
        self._put({**found, "status": "IN_PROGRESS"})
        self._fota.begin(job, {**document, "path": firmware["uris"][0]}, targets)
        self._settle(job)

    def cancel(self, job: str, reason: str) -> None:
        """Raises NrfError."""
        found = self.find(job)
        if found["status"] not in ("CREATED", "IN_PROGRESS"):
            raise NrfError(INVALID, f"the job is {found['status']}")
        detail = {"statusDetail": reason[:DESCRIPTION]} if reason else {}
        self._put({**found, "status": "CANCELLED", "completedAt": iso(self._now()), **detail})
        for execution in self._executions(job):
            if execution["status"] in OPEN:
                self._fota.update(execution["deviceId"], job, {"status": "CANCELLED", "details": reason})

    def delete(self, job: str) -> None:
        """The executions of a job outlive it. Raises NrfError."""
        self.find(job)
        self._records.delete("nrf-job", job)

    def find(self, job: str) -> Record:
        """Raises NrfError."""
        found = self._records.get("nrf-job", job)
        if found is None:
            raise NrfError(NOT_FOUND, "no such job")
        return found

    def page(self, query: Query) -> Body:
        """A page of jobs as clients see them, the newest first. Raises NrfError."""
        found = page(reversed(list(self._records.all("nrf-job"))), query)
        return {**found, "items": [self.shown(job) for job in found["items"]]}

    def shown(self, job: Record) -> Body:
        """What a client sees of a job."""
        counts = Counter(execution["status"] for execution in self._executions(job["jobId"]))
        stats = {name: counts[status] for status, name in _STATS.items()}
        total = sum(counts.values())
        stats |= {"removed": 0, "executions": total, "devices": total}
        return {**job, "executionStats": {**stats, "completedExecutions": sum(counts[status] for status in ENDED)}}

    def executions_of(self, device: str) -> Iterable[Body]:
        """Those of a device, the newest first."""
        found = [shown(entry) for entry in self._records.all("nrf-execution") if entry["deviceId"] == device]
        return found[::-1]

    def statuses(self, job: str, status: str) -> Iterable[Body]:
        """How far each device of a job is; `status` empty for any. Raises NrfError."""
        self.find(job)
        members = ("deviceId", "status", "statusDetail", "lastUpdatedAt")
        for entry in self._executions(job):
            if status in ("", entry["status"]):
                yield {name: entry[name] for name in members if name in entry}

    def _executions(self, job: str) -> list[Record]:
        return list(self._records.all("nrf-execution", jobId=job))

    def _targets(self, target: Body) -> list[Record]:
        names, tags = target["deviceIds"], target["tags"]
        if isinstance(names, list) and 1 <= len(names) <= DEVICES:
            found = {str(name): self._fota.target(str(name)) for name in names}
            unknown = [name for name, device in found.items() if device is None]
            if unknown:
                raise NrfError(NOT_FOUND, f"no such devices: {unknown[:5]}")
            return [device for device in found.values() if device is not None]
        if isinstance(tags, list) and tags and not names:
            devices = self._records.all("nrf-device")
            return [found for found in devices if found["associated"] and any(tag in found["tags"] for tag in tags)]
        raise NrfError(INVALID, f"1 to {DEVICES} deviceIds, or tags")

    def _execution_ended(self, execution: Record) -> None:
        self._settle(execution["jobId"])

    def _settle(self, job: str) -> None:
        """A job is complete once all its executions have ended."""
        found = self._records.get("nrf-job", job)
        if found is None or found["status"] != "IN_PROGRESS":
            return
        if all(execution["status"] in ENDED for execution in self._executions(job)):
            self._put({**found, "status": "COMPLETED", "completedAt": iso(self._now())})

    def _put(self, job: Record) -> None:
        self._records.put("nrf-job", job["jobId"], {**job, "lastUpdatedAt": iso(self._now())})
