"""FOTA jobs: bundles of firmware, jobs for devices or tags, and the executions that devices fetch one at a time, oldest first."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from agent.clock import iso
from agent.sim.nrf.answers import INVALID, NOT_FOUND, NrfError
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

BUCKET = "nrf-bundles"
BUNDLE = re.compile(r"(APP|MODEM|BOOT|SOFTDEVICE|BOOTLOADER|MDM_FULL|SMP|CUSTOM)\*[0-9a-zA-Z]{8}\*.*")
OPEN = ("QUEUED", "IN_PROGRESS", "DOWNLOADING")
ENDED = ("FAILED", "SUCCEEDED", "TIMED_OUT", "CANCELLED", "REJECTED")
DEVICES = 100


class Fota:
    """Executions in the records of kind `nrf-execution`; a bundle is a file of the objects' bucket. `made` is told every new one."""

    def __init__(self, records: Records, now: Callable[[], float], objects: Objects) -> None:
        self._records = records
        self._now = now
        self._objects = objects
        self.made: Callable[[Record], None] = lambda _execution: None

    def create(self, body: dict[str, Any]) -> str:
        """Make a job; returns its id. Raises NrfError."""
        bundle = str(body.get("bundleId", ""))
        if not BUNDLE.fullmatch(bundle):
            raise NrfError(INVALID, "bundleId does not have its pattern")
        content = self._objects.read(f"s3://{BUCKET}/{bundle}")
        if content is None:
            raise NrfError(NOT_FOUND, f"there is no bundle {bundle[:100]}")
        targets, now, job = self._targets(body), self._now(), str(uuid.uuid4())
        document = {"firmwareType": bundle.partition("*")[0], "fileSize": len(content), "bundleId": bundle}
        document |= {"version": str(body.get("name", "1")), **self._objects.host_and_path(f"s3://{BUCKET}/{bundle}")}
        made = []
        for target in targets:
            device = target["id"]
            execution: Record = {"jobId": job, "deviceId": device, "executionId": f"{job}/{device}", "status": "QUEUED"}
            execution |= {"createdAt": iso(now), "lastUpdatedAt": iso(now), "jobDocument": document, "open": device}
            if "gateway" in target:
                execution["gateway"] = target["gateway"]
            self._records.put("nrf-execution", f"{device}/{job}", execution)
            made.append(execution)
        for execution in made:
            self.made(execution)
        return job

    def target(self, identifier: str) -> Record | None:
        """A device, or a BLE device of a gateway by its address."""
        return self._records.get("nrf-device", identifier) or self._records.get("nrf-peripheral", identifier)

    def _targets(self, body: dict[str, Any]) -> list[Record]:
        names, tags = body.get("deviceIds"), body.get("tags")
        if isinstance(names, list) and 1 <= len(names) <= DEVICES:
            found = {str(name): self.target(str(name)) for name in names}
            unknown = [name for name, target in found.items() if target is None]
            if unknown:
                raise NrfError(NOT_FOUND, f"no such devices: {unknown[:5]}")
            return [target for target in found.values() if target is not None]
        if isinstance(tags, list) and tags:
            return [
                device
                for device in self._records.all("nrf-device")
                if device["associated"] and any(tag in device["tags"] for tag in tags)
            ]
        raise NrfError(INVALID, f"1 to {DEVICES} deviceIds, or tags")

    def current(self, device: str, firmware: str) -> dict[str, Any]:
        """The oldest open execution of a device. Raises NrfError (404: there is none)."""
        for execution in self.waiting(device):
            if firmware in ("", execution["jobDocument"]["firmwareType"]):
                return shown(execution)
        raise NrfError(40499, "no job", status=404)

    def waiting(self, device: str) -> Iterator[Record]:
        """The executions of a device that have not ended, the oldest first."""
        return self._records.all("nrf-execution", open=device)

    def forsake(self, device: str) -> None:
        """Cancel what waits for a device that is no more."""
        for execution in list(self.waiting(device)):
            self.update(device, execution["jobId"], {"status": "CANCELLED"})

    def update(self, device: str, job: str, body: dict[str, Any]) -> None:
        """A device's word on its execution. Raises NrfError."""
        execution = self.get(device, job)
        status = body.get("status")
        if status not in (*OPEN, *ENDED):
            raise NrfError(INVALID, f"status is none of {', '.join((*OPEN, *ENDED))}")
        if execution["status"] in ENDED:
            raise NrfError(INVALID, f"the execution is {execution['status']}")
        changed = {**execution, "status": status, "lastUpdatedAt": iso(self._now())}
        if "details" in body:
            changed["statusDetail"] = str(body["details"])[:1024]
        if status in ENDED:
            changed["open"] = None
        self._records.put("nrf-execution", f"{device}/{job}", changed)

    def get(self, device: str, job: str) -> Record:
        """One execution, with its inner members. Raises NrfError."""
        found = self._records.get("nrf-execution", f"{device}/{job}")
        if found is None:
            raise NrfError(NOT_FOUND, "no such execution")
        return found


def shown(execution: Record) -> dict[str, Any]:
    """What a client sees of an execution."""
    return {name: value for name, value in execution.items() if name != "open"}
