"""Keeps `iotmi_config.json` in step with the hub's identity, for what else on the machine reads it.

Its `rw` says what AWS's hub SDK would say: PROVISIONED with ids and paths, or nothing but NOT_PROVISIONED (and the time) after offboarding.
A file that cannot be written costs a line in the log and no connection; the next start tries again.
"""

import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

from agent.clock import plausible
from agent.errors import HubError
from agent.files import write_atomic
from agent.identity import iotmi_config as form
from agent.identity.record import Record, Slot
from agent.settings import Settings

log = logging.getLogger(__name__)

_UPC, _EAN = 12, 13  # digits
_NEW_MODE = 0o644  # it holds no secrets


class IotmiFile:
    """Of the setting identity.iotmi_config; without it nothing happens. `folder`: the hub's identity."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._path = Path(settings.identity.iotmi_config) if settings.identity.iotmi_config else None

    def follow(self, record: Record) -> None:
        """Bring the file in step with the record. The pair of a hub that has none is another program's: it is left."""
        own, told = self._own(record), self._told()
        ours = Path(told.get("iot_permanent_cert_path", "")).is_relative_to(self._folder)
        if own or ours:
            self._update(own)
        elif told.get("iot_provisioning_state") == form.PROVISIONED:
            log.warning(
                "%s: another program has provisioned this hub; `agent identity import` takes it over", self._path
            )

    def forget(self) -> None:
        """The hub is no more: whosever the pair is."""
        self._update({})

    def _update(self, own: dict[str, str]) -> None:
        if self._path is None:
            return
        path = self._path.resolve()  # a link to the file stays one
        try:
            content, mode = self._content(path)
            before, value = form.parse(content, str(path))
            told = value.get("rw", {})
            if not isinstance(told, dict):
                remedy = "restore it; the hub itself does without it"
                raise form.IotmiConfigError("rw is no object", place=str(path), remedy=remedy)
            wanted = own or {"iot_provisioning_state": form.NOT_PROVISIONED}
            if all(told.get(name) == value for name, value in wanted.items()) and (own or set(told) <= _BARE):
                return
            now = plausible(time.time())
            after = form.with_rw(before, wanted, None if now is None else int(now), bare=not own)
            write_atomic(path, after.encode(), mode=mode)
        except OSError as error:
            remedy = f"the hub's user needs to write {path.parent} (ReadWritePaths= in the unit)"
            log.error("%s is not in step with the hub's identity: %s; %s", path, error.strerror, remedy)  # noqa: TRY400  no bug
        except HubError as error:
            log.error("the hub's identity is not written there: %s", error.advice)  # noqa: TRY400  no bug

    def _content(self, path: Path) -> tuple[bytes, int]:
        """Content and mode of the file, of a new one where there is none."""
        if os.path.lexists(path):
            return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
        return form.fresh(self._operator()).encode(), _NEW_MODE

    def _own(self, record: Record) -> dict[str, str]:
        """The members of `rw` that are ours; empty without a certificate."""
        held = record.identity
        if held is None or record.current is None:
            return {}
        certificate, key = self._pair(record.current)
        values = (form.PROVISIONED, held.configuration.get("clientId") or held.thing, held.thing, certificate, key)
        return dict(zip(form.OWN, values, strict=True))

    def _pair(self, slot: Slot) -> tuple[str, str]:
        """Paths of certificate and key; a key that is no file of its own has none, and both count as the handler's."""
        key = self._folder / "keys" / f"hub-{slot}.key"
        if not key.exists():
            return form.SECURE_STORAGE, form.SECURE_STORAGE
        return str(self._folder / f"hub-{slot}.pem"), str(key)

    def _told(self) -> dict[str, str]:
        """The texts of `rw`; empty where there is no file, or none that can be read: that is told when there is something to write."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            rw: Any = form.parse(self._path.read_bytes(), str(self._path))[1].get("rw")
        except (OSError, HubError):
            return {}
        return {name: value for name, value in rw.items() if isinstance(value, str)} if isinstance(rw, dict) else {}

    def _operator(self) -> dict[str, str | int]:
        told = self._settings.identity
        uplink = next((one for one in self._settings.uplinks.values() if one.takes_identity), None)
        code = {_UPC: "UPC", _EAN: "EAN"}.get(len(told.product_code), "")
        return {
            "iot_provisioning_method": "FLEET_PROVISIONING",
            "iot_claim_cert_path": told.claim_certificate or form.SECURE_STORAGE,
            "iot_claim_pk_path": told.claim_key or form.SECURE_STORAGE,
            "fp_template_name": told.template,
            "endpoint_url": uplink.host if uplink else "",
            "SN": told.serial,
            **({code: told.product_code} if code else {}),
            "mqtt_keep_alive_interval": uplink.keep_alive if uplink else 300,
        }


_BARE = frozenset({"iot_provisioning_state", "metadata"})
