"""FOTA over MQTT: the lists in which jobs are offered and their progress is told, for a device and the BLE devices of a gateway. PURE.

Protocol notes, sections 3.1 to 3.3. The executions are those of REST and CoAP.
"""

import json
from collections.abc import Callable
from typing import Any

from agent.sim.nrf.answers import BAD_REQUEST, NOT_FOUND, NrfError, json_body
from agent.sim.nrf.fota import Fota
from agent.sim.records import Record

TYPES = {"APP": 0, "MODEM": 1, "BOOT": 2}  # other firmware types have no number, and are not offered
STATUSES = ("QUEUED", "IN_PROGRESS", "FAILED", "SUCCEEDED", "TIMED_OUT", "CANCELLED", "REJECTED", "DOWNLOADING")


class MqttJobs:
    """Topics `<prefix><device>/jobs/…`. `find` gives the record of a device, or raises NrfError."""

    def __init__(self, fota: Fota, find: Callable[[str], Record], publish: Callable[[str, bytes], None]) -> None:
        self._fota, self._find, self._publish = fota, find, publish
        fota.made = self._push

    def request(self, device: Record, payload: bytes) -> None:
        """Offer the newest waiting job for `[""]`, a certain one for `["<jobId>"]`; nothing when there is none. Raises NrfError."""
        match json_body(payload):
            case [str(job)]:
                self._offer(device["id"], job)
            case _:
                raise NrfError(BAD_REQUEST, 'a request is [""] or ["<jobId>"]')

    def request_child(self, gateway: Record, payload: bytes) -> None:
        """The same for a BLE device: `["<address>"]` or `["<address>", "<jobId>"]`. Raises NrfError."""
        match json_body(payload):
            case [str(address), *rest] if not rest or (len(rest) == 1 and isinstance(rest[0], str)):
                self._offer(self._child(gateway, address), *rest)
            case _:
                raise NrfError(BAD_REQUEST, 'a request is ["<address>"] or ["<address>", "<jobId>"]')

    def update(self, device: Record, payload: bytes) -> None:
        """Take `[jobId, status, details]`; while downloading, details are the percentage. Raises NrfError."""
        self._take(device["id"], json_body(payload))

    def update_child(self, gateway: Record, payload: bytes) -> None:
        """Take `[address, jobId, status, details]`. Raises NrfError."""
        match json_body(payload):
            case [str(address), *rest]:
                self._take(self._child(gateway, address), rest)
            case _:
                raise NrfError(BAD_REQUEST, "an update of a BLE device begins with its address")

    def _child(self, gateway: Record, address: str) -> str:
        child = self._fota.target(address.upper())
        if child is None or child.get("gateway") != gateway["id"]:
            raise NrfError(NOT_FOUND, f"the gateway has no {address[:40]}")
        return str(child["id"])

    def _take(self, target: str, update: Any) -> None:
        match update:
            case [str(job), int(status), *details] if not isinstance(status, bool) and 0 <= status < len(STATUSES):
                said = {"details": details[0]} if details else {}
                self._fota.update(target, job, {"status": STATUSES[status], **said})
            case _:
                raise NrfError(BAD_REQUEST, "an update is [jobId, status, details]")

    def _offer(self, target: str, job: str = "") -> None:
        waiting = [execution for execution in self._fota.waiting(target) if job in ("", execution["jobId"])]
        offered = [execution for execution in waiting if _kind(execution) is not None]
        if offered:
            self._push(offered[-1])

    def _push(self, execution: Record) -> None:
        document, kind, gateway = execution["jobDocument"], _kind(execution), execution.get("gateway")
        device = self._find(gateway or execution["deviceId"])
        if kind is None or not device["associated"]:
            return
        row = [execution["jobId"], kind, document["fileSize"], document["host"], document["path"]]
        topic = f"{device['prefix']}{device['id']}/jobs/{'ble/' if gateway else ''}rcv"
        self._publish(topic, json.dumps([execution["deviceId"], *row] if gateway else row).encode())


def _kind(execution: Record) -> int | None:
    return TYPES.get(execution["jobDocument"]["firmwareType"])
