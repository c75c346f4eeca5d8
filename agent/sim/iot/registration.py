"""Which certificates may connect and as what: devices, claim certificates, devices of nRF Cloud, and just-in-time registration (JITR).

JITR: AWS IoT developer guide, "Register a client certificate when the client connects to AWS IoT". The first connection with an unknown
certificate of a registered CA makes it PENDING_ACTIVATION and is refused; a rule that listens to the event then activates it. Here that
rule is the cloud itself: the certificate's common name is the serial number of a managed thing that waits.
"""

import json
from collections.abc import Callable, Iterator

from agent.sim.authority import Authority, common_name, fingerprint, issued_by, pem_of
from agent.sim.gate.policy import Policy, Principal, claim_policy, device_policy, nrf_policy
from agent.sim.iot.provisioning import ACTIVE, PENDING
from agent.sim.records import Record, Records

OPERATOR = Policy(publish=(), subscribe=("#", "$aws/#"))
_KINDS = ("certificate", "profile", "nrf-device", "nrf-leaving")


class Registration:
    """Certificates in the records of kind `certificate`, by fingerprint. `claim(serial, certificate)` names the thing, "" for none."""

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        publish: Callable[[str, bytes], None],
        claim: Callable[[str, str], str],
        life: float,
    ) -> None:
        self._records, self._now, self._publish, self._claim, self._life = records, now, publish, claim, life
        self.operator = ""  # certificate of the account's owner, who hears everything and says nothing

    @property
    def version(self) -> int:
        """Another number once `admit` or `trusted` may answer otherwise."""
        return sum(self._records.changes(kind) for kind in _KINDS)

    def trusted(self, own: Authority) -> Iterator[str]:
        """The certificates that a client's must be or be signed by, PEM."""
        yield own.certificate_path.read_text(encoding="ascii")
        for profile in self._records.all("profile"):
            if "CaCertificate" in profile:
                yield profile["CaCertificate"]
        for device in self._records.all("nrf-device"):
            if device.get("certificate"):
                yield device["certificate"]

    def principal(self, identifier: str) -> Principal | None:
        """Who a certificate (its SHA-256, hex) belongs to; None when it is not active."""
        if identifier == self.operator:
            return Principal(identifier, "operator", OPERATOR)
        held = self._records.get("certificate", identifier)
        if held is not None:
            return self._device(held)
        profile = self._records.find("profile", claimId=identifier)
        if profile is not None:
            return Principal(identifier, profile["Name"], claim_policy(profile["Name"]))
        device = self._records.find("nrf-device", certificateId=identifier) or self._records.get(
            "nrf-leaving", identifier
        )
        if device is not None:  # one that is not associated waits for it
            policy = nrf_policy(device["id"], device["prefix"], gateway=device["type"] == "Gateway")
            return Principal(identifier, device["id"], policy, nrf=True)
        return None

    def _device(self, held: Record) -> Principal | None:
        if held["status"] != ACTIVE:
            return None
        expires = held["activatedAt"] + self._life if self._life else float("inf")
        return Principal(held["Id"], held["thing"], device_policy(held["thing"]), expires)

    def admit(self, certificate: bytes) -> Principal | None:
        """The principal of a certificate (DER). An unknown one of a JITR profile's CA is registered, and refused this time."""
        pem = pem_of(certificate)
        identifier = fingerprint(pem)
        found = self.principal(identifier)
        if found is None:
            with self._records.transaction():
                self._register(identifier, pem)
        return found

    def _register(self, identifier: str, pem: str) -> None:
        issued = self._records.get("nrf-issued", identifier)
        if issued is not None:  # nRF Cloud's JITP makes the device; this connection is ended
            self._records.put("nrf-issued", identifier, {**issued, "met": True})
            return
        held = self._records.get("certificate", identifier)
        if held is None:
            profiles = (entry for entry in self._records.all("profile") if "CaCertificate" in entry)
            profile = next((entry for entry in profiles if issued_by(pem, entry["CaCertificate"])), None)
            if profile is None:
                return
            held = {
                "Id": identifier,
                "pem": pem,
                "commonName": common_name(pem),
                "status": PENDING,
                "registeredAt": self._now(),
                "ca": fingerprint(profile["CaCertificate"]),
            }
            self._records.put("certificate", identifier, held)
        if held["status"] == PENDING and "ca" in held:
            self._tell(held)

    def _tell(self, held: Record) -> None:
        event = {
            "certificateId": held["Id"],
            "caCertificateId": held["ca"],
            "timestamp": int(self._now() * 1000),
            "certificateStatus": PENDING,
            "awsAccountId": "123456789012",
            "certificateRegistrationTimestamp": str(int(held["registeredAt"] * 1000)),
        }
        self._publish(f"$aws/events/certificates/registered/{held['ca']}", json.dumps(event).encode())

    def tick(self) -> None:
        """Activate what has registered itself and is expected."""
        for held in list(self._records.all("certificate", status=PENDING)):
            thing = self._claim(held["commonName"], held["pem"]) if "ca" in held else ""
            if thing:
                active = {**held, "status": ACTIVE, "thing": thing, "activatedAt": self._now()}
                self._records.put("certificate", held["Id"], active)
