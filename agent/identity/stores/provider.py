"""Why this interpreter's OpenSSL has no provider for a device: told by OpenSSL itself, through the library that `ssl` has loaded.

Nothing here changes OpenSSL's state: two questions of its public API (OSSL_PROVIDER_available(3), OPENSSL_info(3)).
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

_MODULES_DIR = 1003  # OPENSSL_INFO_MODULES_DIR of openssl/crypto.h


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider by its name in OpenSSL's configuration: the package it comes with, and the configuration that ships here."""

    name: str
    package: str
    config: str

    def diagnosis(self) -> str:
        """What is missing and what to do; "" where the provider is loaded and the trouble is elsewhere."""
        import ctypes  # noqa: PLC0415  only where something is wrong

        library = _loaded("libcrypto")
        use = f"Environment=OPENSSL_CONF=/etc/hub-agent/{self.config} in the unit (or in the environment that starts Python)"
        if not library:
            return f"{ssl.OPENSSL_VERSION} is built into this Python and loads no providers: run the agent with the distribution's own Python"
        openssl = ctypes.CDLL(library)
        if openssl.OSSL_PROVIDER_available(None, self.name.encode()):
            return ""
        openssl.OPENSSL_info.restype = ctypes.c_char_p
        folder = os.environ.get("OPENSSL_MODULES") or (openssl.OPENSSL_info(_MODULES_DIR) or b"").decode()
        module = Path(folder) / f"{self.name}.so"
        if not module.exists():
            return f"{module} is not there: install {self.package}, then set {use}"
        given = os.environ.get("OPENSSL_CONF", "")
        if not given:
            return f"OpenSSL was not told to load {module}: set {use}"
        return f"OpenSSL has not loaded {module}: check the section of {self.name} in OPENSSL_CONF={given}, and that the device answers"


def _loaded(library: str) -> str:
    """The path of a shared library of this process, "" when there is none of this name."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        path = line.partition("/")[2]
        if path and Path(path).name.startswith(f"{library}.so"):
            return f"/{path}"
    return ""


PKCS11 = Provider(
    "pkcs11", "pkcs11-provider 1.0 or newer (in Debian from 13 on; not in Debian 12)", "openssl-pkcs11.cnf"
)
TPM2 = Provider("tpm2", "tpm2-openssl", "openssl-tpm.cnf")
