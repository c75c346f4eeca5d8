"""Where devices connect: the gate, its server certificate, and the registrations that say whom it lets in."""

from collections.abc import Callable
from pathlib import Path

from agent.files import write_atomic
from agent.sim.authority import Authority, fingerprint
from agent.sim.gate.faults import Faults
from agent.sim.gate.gate import LOOPBACK, Callbacks, Gate
from agent.sim.gate.policy import Presence, Principal
from agent.sim.gate.session import Session, Upstream
from agent.sim.iot.registration import Registration


class Door:
    """The gate over a broker. `refresh` follows the registrations; call it before telling a device that it may come."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        upstream: Upstream,
        faults: Faults,
        heard: Callable[[Session, str, bytes], None],
        present: Callable[[Presence], None],
    ) -> None:
        self._folder, self._authority = folder, authority
        self._registration: Registration | None = None
        self._gate = Gate(upstream, Callbacks(self._admit, heard, present), faults)
        self._trusted: set[str] = set()
        self.operator = folder.parent / "operator.pem", folder.parent / "operator.key"
        self._version = -1

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._gate.port}"

    async def start(self, registration: Registration, port: int = 0) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._registration = registration
        certificate, key = self._authority.issue_with_key("localhost", hosts=("localhost", LOOPBACK))
        paths = self._folder / "server.pem", self._folder / "server.key"
        for path, text in zip(paths, (certificate, key), strict=True):
            write_atomic(path, text.encode())
        registration.operator = self._operator()
        self.refresh()
        await self._gate.start(*paths, port)

    def refresh(self) -> None:
        """Trust who has been registered, drop who counts no more."""
        registration = self._registration
        if registration is None or registration.version == self._version:
            return
        self._version = registration.version
        for pem in registration.trusted(self._authority):
            if pem not in self._trusted:
                self._trusted.add(pem)
                self._gate.trust(pem)
        self._gate.drop(lambda principal: registration.principal(principal.id) is None)

    def _operator(self) -> str:
        """The account owner's own certificate, made once: with it any MQTT client can listen in. Returns its fingerprint."""
        certificate, key = self.operator
        if not (certificate.exists() and key.exists()):
            made = self._authority.issue_with_key("operator")
            write_atomic(certificate, made[0].encode())
            write_atomic(key, made[1].encode())
        return fingerprint(certificate.read_text(encoding="ascii"))

    async def stop(self) -> None:
        await self._gate.stop()

    def _admit(self, certificate: bytes) -> Principal | None:
        return self._registration.admit(certificate) if self._registration else None
