"""The uplinks of a hub: what each connects with, how the hub gets that by itself, and how it is changed while the hub runs."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.clock import Clock
from agent.cloud.channel import Channel
from agent.cloud.dialect import Dialect
from agent.cloud.jobs import Handler, Jobs
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import Link
from agent.cloud.managed_integrations import ManagedIntegrations
from agent.cloud.mqtt import Endpoint, Leaves, MqttLost
from agent.cloud.tls import tls_context
from agent.errors import ConfigError, HubError, TryAgainError
from agent.home import introduction
from agent.outbox import Outbox
from agent.requests import SaveMeta, StateQuery
from agent.runtime import ACQUAINTED, Runtime
from agent.settings import Settings, UplinkSettings
from agent.store import Store
from agent.supervise import Supervisor, Unit
from agent.updates import Updates
from agent.wire.certificate_vendor import OPERATION

if TYPE_CHECKING:
    from agent.cloud.nrf_session import NrfSession
    from agent.identity.credentials import Credentials
    from agent.identity.hub_identity import HubIdentity
    from agent.identity.record import Slot
    from agent.identity.slots import Slots
    from agent.identity.sources import Source
    from agent.identity.watch import Watch
    from agent.nrf_uplink import Attach, NrfParts

log = logging.getLogger(__name__)


DEVICES = ("pkcs11", "tpm")  # stores of keys that can be taken away
BY_HAND = "`agent identity csr` makes a request, `agent identity install FILE` takes the certificate"


class WornOutError(TryAgainError):
    """OpenSSL in this process has lost the device of the keys for good: it connects to a TPM or token once."""


class Uplinks:
    """Adds them to the runtime, as units of the supervisor. `watch` is there once the hub has an identity of its own."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        store: Store,
        supervisor: Supervisor,
        updates: Updates,
        attach: "Attach",
    ) -> None:
        self._settings, self._runtime, self._store, self._supervisor = settings, runtime, store, supervisor
        self._updates, self._attach = updates, attach
        self._clock: Clock = runtime.clock
        self.watch: Watch | None = None
        self._credentials: Credentials | None = None
        self._identity = identity_of(settings)
        self._vendors: dict[str, Source] = {}  # the certificate vendor of the uplink that leads
        self._claiming = asyncio.Lock()
        self._provisioned = asyncio.Event()
        # nRF Cloud has no fleet provisioning: a hub gets its certificate elsewhere, and an uplink there waits for it
        self._claims = {
            name
            for name, one in settings.uplinks.items()
            if one.dialect == "managed-integrations" and one.takes_identity
        }

    def add(self, name: str, uplink: UplinkSettings) -> None:
        """Start an uplink now, or once the hub has the certificate that it needs."""
        identity = self._identity
        if uplink.calls:
            self._start_calls(name, self._named(uplink))
        elif identity is None or not uplink.takes_identity:
            self._start(name, uplink, None)
        elif identity.current() is None and identity.can_claim and self._claims:
            self._claim(identity, name, uplink)
        elif identity.current() is None:
            self._start(name, uplink, None)
        else:
            self._start(name, uplink, self._join(identity, name, uplink))

    def _claim(self, identity: "HubIdentity", name: str, uplink: UplinkSettings) -> None:
        """Provision the hub at this uplink, and then start the uplink."""
        self._runtime.waiting[name] = "the hub has no certificate yet: it is provisioned by its claim"

        async def live() -> None:
            if name in self._runtime.waiting:
                await self._provision(identity, name, uplink)
                if not self._settings.hub.id:
                    self._runtime.hub.hub_id = hub_id(self._settings)
                del self._runtime.waiting[name]
                self._start(name, uplink, self._join(identity, name, uplink))
                self._runtime.tell_status()
            await asyncio.Event().wait()  # provisioned once

        self._supervisor.add(Unit(f"provisioning at {name}", live, first=1.1, longest=300.0))

    async def _provision(self, identity: "HubIdentity", name: str, uplink: UplinkSettings) -> None:
        """Until the hub has a certificate. Raises HubError where this uplink cannot get it one."""
        if name not in self._claims:
            await self._provisioned.wait()
            return
        async with self._claiming:  # two uplinks of one hub have one certificate
            if identity.current() is None:
                await identity.provision(uplink, "first start", log.info)
                log.info("the hub has got its certificate")
        self._provisioned.set()

    def _join(self, identity: "HubIdentity", name: str, uplink: UplinkSettings) -> "Credentials":
        """What an uplink with the hub's own certificate shares with the others; the first one brings the certificate watch."""
        if self._credentials is None:
            from agent.identity.credentials import Credentials  # noqa: PLC0415  as the identity itself
            from agent.identity.presence import Presence  # noqa: PLC0415
            from agent.identity.watch import Watch  # noqa: PLC0415

            source = identity.source(uplink)
            made = Credentials(identity.slots, self._clock)
            self._credentials = made
            self.watch = Watch(
                made,
                self._clock,
                lambda: source,
                self._vendors.get,
                lambda: self._reconnect(made.leader),
                self._runtime.tell_status,
            )
            made.on_swap.append(self._swapped)
            presence = Presence(identity.slots)
            if self._settings.identity.store in DEVICES:
                self._supervisor.spawn("key store", presence.live())
            status = self.watch.status
            self._runtime.certificate = lambda: (known := status()) and {**known, "keyStore": presence.trouble}
            self._runtime.rotate = lambda: self._rotate(source)
            self._supervisor.spawn("certificate", self.watch.live())
        self._credentials.join(name)
        return self._credentials

    async def _rotate(self, source: "Source | None") -> None:
        """Somebody wants another certificate now, or has brought one. Raises HubError."""
        record = self._identity.slots.record if self._identity is not None else None
        if record is not None and record.candidate is not None and self.watch is not None:
            await self.watch.renew(None, record.reason, turns=1)
            return
        if source is None or self.watch is None:
            raise ConfigError("there is no source of certificates", place="identity.source", remedy=BY_HAND)
        await self.watch.renew(source, f"asked for at {self._clock.now().iso}", turns=1)

    def _swapped(self, leader: str) -> None:
        """The other uplinks take the new certificate too, before the old one goes."""
        for name, uplink in self._settings.uplinks.items():
            if name != leader and uplink.takes_identity:
                self._reconnect(name)

    def _reconnect(self, name: str) -> None:
        link = self._runtime.links.get(name)
        if link is not None:
            link.reconnect()

    def _start(self, name: str, uplink: UplinkSettings, credentials: "Credentials | None") -> None:
        hub = self._runtime.hub
        channel = Channel(f"{uplink.host}:{uplink.port}")
        dialect: Dialect = ManagedIntegrations(name, hub.hub_id, north=uplink.topics.north, south=uplink.topics.south)
        session: NrfSession | None = None
        if uplink.dialect == "nrf-cloud":
            uplink = self._named(uplink)
            parts = self._nrf_cloud(name, uplink)
            dialect, session = parts.dialect, parts.session(channel)
        connects = _Connects(name, uplink, hub.hub_id, credentials, self._supervisor.end)
        connects.check()
        link = Link(
            name,
            connects.endpoint,
            _policy(uplink),
            dialect,
            Outbox(self._store),
            self._clock,
            on_request=self._runtime.dispatch,
            on_history_told=lambda: self._runtime.dispatch(StateQuery("", refresh=False)),
            channel=channel,
            opening=session,
        )
        if session is not None:
            session.leave, session.counters = link.leave, link.counters
        link.channel.on_up.append(connects.stands)
        self._runtime.links[name] = link
        self._introduce(name)
        if uplink.jobs and session is None:
            self._take_jobs(name, link.channel, connects)
        # AWS IoT Core allows one CONNECT a second for a client id.
        self._supervisor.add(
            Unit(f"uplink {name}", lambda: connects.live(link), stalled=link.stalled, first=1.1, longest=60.0)
        )

    def _start_calls(self, name: str, uplink: UplinkSettings) -> None:
        """An uplink without a connection."""
        link = self._nrf_cloud(name, uplink).calls_link(self._identity, _policy(uplink), Outbox(self._store))
        self._runtime.links[name] = link
        self._introduce(name)

    def _named(self, uplink: UplinkSettings) -> UplinkSettings:
        """With the id that nRF Cloud knows the hub by."""
        return uplink.model_copy(update={"client_id": uplink.client_id or self._runtime.hub.hub_id})

    def _nrf_cloud(self, name: str, uplink: UplinkSettings) -> "NrfParts":
        from agent.nrf_uplink import NrfParts  # noqa: PLC0415  who has no such uplink loads none of it

        parts = self._settings, self._runtime, self._supervisor, self._updates, self._attach
        return NrfParts(name, uplink, *parts)

    def _introduce(self, name: str) -> None:
        """A cloud that was added to a home that lives already, or that came up after its first devices, is told of them."""
        runtime = self._runtime
        if name not in runtime.acquainted:
            runtime.acquainted.add(name)
            effects = introduction(runtime.hub.devices.values(), name, runtime.clock.now())
            runtime.apply([*effects, SaveMeta(ACQUAINTED, " ".join(sorted(runtime.acquainted)))], runtime.clock.now())

    def _take_jobs(self, name: str, channel: Channel, connects: "_Connects") -> None:
        """Jobs of AWS IoT for this hub's thing."""
        thing = connects.thing
        handlers: dict[str, Handler] = self._updates.refusing()
        watch, identity = self.watch, self._identity
        if watch is not None and identity is not None and connects.leads:
            from agent.identity.vendor import CertificateVendor, RotationJobs  # noqa: PLC0415  as the identity itself

            vendor = CertificateVendor(
                channel,
                thing,
                identity.subject,
                connects.certificate,
                own_key=self._settings.identity.key_origin == "hub",
            )
            self._vendors[vendor.name] = vendor
            handlers[OPERATION] = RotationJobs(watch.renew, vendor)
        jobs = Jobs(channel, thing, handlers)
        self._updates.take_jobs(name, jobs)
        self._supervisor.spawn(f"jobs of {name}", jobs.live())


def _policy(uplink: UplinkSettings) -> LinkPolicy:
    nrf = uplink.dialect == "nrf-cloud"  # it speaks no other MQTT than 3.1.1
    return LinkPolicy(
        publishes_per_second=uplink.publishes_per_second,
        in_flight=uplink.in_flight,
        max_payload=uplink.max_payload,
        spool_after=uplink.spool_after,
        strict=uplink.durability == "strict",
        protocol="3.1.1" if nrf and uplink.protocol == "auto" else uplink.protocol,
    )


class _Connects:
    """The connections of one uplink, and what they say of the certificate that they are made with."""

    def __init__(
        self,
        name: str,
        uplink: UplinkSettings,
        hub: str,
        credentials: "Credentials | None",
        end: Callable[[HubError], None],
    ) -> None:
        self._name, self._uplink, self._hub, self._credentials, self._end = name, uplink, hub, credentials, end
        self._has_stood = False
        self._slot: Slot | None = None
        self._stood = False

    def endpoint(self) -> Endpoint:
        """For the next connection."""
        self._stood = False
        if self._credentials is None:
            return endpoint_of(self._uplink, self._hub)
        self._slot = self._credentials.choose(self._name)
        return endpoint_of(self._uplink, self._hub, self._credentials.slots, self._slot)

    def check(self) -> None:
        """Raises ConfigError for what only a person can mend; what may come back by itself is the connections' matter."""
        try:
            self.endpoint()
        except ConfigError:
            raise
        except HubError:
            if self._credentials is None:
                raise

    @property
    def thing(self) -> str:
        """The name of the hub in AWS IoT's registry, at this uplink."""
        held = self._credentials.slots.record.identity if self._credentials is not None else None
        return held.thing if held is not None and held.thing else self._hub

    @property
    def leads(self) -> bool:
        return self._credentials is not None and self._credentials.leader == self._name

    def certificate(self) -> str:
        """The id of the certificate that the connection was made with."""
        held = self._credentials.slots.record.held if self._credentials is not None else {}
        return held[self._slot].certificate_id if self._slot in held else ""

    def stands(self) -> None:
        self._stood = self._has_stood = True
        if self._credentials is not None and self._slot is not None:
            self._credentials.connected(self._name, self._slot)

    async def live(self, link: Link) -> None:
        """One connection's life. Raises MqttLost, and HubError when what it connects with cannot be used: a token that is away."""
        try:
            await link.run()
        except (Leaves, ConfigError):
            raise
        except HubError as error:
            if isinstance(error, WornOutError) and self._has_stood:
                self._end(error)
            link.last_error = error.advice
            if self._credentials is None:
                raise
            own = not isinstance(error, MqttLost | TryAgainError) and not _is_away(error)
            why = self._credentials.lost(self._name, self._slot, error.advice, stood=self._stood, unusable=own)
            if not isinstance(error, MqttLost):
                why = error.advice  # the broker has not even been asked
            link.last_error = why
            if self._credentials.choose(self._name) != self._slot:
                raise Leaves(f"the other certificate has its turn ({why})") from None
            raise MqttLost(why) from None


def endpoint_of(uplink: UplinkSettings, hub: str, slots: "Slots | None" = None, slot: "Slot | None" = None) -> Endpoint:
    """Where and as whom an uplink connects, with the certificate of a slot if one is named."""
    context, client_id = None, uplink.client_id or hub
    if uplink.tls:
        files = uplink.certificate, uplink.key
        if slots is not None and slot is not None:
            files = slots.tls_files(slot)
            client_id = uplink.client_id or slots.record.held[slot].configuration.get("clientId", hub)
        try:
            context = tls_context(ca=uplink.ca, certificate=files[0], key=files[1], alpn=uplink.alpn)
        except ConfigError as error:
            if slots is None or slot is None or error.place != files[0]:
                raise
            slots.keys.sign(slots.key(slot), b"")  # a device that is away says so better than OpenSSL does
            if slots.sound(slot):
                raise WornOutError(
                    f"key and certificate are sound, and TLS cannot use them: {error.message}"
                ) from error
            raise HubError(error.message, place=error.place, remedy=error.remedy) from error  # another slot may do
    return Endpoint(
        uplink.host,
        uplink.port,
        client_id,
        uplink.keep_alive,
        context,
        uplink.username,
        uplink.password.reveal(),
        uplink.session_expiry,
    )


def _is_away(error: HubError) -> bool:
    """Whether it is the key store that does not answer: that says nothing of the certificate."""
    from agent.identity.keys import KeyStoreAwayError  # noqa: PLC0415  as the identity itself

    return isinstance(error, KeyStoreAwayError)


def identity_of(settings: Settings) -> "HubIdentity | None":
    """The hub's identity where one is configured or there already; who has none does not pay for the libraries."""
    told = settings.identity
    configured = told.claim_certificate or told.ca_certificate or told.est or told.iotmi_config or told.source != "auto"
    if not configured and not (settings.hub.state_dir / "identity").exists():
        return None
    from agent.identity.hub_identity import HubIdentity  # noqa: PLC0415

    return HubIdentity(settings)


def in_step(settings: Settings) -> None:
    """Tell what is kept in step with the hub's identity what that is: a power cut may have come between the two."""
    identity = identity_of(settings) if settings.identity.iotmi_config else None
    if identity is not None:
        identity.slots.tell()


def hub_id(settings: Settings) -> str:
    """The configured id; else the thing that the hub was provisioned as; else one that stays with this installation."""
    identity = identity_of(settings)
    current = identity.current() if identity is not None and not settings.hub.id else None
    return settings.hub.id or (current.thing if current else "") or f"hub-{socket.gethostname()}"
