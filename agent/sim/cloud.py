"""`agent cloud`: the stand-in cloud as one process: broker, HTTP, records, and what joins them."""

import asyncio
import base64
import json
import logging
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cloud.dialect import Publication
from agent.cloud.mqtt import Endpoint
from agent.errors import ConfigError, TryAgainError, UsageError
from agent.files import write_atomic
from agent.sim import console
from agent.sim.authority import Authority
from agent.sim.broker import LOOPBACK, Mosquitto, installed
from agent.sim.bulk_certificates import BulkCertificates
from agent.sim.bus import BROKERED, SUBSCRIPTIONS, Bus
from agent.sim.coap import CoapServer
from agent.sim.door import Door
from agent.sim.exchange import Answer, Ask, Handle
from agent.sim.gate.faults import Faults
from agent.sim.gate.policy import Audience, Presence, audience
from agent.sim.gate.session import Session
from agent.sim.http import BULK_CERTIFICATES, MANAGED_INTEGRATIONS, NRF, NRF_PROVISIONING, VAULT, HttpServer
from agent.sim.jitp_door import JitpDoor
from agent.sim.managed_integrations.service import SERVICE, ManagedIntegrations
from agent.sim.managed_integrations.world import INDEXED, Leaving, Logged, Notice, ToHub, Told, World, new_id
from agent.sim.nrf.coap import NrfCoap
from agent.sim.nrf.provisioning_api import ProvisioningApi
from agent.sim.nrf.provisioning_coap import CoapProvisioning
from agent.sim.nrf.rest import NrfCloud
from agent.sim.objects import Objects
from agent.sim.records import Record, Records
from agent.sim.service_model import RestJson
from agent.sim.vault import Vault

if TYPE_CHECKING:
    from agent.sim.embedded import Embedded

log = logging.getLogger(__name__)

TICK = 0.5  # seconds
STREAMS, LOGS = "streams", "logs"
NAME = "stand-in-cloud"


class StandIn:
    """The stand-in cloud over `folder`. `mqtt`: HOST:PORT of a broker without TLS; by default it starts its own mosquitto."""

    def __init__(self, folder: Path, *, mqtt: str = "", broker: str = "auto", faults: Faults | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._authority = Authority(folder)
        self._faults = faults or Faults()
        self._broker = None if mqtt else _broker(broker, folder / "broker")
        self._outer = _address(mqtt) if mqtt else (LOOPBACK, 0)
        self._door: Door | None = None
        self._records = Records(folder / "cloud.db", INDEXED)
        self._objects = folder / "s3"
        self._streams = folder / STREAMS
        self._streams.mkdir(exist_ok=True)
        self._logs = folder / LOGS
        self._logs.mkdir(exist_ok=True)
        self._work: list[asyncio.Task[None]] = []
        self._bus: Bus | None = None
        self._http: HttpServer | None = None
        self._coap: CoapServer | None = None
        self._jitp: JitpDoor | None = None
        self._told: deque[Record] = deque(maxlen=20)
        self._told_count = 0

    async def start(self, port: int) -> dict[str, Any]:
        """Start all of it; returns the addresses. Raises HubError."""
        host, inner = self._outer
        apis: dict[str, Handle] = {}
        self._http = HttpServer(apis, self._objects, self._look, self._pressed)
        try:
            port = await self._http.start(port)
        except OSError as error:
            raise TryAgainError(
                f"cannot listen on port {port}: {error}", remedy="choose another with --port"
            ) from error
        base = f"http://{LOOPBACK}:{port}"
        world = World(RestJson(SERVICE), self._records, time.time, host)
        objects = Objects(self._objects, base)
        self._service = ManagedIntegrations(world, self._authority, objects, self._faults)
        self._vault = Vault(self._records, time.time, self._folder / "vault")
        self._bulk = BulkCertificates(self._records, time.time, objects, self._authority)
        apis |= {
            MANAGED_INTEGRATIONS: self._delivering(self._service.handle),
            BULK_CERTIFICATES: self._bulk.handle,
            VAULT: self._vault.handle,
        }
        key = self._api_key()
        shadows, publish = self._service.iot.shadows, self._service.publish
        self._nrf = NrfCloud(self._records, time.time, objects, self._authority, shadows, key, publish)
        nrf = self._nrf
        provisioning = ProvisioningApi(self._records, nrf.provisioning, nrf.identities, key)
        apis |= {NRF: self._delivering(nrf.handle), NRF_PROVISIONING: self._delivering(provisioning.handle)}
        device_plane = CoapProvisioning(nrf.provisioning, provisioning.who, time.time)
        coap = await self._serve_coap(NrfCoap(nrf.devices, objects, nrf.location, device_plane))
        self._jitp = JitpDoor(self._folder, self._authority, nrf.jitp.meet)
        jitp = await self._jitp.start()
        self._bus = await self._connect(host, inner)
        self._deliver()
        self._work = [asyncio.ensure_future(work) for work in (self._bus.run(), self._tick(), self._bulk.run())]
        await self._bus.ready.wait()
        return {
            "managed_integrations": f"{base}{MANAGED_INTEGRATIONS}",
            "nrf": f"{base}{NRF}/v1",
            "nrf_api_key": key,
            "nrf_jitp": f"https://{LOOPBACK}:{jitp}",
            "nrf_provisioning": f"{base}{NRF_PROVISIONING}/v1",
            "nrf_coap": f"coaps://{LOOPBACK}:{coap}",
            "bulk_certificates": f"{base}{BULK_CERTIFICATES}",
            "vault": f"{base}{VAULT}",
            "s3": f"{base}/s3",
            "console": f"{base}/",
            "mqtt": self._door.address if self._door else f"{host}:{inner}",
            "tls": self._door is not None,
            "ca": str(self._authority.certificate_path),
            "operator": [str(path) for path in self._door.operator] if self._door else [],
            "streams": str(self._streams),
            "logs": str(self._logs),
        }

    async def _connect(self, host: str, port: int) -> Bus:
        """The way to devices: a broker of its own behind a gate, or somebody's broker."""
        if self._broker is None:
            return Bus(Endpoint(host, port, NAME, 60, None), self._heard, SUBSCRIPTIONS)
        await self._broker.start()
        upstream = self._broker.upstream
        folder = self._folder / "broker"
        folder.mkdir(exist_ok=True, mode=0o700)
        self._door = Door(folder, self._authority, upstream, self._faults, self._asked, self._present)
        await self._door.start(self._service.iot.registration)
        endpoint = Endpoint(upstream.host, upstream.port, NAME, 60, None, upstream.user, upstream.password)
        return Bus(endpoint, self._heard, BROKERED, v5=upstream.v5, at_broker=upstream.inner)

    async def _serve_coap(self, plane: NrfCoap) -> int:
        """The port of nRF Cloud's CoAP plane."""
        certificate, key = self._authority.issue_with_key("localhost", hosts=("localhost", LOOPBACK))
        self._coap = CoapServer(plane.serve, certificate, key)
        return await self._coap.start()

    def _api_key(self) -> str:
        """The account's key for nRF Cloud, made once; it opens this stand-in and nothing else."""
        path = self._folder / "nrf-api-key"
        if not path.exists():
            write_atomic(path, secrets.token_hex(20).encode())
        return path.read_text(encoding="ascii")

    async def stop(self) -> None:
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._jitp is not None:
            await self._jitp.stop()
        if self._coap is not None:
            await self._coap.stop()
        if self._http is not None:
            await self._http.stop()
        if self._door is not None:
            await self._door.stop()
        if self._broker is not None:
            await self._broker.stop()
        self._records.close()

    # ---- what joins the parts ---------------------------------------------------------------------------------------

    def _delivering(self, handle: Handle) -> Handle:
        def handled(ask: Ask) -> Answer:
            answer = handle(ask)
            self._deliver()
            return answer

        return handled

    def _pressed(self, body: bytes) -> Answer:
        answer = console.do(
            body, self._service.handle, self._service.iot.vendor.rotate, self._nrf.send, self._nrf.enrol
        )
        self._deliver()
        return answer

    def _look(self) -> tuple[int, Callable[[], Any]]:
        """The version of the page, and how to make it."""
        number = console.version(self._records) + self._told_count
        return number, lambda: console.snapshot(self._records, self._told)

    def _heard(self, topic: str, payload: bytes) -> None:
        self._hear(lambda: self._service.hear(topic, payload), topic)

    def _asked(self, session: Session, topic: str, payload: bytes) -> None:
        principal = session.principal
        if principal.nrf:
            self._hear(lambda: self._nrf.mqtt.hear(principal.name, topic, payload), topic, session)
        else:
            self._hear(lambda: self._service.hear(topic, payload, principal.id), topic, session)

    def _hear(self, work: Callable[[], None], topic: str, asker: Session | None = None) -> None:
        """A bug that a message meets costs this message: nothing of it is kept or told."""
        try:
            work()
        except Exception:  # whatever it is, the next message of the next device is heard
            log.exception("%s", topic[:200])
            self._service.take_leaving()
        self._deliver(asker)

    def _present(self, event: Presence) -> None:
        present = self._nrf.mqtt.present if event.principal.nrf else self._service.present
        present(event)
        self._deliver()
        told = event.document()
        if self._bus is not None:
            topic = f"$aws/events/presence/{told['eventType']}/{event.client_id}"
            self._bus.publish(Publication(topic, json.dumps(told).encode()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for part in (self._service, self._vault, self._nrf):
                try:
                    part.tick()
                except Exception:  # a bug costs this tick of this part: time goes on for everything else
                    log.exception("what is due by time")
                    self._service.take_leaving()
            self._deliver()

    def _deliver(self, asker: Session | None = None) -> None:
        """Let in who has become known, then send: a device connects as soon as it is told its certificate."""
        if self._door is not None:
            self._door.refresh()
        for message in self._service.take_leaving():
            publication = self._publication(message)
            if publication is not None and not _answered(asker, publication) and self._bus is not None:
                self._bus.publish(publication)

    def _publication(self, message: Leaving) -> Publication | None:
        match message:
            case ToHub():
                return Publication(f"south/{message.hub}/{message.channel}", _envelope(message))
            case Told():
                return Publication(message.topic, message.payload)
            case Notice():
                return self._record(message)
            case Logged():
                return self._log(message)

    def _log(self, message: Logged) -> Publication:
        """A hub's log lines: to the hub's file of the log group, and a message."""
        text = "".join(f"{json.dumps(line)}\n" for line in message.lines)
        with (self._logs / f"{message.hub}.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)
        return Publication(f"{LOGS}/{message.hub}", text.encode())

    def _record(self, notice: Notice) -> Publication | None:
        """A notification as a record of its stream: a line of the stream's file, and a message. And a line of the event log."""
        logged = self._service.event_logs.line(notice)
        if logged is not None:
            with (self._logs / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(logged) + "\n")
        found = self._service.notifications.delivery(notice)
        if found is None:
            return None
        stream, body = found
        self._told.appendleft(body)
        self._told_count += 1
        record = {
            "SequenceNumber": f"{time.time_ns():056d}",
            "ApproximateArrivalTimestamp": time.time(),
            "PartitionKey": notice.resources[0],
            "Data": base64.b64encode(json.dumps(body).encode()).decode(),
        }
        line = json.dumps(record)
        with (self._streams / f"{stream}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return Publication(f"{STREAMS}/{stream}", line.encode())


async def serve(folder: Path, *, port: int, mqtt: str, broker: str, faults: Faults) -> None:
    """Print one JSON line with the addresses when ready; serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    cloud = StandIn(folder, mqtt=mqtt, broker=broker, faults=faults)
    try:
        print(json.dumps(await cloud.start(port)), flush=True)  # noqa: T201  the one line that programs read
        await stop.wait()
    finally:
        await cloud.stop()


def _broker(wanted: str, folder: Path) -> "Mosquitto | Embedded":
    if wanted == "mosquitto" or (wanted == "auto" and installed()):
        return Mosquitto(folder)
    from agent.sim.embedded import Embedded  # noqa: PLC0415  who has mosquitto does not pay for it

    log.info("the embedded broker is used; it speaks MQTT 3.1.1 and forgets everything when it ends")
    return Embedded()


def _answered(asker: Session | None, publication: Publication) -> bool:
    """True for an answer that reaches the asking client alone, which is then given."""
    reaches = audience(publication.topic)
    if asker is None or reaches is Audience.ALL:
        return False
    if reaches is Audience.ASKER or asker.has_subscribed(publication.topic):
        asker.reply(publication.topic, publication.payload)
    return True


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--mqtt {text!r} is not HOST:PORT", remedy="for example --mqtt 127.0.0.1:1883")
    if host not in (LOOPBACK, "localhost"):
        raise ConfigError(
            f"--mqtt {host}: the stand-in speaks without TLS, and so to loopback only", remedy=f"use {LOOPBACK}"
        )
    return host, int(port)


def _envelope(message: ToHub) -> bytes:
    envelope: dict[str, Any] = {
        "version": "1.0.0",
        "messageId": new_id(),
        "messageType": message.message_type,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }
    members = {"managedThingId": message.thing, "traceId": message.trace_id, "expiresAt": message.expires_at}
    envelope |= {name: value for name, value in members.items() if value}
    return json.dumps({**envelope, "payload": dict(message.payload)}).encode()
