"""Who this hub is: its slots, and where its certificates come from, from the settings."""

from collections.abc import Callable
from pathlib import Path

from agent.cloud.mqtt import Endpoint
from agent.cloud.tls import tls_context
from agent.errors import ConfigError
from agent.identity.iotmi_file import IotmiFile
from agent.identity.keys import KeyStore, Subject
from agent.identity.local_ca import LocalAuthority
from agent.identity.provisioning import Claim, FleetProvisioning
from agent.identity.record import Held
from agent.identity.slots import Slots
from agent.identity.sources import Source, fetch
from agent.identity.stores import open_keys
from agent.settings import Settings, UplinkSettings

FOLDER = "identity"
_UPC, _EAN = 12, 13  # digits


class HubIdentity:
    """Keys and certificates below the state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder: Path = settings.hub.state_dir / FOLDER
        self.keys: KeyStore = open_keys(settings)
        self.slots = Slots(self.folder, self.keys, kind=settings.identity.key_type)
        self.iotmi = IotmiFile(settings, self.folder)
        self.slots.on_record.append(self.iotmi.follow)

    def current(self) -> Held | None:
        """What the hub is now. Raises CertificateTroubleError."""
        return self.slots.record.identity

    @property
    def subject(self) -> Subject:
        """What the hub asks its certificates for."""
        told, current = self._settings.identity, self.current()
        name = told.serial or (current.thing if current else "") or self._settings.hub.id or "hub"
        return Subject(name, self._names)

    @property
    def _names(self) -> dict[str, str]:
        return {str(part): value for part, value in self._settings.identity.subject.items()}

    @property
    def can_claim(self) -> bool:
        """Whether the settings say how the hub gets its first certificate by itself."""
        return self._kind() in ("claim", "local-ca", "est")

    def source(self, uplink: UplinkSettings) -> Source | None:
        """Where certificates come from by themselves; None: somebody brings them, or a job asks for them."""
        told = self._settings.identity
        match self._kind():
            case "claim":
                return FleetProvisioning(self.folder, self._claim(uplink))
            case "local-ca":
                return LocalAuthority(Path(told.ca_certificate), Path(told.ca_key), told.ca_days, self.subject)
            case "est":
                from agent.identity.est import Est, EstServer  # noqa: PLC0415  aiohttp is not read by hubs without EST

                return Est(EstServer(told.est, told.est_ca, told.est_username, told.est_password), self.subject)
        return None

    async def provision(
        self, uplink: UplinkSettings, reason: str, told: Callable[[str], None] = lambda _text: None
    ) -> Held:
        """Get a certificate. Raises what the source does, CertificateTroubleError, and ConfigError without a source."""
        source = self.source(uplink)
        if source is None:
            remedy = "set claim_certificate, claim_key, template, serial and product_code, or another source"
            raise ConfigError("there is no source of certificates", place="identity", remedy=remedy)
        return await fetch(self.slots, source, reason, told=told)

    def _kind(self) -> str:
        told = self._settings.identity
        if told.source != "auto":
            return told.source
        return (
            "claim" if told.claim_certificate else "est" if told.est else "local-ca" if told.ca_certificate else "none"
        )

    def _claim(self, uplink: UplinkSettings) -> Claim:
        told = self._settings.identity
        tls = tls_context(ca=uplink.ca, certificate=told.claim_certificate, key=told.claim_key, alpn=uplink.alpn)
        endpoint = Endpoint(uplink.host, uplink.port, f"claim-{told.serial}", uplink.keep_alive, tls)
        names = {_UPC: "universalProductCode", _EAN: "europeanArticleNumber"}
        code = names.get(len(told.product_code), "")
        parameters = {"deviceSerialNumber": told.serial, **({code: told.product_code} if code else {})}
        own_key = told.key_origin == "hub"
        return Claim(endpoint, told.template, Subject(told.serial, self._names), parameters, own_key=own_key)
