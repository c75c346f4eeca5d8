"""What no key alone can tell: files, folders, and keys that contradict each other. Reads the file system, changes nothing."""

import os
import pwd
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic_core import PydanticCustomError

from agent.errors import install_extra
from agent.requests import LOCAL
from agent.settings import values
from agent.settings.model import IdentitySettings, OtaSettings, Settings, TufSettings, UplinkSettings
from agent.settings.secret import check_private
from agent.settings.toml_keys import KeyPath

_DEVICE = re.compile(r"[0-9A-Za-z:_-]{0,128}")
SHORTEST_SEAL = 32  # characters: 128 bits in hexadecimal digits, 192 in base64


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the key at `path`; `rests_on` are the other keys that led to it."""

    path: KeyPath
    reason: str
    remedy: str
    rests_on: tuple[KeyPath, ...] = ()


def check(settings: Settings, credentials: Path | None, *, raw_gatt: bool = False) -> Iterator[Finding]:
    """Everything that makes `settings` unusable on this machine. `raw_gatt`: one of the radios speaks it."""
    yield from _folder(settings.hub.state_dir)
    for name, uplink in settings.uplinks.items():
        if name == LOCAL:
            reason = "what is asked for on this machine goes by that name, and no answer to it goes to a cloud"
            yield Finding(("uplinks", name), reason, "give the uplink another name")
        yield from _transport(("uplinks", name), uplink)
        yield from _gateway(("uplinks", name, "gateway"), uplink, raw_gatt=raw_gatt)
        yield from _files(("uplinks", name), uplink, credentials)
    yield from _key_store(settings.identity)
    yield from _claim(settings)
    names = ("claim_certificate", "claim_key", "ca_certificate", "ca_key", "est_ca")
    yield from _files(("identity",), settings.identity, credentials, names)
    yield from _files(("ota",), settings.ota, credentials, ("root",))
    yield from _files(("ota", "tuf"), settings.ota.tuf, credentials, ("root",))
    yield from _kept_in_step(settings.identity)
    yield from _same_session(settings)
    yield from _same_port(settings)


def _folder(folder: Path) -> Iterator[Finding]:
    path = ("hub", "state_dir")
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        yield Finding(path, f"{existing} is not a folder", "name a folder")
    elif not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"run as the service's user, or: chown {_user()} {existing}"
        yield Finding(path, f"{existing} cannot be written by user {_user()}", remedy)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _transport(path: KeyPath, uplink: UplinkSettings) -> Iterator[Finding]:
    if uplink.calls and uplink.dialect != "nrf-cloud":
        reason = f"{uplink.dialect} needs a connection"
        yield Finding((*path, "transport"), reason, 'set it to "mqtt"', ((*path, "dialect"),))
    if uplink.transport == "coap":
        yield from _coap(path, uplink)
    if not uplink.tls and not values.is_loopback(uplink.host):
        remedy = "set tls = true, or use a broker on this machine (127.0.0.1, ::1, localhost)"
        reason = f"without TLS everyone on the way to {uplink.host} reads and sends commands"
        yield Finding((*path, "tls"), reason, remedy, ((*path, "host"),))
    if uplink.dialect == "nrf-cloud" and not _DEVICE.fullmatch(uplink.client_id):
        yield Finding(
            (*path, "client_id"),
            "is no device id of nRF Cloud",
            "1 to 128 of the characters 0-9 A-Z a-z : _ -, as the device was onboarded; without it the hub's id is used",
            ((*path, "dialect"),),
        )
    if uplink.key and not uplink.certificate:
        yield Finding(
            (*path, "key"), "a private key without its certificate", "give `certificate` too", ((*path, "certificate"),)
        )
    if uplink.password and not uplink.username:
        yield Finding(
            (*path, "password"), "a password without a user name", "give `username` too", ((*path, "username"),)
        )


def _gateway(path: KeyPath, uplink: UplinkSettings, *, raw_gatt: bool) -> Iterator[Finding]:
    if uplink.gateway == "off":
        return
    if uplink.transport != "mqtt" or uplink.dialect != "nrf-cloud":
        reason = "only an uplink to nRF Cloud over MQTT has operations for BLE devices"
        yield Finding(path, reason, 'set it to "off"', ((*path[:-1], "dialect"), (*path[:-1], "transport")))
    elif not raw_gatt:
        yield Finding(
            path, "there is no radio for BLE devices", 'add a [radios.ble], or set it to "off"', (("radios",),)
        )


def _coap(path: KeyPath, uplink: UplinkSettings) -> Iterator[Finding]:
    rests_on = ((*path, "transport"),)
    try:
        values.coap_place(uplink.service)
    except PydanticCustomError as error:
        yield Finding((*path, "url"), str(error), str((error.context or {}).get("remedy")), rests_on)
    missing = [name for name in ("aiocoap", "OpenSSL", "cbor2") if find_spec(name) is None]
    if missing:
        yield Finding((*path, "transport"), f"{missing[0]} is not installed", install_extra("coap"))


def _key_store(told: IdentitySettings) -> Iterator[Finding]:
    """Each store needs parts of its own."""
    rests_on = (("identity", "store"),)
    needs = {"sealed": ("seal",), "pkcs11": ("pkcs11_module", "pkcs11_token", "pin")}.get(told.store, ())
    for name in needs:
        if not getattr(told, name):
            remedy = f"give `{name}`, or take another store"
            yield Finding(("identity", "store"), f"{told.store} needs `{name}`", remedy, (("identity", name),))
    if told.store == "sealed" and 0 < len(told.seal.reveal()) < SHORTEST_SEAL:
        text = f"shorter than {SHORTEST_SEAL} characters: it can be guessed"
        yield Finding(
            ("identity", "seal"), text, "make it of 32 random bytes: head -c 32 /dev/urandom | base64", rests_on
        )
    if told.store == "pkcs11":
        if told.pkcs11_module and not Path(told.pkcs11_module).is_file():
            remedy = "name the PKCS #11 library that came with the token, for example of the package opensc or softhsm2"
            yield Finding(("identity", "pkcs11_module"), f"{told.pkcs11_module} is not there", remedy, rests_on)
        if find_spec("pkcs11") is None:
            yield Finding(("identity", "store"), "python-pkcs11 is not installed", install_extra("pkcs11"))
    if told.store == "tpm":
        if shutil.which("openssl") is None:
            yield Finding(("identity", "store"), "there is no command openssl", "apt-get install openssl tpm2-openssl")
        if not told.tpm_tcti and not Path("/dev/tpmrm0").exists():
            remedy = "switch the TPM on in the firmware, or name another one in `tpm_tcti`"
            yield Finding(("identity", "store"), "there is no TPM: /dev/tpmrm0 is not there", remedy)


def _claim(settings: Settings) -> Iterator[Finding]:
    """A claim needs all of its parts."""
    told = settings.identity
    parts = ("claim_certificate", "claim_key", "template", "serial")
    missing = [name for name in parts if not getattr(told, name)]
    if missing and len(missing) < len(parts) and told.claim_certificate:
        for name in missing:
            yield Finding(
                ("identity", name), "a claim certificate without this", f"give `{name}` too", (("identity", parts[0]),)
            )


def _kept_in_step(told: IdentitySettings) -> Iterator[Finding]:
    """The file of AWS's hub SDK is replaced when the hub's identity changes; it is made where there is none."""
    path = ("identity", "iotmi_config")
    if not told.iotmi_config:
        return
    file = Path(told.iotmi_config).resolve()
    if os.path.lexists(file) and not file.is_file():
        yield Finding(path, f"{file} is not a regular file", "name iotmi_config.json")
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        remedy = f"chown {_user()} {file.parent}, and ReadWritePaths={file.parent} in the unit; or leave the key out"
        yield Finding(path, f"{file.parent} is no folder that user {_user()} can write", remedy)


def _files(
    path: KeyPath,
    section: UplinkSettings | IdentitySettings | OtaSettings | TufSettings,
    credentials: Path | None,
    names: tuple[str, ...] = ("ca", "certificate", "key"),
) -> Iterator[Finding]:
    for name in names:
        given = getattr(section, name)
        if not given:
            continue
        file = Path(given)
        try:
            status = file.stat()
            if name.endswith("key"):
                check_private(file, status, credentials)
        except OSError as error:
            reason = f"{file} cannot be read: {error.strerror}"
            yield Finding((*path, name), reason, "check the path and the folders above it")
        except PydanticCustomError as error:
            yield Finding((*path, name), str(error), str((error.context or {}).get("remedy") or "name a PEM file"))
        else:
            if not file.is_file():
                yield Finding((*path, name), f"{file} is not a regular file", "name a file")
            elif not os.access(file, os.R_OK):
                yield Finding((*path, name), f"{file} cannot be read by user {_user()}", f"chown {_user()} {file}")


def _same_session(settings: Settings) -> Iterator[Finding]:
    seen: dict[tuple[str, int, str], str] = {}
    for name, uplink in settings.uplinks.items():
        if uplink.calls:
            continue
        first = seen.setdefault((uplink.host.lower(), uplink.port, uplink.client_id or settings.hub.id), name)
        if first != name:
            reason = f"the same broker and client id as uplinks.{first}: each would throw the other out"
            yield Finding(("uplinks", name), reason, "give one of them another client_id", (("uplinks", first),))


def _same_port(settings: Settings) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, radio in settings.radios.items():
        if radio.port == "auto":
            continue
        first = seen.setdefault(os.path.realpath(radio.port) if radio.port.startswith("/") else radio.port, name)
        if first != name:
            yield Finding(
                ("radios", name, "port"),
                f"the same port as radios.{first}",
                "each stick serves one radio",
                (("radios", first, "port"),),
            )
