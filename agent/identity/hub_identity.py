"""Who this hub is: its key, its certificate, and how it gets one, from the settings."""

from pathlib import Path

from agent.cloud.mqtt import Endpoint
from agent.cloud.tls import tls_context
from agent.errors import ConfigError
from agent.identity.certificates import KEY, Certificates, Identity
from agent.identity.keys import KeyStore
from agent.identity.provisioning import Claim, Provisioner
from agent.identity.stores import open_keys
from agent.settings import Settings, UplinkSettings

FOLDER = "identity"
_UPC, _EAN = 12, 13  # digits


class HubIdentity:
    """Key and certificate below the state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder: Path = settings.hub.state_dir / FOLDER
        self.keys: KeyStore = open_keys(settings)
        self.certificates = Certificates(self._folder, self.keys)

    def current(self) -> Identity | None:
        return self.certificates.current()

    @property
    def can_claim(self) -> bool:
        """Whether the settings say how to get a certificate."""
        return bool(self._settings.identity.claim_certificate)

    def tls_files(self) -> tuple[str, str]:
        """Certificate and key as TLS takes them."""
        return self.keys.tls_files(KEY, self.certificates.path)

    async def provision(self, uplink: UplinkSettings) -> Identity:
        """Get a certificate at an uplink's broker. Raises what Provisioner.run does, and ConfigError."""
        return await Provisioner(self._folder, self.keys, self.certificates).run(self._claim(uplink))

    def _claim(self, uplink: UplinkSettings) -> Claim:
        told = self._settings.identity
        if not self.can_claim:
            remedy = "set claim_certificate, claim_key, template, serial and product_code"
            raise ConfigError("there is no claim certificate", place="identity", remedy=remedy)
        tls = tls_context(ca=uplink.ca, certificate=told.claim_certificate, key=told.claim_key, alpn=uplink.alpn)
        endpoint = Endpoint(uplink.host, uplink.port, f"claim-{told.serial}", uplink.keep_alive, tls)
        names = {_UPC: "universalProductCode", _EAN: "europeanArticleNumber"}
        code = names.get(len(told.product_code), "")
        parameters = {"deviceSerialNumber": told.serial, **({code: told.product_code} if code else {})}
        return Claim(endpoint, told.template, told.serial, parameters)
