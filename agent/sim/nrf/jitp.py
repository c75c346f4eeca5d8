"""Just-in-time provisioning with a certificate of the cloud's own authority (CreateDeviceCertificate). PURE.

A certificate that was issued is nothing yet: its first connection, over MQTT or to `/topics/jitp`, is ended without an answer and has the
device made, a moment later; then its ownership code associates it (protocol notes, section 2.8). The code is the certificate's
dnQualifier.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from agent.sim.authority import Authority, fingerprint, pem_of
from agent.sim.nrf.answers import BAD_REQUEST, NrfError
from agent.sim.records import Record, Records

ISSUED = "nrf-issued"


class Meeting(Enum):
    """How a certificate is met."""

    STRANGER = auto()
    FIRST = auto()
    KNOWN = auto()


class Jitp:
    """Issued certificates in the records of kind `nrf-issued`, by fingerprint. `onboard(device, body, code)` makes the device."""

    def __init__(
        self, records: Records, authority: Authority, onboard: Callable[[str, dict[str, Any], str], None]
    ) -> None:
        self._records, self._authority, self._onboard = records, authority, onboard

    def issue(self, device: str, code: str) -> dict[str, str]:
        """CreateDeviceCertificate: a key and a certificate made here. Raises NrfError for a device that is there already."""
        if self._records.get("nrf-device", device) is not None:
            raise NrfError(BAD_REQUEST, "the device is onboarded already")
        certificate, key = self._authority.issue_with_key(device, qualifier=code)
        made = {"device": device, "certificate": certificate, "ownership": code, "met": False}
        self._records.put(ISSUED, fingerprint(certificate), made)
        authority = self._authority.certificate_path.read_text(encoding="ascii")
        return {"clientId": device, "caCert": authority, "clientCert": certificate + authority, "privateKey": key}

    def issued(self, device: str) -> Record | None:
        """The first certificate that waits for its device to connect."""
        return next((held for held in self._records.all(ISSUED) if held["device"] == device), None)

    def meet(self, certificate: bytes) -> Meeting:
        """A client has come to `/topics/jitp` with this certificate (DER)."""
        identifier = fingerprint(pem_of(certificate))
        held = self._records.get(ISSUED, identifier)
        if held is not None:
            self._records.put(ISSUED, identifier, {**held, "met": True})
            return Meeting.FIRST
        known = self._records.find("nrf-device", certificateId=identifier)
        return Meeting.STRANGER if known is None else Meeting.KNOWN

    def tick(self) -> None:
        """Make the devices whose certificates have been met; of several certificates for one device the first that came counts."""
        for held in [held for held in self._records.all(ISSUED) if held["met"]]:
            device = held["device"]
            if self._records.get("nrf-device", device) is None:
                self._onboard(device, {"certificate": held["certificate"]}, held["ownership"])
            for other in [entry for entry in self._records.all(ISSUED) if entry["device"] == device]:
                self._records.delete(ISSUED, fingerprint(other["certificate"]))
