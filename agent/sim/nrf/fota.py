"""FOTA executions: what devices fetch one at a time, the oldest first, and what they tell of it. The jobs are in `fota_jobs`."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agent.clock import iso
from agent.sim.nrf.answers import INVALID, NOT_FOUND, NrfError
from agent.sim.records import Record, Records

OPEN = ("QUEUED", "IN_PROGRESS", "DOWNLOADING")
ENDED = ("FAILED", "SUCCEEDED", "TIMED_OUT", "CANCELLED", "REJECTED")


class Fota:
    """Executions in the records of kind `nrf-execution`. `made` is told of every new one, `ended` of every one that is over."""

    def __init__(self, records: Records, now: Callable[[], float]) -> None:
        self._records, self._now = records, now
        self.made: Callable[[Record], None] = lambda _execution: None
        self.ended: Callable[[Record], None] = lambda _execution: None

    def begin(self, job: str, document: dict[str, Any], targets: Iterable[Record]) -> None:
        """Queue a job for its targets; `document` is what each of them gets."""
        now, made = iso(self._now()), []
        for target in targets:
            device = target["id"]
            execution: Record = {"jobId": job, "deviceId": device, "executionId": f"{job}/{device}", "status": "QUEUED"}
            execution |= {"createdAt": now, "lastUpdatedAt": now, "jobDocument": document, "open": device}
            if "gateway" in target:
                execution["gateway"] = target["gateway"]
            self._records.put("nrf-execution", f"{device}/{job}", execution)
            made.append(execution)
        for execution in made:
            self.made(execution)

    def target(self, identifier: str) -> Record | None:
        """A device, or a BLE device of a gateway by its address."""
        return self._records.get("nrf-device", identifier) or self._records.get("nrf-peripheral", identifier)

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
        if status in ENDED:
            self.ended(changed)

    def get(self, device: str, job: str) -> Record:
        """One execution, with its inner members. Raises NrfError."""
        found = self._records.get("nrf-execution", f"{device}/{job}")
        if found is None:
            raise NrfError(NOT_FOUND, "no such execution")
        return found


def shown(execution: Record) -> dict[str, Any]:
    """What a client sees of an execution."""
    return {name: value for name, value in execution.items() if name != "open"}
