"""The certificate vendor of the AWS Connected Device Framework: a device's certificate is replaced over MQTT, triggered by a job.

Topics, codes and traps: protocol notes, section 7.3 (certificatevendor's code). T is the thing's name. As its Lambda does, a failure that
may pass is told as rejected and tried again later: a device may see rejected, rejected, then accepted, and each try registers one more
certificate. What is acknowledged over the old connection keeps the old certificate.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.sim.authority import Authority, common_name, fingerprint
from agent.sim.iot.jobs import JobPlan, Jobs
from agent.sim.iot.provisioning import ACTIVE
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

PACKAGES = "s3://certificates"  # a package for thing T: certificates/T.zip
TRIES = 3  # of one asynchronous invocation
FORMS = ("command-and-control", "readme", "installer")
_TRANSIENT = "UNABLE_TO_ATTACH_POLICY"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """`failures`: tries of each request that fail, after the certificate was registered; `retry`: seconds to the next one."""

    failures: int = 0
    retry: float = 60.0
    deletes_previous: bool = False  # FEATURES_DELETEPREVIOUSCERTIFICATE


class VendorError(Exception):
    """A request that ends in `…/rejected`, with the code as its message."""


class CertificateVendor:
    """Rotation jobs in the records of kind `rotation`, by thing; tries that are due later in `vendor-try`."""

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        publish: Callable[[str, Mapping[str, Any]], None],
        authority: Authority,
        jobs: Jobs,
        objects: Objects,
        settings: VendorSettings,
    ) -> None:
        self._records, self._now, self._publish = records, now, publish
        self._authority, self._jobs, self._objects, self._settings = authority, jobs, objects, settings

    def rotate(self, thing: str, form: str = FORMS[0]) -> str:
        """Have a thing's certificate replaced: it joins the rotation group, which a job targets. Returns the job's id.

        Raises ValueError for a form of the job document that nobody makes, KeyError when there is no such thing, or its rotation is under way.
        """
        if self._records.get("thing", thing) is None or self._records.get("rotation", thing) is not None:
            raise KeyError(thing)
        identifier = str(uuid.uuid4())
        job = f"cdf-cac-{identifier}"
        self._jobs.create(job, json.dumps(_document(form, identifier[:9])), [thing], JobPlan(continuous=True))
        self._records.put("rotation", thing, {"job": job})
        return job

    def request(self, thing: str, action: str, payload: bytes, principal: str) -> None:
        """`cdf/certificates/<thing>/get|ack`. `principal`: the certificate of the connection that the message came over."""
        try:
            body = json.loads(payload or b"{}")
        except (ValueError, RecursionError):
            return  # the rule's SELECT finds no JSON, and nobody is told
        if not isinstance(body, dict):
            return
        if action == "ack":
            self._answer(thing, "ack", lambda: self._acknowledged(thing, body, principal))
        elif body.get("csr") != "":  # an empty one is refused before the service, in silence
            self._try(thing, body, 1)

    def tick(self) -> None:
        """Try again what has failed and is due."""
        for later in list(self._records.all("vendor-try")):
            if later["due"] <= self._now():
                self._records.delete("vendor-try", later["id"])
                self._try(later["thing"], later["body"], later["number"])

    # ---- get --------------------------------------------------------------------------------------------------------

    def _try(self, thing: str, body: Body, number: int) -> None:
        code = self._answer(thing, "get", lambda: self._get(thing, body, number))
        if code == _TRANSIENT and number < TRIES:
            identifier = str(uuid.uuid4())
            due = self._now() + self._settings.retry
            later = {"id": identifier, "thing": thing, "body": body, "number": number + 1, "due": due}
            self._records.put("vendor-try", identifier, later)

    def _get(self, thing: str, body: Body, number: int) -> Body:
        self._whitelisted(thing)
        csr = body.get("csr")
        if csr is None:
            return self._package(thing)
        try:
            pem = self._authority.issue_from_csr(str(csr), thing)
        except ValueError as error:
            raise VendorError(str(error)) from None
        identifier = fingerprint(pem)
        made = {"Id": identifier, "pem": pem, "commonName": common_name(pem), "status": ACTIVE, "thing": thing}
        self._records.put("certificate", identifier, {**made, "activatedAt": self._now()})
        if number <= self._settings.failures:
            raise VendorError(_TRANSIENT)
        return {"certificate": pem, "certificateId": identifier}

    def _package(self, thing: str) -> Body:
        place = f"{PACKAGES}/{thing}.zip"
        if self._objects.read(place) is None:
            raise VendorError("CERTIFICATE_NOT_FOUND")
        return {"location": self._objects.address(place)}

    # ---- ack --------------------------------------------------------------------------------------------------------

    def _acknowledged(self, thing: str, body: Body, principal: str) -> Body:
        self._whitelisted(thing)
        rotation = self._records.get("rotation", thing)
        if rotation is not None:
            self._records.delete("rotation", thing)
            execution = self._jobs.executions.get(thing, rotation["job"])
            if execution is not None and execution.get("pending"):
                self._jobs.executions.end(execution, "REMOVED")  # it has left the group that the job targets
        if self._settings.deletes_previous:
            self._delete_others(thing, body.get("previousCertificateId"), principal)
        return {"message": "OK"}

    def _delete_others(self, thing: str, previous: Any, keep: str) -> None:
        for held in list(self._records.all("certificate", thing=thing)):
            if held["Id"] != keep and previous in (None, held["Id"]):
                self._records.delete("certificate", held["Id"])

    # ---- both -------------------------------------------------------------------------------------------------------

    def _whitelisted(self, thing: str) -> Record:
        found = self._records.get("thing", thing)
        if found is None:
            raise VendorError("DEVICE_NOT_WHITELISTED")
        return found

    def _answer(self, thing: str, action: str, work: Callable[[], Body]) -> str:
        """Do it and tell how it ended; returns the code of a refusal."""
        topic = f"cdf/certificates/{thing}/{action}"
        try:
            answer = work()
        except VendorError as error:
            self._publish(f"{topic}/rejected", {"message": str(error)})
            return str(error)
        self._publish(f"{topic}/accepted", answer)
        return ""


def _document(form: str, correlation: str) -> Body:
    """The job document, in the three forms that devices meet. Raises ValueError."""
    if form not in FORMS:
        raise ValueError(f"{form} is none of {', '.join(FORMS)}")
    topics = {
        action: {
            "subscribe": f"cdf/certificates/{{thingName}}/{action}/+",
            "publish": f"cdf/certificates/{{thingName}}/{action}",
        }
        for action in ("get", "ack")
    }
    if form == "readme":
        return {"operation": "RotateCertificates", **topics}
    if form == "installer":  # its helper fills in nonsense; a device must not publish there
        bad = {action: f"cdf/certificates/+/{action}//+///{{thingName}}//" for action in topics}
        topics = {action: {"subscribe": f"{place}+", "publish": place[:-1]} for action, place in bad.items()}
    return {"name": "RotateCertificates", "correlationId": correlation, "payload": json.dumps(topics)}
