"""`agent identity import FILE`: a hub that ran AWS's hub SDK goes on with what its `iotmi_config.json` says.

Everything is checked before anything is written: the file, the claim, the pair, and the configuration as it will be. Then the pair is
kept, and last the drop-in is written; a power cut between the two is mended by the same command again.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.client import Client, NotRunningError
from agent.errors import ConfigError, HubError, PermissionDeniedError
from agent.files import as_owner, make_folder, write_atomic
from agent.identity import copies
from agent.identity import iotmi_config as form
from agent.identity.certificates import check, with_line_breaks
from agent.identity.hub_identity import HubIdentity
from agent.identity.iotmi_config import IotmiConfig, IotmiConfigError
from agent.identity.pairs import import_pair, public_key_of
from agent.settings import DEFAULT_PATH, Settings, load

DROP_IN = "50-iotmi.toml"
SOURCE = "iotmi"
LARGEST_PEM = 65536  # bytes
_ESCAPED = "write real line breaks where it has the two characters \\n: sed -i 's/\\\\n/\\n/g' FILE"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM, and what the hub is by them."""

    certificate: str
    key: str
    thing: str
    client_id: str
    place: str  # of the key


def import_file(file: Path, config: Path | None, env: Mapping[str, str], uplink: str = "") -> dict[str, Any]:
    """Take over what `file` says; `uplink` names the uplink, by default the only one, or "main".

    Returns `{"file", "drop_in", "written", "uplink", "keys", "identity", "notes", "restart"}`: `written` is false when the drop-in was
    there already, `identity` is null or `{"thing", "certificate_id", "slot"}`. Raises IotmiConfigError with the JSON path of each problem,
    ConfigError, CertificateTroubleError, KeyTroubleError, PermissionDeniedError, TryAgainError.
    """
    file = file.absolute()
    told = form.read(_content(file), str(file))
    pair = _pair(told, file)
    claim = _claim(told, file, needed=pair is None)
    main = config or DEFAULT_PATH
    name = uplink or _uplink(load(config, env, deep=False))
    keys = _keys(told, file, name, claim=claim)
    drop_in, content = main.parent / "conf.d" / DROP_IN, _toml(keys, file)
    settings = load(config, env, drafts={drop_in: content})
    _in_force(settings, keys, name)
    written = not drop_in.exists() or drop_in.read_bytes() != content
    if written:
        _may_write(drop_in)
    identity = _take(settings, pair) if pair is not None else None
    if written:
        _write(drop_in, content)
    elif identity is not None and identity["tried"]:
        _try_now(settings)
    return {
        "file": str(file),
        "drop_in": str(drop_in),
        "written": written,
        "uplink": name,
        "keys": {".".join(path): value for path, value in keys.items()},
        "identity": identity,
        "notes": [*_notes(settings, told, pair, claim=claim)],
        "restart": written and _runs(settings),
    }


# ---- what the file names --------------------------------------------------------------------------------------------------


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        remedy = "name the iotmi_config.json of AWS's hub SDK, as a user who may read it"
        raise IotmiConfigError(f"cannot be read: {error.strerror}", place=str(file), remedy=remedy) from error


def _pem(path: str, place: str) -> str:
    """The text of a file that the JSON path `place` names."""
    remedy = "correct the path, or copy the file there; root may read what others may not"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise IotmiConfigError(f"{path} cannot be read: {error.strerror}", place=place, remedy=remedy) from error
    if len(content) > LARGEST_PEM:
        raise IotmiConfigError(f"{path} is too large for a PEM file", place=place, remedy=remedy)
    return content.decode("ascii", "replace")


def _pair(told: IotmiConfig, file: Path) -> Pair | None:
    """The pair of a hub that is provisioned, checked as far as it can be without a clock."""
    rw, at = told.rw, f"{file}: rw."
    if rw.iot_provisioning_state != form.PROVISIONED or rw.hidden:
        return None
    certificate = _pem(rw.iot_permanent_cert_path, f"{at}iot_permanent_cert_path")
    key = with_line_breaks(_pem(rw.iot_permanent_pk_path, f"{at}iot_permanent_pk_path"))[0]
    public = _at(f"{at}iot_permanent_pk_path", lambda: public_key_of(key))
    _at(f"{at}iot_permanent_cert_path", lambda: check(certificate, public, None))
    return Pair(certificate, key, rw.managed_thing_id, rw.client_id, rw.iot_permanent_pk_path)


def _claim(told: IotmiConfig, file: Path, *, needed: bool) -> bool:
    """Whether there is a claim; it is checked where it is files. Raises IotmiConfigError."""
    ro, at = told.ro, f"{file}: ro."
    if ro.iot_claim_cert_path == form.SECURE_STORAGE:
        if not needed:
            return False
        remedy = (
            "write the claim certificate and its key (CreateProvisioningProfile) to two PEM files, and name them here"
        )
        raise IotmiConfigError(
            f"{form.SECURE_STORAGE}: only AWS's SDK can read it", place=f"{at}iot_claim_cert_path", remedy=remedy
        )
    certificate = _pem(ro.iot_claim_cert_path, f"{at}iot_claim_cert_path")
    key = _pem(ro.iot_claim_pk_path, f"{at}iot_claim_pk_path")
    for name, text in (("iot_claim_cert_path", certificate), ("iot_claim_pk_path", key)):
        if with_line_breaks(text)[1]:
            path = getattr(ro, name)
            remedy = _ESCAPED.replace("FILE", path)
            raise IotmiConfigError(f"{path} has \\n where lines end", place=f"{at}{name}", remedy=remedy)
    public = _at(f"{at}iot_claim_pk_path", lambda: public_key_of(key))
    _at(f"{at}iot_claim_cert_path", lambda: check(certificate, public, None))
    return True


def _at(place: str, what: Any) -> Any:
    """Its answer; an error gets the JSON path."""
    try:
        return what()
    except HubError as error:
        raise IotmiConfigError(error.message, place=place, remedy=error.remedy) from error


# ---- the configuration ----------------------------------------------------------------------------------------------------


def _uplink(settings: Settings) -> str:
    names = [name for name, told in settings.uplinks.items() if told.dialect == "managed-integrations"]
    return names[0] if len(names) == 1 else "main"


def _keys(told: IotmiConfig, file: Path, uplink: str, *, claim: bool) -> dict[tuple[str, ...], str | int]:
    ro = told.ro
    identity: dict[str, str | int] = {
        "serial": ro.SN,
        "product_code": ro.UPC or ro.EAN,
        "template": ro.fp_template_name,
        "iotmi_config": str(file),
    }
    if claim:
        identity |= {"claim_certificate": ro.iot_claim_cert_path, "claim_key": ro.iot_claim_pk_path}
    connection: dict[str, str | int] = {"host": ro.endpoint_url, "keep_alive": ro.mqtt_keep_alive_interval}
    return {("identity", key): value for key, value in identity.items()} | {
        ("uplinks", uplink, key): value for key, value in connection.items()
    }


def _toml(keys: Mapping[tuple[str, ...], str | int], file: Path) -> bytes:
    """JSON's strings and numbers are TOML's too, but for what is not ASCII."""
    lines = [f"# Written by `agent identity import` from {json.dumps(str(file), ensure_ascii=False)}."]
    table: tuple[str, ...] = ()
    for path, value in keys.items():
        if path[:-1] != table:
            table = path[:-1]
            lines.append(f"[{'.'.join(table)}]")
        lines.append(f"{path[-1]} = {json.dumps(value, ensure_ascii=False)}")
    return ("\n".join(lines) + "\n").encode()


def _in_force(settings: Settings, keys: Mapping[tuple[str, ...], str | int], uplink: str) -> None:
    """Nothing that comes after the drop-in, and nothing beside it, has the last word. Raises ConfigError."""
    if not settings.uplinks[uplink].takes_identity:
        remedy = "remove its certificate or username and set tls = true, or name another with --uplink"
        raise ConfigError("the uplink does not take the hub's certificate", place=f"uplinks.{uplink}", remedy=remedy)
    for path, value in keys.items():
        section: Any = settings
        for name in path:
            section = section[name] if isinstance(section, dict) else getattr(section, name)
        if section != value:
            key = ".".join(path)
            place = settings.origins.get(key, key)
            remedy = "remove it there, so that the imported value counts"
            raise ConfigError(f"{key} is set to another value after {DROP_IN}", place=place, remedy=remedy)


def _may_write(drop_in: Path) -> None:
    folder = drop_in.parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionDeniedError("cannot be written", place=str(folder), remedy="run it with sudo")


def _write(drop_in: Path, content: bytes) -> None:
    try:
        make_folder(drop_in.parent, 0o755)
        write_atomic(drop_in, content, mode=0o644)  # as agent.toml: the hub's user reads it, it has no secrets
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        raise PermissionDeniedError(text, place=str(drop_in), remedy="free the disk, or run it with sudo") from error


# ---- the identity ---------------------------------------------------------------------------------------------------------


def _take(settings: Settings, pair: Pair) -> dict[str, Any]:
    with as_owner(settings.hub.state_dir):  # root writes the configuration, but the keys are the hub's user's
        slots = HubIdentity(settings).slots
        if not Path(pair.place).resolve().is_relative_to(settings.hub.state_dir.resolve()):
            copies.note(slots.folder, Path(pair.place))
        held = import_pair(slots, pair.certificate, pair.key, pair.thing, {"clientId": pair.client_id}, SOURCE)
        slots.tell()
        record = slots.record
    slot = record.candidate if record.candidate and record.held[record.candidate] == held else record.current
    return {"thing": held.thing, "certificate_id": held.certificate_id, "slot": slot, "tried": slot == record.candidate}


def _notes(settings: Settings, told: IotmiConfig, pair: Pair | None, *, claim: bool) -> Iterator[str]:
    """What a person should know, or do."""
    if pair is not None and not Path(pair.place).is_relative_to(settings.hub.state_dir):
        yield f"{pair.place} is still a copy of the private key: delete it once the hub works; a factory reset does it too"
    if told.rw.hidden and HubIdentity(settings).current() is None:
        yield f"the certificate is in {form.SECURE_STORAGE}, which only AWS's SDK can read: the hub is provisioned anew"
    if not claim:
        yield "the claim is not imported: set identity.claim_certificate and claim_key, so that the hub can be provisioned again"
    if settings.hub.onboarding == "local":
        yield 'hub.onboarding is "local": set it to "cloud", if your cloud names the devices'


def _try_now(settings: Settings) -> None:
    """By the daemon, which knows the configuration already; where there is none, at its start. Raises HubError when it is refused."""
    try:
        last = [*Client(settings.hub.runtime_dir).stream("rotate", {})][-1]
    except NotRunningError:
        return
    if last["what"] != "rotated":
        raise HubError(last["error"], remedy=last["remedy"])


def _runs(settings: Settings) -> bool:
    try:
        Client(settings.hub.runtime_dir).get("status")
    except NotRunningError:
        return False
    except HubError:
        return True  # it is there, and does not answer
    return True
