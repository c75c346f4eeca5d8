"""AWS IoT Core's services on the broker: fleet provisioning, jobs, shadows, registration of certificates, and the certificate vendor."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent.sim.authority import Authority
from agent.sim.gate.faults import Faults
from agent.sim.iot.jobs import Jobs
from agent.sim.iot.provisioning import Claim, Provisioning
from agent.sim.iot.registration import Registration
from agent.sim.iot.shadows import Shadows
from agent.sim.iot.vendor import CertificateVendor, VendorSettings
from agent.sim.objects import Objects
from agent.sim.records import Records


class IotCore:
    """The services over one account's records; `publish` sends what they say."""

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        publish: Callable[[str, bytes], None],
        authority: Authority,
        objects: Objects,
        claims: tuple[Claim, Callable[[str, str], str]],
        faults: Faults,
    ) -> None:
        self._records, self._send = records, publish
        by_claim, by_registration = claims
        self.provisioning = Provisioning(records, now, publish, authority, by_claim, faults.token_life)
        self.registration = Registration(records, now, publish, by_registration, faults.certificate_life)
        self.jobs = Jobs(records, now, self._tell, objects.presigned)
        self.jobs.executions.throttled = lambda: faults.happens(faults.throttle)
        self.shadows = Shadows(records, now, self._tell)
        settings = VendorSettings(faults.vendor_failures, faults.vendor_retry, bool(faults.vendor_deletes))
        self.vendor = CertificateVendor(records, now, self._tell, authority, self.jobs, objects, settings)

    def _tell(self, topic: str, body: Mapping[str, Any]) -> None:
        self._send(topic, json.dumps(body).encode())

    def hear(self, topic: str, payload: bytes, principal: str) -> bool:
        """A message on a reserved topic; False when it is none. `principal`: the sender's certificate, "" when unknown."""
        with self._records.transaction():
            match topic.split("/"):
                case ["$aws", "certificates" | "provisioning-templates", *_]:
                    self.provisioning.request(topic, payload)
                case ["$aws", "things", thing, "jobs", *words]:
                    self.jobs.executions.request(thing, tuple(words), payload)
                case ["$aws", "things", thing, "shadow", *words]:
                    self.shadows.request(thing, tuple(words), payload)
                case ["cdf", "certificates", thing, "get" | "ack" as action]:
                    self.vendor.request(thing, action, payload, principal)
                case _:
                    return False
        return True

    def forsake(self, thing: str) -> None:
        """A thing is no more: its certificates are not good, and no job waits for it."""
        self.provisioning.revoke(thing)
        self.jobs.forsake(thing)

    def tick(self) -> None:
        """What is due by time."""
        self.jobs.tick()
        self.provisioning.tick()
        self.registration.tick()
        self.vendor.tick()
