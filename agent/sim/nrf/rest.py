"""nRF Cloud's REST API: who asks (an API key or a device's token), what for, and the device records behind it.

Paths and statuses: the API's description and protocol notes, sections 1 and 6.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from agent.files import write_atomic
from agent.sim.authority import Authority
from agent.sim.exchange import Answer, Ask
from agent.sim.iot.shadows import ShadowError, Shadows
from agent.sim.nrf.answers import (
    BAD_OWNERSHIP,
    BAD_REQUEST,
    DENIED,
    INTERNAL,
    INVALID,
    NOT_CONNECTED,
    NOT_FOUND,
    NrfError,
    answer,
    json_body,
    object_body,
    refusal,
)
from agent.sim.nrf.device_list import DeviceList
from agent.sim.nrf.devices import ACCOUNT, Devices
from agent.sim.nrf.firmwares import Firmwares
from agent.sim.nrf.fota import Fota, shown
from agent.sim.nrf.fota_api import FotaApi
from agent.sim.nrf.fota_jobs import FotaJobs
from agent.sim.nrf.gateway_api import GatewayApi
from agent.sim.nrf.gateways import Gateways
from agent.sim.nrf.identities import Identities
from agent.sim.nrf.jitp import Jitp
from agent.sim.nrf.location import Location
from agent.sim.nrf.location_api import LocationApi
from agent.sim.nrf.mqtt import NrfMqtt
from agent.sim.nrf.onboarding import TAG, Onboarding, ownership
from agent.sim.nrf.provisioning import Provisioning
from agent.sim.objects import Objects
from agent.sim.records import Record, Records

log = logging.getLogger(__name__)

PGPS = "nrf-pgps"


class NrfCloud:
    """The account of nRF Cloud. `api_key` is the account's; `publish` sends to devices over MQTT."""

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        objects: Objects,
        authority: Authority,
        shadows: Shadows,
        api_key: str,
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._records, self._objects = records, objects
        self._api_key = api_key
        self._fota = Fota(records, now)
        firmwares = Firmwares(records, objects, self._write)
        self._jobs = FotaApi(firmwares, FotaJobs(records, now, objects, firmwares, self._fota))
        self.devices = Devices(records, now, shadows, self._fota)
        self._list = DeviceList(self.devices)
        self._onboarding = Onboarding(records, now, self._write_openly, self.devices.pair)
        self.jitp = Jitp(records, authority, self._onboarding.one)
        self.identities = Identities(records)
        self.provisioning = Provisioning(records, now, self.identities, self._take_key, self._give_up)
        gateways = Gateways(records, self.devices, publish)
        self._gateways = GatewayApi(self.devices, gateways)
        self.location = Location(records, now, self._write_predictions)
        self.devices.kept = self.location.heard
        self._location = LocationApi(self.location, self.devices.tagged)
        self.mqtt = NrfMqtt(self.devices, gateways, self.location, shadows, publish)

    def tick(self) -> None:
        """What is due by time."""
        with self._records.transaction():
            self._onboarding.tick()
            self.jitp.tick()
            self.devices.tick()

    def _take_key(self, device: str, key: str) -> None:
        """A device has made a key for the cloud: it is onboarded, or its key is replaced."""
        if self.devices.is_known(device):
            self._records.put("nrf-key", device, {"key": key})
        else:
            self._onboarding.one(device, {"certificate": key})

    def _give_up(self, device: str) -> None:
        self._records.delete("nrf-key", device)
        self._forget(device)

    def _forget(self, device: str) -> None:
        found = self._records.get("nrf-device", device)
        if found is not None:
            self.mqtt.forsake(found)
            self.devices.forget(found)

    def send(self, device: str, message: Any) -> Answer:
        """Send a message to a device as the account."""
        body = json.dumps({"topic": f"d/{device}/c2d", "message": message}).encode()
        headers = {"authorization": f"Bearer {self._api_key}"}
        return self.handle(Ask("POST", f"/v1/devices/{quote(device, safe='')}/messages", headers=headers, body=body))

    def enrol(self, device: str, key: str) -> Answer:
        """Tell the provisioning service the identity key of a device, as its maker does."""
        try:
            self.identities.enrol(device, key)
        except NrfError as error:
            return refusal(error)
        return answer(204)

    def _write_openly(self, bucket: str, name: str, content: bytes) -> str:
        """The URL of what anybody may fetch."""
        return self._objects.address(self._write(bucket, name, content))

    def _write_predictions(self, name: str, content: bytes) -> dict[str, str]:
        return self._objects.host_and_path(self._write(PGPS, name, content))

    def _write(self, bucket: str, key: str, content: bytes) -> str:
        """The s3:// URL of what is written."""
        path: Path = self._objects.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
        return f"s3://{bucket}/{key}"

    def handle(self, ask: Ask) -> Answer:
        """Answer one request."""
        try:
            who = self._who(ask)
            words = tuple(unquote(word) for word in ask.path.removeprefix("/v1").strip("/").split("/"))
            with self._records.transaction():
                return (
                    self._of_parts(who, ask, words)
                    or self._location.answer(who, ask, words)
                    or self._of_device(who, ask, words)
                    or self._of_account(who, ask, words)
                )
        except NrfError as error:
            return refusal(error)
        except ShadowError as error:
            return refusal(NrfError(error.code * 100, str(error)))
        except Exception:  # a bug costs this request only: told once with its traceback, answered as the service does
            log.exception("%s %s", ask.method, ask.path)
            return refusal(NrfError(INTERNAL, "Internal server error"))

    # ---- who asks ---------------------------------------------------------------------------------------------------

    def _who(self, ask: Ask) -> str:
        """The device of a token, or ACCOUNT. Raises NrfError."""
        kind, _, token = ask.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise NrfError(DENIED, "Access denied")
        return ACCOUNT if token == self._api_key else self.devices.who(token)

    def _of_parts(self, who: str, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """What the account asks of gateways, firmware and jobs."""
        if who != ACCOUNT:
            return None
        return self._gateways.answer(ask, words) or self._jobs.answer(ask, words)

    # ---- what devices may ask ---------------------------------------------------------------------------------------

    def _of_device(self, who: str, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        match ask.method, words:
            case "GET", ("devices", device):
                return answer(200, self._list.one(self.devices.find(device, who), ask.query))
            case "PATCH", ("devices", device, "state"):
                return self._patch_state(self.devices.find(device, who), ask)
            case "POST", ("devices", device, "messages"):
                return self._message(self.devices.find(device, who), object_body(ask.body))
            case "GET", ("fota-job-executions", device, "current"):
                self.devices.find(device, who)
                return answer(200, self._fota.current(device, ask.query.get("firmwareType", ("",))[0]))
            case "PATCH", ("fota-job-executions", device, job):
                self.devices.find(device, who)
                self._fota.update(device, job, object_body(ask.body))
                return answer(202)
        return None

    def _patch_state(self, device: Record, ask: Ask) -> Answer:
        wanted = ask.headers.get("if-match")
        if wanted is not None and wanted.strip('"') != str(device["version"]):
            raise NrfError(41200, f"$meta.version is {device['version']}")
        self.devices.change_state(device, object_body(ask.body))
        return answer(202)

    def _message(self, device: Record, body: dict[str, Any]) -> Answer:
        topic = str(body.get("topic", f"d/{device['id']}/d2c")).removeprefix(device["prefix"]).removeprefix("m/")
        if topic == f"d/{device['id']}/c2d":
            message = body.get("message")
            if not isinstance(message, dict):
                raise NrfError(BAD_REQUEST, "a message to a device is an object")
            self.mqtt.send(device, message)
            return answer(202)
        form = topic.removeprefix(f"d/{device['id']}/d2c")
        if topic == form or form not in ("", "/bulk", "/bin"):
            raise NrfError(BAD_REQUEST, "topic is d/<deviceId>/d2c, perhaps with /bulk or /bin, or d/<deviceId>/c2d")
        self.devices.keep_message(device, form, body.get("message"))
        return answer(202)

    # ---- what the account may ask -----------------------------------------------------------------------------------

    def _of_account(self, who: str, ask: Ask, words: tuple[str, ...]) -> Answer:
        if who != ACCOUNT:
            raise NrfError(DENIED, "Access denied: a device token may not do this", status=403)
        match ask.method, words:
            case "POST", ("devices",):
                return answer(202, {"bulkOpsRequestId": self._onboarding.many("devices", ask.body)})
            case "POST", ("devices", ("certificates" | "public-keys") as kind):
                return answer(202, {"bulkOpsRequestId": self._onboarding.many(kind, ask.body)})
            case "POST", ("devices", device, "certificates"):
                return answer(201, self.jitp.issue(device, ownership(ask.body)))
            case "POST", ("devices", device):
                self._onboarding.one(device, object_body(ask.body))
                return answer(202)
            case "GET", ("devices",):
                return answer(200, self._list.page(ask.query))
            case "GET", ("messages",):
                return answer(200, self.devices.messages(ask.query))
        return self._of_known(ask, words)

    def _of_known(self, ask: Ask, words: tuple[str, ...]) -> Answer:
        match ask.method, words:
            case "DELETE", ("devices", device):
                self._forget(self.devices.find(device)["id"])
                return answer(202)
            case "PUT", ("devices", device, "name"):
                return self._name(self.devices.find(device), json_body(ask.body))
            case "PUT", ("devices", device, "tags"):
                return self._tag(self.devices.find(device), json_body(ask.body))
            case ("PUT" | "DELETE") as verb, ("association", device):
                return self._associate(device, ask.body, associated=verb == "PUT")
            case "GET", ("bulk-ops-requests", identifier):
                return answer(200, self._onboarding.bulk(identifier))
            case "GET", ("fota-job-executions", device, job):
                return answer(200, shown(self._fota.get(device, job)))
        raise NrfError(NOT_FOUND, "nothing is here")

    def _associate(self, device: str, body: bytes, *, associated: bool) -> Answer:
        issued = None if self.devices.is_known(device) else self.jitp.issued(device)
        found = issued or self.devices.known(device)
        if associated and ownership(body) != found["ownership"]:
            raise NrfError(BAD_OWNERSHIP, "the ownership code is not that of the device")
        if issued is not None:
            raise NrfError(NOT_CONNECTED, "the device has not connected yet")
        if found["associated"] != associated:
            changed = {**found, "associated": associated}
            self._records.put("nrf-device", device, changed)
            self.devices.pair(changed)
        return answer(202)

    def _name(self, device: Record, names: Any) -> Answer:
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise NrfError(BAD_REQUEST, "the body is a list with one name")
        self._records.put("nrf-device", device["id"], {**device, "name": names[0][:256]})
        return answer(202)

    def _tag(self, device: Record, tags: Any) -> Answer:
        if not isinstance(tags, list) or not all(isinstance(tag, str) and TAG.fullmatch(tag) for tag in tags):
            raise NrfError(INVALID, "the body is a list of tags that have their pattern")
        self._records.put("nrf-device", device["id"], {**device, "tags": tags})
        return answer(202)
