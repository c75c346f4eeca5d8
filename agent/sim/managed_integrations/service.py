"""The whole service: REST requests and hubs' messages in, answers and messages out."""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

from pydantic import ValidationError

from agent.sim.authority import Authority
from agent.sim.exchange import Answer, Ask
from agent.sim.gate.faults import Faults
from agent.sim.gate.policy import Presence
from agent.sim.iot.core import IotCore
from agent.sim.managed_integrations.account import Account, NoConnectors
from agent.sim.managed_integrations.control import Control
from agent.sim.managed_integrations.discoveries import Discoveries
from agent.sim.managed_integrations.event_logs import EventLogs
from agent.sim.managed_integrations.hub_side import HubSide
from agent.sim.managed_integrations.notifications import Notifications
from agent.sim.managed_integrations.onboarding import Onboarding
from agent.sim.managed_integrations.ota import Ota
from agent.sim.managed_integrations.things import Things
from agent.sim.managed_integrations.world import Leaving, Request, Result, Told, World
from agent.sim.objects import Objects
from agent.sim.service_model import AwsError, Route
from agent.wire.managed_integrations import MAX_PAYLOAD, Envelope

log = logging.getLogger(__name__)

SERVICE = "iot-managed-integrations"
THROTTLED = AwsError("ThrottlingException", "Rate exceeded")
UNKNOWN = AwsError("UnknownOperationException", "No operation has this method and path.")
FAILED = AwsError("InternalServerException", "An internal error has occurred.")

Action = Callable[[Request], Result | None]


class ManagedIntegrations:
    """The service over one World. What it wants sent is in `take_leaving` after each call."""

    def __init__(self, world: World, authority: Authority, objects: Objects, faults: Faults) -> None:
        self._world = world
        self._faults = faults
        things, discoveries = Things(world), Discoveries(world)
        self.notifications = Notifications(world)
        self.event_logs = EventLogs(world)
        self.hub_side = HubSide(world, things, discoveries)
        self._discoveries = discoveries
        claims = things.claim, things.claim_registered
        self.iot = IotCore(world.records, world.now, self.publish, authority, objects, claims, faults)
        things.dropped = self.iot.forsake
        self._ota = Ota(world, self.iot.jobs, objects)
        parts = (
            things,
            discoveries,
            self.notifications,
            self._ota,
            Onboarding(world, authority),
            Control(world),
            Account(world),
            self.event_logs,
        )
        self._actions: dict[str, Action] = NoConnectors().actions()
        for part in parts:
            self._actions |= {name: getattr(part, name) for name in world.api.names if hasattr(part, name)}

    @property
    def missing(self) -> tuple[str, ...]:
        """Operations of the model that nobody answers."""
        return tuple(name for name in self._world.api.names if name not in self._actions)

    def publish(self, topic: str, payload: bytes) -> None:
        """Have a message sent to who has subscribed."""
        self._world.leaving.append(Told(topic, payload))

    def take_leaving(self) -> list[Leaving]:
        """The messages that have come up since the last call, in order."""
        leaving, self._world.leaving = self._world.leaving, []
        return leaving

    # ---- REST -------------------------------------------------------------------------------------------------------

    def handle(self, ask: Ask) -> Answer:
        """Answer one request; nothing is kept and nothing leaves when it is refused or fails. Every answer has a request id."""
        answer = self._handle(ask)
        return replace(answer, headers={**answer.headers, "x-amzn-RequestId": str(uuid.uuid4())})

    def _handle(self, ask: Ask) -> Answer:
        api = self._world.api
        route = api.route(ask.method, ask.path)
        if self._faults.happens(self._faults.throttle):
            return api.refuse(route, THROTTLED)
        if route is None or route.name not in self._actions:
            return api.refuse(route, UNKNOWN)
        already = len(self._world.leaving)
        try:
            request = api.read(route, ask.query, ask.body)
            with self._world.records.transaction():
                return api.write(route, self._once(route, request))
        except AwsError as error:
            refusal = error
        except Exception:  # a bug costs this request only: told once with its traceback, answered as the service does
            log.exception("%s", route.operation.name)
            refusal = FAILED
        del self._world.leaving[already:]
        return api.refuse(route, refusal)

    def _once(self, route: Route, request: Request) -> Result | None:
        """Do an action; with a ClientToken that was used before, give the first answer again."""
        token = request.pop("ClientToken", None)
        if token is None:
            return self._actions[route.name](request)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        key = f"{route.name}/{token}"
        before = self._world.records.get("token", key)
        if before is None:
            result = self._actions[route.name](request)
            self._world.records.put("token", key, {"digest": digest, "result": result})
            return result
        if before["digest"] != digest:
            raise AwsError("ConflictException", "This ClientToken was used with another request.")
        found: Result | None = before["result"]
        return found

    # ---- MQTT -------------------------------------------------------------------------------------------------------

    def hear(self, topic: str, payload: bytes, principal: str = "") -> None:
        """A message of a device: on a topic of AWS IoT Core's services, or `north/<hub>/…`."""
        words = topic.split("/")
        if self.iot.hear(topic, payload, principal):
            return
        if words[0] == "north" and len(words) > 2 and payload and len(payload) <= MAX_PAYLOAD:  # noqa: PLR2004  prefix, hub, channel
            self._from_hub(words[1], payload)

    def _from_hub(self, hub: str, payload: bytes) -> None:
        try:
            message = Envelope.model_validate_json(payload)
        except ValidationError as error:
            log.warning("%s: %s", hub, error.errors(include_input=False, include_url=False)[0]["msg"])
            return
        with self._world.records.transaction():
            self.hub_side.heard(hub, message)

    def present(self, event: Presence) -> None:
        """A client of the gate has come or gone."""
        with self._world.records.transaction():
            self.hub_side.present(event)

    def tick(self) -> None:
        """What is due by time; call it every second or so."""
        with self._world.records.transaction():
            self._discoveries.tick()
            self._ota.tick()
            self.iot.tick()
